//! What a running process holds that its next start would not give it, why, and the way out.

use super::execve::{Caller, Image};
use super::setting::Setting;
use super::{CapSet, Sets};
use crate::words::filecaps::FileCaps;

/// Capabilities that are lost for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The capabilities.
    pub capabilities: CapSet,
    /// The set that lacks them.
    pub of: Which,
    /// Why.
    pub reason: String,
    /// What gives them back.
    pub way_out: String,
}

/// A set whose loss is felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The permitted set: what is gone from it is gone.
    Permitted,
    /// The effective set alone: the program would have to raise them itself.
    Effective,
    /// The ambient set alone: the programs that it executes go without.
    Ambient,
}

impl Which {
    /// The set's name in capabilities(7).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Effective => "effective",
            Self::Ambient => "ambient",
        }
    }
}

/// What the next start is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The unit's name.
    pub unit: &'a str,
    /// The file that is executed, as people know it.
    pub program: &'a str,
    /// The unit's settings.
    pub setting: &'a Setting,
    /// The service manager.
    pub manager: &'a Sets,
    /// The process before it executes the program.
    pub caller: &'a Caller,
    /// The program.
    pub image: &'a Image,
    /// The setting that makes systemd mount the program's place with `nosuid`.
    pub nosuid_by: Option<&'static str>,
    /// The capabilities of the file that the live process was started from.
    pub running: Option<FileCaps>,
}

/// What `now` holds and `next` does not, grouped by reason.
#[must_use]
pub fn losses(now: &Sets, next: &Sets, facts: &Facts) -> Vec<Loss> {
    let mut found: Vec<Loss> = Vec::new();
    let mut add = |capability: CapSet, of: Which, (reason, way_out): (String, String)| match found
        .iter_mut()
        .find(|loss| loss.of == of && loss.reason == reason)
    {
        Some(loss) => loss.capabilities = loss.capabilities.with(capability),
        None => found.push(Loss { capabilities: capability, of, reason, way_out }),
    };
    for one in now.permitted.without(next.permitted).each() {
        add(one, Which::Permitted, facts.why_not_permitted(one));
    }
    // A program whose file has no effective bit raises them itself, and will again.
    let raised_itself = facts.running.is_some_and(|caps| !caps.effective);
    for one in now.effective.within(next.permitted).without(next.effective).each().filter(|_| !raised_itself) {
        add(one, Which::Effective, facts.why_not_effective());
    }
    for one in now.ambient.within(next.permitted).without(next.ambient).each() {
        add(one, Which::Ambient, facts.why_not_ambient(one));
    }
    // With a way out for each group, not for each capability of it.
    for loss in &mut found {
        let names = loss.capabilities.to_string();
        let file = facts.image.caps.map(|caps| FileCaps { rootid: None, ..caps }).unwrap_or_default();
        let file = FileCaps { permitted: file.permitted | loss.capabilities.0, effective: true, ..file };
        let systemd = names.to_uppercase().replace(',', " ");
        loss.way_out = loss.way_out.replace(FILE, &file.to_string()).replace(NAMES, &systemd);
    }
    found
}

/// Stands in a way out for the capabilities of the group, as systemd.exec(5) writes them.
const NAMES: &str = "{names}";
/// Stands in a way out for those that the file should have then: setcap(8) replaces what it has.
const FILE: &str = "{file}";

