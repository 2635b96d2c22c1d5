//! Where releases come from: GitHub, a registry, crates, an address, a folder, a file. What they have in common, and how each is spelled.

mod address;
mod cargo;
mod folder;
mod github;
mod oci;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err as fs;

use crate::sys::{Host, credentials};
use crate::sys::net::url::{Url, without_secrets};
use crate::sys::net::{Ask, Header, Net, NetError};
use crate::sys::say::Say;
use crate::words::digest::Digest;
use crate::words::exit::{Coded, Exit};
use crate::words::index::NotAnIndex;
use crate::words::pattern::{Pattern, Values};
use crate::words::release::{Channel, Selector, Tag, Tagged, Version};
use crate::words::target::Target;
use address::Address;
use cargo::{Cargo, CargoError};
use folder::Folder;
use github::GitHub;
pub use oci::Image;
use oci::{OciError, Registry};

/// Where releases come from, and which one is wanted.
#[derive(Clone, Debug)]
pub struct Source {
    spelling: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    GitHub(GitHub),
    Registry(Registry),
    Cargo(Cargo),
    Address(Address),
    Folder(Folder),
    File(PathBuf),
}

/// What is asked of a source.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whether pre-releases may be picked.
    pub channel: Channel,
    /// The machine that the assets are for; it fills the placeholders of an address.
    pub target: &'a Target,
    /// Which assets; without any, the one that fits.
    pub assets: &'a [Pattern],
    /// What is wanted beside them.
    pub sidecars: &'a [Pattern],
    /// The version that must be exceeded: of a release that does not, nothing more need be known.
    pub newer_than: Option<&'a Version>,
    /// How much must be known.
    pub asking: Asking,
}

impl<'a> Wanted<'a> {
    /// The assets and what is wanted beside them.
    fn patterns(&self) -> impl Iterator<Item = &'a Pattern> + use<'a> {
        self.assets.iter().chain(self.sidecars)
    }
}

/// How much of a release must be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Where its assets are, if it has them.
    Any,
    /// All that the source can tell: which assets there are, their sizes and digests, its date.
    All,
}

/// What upstream publishes under one tag.
#[derive(Clone, Debug, Default)]
pub struct Release {
    /// Its tag, if it has one.
    pub tag: Option<Tag>,
    /// True when its publisher marked it as a pre-release.
    pub marked_pre: bool,
    /// When it was published, in seconds since 1970-01-01 UTC, if that is known.
    pub published: Option<u64>,
    /// The asset that the source itself names: a file, an address.
    pub named: Option<Asset>,
    /// All its assets; `None` where nobody can list them.
    pub assets: Option<Vec<Asset>>,
    /// The address of its notes, if the source tells.
    pub notes: Option<String>,
    /// True when nobody was asked whether it and its assets exist.
    pub assumed: bool,
}

/// One file of a release.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its name as the source gives it, not yet checked.
    pub name: String,
    /// Its size in bytes, if the source tells.
    pub size: Option<u64>,
    /// Its digest, if the source tells.
    pub digest: Option<Digest>,
    /// False while it is being uploaded.
    pub ready: bool,
    /// Where it is.
    pub place: Place,
}

/// Where an asset's bytes are.
#[derive(Clone, Debug)]
pub enum Place {
    /// On the network.
    Net(Ask),
    /// In a file.
    File(PathBuf),
    /// In the file system of an image: a path without a slash in front; empty for all of it.
    Image {
        /// The image.
        image: Arc<Image>,
        /// The path.
        path: String,
    },
    /// Nowhere yet: a checksum list that is written of what was fetched, and what that is taken from.
    Written(String),
}

