//! What an ELF file needs from the machine it runs on (elf(5); symbol versions: the LSB core specification, chapter 10).

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, ReadCache, ReadRef, SectionIndex};

/// The first four bytes of every ELF file.
pub const MAGIC: &[u8] = b"\x7fELF";

/// No interpreter path and no symbol version table of a real program comes near this; a header that claims more lies.
const MOST: u64 = 16 << 20;

/// A kind of machine, as an ELF header tells kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    code: elf::Machine,
    wide: bool,
    little: bool,
}

/// Names of machines: rustc's (the first part of a target triple), then Debian's, Go's and uname's.
const NAMES: [(&[&str], Machine); 13] = [
    (&["x86_64", "amd64"], Machine::new(elf::EM_X86_64, true, true)),
    (&["aarch64", "arm64"], Machine::new(elf::EM_AARCH64, true, true)),
    (&["arm", "armhf", "armel", "armv5te", "armv6l", "armv7", "armv7l"], Machine::new(elf::EM_ARM, false, true)),
    (&["i686", "i386", "i586", "x86", "386"], Machine::new(elf::EM_386, false, true)),
    (&["riscv64", "riscv64gc", "riscv64a23"], Machine::new(elf::EM_RISCV, true, true)),
    (&["riscv32", "riscv32imac", "riscv32gc"], Machine::new(elf::EM_RISCV, false, true)),
    (&["powerpc64le", "ppc64le", "ppc64el"], Machine::new(elf::EM_PPC64, true, true)),
    (&["powerpc64", "ppc64"], Machine::new(elf::EM_PPC64, true, false)),
    (&["s390x"], Machine::new(elf::EM_S390, true, false)),
    (&["loongarch64", "loong64"], Machine::new(elf::EM_LOONGARCH, true, true)),
    (&["mips64el", "mips64le"], Machine::new(elf::EM_MIPS, true, true)),
    (&["mipsel", "mipsle"], Machine::new(elf::EM_MIPS, false, true)),
    (&["mips"], Machine::new(elf::EM_MIPS, false, false)),
];

/// A name of no machine this program knows.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no machine known here: a target triple or its first part is needed, such as aarch64")]
pub struct NoSuchMachine(String);

impl Machine {
    const fn new(code: elf::Machine, wide: bool, little: bool) -> Self {
        Self { code, wide, little }
    }

    /// The machine this program was built for, hence one whose programs run where this one does.
    ///
    /// Not uname(2)'s: a 32-bit system under a 64-bit kernel runs 32-bit programs alone.
    #[must_use]
    pub fn here() -> Self {
        // Every machine this is built for stands in the table; the fallback fits no file.
        let named = std::env::consts::ARCH.parse().unwrap_or(Self::new(elf::EM_NONE, false, false));
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
        write!(f, "machine {} ({bits} bits, {order}-endian)", self.code.0)
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
    /// The symbol versions it needs (weak ones, which the loader lets pass, left out).
    pub needs: Vec<Need>,
    /// The symbol versions it defines itself, as a library.
    pub defines: Vec<String>,
}

/// Why a file that begins as an ELF file is none that could run.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The headers and the file contradict each other.
    #[error("a broken or cut-off ELF file: {0}")]
    Broken(String),
    /// It is an object file or a core dump.
    #[error("an ELF file, but neither a program nor a library")]
    NotLoadable,
}

