//! Releases of a GitHub repository, by the REST API (docs.github.com/rest/releases/releases), also of GitHub Enterprise.

use std::env;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Asset, Place, Release, SourceError, nothing_picked, split_selector};
use crate::sys::net::url::{Url, encode};
use crate::sys::net::{Ask, Header, Net, NetError};
use crate::sys::say::Say;
use crate::words::release::{Channel, Selector, Tag};
use crate::words::size::Size;

/// Where the API is when `GITHUB_API_URL` does not say.
const API: &str = "https://api.github.com";
/// Releases a page. GitHub answers 504 for the largest pages of repositories with many assets.
const PAGE: usize = 50;
/// The most pages that are read.
const PAGES: usize = 20;
/// The most bytes of one answer of the API.
const ANSWER_MAX: Size = Size(32 << 20);

/// A repository and which of its releases is wanted.
#[derive(Clone, Debug)]
pub struct GitHub {
    owner: String,
    repo: String,
    /// Which release is wanted.
    pub selector: Selector,
    api: Url,
    headers: Vec<Header>,
    token: Token,
}

/// Whether the environment has a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    None,
    Given,
}

#[derive(Deserialize)]
struct ApiRelease {
    tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    published_at: Option<String>,
    #[serde(default)]
    assets: Vec<ApiAsset>,
}

#[derive(Deserialize)]
struct ApiAsset {
    name: String,
    url: Option<String>,
    browser_download_url: String,
    size: Option<u64>,
    digest: Option<String>,
    state: Option<String>,
}

