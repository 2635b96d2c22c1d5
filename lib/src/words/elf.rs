//! What an ELF file needs from the machine it runs on (elf(5); symbol versions: the LSB core specification, chapter 10).
//!
//! Read as the loader reads it, from the program headers and what they point at: section headers may be missing (strip(1)).
//! Every count and length in the file has a bound, whatever the file claims.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

mod image;

use image::Image;

/// The first four bytes of every ELF file.
pub const MAGIC: &[u8] = b"\x7fELF";

/// A kind of machine, as an ELF header tells kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    code: u16,
    wide: bool,
    little: bool,
}

/// Names of machines and their `e_machine` (elf.h): rustc's (the first part of a target triple), then Debian's, Go's and uname's.
const NAMES: [(&[&str], Machine); 13] = [
    (&["x86_64", "amd64"], Machine::new(62, true, true)),
    (&["aarch64", "arm64"], Machine::new(183, true, true)),
    (&["arm", "armhf", "armel", "armv5te", "armv6l", "armv7", "armv7l"], Machine::new(40, false, true)),
    (&["i686", "i386", "i586", "x86", "386"], Machine::new(3, false, true)),
    (&["riscv64", "riscv64gc", "riscv64a23"], Machine::new(243, true, true)),
    (&["riscv32", "riscv32imac", "riscv32gc"], Machine::new(243, false, true)),
    (&["powerpc64le", "ppc64le", "ppc64el"], Machine::new(21, true, true)),
    (&["powerpc64", "ppc64"], Machine::new(21, true, false)),
    (&["s390x"], Machine::new(22, true, false)),
    (&["loongarch64", "loong64"], Machine::new(258, true, true)),
    (&["mips64el", "mips64le"], Machine::new(8, true, true)),
    (&["mipsel", "mipsle"], Machine::new(8, false, true)),
    (&["mips"], Machine::new(8, false, false)),
];

/// A name of no machine this program knows.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no machine known here: a target triple or its first part is needed, such as aarch64")]
pub struct NoSuchMachine(String);

impl Machine {
    const fn new(code: u16, wide: bool, little: bool) -> Self {
        Self { code, wide, little }
    }

    /// The machine this program was built for, hence one whose programs run where this one does.
    ///
    /// Not uname(2)'s: a 32-bit system under a 64-bit kernel runs 32-bit programs alone.
    #[must_use]
    pub fn here() -> Self {
        // Every machine this is built for stands in the table; the fallback fits no file.
        let named = std::env::consts::ARCH.parse().unwrap_or(Self::new(0, false, false));
        // Rust calls powerpc64 in both byte orders by one name.
        Self { little: cfg!(target_endian = "little"), ..named }
    }
}

impl FromStr for Machine {
    type Err = NoSuchMachine;

    /// Reads a machine's name, or a target triple, which begins with one.
    fn from_str(text: &str) -> Result<Self, NoSuchMachine> {
        let first = text.split('-').next().unwrap_or_default();
        let known = NAMES.iter().find(|(names, _)| names.contains(&first));
        known.map(|(_, machine)| *machine).ok_or_else(|| NoSuchMachine(text.to_owned()))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(([name, ..], _)) = NAMES.iter().find(|(_, machine)| machine == self) {
            return f.write_str(name);
        }
        let (bits, order) = (if self.wide { 64 } else { 32 }, if self.little { "little" } else { "big" });
        write!(f, "machine {} ({bits} bits, {order}-endian)", self.code)
    }
}

/// A symbol version that a program asks of a library: `GLIBC_2.34` of `libc.so.6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The library's file name.
    pub library: String,
    /// The version's name.
    pub version: String,
}

/// What stands in the headers of an ELF program or library.
#[derive(Clone, Debug)]
pub struct Program {
    /// The kind of machine it is for.
    pub machine: Machine,
    /// The dynamic loader that starts it; none for a static program.
    pub interpreter: Option<PathBuf>,
    /// The libraries it is linked with (`DT_NEEDED`): names, or paths when they hold a `/`.
    pub libraries: Vec<String>,
    /// Where it says they are looked for (`DT_RUNPATH`, or `DT_RPATH` when it has none of those).
    pub paths: Paths,
    /// The symbol versions it needs (weak ones, which the loader lets pass, left out).
    pub needs: Vec<Need>,
    /// The symbol versions it defines itself, as a library.
    pub defines: Vec<String>,
    /// The x86-64 level it was built for (its GNU property note), 1 where it does not say; psABI, "Micro-Architecture Levels".
    pub level: u8,
}

