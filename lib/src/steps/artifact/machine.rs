//! Whether a file is of a kind that belongs on this host: a program that this host can run, a script, or text.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys::Host;
use crate::sys::libraries::Libraries;
use crate::sys::machine::level;
use crate::sys::say::Say;
use crate::words::elf::{ElfError, MAGIC, Machine, Need, Program, by_number};
use crate::words::exit::{Coded, Exit};

/// How many bytes tell text from other data, as grep(1) and git take it: no NUL among the first.
const TEXT: u64 = 8 * 1024;
/// The `PATH` of a service (systemd.exec(5)).
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

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
    /// Its dynamic loader, or the interpreter that a script names, is not here.
    #[error("{name}: needs {path}, which this host does not have{hint}", path = interpreter.display())]
    Interpreter {
        /// The file.
        name: String,
        /// The loader's or interpreter's path, or its name after `env`.
        interpreter: PathBuf,
        /// What may be the matter.
        hint: &'static str,
    },
    /// Libraries are not here.
    #[error("{name}: needs {libraries}, which this host does not have")]
    Libraries {
        /// The file.
        name: String,
        /// The libraries.
        libraries: String,
    },
    /// A library is here, and too old.
    #[error("{name}: needs {version}, this host's {library} has {has}")]
    Version {
        /// The file.
        name: String,
        /// The newest version that it needs and does not get.
        version: String,
        /// The library that should have it.
        library: String,
        /// What it has.
        has: String,
    },
    /// The processor is too old.
    #[error("{name}: is built for x86-64-v{needed}, this processor has x86-64-v{has}")]
    Processor {
        /// The file.
        name: String,
        /// The level it needs.
        needed: u8,
        /// The level that is here.
        has: u8,
    },
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
            Self::Read { .. } => Exit::CouldNot,
            _ => Exit::No,
        }
    }
}

/// Says what `file`, called `name`, is, when it belongs on this host. `beside` are the names of the files that will be put
/// into place together with it.
///
/// With `target` it is judged for that machine, which is elsewhere, so its loader and its libraries stay unknown.
pub fn fits(
    host: &Host,
    target: Option<Machine>,
    name: &str,
    beside: &[&OsStr],
    file: &mut File,
    say: &Say,
) -> Result<Kind, MachineError> {
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
            loads(host, name, beside, &program, say)?;
        } else {
            say.detail(format_args!("{name}: is for {wanted}; its loader and libraries are not checked"));
        }
        return Ok(Kind::Program);
    }
    if start.is_empty() {
        return Err(MachineError::Empty { name: owned() });
    }
    if start.starts_with(b"#!") {
        if target.is_none() {
            interpreted(host, name, &start)?;
        }
        return Ok(Kind::Script);
    }
    let archive = super::extract::is_archive(file).map_err(read)?;
    if archive || start.contains(&0) {
        let hint = if archive {
            " but an archive; say with --extract what to take from it, or --check to store nothing"
        } else {
            ""
        };
        return Err(MachineError::NoKind { name: owned(), hint });
    }
    Ok(Kind::Text)
}

/// That the processor and the loader which `program` names can run it, with the libraries and symbol versions it needs.
fn loads(host: &Host, name: &str, beside: &[&OsStr], program: &Program, say: &Say) -> Result<(), MachineError> {
    let has = level();
    if program.level > has {
        return Err(MachineError::Processor { name: name.to_owned(), needed: program.level, has });
    }
    // A static program and a library name no loader; a library's needs are its program's to judge.
    let Some(interpreter) = &program.interpreter else { return Ok(()) };
    if !host.has_loader(interpreter) {
        let (interpreter, hint) = (interpreter.clone(), " (a build for another C library?)");
        return Err(MachineError::Interpreter { name: name.to_owned(), interpreter, hint });
    }
    let libraries = host.libraries(program, interpreter);
    // What comes along, or lies where only the destination will tell, is not missing.
    let (unknown, absent): (Vec<_>, Vec<_>) =
        libraries.absent.iter().partition(|absent| absent.beside || beside.contains(&OsStr::new(&absent.name)));
    if !absent.is_empty() {
        let listed = absent.iter().map(|absent| match &absent.through {
            None => absent.name.clone(),
            Some(through) => format!("{} (for {through})", absent.name),
        });
        let libraries = listed.collect::<Vec<_>>().join(", ");
        return Err(MachineError::Libraries { name: name.to_owned(), libraries });
    }
    for absent in unknown.iter().filter(|absent| !beside.contains(&OsStr::new(&absent.name))) {
        say.note(format_args!(
            "{name}: needs {}, which it looks for beside the place it will have; not checked",
            absent.name
        ));
    }
    match lacking(&program.needs, &libraries) {
        Some((need, has)) if libraries.versioned => Err(MachineError::Version {
            name: name.to_owned(),
            version: need.version.clone(),
            library: need.library.clone(),
            has,
        }),
        _ => Ok(()),
    }
}

/// The newest version among `needs` that the library which should have it has not, and what that one has. Pure.
fn lacking<'n>(needs: &'n [Need], libraries: &Libraries) -> Option<(&'n Need, String)> {
    let missing = |need: &'n Need| {
        let library = libraries.found.get(&need.library)?;
        // A library without any versions is taken as it is (dl-version.c: "no version information available").
        let has = library.defines.is_empty() || library.defines.contains(&need.version);
        (!has).then_some((need, library))
    };
    let (need, library) =
        needs.iter().filter_map(missing).max_by(|(a, _), (b, _)| by_number(&a.version, &b.version))?;
    let has =
        library.newest_like(&need.version).map_or_else(|| "none of that kind".to_owned(), |v| format!("up to {v}"));
    Some((need, has))
}

