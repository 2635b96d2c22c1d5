//! One address, perhaps with placeholders: `https://…{version}…@VERSION`. What versions there are, an index tells (`--index`).

use super::{Asset, Place, Release, SourceError, Wanted, decoded, nothing_picked};
use crate::sys::net::url::Url;
use crate::sys::net::{Ask, Header, Net, NetError};
use crate::sys::say::Say;
use crate::words::index::{self, NotAnIndex};
use crate::words::pattern::{Pattern, Values};
use crate::words::release::{Selector, Tag};
use crate::words::size::Size;
use crate::words::target::{Libc, Target};

/// The most bytes of an index.
const INDEX_MAX: Size = Size(4 << 20);

/// The address of an asset, whose placeholders are filled in once the machine and the version are known.
#[derive(Clone, Debug)]
pub struct Address {
    template: Pattern,
    which: Which,
    host: String,
    headers: Vec<Header>,
}

/// Which version is wanted.
#[derive(Clone, Debug)]
enum Which {
    /// The address has none.
    Unversioned,
    /// This one, as it is written.
    Named(Tag),
    /// One of those in the index.
    Of(Index, Selector),
}

/// What tells the versions.
#[derive(Clone, Debug)]
struct Index {
    /// The folder above the first part of the address that a version stands in.
    base: Pattern,
    /// Where the index is, seen from there.
    place: Pattern,
    /// How a checksum list may name the file: below `base`, and by its last part.
    names: Vec<Pattern>,
}

/// OWNER/REPO of the page of a repository, which is what people copy from their browser.
fn repository(address: &str) -> Option<&str> {
    let repo = address.strip_prefix("https://github.com/")?.trim_end_matches('/');
    let repo = repo.strip_suffix("/releases").unwrap_or(repo);
    let repo = repo.strip_suffix(".git").unwrap_or(repo);
    let (owner, name) = repo.split_once('/')?;
    (!owner.is_empty() && !name.is_empty() && !name.contains(['/', '?', '#', '{'])).then_some(repo)
}

impl Address {
    /// Reads an address. `@VERSION` may follow the last segment of the path, and `@SELECTOR` where there is an index; `{version}`
    /// and `{tag}` need one of them.
    pub fn parse(text: &str, headers: Vec<Header>, index: Option<&str>) -> Result<Self, String> {
        let (template, version) = match text.rsplit_once('@') {
            Some((template, version))
                if !version.is_empty() && !version.contains(['/', '?', '{']) && template.matches('/').count() > 2 =>
            {
                (template, Some(version))
            }
            _ => (text, None),
        };
        if let Some(repo) = repository(template) {
            return Err(format!("a page of GitHub is no release; write gh:{repo}"));
        }
        let template = pattern(template)?;
        let which = match (index, version) {
            (Some(index), version) => {
                let selector = version.unwrap_or("latest").parse().map_err(|e| format!("{e}"))?;
                Which::Of(Index::beside(&template, index)?, selector)
            }
            (None, Some("latest")) => {
                return Err(
                    "an address alone can't tell what is the latest; name a version, or what lists them with --index"
                        .into(),
                );
            }
            (None, Some(version)) => Which::Named(Tag::new(version)),
            (None, None) if template.names_a_version() => {
                return Err(
                    "which version? Write it behind the address, …@1.2.3, or name what lists them with --index".into(),
                );
            }
            (None, None) => Which::Unversioned,
        };
        let any = (Tag::new("1"), Target::native(Libc::Gnu));
        let url = template.literal(Values { tag: Some(&any.0), target: &any.1 });
        let url = Url::parse(&url.ok_or("'*' has no meaning in an address")?).map_err(|e| e.to_string())?;
        if url.file_name().is_empty() {
            return Err("the address names a folder; the address of a file is needed".into());
        }
        Ok(Self { template, which, host: url.host().to_owned(), headers })
    }

    /// The host's name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address without its version, as it was written.
    pub fn template(&self) -> &str {
        self.template.as_str()
    }

