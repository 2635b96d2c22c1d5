//! A unit's text from the program it is for, which runs in a cell.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::render::{RenderError, Rendered, finished};
use super::{Operand, Unit, load_by_name};
use crate::sys::confine::{Cell, ConfineError, Confinement, Walls, close_inherited};
use crate::sys::say::Say;
use crate::sys::{Host, intake};
use crate::words::unit::exec::Command;
use crate::words::unit::{LIMIT, flags, keys};

/// Programs whose own name says nothing of what they run (`env(1)`, `nice(1)`, a shell, an interpreter).
const WRAPPERS: &str = "env sh bash dash ash zsh ksh busybox nice ionice chrt taskset numactl nohup setsid setpriv prlimit \
    setuidgid chpst sudo su runuser chroot unshare nsenter ip capsh stdbuf timeout flock systemd-run systemd-cat \
    systemd-inhibit systemd-socket-proxyd tini dumb-init catatonit strace ld.so perl python python2 python3 ruby node java \
    php docker podman start-stop-daemon authbind unbuffer xargs";

/// A program that prints its unit, and how it runs.
#[derive(Clone, Copy, Debug)]
pub struct Printing<'a> {
    /// The program and its words.
    pub command: &'a [OsString],
    /// The unit whose user, group, binary and config are added to the words.
    pub like: Option<&'a Operand>,
    /// Whether it may run without namespaces.
    pub walls: Walls,
    /// How long it may take.
    pub deadline: Duration,
}

/// The unit that a program prints, run in a cell; with `like`, its words get `--user`, `--group`, `--binary` and `--config` of
/// that unit besides, as far as they are known and `command` does not give them itself.
pub fn from_program(host: &Host, printing: &Printing<'_>, say: &Say) -> Result<Rendered, RenderError> {
    let Printing { command, like, walls, deadline } = *printing;
    let (binary, words) = command.split_first().ok_or(RenderError::NoWords)?;
    if words.is_empty() {
        return Err(RenderError::NoWords);
    }
    let path = located(binary)?;
    let name = path.file_name().unwrap_or(binary).to_owned();
    let mut words = words.to_vec();
    let mut like_name = None;
    if let Some(operand) = like {
        let unit = load_by_name(host, operand, say)?;
        add(&mut words, alike(&unit, &name, say)?, say);
        like_name = Some(unit.name);
    }
    let all = || std::iter::once(binary).chain(&words).map(|word| word.to_string_lossy());
    let shown = all().collect::<Vec<_>>().join(" ");
    say.detail(format_args!("running {shown}"));
    let failed = |source| ConfineError::Io { program: binary.into(), source };
    close_inherited().map_err(failed)?;
    let mut bytes = executable(&path).map_err(failed)?;
    let size = bytes.metadata().map_err(failed)?.len();
    let (arguments, limit) = (words.as_slice(), LIMIT);
    let mut cell = Cell { name: &name, bytes: &mut bytes, size, arguments, user: None, walls, deadline, limit };
    let output = cell.run(host).map_err(|source| {
        let refused = matches!(source, ConfineError::Refused { .. }) && walls == Walls::Namespaces;
        let hint = if refused { "; run unit-render as root, or accept that: --run-unconfined" } else { "" };
        RenderError::Confine { source: source.of(binary.into()), hint }
    })?;
    if output.confinement != Confinement::Cell {
        say.note(format_args!("{shown}: ran without namespaces, as --run-unconfined allows"));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<_> = stderr.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let last = lines.last().map_or_else(|| "it said nothing on standard error".to_owned(), ToString::to_string);
        return Err(RenderError::Failed { program: shown, status: output.how(), message: last });
    }
    for line in stderr.lines() {
        say.detail(format_args!("it said: {line}"));
    }
    if let Some(place) = output.own_place(&name) {
        return Err(RenderError::OwnPlace { program: shown, place });
    }
    let from = json!({ "command": all().collect::<Vec<_>>() });
    let like_file = like_name.as_deref().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    let unit_name = like_file.map(str::to_owned).or_else(|| name.to_str().map(str::to_owned));
    let rendered = finished(&shown, unit_name, output.stdout, from, say)?;
    match like_name {
        Some(like) if !rendered.has_section("Service") => Err(RenderError::NoServiceGiven { program: shown, like }),
        _ => Ok(rendered),
    }
}

