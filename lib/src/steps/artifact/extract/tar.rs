//! Members of a tar stream (POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU long names).
//!
//! The headers are taken raw from the `tar` crate, so that what extends them is capped before it is read. A header that
//! two readers could take in two ways is refused, because one of them would find other members behind it: a pax size that
//! is not the header's (CVE-2025-62518, CVE-2026-33055), bytes behind a member that has none, a size that is read as
//! octal, base 64 or base 256 by chance, an entry of a type that only some readers know.

use std::io::{ErrorKind, Read};

use tar::{Archive, EntryType, Header, PaxExtensions};

use super::{Capped, Kind, Takes, Trouble, shown};

/// The most that a long name or a pax header may hold, in bytes.
const EXTENSION: u64 = 1 << 20;

/// The size of a block.
const BLOCK: usize = 512;

/// True when `block` is the header of a member: its checksum is right.
pub(super) fn is_header(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK]>::try_from(block) else { return false };
    let sum: u32 =
        block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
    block.first() != Some(&0) && Header::from_byte_slice(block).cksum().is_ok_and(|said| said == sum)
}

/// Gives every member of the stream to `taker` and reads the stream to its end.
pub(super) fn scan(stream: impl Read, taker: &mut impl Takes) -> Result<(), Trouble> {
    let mut archive = Archive::new(Capped::new(stream));
    let mut ahead = Ahead::default();
    let mut first = true;
    for entry in archive.entries().map_err(|e| Trouble::reading(&e))?.raw(true) {
        let mut entry = entry.map_err(|e| match Trouble::reading(&e) {
            Trouble::Refused(why) if first && e.kind() == ErrorKind::Other && !why.contains("window") => {
                Trouble::refused("it holds no tar archive")
            }
            trouble => trouble,
        })?;
        first = false;
        let size = size(entry.header())?;
        let kind = entry.header().entry_type();
        if let EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader = kind {
            ahead.read(kind, size, &mut entry)?;
            continue;
        }
        let header_path = entry.header().path_bytes().into_owned();
        let ahead = std::mem::take(&mut ahead);
        if ahead.size.is_some_and(|pax| pax != size) {
            let path = shown(&header_path);
            return Err(Trouble::refused(format!("member '{path}' has two sizes")));
        }
        let path = ahead.path.unwrap_or(header_path);
        let kind = match kind {
            // Before POSIX a trailing '/' was what made a folder.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous if ahead.sparse => {
                let path = shown(&path);
                return Err(Trouble::refused(format!("member '{path}' is a sparse file")));
            }
            EntryType::Regular | EntryType::Continuous => Kind::Regular,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Other("a symbolic link"),
            EntryType::Link => Kind::Other("a hard link"),
            EntryType::Char | EntryType::Block => Kind::Other("a device"),
            EntryType::Fifo => Kind::Other("a FIFO"),
            EntryType::GNUSparse => {
                let path = shown(&path);
                return Err(Trouble::refused(format!("member '{path}' is a sparse file")));
            }
            other => {
                let path = shown(&path);
                let letter = char::from(other.as_byte()).escape_default();
                return Err(Trouble::refused(format!("member '{path}' is of the type '{letter}', which is no file's")));
            }
        };
        // Some readers skip that many bytes, others begin the next member there.
        if kind != Kind::Regular && size != 0 {
            let path = shown(&path);
            return Err(Trouble::refused(format!("member '{path}' is no file and has a size")));
        }
        taker.member(&path, kind, size, &mut entry)?;
    }
    if ahead != Ahead::default() {
        return Err(Trouble::refused("it ends where a member should follow"));
    }
    end(archive.into_inner())
}