/// The folders that an ELF file wants libraries looked for in, `$ORIGIN` and its kind as they stand there (ld.so(8)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The folders, in their order.
    pub folders: Vec<String>,
    /// They hold for the libraries of its libraries too (`DT_RPATH`).
    pub inherited: bool,
    /// The host's own folders are not looked through (`-z nodefaultlib`).
    pub alone: bool,
}

/// Why a file that begins as an ELF file is none that could run.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The headers and the file contradict each other.
    #[error("a broken or cut-off ELF file: {0}")]
    Broken(String),
    /// It is an object file or a core dump.
    #[error("an ELF file, but neither a program nor a library: {0}")]
    NotLoadable(&'static str),
}

impl Program {
    /// Reads the headers of an ELF file and what they point at; the rest of it is not read.
    pub fn read(file: impl Read + Seek) -> Result<Self, ElfError> {
        let mut image = Image::open(file)?;
        let interpreter = image.interpreter()?.map(|path| PathBuf::from(OsStr::from_bytes(&path)));
        let level = image.level()?;
        let dynamic = image.dynamic()?;
        let needs = image.needs(&dynamic)?;
        let defines = image.defines(&dynamic)?;
        let (list, inherited) = match (dynamic.runpath, dynamic.rpath) {
            (Some(at), _) => (Some(at), false),
            (None, at) => (at, true),
        };
        let list = list.map(|at| image.text(&dynamic, at)).transpose()?.unwrap_or_default();
        let folders = list.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect();
        let paths = Paths { folders, inherited, alone: dynamic.no_default_folders };
        let libraries = dynamic.libraries.iter().map(|at| image.text(&dynamic, *at)).collect::<Result<_, _>>()?;
        Ok(Self { machine: image.machine(), interpreter, libraries, paths, needs, defines, level })
    }

    /// The newest version of the same family that it defines: of `GLIBCXX_3.4.32` perhaps `GLIBCXX_3.4.30`.
    #[must_use]
    pub fn newest_like(&self, version: &str) -> Option<&str> {
        let (family, _) = numbered(version)?;
        let of_family = self.defines.iter().filter_map(|name| Some((numbered(name)?, name)));
        let newest = of_family.filter(|((other, _), _)| *other == family).max_by(|((_, a), _), ((_, b), _)| a.cmp(b));
        newest.map(|(_, name)| name.as_str())
    }
}

/// The family and the numbers of a symbol version's name: `GLIBC_2.2.5`. `None` for `GLIBC_PRIVATE`, `GLIBC_ABI_DT_RELR`.
fn numbered(version: &str) -> Option<(&str, Vec<u32>)> {
    let (family, numbers) = version.rsplit_once('_')?;
    let numbers = numbers.split('.').map(|n| n.parse().ok()).collect::<Option<Vec<_>>>()?;
    Some((family, numbers))
}

/// Orders versions of one family by number; what has no number comes first.
#[must_use]
pub fn by_number(a: &str, b: &str) -> std::cmp::Ordering {
    numbered(a).map(|(_, numbers)| numbers).cmp(&numbered(b).map(|(_, numbers)| numbers))
}

