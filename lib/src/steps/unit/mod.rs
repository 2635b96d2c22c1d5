//! Units on this host: loading one from a file, standard input or systemd, comparing two, rendering a new one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::sys::say::Say;
use crate::sys::systemd::{Systemd, SystemdError, unit_name};
use crate::sys::{Host, intake};
use crate::words::exit::{Coded, Exit};
use crate::words::unit::LIMIT;
use crate::words::unit::file::{File, Malformed};
use crate::words::unit::reading::Reading;

mod check;
mod circumstances;
mod compare;
mod drop_in;
mod program;
mod render;

pub use check::{CheckError, check};
pub use compare::{Comparison, compare, pair};
pub use drop_in::{Carried, drop_in};
pub use program::{Printing, from_program};
pub use render::{RenderError, Rendered, from_builtin, from_template};

/// How many lines that systemd ignores are named, for each file.
const COMPLAINTS_SAID: usize = 5;

/// A unit as a user names it: `-`, a file's path, or a unit's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand(OsString);

impl From<OsString> for Operand {
    fn from(word: OsString) -> Self {
        Self(word)
    }
}

impl From<&OsStr> for Operand {
    fn from(word: &OsStr) -> Self {
        Self(word.to_owned())
    }
}

impl Operand {
    /// True for `-`, standard input.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        self.0 == "-"
    }
}

/// A unit that was read: its fragment, then its drop-ins in systemd's order.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What to call it: its path, `standard input`, or its name.
    pub name: String,
    /// The fragment and the drop-ins, with where they were read.
    pub files: Vec<(PathBuf, File)>,
    /// What systemd says of it; `None` when it was read from a file.
    pub loaded: Option<Loaded>,
}

/// What systemd says of a loaded unit.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The files on disk are newer than what systemd has loaded (`NeedDaemonReload=`).
    pub stale: bool,
    /// The user it runs as, specifiers resolved; empty when it is not set.
    pub user: String,
    /// The group it runs as, specifiers resolved; empty when it is not set.
    pub group: String,
    /// The uid is allocated when it starts (`DynamicUser=`).
    pub dynamic_user: bool,
}

/// Why a unit could not be read.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// A file could not be read; the error names it.
    #[error("{0}")]
    Read(io::Error),
    /// More than a unit file can have.
    #[error("{name}: larger than {} KiB, so no unit file", LIMIT >> 10)]
    TooBig {
        /// The file.
        name: String,
    },
    /// systemd would refuse the file.
    #[error("{name}: {source}")]
    Malformed {
        /// The file.
        name: String,
        /// What is wrong.
        source: Malformed,
    },
    /// Neither a file nor a name a unit can have.
    #[error(
        "'{0}': no such file, and not a unit's name; give a path with '/', '-' for standard input, or a name such as runed.service"
    )]
    Name(String),
    /// systemd knows no such unit.
    #[error("{0}: no file of this name here, and systemd knows no such unit")]
    NotFound(String),
    /// systemd knows no such unit, and a file of the name lies in the current folder.
    #[error("{0}: systemd knows no such unit; the file of this name here is ./{0}")]
    OnlyAFile(String),
    /// The unit is masked, so there is nothing to read.
    #[error("{0}: is masked; systemctl unmask {0} brings it back")]
    Masked(String),
    /// The unit has no file.
    #[error("{0}: is loaded without a unit file (LoadState={1})")]
    NoFragment(String, String),
    /// systemd named files in a way that can't be read back.
    #[error("{0}: systemctl show DropInPaths: cannot be read: {1}")]
    DropIns(String, String),
    /// Standard input is empty.
    #[error("standard input: no unit to read: the stage before gave nothing")]
    Nothing,
    /// More than one unit is standard input.
    #[error("'-' is standard input and can be one of the units only")]
    StdinTwice,
    /// systemd could not be asked.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

impl Coded for UnitError {
    fn exit(&self) -> Exit {
        match self {
            Self::Name(_) | Self::Nothing | Self::StdinTwice => Exit::Usage,
            Self::Systemd(source) => source.exit(),
            _ => Exit::CouldNot,
        }
    }
}

impl Unit {
    /// What systemd makes of its files together.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        Reading::of(self.files.iter().map(|(_, file)| file))
    }

    /// For `--json`: where it was read.
    #[must_use]
    pub fn json(&self) -> Value {
        let path = |(path, _): &(PathBuf, File)| path.to_string_lossy().into_owned();
        match &self.loaded {
            None => json!({ "name": self.name }),
            Some(loaded) => json!({
                "name": self.name,
                "fragment": self.files.first().map(path),
                "drop_ins": self.files.iter().skip(1).map(path).collect::<Vec<_>>(),
                "need_daemon_reload": loaded.stale,
            }),
        }
    }
}

