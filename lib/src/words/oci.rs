//! What a container registry is asked and what it answers: references, manifests and indexes, challenges.
//!
//! As the OCI distribution and image specifications 1.1 have it, and Docker's image manifest version 2, schema 2, which is the
//! same under other names.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::digest::Digest;
use super::release::Selector;
use super::target::Target;

/// The media types of manifests and indexes, for an `Accept:` header.
pub const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// The annotation of a layer that is a file: its name (ORAS puts it there).
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation that says which version the content has.
const VERSION: &str = "org.opencontainers.image.version";
/// The longest tag, in bytes.
const TAG_MAX: usize = 128;
/// The longest name of a repository, in bytes, host included.
const NAME_MAX: usize = 255;

/// `HOST[:PORT]/REPO`, and what of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The registry, in lower case, with its port if one is written.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// What of it is wanted.
    pub wanted: WantedManifest,
}

/// Which manifest of a repository is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedManifest {
    /// That of a tag which the selector picks.
    Selected(Selector),
    /// That of this tag, literally.
    Tagged(String),
    /// That of this digest; the tag in front of it, if any, says which version that is and decides nothing.
    Pinned(Digest, Option<String>),
}

impl Reference {
    /// Reads `//HOST[:PORT]/REPO[:TAG][@sha256:DIGEST]` or `//HOST[:PORT]/REPO[@SELECTOR]`, what stands behind `oci:`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || {
            "oci://HOST[:PORT]/REPO, then nothing, :TAG, @SELECTOR or @sha256:DIGEST, is the form (write a Docker Hub \
             image as oci://docker.io/library/NAME)"
                .to_owned()
        };
        let (host, rest) = text.strip_prefix("//").and_then(|text| text.split_once('/')).ok_or_else(form)?;
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return Err(form());
        }
        let (name, behind) = match rest.split_once('@') {
            Some((name, behind)) => (name, Some(behind)),
            None => (rest, None),
        };
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (name, None),
        };
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("a repository's name is in lower case: {}", repository.to_ascii_lowercase()));
        }
        if !is_repository(repository) || host.len() + repository.len() >= NAME_MAX {
            return Err(form());
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("'{tag}' is no tag: letters, digits, '_', '.' and '-', at most 128"));
        }
        let tag = tag.map(str::to_owned);
        let wanted = match (behind, tag) {
            (None, None) => WantedManifest::Selected(Selector::Latest),
            (None, Some(tag)) => WantedManifest::Tagged(tag),
            (Some(digest), tag) if digest.starts_with("sha256:") => {
                WantedManifest::Pinned(digest.parse().map_err(|e| format!("{e}"))?, tag)
            }
            (Some(other), _) if other.contains(':') => {
                return Err("only sha256 digests are known here: @sha256: and 64 hexadecimal digits".into());
            }
            (Some(_), Some(_)) => return Err("either :TAG or @SELECTOR says which one, not both".into()),
            (Some(selector), None) => WantedManifest::Selected(selector.parse().map_err(|e| format!("{e}"))?),
        };
        Ok(Self { host, repository: repository.to_owned(), wanted })
    }
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let plain = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(v6) => !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.'),
        None => {
            !name.is_empty()
                && !name.starts_with(['.', '-'])
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    plain && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Parts with slashes between them: letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_repository(text: &str) -> bool {
    let is_word = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_part = |part: &str| {
        let ends = part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric());
        let mut joints = part.split(|c: char| c.is_ascii_alphanumeric()).filter(|joint| !joint.is_empty());
        ends && joints.all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
            && part.split(['.', '_', '-']).all(is_word)
    };
    !text.is_empty() && text.split('/').all(is_part)
}

/// True for what the distribution specification allows as a tag.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=TAG_MAX).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['.', '-'])
}

/// True for a tag that says something about a manifest and is no release: `sha256-….sig`.
#[must_use]
pub fn is_attachment(tag: &str) -> bool {
    tag.starts_with("sha256-")
}

/// A manifest, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// Of several manifests, one for each platform.
    Index(Vec<Descriptor>),
    /// Of content.
    Content(Content),
}

/// What a manifest holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The version that its maker annotated.
    pub version: Option<String>,
}

