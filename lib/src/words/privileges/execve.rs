//! What execve(2) makes of a process's capabilities: "Transformation of capabilities during `execve()`" of capabilities(7),
//! with what it says of root, programs with a set-ID bit, the ambient set and the no-new-privileges flag.

use super::{CapSet, Sets};
use crate::words::filecaps::FileCaps;

/// Who calls execve(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Its capabilities before.
    pub sets: Sets,
    /// Its user; `None` is one that is not root and whose number is not known.
    pub uid: Option<u32>,
    /// Its group; `None` when its number is not known.
    pub gid: Option<u32>,
    /// `SECBIT_NOROOT`: the user root is nobody special.
    pub noroot: bool,
}

/// What of an executable file decides about capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its capabilities.
    pub caps: Option<FileCaps>,
    /// Its owner, when it has the set-user-ID bit.
    pub setuid: Option<u32>,
    /// Its group, when it has the set-group-ID bit.
    pub setgid: Option<u32>,
    /// It is on a mount with `nosuid` (mount(8)): none of this counts.
    pub nosuid: bool,
}

/// The kernel does not execute the file (`EPERM`): it has its effective bit set and asks for capabilities that the process can't
/// get. "Safety checking for capability-dumb binaries" of capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("execve: Operation not permitted: the file has {0} with the effective bit, and the bounding set lacks it")]
pub struct CapabilityDumb(pub CapSet);

impl Image {
    /// The capabilities that count: not on a `nosuid` mount, and not those of another user namespace's root.
    #[must_use]
    pub fn counting(&self) -> Option<FileCaps> {
        self.caps.filter(|caps| !self.nosuid && caps.rootid.is_none_or(|rootid| rootid == 0))
    }
}

