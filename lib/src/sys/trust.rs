//! Who else could put something in the place of a file: the owners and modes of its folder and of every folder above.
//!
//! A folder is trusted when it and all above it belong to root or to the user this runs as, and nobody else can write to
//! them. Two things that real hosts have are no danger and pass: a folder that a group may write to which nobody else is in
//! (Debian's `root:staff` on `/usr/local`, a user's own group), and, above the folder itself, one with the sticky bit
//! (`/tmp`), whose entries only their owners can rename (unlink(2)).

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::unistd::{Gid, Group, Uid, User, geteuid};

use super::{Host, durable, intake};
use crate::words::acl::{self, Writer};

/// A folder that somebody else can write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// The folder.
    pub folder: PathBuf,
    who: Who,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Owner(u32),
    Everybody,
    Group(u32, String),
    Listed(u32),
}

impl Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        match &self.who {
            Who::Owner(uid) => write!(f, "the folder {folder} belongs to {}", user(*uid)),
            Who::Everybody => write!(f, "everybody can write to the folder {folder}"),
            Who::Group(gid, member) => {
                write!(f, "{member} can write to the folder {folder}, as a member of {}", group(*gid))
            }
            Who::Listed(uid) => write!(f, "{} can write to the folder {folder} by its ACL", user(*uid)),
        }
    }
}

impl Untrusted {
    /// True when it is another user's own folder, and false when it is open to others.
    #[must_use]
    pub fn is_anothers(&self) -> bool {
        matches!(self.who, Who::Owner(_))
    }

    /// The command that mends it.
    #[must_use]
    pub fn mend(&self) -> String {
        let command = match self.who {
            Who::Owner(_) => format!("chown {}", user(geteuid().as_raw())),
            Who::Everybody => "chmod o-w".to_owned(),
            Who::Group(..) => "chmod g-w".to_owned(),
            Who::Listed(_) => "setfacl -b".to_owned(),
        };
        format!("{command} {}", self.folder.display())
    }
}

/// The first folder, from `folder` (absolute, without symlinks) up to the root, that somebody else can write to.
pub fn untrusted(host: &Host, folder: &Path) -> io::Result<Option<Untrusted>> {
    for (above, dir) in folder.ancestors().enumerate() {
        if let Some(who) = who_else(host, dir, above > 0)? {
            return Ok(Some(Untrusted { folder: dir.to_owned(), who }));
        }
    }
    Ok(None)
}

/// The first folder, from `folder` up to the root, in which somebody else could put another file in the place of one of ours.
///
/// In one with the sticky bit (`/tmp`) nobody can, `folder` itself included: only a file that is there before is not ours.
pub fn replaceable(host: &Host, folder: &Path) -> io::Result<Option<Untrusted>> {
    for dir in folder.ancestors() {
        if let Some(who) = who_else(host, dir, true)? {
            return Ok(Some(Untrusted { folder: dir.to_owned(), who }));
        }
    }
    Ok(None)
}

/// True for a regular file of root or of the user this runs as that the mode lets nobody else write to.
#[must_use]
pub fn is_our_file(meta: &std::fs::Metadata) -> bool {
    meta.is_file() && is_us(meta.uid()) && meta.permissions().mode() & 0o022 == 0
}

