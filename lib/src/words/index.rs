//! A version index: the document that tells which versions lie behind an address with `{version}` in it.
//!
//! What is found in the wild: a text with a version a line (one line alone: Kubernetes' `stable.txt`), a checksum list whose names
//! hold the versions (systemd-sysupdate's `SHA256SUMS`), JSON: an array of strings or objects, or an object of them by version.

use serde_json::{Map, Value};

use super::github;
use super::pattern::Pattern;
use super::release::Tag;
use super::target::Target;

/// The most versions of an index.
const ENTRIES_MAX: usize = 50_000;
/// The longest version, in bytes.
const VERSION_MAX: usize = 128;
/// The members of an object that name its version, the first that is there counts.
const NAMES: [&str; 3] = ["tag_name", "version", "name"];
/// The members that say when it was published.
const DATES: [&str; 4] = ["published_at", "released_at", "date", "timestamp_created"];

/// A version that the index has.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub tag: Tag,
    /// True when the index marks it as a pre-release.
    pub marked_pre: bool,
    /// When it was published, in seconds since 1970-01-01 UTC, if the index tells.
    pub published: Option<u64>,
}

/// Why a document is no index.
#[derive(Debug, thiserror::Error)]
pub enum NotAnIndex {
    /// A web page.
    #[error("it is a web page; a text with a version a line, a checksum list or JSON is needed")]
    Page,
    /// Not a text at all.
    #[error("it is no plain text: byte {0} is not UTF-8 or a control character")]
    Binary(usize),
    /// JSON that can't be read.
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another form.
    #[error(
        "its JSON is no list of versions: an array of strings, of objects with tag_name or version, or an object by version is one"
    )]
    Form,
    /// A version that could lead elsewhere or is none.
    #[error("{0:?} is no version: letters, digits, and . _ + - ~ make one")]
    Version(String),
    /// A checksum list without a name that fits.
    #[error("no name in this checksum list has the form '{0}'")]
    NoName(String),
    /// Too many bytes.
    #[error("it is larger than 4M")]
    Large,
    /// Too many versions.
    #[error("it has more than 50000 versions")]
    Long,
}

/// Reads an index. `names` are the forms that the names in a checksum list may have, the fullest first.
pub fn read(document: &[u8], names: &[Pattern], target: &Target) -> Result<Vec<Entry>, NotAnIndex> {
    let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    let text = std::str::from_utf8(document).map_err(|e| NotAnIndex::Binary(e.valid_up_to()))?;
    let control = |(_, c): &(usize, char)| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some((at, _)) = text.char_indices().find(control) {
        return Err(NotAnIndex::Binary(at));
    }
    let entries = match text.trim_start().chars().next() {
        Some('<') => return Err(NotAnIndex::Page),
        Some('[' | '{') => json(serde_json::from_str(text)?)?,
        _ => lines(text, names, target)?,
    };
    if entries.len() > ENTRIES_MAX { Err(NotAnIndex::Long) } else { Ok(entries) }
}

fn lines(text: &str, names: &[Pattern], target: &Target) -> Result<Vec<Entry>, NotAnIndex> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if !lines().any(|line| listed_name(line).is_some()) {
        return lines().map(|line| entry(line).ok_or_else(|| wrong(line))).collect();
    }
    let mut entries: Vec<Entry> = Vec::new();
    for name in lines().filter_map(listed_name).map(|name| name.strip_prefix("./").unwrap_or(name)) {
        let tag = names.iter().find_map(|pattern| pattern.tag_in(name, target));
        // Of one version there may be many files.
        if let Some(tag) = tag.filter(|tag| entries.last().is_none_or(|last| last.tag.as_str() != tag.as_str())) {
            entries.push(entry(tag.as_str()).ok_or_else(|| wrong(tag.as_str()))?);
        }
    }
    match names.last() {
        Some(form) if entries.is_empty() => Err(NotAnIndex::NoName(form.as_str().to_owned())),
        _ => Ok(entries),
    }
}

