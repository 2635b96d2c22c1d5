//! Tar archives, block by block.

use std::process::Command as Program;

use fs_err as fs;

use super::{Case, EVIL, GOOD};

/// The end of an archive.
pub const END: [u8; 1024] = [0; 1024];

/// A ustar header, `change`d before its checksum is made.
pub fn changed(path: &[u8], kind: u8, size: usize, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..path.len()].copy_from_slice(path);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..124].copy_from_slice(b"0000000 0000000 ");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

pub fn header(path: &[u8], kind: u8, size: usize) -> Vec<u8> {
    changed(path, kind, size, |_| {})
}

/// `bytes`, filled up to whole blocks.
pub fn blocks(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(512), 0);
    padded
}

/// A header and the bytes behind it.
pub fn entry(path: &[u8], kind: u8, bytes: &[u8]) -> Vec<u8> {
    [header(path, kind, bytes.len()), blocks(bytes)].concat()
}

/// A regular file.
pub fn regular(path: &[u8], bytes: &[u8]) -> Vec<u8> {
    entry(path, b'0', bytes)
}

/// Entries and the end of the archive.
pub fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), END.to_vec()].concat()
}

/// One record of a pax header, its length in front.
fn record(text: &[u8]) -> Vec<u8> {
    let mut len = text.len() + 3;
    while len.to_string().len() + 2 + text.len() > len {
        len += 1;
    }
    [format!("{len} ").as_bytes(), text, b"\n"].concat()
}

fn pax(records: &[&[u8]]) -> Vec<u8> {
    entry(b"pax", b'x', &records.iter().flat_map(|text| record(text)).collect::<Vec<_>>())
}

fn link(path: &[u8], kind: u8, to: &[u8]) -> Vec<u8> {
    changed(path, kind, 0, |block| block[157..157 + to.len()].copy_from_slice(to))
}

/// What a sparse file becomes with GNU tar.
fn sparse(arguments: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("rune")).unwrap();
    file.set_len(1 << 20).unwrap();
    let mut tar = Program::new("tar");
    tar.args(arguments).args(["-S", "-b2", "-cf", "-", "rune"]).current_dir(dir.path());
    let output = tar.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[allow(clippy::too_many_lines)] // A table.
