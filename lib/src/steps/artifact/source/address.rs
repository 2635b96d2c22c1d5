//! One address, perhaps with placeholders: `https://…{version}…@VERSION`. Nobody can list what else is there.

use super::{Asset, Place, Release, SourceError};
use crate::sys::net::url::Url;
use crate::sys::net::{Ask, Header, NetError};
use crate::words::pattern::{Pattern, Values};
use crate::words::release::Tag;
use crate::words::target::{Libc, Target};

/// The address of an asset, whose placeholders are filled in once the machine is known.
#[derive(Clone, Debug)]
pub struct Address {
    template: Pattern,
    tag: Option<Tag>,
    host: String,
    headers: Vec<Header>,
}

impl Address {
    /// Reads an address. `@VERSION` may follow the last segment of the path; `{version}` and `{tag}` need it.
    pub fn parse(text: &str, headers: Vec<Header>) -> Result<Self, String> {
        let (template, tag) = match text.rsplit_once('@') {
            Some((template, version))
                if !version.is_empty() && !version.contains(['/', '?', '{']) && template.matches('/').count() > 2 =>
            {
                (template, Some(Tag::new(version)))
            }
            _ => (text, None),
        };
        let template: Pattern = template.parse().map_err(|_| {
            "a placeholder is unknown; {version}, {tag}, {os}, {arch}, {goarch}, {target} and {libc} are known"
                .to_owned()
        })?;
        if template.names_a_version() && tag.is_none() {
            return Err(
                "which version? Write it behind the address: …@1.2.3 (an address can't tell what is the latest)".into(),
            );
        }
        if tag.as_ref().is_some_and(|tag| tag.as_str() == "latest") {
            return Err("an address can't tell what is the latest; name a version".into());
        }
        let any: Target = Target::native(Libc::Gnu);
        let url =
            template.literal(Values { tag: tag.as_ref(), target: &any }).ok_or("'*' has no meaning in an address")?;
        let url = Url::parse(&url).map_err(|e| e.to_string())?;
        if url.file_name().is_empty() {
            return Err("the address names a folder; the address of a file is needed".into());
        }
        Ok(Self { template, tag, host: url.host().to_owned(), headers })
    }

    /// The host's name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The release of the version that was given.
    pub fn release(&self, target: &Target) -> Result<Release, SourceError> {
        let url = self.template.literal(Values { tag: self.tag.as_ref(), target }).unwrap_or_default();
        let url = Url::parse(&url).map_err(NetError::from)?;
        let asset = Asset {
            name: decode(url.file_name()),
            size: None,
            digest: None,
            ready: true,
            place: Place::Net(Ask { url, accept: "*/*", headers: self.headers.clone() }),
        };
        Ok(Release { tag: self.tag.clone(), marked_pre: false, published: None, named: Some(asset), assets: None })
    }
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
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = pair.filter(|_| *first == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<(String, String), String> {
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        let release = Address::parse(text, Vec::new())?.release(&target).unwrap();
        let asset = release.named.unwrap();
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
}
