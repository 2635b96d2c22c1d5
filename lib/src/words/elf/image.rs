//! The tables of an ELF file, found as a loader finds them: header, program headers, dynamic section.

use std::io::{Read, Seek, SeekFrom};

use super::{ElfError, MAGIC, Machine, Need, broken};

/// The kernel takes program headers of at most 64 KiB.
const HEADERS: usize = 64 << 10;
/// No path, no list of folders, and no name of a symbol version of a real program is longer.
const TEXT: usize = 4096;
const NAME: usize = 256;
/// How many entries a dynamic section may hold, how many libraries a program may need, and how many symbol versions.
const ENTRIES: usize = 4096;
const LIBRARIES: usize = 1024;
const VERSIONS: usize = 10_000;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;
/// `VER_FLG_WEAK`.
const WEAK: u16 = 2;
/// `DF_1_NODEFLIB`.
const NO_DEFAULT_FOLDERS: u64 = 0x800;
const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
const GNU_PROPERTY_X86_ISA_1_NEEDED: u32 = 0xc000_8002;

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// An ELF program or library that is open.
pub(super) struct Image<F> {
    file: F,
    machine: Machine,
    segments: Vec<Segment>,
}

/// What the dynamic section says; places in the string table, and addresses.
#[derive(Default)]
pub(super) struct Dynamic {
    pub(super) libraries: Vec<u64>,
    pub(super) rpath: Option<u64>,
    pub(super) runpath: Option<u64>,
    pub(super) no_default_folders: bool,
    strings: Option<u64>,
    strings_size: u64,
    needs: (u64, u64),
    defines: (u64, u64),
}

impl<F: Read + Seek> Image<F> {
    /// Reads the header and the program headers.
    pub(super) fn open(mut file: F) -> Result<Self, ElfError> {
        let len = file.seek(SeekFrom::End(0)).map_err(|e| broken(e.to_string()))?;
        let machine = Machine::new(0, true, true);
        let mut image = Self { file, machine, segments: Vec::new() };
        let ident = image.bytes(0, 16).map_err(|_| broken("it ends within its header"))?;
        let wide = match ident.get(4) {
            Some(1) => false,
            Some(2) => true,
            _ => return Err(broken("its class is neither 32 nor 64 bits")),
        };
        let little = match ident.get(5) {
            Some(1) => true,
            Some(2) => false,
            _ => return Err(broken("its byte order is neither little- nor big-endian")),
        };
        if !ident.starts_with(MAGIC) || ident.get(6) != Some(&1) {
            return Err(broken("its header is of no known version"));
        }
        image.machine = Machine::new(0, wide, little);
        let header = image.bytes(0, if wide { 64 } else { 52 }).map_err(|_| broken("it ends within its header"))?;
        image.machine = Machine::new(image.half(&header, 18), wide, little);
        match image.half(&header, 16) {
            2 | 3 => {}
            1 => return Err(ElfError::NotLoadable("an object file")),
            4 => return Err(ElfError::NotLoadable("a core dump")),
            _ => return Err(ElfError::NotLoadable("of no type that is known")),
        }
        // e_phoff, e_phentsize, e_phnum; e_shoff, e_shentsize, e_shnum.
        let (phoff, shoff, sizes) = if wide {
            (image.long(&header, 32), image.long(&header, 40), 54)
        } else {
            (image.word(&header, 28).into(), image.word(&header, 32).into(), 42)
        };
        let [entry, count, section, sections] = [0, 2, 4, 6].map(|at| image.half(&header, sizes + at));
        let ends = shoff.checked_add(u64::from(section) * u64::from(sections));
        if shoff != 0 && ends.is_none_or(|end| end > len) {
            return Err(broken("its section headers end behind the end of the file"));
        }
        let wanted: u16 = if wide { 56 } else { 32 };
        let size = usize::from(entry) * usize::from(count);
        if count == 0 || entry != wanted || size > HEADERS {
            return Err(broken("its program headers are of a size or number that no kernel takes"));
        }
        let table =
            image.bytes(phoff, size).map_err(|_| broken("its program headers end behind the end of the file"))?;
        for header in table.chunks_exact(usize::from(entry)) {
            let kind = image.word(header, 0);
            let [offset, address, size] = if wide {
                [8, 16, 32].map(|at| image.long(header, at))
            } else {
                [4, 8, 16].map(|at| image.word(header, at).into())
            };
            if kind == PT_LOAD && offset.checked_add(size).is_none_or(|end| end > len) {
                return Err(broken("a segment ends behind the end of the file"));
            }
            image.segments.push(Segment { kind, offset, address, size });
        }
        if !image.segments.iter().any(|segment| segment.kind == PT_LOAD) {
            return Err(broken("nothing of it would be loaded"));
        }
        Ok(image)
    }

