//! The libraries of the host: which ones a program that is started here would get (ld.so(8)).
//!
//! Files are read, nothing is executed: `ldd` and the loader's own `--list` map the program whose bytes nobody trusts yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{Host, intake};
use crate::words::elf::{Machine, Paths, Program};
use crate::words::ldcache::Cache;

/// The most that `/etc/ld.so.cache` may hold, in bytes.
const CACHE: u64 = 64 << 20;
/// How many libraries one program may need in all, those of its libraries included.
const MOST: usize = 2000;
/// musl's own library has these in itself, and looks for no file.
const OF_MUSL: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];

/// A library that is not where a program would look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Its name.
    pub name: String,
    /// The library that needs it, when that is not the program.
    pub through: Option<String>,
    /// It may be beside the program, at a place that only its destination has: `$ORIGIN`.
    pub beside: bool,
}

/// The libraries a program would be started with.
#[derive(Debug, Default)]
pub struct Libraries {
    /// What was found: each name with the library.
    pub found: BTreeMap<String, Program>,
    /// What was not.
    pub absent: Vec<Absent>,
    /// The loader asks the libraries for symbol versions; musl's never does.
    pub versioned: bool,
}

/// Which loader it is.
enum Loader {
    Glibc(Cache),
    Musl,
}

impl Host {
    /// True when the dynamic loader at `interpreter` (the absolute path that a program names) is on this host.
    #[must_use]
    pub fn has_loader(&self, interpreter: &Path) -> bool {
        interpreter.is_absolute() && fs::metadata(self.path(interpreter)).is_ok_and(|loader| loader.is_file())
    }

    /// What the loader at `interpreter` would find for `program`, and for the libraries it finds.
    #[must_use]
    pub fn libraries(&self, program: &Program, interpreter: &Path) -> Libraries {
        let search = Search::new(self, program.machine, interpreter);
        let mut libraries = Libraries { versioned: matches!(search.loader, Loader::Glibc(_)), ..Libraries::default() };
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let inherited = if program.paths.inherited { program.paths.folders.clone() } else { Vec::new() };
        let mut waiting: Vec<(Option<String>, Vec<String>, Vec<Folder>, bool)> =
            vec![(None, program.libraries.clone(), placed(&program.paths, None), program.paths.alone)];
        while let Some((needer, names, folders, alone)) = waiting.pop() {
            for name in names {
                if seen.len() >= MOST || !seen.insert(name.clone()) || search.builtin(&name) {
                    continue;
                }
                let Some((path, library)) = search.find(&name, &folders, alone) else {
                    let beside = folders.iter().any(|folder| matches!(folder, Folder::Unknown));
                    libraries.absent.push(Absent { name, through: needer.clone(), beside });
                    continue;
                };
                let mut folders = placed(&library.paths, path.parent());
                if library.paths.folders.is_empty() || library.paths.inherited {
                    let of_program = Paths { folders: inherited.clone(), ..Paths::default() };
                    folders.extend(placed(&of_program, None));
                }
                waiting.push((Some(name.clone()), library.libraries.clone(), folders, library.paths.alone));
                libraries.found.insert(name, library);
            }
        }
        libraries
    }
}

/// A folder in a program's own list.
enum Folder {
    At(PathBuf),
    /// It depends on where the program will be.
    Unknown,
}

/// The folders with `$ORIGIN` filled in: the library's own folder; a program has none yet.
fn placed(paths: &Paths, origin: Option<&Path>) -> Vec<Folder> {
    let place = |folder: &String| {
        let filled = match origin {
            Some(origin) => folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", &origin.to_string_lossy()),
            None => folder.clone(),
        };
        // $LIB and $PLATFORM are the loader's secret; a relative folder is where it will be started.
        if filled.contains('$') || !filled.starts_with('/') { Folder::Unknown } else { Folder::At(filled.into()) }
    };
    paths.folders.iter().map(place).collect()
}

struct Search<'h> {
    host: &'h Host,
    machine: Machine,
    loader: Loader,
    defaults: Vec<PathBuf>,
}

impl<'h> Search<'h> {
    fn new(host: &'h Host, machine: Machine, interpreter: &Path) -> Self {
        let musl = |path: &Path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-musl-"));
        let real = fs::canonicalize(host.path(interpreter)).unwrap_or_default();
        if musl(interpreter) || musl(&real) {
            return Self { host, machine, loader: Loader::Musl, defaults: of_musl(host, interpreter) };
        }
        let cache = intake::open_regular(&host.path("/etc/ld.so.cache"));
        let cache = cache.and_then(|file| intake::read_at_most(file, CACHE)).unwrap_or_default();
        // Debian has its libraries beside the loader that it links to; others have lib64.
        let beside = real.parent().map(Path::to_owned).into_iter();
        let defaults = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(|folder| host.path(folder));
        Self { host, machine, loader: Loader::Glibc(Cache::parse(&cache)), defaults: beside.chain(defaults).collect() }
    }

