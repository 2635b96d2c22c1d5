//! Running what is about to be stored, in a cell, before anything is: does it start here, does it take the present
//! configuration, is it the version that it should be.

use std::ffi::OsStr;
use std::time::Duration;

use super::evidence::Proven;
use super::machine::Kind;
use super::origin::Origin;
use crate::sys::Host;
use crate::sys::confine::{Cell, ConfineError, Confinement, Output, Walls, close_inherited};
use crate::sys::say::Say;
use crate::sys::users::Identity;
use crate::words::call::Call;
use crate::words::exit::{Coded, Exit};
use crate::words::member::FileName;
use crate::words::printed;
use crate::words::release::same_version;

/// How many bytes a program may print; a version and the findings of a check are less.
const LIMIT: usize = 1 << 20;

/// What to run of the files, and how.
#[derive(Clone, Debug)]
pub struct Runs {
    /// The calls, in their order.
    pub calls: Vec<Call>,
    /// Who runs them, `USER[:GROUP]`, when that is not nobody.
    pub user: Option<String>,
    /// Whether they may run without namespaces.
    pub walls: Walls,
    /// How long each may take.
    pub deadline: Duration,
    /// The version that must be printed.
    pub version: Option<String>,
}

/// A file that is about to be stored.
pub(super) struct Candidate<'a> {
    pub(super) name: &'a FileName,
    pub(super) kind: Kind,
    pub(super) proven: &'a mut Proven,
    pub(super) origin: Option<&'a Origin>,
}

/// What a call of a program gave.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The words it was called with.
    pub words: Vec<String>,
    /// The first line it printed.
    pub line: Option<String>,
    /// The version in it, when it was asked for that.
    pub version: Option<String>,
}

/// Why a file was not run, or is refused after it ran.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Several programs, and nothing says which.
    #[error("--run {call}: which of {programs}? Say it in front: --run '{first}: {call}'")]
    Which {
        /// The call.
        call: String,
        /// The programs.
        programs: String,
        /// The first of them.
        first: String,
    },
    /// No such program.
    #[error("--run {call}: {what}")]
    NoProgram {
        /// The call.
        call: String,
        /// What there is instead.
        what: String,
    },
    /// The user is not known.
    #[error("--run-as {0}: there is no such user or group on this host")]
    User(String),
    /// Another user is asked for, and only root can become one.
    #[error("--run-as {0}: only root can run a program as another user; run verify as root")]
    OnlyRoot(String),
    /// It could not be run.
    #[error("{source}{hint}")]
    Confine {
        /// Why.
        source: ConfineError,
        /// What to do.
        hint: &'static str,
    },
    /// It ran and failed.
    #[error("{program}: {how}: {said}")]
    Failed {
        /// The program and its words.
        program: String,
        /// How it ended.
        how: String,
        /// The first line of what it said.
        said: String,
    },
    /// It is another version.
    #[error("{program}: prints {found}, {wanted} is wanted ({by})")]
    Version {
        /// The program and its words.
        program: String,
        /// The version it prints, or what it prints instead.
        found: String,
        /// The version it should be.
        wanted: String,
        /// Who says so.
        by: String,
    },
}

impl Coded for RunError {
    fn exit(&self) -> Exit {
        match self {
            Self::Which { .. } | Self::NoProgram { .. } => Exit::Usage,
            Self::User(_) | Self::OnlyRoot(_) => Exit::CouldNot,
            Self::Failed { .. } | Self::Version { .. } => Exit::No,
            Self::Confine { source, .. } => match source {
                // The program's own doing.
                ConfineError::Deadline { .. } | ConfineError::TooMuch { .. } | ConfineError::Exec { .. } => Exit::No,
                _ => source.exit(),
            },
        }
    }
}