impl Facts<'_> {
    fn why_not_permitted(&self, one: CapSet) -> (String, String) {
        let (setting, program) = (self.setting, self.program);
        let of_file = self.image.caps.is_some_and(|caps| CapSet::of(caps.permitted).holds(one));
        let instead = format!("AmbientCapabilities={NAMES} gives it without the file: {}", self.edit());
        if !setting.private_users && !self.manager.bounding.holds(one) {
            let why = "the bounding set of the service manager lacks it".to_owned();
            return (why, "only a reboot or another container gives it back".to_owned());
        }
        if !self.caller.sets.bounding.holds(one) {
            let way = format!("CapabilityBoundingSet={NAMES} beside the others: {}", self.edit());
            return ("CapabilityBoundingSet= lacks it".to_owned(), way);
        }
        if of_file && self.image.nosuid {
            let why = match self.nosuid_by {
                Some(by) => format!("file capability ignored: NoNewPrivileges= and {by}= mount {program} nosuid"),
                None => format!("file capability ignored: {program} is on a file system mounted nosuid"),
            };
            return (why, instead);
        }
        if of_file && self.image.counting().is_none() {
            let rootid = self.image.caps.and_then(|caps| caps.rootid).unwrap_or_default();
            let why = format!("file capability ignored: it is for the user namespace whose root is user {rootid}");
            return (why, format!("setcap '{FILE}' {program}"));
        }
        if of_file && self.caller.sets.no_new_privs {
            return (format!("file capability ignored: {}", self.no_new_privileges()), instead);
        }
        if self.caller.sets.ambient.holds(one) {
            let why = format!("AmbientCapabilities= cleared: {program} has {}", self.has());
            return (why, format!("setcap '{FILE}' {program}"));
        }
        if self.caller.uid == Some(0) && self.caller.sets.no_new_privs {
            let why = format!("systemd gave it up before the program, and {}", self.no_new_privileges());
            return (why, format!("AmbientCapabilities={NAMES}: {}", self.edit()));
        }
        if self.caller.uid == Some(0) {
            let way = format!("AmbientCapabilities={NAMES}: {}", self.edit());
            return ("SecureBits=noroot: the user root is given none".to_owned(), way);
        }
        let user = if setting.user.is_empty() { "its user".to_owned() } else { format!("User={}", setting.user) };
        if self.running.is_some_and(|caps| CapSet::of(caps.permitted).holds(one)) {
            let why = format!("{program} is without it; the file that runs has it");
            let caps = self.running.map(|caps| caps.to_string()).unwrap_or_default();
            return (why, format!("setcap '{caps}' {program}"));
        }
        let why = format!("neither {program} nor AmbientCapabilities= gives it to {user}");
        (why, format!("setcap '{FILE}' {program}"))
    }

    fn why_not_effective(&self) -> (String, String) {
        let (program, has) = (self.program, self.has());
        let why = format!("{program} has {has}, without the effective bit: the program must raise it itself");
        (why, format!("setcap '{FILE}' {program}"))
    }

    fn why_not_ambient(&self, one: CapSet) -> (String, String) {
        let program = self.program;
        if self.caller.sets.ambient.holds(one) {
            let why =
                format!("AmbientCapabilities= cleared: {program} has {}; what it executes goes without", self.has());
            return (why, format!("setcap -r {program}"));
        }
        let why = "AmbientCapabilities= lacks it; what the program executes goes without".to_owned();
        (why, format!("AmbientCapabilities={NAMES}: {}", self.edit()))
    }

    /// Why the process can't gain privileges, with what implies it.
    #[must_use]
    pub fn no_new_privileges(&self) -> String {
        match self.setting.filters.first() {
            Some(filter) if !self.setting.no_new_privileges => {
                format!("NoNewPrivileges=yes, which {filter}= implies for User={}", self.setting.user)
            }
            _ => "NoNewPrivileges=yes".to_owned(),
        }
    }

    fn has(&self) -> String {
        match (self.image.counting(), self.image.setuid.is_some(), self.image.setgid.is_some()) {
            (Some(caps), ..) => format!("file capabilities ({caps})"),
            (None, true, _) => "the set-user-ID bit".to_owned(),
            _ => "the set-group-ID bit".to_owned(),
        }
    }

    fn edit(&self) -> String {
        format!("systemctl edit {}", self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::execve::execve;
    use super::*;

    const BIND: CapSet = CapSet::of(1 << 10);

    /// A service of user 7 that holds `cap_net_bind_service`, and what it would lose at its next start.
    fn told(setting: &Setting, image: Image, now: Sets, running: Option<&str>) -> Vec<String> {
        let every = CapSet::every();
        let manager = Sets { permitted: every, bounding: every, ..Sets::default() };
        let setting = Setting { user: "rune".to_owned(), ..setting.clone() };
        let caller = setting.before_execve(&manager, Some(7), Some(7));
        let next = execve(&caller, &image).unwrap();
        let facts = Facts {
            unit: "runed.service",
            program: "/opt/runed",
            setting: &setting,
            manager: &manager,
            caller: &caller,
            image: &image,
            nosuid_by: None,
            running: running.map(|text| text.parse().unwrap()),
        };
        losses(&now, &next, &facts)
            .iter()
            .map(|loss| format!("{} {}: {}; {}", loss.of.name(), loss.capabilities, loss.reason, loss.way_out))
            .collect()
    }

    #[test]
    fn each_loss_has_its_reason_and_its_way_out() {
        let free = Setting { bounding: CapSet::every(), version: 252, ..Setting::default() };
        let image = |text: &str| Image { caps: Some(text.parse().unwrap()), ..Image::default() };
        let holds = Sets { permitted: BIND, effective: BIND, ..Sets::default() };
        let bind = "cap_net_bind_service=ep";
        let mut said = Vec::new();
        let mut add = |setting: &Setting, image: Image, now: Sets, running: Option<&str>| {
            said.extend(told(setting, image, now, running));
        };
        add(&free, image(bind), holds, Some(bind));
        add(&Setting { bounding: CapSet::of(1), ..free.clone() }, Image::default(), holds, Some(bind));
        add(&free, Image { nosuid: true, ..image(bind) }, holds, Some(bind));
        add(&Setting { no_new_privileges: true, ..free.clone() }, image(bind), holds, Some(bind));
        let filters = vec!["SystemCallFilter"];
        add(&Setting { filters, ..free.clone() }, image(bind), holds, Some(bind));
        let ambient = Setting { ambient: BIND, ..free.clone() };
        add(&ambient, image("cap_chown=ep"), Sets { ambient: BIND, inheritable: BIND, ..holds }, None);
        add(&ambient, image(bind), Sets { ambient: BIND, inheritable: BIND, ..holds }, None);
        add(&free, Image::default(), holds, Some(bind));
        add(&free, Image::default(), Sets { permitted: CapSet::of(1 << 10 | 1), ..holds }, None);
        add(&free, image("cap_net_bind_service=p"), holds, Some(bind));
        add(&free, image("cap_net_bind_service=p"), holds, Some("cap_net_bind_service=p"));
        insta::assert_snapshot!(said.join("\n"));
    }
}
