//! verify on a kernel or a disk that lies, and what it is seen to open: by strace(1).

use std::path::Path;
use std::process::{Command as Program, Output};

use assert_cmd::cargo::cargo_bin;
use fs_err as fs;

use super::{Bench, archives, minisign, sha256};

/// What the files hold that are to be stored.
const SCRIPT: &[u8] = b"#!/bin/sh\necho the right one\n";

/// Runs `command` under strace with these options, its trace in `trace` beside the files.
fn traced(bench: &Bench, options: &[&str], command: &[&Path]) -> Output {
    let mut strace = Program::new("strace");
    strace.args(["-f", "-qq", "-s", "4096", "-o"]).arg(bench.path("trace")).args(options).args(command);
    strace.current_dir(bench.path("")).env("UPSWAP_ROOT", bench.dir.path().join("host"));
    strace.output().expect("these tests need strace (scripts/deps test)")
}

/// The lies that end well for `command`, though `right` says that what was written is not right.
fn believed(bench: &Bench, command: &[&str], right: impl Fn() -> bool) -> (usize, Vec<String>) {
    let command: Vec<&Path> = command.iter().map(Path::new).collect();
    let (mut lies, mut believed) = (0, Vec::new());
    for call in ["write", "copy_file_range", "sendfile"] {
        // Said to be written, and not written: the first byte of a write, or all of a copy.
        let length = if call == "write" { 1 } else { SCRIPT.len() };
        for nth in 1.. {
            let _ = fs::remove_dir_all(bench.dir.path().join("host/var"));
            let inject = format!("inject={call}:retval={length}:when={nth}");
            let ran = traced(bench, &["-e", &format!("trace={call}"), "-e", &inject], &command);
            if !fs::read_to_string(bench.path("trace")).unwrap().contains("(INJECTED)") {
                break;
            }
            lies += 1;
            if !right() && (ran.status.success() || !bench.store().is_empty()) {
                believed.push(format!("{call} {nth}: {}", String::from_utf8_lossy(&ran.stderr)));
            }
        }
    }
    (lies, believed)
}

/// Row 41: a write that is said to be done and is not. Nothing is in the store that is not right.
#[test]
fn a_write_that_was_none_stores_nothing_wrong() {
    let bench = Bench::new();
    bench.listed("rune.tar", &archives::tar(&[("rune", SCRIPT)]));
    bench.listed("rune", SCRIPT);
    let verify = cargo_bin("verify");
    for arguments in [&["rune"][..], &["--extract", "rune", "rune.tar"]] {
        let command = [&[verify.to_str().unwrap(), "-q", "--sums", "SHA256SUMS"], arguments].concat();
        let right = || {
            let objects = bench.store().into_iter().filter(|path| !path.ends_with(".origin.json"));
            objects.map(|path| fs::read(path).unwrap()).all(|bytes| bytes == SCRIPT)
        };
        let (lies, believed) = believed(&bench, &command, right);
        assert!(lies > 2, "{arguments:?}: {lies} calls could lie");
        assert_eq!(believed, Vec::<String>::new(), "{arguments:?}");
    }
}

/// The same over a program that does not read back what it wrote.
#[test]
fn canary_cp_believes_the_disk() {
    let bench = Bench::new();
    bench.file("from", SCRIPT);
    let right = || fs::read(bench.path("to")).is_ok_and(|bytes| bytes == SCRIPT);
    let (lies, believed) = believed(&bench, &["cp", "--reflink=never", "from", "to"], right);
    assert!(lies > 0 && !believed.is_empty(), "{lies} lies, {believed:?}");
}

/// How often a file called `name` was opened, by whichever process.
fn opened(bench: &Bench, name: &str) -> usize {
    let trace = fs::read_to_string(bench.path("trace")).unwrap();
    let is_it = |line: &&str| line.contains(&format!("\"{name}\"")) || line.contains(&format!("/{name}\""));
    trace.lines().filter(is_it).filter(|line| line.contains(", O_") && !line.contains("= -1 ")).count()
}

