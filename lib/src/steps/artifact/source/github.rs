//! Releases of a GitHub repository, also of GitHub Enterprise: from its web addresses where they can tell, which nobody counts,
//! and by the REST API, which answers 60 times an hour without a token (docs.github.com/rest/releases/releases).
//!
//! `latest` is on both ways what GitHub marks as latest: the newest that is no pre-release, unless its publisher chose another.

use std::env;

use super::{Asking, Asset, Place, Release, SourceError, Wanted, nothing_picked, split_selector};
use crate::sys::credentials;
use crate::sys::net::url::{Url, encode};
use crate::sys::net::{Ask, Header, Net, NetError};
use crate::sys::say::Say;
use crate::words::github;
use crate::words::pattern::Values;
use crate::words::release::{Channel, Selector, Tag, is_prerelease};
use crate::words::size::Size;

/// Where the API is when nothing in the environment says so.
const API: &str = "https://api.github.com";
/// Releases a page, and how many where the server did not manage that many: GitHub answers 504 for repositories with many assets.
const PAGE: [usize; 2] = [50, 10];
/// The most releases that are read; GitHub itself lists no more.
const RELEASES: usize = 1000;
/// The most bytes of one answer of the API.
const ANSWER_MAX: Size = Size(32 << 20);
/// How often a repository may have been renamed.
const RENAMES: usize = 3;

/// A repository and which of its releases is wanted.
#[derive(Clone, Debug)]
pub struct GitHub {
    owner: String,
    repo: String,
    /// Which release is wanted.
    pub selector: Selector,
    api: Url,
    /// Where people look at it; `None` where that does not follow from the API's address.
    web: Option<Url>,
    headers: Vec<Header>,
    token: Token,
}

/// Whether the environment has a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    None,
    Given,
}