/// Adds flags that are not given yet: in front of a `--`, after which they would be no flags.
fn add(words: &mut Vec<OsString>, flags: Vec<(&'static str, String)>, say: &Say) {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let mut more = Vec::new();
    for (flag, value) in flags {
        let given = |word: &OsString| {
            let rest = word.as_encoded_bytes().strip_prefix(flag.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
        };
        if words.iter().take(end).any(given) {
            say.detail(format_args!("{flag} is given after --, so the unit's is not passed"));
        } else {
            more.extend([flag.into(), value.into()]);
        }
    }
    words.splice(end..end, more);
}

/// What of `unit` the program called `name` is told, so that it prints a unit like it.
fn alike(unit: &Unit, name: &OsStr, say: &Say) -> Result<Vec<(&'static str, String)>, RenderError> {
    if !unit.files.iter().any(|(_, file)| file.sections().iter().any(|section| section == "Service")) {
        return Err(RenderError::NoService { name: unit.name.clone() });
    }
    let reading = unit.reading();
    let set = |key: &str| known(reading.last("Service", key).unwrap_or_default());
    let (mut user, mut group, dynamic) = match &unit.loaded {
        Some(loaded) => (Some(loaded.user.clone()), Some(loaded.group.clone()), loaded.dynamic_user),
        None => (set("User"), set("Group"), set("DynamicUser").is_some_and(|value| keys::switch(&value) == "yes")),
    };
    if dynamic {
        // The name that systemd shows then is only there while the service runs: no unit without DynamicUser= can have it.
        (user, group) = (None, None);
    } else if user.as_deref() == Some("") {
        // A service without User= runs as root (systemd.exec(5)), and must not be given another user by the program's default.
        user = Some("root".to_owned());
        group = group.filter(|group| !group.is_empty()).or_else(|| Some("root".to_owned()));
    }
    let commands = reading.commands("ExecStart").unwrap_or_default();
    let command = commands.last().filter(|_| commands.len() == 1);
    let wrapped = command.filter(|command| wraps(command, name));
    if let Some(wrapper) = wrapped {
        say.note(format_args!(
            "{}: runs {} through {}, so --binary and --config are not taken from it; give them after -- if they matter",
            unit.name,
            name.display(),
            wrapper.program
        ));
    }
    let command = command.filter(|_| wrapped.is_none());
    let binary = command.and_then(|command| known(&command.program)).filter(|path| path.starts_with('/'));
    let config = command.and_then(|command| {
        let value = flags::value_of(&command.arguments, "--config")?;
        // With ':' systemd replaces no variables (systemd.service(5)).
        if command.prefix.contains(':') {
            return known(value);
        }
        let plain = value.replace("$$", "");
        if plain.contains('$') { None } else { known(value).map(|value| value.replace("$$", "$")) }
    });
    let mut all = Vec::new();
    for (flag, value) in [("--user", user), ("--group", group), ("--binary", binary), ("--config", config)] {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => all.push((flag, value)),
            None => say.detail(format_args!("{}: says nothing certain for {flag}, so it is not passed", unit.name)),
        }
    }
    Ok(all)
}

/// Whether a command runs the program called `name` by means of another: then its own words say nothing certain. A program that
/// has another name, and is none of those known to do so, is taken for the same one before it was renamed.
fn wraps(command: &Command, name: &OsStr) -> bool {
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let program = last(&command.program);
    if name == OsStr::new(&program) {
        return false;
    }
    let versioned = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    command.prefix.contains('|')
        || WRAPPERS.split_whitespace().any(|wrapper| wrapper == program || wrapper == versioned)
        || program.starts_with("ld-linux")
        || command.arguments.iter().any(|word| word.contains('/') && name == OsStr::new(&last(word)))
}

/// `text` without specifiers; `None` when it has one, as only systemd knows what that becomes.
fn known(text: &str) -> Option<String> {
    let plain = text.replace("%%", "");
    (!plain.contains('%')).then(|| text.replace("%%", "%"))
}

/// The path of `program`, which has a slash in it or is found by the caller's `PATH`.
fn located(program: &OsStr) -> Result<PathBuf, RenderError> {
    let missing = || RenderError::Missing { program: program.into() };
    let path = Path::new(program);
    if program.as_encoded_bytes().contains(&b'/') {
        return path.exists().then(|| path.to_owned()).ok_or_else(missing);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(path))
        .find(|path| path.metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0))
        .ok_or_else(missing)
}

/// A regular file that somebody may execute.
fn executable(path: &Path) -> io::Result<File> {
    let file = intake::open_regular(path)?;
    if file.metadata()?.mode() & 0o111 == 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "is not executable; chmod +x makes it so"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::unit::exec::commands;

    #[test]
    fn a_wrapper_is_told_from_a_program_of_another_name() {
        for (line, expected) in [
            ("/usr/local/bin/runed --config /x", false),
            ("/opt/rune-1.2/rune-server --config /x", false),
            ("/usr/bin/env A=1 /usr/local/bin/runed", true),
            ("/usr/bin/env A=1 runed", true),
            ("/bin/sh -c 'exec runed --config /x'", true),
            ("/usr/bin/python3.11 /srv/app.py --config /x", true),
            ("/opt/launch /usr/local/bin/runed --config /x", true),
            ("/opt/launch --name runed", false),
            ("|/usr/local/bin/rune-server", true),
        ] {
            assert_eq!(wraps(&commands(line).unwrap()[0], OsStr::new("runed")), expected, "{line}");
        }
        assert!(!wraps(&commands("/bin/busybox httpd").unwrap()[0], OsStr::new("busybox")), "is what it runs itself");
    }

    #[test]
    fn flags_go_in_front_of_the_end_of_flags_and_none_twice() {
        let say = Say::quiet("unit-render");
        let added = |words: &[&str]| {
            let mut words = words.iter().map(OsString::from).collect();
            add(&mut words, vec![("--user", "u".into()), ("--config", "/c".into())], &say);
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(added(&["print-systemd"]), "print-systemd --user u --config /c");
        assert_eq!(added(&["p", "--user=x"]), "p --user=x --config /c");
        assert_eq!(
            added(&["p", "--users", "--config", "x", "--", "--user"]),
            "p --users --config x --user u -- --user"
        );
    }
}