/// The file that a line of a checksum list names, in the GNU form or the BSD form.
fn listed_name(line: &str) -> Option<&str> {
    if let Some((before, _)) = line.rsplit_once(") = ") {
        return Some(before.split_once(" (")?.1);
    }
    let (digest, name) = line.split_once(' ')?;
    let is_digest = digest.len() >= 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| name.trim_start_matches([' ', '*'])).filter(|name| !name.is_empty())
}

fn json(document: Value) -> Result<Vec<Entry>, NotAnIndex> {
    match document {
        Value::Array(values) => values.into_iter().filter_map(|value| version(value).transpose()).collect(),
        Value::Object(mut members) => match members.remove("versions").or_else(|| members.remove("releases")) {
            Some(Value::Object(by_version)) => {
                by_version.keys().map(|key| entry(key).ok_or_else(|| wrong(key))).collect()
            }
            Some(list @ Value::Array(_)) => json(list),
            Some(_) => Err(NotAnIndex::Form),
            // One release alone: a latest.json.
            None => version(Value::Object(members)).map(|entry| entry.into_iter().collect()),
        },
        _ => Err(NotAnIndex::Form),
    }
}

/// The version that one value of an array names; `None` for a draft.
fn version(value: Value) -> Result<Option<Entry>, NotAnIndex> {
    match value {
        Value::String(text) => entry(&text).ok_or_else(|| wrong(&text)).map(Some),
        Value::Object(members) => {
            let text = |name: &&str| members.get(*name).and_then(Value::as_str);
            let name = NAMES.iter().find_map(text).ok_or(NotAnIndex::Form)?;
            if is_true(&members, "draft") {
                return Ok(None);
            }
            let entry = entry(name).ok_or_else(|| wrong(name))?;
            let published = DATES.iter().find_map(text).and_then(github::seconds);
            Ok(Some(Entry { marked_pre: is_true(&members, "prerelease"), published, ..entry }))
        }
        _ => Err(NotAnIndex::Form),
    }
}

fn is_true(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name) == Some(&Value::Bool(true))
}

/// The entry of a plain version. What it says is put into an address: nothing in it may lead to another folder.
fn entry(text: &str) -> Option<Entry> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-~".contains(c);
    let fits =
        (1..=VERSION_MAX).contains(&text.len()) && text.chars().all(plain) && !text.contains("..") && text != ".";
    fits.then(|| Entry { tag: Tag::new(text), marked_pre: false, published: None })
}

