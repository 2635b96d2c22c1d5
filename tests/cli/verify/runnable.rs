//! What this host can't run is refused before it is stored, and the message names what is missing.

use super::*;

/// `/bin/true` with one text in it exchanged for another of the same length, wherever it stands.
fn exchanged(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = program();
    let found: Vec<_> = bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "{PROGRAM} has no {}", String::from_utf8_lossy(from));
    for at in found {
        bytes[at..at + from.len()].copy_from_slice(to);
    }
    bytes
}

/// The same without its section headers, as sstrip leaves it: `e_shoff`, `e_shentsize`, `e_shnum`, `e_shstrndx` of 64 bits.
fn without_sections(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[40..48].fill(0);
    bytes[58..64].fill(0);
    bytes
}

fn changed(at: usize, to: &[u8]) -> Vec<u8> {
    let mut bytes = program();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn what_this_host_cannot_run_is_refused_by_name() {
    let newer = exchanged(b"GLIBC_2.", b"GLIBC_9.");
    let cases: [(&str, Vec<u8>); 13] = [
        ("missing-library", exchanged(b"libc.so.6", b"libq.so.6")),
        ("newer-glibc", newer.clone()),
        ("newer-glibc-sstripped", without_sections(newer)),
        ("big-endian", changed(5, &[2])),
        ("32-bit", changed(4, &[1])),
        ("relocatable", changed(16, &[1, 0])),
        ("core", changed(16, &[4, 0])),
        ("headers-without-end", changed(56, &[0xff, 0xff])),
        ("headers-elsewhere", changed(32, &[0xff; 8])),
        ("script", b"#!/opt/nowhere/perl -w\n".to_vec()),
        ("env-script", b"#!/usr/bin/env no-such-language\n".to_vec()),
        ("dos-script", b"#!/bin/sh\r\n".to_vec()),
        ("empty", Vec::new()),
    ];
    let bench = Bench::new();
    let mut table = String::new();
    for (name, bytes) in cases {
        bench.listed(name, &bytes);
        let (code, stdout, stderr) = bench.run(&["-q", name]);
        assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{name}: {stderr}");
        writeln!(table, "{code} {}", stderr.trim_end()).unwrap();
    }
    assert_eq!(bench.store(), Vec::<PathBuf>::new());
    let machine = upswap::words::elf::Machine::here().to_string();
    insta::with_settings!({filters => vec![
        (r"GLIBC_9[0-9.]+", "GLIBC_9"), (r"up to GLIBC_2[0-9.]+", "up to GLIBC_2"), (machine.as_str(), "HERE"),
        (r"machine \d+ \(", "machine N ("),
    ]}, { insta::assert_snapshot!(table) });
}

/// The canary: the same file unchanged, and without its section headers, is taken, and really runs.
#[test]
fn what_it_can_run_is_taken() {
    let bench = Bench::new();
    for (name, bytes) in [("whole", program()), ("sstripped", without_sections(program()))] {
        bench.listed(name, &bytes);
        let (code, stdout, stderr) = bench.run(&["-q", "--run", "", name]);
        assert_eq!((code, stdout.lines().count()), (0, 1), "{name}: {stderr}");
    }
}
