//! Whether a file is of a kind that belongs on this host: a program that its machine and its glibc can run, a script, or text.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;

use crate::sys::Host;
use crate::sys::libc::{LibcError, Loader};
use crate::words::elf::{ElfError, GlibcVersion, MAGIC, Machine, Need, Program};
use crate::words::exit::{Coded, Exit};

/// How many bytes tell text from other data, as grep(1) and git take it: no NUL among the first.
const TEXT: u64 = 8 * 1024;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An ELF program or library.
    Program,
    /// A script: `#!` in front.
    Script,
    /// Text: a unit, a configuration.
    Text,
}

impl Kind {
    /// The mode of a new file of this kind: what can be started is 0755, all else 0644.
    #[must_use]
    pub fn mode(self) -> u32 {
        match self {
            Self::Program | Self::Script => 0o755,
            Self::Text => 0o644,
        }
    }
}

/// Why a file does not belong on this host.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// It holds nothing.
    #[error("{name}: is empty")]
    Empty {
        /// The file.
        name: String,
    },
    /// It is of no kind that is taken.
    #[error("{name}: is neither an ELF program nor a script nor text{hint}")]
    NoKind {
        /// The file.
        name: String,
        /// What to do, for an archive.
        hint: &'static str,
    },
    /// It begins as an ELF file, and is none.
    #[error("{name}: {source}")]
    Elf {
        /// The file.
        name: String,
        /// Why.
        source: ElfError,
    },
    /// It is for another machine.
    #[error("{name}: is for {found}, {wanted} is needed")]
    Machine {
        /// The file.
        name: String,
        /// The machine it is for.
        found: Machine,
        /// The machine it should be for.
        wanted: Machine,
    },
    /// Its dynamic loader is not here.
    #[error("{name}: needs {path}, which this host does not have (a build for another C library?)", path = interpreter.display())]
    Interpreter {
        /// The file.
        name: String,
        /// The loader's path.
        interpreter: PathBuf,
    },
    /// The host's glibc is too old.
    #[error("{name}: needs {version}, this host has {has}")]
    Glibc {
        /// The file.
        name: String,
        /// The newest version that it needs and does not get.
        version: String,
        /// The glibc of the host.
        has: String,
    },
    /// The host's C library could not be read.
    #[error(transparent)]
    Libc(#[from] LibcError),
    /// The file could not be read.
    #[error("{name}: can't be read: {source}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl Coded for MachineError {
    fn exit(&self) -> Exit {
        match self {
            Self::Libc(_) | Self::Read { .. } => Exit::CouldNot,
            _ => Exit::No,
        }
    }
}

/// Says what `file`, called `name`, is, when it belongs on this host.
///
/// With `target` it is judged for that machine, which is elsewhere, so its loader and its glibc stay unknown.
pub fn fits(host: &Host, target: Option<Machine>, name: &str, file: &mut File) -> Result<Kind, MachineError> {
    let owned = || name.to_owned();
    let read = |source| MachineError::Read { name: name.to_owned(), source };
    let mut start = Vec::new();
    file.rewind().map_err(read)?;
    file.by_ref().take(TEXT).read_to_end(&mut start).map_err(read)?;
    file.rewind().map_err(read)?;
    if start.starts_with(MAGIC) {
        let program = Program::read(file).map_err(|source| MachineError::Elf { name: owned(), source })?;
        let wanted = target.unwrap_or_else(Machine::here);
        if program.machine != wanted {
            return Err(MachineError::Machine { name: owned(), found: program.machine, wanted });
        }
        if target.is_none() {
            loads(host, name, &program)?;
        }
        return Ok(Kind::Program);
    }
    if start.is_empty() {
        return Err(MachineError::Empty { name: owned() });
    }
    if start.starts_with(b"#!") {
        return Ok(Kind::Script);
    }
    let archive = super::extract::is_archive(file).map_err(read)?;
    if archive || start.contains(&0) {
        let hint = if archive { " but an archive; say with --extract what to take from it" } else { "" };
        return Err(MachineError::NoKind { name: owned(), hint });
    }
    Ok(Kind::Text)
}