/// Why a source gave no release.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source is misspelled.
    #[error("{spelling}: {why}")]
    Spelling {
        /// The source, without secrets.
        spelling: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// It has no such release.
    #[error("{spelling}: {what}")]
    NoRelease {
        /// The source.
        spelling: String,
        /// What was not found, and what to try.
        what: String,
    },
    /// The network failed.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The answer made no sense.
    #[error("{url}: not an answer of the GitHub releases API: {why}")]
    Answer {
        /// Where we asked.
        url: Url,
        /// What is wrong with it.
        why: String,
    },
    /// A registry gave no manifest.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// cargo built nothing.
    #[error(transparent)]
    Cargo(#[from] CargoError),
    /// The index of an address is none.
    #[error("{url}: not a version index: {why}")]
    Index {
        /// Where it is.
        url: Url,
        /// What is wrong with it.
        why: NotAnIndex,
    },
    /// A folder could not be read.
    #[error("{0}")]
    Read(#[from] io::Error),
}

impl Coded for SourceError {
    fn exit(&self) -> Exit {
        match self {
            Self::Spelling { .. } => Exit::Usage,
            Self::NoRelease { .. } => Exit::No,
            Self::Net(e) => e.exit(),
            Self::Oci(e) => e.exit(),
            Self::Cargo(e) => e.exit(),
            Self::Answer { .. } | Self::Index { .. } | Self::Read(_) => Exit::CouldNot,
        }
    }
}

impl Tagged for Release {
    fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    fn is_marked_pre(&self) -> bool {
        self.marked_pre
    }
}

impl Release {
    /// The assets that `pattern` stands for. Where none can be listed: the one of that name, whether it exists or not.
    pub fn matching(&self, pattern: &Pattern, values: Values<'_>) -> Result<Vec<Asset>, SourceError> {
        if let Some(path) = pattern.as_str().strip_prefix('/').and(pattern.literal(values)) {
            return self.in_image(&path);
        }
        match (&self.assets, &self.named) {
            (Some(assets), _) => {
                let is_file = |asset: &&Asset| !matches!(asset.place, Place::Image { .. });
                let files = assets.iter().filter(is_file);
                Ok(files.filter(|asset| pattern.matches(&asset.name, values)).cloned().collect())
            }
            (None, Some(named)) => Ok(vec![address::beside(named, pattern, values)?]),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// The file at `path` of the image that this release is; whether it exists, the layers tell.
    fn in_image(&self, path: &str) -> Result<Vec<Asset>, SourceError> {
        let wrong = |why: &str| SourceError::Spelling { spelling: path.to_owned(), why: why.to_owned() };
        let normal = path.trim_start_matches('/');
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with(".wh.");
        if !normal.split('/').all(plain) {
            return Err(wrong("not the path of a file in an image; /usr/bin/NAME is the form"));
        }
        let images = self.assets.iter().flatten().filter_map(|asset| match &asset.place {
            Place::Image { image, .. } => {
                let place = Place::Image { image: image.clone(), path: normal.to_owned() };
                let name = normal.rsplit('/').next().unwrap_or_default().to_owned();
                Some(Asset { name, place, ..asset.clone() })
            }
            _ => None,
        });
        Ok(images.collect())
    }
}

impl Source {
    /// Reads SOURCE: `gh:OWNER/REPO[@SELECTOR]`, `oci://HOST/REPO[:TAG]`, `cargo:CRATE[@VERSION]`, `http(s)://…[@VERSION]`, or
    /// a path, for a folder with `[@SELECTOR]`.
    ///
    /// `headers` go to the source's own host alone; `index` tells the versions behind an address.
    pub fn parse(text: &OsStr, headers: Vec<Header>, index: Option<&str>) -> Result<Self, SourceError> {
        let spelling = without_secrets(&text.to_string_lossy());
        let wrong = |why: String| SourceError::Spelling { spelling: spelling.clone(), why };
        let is_address = text.as_bytes().starts_with(b"https:") || text.as_bytes().starts_with(b"http:");
        if index.is_some() && !is_address {
            return Err(wrong("--index is for an https:// address; what is here lists its versions itself".into()));
        }
        let local = local_path(text).map_err(|why| wrong(why.to_owned()))?;
        let kind = match local.to_str().and_then(|t| Some((t, t.split_once(':')?))) {
            Some((_, ("gh", rest))) => Kind::GitHub(GitHub::parse(rest, headers).map_err(wrong)?),
            Some((_, ("oci", rest))) => Kind::Registry(Registry::parse(rest, headers).map_err(wrong)?),
            Some((_, ("cargo", rest))) => Kind::Cargo(Cargo::parse(rest).map_err(wrong)?),
            Some((whole, ("http" | "https", _))) => {
                Kind::Address(Address::parse(whole, headers, index).map_err(wrong)?)
            }
            Some((_, (scheme, _))) if is_scheme(scheme) && fs::symlink_metadata(&local).is_err() => {
                return Err(wrong(format!(
                    "'{scheme}:' is not known; gh:OWNER/REPO, oci://HOST/REPO, cargo:CRATE, https://…, file:///…, a folder or a file is"
                )));
            }
            _ => path(&local).map_err(|e| match e {
                Missing::Selector(why) => wrong(why),
                Missing::Path => SourceError::NoRelease {
                    spelling: spelling.clone(),
                    what: "no such file or folder (for a GitHub repository write gh:OWNER/REPO)".into(),
                },
            })?,
        };
        Ok(Self { spelling, kind })
    }

    /// The source as it was asked for, without secrets.
    #[must_use]
    pub fn spelling(&self) -> &str {
        &self.spelling
    }

    /// The folder of its own, below the cache, for what is fetched from it: a relative path of plain parts.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        let parts: Vec<String> = match &self.kind {
            Kind::GitHub(github) => github.folder(),
            Kind::Registry(registry) => registry.folder(),
            Kind::Cargo(cargo) => cargo.folder(),
            Kind::Address(address) => vec![address.host().to_owned(), told_apart("", address.template().as_bytes())],
            Kind::Folder(Folder { dir: path, .. }) | Kind::File(path) => {
                let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                vec!["local".to_owned(), told_apart(&name, path.as_os_str().as_bytes())]
            }
        };
        parts.iter().map(|part| plain(part)).collect()
    }

    /// The release that is wanted.
    pub fn release(&self, wanted: &Wanted<'_>, net: &Net, say: &Say) -> Result<Release, SourceError> {
        match &self.kind {
            Kind::GitHub(github) => github.release(&self.spelling, wanted, net, say),
            Kind::Registry(registry) => registry.release(&self.spelling, wanted.channel, wanted.target, net, say),
            Kind::Cargo(cargo) => cargo.release(&self.spelling, wanted.channel, net, say),
            Kind::Address(address) => address.release(&self.spelling, wanted, net, say),
            Kind::Folder(folder) => folder.release(&self.spelling, wanted.channel),
            Kind::File(path) => folder::file(path),
        }
    }

    /// Builds what the release is made of, where that is still to be done; its assets are then known.
    pub fn build(
        &self,
        host: &Host,
        release: &mut Release,
        target: &Target,
        net: &Net,
        say: &Say,
    ) -> Result<(), SourceError> {
        if let Kind::Cargo(cargo) = &self.kind {
            let folder = host.cache().join("fetch").join(self.folder());
            let cross = (*target != host.target()).then_some(target);
            release.assets = Some(cargo.build(&self.spelling, &folder, release.tag.as_ref(), cross, net, say)?);
        }
        Ok(())
    }

    /// True where a release is there whole or not at all, so that what it lacks will never come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !matches!(self.kind, Kind::GitHub(_) | Kind::Address(_))
    }

    /// True where all assets are wanted when none is named: what was built was built for this machine.
    #[must_use]
    pub fn gives_all(&self) -> bool {
        matches!(self.kind, Kind::Cargo(_))
    }

    /// What a checksum list of what is fetched can be written from, where the release brings none.
    #[must_use]
    pub fn list_from(&self) -> Option<String> {
        match &self.kind {
            Kind::Registry(_) => Some(format!("the manifest of {}", self.spelling)),
            Kind::Cargo(_) => Some("what was built here".to_owned()),
            _ => None,
        }
    }

    /// Every release that the selector admits, unordered.
    pub fn releases(
        &self,
        channel: Channel,
        target: &Target,
        net: &Net,
        say: &Say,
    ) -> Result<Vec<Release>, SourceError> {
        let nothing = |why: &str| SourceError::Spelling { spelling: self.spelling.clone(), why: why.to_owned() };
        let (releases, selector) = match &self.kind {
            Kind::GitHub(github) => (github.releases(net, say)?, &github.selector),
            Kind::Registry(registry) => (registry.releases(&self.spelling, net, say)?, &registry.selector),
            Kind::Folder(folder) => (folder.releases()?, &folder.selector),
            Kind::Cargo(_) => {
                return Err(nothing("cargo lists no versions here; 'cargo info CRATE' shows the newest"));
            }
            Kind::Address(address) => address.releases(target, net, say)?.zip(address.selector()).ok_or_else(|| {
                nothing("an address alone can't be listed; name what lists its versions with --index")
            })?,
            Kind::File(_) => {
                return Err(nothing("there is nothing to list in a file; a repository or a folder has releases"));
            }
        };
        Ok(releases.into_iter().filter(|release| selector.admits(release, channel)).collect())
    }
}

/// The headers of `--header`: `NAME: VALUE`, or `@FILE` for each line of a file, as curl has it. Without any, those of the
/// credential `fetch-header`.
pub fn headers(lines: &[String]) -> Result<Vec<Header>, SourceError> {
    let lines_of = |text: String| {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(Header::line).collect::<Result<Vec<_>, _>>()
    };
    if lines.is_empty() {
        return Ok(lines_of(credentials::read(credentials::FETCH_HEADER)?.unwrap_or_default())?);
    }
    let mut headers = Vec::new();
    for line in lines {
        match line.strip_prefix('@') {
            Some(path) => headers.extend(lines_of(fs::read_to_string(path)?)?),
            None => headers.push(Header::line(line)?),
        }
    }
    Ok(headers)
}

/// Why a path gives no source.
enum Missing {
    Selector(String),
    Path,
}

/// A file, a folder, or a folder with `@SELECTOR` behind its last `@`.
fn path(text: &OsStr) -> Result<Kind, Missing> {
    let whole = PathBuf::from(text);
    if whole.is_dir() {
        return Ok(Kind::Folder(Folder { dir: whole, selector: Selector::Latest }));
    }
    if fs::symlink_metadata(&whole).is_ok() {
        return Ok(Kind::File(whole));
    }
    let bytes = text.as_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'@').ok_or(Missing::Path)?;
    let (dir, selector) = bytes.split_at(at);
    let dir = PathBuf::from(OsStr::from_bytes(dir));
    if !dir.is_dir() {
        return Err(Missing::Path);
    }
    let selector = String::from_utf8_lossy(selector.get(1..).unwrap_or_default());
    let selector = selector.parse().map_err(|e| Missing::Selector(format!("{e}")))?;
    Ok(Kind::Folder(Folder { dir, selector }))
}