    /// The machine in its header.
    pub(super) fn machine(&self) -> Machine {
        self.machine
    }

    /// The path of its dynamic loader.
    pub(super) fn interpreter(&mut self) -> Result<Option<Vec<u8>>, ElfError> {
        let Some((offset, size)) = self.place(PT_INTERP) else { return Ok(None) };
        let size = usize::try_from(size).ok().filter(|size| *size <= TEXT);
        let size = size.ok_or_else(|| broken("its interpreter's path is longer than any path"))?;
        let bytes =
            self.bytes(offset, size).map_err(|_| broken("its interpreter's path ends behind the end of the file"))?;
        match bytes.split_last() {
            // The kernel wants the NUL too (binfmt_elf).
            Some((0, path)) if !path.is_empty() && !path.contains(&0) => Ok(Some(path.to_vec())),
            _ => Err(broken("its interpreter has no path")),
        }
    }

    /// The x86-64 level in its property note; 1 where there is none.
    pub(super) fn level(&mut self) -> Result<u8, ElfError> {
        let x86_64 = self.machine == Machine::new(62, true, true);
        let Some((offset, size)) = self.place(PT_GNU_PROPERTY).filter(|_| x86_64) else { return Ok(1) };
        let size = usize::try_from(size).ok().filter(|size| *size <= TEXT);
        let note = self.bytes(offset, size.ok_or_else(|| broken("its property note is too long"))?)?;
        if self.word(&note, 8) != NT_GNU_PROPERTY_TYPE_0 || note.get(12..16) != Some(b"GNU\0") {
            return Ok(1);
        }
        let mut rest = note.get(16..).unwrap_or_default();
        while let (Some(_), Some(after)) = (rest.get(..8), rest.get(8..)) {
            let (kind, size) = (self.word(rest, 0), self.word(rest, 4) as usize);
            if kind == GNU_PROPERTY_X86_ISA_1_NEEDED {
                // Bit 0 is the baseline, bits 1 to 3 are the levels 2 to 4.
                let highest = (1..4).rev().find(|bit| self.word(after, 0) & (1 << bit) != 0);
                return Ok(highest.map_or(1, |bit| bit + 1));
            }
            rest = after.get(size.next_multiple_of(8)..).unwrap_or_default();
        }
        Ok(1)
    }

    /// What its dynamic section says; a static program has none, and nothing in it.
    pub(super) fn dynamic(&mut self) -> Result<Dynamic, ElfError> {
        let mut dynamic = Dynamic::default();
        let Some((offset, size)) = self.place(PT_DYNAMIC) else { return Ok(dynamic) };
        let entry = if self.machine.wide { 16 } else { 8 };
        let size = usize::try_from(size).ok().filter(|size| size / entry <= ENTRIES);
        let size = size.ok_or_else(|| broken("its dynamic section is larger than any program's"))?;
        let table =
            self.bytes(offset, size).map_err(|_| broken("its dynamic section ends behind the end of the file"))?;
        for entry in table.chunks_exact(entry) {
            let (tag, value) = if self.machine.wide {
                (self.long(entry, 0), self.long(entry, 8))
            } else {
                (self.word(entry, 0).into(), self.word(entry, 4).into())
            };
            match tag {
                0 => break,
                1 => dynamic.libraries.push(value),
                5 => dynamic.strings = Some(value),
                10 => dynamic.strings_size = value,
                15 => dynamic.rpath = Some(value),
                29 => dynamic.runpath = Some(value),
                0x6fff_fffb => dynamic.no_default_folders = value & NO_DEFAULT_FOLDERS != 0,
                0x6fff_fffc => dynamic.defines.0 = value,
                0x6fff_fffd => dynamic.defines.1 = value,
                0x6fff_fffe => dynamic.needs.0 = value,
                0x6fff_ffff => dynamic.needs.1 = value,
                _ => {}
            }
        }
        if dynamic.libraries.len() > LIBRARIES {
            return Err(broken("it needs more libraries than any program"));
        }
        Ok(dynamic)
    }

    /// The text at `at` in the string table.
    pub(super) fn text(&mut self, dynamic: &Dynamic, at: u64) -> Result<String, ElfError> {
        self.text_of(dynamic, at, TEXT)
    }

    fn name(&mut self, dynamic: &Dynamic, at: u32) -> Result<String, ElfError> {
        self.text_of(dynamic, at.into(), NAME)
    }

