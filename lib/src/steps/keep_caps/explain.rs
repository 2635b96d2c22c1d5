//! `--explain UNIT`: what the process of a unit holds, what it will hold at its next start, and what it would lose.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xattr::FileExt;

use crate::sys::attrs::CAPABILITY;
use crate::sys::process::{self, FileId, Running};
use crate::sys::systemd::{Systemd, SystemdError, one_unit};
use crate::sys::{Host, intake, users};
use crate::words::exit::{Coded, Exit};
use crate::words::filecaps::{FileCaps, NotFileCaps};
use crate::words::privileges::execve::{Caller, CapabilityDumb, Image, execve};
use crate::words::privileges::loss::{Facts, Loss, losses};
use crate::words::privileges::setting::{PROPERTIES, Setting, Untold};
use crate::words::privileges::{CapSet, Sets};

/// What else is asked of the unit.
const ALSO: [&str; 3] = ["LoadState", "MainPID", "NeedDaemonReload"];
/// Where systemd looks for a program that is named without a folder (systemd.exec(5), `ExecSearchPath=`).
const SEARCHED: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// How many interpreters the kernel follows (execve(2), "Interpreter scripts").
const INTERPRETERS: usize = 5;

/// Why a unit can't be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Not the name of one service.
    #[error("'{0}' is not the name of one service, such as runed.service; only services have a process to explain")]
    Name(String),
    /// systemd knows no such unit.
    #[error("{0}: there is no such unit (LoadState=not-found)")]
    NotFound(String),
    /// The unit is masked.
    #[error("{0}: is masked, so it has no next start; systemctl unmask {0} brings it back")]
    Masked(String),
    /// systemd could not load it.
    #[error("{0}: systemd could not load it (LoadState={1}); see systemctl status {0}")]
    NotLoaded(String, String),
    /// A root of its own.
    #[error("{0}: {1}= gives it another root, and what is in there is not explained")]
    OtherRoot(String, &'static str),
    /// systemd's answer makes no sense.
    #[error("{unit}: {source}")]
    Untold {
        /// The unit.
        unit: String,
        /// The property.
        source: Untold,
    },
    /// The program can't be read.
    #[error("{program}: {what}: {source}", program = program.display())]
    Program {
        /// The program, or its interpreter.
        program: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Its attribute is none.
    #[error("{program}: {source}; the kernel executes no such file; setcap -r {program} removes it", program = program.display())]
    Attribute {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        source: NotFileCaps,
    },
    /// A file of /proc can't be read.
    #[error("/proc/{pid}/status can't be read: {source}")]
    Proc {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// systemd could not be asked.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

impl Coded for ExplainError {
    fn exit(&self) -> Exit {
        match self {
            Self::Name(_) => Exit::Usage,
            Self::NotFound(_) | Self::Masked(_) | Self::Attribute { .. } => Exit::No,
            Self::Systemd(source) => source.exit(),
            _ => Exit::CouldNot,
        }
    }
}

/// The answer.
#[derive(Debug)]
pub struct Explained {
    unit: String,
    program: PathBuf,
    caps: Option<FileCaps>,
    user: String,
    /// What the service manager itself holds: "all" of this host.
    all: CapSet,
    live: Option<(u32, Sets)>,
    next: Result<Sets, CapabilityDumb>,
    losses: Vec<Loss>,
    notes: Vec<String>,
}

/// A file as execve(2) will find it: the last interpreter of a script.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) image: Image,
    /// The files on the way, the script first.
    through: Vec<FileId>,
}

/// Explains what the process of `unit` holds now and at its next start, with files and unit as they are.
pub fn explain(host: &Host, unit: &str) -> Result<Explained, ExplainError> {
    let unit = one_unit(unit).filter(|name| name.ends_with(".service")).ok_or(ExplainError::Name(unit.to_owned()))?;
    let systemd = Systemd::on(host);
    let asked: Vec<_> = PROPERTIES.iter().chain(&ALSO).copied().collect();
    let properties = systemd.show(&unit, &asked)?;
    let text = |key: &str| properties.get(key).map_or("", String::as_str);
    match text("LoadState") {
        "loaded" => {}
        "not-found" => return Err(ExplainError::NotFound(unit)),
        "masked" => return Err(ExplainError::Masked(unit)),
        state => return Err(ExplainError::NotLoaded(unit, state.to_owned())),
    }
    let version = systemd.show("", &["Version"])?;
    let setting = Setting::read(&properties, version.get("Version").map_or("", String::as_str));
    let setting = setting.map_err(|source| ExplainError::Untold { unit: unit.clone(), source })?;
    if let Some(key) = setting.other_root.filter(|_| !setting.fully_privileged) {
        return Err(ExplainError::OtherRoot(unit, key));
    }
    let manager = sets_of(host, 1)?;
    let (uid, gid) = ids(&setting);
    let caller = setting.before_execve(&manager, uid, gid);
    let program = searched(host, &setting.program);
    let mut found = find(host, &program, &setting)?;
    let mut next = execve(&caller, &found.image);
    let mut facts_caller = caller;
    let mut notes = Vec::new();
    let mut live = None;
    let mut running_caps = None;
    if let Some(pid) = text("MainPID").parse().ok().filter(|pid| *pid != 0) {
        // A process that has just ended is none to compare with.
        live = sets_of(host, pid).ok().map(|sets| (pid, sets));
        match process::executable(host, pid) {
            Ok(running) if live.is_some() => {
                running_caps = caps_of_running(host, pid);
                if let (Some(sets), false) = (next.ok(), is_of(&running, &found, host, &program)) {
                    let below = running.path.strip_prefix(host.path("/")).unwrap_or(&running.path);
                    let other = Path::new("/").join(below);
                    let note = format!(
                        "process {pid} runs {}, which {} executed; explained as if it does so again",
                        other.display(),
                        program.display()
                    );
                    notes.push(note);
                    facts_caller = Caller { sets, ..caller };
                    found = find(host, &other, &setting)?;
                    next = execve(&facts_caller, &found.image);
                }
            }
            Err(e) if live.is_some() => notes.push(format!("which file process {pid} runs can't be read: {e}")),
            _ => {}
        }
    }
    remark(&mut notes, &setting, &found, text("NeedDaemonReload") == "yes", &unit);
    let shown = found.path.display().to_string();
    let facts = Facts {
        unit: &unit,
        program: &shown,
        setting: &setting,
        manager: &manager,
        caller: &facts_caller,
        image: &found.image,
        nosuid_by: setting.remounts_nosuid(&found.path),
        running: running_caps,
    };
    let lost = match (&live, &next) {
        (Some((_, now)), Ok(next)) => losses(now, next, &facts),
        _ => Vec::new(),
    };
    if caller.sets.no_new_privs && !setting.no_new_privileges {
        notes.push(format!("the process has {}", facts.no_new_privileges()));
    }
    let user = if setting.changes_user() { setting.user.clone() } else { "root".to_owned() };
    let all = if setting.private_users { CapSet::every() } else { manager.bounding };
    Ok(Explained { unit, program: found.path, caps: found.image.caps, user, all, live, next, losses: lost, notes })
}

impl Explained {
    /// No when the next start loses a capability, or is none.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.losses.is_empty() && self.next.is_ok() { Exit::Done } else { Exit::No }
    }

    /// What people should know besides.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let caps = self.caps.map_or_else(|| "no file capabilities".to_owned(), |caps| caps.to_string());
        let state = self.live.map_or_else(|| "not running".to_owned(), |(pid, _)| format!("process {pid}"));
        let mut text = format!("{} ({state})\n", self.unit);
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "  {key:<12} {value}");
        };
        line("program", &format!("{} ({caps})", self.program.display()));
        line("user", &self.user);
        let told = |sets: &Sets, row: &Row| row.told(sets, self.all);
        for row in ROWS {
            let now = self.live.map(|(_, sets)| told(&sets, &row));
            let next = self.next.ok().map(|sets| told(&sets, &row));
            match (now, next) {
                (Some(now), Some(next)) if now != next => line(row.name(), &format!("{now} -> {next}")),
                (Some(same), _) | (None, Some(same)) => line(row.name(), &same),
                (None, None) => {}
            }
        }
        if let Err(dumb) = self.next {
            let _ = writeln!(text, "the next start fails: {dumb}");
            let (names, unit) = (dumb.0.to_string().to_uppercase().replace(',', " "), &self.unit);
            let _ = if self.all.holds(dumb.0) {
                writeln!(text, "  CapabilityBoundingSet={names} beside the others: systemctl edit {unit}")
            } else {
                writeln!(
                    text,
                    "  the service manager itself can't give it; without the effective bit (=p) the file is executed"
                )
            };
        }
        for loss in &self.losses {
            let _ = writeln!(text, "loses {} ({}): {}", loss.capabilities, loss.of.name(), loss.reason);
            let _ = writeln!(text, "  {}", loss.way_out);
        }
        if self.losses.is_empty() && self.live.is_some() && self.next.is_ok() {
            text.push_str("the next start loses nothing\n");
        }
        text
    }

    /// The members of the `--json` object.
    #[must_use]
    pub fn json(&self) -> Value {
        let sets = |sets: &Sets| {
            json!({
                "permitted": sets.permitted.names(),
                "effective": sets.effective.names(),
                "inheritable": sets.inheritable.names(),
                "bounding": sets.bounding.names(),
                "ambient": sets.ambient.names(),
                "no_new_privs": sets.no_new_privs,
            })
        };
        let loss = |loss: &Loss| {
            json!({
                "capabilities": loss.capabilities.names(),
                "set": loss.of.name(),
                "reason": loss.reason,
                "way_out": loss.way_out,
            })
        };
        json!({
            "unit": self.unit,
            "program": self.program.to_string_lossy(),
            "file_capabilities": self.caps.map(|caps| caps.to_string()),
            "user": self.user,
            "pid": self.live.map(|(pid, _)| pid),
            "now": self.live.map(|(_, now)| sets(&now)),
            "next": self.next.ok().map(|next| sets(&next)),
            "refused": self.next.err().map(|dumb| dumb.to_string()),
            "losses": self.losses.iter().map(loss).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// A row of the table.
#[derive(Clone, Copy)]
enum Row {
    Permitted,
    Effective,
    Inheritable,
    Bounding,
    Ambient,
    NoNewPrivs,
}

const ROWS: [Row; 6] = [Row::Permitted, Row::Effective, Row::Inheritable, Row::Bounding, Row::Ambient, Row::NoNewPrivs];

impl Row {
    fn name(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Effective => "effective",
            Self::Inheritable => "inheritable",
            Self::Bounding => "bounding",
            Self::Ambient => "ambient",
            Self::NoNewPrivs => "NoNewPrivs",
        }
    }

    fn told(self, sets: &Sets, all: CapSet) -> String {
        match self {
            Self::Permitted => sets.permitted.told(all),
            Self::Effective => sets.effective.told(all),
            Self::Inheritable => sets.inheritable.told(all),
            Self::Bounding => sets.bounding.told(all),
            Self::Ambient => sets.ambient.told(all),
            Self::NoNewPrivs => if sets.no_new_privs { "yes" } else { "no" }.to_owned(),
        }
    }
}

pub(super) fn sets_of(host: &Host, pid: u32) -> Result<Sets, ExplainError> {
    let sets = process::status(host, pid)
        .and_then(|text| Sets::read(&text).ok_or_else(|| io::Error::other("it has no Cap lines")));
    sets.map_err(|source| ExplainError::Proc { pid, source })
}

/// User and group of the process, as far as they are known here. A user that does not exist is not root.
pub(super) fn ids(setting: &Setting) -> (Option<u32>, Option<u32>) {
    let (uid, primary) = users::user(&setting.user).map_or((None, None), |(uid, gid)| (Some(uid), gid));
    let gid = if setting.group.is_empty() { primary } else { users::group(&setting.group) };
    (uid, gid)
}

pub(super) fn searched(host: &Host, program: &Path) -> PathBuf {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return program.to_owned();
    }
    let candidates = SEARCHED.iter().map(|folder| Path::new(folder).join(program));
    let mut there = candidates.clone().filter(|path| host.path(path).is_file());
    there.next().unwrap_or_else(|| program.to_owned())
}

/// The file that the kernel makes a process of when `program` is executed.
pub(super) fn find(host: &Host, program: &Path, setting: &Setting) -> Result<Found, ExplainError> {
    let mut path = program.to_owned();
    let mut through = Vec::new();
    loop {
        let failed = |what| {
            let program = path.clone();
            move |source| ExplainError::Program { program, what, source }
        };
        let unreadable = "the program can't be read";
        let mut file = intake::open_regular(&host.path(&path)).map_err(failed(unreadable))?;
        let meta = file.metadata().map_err(failed(unreadable))?;
        through.push(FileId { dev: meta.dev(), ino: meta.ino() });
        let mut start = Vec::new();
        file.by_ref().take(256).read_to_end(&mut start).map_err(failed(unreadable))?;
        if let Some(interpreter) = interpreter(&start).filter(|_| through.len() <= INTERPRETERS) {
            path = interpreter;
            continue;
        }
        let bytes = file.get_xattr(CAPABILITY).map_err(failed("its capabilities can't be read"))?;
        let caps = bytes.map(|bytes| FileCaps::from_bytes(&bytes)).transpose();
        let caps = caps.map_err(|source| ExplainError::Attribute { program: path.clone(), source })?;
        let mounted = process::is_nosuid(&file).map_err(failed("its file system can't be asked for nosuid"))?;
        let bit = |bit: u32, id: u32| (meta.mode() & bit == bit).then_some(id);
        let image = Image {
            caps,
            setuid: bit(0o4000, meta.uid()),
            // Without the group's x it is a sign of mandatory locking (inode(7)).
            setgid: bit(0o2010, meta.gid()),
            nosuid: mounted || setting.remounts_nosuid(&path).is_some(),
        };
        return Ok(Found { path, image, through });
    }
}

/// The interpreter in the first line of a script (execve(2)).
fn interpreter(start: &[u8]) -> Option<PathBuf> {
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let word = line.split(|b| matches!(b, b' ' | b'\t')).find(|word| !word.is_empty())?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(word)))
}

