//! The proof that the main process runs the file it should, and that no process of the unit still runs the one before.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::sys::Host;
use crate::sys::process::{self, FileId, Running};
use crate::words::proof::Exe;
use crate::words::verdict::Name;
use crate::words::verdict::fold::Executable;
use crate::words::verdict::state::{Active, State};

/// What to do where the main process never is the file of `ExecStart=`.
pub(super) const ADVICE: &str = "say which executable it should run: --exe PATH, or --exe any";

/// What systemd runs between fork and execve: itself up to v253, `systemd-executor` since.
const STARTERS: [&str; 2] = ["systemd", "systemd-executor"];

/// Whether the main process of `state` runs the executable that `wanted` names. `new` is whether that run is known to have begun
/// with the files that are there now.
#[must_use]
pub fn prove(host: &Host, state: &State, wanted: &Exe, new: bool) -> Executable {
    let Some(path) = wanted_path(host, state, wanted) else {
        return match wanted {
            Exe::Any => Executable::Proven,
            _ => Executable::No(Name::NotProvable, format!("systemd names no file in ExecStart=; {ADVICE}")),
        };
    };
    let Some(pid) = state.main_pid else {
        let text = format!("the unit is up and systemd knows no main process (MainPID=0); {ADVICE}");
        return Executable::NotYet(Name::NotProvable, text);
    };
    let running = match process::executable(host, pid) {
        Ok(running) => running,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return unreadable(pid),
        Err(e) => return Executable::NotYet(Name::Unreadable, format!("the executable of process {pid}: {e}")),
    };
    let file = match FileId::of(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = format!("process {pid} should run {}, and there is no such file", path.display());
            return Executable::NotYet(Name::NotProvable, text);
        }
        Err(e) => return Executable::NotYet(Name::NotProvable, format!("what process {pid} should run: {e}")),
    };
    if running.file == file {
        return Executable::Proven;
    }
    if is_starter(&running) {
        return Executable::NotYet(Name::NeverReady, format!("process {pid} is still systemd's, about to be executed"));
    }
    let (shown, runs) = (path.display(), running.path.display());
    if running.deleted && names(state, &path, wanted).contains(&running.path) {
        return Executable::No(
            Name::WrongBinary,
            format!(
                "process {pid} runs the old, replaced {shown} (inode {}), not the file that is there now",
                running.file.ino
            ),
        );
    }
    match (wanted, kind(&path)) {
        // A wrapper may still be on its way to it.
        (Exe::Path(_), _) => Executable::NotYet(Name::WrongBinary, format!("process {pid} runs {runs}, not {shown}")),
        (_, Kind::Elf) if new => Executable::No(
            Name::NotProvable,
            format!("{shown} of ExecStart= was started and executed {runs} (process {pid}); {ADVICE}"),
        ),
        (_, Kind::Elf) => Executable::No(
            Name::WrongBinary,
            format!("process {pid} runs {runs}, not {shown} of ExecStart=; if that is meant, {ADVICE}"),
        ),
        (_, Kind::Script) => Executable::No(
            Name::NotProvable,
            format!("{shown} of ExecStart= is a script, and process {pid} runs {runs}; {ADVICE}"),
        ),
        (_, Kind::Unknown) => Executable::No(
            Name::NotProvable,
            format!("process {pid} runs {runs}, and {shown} of ExecStart= can't be read; {ADVICE}"),
        ),
    }
}

/// Whether something keeps the main process of `state` from running at all: a connection waits in the kernel's queue for it, and
/// nobody answers.
#[must_use]
pub fn prove_not_suspended(host: &Host, state: &State) -> Executable {
    if state.frozen {
        return Executable::NotYet(Name::Stopped, "the unit is frozen; systemctl thaw lets it run".into());
    }
    match state.main_pid {
        Some(pid) if process::is_stopped(host, pid) => {
            let text = format!("process {pid} is suspended by a signal; kill -CONT {pid} lets it run");
            Executable::NotYet(Name::Stopped, text)
        }
        _ => Executable::Proven,
    }
}

/// The file that the main process of `before` runs, to be found again where it was moved aside instead of replaced.
#[must_use]
pub fn of_the_run_before(host: &Host, before: &State) -> Option<FileId> {
    Some(process::executable(host, before.main_pid?).ok()?.file)
}

