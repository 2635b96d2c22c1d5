//! The makefile's doors that people and packagers use, and what they find behind them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;

use crate::host::program;

/// `make` in this source tree, with the tools that cargo built for the tests.
fn make(arguments: &[&str], destdir: &Path) -> Output {
    let built = Path::new(env!("CARGO_BIN_EXE_swapbin")).parent().unwrap();
    Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg(format!("built={}", built.display()))
        .arg(format!("DESTDIR={}", destdir.display()))
        .args(arguments)
        // The tests may run under `make test`, whose variables are not meant for this one.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .unwrap()
}

fn installed(destdir: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut folders = vec![destdir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                files.insert(Path::new("/").join(path.strip_prefix(destdir).unwrap()));
            }
        }
    }
    files
}

fn stdout(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", program.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_installed_works_from_there_and_goes_away_again() {
    let temporary = tempfile::tempdir().unwrap();
    let destdir = temporary.path().join("a blank");
    let output = make(&["install"], &destdir);
    assert!(output.status.success(), "{output:?}");

    let files = installed(&destdir);
    for file in ["bin/fetch", "bin/upswap", "sbin/swapbin", "libexec/upswap/upgrade", "share/man/man8/swapbin.8.gz"] {
        assert!(files.contains(&Path::new("/usr/local").join(file)), "{file} is not in {files:#?}");
    }
    assert!(!files.iter().any(|file| file.ends_with("deps")), "{files:#?}");
    let upswap = destdir.join("usr/local/bin/upswap");
    assert_eq!(stdout(&upswap, &["--version"]), format!("upswap {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        stdout(&upswap, &["unit-diff", "--version"]),
        format!("unit-diff (upswap) {}\n", env!("CARGO_PKG_VERSION"))
    );

    let output = make(&["uninstall"], &destdir);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(installed(&destdir), BTreeSet::new());
}

#[test]
fn the_folders_and_names_are_the_packagers() {
    let destdir = tempfile::tempdir().unwrap();
    let choices = ["prefix=/usr", "sysconfdir=/opt/etc", "mandir=/m", "program_transform_name=s/^/up-/"];
    let output = make(&[&["install"], &choices[..]].concat(), destdir.path());
    assert!(output.status.success(), "{output:?}");

    let files = installed(destdir.path());
    for file in ["/usr/bin/up-fetch", "/usr/sbin/up-rollback", "/usr/bin/up-upswap", "/m/man1/up-fetch.1.gz"] {
        assert!(files.contains(Path::new(file)), "{file} is not in {files:#?}");
    }
    assert!(destdir.path().join("opt/etc/upswap").is_dir());
    for unit in ["system/upswap-recover.service", "system/upswap-settle.service", "user/upswap-settle.service"] {
        let text = fs::read_to_string(destdir.path().join("usr/lib/systemd").join(unit)).unwrap();
        assert!(text.contains("\nExecStart=/usr/sbin/up-rollback ") && !text.contains("/usr/local"), "{unit}: {text}");
    }
    for link in [
        "system/sysinit.target.wants/upswap-recover.service",
        "system/timers.target.wants/upswap-settle.timer",
        "user/basic.target.wants/upswap-recover.service",
        "user/timers.target.wants/upswap-settle.timer",
    ] {
        assert!(destdir.path().join("usr/lib/systemd").join(link).is_file(), "{link} leads to its unit");
    }
    let version = stdout(&destdir.path().join("usr/bin/up-upswap"), &["fetch", "--version"]);
    assert!(version.starts_with("fetch "), "a tool keeps its own name for the scripts: {version}");

    let output = make(&[&["uninstall"], &choices[..]].concat(), destdir.path());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(installed(destdir.path()), BTreeSet::new());
    assert!(!destdir.path().join("usr/lib/systemd/system/sysinit.target.wants").exists());
}

#[test]
fn install_builds_nothing_and_says_what_to_do_instead() {
    let destdir = tempfile::tempdir().unwrap();
    let output = make(&["install", "built=nowhere"], destdir.path());
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("install: nowhere/fetch is not built; run 'make' first\n"), "{said}");
    assert_eq!(installed(destdir.path()), BTreeSet::new());
}

#[test]
fn a_rust_that_is_too_old_is_told_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let deps = |version: &str| {
        let cargo = folder.path().join("cargo");
        program(&cargo, format!("#!/bin/sh\necho 'cargo {version} (0123abcd 2024-01-01)'\n"));
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deps"))
            .arg("rust")
            .env("PATH", path)
            .output()
            .unwrap()
    };
    let needed = env!("CARGO_PKG_RUST_VERSION");
    let old = deps("1.75.0");
    assert_eq!(old.status.code(), Some(1));
    let said = String::from_utf8(old.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("Rust 1.75") && said.contains(&format!("needs {needed} or newer")), "{said}");
    for enough in [&format!("{needed}.0"), "1.100.0", "2.0.0-nightly"] {
        assert!(deps(enough).status.success(), "{enough}");
    }
}

#[test]
fn the_dispatcher_runs_only_what_belongs_to_it() {
    let upswap = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/upswap");
    for arguments in [
        &[][..],
        &["nosuch"],
        &["../scripts/deps"],
        &["deps"],
        &["upswap"],
        &["--nosuch"],
        &["Fetch"],
        &["help", "nosuch"],
    ] {
        let output = Command::new(&upswap).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.lines().count() == 1 && said.starts_with("upswap: "), "{arguments:?}: {said}");
    }
    let help = stdout(&upswap, &["help"]);
    assert_eq!(stdout(&upswap, &["--help"]), help);
}