impl GitHub {
    /// Reads `OWNER/REPO[@SELECTOR]`; where GitHub is and the token come from the environment.
    pub fn parse(text: &str, mut headers: Vec<Header>) -> Result<Self, String> {
        let form = || "gh:OWNER/REPO or gh:OWNER/REPO@SELECTOR is the form".to_owned();
        let (repository, selector) = split_selector(text)?;
        let (owner, repo) = repository.split_once('/').ok_or_else(form)?;
        let plain = |name: &str| {
            !matches!(name, "" | "." | "..") && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        if !plain(owner) || !plain(repo) {
            return Err(form());
        }
        let var =
            |name: &str| env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let address = |name: &str| {
            let url = var(name).map(|text| Url::parse(text.trim_end_matches('/')));
            url.transpose().map_err(|e| format!("{name}: {e}"))
        };
        let (api, web) = places(address("GITHUB_API_URL")?, address("GITHUB_SERVER_URL")?)?;
        let token = match var("GITHUB_TOKEN").or_else(|| var("GH_TOKEN")) {
            None => credentials::read(credentials::GITHUB_TOKEN).map_err(|e| e.to_string())?,
            given => given,
        };
        let token = match token {
            Some(token) => {
                let header = Header::new("Authorization", &format!("Bearer {token}"));
                headers.push(header.map_err(|_| "the token in GITHUB_TOKEN or GH_TOKEN is not printable ASCII")?);
                Token::Given
            }
            None => Token::None,
        };
        Ok(Self { owner: owner.to_owned(), repo: repo.to_owned(), selector, api, web, headers, token })
    }

    /// Where what is fetched from it is kept: host, owner, repository.
    #[must_use]
    pub fn folder(&self) -> Vec<String> {
        let host = self.web.as_ref().unwrap_or(&self.api).host();
        vec![host.to_owned(), self.owner.clone(), self.repo.clone()]
    }

    /// The release that is wanted.
    ///
    /// Whoever has no token and named tag and assets is served without the API; so is who has one, while the API is of no use.
    pub fn release(&self, spelling: &str, wanted: &Wanted<'_>, net: &Net, say: &Say) -> Result<Release, SourceError> {
        let counted = self.headers.is_empty();
        let without_api = || match wanted.asking {
            Asking::Any => self.without_api(wanted, net, say),
            Asking::All => None,
        };
        if let Some(release) = Some(()).filter(|()| counted).and_then(|()| without_api()) {
            return Ok(release);
        }
        match self.by_api(spelling, wanted.channel, net, say) {
            Err(SourceError::Net(e @ (NetError::RateLimited { .. } | NetError::Busy { .. }))) if !counted => {
                let release = without_api().ok_or(SourceError::Net(e))?;
                say.note(format_args!("{}: the API can't be asked now; taken without its digests", self.repository()));
                Ok(release)
            }
            other => other,
        }
    }

    /// Every release, drafts left out.
    pub fn releases(&self, net: &Net, say: &Say) -> Result<Vec<Release>, SourceError> {
        self.pages(RELEASES, net, say, |_| false)
    }

    /// The release as far as web addresses tell: its tag, and that its assets would be where GitHub has them. `None` when that
    /// does not do: which assets there are, and which tags beside the latest, only the API tells.
    fn without_api(&self, wanted: &Wanted<'_>, net: &Net, say: &Say) -> Option<Release> {
        let web = self.web.as_ref()?;
        let names_known = !wanted.assets.is_empty() && wanted.patterns().all(|pattern| !pattern.has_star());
        if !names_known && wanted.newer_than.is_none() {
            return None;
        }
        let tag = match &self.selector {
            Selector::Exact(tag) if github::is_tag(tag) => Tag::new(tag.as_str()),
            Selector::Latest if wanted.channel == Channel::Stable => self.marked_latest(web, net, say)?,
            _ => return None,
        };
        let release = Release { tag: Some(tag.clone()), assumed: true, ..Release::default() };
        if self.selector == Selector::Latest && is_prerelease(&release) {
            return None;
        }
        let newer = wanted.newer_than.map(|floor| tag.version().and_then(|version| version.is_newer_than(floor)));
        if newer.is_some_and(|newer| newer != Some(true)) {
            return Some(release);
        }
        if !names_known {
            return None;
        }
        let values = Values { tag: Some(&tag), target: wanted.target };
        let names: Vec<_> = wanted.assets.iter().map(|pattern| pattern.literal(values)).collect::<Option<_>>()?;
        let beside = wanted.sidecars.iter().flat_map(|name| name.beside(names.iter().map(String::as_str)));
        let beside = beside.map(|pattern| pattern.literal(values)).collect::<Option<Vec<_>>>()?;
        let asset = |name: String| {
            let folder = format!("{}/{}/releases/download/{}/", web.as_str(), self.repository(), encode(tag.as_str()));
            let url = Url::parse(&format!("{folder}{}", encode(&name))).ok()?;
            let place = Place::Net(Ask { url, accept: "application/octet-stream", headers: Vec::new() });
            Some(Asset { name, size: None, digest: None, ready: true, place })
        };
        let mut assets: Vec<Asset> = Vec::new();
        for name in names.into_iter().chain(beside) {
            let asset = asset(name)?;
            if assets.iter().all(|other| other.name != asset.name) {
                assets.push(asset);
            }
        }
        Some(Release { assets: Some(assets), ..release })
    }

    /// The tag that `…/releases/latest` leads to; `None` when it leads elsewhere: to the list, where no release is marked.
    fn marked_latest(&self, web: &Url, net: &Net, say: &Say) -> Option<Tag> {
        let mut url = Url::parse(&format!("{}/{}/releases/latest", web.as_str(), self.repository())).ok()?;
        for _ in 0..=RENAMES {
            let ask = Ask { url: url.clone(), accept: "*/*", headers: Vec::new() };
            let to = match net.location(&ask, say) {
                Ok(to) => to?,
                Err(e) => {
                    say.detail(format_args!("{e}; the API is asked"));
                    return None;
                }
            };
            if !to.same_origin(web) {
                return None;
            }
            if let Some((_, tag)) = to.as_str().split_once("/releases/tag/") {
                let tag = super::address::decode(tag.split('?').next().unwrap_or_default());
                return Some(tag).filter(|tag| github::is_tag(tag)).map(Tag::new);
            }
            if !to.as_str().ends_with("/releases/latest") {
                return None;
            }
            url = to;
        }
        None
    }

    /// An exact tag and the latest are asked for by name. Otherwise pages are read, newest first, until one holds a release that
    /// the selector admits, and the highest version of those read is it.
    fn by_api(&self, spelling: &str, channel: Channel, net: &Net, say: &Say) -> Result<Release, SourceError> {
        let none = |what: String| SourceError::NoRelease { spelling: spelling.to_owned(), what };
        if let Selector::Exact(tag) = &self.selector {
            for tag in Selector::exact_tags(tag) {
                if let Some(release) = self.one(&format!("/tags/{}", encode(&tag)), net, say)? {
                    return Ok(release);
                }
            }
            // A build of that version is one of the newest, or asked for by its own tag: reading all pages would eat the limit up.
            let newest = Some(()).filter(|()| self.selector.may_name_builds());
            let newest = newest.and_then(|()| self.pages(PAGE[0], net, say, |_| true).ok()).unwrap_or_default();
            return self
                .selector
                .pick(&newest, channel)
                .cloned()
                .ok_or_else(|| none(format!("no release '{tag}'{}; --list shows what there is", self.private())));
        }
        if (&self.selector, channel) == (&Selector::Latest, Channel::Stable)
            && let Some(release) = self.one("/latest", net, say)?.filter(|release| !is_prerelease(release))
        {
            return Ok(release);
        }
        let releases = self.pages(RELEASES, net, say, |releases| self.selector.pick(releases, channel).is_some())?;
        let picked = self.selector.pick(&releases, channel).cloned();
        picked.ok_or_else(|| none(nothing_picked(&self.selector, &releases)))
    }

    /// The release at `rest`; `None` where there is none, or a draft.
    fn one(&self, rest: &str, net: &Net, say: &Say) -> Result<Option<Release>, SourceError> {
        match self.ask(rest, net, say) {
            Ok((bytes, _)) => {
                let release = github::release(&bytes).map_err(|why| self.no_answer(&why))?;
                Some(release).filter(|release| !release.draft).map(|release| self.read(release)).transpose()
            }
            Err(NetError::NotFound(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The newest releases, at most about `most`, page after page until they are `enough`.
    fn pages(
        &self,
        most: usize,
        net: &Net,
        say: &Say,
        enough: impl Fn(&[Release]) -> bool,
    ) -> Result<Vec<Release>, SourceError> {
        let mut releases = Vec::new();
        let [mut size, small] = PAGE;
        let mut read = 0;
        while read < most {
            let (bytes, more) = match self.ask(&format!("?per_page={size}&page={}", read / size + 1), net, say) {
                Ok(page) => page,
                Err(NetError::Busy { .. }) if size != small => {
                    say.detail(format_args!("{}: pages of {small} releases are asked for instead", self.repository()));
                    size = small;
                    continue;
                }
                Err(NetError::NotFound(_)) => {
                    let what = format!("no such repository{}", self.private());
                    return Err(SourceError::NoRelease { spelling: format!("gh:{}", self.repository()), what });
                }
                Err(e) => return Err(e.into()),
            };
            let page = github::releases(&bytes).map_err(|why| self.no_answer(&why))?;
            for release in page.into_iter().filter(|release| !release.draft) {
                releases.push(self.read(release)?);
            }
            read += size;
            if !more || enough(&releases) {
                return Ok(releases);
            }
        }
        if most == RELEASES {
            say.note(format_args!("gh:{}: only the newest {RELEASES} releases are looked at", self.repository()));
        }
        Ok(releases)
    }

    /// What to say of a 404, which GitHub also answers for what it hides.
    fn private(&self) -> &'static str {
        match self.token {
            Token::None => " (or it is private: set GITHUB_TOKEN)",
            Token::Given => " (or the token may not see it)",
        }
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.repo)
    }

    /// The API's answer, and whether more pages follow.
    fn ask(&self, rest: &str, net: &Net, say: &Say) -> Result<(Vec<u8>, bool), NetError> {
        let url = Url::parse(&format!("{}/repos/{}/releases{rest}", self.api.as_str(), self.repository()))?;
        let ask = Ask { url, accept: "application/vnd.github+json", headers: self.headers.clone() };
        let page = net.page(&ask, ANSWER_MAX, say).map_err(|e| match e {
            NetError::RateLimited { url, until, .. } if self.token == Token::None => {
                NetError::RateLimited { url, until, hint: "; a token in GITHUB_TOKEN raises the limit" }
            }
            e => e,
        })?;
        Ok((page.bytes, page.next.is_some()))
    }

    fn no_answer(&self, why: &impl ToString) -> SourceError {
        SourceError::Answer { url: self.api.clone(), why: why.to_string() }
    }

    fn read(&self, release: github::Release) -> Result<Release, SourceError> {
        Ok(Release {
            tag: Some(Tag::new(release.tag)),
            marked_pre: release.prerelease,
            published: release.published,
            notes: release.notes,
            assets: Some(release.assets.into_iter().map(|asset| self.read_asset(asset)).collect::<Result<_, _>>()?),
            ..Release::default()
        })
    }

    /// With a token or headers the bytes are asked of the API, which may know private ones; else of the download address,
    /// which costs nothing of the rate limit.
    fn read_asset(&self, asset: github::Asset) -> Result<Asset, SourceError> {
        let by_api = asset.by_api.filter(|_| !self.headers.is_empty());
        let url = Url::parse(by_api.as_deref().unwrap_or(&asset.address)).map_err(|why| self.no_answer(&why))?;
        if self.api.is_secure() && !url.is_secure() {
            return Err(NetError::Downgrade { from: self.api.clone(), to: url }.into());
        }
        let headers = if url.same_origin(&self.api) { self.headers.clone() } else { Vec::new() };
        let place = Place::Net(Ask { url, accept: "application/octet-stream", headers });
        Ok(Asset { name: asset.name, size: asset.size, digest: asset.digest, ready: asset.ready, place })
    }
}

/// Where the API is and where people look, from what the environment says of either, as GitHub Actions has it.
///
/// The one follows from the other. Where both are given the API counts, and the web only when it is the same host's: to ask
/// github.com for what lies on a server of one's own would fetch a stranger's file of the same name.
fn places(api: Option<Url>, web: Option<Url>) -> Result<(Url, Option<Url>), String> {
    let read = |text: &str| Url::parse(text).map_err(|e| e.to_string());
    let Some(api) = api else {
        let of_web = |web: &Url| match web.host() {
            "github.com" => API.to_owned(),
            host if host.ends_with(".ghe.com") => format!("https://api.{host}"),
            _ => format!("{}/api/v3", web.as_str()),
        };
        return Ok(match web {
            Some(web) => (read(&of_web(&web))?, Some(web)),
            None => (read(API)?, Some(read("https://github.com")?)),
        });
    };
    let derived = match (api.host(), api.as_str().strip_suffix("/api/v3")) {
        ("api.github.com", _) => Some("https://github.com".to_owned()),
        (_, Some(base)) => Some(base.to_owned()),
        (host, _) if host.ends_with(".ghe.com") => host.strip_prefix("api.").map(|host| format!("https://{host}")),
        _ => None,
    };
    let web = match derived {
        Some(text) => Some(read(&text)?),
        None => web.filter(|web| web.same_origin(&api)),
    };
    Ok((api, web))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_web_follows_from_the_api_and_the_api_from_the_web() {
        let places = |api: &str, web: &str| {
            let url = |text: &str| Some(text).filter(|t| !t.is_empty()).map(|t| Url::parse(t).unwrap());
            let (api, web) = super::places(url(api), url(web)).unwrap();
            (api.as_str().to_owned(), web.map(|web| web.as_str().to_owned()).unwrap_or_default())
        };
        for (api, web, found_api, found_web) in [
            ("", "", "https://api.github.com", "https://github.com"),
            ("https://api.github.com", "", "https://api.github.com", "https://github.com"),
            ("", "https://github.com", "https://api.github.com", "https://github.com"),
            ("https://ghe.example.com/api/v3", "", "https://ghe.example.com/api/v3", "https://ghe.example.com"),
            ("", "https://ghe.example.com", "https://ghe.example.com/api/v3", "https://ghe.example.com"),
            ("https://api.acme.ghe.com", "", "https://api.acme.ghe.com", "https://acme.ghe.com"),
            ("", "https://acme.ghe.com", "https://api.acme.ghe.com", "https://acme.ghe.com"),
            ("http://h:1", "http://h:1", "http://h:1", "http://h:1"),
            // Never another host's files for those of one's own.
            (
                "https://ghe.example.com/api/v3",
                "https://github.com",
                "https://ghe.example.com/api/v3",
                "https://ghe.example.com",
            ),
            ("https://h:1", "https://github.com", "https://h:1", ""),
        ] {
            assert_eq!(places(api, web), (found_api.to_owned(), found_web.to_owned()), "{api} {web}");
        }
    }
}