/// That the interpreter in a script's first line is here; of `env` the program that it would look for.
fn interpreted(host: &Host, name: &str, start: &[u8]) -> Result<(), MachineError> {
    let absent = |interpreter: &[u8], hint| {
        let interpreter = PathBuf::from(OsStr::from_bytes(interpreter));
        Err(MachineError::Interpreter { name: name.to_owned(), interpreter, hint })
    };
    let line = start.get(2..).unwrap_or_default().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let interpreter = words.next().unwrap_or_default();
    if interpreter.ends_with(b"\r") {
        return absent(
            interpreter.trim_ascii_end(),
            " by that name with a carriage return (the script has DOS line ends)",
        );
    }
    if !interpreter.starts_with(b"/") {
        return absent(interpreter, " (the first line of a script names its interpreter by an absolute path)");
    }
    let there = |path: &Path| fs_err::metadata(host.path(path)).is_ok_and(|meta| meta.is_file());
    // No host is without /bin/sh (FHS 3.0, 3.4.2), though a folder that plays one may be.
    if interpreter != b"/bin/sh" && !there(Path::new(OsStr::from_bytes(interpreter))) {
        return absent(interpreter, "");
    }
    let Some(program) = words.next().filter(|_| interpreter.ends_with(b"/env")) else { return Ok(()) };
    // An option or a variable in between: what env makes of it is not guessed.
    if program.starts_with(b"-") || program.contains(&b'=') || program.contains(&b'/') {
        return Ok(());
    }
    let found = FOLDERS.iter().any(|folder| there(&Path::new(folder).join(OsStr::from_bytes(program))));
    if found { Ok(()) } else { absent(program, " in the folders of a service's PATH (systemd.exec(5))") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn kind(bytes: &[u8]) -> Result<Kind, MachineError> {
        fits(&Host::below(Path::new("/")), None, "f", &[], &mut file(bytes), &Say::quiet("verify"))
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
        let fits = |target| fits(&host, target, "f", &[], &mut file(&own), &Say::quiet("verify"));
        assert!(matches!(fits(None), Err(MachineError::Interpreter { .. })));
        assert_eq!(fits(Some(Machine::here())).unwrap(), Kind::Program);
        assert!(matches!(fits(Some("s390x".parse().unwrap())), Err(MachineError::Machine { .. })));
    }

    #[test]
    fn the_interpreter_of_a_script_must_be_here() {
        assert_eq!(kind(b"#! /usr/bin/env sh\n").unwrap(), Kind::Script);
        assert_eq!(kind(b"#!/usr/bin/env -S sh -e\n").unwrap(), Kind::Script);
        let said = |bytes: &[u8]| kind(bytes).unwrap_err().to_string();
        assert_eq!(said(b"#!/opt/no/perl -w\n"), "f: needs /opt/no/perl, which this host does not have");
        assert!(said(b"#!/usr/bin/env no-such-python\n").contains("needs no-such-python, which"));
        assert!(said(b"#!/bin/sh\r\n").contains("carriage return"), "{}", said(b"#!/bin/sh\r\n"));
        assert!(said(b"#!sh\n").contains("absolute path") && said(b"#!").contains("absolute path"));
    }

    #[test]
    fn the_newest_missing_version_is_named() {
        let need = |library: &str, version: &str| Need { library: library.into(), version: version.into() };
        let own = Program::read(File::open(std::env::current_exe().unwrap()).unwrap()).unwrap();
        let library = |defines: &[&str]| Program {
            defines: defines.iter().map(|&name| name.to_owned()).collect(),
            ..own.clone()
        };
        let libc = library(&["GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.36", "GLIBC_PRIVATE"]);
        let found = [
            ("libc.so.6", libc),
            ("libstdc++.so.6", library(&["GLIBCXX_3.4.9", "CXXABI_1.3"])),
            ("libz.so.1", library(&[])),
        ];
        let found = BTreeMap::from(found.map(|(name, library)| (name.to_owned(), library)));
        let libraries = Libraries { found, absent: Vec::new(), versioned: true };
        let lacking = |needs: &[Need]| lacking(needs, &libraries).map(|(need, has)| format!("{}: {has}", need.version));
        assert_eq!(lacking(&[need("libc.so.6", "GLIBC_2.34"), need("libz.so.1", "ZLIB_1.2.9")]), None);
        let newer =
            [need("libc.so.6", "GLIBC_2.39"), need("libc.so.6", "GLIBC_2.100"), need("libc.so.6", "GLIBC_2.34")];
        assert_eq!(lacking(&newer).as_deref(), Some("GLIBC_2.100: up to GLIBC_2.36"));
        let other = |library, version| lacking(&[need(library, version)]).unwrap();
        assert_eq!(other("libstdc++.so.6", "GLIBCXX_3.4.30"), "GLIBCXX_3.4.30: up to GLIBCXX_3.4.9");
        assert_eq!(other("libc.so.6", "GLIBC_ABI_DT_RELR"), "GLIBC_ABI_DT_RELR: none of that kind");
    }

    /// A processor of the first level, and a program for the fourth: what the note says is compared.
    #[test]
    fn the_level_of_the_processor_counts() {
        assert!((1..=4).contains(&level()) || level() == u8::MAX);
        let mut own = Program::read(File::open(std::env::current_exe().unwrap()).unwrap()).unwrap();
        let loads = |own: &Program| loads(&Host::below(Path::new("/")), "f", &[], own, &Say::quiet("verify"));
        assert!(loads(&own).is_ok());
        own.level = 5;
        assert!(matches!(loads(&own), Err(MachineError::Processor { needed: 5, .. })) || level() == u8::MAX);
    }
}
