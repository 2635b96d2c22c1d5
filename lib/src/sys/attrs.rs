//! A file's owner, mode and extended attributes, carried to the file that replaces it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use xattr::FileExt;

use crate::words::acl;

/// The extended attribute that holds file capabilities (capabilities(7)).
pub const CAPABILITY: &str = "security.capability";
/// The one that holds an access control list (acl(5)).
const ACL: &str = "system.posix_acl_access";
/// Names under which xfs shows access control lists a second time; they come and go with the first.
const SHOWN_TWICE: [&str; 2] = ["trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT"];

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
    /// `security.ima` and `security.evm` are bound to the old bytes, and `overlay` attributes belong to the file system:
    /// they stay behind ([`left_behind`]). A user who is not root, and root without `CAP_SYS_ADMIN`, is shown no `trusted.*`
    /// attributes by the kernel (xattr(7)), so what can't be seen can't be carried.
    pub fn of(file: &File) -> Result<Self, AttrError> {
        let meta = file.metadata().map_err(read_failed("owner and mode"))?;
        let mut attrs =
            Self { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777, xattrs: Vec::new(), capability: None };
        for name in names(file)?.into_iter().filter(|name| carried(name)) {
            let Some(value) = file.get_xattr(&name).map_err(read_failed(&name))? else { continue };
            if name == CAPABILITY {
                attrs.capability = Some(value);
            } else {
                attrs.xattrs.push((name, value));
            }
        }
        // A file system lists them in any order.
        attrs.xattrs.sort();
        Ok(attrs)
    }

    /// Other permission bits; an access control list among the attributes says the same afterwards.
    pub fn set_mode(&mut self, mode: u32) {
        self.mode = mode;
        for (_, list) in self.xattrs.iter_mut().filter(|(name, _)| name == ACL) {
            *list = acl::with_mode(list, mode);
        }
    }

    /// Makes `file` have just these attributes, in the order in which the kernel does not take one back for another (chown
    /// clears setuid and the capability, so the capability goes last), and reads back that it has them.
    pub fn set_on(&self, file: &File) -> Result<(), AttrError> {
        fchown(file, Some(self.uid), Some(self.gid)).map_err(set_failed("owner"))?;
        for name in names(file)?.into_iter().filter(|name| carried(name)) {
            let wanted = name == "security.selinux" || self.xattrs.iter().any(|(ours, _)| *ours == name);
            if !wanted && (name != CAPABILITY || self.capability.is_none()) {
                file.remove_xattr(&name).map_err(set_failed(&name))?;
            }
        }
        let chmod = |mode| file.set_permissions(Permissions::from_mode(mode)).map_err(set_failed("mode"));
        // Only who may write to a file may give it user.* attributes (xattr(7)); a mode without writing goes on after them.
        chmod(self.mode | 0o200)?;
        for (name, value) in &self.xattrs {
            file.set_xattr(name, value).map_err(set_failed(name))?;
        }
        if self.mode & 0o200 == 0 {
            chmod(self.mode)?;
        }
        if let Some(capability) = &self.capability {
            file.set_xattr(CAPABILITY, capability).map_err(set_failed(CAPABILITY))?;
        }
        match self.lost_in(&Self::of(file)?) {
            None => Ok(()),
            Some(what) => {
                let why = "it reads back as something else; this file system or a security module does not keep it";
                Err(set_failed(what)(io::Error::other(why)))
            }
        }
    }

    /// The first thing of these that `found` has otherwise. A label that a security module gave by itself is not.
    fn lost_in(&self, found: &Self) -> Option<OsString> {
        let value = |attrs: &Self, name: &OsStr| attrs.xattrs.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let label = OsStr::new("security.selinux");
        let names = self.xattrs.iter().chain(found.xattrs.iter().filter(|(name, _)| name != label)).map(|(n, _)| n);
        let checks = [
            ("owner", (self.uid, self.gid) == (found.uid, found.gid)),
            ("mode", self.mode == found.mode),
            (CAPABILITY, self.capability == found.capability),
        ];
        let first = checks.iter().find(|(_, same)| !same).map(|(what, _)| OsString::from(what));
        first.or_else(|| names.into_iter().find(|name| value(self, name) != value(found, name)).cloned())
    }
}

/// The attributes of `file` that [`Attrs::of`] leaves behind.
pub fn left_behind(file: &File) -> Result<Vec<OsString>, AttrError> {
    let mut left: Vec<_> = names(file)?.into_iter().filter(|name| !carried(name)).collect();
    left.sort();
    Ok(left)
}

/// Whether the file system of `path` has extended attributes for capabilities.
#[must_use]
pub fn supported(path: &Path) -> bool {
    !xattr::get(path, CAPABILITY).is_err_and(|e| e.raw_os_error() == Some(nix::libc::EOPNOTSUPP))
}

/// The names of all attributes. A file system without extended attributes has none.
fn names(file: &File) -> Result<Vec<OsString>, AttrError> {
    match file.list_xattr() {
        Ok(names) => Ok(names.filter(|name| !SHOWN_TWICE.iter().any(|twice| name == twice)).collect()),
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

    /// The canary of the reading back: each single loss must be found.
    #[test]
    fn every_loss_is_found() {
        let whole = Attrs {
            uid: 1,
            gid: 2,
            mode: 0o755,
            xattrs: vec![("user.a".into(), b"a".to_vec())],
            capability: Some(b"caps".to_vec()),
        };
        assert_eq!(whole.lost_in(&whole), None);
        let label = |value: &str| ("security.selinux".into(), value.into());
        for (what, change) in [
            ("owner", Box::new(|a: &mut Attrs| a.uid = 0) as Box<dyn Fn(&mut Attrs)>),
            ("owner", Box::new(|a| a.gid = 0)),
            ("mode", Box::new(|a| a.mode = 0o4755)),
            (CAPABILITY, Box::new(|a| a.capability = None)),
            ("user.a", Box::new(|a| a.xattrs.clear())),
            ("user.a", Box::new(|a| a.xattrs[0].1.push(0))),
            ("user.b", Box::new(|a| a.xattrs.push(("user.b".into(), vec![])))),
        ] {
            let mut found = whole.clone();
            change(&mut found);
            assert_eq!(whole.lost_in(&found), Some(what.into()));
        }
        let mut labelled = whole.clone();
        labelled.xattrs.push(label("t"));
        assert_eq!(whole.lost_in(&labelled), None, "a module labels what is new");
        assert_eq!(labelled.lost_in(&whole), Some("security.selinux".into()));
    }
}