impl From<object::read::Error> for ElfError {
    fn from(error: object::read::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Program {
    /// Reads the headers of an ELF file; the rest of it is not read.
    pub fn read(file: impl Read + Seek) -> Result<Self, ElfError> {
        let cache = ReadCache::new(file);
        let ident = (&cache).read_bytes_at(0, 16).map_err(|()| broken("it ends within its header"))?;
        match ident.get(4).copied() {
            Some(1) => headers::<FileHeader32<Endianness>, _>(&cache),
            Some(2) => headers::<FileHeader64<Endianness>, _>(&cache),
            _ => Err(broken("its class is neither 32 nor 64 bits")),
        }
    }

    /// The newest `GLIBC_x.y` version among those it defines.
    #[must_use]
    pub fn newest_glibc(&self) -> Option<GlibcVersion> {
        self.defines.iter().filter_map(|name| GlibcVersion::of_symbol(name)).max()
    }
}

/// A release of glibc, from a symbol version: `GLIBC_2.2.5` is 2.2.5.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GlibcVersion(Vec<u32>);

impl GlibcVersion {
    /// The release in a symbol version's name; `None` for `GLIBC_PRIVATE`, `GLIBC_ABI_…` and other libraries' names.
    #[must_use]
    pub fn of_symbol(name: &str) -> Option<Self> {
        let numbers = name.strip_prefix("GLIBC_")?.split('.').map(|n| n.parse().ok()).collect::<Option<Vec<_>>>()?;
        Some(Self(numbers))
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

fn broken(why: &str) -> ElfError {
    ElfError::Broken(why.to_owned())
}

fn headers<'data, H, R>(data: R) -> Result<Program, ElfError>
where
    H: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = H::parse(data)?;
    let endian = header.endian()?;
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Err(ElfError::NotLoadable);
    }
    let len = data.len().map_err(|()| broken("its length is unknown"))?;
    let mut interpreter = None;
    for segment in header.program_headers(endian, data)? {
        let (offset, size) = segment.file_range(endian);
        if segment.p_type(endian) == elf::PT_LOAD && offset.checked_add(size).is_none_or(|end| end > len) {
            return Err(broken("a segment ends behind the end of the file"));
        }
        if segment.p_type(endian) == elf::PT_INTERP {
            if size > 4096 {
                return Err(broken("its interpreter's path is longer than any path"));
            }
            let path = segment.interpreter(endian, data)?.ok_or_else(|| broken("its interpreter has no path"))?;
            interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
    }
    let (needs, defines) = versions(header, endian, data)?;
    let machine = Machine::new(header.e_machine(endian), header.is_type_64(), header.is_little_endian());
    Ok(Program { machine, interpreter, needs, defines })
}

fn versions<'data, H, R>(header: &H, endian: Endianness, data: R) -> Result<(Vec<Need>, Vec<String>), ElfError>
where
    H: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let (mut needs, mut defines) = (Vec::new(), Vec::new());
    if header.shnum(endian, data)? > 0xffff {
        return Err(broken("it claims more than 65535 sections"));
    }
    let sections = header.sections(endian, data)?;
    let strings = |index: SectionIndex| sections.strings(endian, data, index);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let of_versions = |kind| kind == elf::SHT_GNU_VERNEED || kind == elf::SHT_GNU_VERDEF;
    if sections.iter().any(|s| of_versions(s.sh_type(endian)) && s.sh_size(endian).into() > MOST) {
        return Err(broken("its version tables are larger than any program's"));
    }
    if let Some((mut libraries, link)) = sections.gnu_verneed(endian, data)? {
        let strings = strings(link)?;
        while let Some((library, mut versions)) = libraries.next()? {
            let library = text(library.file(endian, strings)?);
            while let Some(version) = versions.next()? {
                if version.vna_flags.get(endian).0 & elf::VER_FLG_WEAK.0 == 0 {
                    needs.push(Need { library: library.clone(), version: text(version.name(endian, strings)?) });
                }
            }
        }
    }
    if let Some((mut definitions, link)) = sections.gnu_verdef(endian, data)? {
        let strings = strings(link)?;
        while let Some((_, mut names)) = definitions.next()? {
            if let Some(name) = names.next()? {
                defines.push(text(name.name(endian, strings)?));
            }
        }
    }
    Ok((needs, defines))
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
        assert!(program.needs.iter().any(|need| need.library == "libc.so.6" && need.version.starts_with("GLIBC_2.")));
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
        let odd = Machine::new(elf::Machine(999), true, false);
        assert_eq!(odd.to_string(), "machine 999 (64 bits, big-endian)");
    }

    #[test]
    fn versions_compare_by_number() {
        let version = |name| GlibcVersion::of_symbol(name).unwrap();
        assert!(version("GLIBC_2.9") < version("GLIBC_2.34"));
        assert!(version("GLIBC_2.2.5") < version("GLIBC_2.3"));
        assert_eq!(GlibcVersion::of_symbol("GLIBC_PRIVATE"), None);
        assert_eq!(GlibcVersion::of_symbol("GLIBCXX_3.4"), None);
    }

    #[test]
    fn a_cut_off_program_is_broken_wherever_it_is_cut() {
        let whole = own();
        for len in (4..whole.len()).step_by(whole.len() / 200).chain([5, 15, 16, 63, 64, whole.len() - 1]) {
            let cut = Program::read(Cursor::new(&whole[..len]));
            assert!(matches!(cut, Err(ElfError::Broken(_))), "{len} of {}", whole.len());
        }
    }

    #[test]
    fn no_bit_of_the_header_makes_it_panic() {
        let whole = own();
        for bit in 0..64 * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Program::read(Cursor::new(flipped));
        }
    }
}
