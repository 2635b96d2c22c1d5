//! The users and groups of this machine, by the name or number in `User=` and `Group=` (systemd.exec(5)).

use nix::unistd::{Group, User};

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
    fn names_and_numbers_are_known_and_strangers_are_not() {
        assert_eq!((user("root"), group("root")), (Some((0, Some(0))), Some(0)));
        assert_eq!((user("0"), user("4000000000")), (Some((0, Some(0))), Some((4_000_000_000, None))));
        assert_eq!((user("nobody here"), group("nobody here"), user("")), (None, None, None));
    }
}