    /// The release that is wanted. A version that is named in full is not looked up.
    pub fn release(&self, spelling: &str, wanted: &Wanted<'_>, net: &Net, say: &Say) -> Result<Release, SourceError> {
        match &self.which {
            Which::Unversioned => self.of(None, wanted.target),
            Which::Named(tag) => self.of(Some(tag.clone()), wanted.target),
            Which::Of(_, Selector::Exact(version)) => self.of(Some(Tag::new(version.as_str())), wanted.target),
            Which::Of(_, selector) => {
                let releases = self.releases(wanted.target, net, say)?.unwrap_or_default();
                let picked = selector.pick(&releases, wanted.channel).cloned();
                picked.ok_or_else(|| SourceError::NoRelease {
                    spelling: spelling.to_owned(),
                    what: nothing_picked(selector, &releases),
                })
            }
        }
    }

    /// Which of the releases in the index are wanted; `None` without an index.
    pub fn selector(&self) -> Option<&Selector> {
        match &self.which {
            Which::Of(_, selector) => Some(selector),
            _ => None,
        }
    }

    /// Every release in the index; `None` without one.
    pub fn releases(&self, target: &Target, net: &Net, say: &Say) -> Result<Option<Vec<Release>>, SourceError> {
        let Which::Of(index, _) = &self.which else { return Ok(None) };
        let url = index.url(target)?;
        let own = self.of(Some(Tag::new("1")), target)?.named;
        let ours = matches!(&own, Some(Asset { place: Place::Net(ask), .. }) if ask.url.same_origin(&url));
        let headers = if ours { self.headers.clone() } else { Vec::new() };
        let ask = Ask { url: url.clone(), accept: "*/*", headers };
        let wrong = |why| SourceError::Index { url: url.clone(), why };
        let document = net.document(&ask, INDEX_MAX, say).map_err(|e| match e {
            NetError::TooLarge { .. } => wrong(NotAnIndex::Large),
            e => e.into(),
        })?;
        let entries = index::read(&document, &index.names, target).map_err(wrong)?;
        let release = |entry: index::Entry| {
            let release = self.of(Some(entry.tag), target)?;
            Ok(Release { marked_pre: entry.marked_pre, published: entry.published, ..release })
        };
        entries.into_iter().map(release).collect::<Result<_, SourceError>>().map(Some)
    }

    /// The release of this version, whether it exists or not.
    fn of(&self, tag: Option<Tag>, target: &Target) -> Result<Release, SourceError> {
        let url = self.template.literal(Values { tag: tag.as_ref(), target }).unwrap_or_default();
        let url = Url::parse(&url).map_err(NetError::from)?;
        let asset = Asset {
            name: decode(url.file_name()),
            size: None,
            digest: None,
            ready: true,
            place: Place::Net(Ask { url, accept: "*/*", headers: self.headers.clone() }),
        };
        Ok(Release { tag, named: Some(asset), ..Release::default() })
    }
}

impl Index {
    /// The index at `place`: an address, or a name beside the first part of `template` that a version stands in.
    fn beside(template: &Pattern, place: &str) -> Result<Self, String> {
        let text = template.as_str();
        let first = ["{version}", "{tag}"].iter().filter_map(|slot| text.find(slot)).min();
        let first = first.ok_or("--index tells versions, and no {version} or {tag} stands in this address")?;
        let folder = text.get(..first).and_then(|before| before.rfind('/')).map_or(0, |slash| slash + 1);
        let (base, below) = text.split_at(folder);
        let below = below.split('?').next().unwrap_or_default();
        let last = below.rsplit('/').next().unwrap_or_default();
        let names = [below, last].into_iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
        let index = Self {
            base: pattern(base)?,
            place: pattern(place)?,
            names: names.into_iter().filter(Pattern::names_a_version).collect(),
        };
        if index.place.names_a_version() || index.place.has_star() {
            return Err("--index is one document: no *, {version} or {tag} can stand in it".into());
        }
        index.url(&Target::native(Libc::Gnu)).map_err(|e| format!("--index: {e}"))?;
        Ok(index)
    }