/// Runs all the calls; what each of the candidates gave, in their order. The first that fails ends it.
pub(super) fn run(
    host: &Host,
    runs: &Runs,
    candidates: &mut [Candidate<'_>],
    say: &Say,
) -> Result<Vec<Vec<Ran>>, RunError> {
    let user = match &runs.user {
        Some(text) if !nix::unistd::geteuid().is_root() => return Err(RunError::OnlyRoot(text.clone())),
        Some(text) => Some(Identity::of(text).ok_or_else(|| RunError::User(text.clone()))?),
        None => None,
    };
    let meant = runs.calls.iter().map(|call| meant(call, candidates)).collect::<Result<Vec<_>, _>>()?;
    // The one call whose output has the version in it: the one that asks for it, else the first.
    let asking = |file: usize| {
        let of_file = || runs.calls.iter().zip(&meant).enumerate().filter(move |(_, (_, of))| **of == file);
        let asks = of_file().find(|(_, (call, _))| call.asks_version()).map(|(at, _)| at);
        asks.or_else(|| runs.version.as_ref().and_then(|_| of_file().next().map(|(at, _)| at)))
    };
    close_inherited().map_err(|source| RunError::Confine {
        source: ConfineError::Io { program: "/proc/self/fdinfo".into(), source },
        hint: "",
    })?;
    let mut ran: Vec<Vec<Ran>> = candidates.iter().map(|_| Vec::new()).collect();
    for (at, (call, file)) in runs.calls.iter().zip(&meant).enumerate() {
        let (Some(candidate), Some(ran)) = (candidates.get_mut(*file), ran.get_mut(*file)) else { continue };
        let shown = shown(candidate.name, call);
        say.detail(format_args!("running {shown}"));
        let output = started(host, runs, user.as_ref(), candidate, call)?;
        if output.confinement != Confinement::Cell {
            say.note(format_args!("{shown}: ran without namespaces, as --run-unconfined allows"));
        }
        let text = judged(&shown, &output)?;
        let line = text.lines().find(|line| !line.trim().is_empty()).map(str::to_owned);
        let mut version = None;
        if asking(*file) == Some(at) {
            version = printed::version(&text).map(str::to_owned);
            compared(&shown, version.as_deref(), line.as_deref(), runs, candidate.origin, say)?;
        }
        let words = call.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        ran.push(Ran { words, line, version });
    }
    Ok(ran)
}

/// Which of the candidates a call means.
fn meant(call: &Call, candidates: &[Candidate<'_>]) -> Result<usize, RunError> {
    let text = || call.words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let is_program = |candidate: &Candidate| matches!(candidate.kind, Kind::Program | Kind::Script);
    let no_program = |what: String| RunError::NoProgram { call: format!("'{}'", text()), what };
    let name = |candidate: &Candidate| candidate.name.as_os_str().to_string_lossy().into_owned();
    let programs: Vec<_> = candidates.iter().enumerate().filter(|(_, candidate)| is_program(candidate)).collect();
    let names = || programs.iter().map(|(_, candidate)| name(candidate)).collect::<Vec<_>>().join(", ");
    match (&call.file, programs.as_slice()) {
        (_, []) => Err(no_program("there is no program among the files".to_owned())),
        (None, [(only, _)]) => Ok(*only),
        (None, [(_, first), ..]) => Err(RunError::Which { call: text(), programs: names(), first: name(first) }),
        (Some(wanted), _) => {
            let mut found = programs.iter().filter(|(_, candidate)| candidate.name == wanted);
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Ok(*at),
                (Some(_), Some(_)) => {
                    Err(no_program(format!("several files are called {}", wanted.as_os_str().display())))
                }
                (None, _) => Err(no_program(format!(
                    "there is no program {} among the files; {} is",
                    wanted.as_os_str().display(),
                    names()
                ))),
            }
        }
    }
}

fn started(
    host: &Host,
    runs: &Runs,
    user: Option<&Identity>,
    candidate: &mut Candidate<'_>,
    call: &Call,
) -> Result<Output, RunError> {
    let size = candidate.proven.size();
    let unread = |source| RunError::Confine {
        source: ConfineError::Io { program: candidate.name.as_os_str().into(), source },
        hint: "",
    };
    let bytes = candidate.proven.bytes().map_err(unread)?;
    let name: &OsStr = candidate.name.as_os_str();
    let (arguments, deadline) = (call.words.as_slice(), runs.deadline);
    let mut trial = Cell { name, bytes, size, arguments, user, walls: runs.walls, deadline, limit: LIMIT };
    trial.run(host).map_err(|source| {
        let refused = matches!(source, ConfineError::Refused { .. }) && runs.walls == Walls::Namespaces;
        let hint = if refused { "; run verify as root, or accept that: --run-unconfined" } else { "" };
        let program = || shown(candidate.name, call).into();
        let source = match source {
            ConfineError::Deadline { deadline, .. } => ConfineError::Deadline { program: program(), deadline },
            ConfineError::TooMuch { limit, .. } => ConfineError::TooMuch { program: program(), limit },
            other => other,
        };
        RunError::Confine { source, hint }
    })
}

/// What it printed, when it ended well.
fn judged(shown: &str, output: &Output) -> Result<String, RunError> {
    let first = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    };
    if !output.status.success() {
        let nothing = || "it said nothing".to_owned();
        let said = first(&output.stderr).or_else(|| first(&output.stdout)).unwrap_or_else(nothing);
        let program = shown.to_owned();
        return Err(RunError::Failed { program, how: output.how(), said });
    }
    // Java's kind prints its version on standard error.
    let bytes = if first(&output.stdout).is_some() { &output.stdout } else { &output.stderr };
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// That the version it prints is the one it should be: the given one, else the one in the record of where it came from.
fn compared(
    shown: &str,
    found: Option<&str>,
    line: Option<&str>,
    runs: &Runs,
    origin: Option<&Origin>,
    say: &Say,
) -> Result<(), RunError> {
    let recorded =
        || origin.and_then(|origin| Some((origin.version.clone()?, format!("the record of {}", origin.source))));
    let given = runs.version.clone().map(|version| (version, "--expect-version".to_owned()));
    let strict = given.is_some();
    let Some((wanted, by)) = given.or_else(recorded) else { return Ok(()) };
    let differs =
        |found: String| RunError::Version { program: shown.to_owned(), found, wanted: wanted.clone(), by: by.clone() };
    match found.map(|found| (found, same_version(found, &wanted))) {
        Some((_, Some(true))) => Ok(()),
        Some((found, Some(false))) => Err(differs(found.to_owned())),
        _ if strict => {
            let line =
                line.map_or_else(|| "nothing".to_owned(), |line| format!("'{line}', which has no version in it"));
            Err(differs(line))
        }
        _ => {
            say.note(format_args!(
                "{shown}: its version is not compared with {wanted} ({by}): one of them is no number"
            ));
            Ok(())
        }
    }
}

fn shown(name: &FileName, call: &Call) -> String {
    let words = call.words.iter().map(|word| word.to_string_lossy());
    std::iter::once(name.as_os_str().to_string_lossy()).chain(words).collect::<Vec<_>>().join(" ")
}
