//! `fetch --list`: what a source has, as tags, as columns, as a table, and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{FetchError, Request};
use crate::steps::artifact::source::{Asset, Release, SourceError};
use crate::sys::clock::rfc3339;
use crate::sys::net::Net;
use crate::sys::say::Say;
use crate::words::release::{Tag, is_prerelease, newest_first};
use crate::words::target::Choice;

/// What is not known.
const NONE: &str = "-";

/// Every release that the request admits, the highest version first.
pub fn list(request: &Request, say: &Say) -> Result<Vec<Release>, FetchError> {
    let net = Net::open(request.policy.clone())?;
    let mut releases = request.source.releases(request.channel, &request.target, &net, say)?;
    newest_first(&mut releases);
    if let Some(floor) = &request.newer_than {
        let newest =
            releases.first().and_then(|release| release.tag.as_ref()).map(|tag| format!("the newest is {tag}"));
        let newer = |tag: &Tag| tag.version().and_then(|version| version.is_newer_than(floor)) == Some(true);
        releases.retain(|release| release.tag.as_ref().is_some_and(newer));
        if releases.is_empty() {
            let found = newest.unwrap_or_else(|| "there is no release".to_owned());
            return Err(FetchError::NothingNewer { source_name: request.source.spelling().to_owned(), found });
        }
    }
    if releases.is_empty() {
        let what = "no release there, or only pre-releases (see --pre)".to_owned();
        return Err(SourceError::NoRelease { spelling: request.source.spelling().to_owned(), what }.into());
    }
    Ok(releases)
}

/// The fields of the `--json` answer of `fetch --list`.
#[must_use]
pub fn listed(request: &Request, releases: &[Release]) -> Value {
    let asset = |asset: &Asset| json!({ "name": asset.name, "size": asset.size, "digest": asset.digest });
    let release = |release: &Release| {
        json!({
            "tag": release.tag.as_ref().map(Tag::as_str),
            "version": release.tag.as_ref().map(Tag::version_text),
            "prerelease": is_prerelease(release),
            "published": release.published.map(rfc3339),
            "notes": release.notes,
            "fits": fitting(release, request).map(|asset| &asset.name),
            "assets": release.assets.iter().flatten().map(asset).collect::<Vec<_>>(),
        })
    };
    json!({ "source": request.source.spelling(), "releases": releases.iter().map(release).collect::<Vec<_>>() })
}

/// The columns of one release, for scripts: tag, when it was published, the size in bytes of the asset that fits, `pre` or
/// `final`, the address of its notes; with a TAB between them, and `-` for what is not known.
#[must_use]
pub fn columns(release: &Release, request: &Request) -> String {
    let size = fitting(release, request).and_then(|asset| asset.size);
    let none = || NONE.to_owned();
    [
        release.tag.as_ref().map_or_else(none, Tag::to_string),
        release.published.map_or_else(none, rfc3339),
        size.map_or_else(none, |size| size.to_string()),
        if is_prerelease(release) { "pre" } else { "final" }.to_owned(),
        release.notes.clone().unwrap_or_else(none),
    ]
    .join("\t")
}

/// The same for people: a line a release, the columns below one another, with a heading.
#[must_use]
pub fn table(releases: &[Release], request: &Request) -> String {
    let heading = ["TAG", "PUBLISHED", "SIZE", "", "NOTES"].map(str::to_owned);
    let row = |release: &Release| {
        let size = fitting(release, request).and_then(|asset| asset.size);
        [
            release.tag.as_ref().map_or(NONE, Tag::as_str).to_owned(),
            release.published.map_or(NONE.to_owned(), |time| rfc3339(time).chars().take(10).collect()),
            size.map_or(NONE.to_owned(), round),
            if is_prerelease(release) { "pre" } else { "" }.to_owned(),
            release.notes.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<[String; 5]> = std::iter::once(heading).chain(releases.iter().map(row)).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|t| t.chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    for [tag, published, size, mark, notes] in &rows {
        let [a, b, c, d] = widths;
        let line = format!("{tag:a$}  {published:b$}  {size:>c$}  {mark:d$}  {notes}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The one asset that fits the machine.
fn fitting<'r>(release: &'r Release, request: &Request) -> Option<&'r Asset> {
    let assets = release.assets.as_deref().unwrap_or_default();
    let names: Vec<&str> = assets.iter().map(|asset| asset.name.as_str()).collect();
    match request.target.choose(&names) {
        Choice::One { name, .. } => assets.iter().find(|asset| asset.name == name),
        _ => None,
    }
}

/// A size as `ls -lh` shows it: three digits, rounded up, in units of 1024.
fn round(bytes: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes >= 1 << shift {
            let tenths = (u128::from(bytes) * 10).div_ceil(1 << shift);
            return if tenths < 100 {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            } else {
                format!("{}{unit}", tenths.div_ceil(10))
            };
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_rounded_as_ls_does() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10 << 20, "10M"),
            (12_345_678, "12M"),
            (u64::MAX, "16777216T"),
        ] {
            assert_eq!(super::round(bytes), text);
        }
    }
}
