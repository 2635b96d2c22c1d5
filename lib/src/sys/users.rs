//! The users and groups of this machine, by the name or number in `User=` and `Group=` (systemd.exec(5)).

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, User, getgrouplist};

/// A user as a service has it: the numbers that a process gets by `User=` and `Group=` (systemd.exec(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
    /// The supplementary groups, by the group database; the group is among them.
    pub groups: Vec<u32>,
    /// The name and the home folder, when the number is somebody's.
    pub known: Option<(String, PathBuf)>,
}

impl Identity {
    /// The user (and group) that `USER[:GROUP]` says, names or numbers; `None` when one of them is not known.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let (name, given) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
        let (uid, primary) = user(name)?;
        let gid = match given {
            Some(name) => group(name)?,
            // A number that is nobody's: systemd takes it for the group too.
            None => primary.unwrap_or(uid),
        };
        let entry = User::from_uid(uid.into()).ok().flatten();
        let listed = entry
            .as_ref()
            .and_then(|entry| getgrouplist(&CString::new(entry.name.as_str()).ok()?, Gid::from_raw(gid)).ok());
        let groups = listed.map_or_else(|| vec![gid], |groups| groups.into_iter().map(Gid::as_raw).collect());
        Some(Self { uid, gid, groups, known: entry.map(|entry| (entry.name, entry.dir)) })
    }
}

/// The user's number and primary group; the group is `None` for a number that is nobody's. `None` for no such name.
#[must_use]
pub fn user(word: &str) -> Option<(u32, Option<u32>)> {
    if let Ok(uid) = word.parse::<u32>() {
        let user = User::from_uid(uid.into()).ok().flatten();
        return Some((uid, user.map(|user| user.gid.as_raw())));
    }
    let user = User::from_name(word).ok().flatten()?;
    Some((user.uid.as_raw(), Some(user.gid.as_raw())))
}

/// The group's number; `None` for no such name.
#[must_use]
pub fn group(word: &str) -> Option<u32> {
    word.parse().ok().or_else(|| Some(Group::from_name(word).ok().flatten()?.gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_s_user_has_its_groups() {
        let root = Identity::of("root").unwrap();
        assert_eq!((root.uid, root.gid, root.known.map(|(name, _)| name)), (0, 0, Some("root".to_owned())));
        let daemon = Identity::of("daemon:root").unwrap();
        assert_eq!((daemon.gid, daemon.groups.contains(&0)), (0, true));
        let nobody_s = Identity::of("4000000000").unwrap();
        assert_eq!((nobody_s.gid, nobody_s.groups, nobody_s.known), (4_000_000_000, vec![4_000_000_000], None));
        assert_eq!(
            (Identity::of("no such user"), Identity::of("root:no such group"), Identity::of("")),
            (None, None, None)
        );
    }

    #[test]
    fn names_and_numbers_are_known_and_strangers_are_not() {
        assert_eq!((user("root"), group("root")), (Some((0, Some(0))), Some(0)));
        assert_eq!((user("0"), user("4000000000")), (Some((0, Some(0))), Some((4_000_000_000, None))));
        assert_eq!((user("nobody here"), group("nobody here"), user("")), (None, None, None));
    }
}