    fn url(&self, target: &Target) -> Result<Url, SourceError> {
        let literal = |pattern: &Pattern| pattern.literal(Values { tag: None, target }).unwrap_or_default();
        let base = Url::parse(&literal(&self.base)).map_err(NetError::from)?;
        Ok(base.join(&literal(&self.place)).map_err(NetError::from)?)
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    text.parse().map_err(|_| {
        "a placeholder is unknown; {version}, {tag}, {os}, {arch}, {goarch}, {target} and {libc} are known".to_owned()
    })
}

/// The asset that `pattern` names, in the folder of `first`.
pub fn beside(first: &Asset, pattern: &Pattern, values: Values<'_>) -> Result<Asset, SourceError> {
    let wrong = |why: &str| SourceError::Spelling { spelling: pattern.as_str().to_owned(), why: why.to_owned() };
    let name = pattern
        .literal(values)
        .ok_or_else(|| wrong("an address can't be listed; '*' needs a repository or a folder"))?;
    let Place::Net(ask) = &first.place else { return Err(wrong("no address to look beside")) };
    let url = ask.url.sibling(&name).map_err(NetError::from)?;
    Ok(Asset { name, place: Place::Net(Ask { url, ..ask.clone() }), ..first.clone() })
}

/// Undoes percent-encoding where the result is UTF-8.
pub fn decode(text: &str) -> String {
    String::from_utf8(decoded(text.as_bytes())).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<(String, String), String> {
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        let address = Address::parse(text, Vec::new(), None)?;
        let tag = match &address.which {
            Which::Named(tag) => Some(tag.clone()),
            _ => None,
        };
        let asset = address.of(tag, &target).unwrap().named.unwrap();
        let Place::Net(ask) = asset.place else { panic!() };
        Ok((ask.url.as_str().to_owned(), asset.name))
    }

    #[test]
    fn the_version_behind_the_address_fills_its_placeholders() {
        let (address, name) = url("https://h/{tag}/x-{version}-{goarch}.tgz@v1.2.3").unwrap();
        assert_eq!((address.as_str(), name.as_str()), ("https://h/v1.2.3/x-1.2.3-amd64.tgz", "x-1.2.3-amd64.tgz"));
        assert_eq!(url("https://h/a@b/x.tgz").unwrap().0, "https://h/a@b/x.tgz");
        assert_eq!(url("https://h/x%2B1.tgz").unwrap().1, "x+1.tgz");
    }

    #[test]
    fn the_page_of_a_repository_is_no_release() {
        for page in [
            "https://github.com/o/r",
            "https://github.com/o/r/",
            "https://github.com/o/r/releases",
            "https://github.com/o/r.git@v1",
        ] {
            assert_eq!(url(page).unwrap_err(), "a page of GitHub is no release; write gh:o/r", "{page}");
        }
        assert!(url("https://github.com/o/r/releases/download/v1/x.tgz").is_ok());
    }

    #[test]
    fn an_address_that_leaves_the_version_open_is_refused() {
        for bad in [
            "https://h/{version}.tgz",
            "https://h/{version}.tgz@latest",
            "https://h/*.tgz",
            "https://h/d/",
            "https://h",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_index_is_found_beside_the_first_part_with_a_version() {
        let index = |text: &str, place: &str| {
            let address = Address::parse(text, Vec::new(), Some(place))?;
            let Which::Of(index, _) = &address.which else { panic!() };
            let target = "x86_64-unknown-linux-gnu".parse().unwrap();
            let names = index.names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
            Ok::<_, String>((index.url(&target).unwrap().as_str().to_owned(), names.join(" ")))
        };
        for (text, place, url, names) in [
            ("https://h/r/{tag}/bin/{os}/k", "stable.txt", "https://h/r/stable.txt", "{tag}/bin/{os}/k"),
            (
                "https://h/{os}/x-{version}.tgz?k=v",
                "SHA256SUMS",
                "https://h/linux/SHA256SUMS",
                "x-{version}.tgz x-{version}.tgz",
            ),
            (
                "https://h/d/{tag}/x-{version}.tgz@v1",
                "/i.json",
                "https://h/i.json",
                "{tag}/x-{version}.tgz x-{version}.tgz",
            ),
            ("https://h/{tag}/x", "https://o/{goarch}.txt", "https://o/amd64.txt", "{tag}/x"),
        ] {
            assert_eq!(index(text, place).unwrap(), (url.to_owned(), names.to_owned()));
        }
        for (text, place) in [
            ("https://h/x", "i.txt"),
            ("https://h/{tag}/x", "{tag}.txt"),
            ("https://h/{tag}/x", "*.txt"),
            ("https://h/{tag}/x", "file:///etc/passwd"),
            ("https://h/{tag}/x", "https://me:SECRET@o/"),
            ("https://{tag}/x", "i.txt"),
        ] {
            assert!(!index(text, place).unwrap_err().contains("SECRET"), "{text} {place}");
        }
    }
}