fn broken(why: impl Into<String>) -> ElfError {
    ElfError::Broken(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn own() -> Vec<u8> {
        fs_err::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn the_test_program_itself_is_for_this_machine() {
        let program = Program::read(fs_err::File::open(std::env::current_exe().unwrap()).unwrap()).unwrap();
        assert_eq!(program.machine, Machine::here());
        assert!(program.interpreter.unwrap().is_file());
        assert!(program.libraries.iter().any(|library| library == "libc.so.6"), "{:?}", program.libraries);
        assert!(program.needs.iter().any(|need| need.library == "libc.so.6" && need.version.starts_with("GLIBC_2.")));
    }

    #[test]
    fn a_program_without_section_headers_needs_the_same() {
        let whole = Program::read(Cursor::new(own())).unwrap();
        let mut stripped = own();
        // e_shoff, e_shentsize, e_shnum and e_shstrndx of a 64-bit header (elf(5)).
        assert_eq!(stripped[4], 2, "these tests are for 64-bit machines");
        stripped[40..48].fill(0);
        stripped[58..64].fill(0);
        let stripped = Program::read(Cursor::new(stripped)).unwrap();
        assert_eq!((stripped.needs, stripped.libraries), (whole.needs, whole.libraries));
    }

    #[test]
    fn every_name_is_read_and_shown_back() {
        for (names, machine) in NAMES {
            for name in names {
                assert_eq!(name.parse::<Machine>().unwrap(), machine);
            }
            assert_eq!(machine.to_string(), names[0]);
        }
        assert_eq!("aarch64-unknown-linux-musl".parse::<Machine>().unwrap().to_string(), "aarch64");
        assert!("".parse::<Machine>().is_err() && "vax".parse::<Machine>().is_err());
        let odd = Machine::new(999, true, false);
        assert_eq!(odd.to_string(), "machine 999 (64 bits, big-endian)");
    }

    #[test]
    fn versions_compare_by_number_within_their_family() {
        let defines = ["GLIBC_2.9", "GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_PRIVATE", "GLIBCXX_3.4"].map(str::to_owned);
        let mut library = Program::read(Cursor::new(own())).unwrap();
        library.defines = defines.to_vec();
        assert_eq!(library.newest_like("GLIBC_2.99"), Some("GLIBC_2.34"));
        assert_eq!(library.newest_like("GLIBCXX_3.4.30"), Some("GLIBCXX_3.4"));
        assert_eq!(library.newest_like("GLIBC_PRIVATE"), None);
        assert!(by_number("GLIBC_2.9", "GLIBC_2.34").is_lt() && by_number("GLIBC_ABI_DT_RELR", "GLIBC_2.0").is_lt());
    }

    #[test]
    fn an_object_file_or_a_core_dump_is_no_program() {
        for (kind, what) in [(1, "an object file"), (4, "a core dump"), (0, "of no type"), (999, "of no type")] {
            let mut other = own();
            other[16..18].copy_from_slice(&u16::to_ne_bytes(kind));
            let error = Program::read(Cursor::new(other)).unwrap_err();
            assert!(matches!(&error, ElfError::NotLoadable(said) if said.contains(what)), "{error}");
        }
    }

    #[test]
    fn a_cut_off_program_is_broken_wherever_it_is_cut() {
        let whole = own();
        for len in (4..whole.len()).step_by(whole.len() / 200).chain([5, 15, 16, 63, 64, whole.len() - 1]) {
            let cut = Program::read(Cursor::new(&whole[..len]));
            assert!(matches!(cut, Err(ElfError::Broken(_))), "{len} of {}", whole.len());
        }
    }

    /// A reader that tells how much was read of it.
    struct Counted<'b>(Cursor<&'b [u8]>, std::rc::Rc<std::cell::Cell<usize>>);

    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1.set(self.1.get() + read);
            Ok(read)
        }
    }

    impl Seek for Counted<'_> {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }

    /// Whatever the header, the program headers, the dynamic section and the version tables claim: an answer, and little read.
    #[test]
    fn no_bit_and_no_number_of_the_headers_makes_it_panic_or_read_on() {
        let whole = own();
        let check = |bytes: &[u8]| {
            let read = std::rc::Rc::default();
            let _ = Program::read(Counted(Cursor::new(bytes), std::rc::Rc::clone(&read)));
            assert!(read.get() < 32 << 20, "{} bytes were read", read.get());
        };
        let mut other = whole.clone();
        for bit in 0..1024 * 8 {
            other[bit / 8] ^= 1 << (bit % 8);
            check(&other);
            other[bit / 8] ^= 1 << (bit % 8);
        }
        let dynamic = Image::open(Cursor::new(&whole)).unwrap().dynamic_at().unwrap();
        for at in (dynamic..dynamic + 640).step_by(8) {
            for value in [0, 1, u64::from(u32::MAX), u64::MAX, 0x6fff_ffff, 0x6fff_fffd] {
                other[at..at + 8].copy_from_slice(&value.to_ne_bytes());
                check(&other);
            }
            other[at..at + 8].copy_from_slice(&whole[at..at + 8]);
        }
    }
}