fn wrong(text: &str) -> NotAnIndex {
    NotAnIndex::Version(text.chars().take(60).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tags(document: &str, names: &[&str]) -> Result<Vec<String>, NotAnIndex> {
        let names: Vec<Pattern> = names.iter().map(|name| name.parse().unwrap()).collect();
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        Ok(read(document.as_bytes(), &names, &target)?.iter().map(|entry| entry.tag.as_str().to_owned()).collect())
    }

    #[test]
    fn a_text_with_a_version_a_line_is_an_index() {
        assert_eq!(tags("v1.31.0\n", &[]).unwrap(), ["v1.31.0"]);
        assert_eq!(tags("\u{feff}# all\r\n1.0\r\n\r\n 1.1 \r\nnightly", &[]).unwrap(), ["1.0", "1.1", "nightly"]);
        assert_eq!(tags("", &[]).unwrap(), [""; 0]);
    }

    #[test]
    fn a_checksum_list_whose_names_have_the_form_is_an_index() {
        let digest = "83df6a94e8692155862f85c96e7a1d5fc87f1cd0123656ca387eae6ad45efd36";
        let list = format!(
            "{digest}  x-1.0.0-amd64.tgz\n{digest} *./x-1.1.0-amd64.tgz\n{digest}  x-1.1.0-amd64.tgz\n{digest}  README\n\
             SHA256 (x-1.2.0-amd64.tgz) = {digest}\n{digest}  x-9.0.0-arm64.tgz\n{digest}  v2.0.0/x-2.0.0-amd64.tgz\n"
        );
        let forms = ["{tag}/x-{version}-{goarch}.tgz", "x-{version}-{goarch}.tgz"];
        assert_eq!(tags(&list, &forms).unwrap(), ["1.0.0", "1.1.0", "1.2.0", "v2.0.0"]);
        assert_eq!(
            tags(&format!("{digest}  other"), &forms).unwrap_err().to_string(),
            "no name in this checksum list has the form 'x-{version}-{goarch}.tgz'"
        );
    }

    #[test]
    fn a_list_as_long_as_a_document_is_read() {
        let digest = "83df6a94e8692155862f85c96e7a1d5fc87f1cd0123656ca387eae6ad45efd36";
        // Names that fit up to their last byte, as many as a document has room for.
        let line = |n: u32| {
            [digest, &format!("  1.{n}/x-1.{n}.tg"), if n.is_multiple_of(2) { "z" } else { "a" }, "\n"].concat()
        };
        let list = (0..30_000).map(line).collect::<Vec<_>>().concat();
        assert_eq!(tags(&list, &["{version}/x-{version}.tgz", "x-{version}.tgz"]).unwrap().len(), 15_000);
    }

    #[test]
    fn json_of_many_forms_is_an_index() {
        for document in [
            r#"["v1.0.0","v1.1.0"]"#,
            r#"[{"version":"v1.0.0","date":"2026-01-01"},{"version":"v1.1.0"}]"#,
            r#"[{"tag_name":"v1.0.0","name":"First!"},{"tag_name":"v1.1.0","name":""},{"tag_name":"v2.0.0","draft":true}]"#,
            r#"{"name":"x","versions":{"v1.0.0":{},"v1.1.0":{"shasums":"y"}}}"#,
            r#" {"versions":["v1.0.0","v1.1.0"]}"#,
        ] {
            assert_eq!(tags(document, &[]).unwrap(), ["v1.0.0", "v1.1.0"], "{document}");
        }
        assert_eq!(tags(r#"{"version":"1.0"}"#, &[]).unwrap(), ["1.0"]);
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        let forgejo = br#"[{"tag_name":"v2","prerelease":true,"published_at":"2026-01-02T03:04:05Z"}]"#;
        let [entry] = &read(forgejo, &[], &target).unwrap()[..] else { panic!() };
        assert_eq!((entry.marked_pre, entry.published), (true, Some(1_767_323_045)));
    }

    #[test]
    fn what_could_lead_elsewhere_or_is_no_index_is_refused() {
        for bad in [
            "<!DOCTYPE html><a href=\"1.0\">",
            "\n <html>",
            "1.0\u{1b}[2J",
            "1.0\0",
            "../../etc",
            "1.0/../../x",
            "1.0?x=y",
            "1.0#",
            "a b",
            "é",
            "{}",
            "[1]",
            "[{}]",
            "[[]]",
            "{\"versions\":1}",
            "[\"1.0\"",
            "[\"../x\"]",
            "{\"versions\":{\"a/b\":{}}}",
            "[\"\"]",
            ".",
        ] {
            assert!(tags(bad, &[]).is_err(), "{bad:?}");
        }
        assert!(tags(&"x".repeat(129), &[]).is_err());
        assert!(tags(&"1.0\n".repeat(ENTRIES_MAX + 1), &[]).is_err());
        assert!(tags(&"[".repeat(100_000), &[]).is_err());
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        assert!(read(b"1.0\xff", &[], &target).is_err());
    }

    proptest! {
        #[test]
        fn no_document_panics_and_no_version_leads_elsewhere(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,60}|[0-9a-f]{32}  [x/.0-9-]{0,20}|[\\[{\"a-z0-9:,.\\]}]{0,30}") {
            let target = "x86_64-unknown-linux-gnu".parse().unwrap();
            let names = ["{version}/x-{tag}".parse().unwrap(), "x-{version}".parse().unwrap()];
            for document in [bytes.as_slice(), text.as_bytes()] {
                for entry in read(document, &names, &target).unwrap_or_default() {
                    prop_assert!(!entry.tag.as_str().contains(['/', '?', '#', '%', '\n']) && entry.tag.as_str() != "..");
                }
            }
        }
    }
}
