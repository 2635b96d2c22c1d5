//! verify and archives: what is taken out of them, and what is refused.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use fs_err as fs;

use tar::EntryType as T;

use super::{Bench, program, sha256};

#[test]
fn the_wanted_members_of_every_kind_of_archive_are_stored_and_nothing_else() {
    let unit = b"[Service]\nExecStart=/usr/local/bin/runed\n";
    let members: &[(&str, &[u8])] =
        &[("./v1/rune", &program()), ("v1/runed.service", unit), ("v1/README", b"x"), ("v1/LICENSE", b"y")];
    let zipped: &[(&str, &[u8])] = &[("v1/rune", members[0].1), ("v1/runed.service", unit), ("v1/README", b"x")];
    let tar = tar(members);
    for (name, bytes) in [
        ("rune.tar", tar.clone()),
        ("rune.tar.gz", gz(&tar)),
        ("rune.tgz.odd", gz(&tar)),
        ("rune.tar.xz", xz(&tar)),
        ("rune.tar.zst", zst(&tar)),
        ("rune.zip", zip(zipped)),
        ("rune.streamed.zip", streamed_zip(zipped)),
    ] {
        let bench = Bench::new();
        bench.listed(name, &bytes);
        let (code, stdout, stderr) = bench.run(&["--extract", "rune,r.service=runed.service", name]);
        assert_eq!(code, 0, "{name}: {stderr}");
        let paths: Vec<_> =
            stdout.lines().map(|l| PathBuf::from(l.replace("DIR", bench.dir.path().to_str().unwrap()))).collect();
        assert_eq!(paths.len(), 2, "{name}: {stdout}");
        assert_eq!(fs::read(&paths[0]).unwrap(), program(), "{name}");
        assert_eq!(fs::read(&paths[1]).unwrap(), unit, "{name}");
        // The mode is of the kind of file, never of the archive.
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&paths[0]), mode(&paths[1])), (0o755, 0o644), "{name}");
        for path in &paths {
            assert_eq!(path.parent().unwrap().file_name().unwrap(), sha256(path).as_str());
            assert_eq!(mode(path.parent().unwrap()), 0o755);
        }
        assert_eq!(bench.store().len(), 4, "{name}: two files and their records: {:?}", bench.store());
        assert_eq!(stderr, format!("verify: {name}: integrity only, nobody signed this: sha256 in SHA256SUMS\n"));
    }
}

#[test]
fn archives_of_the_usual_programs_are_read() {
    let bench = Bench::new();
    bench.file("rune", program());
    fs::create_dir(bench.path("long")).unwrap();
    let long = format!("long/{}", "x".repeat(200));
    bench.file(&long, b"text\n");
    for (name, command) in [
        ("gnu.tar.gz", "tar --format=gnu -czf gnu.tar.gz rune long"),
        ("pax.tar.gz", "tar --format=pax -czf pax.tar.gz rune long"),
        ("ustar.tar.xz", "tar --format=ustar -cJf ustar.tar.xz rune"),
        ("v7.tar", "tar --format=v7 -cf v7.tar rune"),
        ("dot.tar.gz", "tar -czf dot.tar.gz ./rune ./long"),
    ] {
        let made = Program::new("sh").args(["-c", command]).current_dir(bench.path("")).status().unwrap();
        assert!(made.success(), "{command}");
        bench.list(&format!("{}  {name}\n", sha256(&bench.path(name))));
        assert_eq!(
            bench.run(&["--extract", "rune", name]).0,
            0,
            "{name}: {:?}",
            bench.run(&["--extract", "rune", name])
        );
        if !name.starts_with('u') && !name.starts_with('v') {
            let wanted = format!("a={}", "x".repeat(200));
            assert_eq!(bench.run(&["--extract", &wanted, name]).0, 0, "{name}");
        }
    }
}