impl GitHub {
    /// Reads `OWNER/REPO[@SELECTOR]`; the API's address and the token come from the environment.
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
        let api = var("GITHUB_API_URL").unwrap_or_else(|| API.to_owned());
        let api = Url::parse(api.trim_end_matches('/')).map_err(|e| format!("GITHUB_API_URL: {e}"))?;
        let token = match var("GITHUB_TOKEN").or_else(|| var("GH_TOKEN")) {
            Some(token) => {
                let header = Header::new("Authorization", &format!("Bearer {token}"));
                headers.push(header.map_err(|_| "the token in GITHUB_TOKEN or GH_TOKEN is not printable ASCII")?);
                Token::Given
            }
            None => Token::None,
        };
        Ok(Self { owner: owner.to_owned(), repo: repo.to_owned(), selector, api, headers, token })
    }

    /// Where what is fetched from it is kept: host, owner, repository.
    #[must_use]
    pub fn folder(&self) -> Vec<String> {
        let host = if self.api.host() == "api.github.com" { "github.com" } else { self.api.host() };
        vec![host.to_owned(), self.owner.clone(), self.repo.clone()]
    }

    /// The release that is wanted.
    ///
    /// An exact tag is asked for by name. Otherwise pages are read, newest first, until one holds a release that the
    /// selector admits, and the highest version of those read is it: GitHub's own "latest" can be an older line's fix.
    pub fn release(&self, spelling: &str, channel: Channel, net: &Net, say: &Say) -> Result<Release, SourceError> {
        if let Selector::Exact(tag) = &self.selector {
            for tag in Selector::exact_tags(tag) {
                match self.ask::<ApiRelease>(&format!("/tags/{}", encode(&tag)), net, say) {
                    Ok(release) => return self.read(release),
                    Err(SourceError::Net(NetError::NotFound(_))) => {}
                    Err(e) => return Err(e),
                }
            }
            let what = format!("no release '{tag}'{}; --list shows what there is", self.private());
            return Err(SourceError::NoRelease { spelling: spelling.to_owned(), what });
        }
        let releases = self.pages(net, say, |releases| self.selector.pick(releases, channel).is_some())?;
        match self.selector.pick(&releases, channel) {
            Some(release) => Ok(release.clone()),
            None => Err(SourceError::NoRelease {
                spelling: spelling.to_owned(),
                what: nothing_picked(&self.selector, &releases),
            }),
        }
    }

    /// Every release, drafts left out.
    pub fn releases(&self, net: &Net, say: &Say) -> Result<Vec<Release>, SourceError> {
        self.pages(net, say, |_| false)
    }

    fn pages(&self, net: &Net, say: &Say, enough: impl Fn(&[Release]) -> bool) -> Result<Vec<Release>, SourceError> {
        let mut releases = Vec::new();
        for page in 1..=PAGES {
            let answer: Vec<ApiRelease> =
                self.ask(&format!("?per_page={PAGE}&page={page}"), net, say).map_err(|e| match e {
                    SourceError::Net(NetError::NotFound(_)) => SourceError::NoRelease {
                        spelling: format!("gh:{}/{}", self.owner, self.repo),
                        what: format!("no such repository{}", self.private()),
                    },
                    e => e,
                })?;
            let last = answer.len() < PAGE;
            for release in answer.into_iter().filter(|release| !release.draft) {
                releases.push(self.read(release)?);
            }
            if last || enough(&releases) {
                break;
            }
        }
        Ok(releases)
    }

    /// The releases in one page of the API's list.
    pub fn releases_in(&self, page: &[u8]) -> Result<Vec<Release>, SourceError> {
        let page: Vec<ApiRelease> = serde_json::from_slice(page)
            .map_err(|e| SourceError::Answer { url: self.api.clone(), why: e.to_string() })?;
        page.into_iter().filter(|release| !release.draft).map(|release| self.read(release)).collect()
    }

    /// What to say of a 404, which GitHub also answers for what it hides.
    fn private(&self) -> &'static str {
        match self.token {
            Token::None => " (or it is private: set GITHUB_TOKEN)",
            Token::Given => " (or the token may not see it)",
        }
    }

    fn ask<T: DeserializeOwned>(&self, rest: &str, net: &Net, say: &Say) -> Result<T, SourceError> {
        let url = format!("{}/repos/{}/{}/releases{rest}", self.api.as_str(), self.owner, self.repo);
        let url = Url::parse(&url).map_err(NetError::from)?;
        let ask = Ask { url: url.clone(), accept: "application/vnd.github+json", headers: self.headers.clone() };
        let answer = net.document(&ask, ANSWER_MAX, say).map_err(|e| match e {
            NetError::RateLimited { url, until, .. } if self.token == Token::None => {
                NetError::RateLimited { url, until, hint: "; a token in GITHUB_TOKEN raises the limit" }
            }
            e => e,
        })?;
        serde_json::from_slice(&answer).map_err(|e| SourceError::Answer { url, why: e.to_string() })
    }

    fn read(&self, release: ApiRelease) -> Result<Release, SourceError> {
        let published = release.published_at.as_deref().and_then(|time| humantime::parse_rfc3339(time).ok());
        let published = published.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        Ok(Release {
            tag: Some(Tag::new(release.tag_name)),
            marked_pre: release.prerelease,
            published: published.map(|time| time.as_secs()),
            named: None,
            assets: Some(release.assets.into_iter().map(|asset| self.read_asset(asset)).collect::<Result<_, _>>()?),
        })
    }

    /// With a token or headers the bytes are asked of the API, which may know private ones; else of the download address,
    /// which costs nothing of the rate limit.
    fn read_asset(&self, asset: ApiAsset) -> Result<Asset, SourceError> {
        let by_api = asset.url.filter(|_| !self.headers.is_empty());
        let address = by_api.as_deref().unwrap_or(&asset.browser_download_url);
        let answer = |why: String| SourceError::Answer { url: self.api.clone(), why };
        let url = Url::parse(address).map_err(|e| answer(e.to_string()))?;
        if self.api.is_secure() && !url.is_secure() {
            return Err(NetError::Downgrade { from: self.api.clone(), to: url }.into());
        }
        let headers = if url.same_origin(&self.api) { self.headers.clone() } else { Vec::new() };
        Ok(Asset {
            name: asset.name,
            size: asset.size,
            digest: asset.digest.as_deref().and_then(|digest| digest.parse().ok()),
            ready: asset.state.is_none_or(|state| state == "uploaded"),
            place: Place::Net(Ask { url, accept: "application/octet-stream", headers }),
        })
    }
}
