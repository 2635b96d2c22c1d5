//! A unit's text, from wherever it comes: what it must have at least, and from a template or a built-in one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Operand, UnitError, load, parsed};
use crate::sys::Host;
use crate::sys::confine::ConfineError;
use crate::sys::say::Say;
use crate::words::exit::{Coded, Exit};
use crate::words::unit::LIMIT;
use crate::words::unit::builtin::{Builtin, BuiltinError, Given};
use crate::words::unit::file::File;
use crate::words::unit::keys;
use crate::words::unit::render::{self as template, FillError};

/// A unit's text.
#[derive(Debug)]
pub struct Rendered {
    /// The text, to the byte.
    pub text: Vec<u8>,
    /// What the unit is likely called, when that can be told.
    pub name: Option<String>,
    /// Where it came from, for `--json`.
    pub from: Value,
}

impl Rendered {
    /// Whether the text has a section of this name.
    pub(super) fn has_section(&self, name: &str) -> bool {
        File::parse(self.text.clone()).is_ok_and(|file| file.sections().iter().any(|section| section == name))
    }
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
    /// No program, or no words for it.
    #[error("nothing to run: -- BIN print-systemd is needed, or --template or --builtin; see unit-render --help")]
    NoWords,
    /// There is no such program.
    #[error("{}: not found", .program.display())]
    Missing {
        /// The program.
        program: PathBuf,
    },
    /// The program could not be run.
    #[error("{source}{hint}")]
    Confine {
        /// Why.
        source: ConfineError,
        /// What to do.
        hint: &'static str,
    },
    /// The program names the place it ran from, which is gone.
    #[error(
        "{program}: its unit names {place}, the place where it was only run to print it; tell it with --binary PATH"
    )]
    OwnPlace {
        /// The program and its arguments.
        program: String,
        /// That place.
        place: String,
    },
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
    /// The built-in unit and the values don't go together.
    #[error(transparent)]
    Builtin(#[from] BuiltinError),
    /// What was rendered is no unit.
    #[error("{name}: gave no unit: {reason}")]
    NoUnit {
        /// The program and its arguments, or the template.
        name: String,
        /// What is missing.
        reason: &'static str,
    },
    /// A service was to be rendered, and none was.
    #[error("{program}: gave no service: it has no [Service], as {like} has")]
    NoServiceGiven {
        /// The program and its arguments.
        program: String,
        /// The unit it was to be like.
        like: String,
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

impl From<ConfineError> for RenderError {
    fn from(source: ConfineError) -> Self {
        Self::Confine { source, hint: "" }
    }
}

impl Coded for RenderError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unit(source) => source.exit(),
            Self::Confine { source, .. } => source.exit(),
            Self::Builtin(source) => source.exit(),
            Self::NoWords => Exit::Usage,
            Self::Fill { source, .. } => source.exit(),
            Self::Missing { .. }
            | Self::NoServiceGiven { .. }
            | Self::OwnPlace { .. }
            | Self::NoService { .. }
            | Self::Failed { .. }
            | Self::NoUnit { .. } => Exit::CouldNot,
        }
    }
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
    let text = unit.files.into_iter().next().map(|(_, file)| file.into_bytes()).unwrap_or_default();
    let text =
        String::from_utf8(text).map_err(|_| RenderError::NoUnit { name: name.clone(), reason: "it is not UTF-8" })?;
    let filled = template::fill(&text, values).map_err(|source| RenderError::Fill { name: name.clone(), source })?;
    let from = json!({ "template": name });
    finished(&name, Some(unit_of_template(&file.0)), filled.into_bytes(), from, say)
}

/// One of our own units, with these values.
pub fn from_builtin(builtin: Builtin, given: &Given, say: &Say) -> Result<Rendered, RenderError> {
    let unit = builtin.fill(given)?;
    finished(&unit.name, Some(unit.name.clone()), unit.text.into_bytes(), json!({ "builtin": builtin.word() }), say)
}

/// `runed.service` of `lib/runed.service.in`.
fn unit_of_template(file: &OsStr) -> String {
    let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".in").unwrap_or(&name).to_owned()
}

/// A template is always a file: a bare name is one of the current folder.
fn as_path(file: &Operand) -> Operand {
    Operand(Path::new(".").join(&file.0).into())
}

/// Accepts what a unit must have at least; systemd would take an empty file for a masked unit.
pub(super) fn finished(
    name: &str,
    unit: Option<String>,
    text: Vec<u8>,
    from: Value,
    say: &Say,
) -> Result<Rendered, RenderError> {
    if text.len() > LIMIT {
        return Err(UnitError::TooBig { name: name.to_owned() }.into());
    }
    let no_unit = |reason| RenderError::NoUnit { name: name.to_owned(), reason };
    if text.contains(&0) {
        return Err(no_unit("it holds a NUL"));
    }
    let file: File = parsed(name, text)?;
    if file.sections().is_empty() {
        return Err(no_unit(if file.bytes().is_empty() { "it is empty" } else { "it has no [Section]" }));
    }
    if !file.sections().iter().any(|section| keys::is_section(section)) {
        return Err(no_unit("it has none of systemd's sections"));
    }
    if file.assignments().len() == 0 {
        return Err(no_unit("it sets nothing"));
    }
    for complaint in file.complaints() {
        say.note(format_args!("{name}: {complaint}"));
    }
    Ok(Rendered { text: file.bytes().to_vec(), name: unit, from })
}
