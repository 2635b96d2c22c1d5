//! Compressed tar archives: gzip (RFC 1952), xz (the .xz file format 1.2), zstd (RFC 8878).

use std::io::Write;

use super::super::archives::gz;
use super::tars::{END, blocks, header, regular, tar};
use super::{Case, EVIL, GOOD};

fn xz(bytes: &[u8], check: liblzma::stream::Check) -> Vec<u8> {
    let stream = liblzma::stream::Stream::new_easy_encoder(1, check).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `xz` with another dictionary in the header of its first block: the property byte of LZMA2, 28 for 64 MiB.
fn with_dictionary(mut xz: Vec<u8>, dictionary: u8) -> Vec<u8> {
    // Behind the stream header of 12 bytes: the header's length in words, flags, filter 0x21, one byte of properties.
    let len = (usize::from(xz[12]) + 1) * 4;
    assert_eq!(xz[14..16], [0x21, 1]);
    xz[16] = dictionary;
    let mut crc = flate2::Crc::new();
    crc.update(&xz[12..12 + len - 4]);
    xz[12 + len - 4..12 + len].copy_from_slice(&crc.sum().to_le_bytes());
    xz
}

/// A zstd frame with a checksum, made with a window of 2 to the power of `window`.
fn zst(parts: &[&[u8]], window: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.window_log(window).unwrap();
    for part in parts {
        encoder.write_all(part).unwrap();
    }
    encoder.finish().unwrap()
}

/// `zst` that claims another window: its descriptor follows the magic and the frame header's first byte (section 3.1.1.1.2).
fn with_window(mut zst: Vec<u8>, window: u8) -> Vec<u8> {
    assert_eq!(zst[4] & 0x20, 0, "not a single segment");
    zst[5] = (window - 10) << 3;
    zst
}

fn skippable(len: usize) -> Vec<u8> {
    [&b"\x50\x2a\x4d\x18"[..], &u32::try_from(len).unwrap().to_le_bytes(), &vec![7; len]].concat()
}

/// `times` members of a gzip file that unpack to 16 MiB of zeros each.
fn zeros(times: usize) -> Vec<u8> {
    gz(&vec![0; 16 << 20]).repeat(times)
}

pub fn cases() -> Vec<Case> {
    use liblzma::stream::Check;
    let refused = Case::refused;
    let good = || tar(&[regular(b"rune", GOOD)]);
    let evil = || tar(&[regular(b"rune", EVIL)]);
    let (gzipped, xzipped, zstd) = (gz(&good()), xz(&good(), Check::Crc64), zst(&[&good()], 20));
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 4;
        bytes
    };
    let halves = |pack: &dyn Fn(&[u8]) -> Vec<u8>| {
        let whole = good();
        [pack(&whole[..700]), pack(&whole[700..])].concat()
    };
    let large = header(b"zeros", b'0', 80 << 20);
    let rest = [regular(b"rune", GOOD), END.to_vec()].concat();
    let gib = |gib: usize| header(b"rune", b'0', gib << 30);
    let thousand: Vec<u8> = (0..1000).flat_map(|_| header(b"tiny", b'0', 0)).collect();
    let million = |thousands: usize| [gz(&thousand).repeat(thousands), gz(&rest)].concat();
    let mut cases = vec![
        // Row 54: 3 GiB of zeros in 3 MB, wanted.
        refused(54, "zeros.tar.gz", [gz(&gib(3)), zeros(192)].concat(), "larger than 1024 MiB"),
        // Row 55: nested, and names that compress well.
        refused(55, "nested.tar.gz.gz", gz(&gzipped), "no tar archive"),
        Case::gives(55, "thousands.tar.gz", million(50)),
        // Row 56: truncation, flips, what goes on, several streams, windows.
        refused(56, "cut-trailer.tar.gz", gzipped[..gzipped.len() - 4].to_vec(), "cut off"),
        refused(56, "cut-trailer.tar.xz", xzipped[..xzipped.len() - 4].to_vec(), "cut off"),
        refused(56, "cut-trailer.tar.zst", zstd[..zstd.len() - 2].to_vec(), "cut off"),
        refused(56, "flip.tar.gz", flipped(&gzipped, gzipped.len() - 6), "damaged"),
        refused(56, "flip.tar.xz", flipped(&xzipped, xzipped.len() / 2), "damaged"),
        refused(56, "flip.tar.zst", flipped(&zstd, zstd.len() - 2), "damaged"),
        refused(56, "garbage.tar.gz", [&gzipped[..], b"garbage"].concat(), "refused"),
        refused(56, "garbage.tar.xz", [&xzipped[..], b"garbage!"].concat(), "refused"),
        refused(56, "garbage.tar.zst", [&zstd[..], b"garbage"].concat(), "refused"),
        refused(56, "concatenated.tar.gz", [gz(&good()), gz(&evil())].concat(), "behind its end"),
        refused(56, "concatenated.tar.xz", [xzipped.clone(), xz(&evil(), Check::Crc64)].concat(), "behind its end"),
        refused(56, "concatenated.tar.zst", [zstd.clone(), zst(&[&evil()], 20)].concat(), "behind its end"),
        Case::gives(56, "members.tar.gz", halves(&gz)),
        Case::gives(56, "streams.tar.xz", halves(&|half| xz(half, Check::Crc32))),
        Case::gives(56, "frames.tar.zst", halves(&|half| zst(&[half], 20))),
        Case::gives(56, "skippable-front.tar.zst", [skippable(100), zstd.clone()].concat()),
        Case::gives(56, "skippable.tar.zst", [zstd.clone(), skippable(100_000)].concat()),
        refused(56, "skippable-cut.tar.zst", [&zstd[..], &skippable(100)[..50]].concat(), "cut off"),
        Case::gives(56, "unchecked.tar.xz", xz(&good(), Check::None)),
        Case::gives(56, "window-64m.tar.zst", zst(&[&large, &vec![0; 80 << 20], &rest], 26)).window(64),
        refused(56, "window-128m.tar.zst", zst(&[&good()], 27), "window of more than 64 MiB"),
        refused(56, "window-2g.tar.zst", with_window(zst(&[&good()], 20), 31), "window of more than 64 MiB"),
        refused(
            56,
            "later-window.tar.zst",
            [zst(&[&good()[..700]], 20), zst(&[&good()[700..]], 27)].concat(),
            "window of more",
        ),
        Case::gives(
            56,
            "window-64m.tar.xz",
            with_dictionary(xz(&[&large[..], &vec![0; 80 << 20], &rest].concat(), Check::Crc32), 28),
        )
        .window(64),
        refused(56, "window-96m.tar.xz", with_dictionary(xzipped.clone(), 29), "window of more than 64 MiB"),
        refused(56, "window-4g.tar.xz", with_dictionary(xzipped.clone(), 40), "window of more than 64 MiB"),
        refused(57, "sparse.tar.gz", gz(&tar(&[[header(b"rune", b'S', 20), blocks(GOOD)].concat()])), "sparse"),
    ];
    // What takes long in a debug build.
    if std::env::var_os("UPSWAP_SWEEP").is_some_and(|form| form == "full") {
        let beside = [gz(&header(b"zeros", b'0', 3 << 30)), zeros(192), gz(&rest)].concat();
        let beyond = [gz(&header(b"zeros", b'0', 5 << 30)), zeros(320), gz(&rest)].concat();
        cases.extend([
            Case::gives(54, "zeros-beside.tar.gz", beside),
            refused(54, "zeros-beyond.tar.gz", beyond, "unpacks to more than 4096 MiB"),
            Case::gives(55, "nearly-a-million.tar.gz", million(999)),
            refused(55, "million.tar.gz", million(1001), "more than 1000000 members"),
        ]);
    }
    cases
}
