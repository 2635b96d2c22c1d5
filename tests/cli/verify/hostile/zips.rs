//! Zip archives, record by record (APPNOTE.TXT 6.3.10).

use std::io::Write;

use super::{Case, EVIL, GOOD};

/// A stored member: what its own header says, and what the directory says.
#[derive(Clone)]
struct Member {
    local: Said,
    central: Said,
    bytes: Vec<u8>,
    /// Behind the bytes: a data descriptor.
    behind: Vec<u8>,
    /// In the upper half of the external attributes.
    mode: u16,
    /// Where the directory says that it begins, when that is not where it is.
    at: Option<u32>,
}

#[derive(Clone)]
struct Said {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    extra: Vec<u8>,
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn member(name: &[u8], bytes: &[u8]) -> Member {
    let len = u32::try_from(bytes.len()).unwrap();
    let said =
        Said { name: name.to_vec(), flags: 0, method: 0, crc: crc(bytes), packed: len, size: len, extra: Vec::new() };
    Member { local: said.clone(), central: said, bytes: bytes.to_vec(), behind: Vec::new(), mode: 0o100_777, at: None }
}

impl Said {
    fn fields(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for short in [20, self.flags, self.method, 0, 0x21] {
            out.extend(short.to_le_bytes());
        }
        for long in [self.crc, self.packed, self.size] {
            out.extend(long.to_le_bytes());
        }
        for text in [&self.name, &self.extra] {
            out.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        }
        out
    }
}

fn zip(members: &[Member]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for Member { local, central, bytes, behind, mode, at } in members {
        let here = u32::try_from(out.len()).unwrap();
        out.extend([b"PK\x03\x04", &local.fields()[..], &local.name, &local.extra, bytes, behind].concat());
        // Made on Unix; no comment, disk 0, no internal attributes.
        directory.extend([b"PK\x01\x02\x14\x03", &central.fields()[..], &[0; 6], &[0; 2]].concat());
        directory.extend(mode.to_le_bytes());
        directory.extend(at.unwrap_or(here).to_le_bytes());
        directory.extend([&central.name[..], &central.extra].concat());
    }
    let (at, len) = (out.len(), directory.len());
    out.extend(directory);
    out.extend(end(members.len(), len, at, b""));
    out
}

fn end(members: usize, len: usize, at: usize, comment: &[u8]) -> Vec<u8> {
    let mut out = b"PK\x05\x06\0\0\0\0".to_vec();
    for short in [members, members] {
        out.extend(u16::try_from(short).unwrap().to_le_bytes());
    }
    for long in [len, at] {
        out.extend(u32::try_from(long).unwrap().to_le_bytes());
    }
    out.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
    out.extend(comment);
    out
}

/// A data descriptor for `bytes`.
fn descriptor(crc: u32, len: usize) -> Vec<u8> {
    let len = u32::try_from(len).unwrap().to_le_bytes();
    [&b"PK\x07\x08"[..], &crc.to_le_bytes(), &len, &len].concat()
}

/// A member whose sizes and checksum follow it, the checksum being `said`.
fn streamed(said: u32) -> Member {
    let mut streamed = member(b"rune", GOOD);
    (streamed.local.flags, streamed.central.flags) = (8, 8);
    (streamed.local.crc, streamed.local.packed, streamed.local.size) = (0, 0, 0);
    streamed.central.crc = said;
    Member { behind: descriptor(said, GOOD.len()), ..streamed }
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[allow(clippy::too_many_lines)] // A table.
pub fn cases() -> Vec<Case> {
    let refused = Case::refused;
    let good = || member(b"rune", GOOD);
    let evil = |name: &[u8]| member(name, EVIL);
    let with = |change: fn(&mut Member)| {
        let mut member = member(b"rune", GOOD);
        change(&mut member);
        zip(&[member])
    };
    let mode = |mode| zip(&[Member { mode, ..good() }]);
    let plain = zip(&[good()]);
    // A whole zip file in the comment of another: whose directory counts?
    let in_comment = {
        let mut outer = zip(&[good()]);
        let inner = zip(&[evil(b"rune")]);
        let at = outer.len() - 2;
        outer[at..].copy_from_slice(&u16::try_from(inner.len()).unwrap().to_le_bytes());
        [outer, inner].concat()
    };
    // Two directories, one behind the other; the end record means the first.
    let two_directories = {
        let (one, two) = (zip(&[good()]), zip(&[evil(b"rune")]));
        let at = one.len() - 22 - 46 - 4;
        let second = &two[two.len() - 22 - 46 - 4..two.len() - 22];
        [&one[..one.len() - 22], second, &end(1, 50, at, b"")].concat()
    };
    let zip64 = {
        let (front, back) = plain.split_at(plain.len() - 22);
        let mut record = b"PK\x06\x06".to_vec();
        record.extend(44u64.to_le_bytes());
        record.resize(56, 0);
        let locator = [b"PK\x06\x07\0\0\0\0", &(front.len() as u64).to_le_bytes()[..], &[1, 0, 0, 0]].concat();
        [front, &record, &locator, back].concat()
    };
    let bomb = {
        let packed = deflated(&vec![0; 4 << 20]);
        let mut bomb = member(b"rune", &packed);
        for said in [&mut bomb.local, &mut bomb.central] {
            (said.method, said.size, said.crc) = (8, 10, crc(&[0; 10]));
        }
        zip(&[bomb])
    };
    // Not wanted, and each below the cap of a member that is.
    let huge_together = {
        let huge = |name: &[u8]| {
            let mut huge = member(name, &deflated(b"x"));
            for said in [&mut huge.local, &mut huge.central] {
                (said.method, said.size) = (8, 900 << 20);
            }
            huge
        };
        zip(&[good(), huge(b"a"), huge(b"b"), huge(b"c"), huge(b"d"), huge(b"e")])
    };
    let huge = {
        let mut huge = member(b"rune", &deflated(b"x"));
        for said in [&mut huge.local, &mut huge.central] {
            (said.method, said.size) = (8, 3 << 30);
        }
        zip(&[huge])
    };
    let unicode = {
        // 0x7075: version 1, the checksum of the name it replaces, the other name.
        let extra = [&b"\x75\x70\x09\0\x01"[..], &crc(b"rune").to_le_bytes(), b"evil"].concat();
        let mut odd = member(b"rune", GOOD);
        (odd.local.extra, odd.central.extra) = (extra.clone(), extra);
        zip(&[odd])
    };
    vec![
        refused(44, "dotdot.zip", zip(&[good(), evil(b"../x")]), "points outside"),
        refused(44, "absolute.zip", zip(&[evil(b"/rune")]), "points outside"),
        refused(44, "drive.zip", zip(&[good(), evil(b"C:\\rune")]), "points outside"),
        refused(45, "symlink.zip", mode(0o120_777), "symbolic link"),
        refused(47, "device.zip", mode(0o020_777), "device"),
        refused(47, "fifo.zip", mode(0o010_777), "device or a FIFO"),
        refused(47, "folder.zip", zip(&[member(b"rune/", b"")]), "folder"),
        refused(47, "folder-by-mode.zip", mode(0o040_777), "folder"),
        refused(
            48,
            "below-symlink.zip",
            zip(&[Member { mode: 0o120_777, ..member(b"d", b"..") }, evil(b"d/rune")]),
            "lies below",
        ),
        refused(49, "duplicate.zip", zip(&[good(), evil(b"rune")]), "twice"),
        refused(50, "dot-duplicate.zip", zip(&[good(), evil(b"./rune")]), "more than once"),
        refused(51, "local-name.zip", with(|m| m.local.name = b"runx".to_vec()), "filename mismatch"),
        refused(51, "local-size.zip", with(|m| m.local.size = 9), "size mismatch"),
        refused(51, "local-crc.zip", with(|m| m.local.crc = 9), "CRC32"),
        refused(51, "local-method.zip", with(|m| m.local.method = 8), "mismatch"),
        refused(51, "local-flags.zip", with(|m| m.local.flags = 8), "mismatch"),
        refused(51, "two-directories.zip", two_directories, "refused"),
        refused(51, "in-comment.zip", in_comment, "refused"),
        refused(51, "unicode-path.zip", unicode, "refused"),
        refused(
            51,
            "hidden.zip",
            {
                let mut z = zip(&[good(), evil(b"evil")]);
                drop_last(&mut z);
                z
            },
            "missing from central",
        ),
        refused(51, "zip64.zip", zip64, "zip64"),
        refused(
            51,
            "split.zip",
            {
                let mut z = plain.clone();
                let at = z.len() - 18;
                z[at] = 1;
                z
            },
            "split",
        ),
        refused(
            51,
            "counted-wrong.zip",
            {
                let mut z = plain.clone();
                let at = z.len() - 14;
                z[at] = 2;
                z[at + 2] = 2;
                z
            },
            "refused",
        ),
        Case::gives(53, "setuid.zip", mode(0o106_777)),
        Case::gives(53, "streamed.zip", zip(&[streamed(crc(GOOD))])),
        refused(56, "streamed-damaged.zip", zip(&[streamed(7)]), "damaged"),
        refused(54, "bomb.zip", bomb, "refused"),
        refused(54, "huge.zip", huge, "larger than"),
        refused(
            54,
            "overlap.zip",
            zip(&[good(), Member { at: Some(0), bytes: Vec::new(), ..good() }].map(|mut m| {
                if m.at.is_some() {
                    m.central.name = b"runx".to_vec();
                }
                m
            })),
            "refused",
        ),
        refused(
            55,
            "directory.zip",
            zip(&(0..30_000).map(|n| member(format!("{n:040}").as_bytes(), b"")).collect::<Vec<_>>()),
            "directory is larger",
        ),
        Case::gives(
            55,
            "many.zip",
            zip(&(0..15_000).map(|n| member(format!("{n}").as_bytes(), b"")).chain([good()]).collect::<Vec<_>>()),
        ),
        refused(55, "long-name.zip", zip(&[good(), evil(&b"d/".repeat(30_000))]), "longer than 4096"),
        refused(56, "cut.zip", plain[..plain.len() - 5].to_vec(), "cut off"),
        refused(56, "appended.zip", [&plain[..], b"trailing garbage"].concat(), "behind its end"),
        refused(56, "prepended.zip", [b"PK\x03\x04", &plain[..]].concat(), "in front"),
        refused(54, "huge-together.zip", huge_together, "unpacks to more than 4096 MiB"),
        refused(56, "encrypted.zip", with(|m| (m.local.flags, m.central.flags) = (1, 1)), "encrypted"),
        refused(56, "other-method.zip", with(|m| (m.local.method, m.central.method) = (99, 99)), "refused"),
        refused(
            56,
            "damaged.zip",
            {
                let mut z = plain.clone();
                z[40] ^= 1;
                z
            },
            "damaged",
        ),
        refused(58, "not-elf.zip", zip(&[member(b"rune", b"\xff\xfe\0")]), "neither an ELF program"),
    ]
}

/// Takes the last member out of the directory, whose entries are of one length here.
fn drop_last(zip: &mut Vec<u8>) {
    let at = zip.len() - 22 - 2 * 50;
    zip.truncate(at + 50);
    zip.extend(end(1, 50, at, b""));
}