/// The capabilities of the process after `caller` executed `image`.
pub fn execve(caller: &Caller, image: &Image) -> Result<Sets, CapabilityDumb> {
    let old = caller.sets;
    let (mut permitted, mut effective) = (CapSet::NONE, false);
    let counting = image.counting();
    if let Some(caps) = counting {
        let wanted = CapSet::of(caps.permitted).within(CapSet::every());
        let inherited = CapSet::of(caps.inheritable).within(old.inheritable);
        permitted = wanted.within(old.bounding).with(inherited);
        effective = caps.effective;
        if effective && !permitted.holds(wanted) {
            return Err(CapabilityDumb(wanted.without(permitted)));
        }
    }
    let may_set = !image.nosuid && !old.no_new_privs;
    let user = image.setuid.filter(|_| may_set).or(caller.uid);
    let group = image.setgid.filter(|_| may_set).or(caller.gid);
    // A set-user-ID-root program with file capabilities gives another user these alone.
    let file_decides = counting.is_some() && user == Some(0) && caller.uid != Some(0);
    if !caller.noroot && !file_decides && (user == Some(0) || caller.uid == Some(0)) {
        permitted = old.bounding.with(old.inheritable);
        effective |= user == Some(0);
    }
    if old.no_new_privs && !old.permitted.holds(permitted) {
        permitted = permitted.within(old.permitted);
    }
    let privileged = counting.is_some() || user != caller.uid || group != caller.gid;
    let ambient = if privileged { CapSet::NONE } else { old.ambient };
    permitted = permitted.with(ambient);
    Ok(Sets { permitted, effective: if effective { permitted } else { ambient }, ambient, ..old })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIND: CapSet = CapSet::of(1 << 10);
    const CHOWN: CapSet = CapSet::of(1);

    fn user(sets: Sets) -> Caller {
        Caller { sets: Sets { bounding: CapSet::every(), ..sets }, uid: Some(1000), gid: Some(1000), noroot: false }
    }

    fn file(text: &str) -> Image {
        Image { caps: Some(text.parse().unwrap()), ..Image::default() }
    }

    fn prm_eff_amb(caller: &Caller, image: &Image) -> (CapSet, CapSet, CapSet) {
        let sets = execve(caller, image).unwrap();
        (sets.permitted, sets.effective, sets.ambient)
    }

    #[test]
    fn a_file_gives_what_it_has_and_its_effective_bit_makes_it_effective() {
        let caller = user(Sets::default());
        assert_eq!(prm_eff_amb(&caller, &file("cap_net_bind_service=ep")), (BIND, BIND, CapSet::NONE));
        assert_eq!(prm_eff_amb(&caller, &file("cap_net_bind_service=p")), (BIND, CapSet::NONE, CapSet::NONE));
        assert_eq!(prm_eff_amb(&caller, &file("cap_net_bind_service=ei")), Default::default());
        let nosuid = Image { nosuid: true, ..file("cap_net_bind_service=ep") };
        assert_eq!(prm_eff_amb(&caller, &nosuid), Default::default());
    }

    #[test]
    fn file_capabilities_clear_the_ambient_set_and_those_of_another_namespace_do_not() {
        let ambient = Sets { permitted: CHOWN, inheritable: CHOWN, ambient: CHOWN, ..Sets::default() };
        let caller = user(ambient);
        assert_eq!(prm_eff_amb(&caller, &Image::default()), (CHOWN, CHOWN, CHOWN));
        assert_eq!(prm_eff_amb(&caller, &file("cap_net_bind_service=ep")), (BIND, BIND, CapSet::NONE));
        // `setcap = FILE` leaves an attribute without any capability.
        let empty = Image { caps: Some(FileCaps::default()), ..Image::default() };
        assert_eq!(prm_eff_amb(&caller, &empty), Default::default());
        let mut other = file("cap_net_bind_service=ep");
        other.caps.as_mut().unwrap().rootid = Some(1000);
        assert_eq!(prm_eff_amb(&caller, &other), (CHOWN, CHOWN, CHOWN));
    }

    #[test]
    fn a_file_that_asks_for_more_than_the_bounding_set_is_not_executed() {
        let mut caller = user(Sets::default());
        caller.sets.bounding = CHOWN;
        assert_eq!(execve(&caller, &file("cap_net_bind_service,cap_chown=ep")), Err(CapabilityDumb(BIND)));
        assert_eq!(
            prm_eff_amb(&caller, &file("cap_net_bind_service,cap_chown=p")),
            (CHOWN, CapSet::NONE, CapSet::NONE)
        );
        caller.uid = Some(0);
        assert!(execve(&caller, &file("cap_net_bind_service=ep")).is_err(), "root is refused as well");
    }

    #[test]
    fn no_new_privileges_gives_nothing_that_was_not_permitted_before() {
        let mut caller = user(Sets { no_new_privs: true, ..Sets::default() });
        assert_eq!(prm_eff_amb(&caller, &file("cap_net_bind_service=ep")), Default::default());
        caller.sets.permitted = BIND.with(CHOWN);
        assert_eq!(prm_eff_amb(&caller, &file("cap_net_bind_service=ep")), (BIND, BIND, CapSet::NONE));
    }

    #[test]
    fn root_gets_the_bounding_set_unless_it_is_nobody_special() {
        let mut caller = user(Sets::default());
        let root = Image { setuid: Some(0), ..Image::default() };
        let all = CapSet::every();
        assert_eq!(prm_eff_amb(&caller, &root), (all, all, CapSet::NONE));
        let both = Image { setuid: Some(0), ..file("cap_net_bind_service=p") };
        assert_eq!(prm_eff_amb(&caller, &both), (BIND, CapSet::NONE, CapSet::NONE));
        caller.uid = Some(0);
        assert_eq!(prm_eff_amb(&caller, &file("cap_net_bind_service=p")), (all, all, CapSet::NONE));
        // Executing a set-user-ID program of another user, root keeps them permitted.
        let other = Image { setuid: Some(1), ..Image::default() };
        assert_eq!(prm_eff_amb(&caller, &other), (all, CapSet::NONE, CapSet::NONE));
        caller.noroot = true;
        assert_eq!(prm_eff_amb(&caller, &Image::default()), Default::default());
    }

    #[test]
    fn a_set_group_id_program_clears_the_ambient_set() {
        let caller = user(Sets { permitted: CHOWN, inheritable: CHOWN, ambient: CHOWN, ..Sets::default() });
        let image = |setgid| Image { setgid: Some(setgid), ..Image::default() };
        assert_eq!(prm_eff_amb(&caller, &image(5)), Default::default());
        assert_eq!(prm_eff_amb(&caller, &image(1000)), (CHOWN, CHOWN, CHOWN));
    }
}
