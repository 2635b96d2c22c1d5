//! Members of a tar stream (POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU long names).
//!
//! The headers are taken raw from the `tar` crate, so that what extends them is capped before it is read, and a header
//! that two readers could take in two ways (CVE-2025-62518: a pax size that is not the header's) is refused.

use std::io::{ErrorKind, Read};

use tar::{Archive, EntryType, Header, PaxExtensions};

use super::{Capped, Kind, Takes, Trouble};

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
            Trouble::Refused(_) if first && e.kind() == ErrorKind::Other => Trouble::refused("it holds no tar archive"),
            trouble => trouble,
        })?;
        first = false;
        let size = entry.header().entry_size().map_err(|e| Trouble::reading(&e))?;
        let kind = entry.header().entry_type();
        if let EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader = kind {
            ahead.read(kind, size, &mut entry)?;
            continue;
        }
        let header_path = entry.header().path_bytes().into_owned();
        let ahead = std::mem::take(&mut ahead);
        if ahead.size.is_some_and(|pax| pax != size) {
            let path = String::from_utf8_lossy(&header_path);
            return Err(Trouble::refused(format!("member '{path}' has two sizes")));
        }
        let path = ahead.path.unwrap_or(header_path);
        let kind = match kind {
            // Before POSIX a trailing '/' was what made a folder.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous if ahead.sparse => Kind::Other("a sparse file"),
            EntryType::Regular | EntryType::Continuous => Kind::Regular,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Other("a symbolic link"),
            EntryType::Link => Kind::Other("a hard link"),
            EntryType::Char | EntryType::Block => Kind::Other("a device"),
            EntryType::Fifo => Kind::Other("a FIFO"),
            EntryType::GNUSparse => {
                let path = String::from_utf8_lossy(&path);
                return Err(Trouble::refused(format!("member '{path}' is a sparse file")));
            }
            _ => Kind::Other("of an unknown type"),
        };
        taker.member(&path, kind, size, &mut entry)?;
    }
    if ahead != Ahead::default() {
        return Err(Trouble::refused("it ends where a member should follow"));
    }
    end(archive.into_inner())
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