    fn builtin(&self, name: &str) -> bool {
        let short = name.strip_prefix("lib").and_then(|name| name.split('.').next());
        matches!(self.loader, Loader::Musl) && short.is_some_and(|short| OF_MUSL.contains(&short))
    }

    /// The first file for `name` that is a library for this machine, as the loader passes over others.
    fn find(&self, name: &str, folders: &[Folder], alone: bool) -> Option<(PathBuf, Program)> {
        if name.contains('/') {
            return self.library(&self.host.path(name));
        }
        let own = folders.iter().filter_map(|folder| match folder {
            Folder::At(path) => Some(self.host.path(path).join(name)),
            Folder::Unknown => None,
        });
        let own = own.collect::<Vec<_>>();
        if let Some(found) = own.iter().find_map(|path| self.library(path)) {
            return Some(found);
        }
        if alone {
            return None;
        }
        if let Loader::Glibc(cache) = &self.loader {
            let mut cached = cache.paths(name).map(|path| self.host.path(Path::new(OsStr::from_bytes(path))));
            if let Some(found) = cached.find_map(|path| self.library(&path)) {
                return Some(found);
            }
        }
        self.defaults.iter().find_map(|folder| self.library(&folder.join(name)))
    }

    fn library(&self, path: &Path) -> Option<(PathBuf, Program)> {
        let library = Program::read(intake::open_regular(path).ok()?).ok()?;
        (library.machine == self.machine).then(|| (fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), library))
    }
}

/// The folders in `/etc/ld-musl-ARCH.path`, or musl's own.
fn of_musl(host: &Host, interpreter: &Path) -> Vec<PathBuf> {
    let name = interpreter.file_name().unwrap_or_default().to_string_lossy();
    let arch = name.trim_start_matches("ld-musl-").split('.').next().unwrap_or_default();
    let list = intake::read_small(&host.path(format!("/etc/ld-musl-{arch}.path")));
    let folders = list.ok().map(|list| String::from_utf8_lossy(&list).into_owned());
    let folders = folders.unwrap_or_else(|| "/lib:/usr/local/lib:/usr/lib".to_owned());
    folders.split([':', '\n']).filter(|folder| !folder.is_empty()).map(|folder| host.path(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Program {
        Program::read(fs::File::open(std::env::current_exe().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn everything_that_this_test_runs_with_is_found() {
        let program = own();
        let host = Host::below(Path::new("/"));
        let interpreter = program.interpreter.clone().unwrap();
        assert!(host.has_loader(&interpreter));
        let libraries = host.libraries(&program, &interpreter);
        assert_eq!(libraries.absent, []);
        assert!(libraries.found["libc.so.6"].newest_like("GLIBC_2.0").is_some());
        let nowhere = tempfile::tempdir().unwrap();
        let nowhere = Host::below(nowhere.path());
        assert!(!nowhere.has_loader(&interpreter));
        assert!(nowhere.libraries(&program, &interpreter).absent.iter().any(|absent| absent.name == "libc.so.6"));
    }

    /// A library whose libraries need one another in a circle, and one that nobody has.
    #[test]
    fn what_a_library_needs_is_looked_for_too_and_a_circle_ends() {
        let mut program = own();
        let interpreter = program.interpreter.clone().unwrap();
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("opt/lib");
        fs::create_dir_all(&folder).unwrap();
        // This test's own image stands for a library: it needs itself under a name that it has here.
        let image = fs::read(std::env::current_exe().unwrap()).unwrap();
        fs::write(folder.join("libself.so"), image).unwrap();
        program.libraries = vec!["libself.so".into(), "libself.so".into(), "libgone.so.1".into()];
        program.paths.folders = vec!["/opt/lib".into(), "$ORIGIN/../lib".into()];
        let libraries = Host::below(root.path()).libraries(&program, &interpreter);
        assert!(libraries.found.contains_key("libself.so"));
        let gone = libraries.absent.iter().find(|absent| absent.name == "libgone.so.1").unwrap();
        assert_eq!((&gone.through, gone.beside), (&None, true));
        let libc = libraries.absent.iter().find(|absent| absent.name == "libc.so.6").unwrap();
        assert_eq!(libc.through.as_deref(), Some("libself.so"));
    }

    #[test]
    fn a_loader_of_musl_has_its_own_libraries_in_itself() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["lib", "etc", "opt"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("lib/ld-musl-x86_64.so.1"), "").unwrap();
        fs::write(root.path().join("etc/ld-musl-x86_64.path"), "/opt\n").unwrap();
        fs::write(root.path().join("opt/libz.so.1"), fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        let mut program = own();
        program.libraries = vec!["libc.musl-x86_64.so.1".into(), "libz.so.1".into(), "libgone.so".into()];
        let libraries = Host::below(root.path()).libraries(&program, Path::new("/lib/ld-musl-x86_64.so.1"));
        assert!(libraries.found.contains_key("libz.so.1"));
        let absent: Vec<_> = libraries.absent.iter().map(|absent| absent.name.as_str()).collect();
        assert!(absent.contains(&"libgone.so") && !absent.contains(&"libc.musl-x86_64.so.1"), "{absent:?}");
    }
}