/// What is said of a blob or of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The name of the file it is, if it is one; not yet checked.
    pub title: Option<String>,
    /// The machine it is for.
    pub platform: Option<Platform>,
}

/// A machine, as images name it (GOOS and GOARCH).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v7` for arm, `v8` for arm64.
    #[serde(default)]
    pub variant: Option<String>,
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotAManifest {
    /// They are no JSON object.
    #[error("it is not JSON")]
    Json,
    /// A schema from before digests meant anything.
    #[error("its schema version is not 2; the image must be pushed again with a newer tool")]
    Schema,
    /// It says two things at once, so two readers could take it for two things.
    #[error("it is a manifest and an index at once")]
    Both,
    /// Something is missing or of another type.
    #[error("{0}")]
    Field(String),
    /// Two layers have one name.
    #[error("two of its layers are called '{0}'")]
    Twice(String),
}

#[derive(Deserialize)]
struct RawDescriptor {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

impl TryFrom<RawDescriptor> for Descriptor {
    type Error = String;

    fn try_from(raw: RawDescriptor) -> Result<Self, String> {
        if !raw.digest.starts_with("sha256:") {
            return Err(format!("the digest '{}' is not sha256:…", raw.digest.chars().take(80).collect::<String>()));
        }
        let digest = raw.digest.parse().map_err(|e| format!("{e}"))?;
        let title = raw.annotations.unwrap_or_default().remove(TITLE);
        Ok(Self { media_type: raw.media_type, digest, size: raw.size, title, platform: raw.platform })
    }
}

impl Manifest {
    /// Reads a manifest or an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAManifest> {
        let mut value: Value = serde_json::from_slice(bytes).map_err(|_| NotAManifest::Json)?;
        let object = value.as_object_mut().ok_or(NotAManifest::Json)?;
        if object.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err(NotAManifest::Schema);
        }
        let is_index = object.contains_key("manifests");
        if is_index && (object.contains_key("layers") || object.contains_key("config")) {
            return Err(NotAManifest::Both);
        }
        let says_index = match object.get("mediaType") {
            None => is_index,
            Some(Value::String(kind)) => kind.contains("index") || kind.contains("manifest.list"),
            Some(_) => return Err(NotAManifest::Field("its media type is no text".into())),
        };
        if says_index != is_index {
            return Err(NotAManifest::Both);
        }
        let list = object.remove(if is_index { "manifests" } else { "layers" });
        let list = list.ok_or_else(|| NotAManifest::Field("it has neither layers nor manifests".into()))?;
        let list: Vec<RawDescriptor> = serde_json::from_value(list).map_err(|e| NotAManifest::Field(e.to_string()))?;
        let list = list.into_iter().map(Descriptor::try_from).collect::<Result<Vec<_>, _>>();
        let list = list.map_err(NotAManifest::Field)?;
        if is_index {
            return Ok(Self::Index(list));
        }
        let mut titles = BTreeSet::new();
        if let Some(twice) = list.iter().filter_map(|layer| layer.title.as_deref()).find(|title| !titles.insert(*title))
        {
            return Err(NotAManifest::Twice(twice.to_owned()));
        }
        let version = object.get("annotations").and_then(|all| all.get(VERSION)).and_then(Value::as_str);
        Ok(Self::Content(Content { layers: list, version: version.map(str::to_owned) }))
    }
}

impl Content {
    /// The layers that are files by their titles.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Descriptor)> {
        self.layers.iter().filter_map(|layer| Some((layer.title.as_deref()?, layer)))
    }

    /// The layers of an image's file system, lowest first; empty when this is no image.
    #[must_use]
    pub fn file_system(&self) -> &[Descriptor] {
        let is_layer = |layer: &Descriptor| layer.title.is_none() && layer.is_tar();
        if self.layers.iter().all(is_layer) { &self.layers } else { &[] }
    }
}

impl Descriptor {
    /// True for a layer of an image's file system: a tar archive, perhaps compressed.
    #[must_use]
    pub fn is_tar(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "application/vnd.oci.image.layer.v1.tar"
                | "application/vnd.oci.image.layer.v1.tar+gzip"
                | "application/vnd.oci.image.layer.v1.tar+zstd"
                | "application/vnd.docker.image.rootfs.diff.tar"
                | "application/vnd.docker.image.rootfs.diff.tar.gzip"
                | "application/vnd.docker.image.rootfs.diff.tar.zstd"
        )
    }
}