/// The path that `file:///PATH` names, its bytes percent-decoded (RFC 8089); every other text as it is.
fn local_path(text: &OsStr) -> Result<OsString, &'static str> {
    let Some(rest) = text.as_bytes().strip_prefix(b"file:") else { return Ok(text.to_owned()) };
    let Some(rest) = rest.strip_prefix(b"//") else {
        return if text.as_bytes().get(5) == Some(&b'/') || fs::symlink_metadata(text).is_err() {
            Err("file:///PATH is the form, with three slashes; a mere path does too")
        } else {
            Ok(text.to_owned())
        };
    };
    let path = rest.strip_prefix(b"localhost").unwrap_or(rest);
    if !path.starts_with(b"/") {
        return Err("a file on another host can't be read; file:///PATH, with three slashes, is one here");
    }
    Ok(OsString::from_vec(decoded(path)))
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok()).filter(|_| *first == b'%');
        let byte = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = tail.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    bytes
}

/// `name` with a part of its own for `whole`: two folders of one name are two.
fn told_apart(name: &str, whole: &[u8]) -> String {
    let digest = Digest::of(whole).to_string();
    let digest = digest.get(..8).unwrap_or_default();
    if name.is_empty() { digest.to_owned() } else { format!("{}-{digest}", name.chars().take(60).collect::<String>()) }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// `text` as one plain part of a path.
#[must_use]
pub fn plain(text: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || "._+-~".contains(c) { c } else { '_' };
    let part: String = text.chars().take(80).map(safe).collect();
    match part.strip_prefix(['.', '-']) {
        Some(rest) => format!("_{rest}"),
        None if part.is_empty() => "_".to_owned(),
        None => part,
    }
}

/// Splits `REST[@SELECTOR]` at the last `@`; `latest` when there is none.
fn split_selector(text: &str) -> Result<(&str, Selector), String> {
    match text.rsplit_once('@') {
        Some((rest, selector)) => Ok((rest, selector.parse().map_err(|e| format!("{e}"))?)),
        None => Ok((text, Selector::Latest)),
    }
}

/// What to say when the selector picked none of `releases`.
fn nothing_picked(selector: &Selector, releases: &[Release]) -> String {
    if releases.is_empty() {
        "no release there".to_owned()
    } else if let Some(pre) = selector.pick(releases, Channel::WithPre).and_then(|release| release.tag.as_ref()) {
        format!("no final release for '{selector}', only pre-releases such as {pre}; name one, or use --pre")
    } else {
        format!("no release for '{selector}'; --list shows what there is")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, SourceError> {
        Source::parse(OsStr::new(text), Vec::new(), None)
    }

    #[test]
    fn each_form_is_told_from_the_others() {
        assert!(matches!(parse("gh:o/r@v1").unwrap().kind, Kind::GitHub(_)));
        assert!(matches!(parse("oci://h/r:v1").unwrap().kind, Kind::Registry(_)));
        assert!(matches!(parse("cargo:x@v1").unwrap().kind, Kind::Cargo(_)));
        assert!(matches!(parse("https://h/x-{version}.tgz@1.0").unwrap().kind, Kind::Address(_)));
        assert!(matches!(parse("/").unwrap().kind, Kind::Folder(Folder { selector: Selector::Latest, .. })));
        assert!(matches!(parse("/@v1").unwrap().kind, Kind::Folder(Folder { selector: Selector::Prefix(_), .. })));
        assert!(matches!(parse("/etc/passwd").unwrap().kind, Kind::File(_)));
    }

    #[test]
    fn what_is_no_source_says_so_and_keeps_secrets() {
        for (bad, exit) in [
            ("gh:o", Exit::Usage),
            ("gh:o/r/x", Exit::Usage),
            ("gh:o/..", Exit::Usage),
            ("gh:o/r@", Exit::Usage),
            ("oci://h/R", Exit::Usage),
            ("oci://me:SECRET@h/r", Exit::Usage),
            ("cargo:-x", Exit::Usage),
            ("cargo:x@", Exit::Usage),
            ("npm:x", Exit::Usage),
            ("https://me:SECRET@h/x", Exit::Usage),
            ("https://h/{x}?SECRET", Exit::Usage),
            ("https://h/{version}.tgz", Exit::Usage),
            ("/nonexistent/x@v1", Exit::No),
            ("/@a b", Exit::Usage),
            ("o/r", Exit::No),
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.exit(), exit, "{bad}: {error}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_file_address_is_a_path() {
        for (text, path) in [
            ("file:///etc/passwd", "/etc/passwd"),
            ("file://localhost/a%20b%25", "/a b%"),
            ("file:///a%zz", "/a%zz"),
            ("/a%20b", "/a%20b"),
        ] {
            assert_eq!(local_path(OsStr::new(text)).unwrap(), path, "{text}");
        }
        for bad in ["file://host/a", "file:/a", "file:a", "file://", "file://~/a"] {
            assert_eq!(parse(bad).unwrap_err().exit(), Exit::Usage, "{bad}");
        }
        assert!(matches!(
            parse("file:///@v1").unwrap().kind,
            Kind::Folder(Folder { selector: Selector::Prefix(_), .. })
        ));
    }

    #[test]
    fn two_places_have_two_folders_and_one_place_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| parse(dir.path().join(name).to_str().unwrap()).unwrap().folder();
        for name in ["a/r", "b/r"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        assert_ne!(at("a/r"), at("b/r"));
        assert_eq!(at("a/r"), at("b/../a/r@v1"));
        assert!(at("a/r").to_str().unwrap().starts_with("local/r-"));
        let of = |text: &str| parse(text).unwrap().folder();
        assert_ne!(of("https://h/a/{tag}/x@v1"), of("https://h/b/{tag}/x@v1"));
        assert_eq!(of("https://h/a/{tag}/x@v1"), of("https://h/a/{tag}/x@v2"));
    }

    #[test]
    fn a_tag_becomes_one_plain_part_of_a_path() {
        for (text, part) in [("v1.2.3", "v1.2.3"), ("..", "_."), ("cli/v1", "cli_v1"), ("", "_"), ("-x\n", "_x_")] {
            assert_eq!(plain(text), part);
        }
    }
}