/// An error when `folder` is there and is not trusted: for what this process would believe or run.
pub fn check(host: &Host, folder: &Path) -> io::Result<()> {
    let folder = match fs::canonicalize(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        folder => folder?,
    };
    match untrusted(host, &folder)? {
        None => Ok(()),
        Some(found) => {
            let why = format!("{found}, so nothing in it can be believed; mend that: {}", found.mend());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
    }
}

/// The bytes of a small file that is believed: nobody but root and the user this runs as may write it, or put another in its
/// place. `None` when there is none.
pub fn read(host: &Host, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let path = match fs::canonicalize(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        path => path?,
    };
    check(host, durable::parent(&path))?;
    let file = intake::open_regular(&path)?;
    let meta = file.metadata()?;
    let who = match (is_us(meta.uid()), meta.mode() & 0o022) {
        (true, 0) => return intake::read_at_most(file, intake::SMALL).map(Some),
        (true, _) => "others can write it; mend that: chmod go-w",
        (false, _) => "it belongs to somebody else; mend that: chown root",
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{who} {}", path.display())))
}

fn who_else(host: &Host, dir: &Path, sticky_is_enough: bool) -> io::Result<Option<Who>> {
    let meta = fs::symlink_metadata(dir)?;
    if !is_us(meta.uid()) {
        return Ok(Some(Who::Owner(meta.uid())));
    }
    let mode = meta.permissions().mode();
    // With the sticky bit what is in it stays its owner's: and that is looked at, one step before.
    if sticky_is_enough && mode & 0o1000 != 0 {
        return Ok(None);
    }
    if mode & 0o002 != 0 {
        return Ok(Some(Who::Everybody));
    }
    if mode & 0o020 == 0 {
        return Ok(None);
    }
    let list = match xattr::get(dir, "system.posix_acl_access") {
        Ok(list) => list.and_then(|list| acl::writers(&list)),
        Err(_) => None,
    };
    for writer in list.unwrap_or_else(|| vec![Writer::OwningGroup]) {
        let who = match writer {
            Writer::User(uid) if is_us(uid) => None,
            Writer::User(uid) => Some(Who::Listed(uid)),
            Writer::OwningGroup => member(host, meta.gid()).map(|member| Who::Group(meta.gid(), member)),
            Writer::Group(gid) => member(host, gid).map(|member| Who::Group(gid, member)),
        };
        if who.is_some() {
            return Ok(who);
        }
    }
    Ok(None)
}

fn is_us(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// One of the users in group `gid` who is neither root nor the user this runs as: by the name services, by the host's own
/// files, or because it is their first group.
fn member(host: &Host, gid: u32) -> Option<String> {
    let read = |file: &str| fs::read(host.path(file)).unwrap_or_default();
    let (groups, users) = (read("/etc/group"), read("/etc/passwd"));
    let lines = |text: &[u8]| -> Vec<Vec<String>> {
        let text = String::from_utf8_lossy(text).into_owned();
        text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
    };
    let number = |field: Option<&String>| field.and_then(|text| text.parse::<u32>().ok());
    let mut members = BTreeSet::new();
    members.extend(Group::from_gid(Gid::from_raw(gid)).ok().flatten().into_iter().flat_map(|group| group.mem));
    for line in lines(&groups).iter().filter(|line| number(line.get(2)) == Some(gid)) {
        members.extend(line.get(3).into_iter().flat_map(|names| names.split(',')).map(str::to_owned));
    }
    let mut us = BTreeSet::from(["root".to_owned()]);
    us.extend(User::from_uid(geteuid()).ok().flatten().map(|user| user.name));
    for line in lines(&users) {
        let Some(name) = line.first() else { continue };
        match (number(line.get(2)), number(line.get(3))) {
            (Some(uid), _) if is_us(uid) => us.extend([name.clone()]),
            (_, Some(first)) if first == gid => members.extend([name.clone()]),
            _ => {}
        }
    }
    members.into_iter().find(|name| !name.is_empty() && !us.contains(name))
}

fn user(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group(gid: u32) -> String {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    /// A group that no machine has.
    const NEW: u32 = 471_147;

    #[test]
    fn only_a_group_without_others_may_write() {
        let root = tempfile::tempdir().unwrap();
        let root_path = fs::canonicalize(root.path()).unwrap();
        let host = Host::below(&root_path);
        fs::create_dir_all(root_path.join("etc")).unwrap();
        let bin = root_path.join("bin");
        fs::create_dir(&bin).unwrap();
        let found = |mode| {
            fs::set_permissions(&bin, Permissions::from_mode(mode)).unwrap();
            untrusted(&host, &bin).unwrap().map(|u| u.who)
        };
        assert_eq!(found(0o755), None);
        assert_eq!(found(0o777), Some(Who::Everybody));
        assert_eq!(found(0o1777), Some(Who::Everybody), "what is absent could be put there by anybody");
        fs::create_dir(bin.join("inner")).unwrap();
        assert_eq!(untrusted(&host, &bin.join("inner")).unwrap(), None, "the sticky bit keeps what is there");

        assert_eq!(member(&host, NEW), None);
        fs::write(root_path.join("etc/passwd"), format!("root:x:0:{NEW}::/:\neve:x:4711:{NEW}::/:\n")).unwrap();
        assert_eq!(member(&host, NEW).as_deref(), Some("eve"));
        fs::write(root_path.join("etc/passwd"), "eve:x:4711:4711::/:\n").unwrap();
        fs::write(root_path.join("etc/group"), format!("staff:x:{NEW}:root,mallory\n")).unwrap();
        assert_eq!(member(&host, NEW).as_deref(), Some("mallory"));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&bin, None, Some(NEW)).unwrap();
            assert_eq!(found(0o2775), Some(Who::Group(NEW, "mallory".into())));
            fs::write(root_path.join("etc/group"), format!("staff:x:{NEW}:root\n")).unwrap();
            assert_eq!(found(0o2775), None, "Debian's /usr/local");
            std::os::unix::fs::chown(&bin, Some(4711), None).unwrap();
            assert_eq!(found(0o755), Some(Who::Owner(4711)));
        }
    }
}