impl Platform {
    /// `linux/arm/v7`, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let variant = self.variant.as_deref().map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("{}/{}{variant}", self.os, self.architecture)
    }
}

/// The entry of an index for `target`: of its variant where several are, else without one. An entry that names no
/// platform is for every machine, when it is the only one.
#[must_use]
pub fn for_target<'d>(entries: &'d [Descriptor], target: &Target) -> Option<&'d Descriptor> {
    if let [only] = entries
        && only.platform.is_none()
    {
        return Some(only);
    }
    let variants: &[Option<&str>] = match target.arch() {
        "aarch64" => &[Some("v8"), None],
        // Go's v6 runs on v7, and not the other way round.
        "armv7l" => &[Some("v7"), None, Some("v6")],
        "armv6l" => &[Some("v6"), Some("v5"), None],
        _ => &[None, Some("v1")],
    };
    variants.iter().find_map(|variant| {
        entries.iter().find(|entry| {
            entry.platform.as_ref().is_some_and(|platform| {
                platform.os == target.os()
                    && platform.architecture == target.goarch()
                    && platform.variant.as_deref().filter(|text| !text.is_empty()) == *variant
            })
        })
    })
}

/// The machines that an index is for, for people.
#[must_use]
pub fn platforms(entries: &[Descriptor]) -> String {
    let all = entries.iter().filter_map(|entry| entry.platform.as_ref()).filter(|platform| platform.os != "unknown");
    let all: Vec<String> = all.take(20).map(Platform::shown).collect();
    if all.is_empty() { "none that is named".to_owned() } else { all.join(", ") }
}

/// What a registry wants before it answers, from its `WWW-Authenticate:` headers (RFC 9110, section 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token from `realm`, for `service`.
    Bearer {
        /// The address that gives tokens.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
    },
    /// A user name and a password.
    Basic,
}

impl Challenge {
    /// The first challenge that can be answered here. Its scope is not read: what is asked for is known better here.
    #[must_use]
    pub fn read(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |wanted: &str| {
            quoted(parameters).into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        Some(Self::Bearer { realm: value("realm")?, service: value("service") })
    }
}

/// `name="value"` pairs with commas between them, values perhaps without quotes.
fn quoted(text: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']);
        let (value, after) = match behind.strip_prefix('"') {
            Some(inside) => {
                let mut value = String::new();
                let mut chars = inside.char_indices();
                let mut end = inside.len();
                while let Some((at, c)) = chars.next() {
                    match c {
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        '\\' => value.extend(chars.next().map(|(_, c)| c)),
                        c => value.push(c),
                    }
                }
                (value, inside.get(end..).unwrap_or_default())
            }
            None => {
                let (value, after) = behind.split_once(',').unwrap_or((behind, ""));
                (value.trim().to_owned(), after)
            }
        };
        pairs.push((name, value));
        rest = after;
    }
    pairs
}

/// `text` in base 64 with padding (RFC 4648, section 4).
#[must_use]
pub fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) as usize & 63;
            let digit = DIGITS.get(digit).filter(|_| place <= chunk.len()).unwrap_or(&b'=');
            out.push(char::from(*digit));
        }
    }
    out
}

