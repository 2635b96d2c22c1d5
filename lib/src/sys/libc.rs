//! The C library of the host: which glibc a program that is started here would get.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::Host;
use crate::words::elf::{ElfError, Program};

/// What a dynamic loader of the host brings along.
#[derive(Debug)]
pub enum Loader {
    /// The host does not have it.
    Absent,
    /// It is glibc's: the C library beside it.
    Glibc(Box<Program>),
    /// It is there, and no `libc.so.6` is beside it (musl, a loader of another kind).
    Other,
}

/// Why the host's C library could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: the host's C library can't be read: {source}", path = path.display())]
pub struct LibcError {
    path: PathBuf,
    source: ElfError,
}

impl Host {
    /// Looks at the dynamic loader `interpreter` (the absolute path that an ELF program names).
    ///
    /// glibc's loader lies beside its `libc.so.6` wherever a distribution puts the two, and the versions that library
    /// defines are the truth about the host; what a package manager says is not asked.
    pub fn loader(&self, interpreter: &Path) -> Result<Loader, LibcError> {
        let Ok(loader) = fs::canonicalize(self.path(interpreter)) else { return Ok(Loader::Absent) };
        if !loader.is_file() {
            return Ok(Loader::Absent);
        }
        let path = loader.with_file_name("libc.so.6");
        let Ok(file) = super::intake::open_regular(&path) else { return Ok(Loader::Other) };
        let program = Program::read(file).map_err(|source| LibcError { path, source })?;
        Ok(Loader::Glibc(Box::new(program)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_of_this_test_brings_a_glibc() {
        let own = Program::read(fs::File::open(std::env::current_exe().unwrap()).unwrap()).unwrap();
        let interpreter = own.interpreter.unwrap();
        match Host::below(Path::new("/")).loader(&interpreter).unwrap() {
            Loader::Glibc(libc) => assert!(libc.newest_glibc().is_some()),
            other => panic!("{other:?}"),
        }
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(Host::below(root.path()).loader(&interpreter).unwrap(), Loader::Absent));
    }
}