/// Whether the live process was made of what `program` names, or named before it was replaced.
fn is_of(running: &Running, found: &Found, host: &Host, program: &Path) -> bool {
    let same = |path: &Path| {
        let canonical = fs_err::canonicalize(host.path(path)).unwrap_or_else(|_| host.path(path));
        running.path == canonical || running.path == *path
    };
    found.through.contains(&running.file) || same(program) || same(&found.path)
}

fn caps_of_running(host: &Host, pid: u32) -> Option<FileCaps> {
    let file = fs_err::File::open(host.path(format!("/proc/{pid}/exe"))).ok()?;
    FileCaps::from_bytes(&file.file().get_xattr(CAPABILITY).ok()??).ok()
}

fn remark(notes: &mut Vec<String>, setting: &Setting, found: &Found, stale: bool, unit: &str) {
    if found.image.counting().is_some() && !setting.ambient.is_empty() && !setting.fully_privileged {
        notes.push(format!(
            "{} has file capabilities and {unit} has AmbientCapabilities=: the file's clear the ambient set",
            found.path.display()
        ));
    }
    if stale {
        notes.push(format!(
            "{unit} changed on disk, and systemd will start it as it was read before; systemctl daemon-reload makes it read them"
        ));
    }
    for key in setting.may_cover(&found.path) {
        notes.push(format!(
            "{key}= may put another file in the place of {}; the host's is explained",
            found.path.display()
        ));
    }
    if setting.pam {
        notes.push("PAMName=: a PAM module may change the sets, and that is not explained".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_the_first_word_of_the_first_line() {
        let read = |text: &str| interpreter(text.as_bytes());
        assert_eq!(read("#!/bin/sh -e\nexec x"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(read("#! \t/usr/bin/env python3"), Some(PathBuf::from("/usr/bin/env")));
        assert_eq!(read("#!\n/bin/sh"), None);
        assert_eq!(read("\x7fELF"), None);
    }
}
