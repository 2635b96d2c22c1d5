//! A file's owner, mode and extended attributes, carried to the file that replaces it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use xattr::FileExt;

/// The extended attribute that holds file capabilities (capabilities(7)).
pub const CAPABILITY: &str = "security.capability";

/// What a new file shall be, besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attrs {
    /// The owner's user ID.
    pub uid: u32,
    /// The owner's group ID.
    pub gid: u32,
    /// The permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// Extended attributes but the capability, ACLs among them (acl(5) keeps them so).
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    /// The raw bytes of `security.capability`.
    pub capability: Option<Vec<u8>>,
}

/// An attribute that could not be read or set, by its name.
#[derive(Debug, thiserror::Error)]
#[error("{what} could not be {verb}: {source}")]
pub struct AttrError {
    what: String,
    verb: &'static str,
    source: io::Error,
}

fn read_failed(what: impl AsRef<OsStr>) -> impl FnOnce(io::Error) -> AttrError {
    move |source| AttrError { what: what.as_ref().to_string_lossy().into_owned(), verb: "read", source }
}

fn set_failed(what: impl AsRef<OsStr>) -> impl FnOnce(io::Error) -> AttrError {
    move |source| AttrError { what: what.as_ref().to_string_lossy().into_owned(), verb: "set", source }
}

impl Attrs {
    /// Everything of `file` that goes with it to its successor.
    ///
    /// `security.ima` and `security.evm` are bound to the old bytes, and `overlay` attributes belong to the file system: they stay behind.
    pub fn of(file: &File) -> Result<Self, AttrError> {
        let meta = file.metadata().map_err(read_failed("owner and mode"))?;
        let mut attrs =
            Self { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777, xattrs: Vec::new(), capability: None };
        for name in names(file)? {
            let Some(value) = file.get_xattr(&name).map_err(read_failed(&name))? else { continue };
            if name == CAPABILITY {
                attrs.capability = Some(value);
            } else {
                attrs.xattrs.push((name, value));
            }
        }
        Ok(attrs)
    }

    /// Makes `file` have just these attributes, in the order in which the kernel does not take one back for another:
    /// chown clears setuid and the capability, an ACL sets the group's bits and chmod the ACL's mask, so that a mode that was
    /// asked for wins, and the capability goes last.
    pub fn set_on(&self, file: &File) -> Result<(), AttrError> {
        fchown(file, Some(self.uid), Some(self.gid)).map_err(set_failed("owner"))?;
        for name in names(file)? {
            let wanted = name == "security.selinux" || self.xattrs.iter().any(|(ours, _)| *ours == name);
            if !wanted && (name != CAPABILITY || self.capability.is_none()) {
                file.remove_xattr(&name).map_err(set_failed(&name))?;
            }
        }
        for (name, value) in &self.xattrs {
            file.set_xattr(name, value).map_err(set_failed(name))?;
        }
        file.set_permissions(Permissions::from_mode(self.mode)).map_err(set_failed("mode"))?;
        if let Some(capability) = &self.capability {
            file.set_xattr(CAPABILITY, capability).map_err(set_failed(CAPABILITY))?;
        }
        Ok(())
    }
}

/// The names of the attributes that are ours to carry. A file system without extended attributes has none.
fn names(file: &File) -> Result<Vec<OsString>, AttrError> {
    match file.list_xattr() {
        Ok(names) => Ok(names.filter(|name| carried(name)).collect()),
        Err(e) if e.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => Ok(Vec::new()),
        Err(e) => Err(read_failed("the list of extended attributes")(e)),
    }
}

fn carried(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    bytes != b"security.ima"
        && bytes != b"security.evm"
        && !bytes.starts_with(b"trusted.overlay.")
        && !bytes.starts_with(b"user.overlay.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn user_attributes_and_odd_modes_are_carried_and_strange_ones_removed() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let old = File::create(dir.path().join("old")).unwrap();
        old.set_xattr("user.note", b"kept").unwrap();
        old.set_permissions(Permissions::from_mode(0o2750)).unwrap();
        let path = dir.path().join("new");
        fs::write(&path, "new").unwrap();
        let new = File::open(&path).unwrap();
        new.set_xattr("user.stray", b"gone").unwrap();
        let attrs = Attrs::of(&old).unwrap();
        attrs.set_on(&new).unwrap();
        assert_eq!(Attrs::of(&new).unwrap(), attrs);
        assert_eq!(attrs.mode, 0o2750);
    }
}