pub fn cases() -> Vec<Case> {
    let good = || regular(b"rune", GOOD);
    let evil = || regular(b"rune", EVIL);
    let refused = Case::refused;
    let with_size = |field: &[u8]| {
        let field = field.to_vec();
        let header = changed(b"rune", b'0', 0, |block| block[124..136].copy_from_slice(&field));
        tar(&[header, blocks(GOOD)])
    };
    let base256 = |high: u8, middle: u8| {
        let mut field = vec![high, 0, 0, middle];
        field.extend((GOOD.len() as u64).to_be_bytes());
        with_size(&field)
    };
    let long = |kind: u8, name: &[u8]| entry(b"././@LongLink", kind, name);
    let deep = |len: usize| [b"d/".repeat(len / 2), b"rune\0".to_vec()].concat();
    // What a reader takes for members that reads another size than we do.
    let hidden = tar(&[evil()]);
    vec![
        // Row 44: paths that lead outside.
        refused(44, "dotdot.tar", tar(&[good(), regular(b"../x", EVIL)]), "points outside"),
        refused(44, "controls.tar", tar(&[regular(b"../\x1b]0;x\x07\nverify: done", EVIL)]), "\u{fffd}verify: done"),
        refused(44, "inner-dotdot.tar", tar(&[regular(b"a/../../rune", EVIL)]), "points outside"),
        refused(44, "absolute.tar", tar(&[regular(b"/rune", EVIL)]), "points outside"),
        refused(44, "drive.tar", tar(&[good(), regular(b"C:\\rune", EVIL)]), "points outside"),
        refused(44, "dot-drive.tar", tar(&[good(), regular(b"./C:/rune", EVIL)]), "points outside"),
        refused(
            44,
            "prefix-dotdot.tar",
            tar(&[changed(b"rune", b'0', 0, |b| b[345..347].copy_from_slice(b".."))]),
            "points outside",
        ),
        refused(44, "pax-dotdot.tar", tar(&[pax(&[b"path=../rune"]), evil()]), "points outside"),
        refused(44, "long-dotdot.tar", tar(&[long(b'L', b"../rune\0"), evil()]), "points outside"),
        // Row 45: links to files of the host.
        refused(45, "symlink.tar", tar(&[link(b"rune", b'2', b"/etc/passwd")]), "symbolic link"),
        refused(
            45,
            "pax-symlink.tar",
            tar(&[pax(&[b"linkpath=/etc/passwd"]), link(b"rune", b'2', b"x")]),
            "symbolic link",
        ),
        refused(
            45,
            "long-symlink.tar",
            tar(&[long(b'K', b"/etc/passwd\0"), link(b"rune", b'2', b"x")]),
            "symbolic link",
        ),
        // Row 46.
        refused(46, "hardlink.tar", tar(&[regular(b"x", EVIL), link(b"rune", b'1', b"x")]), "hard link"),
        refused(46, "hardlink-outside.tar", tar(&[link(b"rune", b'1', b"/etc/passwd")]), "hard link"),
        // Row 47: what is no file; contiguous files (7) are files.
        refused(47, "device.tar", tar(&[header(b"rune", b'3', 0)]), "device"),
        refused(47, "block-device.tar", tar(&[header(b"rune", b'4', 0)]), "device"),
        refused(47, "fifo.tar", tar(&[header(b"rune", b'6', 0)]), "FIFO"),
        refused(47, "folder.tar", tar(&[header(b"rune/", b'5', 0)]), "folder"),
        refused(47, "old-folder.tar", tar(&[header(b"rune/", b'0', 0)]), "folder"),
        Case::gives(47, "contiguous.tar", tar(&[entry(b"rune", b'7', GOOD)])),
        Case::gives(47, "folder-above.tar", tar(&[header(b"rune/", b'5', 0), regular(b"rune/rune", GOOD)])),
        // Row 48: a file behind a link or behind another file (CVE-2026-33056 class).
        refused(48, "symlinked-folder.tar", tar(&[link(b"d", b'2', b".."), regular(b"d/rune", EVIL)]), "lies below"),
        refused(48, "symlinked-later.tar", tar(&[regular(b"d/rune", EVIL), link(b"d", b'2', b"..")]), "lies below"),
        refused(48, "below-file.tar", tar(&[regular(b"d", b"x"), regular(b"d/rune", EVIL)]), "lies below"),
        // Rows 49 and 50: one name twice.
        refused(49, "duplicate.tar", tar(&[good(), evil()]), "more than once"),
        refused(49, "two.tar", tar(&[regular(b"a/rune", GOOD), regular(b"b/rune", EVIL)]), "both"),
        refused(49, "folder-and-file.tar", tar(&[header(b"rune/", b'5', 0), good()]), "twice"),
        refused(50, "dot-duplicate.tar", tar(&[good(), regular(b"./rune", EVIL)]), "more than once"),
        refused(
            50,
            "slash-duplicate.tar",
            tar(&[regular(b"a/rune", GOOD), regular(b"a//./rune", EVIL)]),
            "more than once",
        ),
        // Row 51: two sizes, and sizes that two readers read in two ways. In the first three another reader finds EVIL.
        refused(
            51,
            "tarmageddon.tar",
            tar(&[pax(&[format!("size={}", hidden.len()).as_bytes()]), header(b"x", b'0', 0), hidden.clone(), good()]),
            "two sizes",
        ),
        refused(51, "pax-size-ignored.tar", tar(&[pax(&[b"size=0"]), regular(b"x", &hidden), good()]), "two sizes"),
        refused(51, "pax-size-behind-name.tar", tar(&[pax(&[b"size=9"]), long(b'L', b"rune\0"), good()]), "two sizes"),
        refused(51, "pax-size-text.tar", tar(&[pax(&[b"size=1x"]), good()]), "no number"),
        refused(51, "pax-size-negative.tar", tar(&[pax(&[b"size=-1"]), good()]), "no number"),
        Case::gives(51, "pax-same-size.tar", tar(&[pax(&[format!("size={}", GOOD.len()).as_bytes()]), good()])),
        refused(
            51,
            "hardlink-size.tar",
            tar(&[header(b"x", b'1', hidden.len()), hidden.clone(), good()]),
            "has a size",
        ),
        refused(51, "symlink-size.tar", tar(&[header(b"x", b'2', 1024), hidden.clone(), good()]), "has a size"),
        refused(51, "folder-size.tar", tar(&[header(b"x/", b'5', 1024), hidden.clone(), good()]), "has a size"),
        Case::gives(51, "base256-size.tar", base256(0x80, 0)),
        refused(51, "base256-more.tar", base256(0x80, 1), "no plain number"),
        refused(51, "base256-negative.tar", base256(0xff, 0xff), "no plain number"),
        refused(51, "base64-size.tar", with_size(b"+0000000024\0"), "no plain number"),
        refused(51, "minus-size.tar", with_size(b"-0000000024\0"), "refused"),
        refused(51, "no-size.tar", with_size(&[0; 12]), "refused"),
        refused(51, "garbage-size.tar", with_size(b"24x        \0"), "refused"),
        Case::gives(51, "blank-size.tar", with_size(b"        24 \0")),
        refused(51, "solaris-pax.tar", tar(&[entry(b"x", b'X', &record(b"path=y")), good()]), "type 'X'"),
        refused(51, "volume.tar", tar(&[header(b"x", b'V', 0), good()]), "type 'V'"),
        refused(51, "continued.tar", tar(&[header(b"x", b'M', 0), good()]), "type 'M'"),
        refused(51, "dump.tar", tar(&[entry(b"x", b'D', b"Yrune\0\0"), good()]), "type 'D'"),
        refused(51, "unknown.tar", tar(&[entry(b"rune", b'Q', EVIL)]), "type 'Q'"),
        refused(
            51,
            "other-magic.tar",
            tar(&[changed(b"x", b'0', 0, |b| b[263..265].copy_from_slice(b"99")), good()]),
            "no known form",
        ),
        // Row 52: what pax and GNU headers override.
        Case::gives(52, "pax-path.tar", tar(&[pax(&[b"path=rune"]), regular(b"x", GOOD)])),
        refused(52, "pax-away.tar", tar(&[pax(&[b"path=x"]), evil()]), "no such member"),
        refused(52, "pax-two-paths.tar", tar(&[pax(&[b"path=rune", b"path=x"]), evil()]), "two names"),
        refused(52, "two-pax.tar", tar(&[pax(&[b"path=x"]), pax(&[b"path=rune"]), evil()]), "two"),
        refused(52, "pax-and-long.tar", tar(&[long(b'L', b"rune\0"), pax(&[b"path=x"]), evil()]), "two names"),
        refused(52, "two-long.tar", tar(&[long(b'L', b"x\0"), long(b'L', b"rune\0"), evil()]), "two"),
        refused(52, "global-path.tar", tar(&[entry(b"g", b'g', &record(b"path=rune")), regular(b"x", EVIL)]), "global"),
        refused(52, "global-size.tar", tar(&[entry(b"g", b'g', &record(b"size=0")), good()]), "global"),
        Case::gives(52, "global-comment.tar", tar(&[entry(b"g", b'g', &record(b"comment=0123abcd")), good()])),
        Case::gives(
            52,
            "pax-attributes.tar",
            tar(&[pax(&[b"SCHILY.xattr.user.evil=1", b"LIBARCHIVE.xattr.user.evil=MQ==", b"uid=1000"]), good()]),
        ),
        Case::gives(52, "pax-linkpath.tar", tar(&[pax(&[b"linkpath=/etc/passwd"]), good()])),
        Case::gives(52, "long-name.tar", tar(&[long(b'L', &deep(300)), regular(b"x", GOOD)])),
        refused(52, "pax-no-length.tar", tar(&[entry(b"pax", b'x', b"path=rune\n"), evil()]), "damaged"),
        refused(52, "pax-long-length.tar", tar(&[entry(b"pax", b'x', b"99 path=rune\n"), evil()]), "damaged"),
        refused(
            52,
            "pax-overflow.tar",
            tar(&[entry(b"pax", b'x', b"99999999999999999999 path=rune\n"), evil()]),
            "damaged",
        ),
        refused(52, "pax-newline.tar", tar(&[pax(&[b"comment=a\n11 path=x"]), good()]), "damaged"),
        refused(52, "pax-at-the-end.tar", tar(&[good(), pax(&[b"path=rune"])]), "member should follow"),
        // Row 53: setuid, 0777, another owner.
        Case::gives(
            53,
            "setuid.tar",
            tar(&[
                changed(b"rune", b'0', GOOD.len(), |b| {
                    b[100..108].copy_from_slice(b"0006777\0");
                    b[108..124].copy_from_slice(b"0001750 0001750 ");
                }),
                blocks(GOOD),
            ]),
        ),
        // Row 54: what claims to be large.
        refused(54, "large.tar", tar(&[header(b"rune", b'0', 3 << 30)]), "larger than"),
        refused(54, "name-bomb.tar", tar(&[header(b"x", b'L', 3 << 30)]), "larger than 1 MiB"),
        refused(54, "pax-bomb.tar", tar(&[header(b"x", b'x', 3 << 30)]), "larger than 1 MiB"),
        // Row 55: long names; the million of members is in compressed.rs.
        refused(55, "long-name-64k.tar", tar(&[long(b'L', &deep(64 << 10)), evil()]), "longer than 4096"),
        refused(
            55,
            "pax-name-64k.tar",
            tar(&[pax(&[&[b"path=", deep(64 << 10).trim_ascii_end().strip_suffix(b"\0").unwrap()].concat()]), evil()]),
            "longer than 4096",
        ),
        refused(
            55,
            "many-of-them.tar",
            tar(&(0..100).map(|n| regular(format!("{n}/rune").as_bytes(), EVIL)).collect::<Vec<_>>()),
            "more than 64",
        ),
        // Row 56: cut off, or going on.
        refused(56, "cut.tar", tar(&[good()])[..1024].to_vec(), "end mark is missing"),
        refused(56, "half-end.tar", tar(&[good()])[..1536].to_vec(), "end mark is missing"),
        refused(56, "cut-member.tar", tar(&[regular(b"rune", &[7; 600])])[..1024].to_vec(), "size it claims"),
        refused(56, "trailing.tar", [tar(&[good()]), b"x".to_vec()].concat(), "behind its end"),
        refused(56, "concatenated.tar", [tar(&[good()]), tar(&[evil()])].concat(), "behind its end"),
        refused(56, "lone-zero.tar", tar(&[good(), vec![0; 512], evil()]), "behind its end"),
        refused(
            56,
            "second-header.tar",
            {
                let mut t = tar(&[good(), evil()]);
                t[1024] ^= 1;
                t
            },
            "damaged",
        ),
        // Row 57: sparse files.
        refused(57, "sparse-gnu.tar", sparse(&["--format=gnu"]), "sparse"),
        refused(57, "sparse-0.0.tar", sparse(&["--format=pax", "--sparse-version=0.0"]), "sparse"),
        refused(57, "sparse-0.1.tar", sparse(&["--format=pax", "--sparse-version=0.1"]), "sparse"),
        refused(57, "sparse-1.0.tar", sparse(&["--format=pax", "--sparse-version=1.0"]), "sparse"),
        // Row 58: what is in it does not run here.
        refused(58, "not-elf.tar", tar(&[regular(b"rune", b"\xff\xfe\0")]), "neither an ELF program"),
        refused(58, "empty.tar", tar(&[regular(b"rune", b"")]), "is empty"),
        refused(58, "other-machine.tar", tar(&[regular(b"rune", &elf(0x16))]), "is for"),
        refused(
            58,
            "other-endianness.tar",
            tar(&[regular(b"rune", &{
                let mut e = elf(62);
                e[5] = 2;
                e
            })]),
            "",
        ),
        refused(58, "windows.tar", tar(&[regular(b"rune", b"MZ\x90\0\x03\0\0\0")]), "neither an ELF program"),
        // Names that are no UTF-8 are names.
        Case::gives(52, "not-utf8.tar", tar(&[regular(b"d\xff/rune", GOOD)])).wants(b"rune=d\xff/rune"),
    ]
}

/// The header of an ELF program for the machine of this number, and nothing behind it.
fn elf(machine: u8) -> Vec<u8> {
    let mut elf = fs_err::read("/bin/true").unwrap();
    elf[18] = machine;
    elf
}
