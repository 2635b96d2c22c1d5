//! The origin record: where bytes came from and what proved them. It travels with them, from fetch to a generation's history.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sys::{Host, durable, intake, trust};
use crate::words::digest::Digest;

/// Where a file came from. Written by fetch beside the asset, completed by verify in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The version of this record's form; 1.
    pub schema: u32,
    /// The source as it was asked for: `gh:runestack/rune@latest`.
    pub source: String,
    /// The release's version or tag, when the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// True when its publisher marked the release as a pre-release.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prerelease: bool,
    /// When the release was published, in seconds since 1970-01-01 UTC, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<u64>,
    /// The asset's name in the release.
    pub asset: String,
    /// The asset's digest as it was received. A member extracted from it has a digest of its own: its store path.
    pub digest: Digest,
    /// When it was received, in seconds since 1970-01-01 UTC.
    pub time: u64,
    /// What was proved of the asset, one statement each, in verify's words; empty until verify saw it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proven: Vec<String>,
}

// serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Origin {
    /// The form of the record that this program writes.
    pub const SCHEMA: u32 = 1;

    /// Where the record of `asset` is: `ASSET.origin.json` beside it.
    #[must_use]
    pub fn beside(asset: &Path) -> PathBuf {
        let mut name = asset.file_name().unwrap_or_default().to_owned();
        name.push(".origin.json");
        asset.with_file_name(name)
    }

    /// The record at `path`; `None` when there is none.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match intake::read_small(path) {
            Ok(bytes) => Self::parse(path, &bytes).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
        }
    }

    /// The record beside `asset`, and why others may have written what it says; `None` when there is none.
    pub fn of(host: &Host, asset: &Path) -> io::Result<Option<(Self, Option<io::Error>)>> {
        let path = Self::beside(asset);
        let (record, doubt) = match trust::read(host, &path) {
            Ok(bytes) => (bytes.map(|bytes| Self::parse(&path, &bytes)).transpose()?, None),
            Err(why) => (Self::read(&path)?, Some(why)),
        };
        Ok(record.map(|record| (record, doubt)))
    }

    fn parse(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: not an origin record: {e}", path.display()))
        })
    }

    /// Writes the record to `path`, whole or not at all.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        durable::replace_shared(path, &text, 0o644)
    }
}