    fn text_of(&mut self, dynamic: &Dynamic, at: u64, longest: usize) -> Result<String, ElfError> {
        let outside = || broken("a name lies outside of its string table");
        let table = dynamic.strings.ok_or_else(|| broken("it has names and no string table"))?;
        let left = dynamic.strings_size.checked_sub(at).ok_or_else(outside)?;
        let address = table.checked_add(at).ok_or_else(outside)?;
        let (offset, in_file) = self.loaded(address).ok_or_else(outside)?;
        let left = usize::try_from(left.min(in_file)).unwrap_or(longest);
        // Most names are short, and some string tables are long.
        for most in [64, longest] {
            let bytes = self.bytes(offset, left.min(most))?;
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                return Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned());
            }
        }
        Err(broken("a name is longer than any name"))
    }

    /// The symbol versions it needs: `Verneed` and `Vernaux` (LSB, 10.7.2).
    pub(super) fn needs(&mut self, dynamic: &Dynamic) -> Result<Vec<Need>, ElfError> {
        let (mut at, count) = dynamic.needs;
        let mut needs = Vec::new();
        let mut seen = 0;
        for _ in 0..count.min(VERSIONS as u64) {
            let need = self.memory::<16>(at)?;
            let library = self.name(dynamic, self.word(&need, 4))?;
            let mut aux = further(at, self.word(&need, 8))?;
            for _ in 0..self.half(&need, 2) {
                seen += 1;
                if seen > VERSIONS {
                    return Err(broken("it needs more symbol versions than any program"));
                }
                let version = self.memory::<16>(aux)?;
                if self.half(&version, 4) & WEAK == 0 {
                    let name = self.name(dynamic, self.word(&version, 8))?;
                    needs.push(Need { library: library.clone(), version: name });
                }
                match self.word(&version, 12) {
                    0 => break,
                    next => aux = further(aux, next)?,
                }
            }
            match self.word(&need, 12) {
                0 => break,
                next => at = further(at, next)?,
            }
        }
        Ok(needs)
    }

    /// The symbol versions it defines: `Verdef` and its first `Verdaux` (LSB, 10.7.1).
    pub(super) fn defines(&mut self, dynamic: &Dynamic) -> Result<Vec<String>, ElfError> {
        let (mut at, count) = dynamic.defines;
        let mut defines = Vec::new();
        if count > VERSIONS as u64 {
            return Err(broken("it defines more symbol versions than any library"));
        }
        for _ in 0..count {
            let definition = self.memory::<20>(at)?;
            let name = self.memory::<8>(further(at, self.word(&definition, 12))?)?;
            defines.push(self.name(dynamic, self.word(&name, 0))?);
            match self.word(&definition, 16) {
                0 => break,
                next => at = further(at, next)?,
            }
        }
        Ok(defines)
    }

    /// Where its dynamic section lies in the file.
    #[cfg(test)]
    pub(super) fn dynamic_at(&self) -> Option<usize> {
        self.place(PT_DYNAMIC).and_then(|(offset, _)| usize::try_from(offset).ok())
    }

    fn place(&self, kind: u32) -> Option<(u64, u64)> {
        self.segments.iter().find(|segment| segment.kind == kind).map(|segment| (segment.offset, segment.size))
    }

    /// Where in the file the byte is that is loaded to `address`, and how many follow it there.
    fn loaded(&self, address: u64) -> Option<(u64, u64)> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD).find_map(|segment| {
            let into = address.checked_sub(segment.address)?;
            let left = segment.size.checked_sub(into).filter(|left| *left > 0)?;
            Some((segment.offset.checked_add(into)?, left))
        })
    }

    /// `N` bytes as they will lie at `address`.
    fn memory<const N: usize>(&mut self, address: u64) -> Result<[u8; N], ElfError> {
        let outside = || broken("its version tables lie outside of what is loaded");
        let (offset, left) = self.loaded(address).ok_or_else(outside)?;
        if left < N as u64 {
            return Err(outside());
        }
        let bytes = self.bytes(offset, N)?;
        bytes.first_chunk().copied().ok_or_else(outside)
    }

    fn bytes(&mut self, offset: u64, size: usize) -> Result<Vec<u8>, ElfError> {
        let mut bytes = vec![0; size];
        self.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| broken(e.to_string()))?;
        Ok(bytes)
    }

    fn half(&self, bytes: &[u8], at: usize) -> u16 {
        let bytes = chunk(bytes, at);
        if self.machine.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    }

    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let bytes = chunk(bytes, at);
        if self.machine.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    }

    fn long(&self, bytes: &[u8], at: usize) -> u64 {
        let bytes = chunk(bytes, at);
        if self.machine.little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) }
    }
}

/// The bytes at `at`; zeros behind the end.
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// Only ever forwards, so that no list goes round in a circle.
fn further(at: u64, by: u32) -> Result<u64, ElfError> {
    at.checked_add(by.into()).ok_or_else(|| broken("its version tables lie outside of what is loaded"))
}
