//! Manifests and indexes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::words::digest::Digest;
use crate::words::target::Target;

/// The annotation of a layer that is a file: its name (ORAS puts it there).
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation that says which version the content has.
const VERSION: &str = "org.opencontainers.image.version";
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

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
}
