//! A unit's text from the program it is for, or from a template.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Operand, Unit, UnitError, load, load_by_name, parsed};
use crate::sys::Host;
use crate::sys::confine::{ConfineError, Confined, Confinement, close_inherited};
use crate::sys::say::Say;
use crate::words::exit::{Coded, Exit};
use crate::words::unit::LIMIT;
use crate::words::unit::file::File;
use crate::words::unit::flags;
use crate::words::unit::render::{self as template, FillError};

/// How long a program may take to print its unit.
const DEADLINE: Duration = Duration::from_secs(10);

/// A unit's text.
#[derive(Debug)]
pub struct Rendered {
    /// The text, to the byte.
    pub text: Vec<u8>,
    /// Where it came from, for `--json`.
    pub from: Value,
}

/// Why no unit was rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The unit to be like, the template, or what was rendered can't be read.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// The unit to be like is no service.
    #[error("{name}: has no [Service] section, so no service can be rendered like it")]
    NoService {
        /// The unit.
        name: String,
    },
    /// The program could not be run.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The program ran and failed.
    #[error("{program}: {status}: {message}")]
    Failed {
        /// The program and its arguments.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        message: String,
    },
    /// What was rendered is no unit.
    #[error("{name}: gave no unit: {reason}")]
    NoUnit {
        /// The program and its arguments, or the template.
        name: String,
        /// What is missing.
        reason: &'static str,
    },
    /// The template and the values don't go together.
    #[error("{name}: {source}")]
    Fill {
        /// The template.
        name: String,
        /// Why not.
        source: FillError,
    },
}

impl Coded for RenderError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unit(source) => source.exit(),
            Self::Confine(source) => source.exit(),
            Self::Fill { source, .. } => source.exit(),
            Self::NoService { .. } | Self::Failed { .. } | Self::NoUnit { .. } => Exit::CouldNot,
        }
    }
}

/// The unit that `command` prints, run confined; with `like`, its words are followed by `--user`, `--group`, `--binary` and
/// `--config` of that unit, as far as they are known and `command` does not give them itself.
pub fn from_program(
    host: &Host,
    command: &[OsString],
    like: Option<&Operand>,
    say: &Say,
) -> Result<Rendered, RenderError> {
    let mut words = command.to_vec();
    if let Some(operand) = like {
        for (flag, value) in alike(&load_by_name(host, operand, say)?, say)? {
            let given = |word: &OsString| {
                word.to_str()
                    .is_some_and(|word| word == flag || word.strip_prefix(flag).is_some_and(|w| w.starts_with('=')))
            };
            if command.iter().any(given) {
                say.detail(format_args!("{flag} is given after --, so the unit's is not passed"));
            } else {
                words.extend([flag.into(), value.into()]);
            }
        }
    }
    let shown = words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let (program, arguments) = words.split_first().map(|(p, a)| (p.as_os_str(), a)).unwrap_or_default();
    say.detail(format_args!("running {shown}"));
    close_inherited().map_err(|source| ConfineError::Io { program: program.into(), source })?;
    let output = Confined { program, arguments, deadline: DEADLINE, limit: LIMIT }.run(host)?;
    if output.confinement == Confinement::NoNewPrivileges {
        say.detail("it ran as you, without new privileges; only root can run it as nobody and without network");
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<_> = stderr.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let last = lines.last().map_or_else(|| "it said nothing on standard error".to_owned(), ToString::to_string);
        return Err(RenderError::Failed { program: shown, status: output.status.to_string(), message: last });
    }
    for line in stderr.lines() {
        say.detail(format_args!("it said: {line}"));
    }
    let from = json!({ "command": words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>() });
    finished(&shown, output.stdout, from, say)
}

/// The unit that the template in `file` becomes with `values`.
pub fn from_template(
    host: &Host,
    file: &Operand,
    values: &[template::Value],
    say: &Say,
) -> Result<Rendered, RenderError> {
    let name = if file.is_stdin() { "standard input".to_owned() } else { Path::new(&file.0).display().to_string() };
    let operand = if file.is_stdin() { file.clone() } else { as_path(file) };
    // What systemd would ignore is said once, of the result.
    let unit = load(host, &operand, &Say::quiet(say.tool()))?;
    let text = unit.files.first().map(|(_, file)| file.bytes().to_vec()).unwrap_or_default();
    let text =
        String::from_utf8(text).map_err(|_| RenderError::NoUnit { name: name.clone(), reason: "it is not UTF-8" })?;
    let filled = template::fill(&text, values).map_err(|source| RenderError::Fill { name: name.clone(), source })?;
    finished(&name, filled.into_bytes(), json!({ "template": name }), say)
}

/// A template is always a file: a bare name is one of the current folder.
fn as_path(file: &Operand) -> Operand {
    Operand(Path::new(".").join(&file.0).into())
}

/// Accepts what a unit must have at least; systemd would take an empty file for a masked unit.
fn finished(name: &str, text: Vec<u8>, from: Value, say: &Say) -> Result<Rendered, RenderError> {
    let no_unit = |reason| RenderError::NoUnit { name: name.to_owned(), reason };
    if text.contains(&0) {
        return Err(no_unit("it holds a NUL"));
    }
    let file: File = parsed(name, text)?;
    if file.sections().is_empty() {
        return Err(no_unit(if file.bytes().is_empty() { "it is empty" } else { "it has no [Section]" }));
    }
    if file.assignments().len() == 0 {
        return Err(no_unit("it sets nothing"));
    }
    for complaint in file.complaints() {
        say.note(format_args!("{name}: {complaint}"));
    }
    Ok(Rendered { text: file.bytes().to_vec(), from })
}

/// What of `unit` its program is told, so that it prints a unit like it.
fn alike(unit: &Unit, say: &Say) -> Result<Vec<(&'static str, String)>, RenderError> {
    if !unit.files.iter().any(|(_, file)| file.sections().iter().any(|section| section == "Service")) {
        return Err(RenderError::NoService { name: unit.name.clone() });
    }
    let reading = unit.reading();
    let set = |key: &str| known(reading.last("Service", key).unwrap_or_default());
    let (mut user, mut group, dynamic) = match &unit.loaded {
        Some(loaded) => (Some(loaded.user.clone()), Some(loaded.group.clone()), loaded.dynamic_user),
        None => (
            set("User"),
            set("Group"),
            set("DynamicUser").is_some_and(|d| matches!(d.as_str(), "yes" | "true" | "on" | "1")),
        ),
    };
    // A service without User= runs as root (systemd.exec(5)), and must not be given another user by the program's default.
    if user.as_deref() == Some("") && !dynamic {
        user = Some("root".to_owned());
        group = group.filter(|group| !group.is_empty()).or_else(|| Some("root".to_owned()));
    }
    let commands = reading.commands("ExecStart").unwrap_or_default();
    let command = commands.last().filter(|_| commands.len() == 1);
    let binary = command.and_then(|command| known(&command.program)).filter(|path| path.starts_with('/'));
    let config = command.and_then(|command| flags::value_of(&command.arguments, "--config")).and_then(|value| {
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

/// `text` without specifiers; `None` when it has one, as only systemd knows what that becomes.
fn known(text: &str) -> Option<String> {
    let plain = text.replace("%%", "");
    (!plain.contains('%')).then(|| text.replace("%%", "%"))
}