/// Whether a user name and a password for the registry `registry` may be shown to `realm`, which that registry named: to itself,
/// below itself, and to what stands under the same name: `auth.docker.io` for `registry-1.docker.io`, `gitlab.com` for
/// `registry.gitlab.com`. Addresses by number are only themselves.
#[must_use]
pub fn same_site(registry: &str, realm: &str) -> bool {
    let below = |host: &str, domain: &str| {
        host == domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
    };
    let by_number = |host: &str| host.starts_with('[') || host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if registry == realm {
        return true;
    }
    if by_number(registry) || by_number(realm) {
        return false;
    }
    let parent = registry.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
    below(realm, registry) || parent.is_some_and(|parent| below(realm, parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(text: &str) -> Result<(String, String, WantedManifest), String> {
        Reference::parse(text).map(|r| (r.host, r.repository, r.wanted))
    }

    #[test]
    fn each_form_of_a_reference_is_read() {
        let digest: Digest = HEX.parse().unwrap();
        let tagged = |tag: &str| WantedManifest::Tagged(tag.to_owned());
        for (text, host, repository, wanted) in [
            ("//h/r", "h", "r", WantedManifest::Selected(Selector::Latest)),
            (
                "//H.example:5000/a/b-c_d.e__f",
                "h.example:5000",
                "a/b-c_d.e__f",
                WantedManifest::Selected(Selector::Latest),
            ),
            ("//h/r:v1", "h", "r", tagged("v1")),
            ("//h:5000/r:latest", "h:5000", "r", tagged("latest")),
            ("//h/r@v1", "h", "r", WantedManifest::Selected(Selector::Prefix(vec![1]))),
            ("//h/r@v1.2.3", "h", "r", WantedManifest::Selected(Selector::Exact("v1.2.3".into()))),
            ("//[::1]:5000/r", "[::1]:5000", "r", WantedManifest::Selected(Selector::Latest)),
            (&format!("//h/r@sha256:{HEX}"), "h", "r", WantedManifest::Pinned(digest, None)),
            (&format!("//h/r:v2@sha256:{HEX}"), "h", "r", WantedManifest::Pinned(digest, Some("v2".into()))),
        ] {
            assert_eq!(parse(text), Ok((host.to_owned(), repository.to_owned(), wanted)), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in [
            "",
            "//",
            "h/r",
            "///r",
            "//h",
            "//h/",
            "//h//r",
            "//h/r/",
            "//h/R",
            "//h/-r",
            "//h/r_",
            "//h/a..b",
            "//h/a___b",
            "//h/../r",
            "//h/r:",
            "//h/r:.x",
            "//h/r:a/b",
            "//h/r:a b",
            "//h/r@",
            "//h/r@a b",
            "//h/r:v1@v1",
            "//h:99999/r",
            "//h:/r",
            "//me:pw@h/r",
            "//h/r@sha256:ba78",
            "//h/r@sha512:00",
            "//h/r?x",
            "//h/r#x",
            "//h/é",
            "//.h/r",
            "//[]/r",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
        assert!(Reference::parse(&format!("//h/{}", "r".repeat(300))).is_err());
        assert!(Reference::parse(&format!("//h/r:{}", "t".repeat(129))).is_err());
    }

    fn manifest(rest: &str) -> Result<Manifest, NotAManifest> {
        Manifest::parse(format!("{{\"schemaVersion\": 2{rest}}}").as_bytes())
    }

    fn layer(title: &str) -> String {
        format!(r#"{{"mediaType": "x", "digest": "sha256:{HEX}", "size": 3, "annotations": {{"{TITLE}": "{title}"}}}}"#)
    }

    #[test]
    fn a_manifest_is_one_thing_only() {
        let content = manifest(&format!(r#", "layers": [{}], "annotations": {{"{VERSION}": "v9"}}"#, layer("a")));
        let Ok(Manifest::Content(content)) = content else { panic!("{content:?}") };
        assert_eq!(content.version.as_deref(), Some("v9"));
        assert_eq!(content.files().map(|(title, layer)| (title, layer.size)).collect::<Vec<_>>(), [("a", 3)]);
        assert!(content.file_system().is_empty());
        assert!(matches!(manifest(r#", "manifests": []"#), Ok(Manifest::Index(_))));
        let index = "application/vnd.oci.image.index.v1+json";
        for (rest, why) in [
            (r#", "manifests": [], "layers": []"#.to_owned(), NotAManifest::Both),
            (format!(r#", "layers": [], "mediaType": "{index}""#), NotAManifest::Both),
            (r#", "manifests": [], "config": {}"#.to_owned(), NotAManifest::Both),
            (format!(r#", "layers": [{}, {}]"#, layer("a"), layer("a")), NotAManifest::Twice("a".into())),
        ] {
            assert_eq!(manifest(&rest), Err(why), "{rest}");
        }
        assert_eq!(Manifest::parse(b"<html>"), Err(NotAManifest::Json));
        assert_eq!(Manifest::parse(b"[]"), Err(NotAManifest::Json));
        assert_eq!(Manifest::parse(br#"{"schemaVersion": 1, "fsLayers": []}"#), Err(NotAManifest::Schema));
        for bad in [
            "",
            r#", "layers": {}"#,
            r#", "layers": [{}]"#,
            r#", "layers": [{"mediaType": "x", "digest": "md5:0", "size": 1}]"#,
            r#", "layers": [{"mediaType": "x", "digest": "sha256:0", "size": 1}]"#,
            r#", "layers": [], "mediaType": 3"#,
            &format!(r#", "layers": [{}]"#, layer("a").replace('3', "-3")),
        ] {
            assert!(manifest(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_entry_for_a_machine_is_found_by_its_variant() {
        let entry = |os: &str, architecture: &str, variant: Option<&str>| Descriptor {
            media_type: String::new(),
            digest: Digest::of(format!("{os}{architecture}{variant:?}").as_bytes()),
            size: 0,
            title: None,
            platform: Some(Platform {
                os: os.into(),
                architecture: architecture.into(),
                variant: variant.map(Into::into),
            }),
        };
        let all = [
            entry("unknown", "unknown", None),
            entry("windows", "amd64", None),
            entry("linux", "arm", Some("v6")),
            entry("linux", "arm", Some("v7")),
            entry("linux", "arm64", Some("v8")),
            entry("linux", "amd64", None),
        ];
        let found = |triple: &str| {
            for_target(&all, &triple.parse().unwrap()).map(|entry| entry.platform.clone().unwrap().shown())
        };
        assert_eq!(found("x86_64-unknown-linux-gnu").as_deref(), Some("linux/amd64"));
        assert_eq!(found("aarch64-unknown-linux-musl").as_deref(), Some("linux/arm64/v8"));
        assert_eq!(found("armv7-unknown-linux-gnueabihf").as_deref(), Some("linux/arm/v7"));
        assert_eq!(found("arm-unknown-linux-gnueabihf").as_deref(), Some("linux/arm/v6"));
        assert_eq!(found("riscv64gc-unknown-linux-gnu"), None);
        assert_eq!(platforms(&all[..3]), "windows/amd64, linux/arm/v6");
        let plain = [Descriptor { platform: None, ..all[0].clone() }];
        assert!(for_target(&plain, &"riscv64gc-unknown-linux-gnu".parse().unwrap()).is_some());
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        for (header, challenge) in [
            (
                r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#,
                bearer("https://a/t", Some("s")),
            ),
            (r#"bearer service=s , realm="https://a/\"t""#, bearer("https://a/\"t", Some("s"))),
            ("Bearer realm=https://a/t?x=y", bearer("https://a/t?x=y", None)),
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("Bearer", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::read(header), challenge, "{header}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text), encoded);
        }
    }

    #[test]
    fn a_password_stays_on_the_registry_s_site() {
        for (registry, realm, allowed) in [
            ("ghcr.io", "ghcr.io", true),
            ("registry-1.docker.io", "auth.docker.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("quay.io", "auth.quay.io", true),
            ("quay.io", "evil.io", false),
            ("quay.io", "evilquay.io", false),
            ("registry.gitlab.com", "evilgitlab.com", false),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("localhost", "evil", false),
        ] {
            assert_eq!(same_site(registry, realm), allowed, "{registry} {realm}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reference::parse(&text);
            let _ = Reference::parse(&format!("//h/{text}"));
            let _ = Challenge::read(&text);
            let _ = Challenge::read(&format!("Bearer {text}"));
            let _ = Manifest::parse(&bytes);
        }

        #[test]
        fn a_reference_holds_only_what_may_stand_in_an_address(text in "[a-zA-Z0-9/:@._?#%& -]{0,30}") {
            if let Ok(reference) = Reference::parse(&format!("//{text}")) {
                let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/._-".contains(&b);
                prop_assert!(reference.repository.bytes().all(allowed));
                prop_assert!(!reference.repository.split('/').any(|part| matches!(part, "" | "." | "..")));
                prop_assert!(!reference.host.contains(['/', '@', '?', '#', '%']));
            }
        }
    }
}