/// Whether a process of the unit's control group still runs the replaced file of the executable that `wanted` names. `before` is
/// the file that the main process ran before COMMAND.
#[must_use]
pub fn prove_none_old(host: &Host, state: &State, wanted: &Exe, before: Option<FileId>) -> Executable {
    let Some(path) = wanted_path(host, state, wanted) else { return Executable::Proven };
    if state.cgroup.is_empty() {
        return Executable::Proven;
    }
    let names = names(state, &path, wanted);
    let now = FileId::of(&path).ok();
    let pids = match process::of_cgroup(host, &state.cgroup) {
        Ok(Some(pids)) => pids,
        Ok(None) => {
            let text = format!("control group {} is not below /sys/fs/cgroup", state.cgroup);
            return Executable::NotYet(Name::Unreadable, text);
        }
        Err(e) => return Executable::NotYet(Name::Unreadable, format!("control group {}: {e}", state.cgroup)),
    };
    let main_began = state.main_pid.and_then(|pid| process::began(host, pid));
    // The new run may have a use for the same file; it is younger than its main process.
    let is_older = |pid| process::began(host, pid).is_some_and(|began| main_began.is_some_and(|main| began < main));
    for pid in pids {
        match process::executable(host, pid) {
            Ok(running) if running.deleted && names.contains(&running.path) && Some(running.file) != now => {
                let text = format!("process {pid} of the unit still runs the replaced {}", path.display());
                return Executable::NotYet(Name::OldProcess, text);
            }
            Ok(running) if Some(running.file) == before && before != now && is_older(pid) => {
                let text = format!(
                    "process {pid} of the unit, older than its main process, still runs what it ran before: {}",
                    running.path.display()
                );
                return Executable::NotYet(Name::OldProcess, text);
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return unreadable(pid),
            // Another file, or a process that has just ended.
            Ok(_) | Err(_) => {}
        }
    }
    Executable::Proven
}

/// The reason why `wanted` can never be proven of this unit, known before it is restarted for nothing.
#[must_use]
pub fn never_provable(host: &Host, state: &State, wanted: &Exe) -> Option<(Name, String)> {
    let path = wanted_path(host, state, wanted)?;
    let script = *wanted == Exe::ExecStart && !state.other_root && !state.need_reload && kind(&path) == Kind::Script;
    if script {
        return Some((
            Name::NotProvable,
            format!("{} is a script, so no process ever runs it; {ADVICE}", path.display()),
        ));
    }
    let forks = state.kind == "forking" && state.active == Active::Active && state.sub == "running";
    let Some(pid) = state.main_pid else {
        let text = "systemd knows no main process of the unit (MainPID=0): PIDFile= tells it one; or say --exe any";
        return (forks && !state.need_reload).then(|| (Name::NotProvable, text.into()));
    };
    match process::executable(host, pid) {
        Ok(running) if *wanted == Exe::ExecStart && executes(state, &path, &running) => {
            let (shown, runs) = (path.display(), running.path.display());
            Some((Name::NotProvable, format!("{shown} of ExecStart= executes {runs}; say --exe {runs}, or --exe any")))
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => match unreadable(pid) {
            Executable::No(name, text) => Some((name, text)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the file of `ExecStart=` at `path` is a wrapper whose further words name what runs: `env`, `ip netns exec`, `setpriv` …
fn executes(state: &State, path: &Path, running: &Running) -> bool {
    let is_it = |word: &String| {
        let word = Path::new(word);
        if word.is_relative() {
            return Some(word.as_os_str()) == running.path.file_name();
        }
        word == running.path || FileId::of(word).is_ok_and(|file| file == running.file)
    };
    !state.other_root
        && !state.need_reload
        && FileId::of(path).is_ok_and(|file| file != running.file)
        && path.file_name() != running.path.file_name()
        && state.exec_words.iter().any(is_it)
}

/// The path of the file that should run, `None` when any may or when systemd names none.
fn wanted_path(host: &Host, state: &State, wanted: &Exe) -> Option<PathBuf> {
    match (wanted, &state.exec_start, state.main_pid) {
        (Exe::Any, ..) => None,
        (Exe::Path(path), ..) => Some(path.clone()),
        (Exe::ExecStart, Some(path), Some(pid)) if state.other_root => Some(process::seen_by(host, pid, path)),
        (Exe::ExecStart, path, _) => path.as_ref().map(|path| host.path(path)),
    }
}

/// What /proc may call the file at `path`: with or without symbolic links, and as it is called in another root.
fn names(state: &State, path: &Path, wanted: &Exe) -> Vec<PathBuf> {
    let inside = state.exec_start.clone().filter(|_| state.other_root && *wanted == Exe::ExecStart);
    [Some(path.to_owned()), fs::canonicalize(path).ok(), inside].into_iter().flatten().collect()
}

fn unreadable(pid: u32) -> Executable {
    let text = format!(
        "/proc/{pid}/exe may not be read, so nothing is proven; run as root (in a container: with CAP_SYS_PTRACE), or say --exe any"
    );
    Executable::No(Name::Unreadable, text)
}

fn is_starter(running: &Running) -> bool {
    running.path.file_name().is_some_and(|name| STARTERS.iter().any(|starter| name == *starter))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Elf,
    Script,
    Unknown,
}

fn kind(path: &Path) -> Kind {
    let mut magic = [0; 4];
    match fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == *b"\x7fELF" => Kind::Elf,
        Ok(()) if magic.starts_with(b"#!") => Kind::Script,
        _ => Kind::Unknown,
    }
}