/// That the loader which `program` names is here, and brings the glibc versions it needs.
fn loads(host: &Host, name: &str, program: &Program) -> Result<(), MachineError> {
    // A static program and a library name no loader; a library's needs are its program's to judge.
    let Some(interpreter) = &program.interpreter else { return Ok(()) };
    match host.loader(interpreter)? {
        Loader::Absent => Err(MachineError::Interpreter { name: name.to_owned(), interpreter: interpreter.clone() }),
        Loader::Other => Ok(()),
        Loader::Glibc(libc) => match lacking(&program.needs, &libc) {
            None => Ok(()),
            Some(version) => {
                let has = libc.newest_glibc().map_or_else(|| "none of them".to_owned(), |newest| newest.to_string());
                Err(MachineError::Glibc { name: name.to_owned(), version, has })
            }
        },
    }
}

/// The newest version among `needs` that a host with this C library does not have. Pure.
fn lacking(needs: &[Need], libc: &Program) -> Option<String> {
    let newest = libc.newest_glibc();
    let missing = |need: &&Need| {
        if need.library == "libc.so.6" {
            return !libc.defines.contains(&need.version);
        }
        // libm, libpthread and the others are of the same release as libc itself.
        GlibcVersion::of_symbol(&need.version).is_some_and(|version| Some(version) > newest)
    };
    let newest_missing = needs.iter().filter(missing).max_by_key(|need| GlibcVersion::of_symbol(&need.version));
    newest_missing.map(|need| need.version.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::Path;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn kind(bytes: &[u8]) -> Result<Kind, MachineError> {
        fits(&Host::below(Path::new("/")), None, "f", &mut file(bytes))
    }

    #[test]
    fn programs_scripts_and_text_belong_here_and_nothing_else() {
        let own = fs_err::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(kind(&own).unwrap(), Kind::Program);
        assert_eq!(kind(b"#!/bin/sh\n").unwrap(), Kind::Script);
        assert_eq!(kind(b"[Service]\nExecStart=/x\n").unwrap(), Kind::Text);
        assert_eq!(kind("Grüße\n".as_bytes()).unwrap(), Kind::Text);
        assert!(matches!(kind(b""), Err(MachineError::Empty { .. })));
        assert!(matches!(kind(b"MZ\x90\0\x03"), Err(MachineError::NoKind { hint: "", .. })));
        assert!(kind(b"\x1f\x8b\x08xyz").unwrap_err().to_string().contains("--extract"));
        assert!(matches!(kind(b"\x7fELF"), Err(MachineError::Elf { .. })));
        assert!(matches!(kind(&own[..own.len() / 2]), Err(MachineError::Elf { .. })));
    }

    #[test]
    fn a_program_fits_its_own_machine_alone() {
        let own = fs_err::read(std::env::current_exe().unwrap()).unwrap();
        let host = Host::below(Path::new("/nowhere"));
        let fits = |target| fits(&host, target, "f", &mut file(&own));
        assert!(matches!(fits(None), Err(MachineError::Interpreter { .. })));
        assert_eq!(fits(Some(Machine::here())).unwrap(), Kind::Program);
        assert!(matches!(fits(Some("s390x".parse().unwrap())), Err(MachineError::Machine { .. })));
    }

    #[test]
    fn the_newest_missing_version_is_named() {
        let need = |library: &str, version: &str| Need { library: library.into(), version: version.into() };
        let libc = Program {
            machine: Machine::here(),
            interpreter: None,
            needs: Vec::new(),
            defines: ["GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.36", "GLIBC_PRIVATE"].map(str::to_owned).to_vec(),
        };
        assert_eq!(lacking(&[need("libc.so.6", "GLIBC_2.34"), need("libm.so.6", "GLIBC_2.29")], &libc), None);
        let newer = [need("libc.so.6", "GLIBC_2.39"), need("libm.so.6", "GLIBC_2.38"), need("libc.so.6", "GLIBC_2.34")];
        assert_eq!(lacking(&newer, &libc).as_deref(), Some("GLIBC_2.39"));
        assert_eq!(lacking(&[need("libm.so.6", "GLIBC_2.38")], &libc).as_deref(), Some("GLIBC_2.38"));
        let relr = [need("libc.so.6", "GLIBC_ABI_DT_RELR")];
        assert_eq!(lacking(&relr, &libc).as_deref(), Some("GLIBC_ABI_DT_RELR"));
        assert_eq!(lacking(&[need("libstdc++.so.6", "GLIBCXX_3.4.30")], &libc), None);
    }
}
