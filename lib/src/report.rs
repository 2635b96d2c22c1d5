//! The start and the end of every `main`: arguments in; the answer on stdout, what people read on stderr, the exit code out.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, Args, Parser};
use serde::Serialize;
use serde_json::{Value, json};

use crate::sys::intake;
use crate::sys::say::{Level, Say};
use crate::sys::signals;
use crate::words::exit::{Exit, Stop};

/// The options every tool has.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Print the answer as one JSON object (its form: JSON in the man page)
    #[arg(long, global = true, help_heading = "Common options")]
    pub json: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    pub quiet: bool,
    /// Say each step
    #[arg(short, long, global = true, help_heading = "Common options")]
    pub verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Common options")]
    pub color: clap::ColorChoice,
    /// Print help
    #[arg(short, long, action = ArgAction::Help, help_heading = "Common options")]
    help: Option<bool>,
    /// Print version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Common options")]
    version: Option<bool>,
}

impl Common {
    /// True when standard output takes colour: as `--color` says, else on a terminal without `NO_COLOR` (no-color.org).
    #[must_use]
    pub fn colours(&self) -> bool {
        match self.color {
            clap::ColorChoice::Always => true,
            clap::ColorChoice::Never => false,
            clap::ColorChoice::Auto => colours_stdout(),
        }
    }
}

/// Operands that come as a list, as tar(1), wc(1) and du(1) take them.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Take the FILEs from this list, a line each; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "files0_from"])]
    pub files_from: Option<PathBuf>,
    /// Take the FILEs from this list, each ended by NUL; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub files0_from: Option<PathBuf>,
}

impl ListArgs {
    /// The listed files, or `given` when no list is named. An empty list is refused: the stage before gave nothing.
    pub fn files_or(&self, given: Vec<PathBuf>) -> Result<Vec<PathBuf>, Stop> {
        match (&self.files_from, &self.files0_from) {
            (Some(list), _) => Ok(intake::names_from(list, b'\n')?),
            (None, Some(list)) => Ok(intake::names_from(list, 0)?),
            (None, None) => Ok(given),
        }
    }
}

/// What `--version` prints after the tool's name, as the GNU coding standards have it.
pub const VERSION: &str = concat!("(upswap) ", env!("CARGO_PKG_VERSION"));

/// The answer of a tool that ran to its end.
#[derive(Debug)]
pub struct Answer {
    code: u8,
    lines: Vec<u8>,
    json: Fields,
    deed: bool,
}

impl Answer {
    /// An answer whose worth is its output (fetch, verify, a rendered unit): when stdout fails, so does the tool.
    #[must_use]
    pub fn product(exit: Exit) -> Self {
        Self { code: exit.code(), lines: Vec::new(), json: Fields::Tree(json!({})), deed: false }
    }

    /// An answer after a deed: a stdout that fails is said, and never turns the deed into a failure.
    #[must_use]
    pub fn deed(exit: Exit) -> Self {
        Self { deed: true, ..Self::product(exit) }
    }

    /// The same answer with this exit code.
    #[must_use]
    pub fn exiting(self, exit: Exit) -> Self {
        self.passing_on(exit.code())
    }

