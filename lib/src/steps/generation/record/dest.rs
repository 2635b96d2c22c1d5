//! The path of a managed file, and the names beside it that are upswap's.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Id;

/// The path of a managed file, absolute, its folder's symlinks resolved.
///
/// Written to JSON as text in which a backslash and every byte that is not UTF-8 stand as `\xNN`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dest(PathBuf);

impl Dest {
    /// A path that is known to be absolute and resolved.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The hard link that keeps this file as it was in the generation it was born in.
    #[must_use]
    pub fn backup(&self, born: Id) -> PathBuf {
        self.sibling(&format!("upswap-{born}"))
    }

    /// The hard link to the last proven file: what `rollback PATH` needs and nothing else.
    #[must_use]
    pub fn bak(&self) -> PathBuf {
        self.sibling("bak")
    }

    /// Where the new file waits for its rename. A fixed name: what a killed run left is found and swept by the next.
    #[must_use]
    pub fn staged(&self) -> PathBuf {
        self.sibling("upswap-new")
    }

    /// Where a file that somebody put here by hand is kept when the way back replaces it.
    #[must_use]
    pub fn kept_aside(&self, time: u64) -> PathBuf {
        self.sibling(&format!("upswap-kept-{time}"))
    }

    /// `.FILE.SUFFIX` beside the file.
    #[must_use]
    pub fn sibling(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.0.file_name().unwrap_or_default());
        name.push(".");
        name.push(suffix);
        self.0.with_file_name(name)
    }

    /// Whether this is a unit file or a drop-in, which goes in after the binaries and out before them. It is one by its
    /// folder too (`/etc/systemd/system`, `~/.config/systemd/user`): a program may be called `x.service` elsewhere.
    #[must_use]
    pub fn is_unit(&self) -> bool {
        let extension = self.0.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let in_units = self.0.components().any(|c| c.as_os_str() == "systemd");
        in_units && matches!(extension, "service" | "socket" | "timer" | "path" | "target" | "mount" | "conf")
    }
}

impl Serialize for Dest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            text.push_str(&chunk.valid().replace('\\', "\\x5c"));
            text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Dest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut parts = text.split("\\x");
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let bad = || de::Error::custom(format!("'{text}' is not a path"));
            let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or_else(bad)?;
            bytes.push(byte);
            bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
        }
        Ok(Self(OsString::from_vec(bytes).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_comes_back_from_json() {
        for bytes in [&b"/a/b\xff\\x41\xc3"[..], b"/usr/local/bin/runed", "/é\\".as_bytes()] {
            let dest = Dest::new(OsString::from_vec(bytes.to_vec()).into());
            let text = serde_json::to_string(&dest).unwrap();
            assert_eq!(serde_json::from_str::<Dest>(&text).unwrap(), dest, "{text}");
        }
    }
}