/// Reads the unit that `operand` names: `-` is standard input; what holds a `/` is a file, and so is what exists under a
/// name that is not spelled like a unit's; all else is asked of systemd: the loaded fragment with its drop-ins. What systemd would ignore in it is said, as systemd does.
pub fn load(host: &Host, operand: &Operand, say: &Say) -> Result<Unit, UnitError> {
    let path = Path::new(&operand.0);
    let unit = if operand.is_stdin() {
        let name = "standard input".to_owned();
        let bytes = at_most(io::stdin().lock(), &name)?;
        // Before a pipe breaks it is empty; a unit that says nothing is nobody's.
        if bytes.is_empty() {
            return Err(UnitError::Nothing);
        }
        Unit { files: vec![(PathBuf::from("-"), parsed(&name, bytes)?)], name, loaded: None }
    } else if operand.0.as_encoded_bytes().contains(&b'/') || (path.exists() && !is_spelled_like_a_unit(&operand.0)) {
        Unit { name: path.display().to_string(), files: vec![read(path, path.to_owned())?], loaded: None }
    } else {
        asked(host, &operand.0).map_err(|e| match e {
            UnitError::NotFound(name) if path.exists() => UnitError::OnlyAFile(name),
            e => e,
        })?
    };
    remark(&unit, say);
    Ok(unit)
}

/// `runed.service` means the one that is loaded, also where a file of that name lies in the current folder.
fn is_spelled_like_a_unit(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| unit_name(word) == word)
}

/// As [`load`], but a bare name is always a unit's: BIN itself may lie in the current folder under that name.
fn load_by_name(host: &Host, operand: &Operand, say: &Say) -> Result<Unit, UnitError> {
    if operand.is_stdin() || operand.0.as_encoded_bytes().contains(&b'/') {
        return load(host, operand, say);
    }
    let unit = asked(host, &operand.0)?;
    remark(&unit, say);
    if let Some(text) = stale(&unit) {
        say.note(text);
    }
    Ok(unit)
}

/// Says what systemd ignores in the unit's files.
fn remark(unit: &Unit, say: &Say) {
    for (path, file) in &unit.files {
        for complaint in file.complaints().iter().take(COMPLAINTS_SAID) {
            say.note(format_args!("{}: {complaint}", path.display()));
        }
        if let Some(more) = file.complaints().len().checked_sub(COMPLAINTS_SAID).filter(|more| *more > 0) {
            say.note(format_args!("{}: {more} more lines that systemd ignores", path.display()));
        }
    }
}

/// What there is to say when systemd has not read the unit's files as they are now.
fn stale(unit: &Unit) -> Option<String> {
    unit.loaded.as_ref().filter(|loaded| loaded.stale)?;
    Some(format!(
        "{}: its files changed since systemd read them, and the files are what was read here; systemctl daemon-reload \
         makes systemd read them",
        unit.name
    ))
}

fn read(path: &Path, shown: PathBuf) -> Result<(PathBuf, File), UnitError> {
    let bytes = at_most(fs_err::File::open(path).map_err(UnitError::Read)?, &shown.display().to_string())?;
    let file = parsed(&shown.display().to_string(), bytes)?;
    Ok((shown, file))
}

/// A unit of two gigabytes, or `/dev/zero`, must not fill the memory.
fn at_most(reader: impl io::Read, name: &str) -> Result<Vec<u8>, UnitError> {
    intake::read_at_most(reader, LIMIT as u64).map_err(|e| match e.kind() {
        io::ErrorKind::FileTooLarge => UnitError::TooBig { name: name.to_owned() },
        kind => UnitError::Read(io::Error::new(kind, format!("{name}: {e}"))),
    })
}

fn parsed(name: &str, bytes: Vec<u8>) -> Result<File, UnitError> {
    File::parse(bytes).map_err(|source| UnitError::Malformed { name: name.to_owned(), source })
}

/// The unit that systemd has loaded under `word`.
fn asked(host: &Host, word: &OsStr) -> Result<Unit, UnitError> {
    // What systemd takes in a unit's name (systemd.unit(5)); a pattern would match many or, silently, none.
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let name =
        word.to_str().filter(|w| !w.is_empty() && w.len() < 256 && !w.starts_with('-') && w.chars().all(allowed));
    let name = unit_name(name.ok_or_else(|| UnitError::Name(word.to_string_lossy().into_owned()))?);
    let asked = ["LoadState", "FragmentPath", "DropInPaths", "NeedDaemonReload", "User", "Group", "DynamicUser"];
    let mut properties = Systemd::on(host).show(&name, &asked)?;
    let mut property = |key: &str| properties.remove(key).unwrap_or_default();
    let (state, fragment) = (property("LoadState"), property("FragmentPath"));
    match state.as_str() {
        "not-found" => return Err(UnitError::NotFound(name)),
        "masked" => return Err(UnitError::Masked(name)),
        _ if fragment.is_empty() => return Err(UnitError::NoFragment(name, state)),
        _ => {}
    }
    // systemctl quotes a path with blanks as a shell would read it.
    let drop_ins =
        shell_words::split(&property("DropInPaths")).map_err(|e| UnitError::DropIns(name.clone(), e.to_string()))?;
    let paths = std::iter::once(fragment).chain(drop_ins).map(PathBuf::from);
    let files = paths.map(|path| read(&host.path(&path), path)).collect::<Result<_, _>>()?;
    let loaded = Loaded {
        stale: property("NeedDaemonReload") == "yes",
        user: property("User"),
        group: property("Group"),
        dynamic_user: property("DynamicUser") == "yes",
    };
    Ok(Unit { name, files, loaded: Some(loaded) })
}