/// How many bytes follow a header: the size it gives, when every reader reads the same from it.
fn size(header: &Header) -> Result<u64, Trouble> {
    let old = header.as_old();
    let field = &old.size;
    let strict = match field {
        // Base 256; GNU tar takes twelve bytes for it and the `tar` crate the last eight. 0xff begins a negative one.
        [0x80, 0, 0, 0, low @ ..] => Some(u64::from_be_bytes(*low)),
        [first, ..] if first & 0x80 != 0 => None,
        text => {
            let digits = text.trim_ascii_start();
            let end = digits.iter().position(|b| !(b'0'..=b'7').contains(b)).unwrap_or(digits.len());
            let (digits, behind) = digits.split_at_checked(end).unwrap_or_default();
            let ends = matches!(behind.first(), None | Some(0 | b' '));
            std::str::from_utf8(digits).ok().filter(|_| ends).and_then(|digits| u64::from_str_radix(digits, 8).ok())
        }
    };
    // Magic and version of POSIX, of GNU, and the zeros of what came before both (tar(5), ustar and old GNU headers).
    let magic = header.as_bytes().get(257..265).unwrap_or_default();
    if !matches!(magic, b"ustar\x0000" | b"ustar  \0" | b"\0\0\0\0\0\0\0\0") {
        return Err(Trouble::refused("a header in it is of no known form"));
    }
    match (strict, header.entry_size()) {
        (Some(strict), Ok(size)) if strict == size => Ok(size),
        _ => {
            let path = shown(&header.path_bytes());
            Err(Trouble::refused(format!("member '{path}' has a size that is no plain number")))
        }
    }
}

/// The end mark is two blocks of zeros, and nothing but zeros may follow. The `tar` crate has read the first of them, or
/// come to the end of the stream without.
fn end(mut rest: impl Read) -> Result<(), Trouble> {
    let mut buffer = vec![0; 64 * 1024];
    let mut zeros = 0;
    loop {
        match rest.read(&mut buffer) {
            Ok(0) if zeros < BLOCK => return Err(Trouble::refused("it is cut off: its end mark is missing")),
            Ok(0) => return Ok(()),
            Ok(n) if buffer.iter().take(n).all(|b| *b == 0) => zeros = zeros.saturating_add(n),
            Ok(_) => return Err(Trouble::refused("it goes on behind its end")),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Trouble::reading(&e)),
        }
    }
}

/// What the entries in front of a member say about it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ahead {
    path: Option<Vec<u8>>,
    link: bool,
    pax: bool,
    size: Option<u64>,
    sparse: bool,
}

impl Ahead {
    fn read(&mut self, kind: EntryType, size: u64, entry: &mut impl Read) -> Result<(), Trouble> {
        if size > EXTENSION {
            return Err(Trouble::refused("a name or a pax header in it is larger than 1 MiB"));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|e| Trouble::reading(&e))?;
        if bytes.len() as u64 != size {
            return Err(Trouble::refused("it is cut off"));
        }
        let twice = || Trouble::refused("a member in it has two long names or two pax headers");
        match kind {
            EntryType::GNULongName => {
                let name = bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec();
                if self.path.replace(name).is_some() {
                    return Err(twice());
                }
            }
            EntryType::GNULongLink => {
                if std::mem::replace(&mut self.link, true) {
                    return Err(twice());
                }
            }
            EntryType::XHeader => {
                if std::mem::replace(&mut self.pax, true) {
                    return Err(twice());
                }
                return self.pax(&bytes);
            }
            _ => return global(&bytes),
        }
        Ok(())
    }

    fn pax(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        for (key, value) in records(bytes)? {
            match key {
                b"path" | b"GNU.sparse.name" => {
                    // Two names for one member are two readers' two answers.
                    if self.path.as_deref().is_some_and(|path| path != value) && key == b"path" {
                        return Err(Trouble::refused("a member in it has two names"));
                    }
                    self.path = Some(value.to_vec());
                }
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    let Some(size) = size else { return Err(Trouble::refused("a size in it is no number")) };
                    self.size = Some(size);
                }
                _ => {}
            }
            self.sparse |= key.starts_with(b"GNU.sparse.");
        }
        Ok(())
    }
}

/// A global pax header may comment (as git-archive does), and may not rename or resize what follows.
fn global(bytes: &[u8]) -> Result<(), Trouble> {
    let changes = |key: &[u8]| matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.");
    match records(bytes)?.into_iter().find(|(key, _)| changes(key)) {
        Some(_) => Err(Trouble::refused("a global pax header in it renames or resizes members")),
        None => Ok(()),
    }
}

/// A key and its value in a pax header.
type Record<'b> = (&'b [u8], &'b [u8]);

fn records(bytes: &[u8]) -> Result<Vec<Record<'_>>, Trouble> {
    PaxExtensions::new(bytes)
        .map(|record| record.map(|record| (record.key_bytes(), record.value_bytes())).map_err(|e| Trouble::reading(&e)))
        .collect()
}