    /// The same answer with the exit code of a COMMAND, for a wrapper that had nothing to do itself.
    #[must_use]
    pub fn passing_on(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Adds one record of data, ended by a newline.
    #[must_use]
    pub fn line(self, record: impl AsRef<OsStr>) -> Self {
        self.record(record, b'\n')
    }

    /// Adds one record of data, ended by `end` (NUL for `-0`).
    #[must_use]
    pub fn record(mut self, record: impl AsRef<OsStr>, end: u8) -> Self {
        self.lines.extend_from_slice(record.as_ref().as_bytes());
        self.lines.push(end);
        self
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<[u8]>) -> Self {
        self.lines.extend_from_slice(text.as_ref());
        self
    }

    /// The fields of the `--json` object; `schema`, `tool` and `exit` are added to them.
    #[must_use]
    pub fn json(mut self, fields: Value) -> Self {
        self.json = Fields::Tree(fields);
        self
    }

    /// The same of what may be too large for a tree: an object that is written at once.
    pub fn fields(mut self, fields: &impl Serialize) -> Result<Self, Stop> {
        let written = serde_json::to_vec(fields).map_err(|e| Stop { exit: Exit::CouldNot, message: e.to_string() })?;
        self.json = Fields::Written(written);
        Ok(self)
    }
}

/// What an answer adds to the `--json` object.
#[derive(Debug)]
enum Fields {
    Tree(Value),
    /// As JSON, an object.
    Written(Vec<u8>),
}

/// A whole `main`: parses the arguments, runs the tool, prints its answer, and gives the exit code.
///
/// Never panics on a stdout that fails, and never prints anything on stdout before the tool is done.
pub fn run<A>(tool: &'static str, work: impl FnOnce(A, &Say) -> Result<Answer, Stop>) -> ExitCode
where
    A: Parser + AsRef<Common>,
{
    signals::outlive_file_size_limit();
    let arguments = match A::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => return usage(tool, &e),
    };
    let common = arguments.as_ref().clone();
    let level = match (common.quiet, common.verbose) {
        (true, _) => Level::Quiet,
        (_, true) => Level::Verbose,
        _ => Level::Normal,
    };
    let say = Say::new(tool, level);
    let code = match work(arguments, &say) {
        Ok(answer) => {
            let output = if common.json { document(tool, answer.code, None, answer.json) } else { answer.lines };
            match write_out(&output) {
                Err(e) if answer.deed => {
                    say.note(format_args!("the work is done, but its report could not be written: {e}"));
                    answer.code
                }
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::CouldNot.code(),
                Err(e) => {
                    say.error(format_args!("standard output: {e}"));
                    Exit::CouldNot.code()
                }
                Ok(()) => answer.code,
            }
        }
        Err(stop) => {
            say.error(&stop);
            if common.json {
                // The code and the line on stderr already tell; a failing stdout adds nothing.
                let _ = write_out(&document(tool, stop.exit.code(), Some(&stop.message), Fields::Tree(json!({}))));
            }
            stop.exit.code()
        }
    };
    ExitCode::from(code)
}

fn document(tool: &str, code: u8, error: Option<&str>, fields: Fields) -> Vec<u8> {
    let mut object = json!({ "schema": 1, "tool": tool, "exit": code });
    if let (Some(object), Some(error)) = (object.as_object_mut(), error) {
        object.insert("error".into(), error.into());
    }
    let mut text = match fields {
        Fields::Tree(fields) => {
            if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
                object.extend(fields);
            }
            object.to_string().into_bytes()
        }
        // '{"exit":0' and ',"same":true}' make one object.
        Fields::Written(mut fields) => {
            let mut head = object.to_string().into_bytes();
            head.pop();
            if fields.len() > 2 {
                head.push(b',');
            }
            fields.splice(..1, head);
            fields
        }
    };
    text.push(b'\n');
    text
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Help and version go to stdout with exit 0; a wrong command line is one line on stderr, and how to get help, with exit 2.
fn usage(tool: &'static str, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let shown = error.render();
        let text = if colours_stdout() { shown.ansi().to_string() } else { shown.to_string() };
        return match write_out(format!("{}\n", text.trim_end()).as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(Exit::CouldNot.code()),
        };
    }
    let text = error.render().to_string();
    if error.kind() == clap::error::ErrorKind::MissingRequiredArgument {
        // A choice of several is better told by the help.
        let missing = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(names))
                if !names.iter().any(|name| name.starts_with('<') && name.contains('|')) =>
            {
                names.join(" and ")
            }
            _ => "what to work on".to_owned(),
        };
        Say::quiet(tool).error(format_args!("{missing} is missing; see {tool} --help"));
        return ExitCode::from(Exit::Usage.code());
    }
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let rest: Vec<_> = text.lines().skip(1).map(str::trim).take_while(|l| !l.is_empty()).collect();
    let line = if rest.is_empty() { first } else { format!("{first} {}", rest.join(", ")) };
    Say::quiet(tool).error(format_args!("{line}; see {tool} --help"));
    ExitCode::from(Exit::Usage.code())
}

fn colours_stdout() -> bool {
    use std::io::IsTerminal;
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