#[test]
fn all_that_is_refused_is_refused_by_name() {
    let bench = Bench::new();
    let elf = program();
    let good = tar(&[("rune", &elf)]);
    let mut table = String::new();
    let mut case = |name: &str, bytes: &[u8], extract: &str| {
        let path = bench.file(name, bytes);
        bench.file("SHA256SUMS", format!("{}  {name}\n", sha256(&path)));
        let arguments: &[&str] = if extract.is_empty() { &[name] } else { &["--extract", extract, name] };
        let (code, stdout, stderr) = bench.run(arguments);
        let error = stderr.lines().last().unwrap_or_default();
        assert_eq!(stdout, "", "{name}: nothing is printed when something is refused");
        writeln!(table, "{code} {error}").unwrap();
    };
    let of = |path: &str, kind, size, bytes: &[u8]| {
        let mut builder = tar::Builder::new(Vec::new());
        raw_member(&mut builder, path, kind, size, bytes);
        builder.into_inner().unwrap()
    };
    case("absent.tar", &good, "runed");
    case("two.tar", &tar(&[("a/rune", &elf), ("b/rune", &elf)]), "rune");
    case("duplicate.tar.gz", &gz(&tar(&[("rune", &elf), ("rune", b"#!/bin/evil")])), "rune");
    case("dot-duplicate.tar", &tar(&[("rune", &elf), ("./rune", b"#!/bin/evil")]), "rune");
    case("symlink.tar", &of("rune", T::Symlink, 0, b""), "rune");
    case("hardlink.tar", &of("rune", T::Link, 0, b""), "rune");
    case("device.tar", &of("rune", T::Char, 0, b""), "rune");
    case("fifo.tar", &of("rune", T::Fifo, 0, b""), "rune");
    case("folder.tar", &of("rune/", T::Directory, 0, b""), "rune");
    case("sparse.tar", &of("rune", T::GNUSparse, 4, b"1234"), "rune");
    case("dotdot.tar", &tar(&[("rune", &elf), ("../../etc/passwd", b"x")]), "rune");
    case("absolute.tar", &tar(&[("/usr/bin/rune", &elf)]), "rune");
    let pax = |record: &[u8]| {
        let mut builder = tar::Builder::new(Vec::new());
        raw_member(&mut builder, "pax", T::XHeader, record.len() as u64, record);
        raw_member(&mut builder, "rune", T::Regular, 4, b"1234");
        builder.into_inner().unwrap()
    };
    case("two-sizes.tar", &pax(b"9 size=9\n"), "rune");
    case("pax-dotdot.tar", &pax(b"16 path=../evil\n"), "rune");
    case("pax-sparse.tar", &pax(b"22 GNU.sparse.major=1\n"), "rune");
    case("pax-bomb.tar", &of("rune", T::XHeader, 3 << 30, b""), "rune");
    case("name-bomb.tar", &of("rune", T::GNULongName, 3 << 30, b""), "rune");
    case("large.tar", &of("rune", T::Regular, 2 << 30, b""), "rune");
    case("cut.tar.gz", &gz(&good)[..gz(&good).len() - 20], "rune");
    case("cut.tar.xz", &xz(&good)[..xz(&good).len() - 20], "rune");
    case("cut.tar.zst", &zst(&good)[..zst(&good).len() - 20], "rune");
    case("cut.tar", &good[..good.len() - 1024], "rune");
    case("cut-member.tar", &good[..2000], "rune");
    case("garbage.tar.gz", &[&gz(&good)[..], b"trailing garbage"].concat(), "rune");
    case("garbage.tar.xz", &[&xz(&good)[..], b"trailing garbage"].concat(), "rune");
    case("garbage.tar.zst", &[&zst(&good)[..], b"trailing garbage"].concat(), "rune");
    case("garbage.tar", &[&good[..], b"trailing garbage"].concat(), "rune");
    case("concatenated.tar.gz", &[gz(&good), gz(&good)].concat(), "rune");
    case("no-archive.gz", &gz(b"just text, no archive"), "rune");
    let zipped = zip(&[("rune", &elf)]);
    case("cut.zip", &zipped[..zipped.len() - 5], "rune");
    case("garbage.zip", &[&zipped[..], b"trailing garbage"].concat(), "rune");
    case("dotdot.zip", &zip(&[("rune", &elf), ("../x", b"x")]), "rune");
    let mut link = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    link.add_symlink("rune", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    case("symlink.zip", &link.finish().unwrap().into_inner(), "rune");
    let two = zip(&[("rune", &elf), ("runf", b"#!/bin/evil")]);
    case("duplicate.zip", &replaced(&replaced(&two, b"runf", b"rune"), b"runf", b"rune"), "rune");
    case("contradicting.zip", &replaced(&zipped, b"rune", b"runx"), "rune");
    let mut encrypted = zipped.clone();
    let directory = encrypted.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    (encrypted[6], encrypted[directory + 8]) = (encrypted[6] | 1, encrypted[directory + 8] | 1);
    case("encrypted.zip", &encrypted, "rune");
    case("bare", &elf, "rune,runed");

    let mut other = elf.clone();
    other[18..20].copy_from_slice(if cfg!(target_arch = "s390x") { &[0, 62] } else { &[22, 0] });
    case("other-machine", &other, "");
    let newer = replaced(&elf, b"GLIBC_2.", b"GLIBC_9.");
    case("newer-glibc", &newer, "");
    case("no-loader", &replaced(&elf, b"/ld-linux", b"/ld-minix"), "");
    case("cut-elf", &elf[..elf.len() - 100], "");
    case("empty", b"", "");
    case("windows.exe", b"MZ\x90\0\x03\0\0\0", "");
    case("archive.tar.gz", &gz(&good), "");

    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.add_filter(
        r"needs GLIBC_9\S+, this host's libc.so.6 has up to GLIBC_[\d.]+",
        "needs GLIBC_9, this host's libc.so.6 has up to VERSION",
    );
    settings.add_filter(r"is for [^,]+, \S+ is needed", "is for OTHER, HERE is needed");
    settings.add_filter(r"is for machine \d+ [^)]+\), \S+ is needed", "is for OTHER, HERE is needed");
    settings.add_filter(r"/lib\S*/ld-minix\S*", "LOADER");
    settings.bind(|| insta::assert_snapshot!(table));
    assert_eq!(bench.store(), Vec::<PathBuf>::new(), "nothing that was refused is in the store");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).expect("the program holds it");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// A tar archive of regular files, with their paths written into the headers as they are.
pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in members {
        raw_member(&mut builder, path, tar::EntryType::Regular, bytes.len() as u64, bytes);
    }
    builder.into_inner().unwrap()
}

fn raw_member(builder: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, size: u64, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4777);
    header.set_cksum();
    builder.append(&header, bytes).unwrap();
}

pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in members {
        writer.start_file(*path, zip::write::SimpleFileOptions::default().unix_permissions(0o777)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A zip file as it is written to a pipe: sizes and checksums follow each member.
fn streamed_zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new_stream(Vec::new());
    for (path, bytes) in members {
        writer.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
