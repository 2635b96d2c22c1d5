//! What GitHub's REST API says of releases (docs.github.com/rest/releases/releases), read without trust. Forgejo says the same.

use std::time::UNIX_EPOCH;

use serde::Deserialize;

use super::digest::Digest;

/// The longest tag that is taken, in bytes; git's own limit is that of a file name.
const TAG_MAX: usize = 255;

/// A release as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its tag: not empty, without spaces and control characters.
    pub tag: String,
    /// True while only its authors see it.
    pub draft: bool,
    /// True when its publisher marked it as a pre-release.
    pub prerelease: bool,
    /// When it was published, in seconds since 1970-01-01 UTC.
    pub published: Option<u64>,
    /// The address of its notes.
    pub notes: Option<String>,
    /// Its assets.
    pub assets: Vec<Asset>,
}

/// An asset as the API shows it. Names and addresses are as they came, and still to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its name.
    pub name: String,
    /// Its address in the API, for whoever has a token.
    pub by_api: Option<String>,
    /// Its address for everybody.
    pub address: String,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its SHA-256, if the API tells.
    pub digest: Option<Digest>,
    /// False while it is being uploaded.
    pub ready: bool,
}

/// An answer that is not what the API gives.
#[derive(Debug, thiserror::Error)]
pub enum NotReleases {
    /// Not the JSON of a release, or of a list of them.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A tag that git would not take.
    #[error("a release has the tag {0:?}, which git would not take")]
    Tag(String),
}

#[derive(Deserialize)]
struct ApiRelease {
    tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    published_at: Option<String>,
    html_url: Option<String>,
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

/// Reads a list of releases.
pub fn releases(json: &[u8]) -> Result<Vec<Release>, NotReleases> {
    serde_json::from_slice::<Vec<ApiRelease>>(json)?.into_iter().map(read).collect()
}

/// Reads one release.
pub fn release(json: &[u8]) -> Result<Release, NotReleases> {
    read(serde_json::from_slice(json)?)
}

/// True for a text that may be a tag: what git refuses in every name is refused (git-check-ref-format(1)).
#[must_use]
pub fn is_tag(text: &str) -> bool {
    (1..=TAG_MAX).contains(&text.len())
        && !text.contains("..")
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c))
}

/// The time that `text` says by RFC 3339, in seconds since 1970-01-01 UTC.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    Some(humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn read(release: ApiRelease) -> Result<Release, NotReleases> {
    if !is_tag(&release.tag_name) {
        return Err(NotReleases::Tag(release.tag_name.chars().take(80).collect()));
    }
    let asset = |asset: ApiAsset| Asset {
        name: asset.name,
        by_api: asset.url,
        address: asset.browser_download_url,
        size: asset.size,
        digest: asset.digest.as_deref().and_then(|digest| digest.parse().ok()),
        ready: asset.state.is_none_or(|state| state == "uploaded"),
    };
    Ok(Release {
        tag: release.tag_name,
        draft: release.draft,
        prerelease: release.prerelease,
        published: release.published_at.as_deref().and_then(seconds),
        notes: release.html_url.filter(|url| is_shown(url)),
        assets: release.assets.into_iter().map(asset).collect(),
    })
}

/// True for an address that may be printed: nothing in it ends a field or a line.
fn is_shown(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://"))
        && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: &str = r#"{"tag_name":"v1.0.0","prerelease":true,"published_at":"2026-01-02T03:04:05Z",
        "html_url":"https://h/o/r/releases/tag/v1.0.0","body":"x","assets":[{"name":"a","url":"https://api/1",
        "browser_download_url":"https://h/a","size":3,"state":"starter",
        "digest":"sha256:83df6a94e8692155862f85c96e7a1d5fc87f1cd0123656ca387eae6ad45efd36"}]}"#;

    #[test]
    fn a_release_is_read_with_its_assets() {
        let read = release(ONE.as_bytes()).unwrap();
        assert_eq!((read.tag.as_str(), read.draft, read.prerelease), ("v1.0.0", false, true));
        assert_eq!(read.published, Some(1_767_323_045));
        assert_eq!(read.notes.as_deref(), Some("https://h/o/r/releases/tag/v1.0.0"));
        let [asset] = &read.assets[..] else { panic!() };
        assert!(!asset.ready && asset.digest.is_some() && asset.size == Some(3));
        assert_eq!(releases(format!("[{ONE},{ONE}]").as_bytes()).unwrap(), [read.clone(), read]);
        let least = release(br#"{"tag_name":"v1","published_at":null,"assets":[]}"#).unwrap();
        assert_eq!((least.published, least.notes, least.assets), (None, None, vec![]));
    }

    #[test]
    fn what_is_no_release_is_refused() {
        for bad in ["", "{}", "[]", r#"{"tag_name":5}"#, "<html>", r#"{"message":"Not Found"}"#] {
            assert!(release(bad.as_bytes()).is_err(), "{bad}");
        }
        for tag in ["", "a b", r"a\nb", r"a\u001b[2J", "a..b", "a:b", r"a\u0085b"] {
            assert!(releases(format!(r#"[{{"tag_name":"{tag}"}}]"#).as_bytes()).is_err(), "{tag:?}");
        }
        for url in [r"https://h/\u001b[2J", r"https://h/a\tb", "javascript:1", "file:///x"] {
            let read = release(format!(r#"{{"tag_name":"v1","html_url":"{url}"}}"#).as_bytes()).unwrap();
            assert_eq!(read.notes, None, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut json in Just(ONE.as_bytes().to_vec()), at in 0usize..500, byte: u8, cut in 0usize..500) {
            let len = json.len();
            json[at % len] = byte;
            json.truncate(cut.max(1));
            let _ = (release(&json), releases(&json));
        }
    }
}
