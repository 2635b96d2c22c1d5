//! Faults made in the ELF file itself, as the System V ABI and the LSB (symbol versioning) lay it out. 64-bit, this host's
//! byte order: the programs of this crate, nothing else.

/// `e_machine` of 64-bit ARM and of x86-64 (elf.h).
const EM_AARCH64: u16 = 183;
const EM_X86_64: u16 = 62;
/// `sh_type` of `.gnu.version_r` (elf.h: `SHT_GNU_verneed`).
const SHT_GNU_VERNEED: u32 = 0x6fff_fffe;
/// A glibc that will not be for a long time; as long as the names it takes the place of (`GLIBC_2.34`).
const FUTURE: &[u8] = b"GLIBC_2.99";

/// Marks `image` as a program for another machine than the one it was compiled for.
pub fn for_other_machine(image: &mut [u8]) -> Result<(), String> {
    let other = if read_u16(image, 18)? == EM_AARCH64 { EM_X86_64 } else { EM_AARCH64 };
    write(image, 18, &other.to_ne_bytes())
}

/// Makes `image` need `GLIBC_2.99`: the name in the string table and its hash in every reference to it, so that the loader refuses it.
pub fn needing_newer_glibc(image: &mut [u8]) -> Result<(), String> {
    let needs = section(image, SHT_GNU_VERNEED)?;
    let strings = section_at(image, needs.link)?;
    let mut newest: Option<(usize, u32)> = None;
    let mut references = Vec::new();
    // Elf64_Verneed: version u16, count u16, file u32, aux u32, next u32; Elf64_Vernaux: hash u32, flags u16, other u16, name u32, next u32.
    let mut need = needs.offset;
    for _ in 0..needs.info {
        let mut aux = need + read_u32(image, need + 8)? as usize;
        for _ in 0..read_u16(image, need + 2)? {
            let name = strings.offset + read_u32(image, aux + 8)? as usize;
            if let Some(minor) = glibc_minor(image, name) {
                references.push((aux, name));
                if newest.is_none_or(|(_, known)| minor > known) {
                    newest = Some((name, minor));
                }
            }
            aux += read_u32(image, aux + 12)? as usize;
        }
        need += read_u32(image, need + 12)? as usize;
    }
    let (newest, _) = newest.ok_or("the executable needs no versioned glibc: is it linked statically?")?;
    write(image, newest, FUTURE)?;
    for (aux, _) in references.iter().filter(|(_, name)| *name == newest) {
        write(image, *aux, &elf_hash(FUTURE).to_ne_bytes())?;
    }
    Ok(())
}

/// The y of a name `GLIBC_2.y` of two digits that stands at `at`.
fn glibc_minor(image: &[u8], at: usize) -> Option<u32> {
    let name = image.get(at..=at + FUTURE.len())?.strip_suffix(b"\0")?;
    std::str::from_utf8(name.strip_prefix(b"GLIBC_2.")?).ok()?.parse().ok()
}

/// The hash of a version name (System V ABI, "Hash Table").
fn elf_hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(*byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}

struct Section {
    offset: usize,
    link: u32,
    info: u32,
}

fn section(image: &[u8], kind: u32) -> Result<Section, String> {
    for index in 0..u32::from(read_u16(image, 60)?) {
        if read_u32(image, header_of(image, index)? + 4)? == kind {
            return section_at(image, index);
        }
    }
    Err(format!("the executable has no section of type {kind:#x}"))
}

// Elf64_Shdr: name u32, type u32, flags u64, addr u64, offset u64, size u64, link u32, info u32, …
fn section_at(image: &[u8], index: u32) -> Result<Section, String> {
    let header = header_of(image, index)?;
    let offset = usize::try_from(read_u64(image, header + 24)?).map_err(|e| e.to_string())?;
    Ok(Section { offset, link: read_u32(image, header + 40)?, info: read_u32(image, header + 44)? })
}

fn header_of(image: &[u8], index: u32) -> Result<usize, String> {
    let table = usize::try_from(read_u64(image, 40)?).map_err(|e| e.to_string())?;
    Ok(table + index as usize * usize::from(read_u16(image, 58)?))
}

fn bytes<const N: usize>(image: &[u8], at: usize) -> Result<[u8; N], String> {
    let found = image.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().ok_or_else(|| "not a whole ELF file".to_owned())
}

fn read_u16(image: &[u8], at: usize) -> Result<u16, String> {
    bytes(image, at).map(u16::from_ne_bytes)
}

fn read_u32(image: &[u8], at: usize) -> Result<u32, String> {
    bytes(image, at).map(u32::from_ne_bytes)
}

fn read_u64(image: &[u8], at: usize) -> Result<u64, String> {
    bytes(image, at).map(u64::from_ne_bytes)
}

fn write(image: &mut [u8], at: usize, new: &[u8]) -> Result<(), String> {
    image.get_mut(at..at + new.len()).ok_or("not a whole ELF file")?.copy_from_slice(new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    use std::process::{Command, Output};

    /// Runs `image` as a program, `--list` being the test harness's own harmless option. One at a time: a fork of another
    /// thread would hold the file open for writing, and its start would fail with ETXTBSY.
    fn run(image: &[u8]) -> std::io::Result<Output> {
        static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("program");
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path)?;
        file.write_all(image)?;
        drop(file);
        Command::new(path).arg("--list").output()
    }

    fn this_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn an_unchanged_copy_runs() {
        assert!(run(&this_program()).unwrap().status.success());
    }

    #[test]
    fn the_loader_refuses_a_newer_glibc() {
        let mut image = this_program();
        needing_newer_glibc(&mut image).unwrap();
        let output = run(&image).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains("`GLIBC_2.99' not found"), "{output:?}");
    }

    #[test]
    fn the_kernel_refuses_another_machine() {
        let mut image = this_program();
        for_other_machine(&mut image).unwrap();
        assert_eq!(run(&image).unwrap_err().raw_os_error(), Some(8), "ENOEXEC");
    }

    #[test]
    fn the_hash_is_the_loaders() {
        // As `readelf -V` shows it for GLIBC_2.2.5.
        assert_eq!(elf_hash(b"GLIBC_2.2.5"), 0x0969_1a75);
    }
}