/// Row 42: judged, unpacked and stored is what one open gave, whoever judges and whatever the name would mean to a shell.
#[test]
fn a_file_is_opened_once_and_its_name_is_nothing_but_a_name() {
    let bench = Bench::new();
    let name = "rune $(touch owned) `touch owned`;'.tar";
    bench.listed(name, &archives::tar(&[("rune", SCRIPT)]));
    minisign(&bench.path(""), &["-G", "-W", "-p", "k.pub", "-s", "k.sec"]);
    minisign(&bench.path(""), &["-S", "-s", "k.sec", "-m", name]);
    bench.gpg_key("rel");
    bench.gpg(&["-o", &format!("{name}.asc"), "--detach-sign", name]);
    let verify = cargo_bin("verify");
    let list = ["--sums", "SHA256SUMS"];
    for evidence in [&list[..], &["--minisign", "k.pub"], &["--gpg", "rel.gpg"]] {
        for then in [&["--check"][..], &["--extract", "rune", "--run", "-x"]] {
            let command = [&[verify.to_str().unwrap()], evidence, then, &[name]].concat();
            let command: Vec<&Path> = command.iter().map(Path::new).collect();
            let ran = traced(&bench, &["-e", "trace=open,openat,openat2"], &command);
            assert!(ran.status.success(), "{evidence:?} {then:?}: {}", String::from_utf8_lossy(&ran.stderr));
            assert_eq!(opened(&bench, name), 1, "{evidence:?} {then:?}");
            assert!(!bench.path("owned").exists());
        }
    }
    let twice = ["sh", "-c", "cat \"$1\" \"$1\"", "sh", name].map(Path::new);
    traced(&bench, &["-e", "trace=open,openat,openat2"], &twice);
    assert_eq!(opened(&bench, name), 2, "the canary: a second open is seen");
}

/// Row 43: what begins with a dash is a file where a file is meant, also in what other programs are given.
#[test]
fn names_that_begin_with_a_dash_are_names() {
    let bench = Bench::new();
    for name in ["-f", "--help", "--check"] {
        bench.listed(name, SCRIPT);
        assert_eq!(bench.run(&["--check", "--", name]).1, format!("{name}\n"));
        assert_eq!(bench.run(&["--check", &format!("./{name}")]).0, 0);
        let listed = bench.ran(bench.verify().args(["--sums", "SHA256SUMS", "--files-from", "-"]).write_stdin(name));
        assert_eq!((listed.0, listed.1.trim_end().rsplit('/').next()), (0, Some(name)), "{}", listed.2);
    }
    assert_eq!(bench.run(&["-f"]).0, 2, "an option that there is not");
    let digest = sha256(&bench.path("-f"));
    bench.file("--version", format!("{digest}  -f\n"));
    assert_eq!(bench.ran(bench.verify().args(["--check", "--sums=--version", "--", "-f"])).0, 0);
    // The programs that judge get no name of ours, so none can be an option of theirs.
    bench.gpg_key("rel");
    fs::rename(bench.path("rel.gpg"), bench.path("--version")).unwrap();
    bench.gpg(&["-o", "--list-keys", "--detach-sign", "./-f"]);
    let signed = ["--check", "--gpg=--version", "--sig=--list-keys", "--", "-f"];
    let (code, stdout, stderr) = bench.ran(bench.verify().args(signed));
    assert_eq!((code, stdout.as_str()), (0, "-f\n"), "{stderr}");
}

/// What verify answers with survives a power cut: the bytes are on disk before they have their name, and then the name is.
#[test]
fn what_is_stored_is_on_disk_with_its_name() {
    let bench = Bench::new();
    let digest = sha256(&bench.listed("rune", SCRIPT));
    let verify = cargo_bin("verify");
    let command = [verify.as_path(), Path::new("--sums"), Path::new("SHA256SUMS"), Path::new("rune")];
    let ran = traced(&bench, &["-y", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2"], &command);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let trace = fs::read_to_string(bench.path("trace")).unwrap();
    let last =
        |what: &dyn Fn(&str) -> bool| trace.lines().enumerate().filter(|(_, line)| what(line)).map(|(n, _)| n).last();
    let named = last(&|line| line.contains("rename") && line.contains("/rune\"")).expect("it was given its name");
    let folder =
        last(&|line| line.contains("sync(") && line.contains(&format!("/{digest}>"))).expect("the folder was synced");
    let bytes = trace
        .lines()
        .take(named)
        .any(|line| line.contains("sync(") && !line.contains(".json") && !line.contains(&format!("/{digest}>")));
    assert!(bytes && named < folder, "{trace}");
}
