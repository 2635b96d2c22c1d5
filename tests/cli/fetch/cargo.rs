//! fetch of crates: by the real cargo from a registry in a folder, and by one that only plays it where it has to fail.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use serde_json::{Value, json};
use upswap::words::digest::Digest;

use super::{Env, run};

const MAIN: &str = "fn main() { println!(\"hello\"); }";

/// A registry in a folder (cargo's `local-registry`), and a `CARGO_HOME` that takes it for crates.io.
struct Crates {
    env: Env,
}

impl Crates {
    fn new() -> Self {
        let env = Env::new();
        let (home, registry) = (env.root.path().join("home"), env.root.path().join("registry"));
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(registry.join("index")).unwrap();
        let config = format!(
            "[source.crates-io]\nreplace-with = \"here\"\n[source.here]\nlocal-registry = \"{}\"\n",
            registry.display()
        );
        fs::write(home.join("config.toml"), config).unwrap();
        Self { env }
    }

    /// Publishes a crate of these files; Cargo.toml and Cargo.lock are there by themselves.
    fn publish(&self, name: &str, version: &str, files: &[(&str, &str)]) {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n");
        let lock = format!("version = 3\n\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        let own = |path: &str| files.iter().any(|(own, _)| *own == path);
        let usual = [("Cargo.toml", manifest.as_str()), ("Cargo.lock", lock.as_str())];
        for (path, text) in usual.iter().filter(|(path, _)| !own(path)).chain(files) {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, format!("{name}-{version}/{path}"), text.as_bytes()).unwrap();
        }
        let packed = tar.into_inner().unwrap().finish().unwrap();
        let registry = self.env.root.path().join("registry");
        fs::write(registry.join(format!("{name}-{version}.crate")), &packed).unwrap();
        let entry = json!({
            "name": name, "vers": version, "deps": [], "cksum": Digest::of(&packed), "features": {}, "yanked": false,
        });
        let index = registry.join("index").join(&name[..2]).join(&name[2..4]);
        fs::create_dir_all(&index).unwrap();
        let before = fs::read_to_string(index.join(name)).unwrap_or_default();
        fs::write(index.join(name), format!("{before}{entry}\n")).unwrap();
    }

    fn fetch(&self) -> Command {
        let mut command = self.env.fetch();
        command.env("CARGO_HOME", self.env.root.path().join("home")).args(["--into", "into"]);
        command
    }

    /// Lets a shell script play cargo.
    fn played_by(&self, script: &str) -> (Command, PathBuf) {
        let path = self.env.root.path().join("cargo");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = self.fetch();
        command.env("CARGO", &path);
        (command, path)
    }
}

#[test]
fn a_crate_is_built_once_and_gives_its_programs() {
    let crates = Crates::new();
    for version in ["0.1.0", "0.1.1", "0.2.0"] {
        crates.publish("sample", version, &[("src/bin/one.rs", MAIN), ("src/bin/two.rs", MAIN)]);
    }
    let ended = run(crates.fetch().args(["--json", "--sums", "SHA256SUMS", "cargo:sample@0.1"]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let who = if nix::unistd::geteuid().is_root() { "as root, and those of all it depends on" } else { "as you" };
    let builds = format!("cargo builds sample 0.1.1; its build scripts run {who}");
    assert!(ended.stderr.contains(&builds), "{}", ended.stderr);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["version"], &answer["assets"][1]["name"]), (&json!("0.1.1"), &json!("two")));
    let names = ["SHA256SUMS", "one", "one.origin.json", "two", "two.origin.json"];
    assert_eq!(crates.env.names(), names);
    let record: Value = serde_json::from_slice(&fs::read(crates.env.dir().join("one.origin.json")).unwrap()).unwrap();
    assert_eq!((&record["source"], &record["version"]), (&json!("cargo:sample@0.1"), &json!("0.1.1")));
    let mut verify = assert_cmd::cargo::cargo_bin_cmd!("verify");
    let into = crates.env.dir();
    let verify = verify.env("UPSWAP_ROOT", crates.env.root.path()).args(["--check", "--sums", "SHA256SUMS"]);
    assert_eq!(run(verify.args([into.join("one"), into.join("two")])).code, 0);

    // cargo finds what it built, and so the bytes are the same ones.
    let ended = run(crates.fetch().args(["-v", "--asset", "two", "cargo:sample@0.1.1"]));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "into/two\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("is already installed"), "{}", ended.stderr);
    let built = crates.env.root.path().join("var/cache/upswap/fetch/crates/sample/.build-0.1.1");
    assert!(built.join("bin/one").exists() && !built.join("target").exists());

    let ended = run(crates.fetch().args(["--newer-than", "0.2.0", "cargo:sample"]));
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("nothing newer: it has 0.2.0") && !ended.stderr.contains("builds"),
        "{}",
        ended.stderr
    );
}

/// Nobody here decides whom cargo asks.
#[test]
fn a_policy_with_hosts_lets_no_cargo_out() {
    let crates = Crates::new();
    let (mut fetch, cargo) = crates.played_by("touch \"$0.ran\"; echo 'version: 0.1.0'");
    fs::write(crates.env.root.path().join("policy"), "HOSTS=example.com\n").unwrap();
    let policy = crates.env.root.path().join("policy");
    for source in ["cargo:sample", "cargo:sample@0.1.0"] {
        let ended = run(fetch.arg("--policy").arg(&policy).arg(source));
        assert!(ended.code == 1 && ended.stderr.contains("the policy has HOSTS"), "{}", ended.stderr);
        fetch = crates.played_by("touch \"$0.ran\"").0;
    }
    assert!(!cargo.with_extension("ran").exists());
}

#[test]
fn what_cargo_says_becomes_an_exit_code() {
    let crates = Crates::new();
    crates.publish("sample", "0.1.0", &[("src/main.rs", MAIN)]);
    crates.publish("library", "0.1.0", &[("src/lib.rs", "")]);
    crates.publish("broken", "0.1.0", &[("src/main.rs", "fn main() { let x: u8 = \"no\"; }")]);
    crates.publish("locked", "0.1.0", &[("src/main.rs", MAIN), ("Cargo.lock", "version = what")]);
    let cross = ["--target", "s390x-unknown-linux-gnu", "cargo:sample@0.1.0"];
    for (args, code, says) in [
        (&["cargo:nothere"][..], 1, "no such crate or version"),
        (&["cargo:sample@9.9.9"], 1, "no such crate or version"),
        (&["cargo:sample@9"], 1, "no such crate or version"),
        (&["cargo:library"], 1, "has no programs"),
        (&["--asset", "other", "cargo:sample"], 1, "no asset 'other'; it has sample"),
        (&["cargo:broken"], 3, "mismatched types"),
        (&["cargo:locked"], 3, "Cargo.lock that was published with it does not fit"),
        (&cross, 3, "rustup target add s390x-unknown-linux-gnu"),
        (&["--pre", "cargo:sample"], 2, "cargo picks no pre-releases"),
    ] {
        let ended = run(crates.fetch().args(args));
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
        assert_eq!(crates.env.names(), [""; 0], "{args:?}");
    }
    let list = run(crates.env.fetch().args(["--list", "cargo:sample"]));
    assert_eq!(list.code, 2, "{}", list.stderr);
}

#[test]
fn a_cargo_that_is_not_there_or_has_no_network_or_no_end_is_told_apart() {
    let crates = Crates::new();
    let ended = run(crates.fetch().env("CARGO", "/nonexistent/cargo").arg("cargo:sample"));
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("cargo is not there to build it"), "{}", ended.stderr);

    let (mut command, _) = crates.played_by("echo 'error: download of config.json failed' >&2; exit 101");
    let ended = run(command.arg("cargo:sample"));
    assert_eq!(ended.code, 75, "{}", ended.stderr);

    let locked = "error: the lock file /x/Cargo.lock needs to be updated but --locked was passed to prevent this";
    let (mut command, _) = crates.played_by(&format!("echo '{locked}' >&2; exit 101"));
    let ended = run(command.arg("cargo:sample@1.0.0"));
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("Cargo.lock that was published with it does not fit"), "{}", ended.stderr);

    let began = Instant::now();
    let (mut command, _) = crates.played_by("sleep 600 & sleep 600");
    let ended = run(command.args(["--timeout", "1s", "cargo:sample@1.0.0"]));
    assert_eq!(ended.code, 75, "{}", ended.stderr);
    assert!(ended.stderr.contains("not built within 1s") && began.elapsed() < Duration::from_secs(300));

    let (mut command, _) = crates.played_by("echo version: '$(reboot)'");
    let ended = run(command.arg("cargo:sample"));
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("names no version"), "{}", ended.stderr);

    let (mut command, _) = crates.played_by("exit 0");
    let ended = run(command.arg("cargo:sample@1.0.0"));
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("left no record"), "{}", ended.stderr);
}

#[test]
fn cargo_is_called_as_it_should_be_and_heard() {
    let crates = Crates::new();
    let said = crates.env.root.path().join("said");
    let (mut command, _) = crates.played_by(&format!(
        "printf '%s\\n' \"$@\" \"$CARGO_TARGET_DIR\" \"$CARGO_HTTP_CAINFO\" \"$CARGO_INSTALL_ROOT\" \"$PWD\" >{}
        printf '   Compiling sample\\n\\033[31mone\\n' >&2; exit 101",
        said.display()
    ));
    let pem = Path::new("ca.pem");
    fs::write(crates.env.root.path().join(pem), crate::http::Server::start_tls(|_, _| unreachable!()).1).unwrap();
    command.env("CARGO_INSTALL_ROOT", "/elsewhere");
    let ended = run(command.args(["-v", "--cacert", "ca.pem", "cargo:sample@v1.0.0"]));
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("fetch:    Compiling sample\n"), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("cargo failed: \\u{1b}[31mone\n"), "{}", ended.stderr);
    let built = crates.env.root.path().join("var/cache/upswap/fetch/crates/sample/.build-1.0.0");
    let built = built.display();
    let ca = crates.env.root.path().join(pem);
    let expected = format!(
        "install\n--locked\n--color=never\n--root={built}\n--version==1.0.0\n--registry=crates-io\nsample\n{built}/target\n{}\n\n/\n",
        ca.display()
    );
    assert_eq!(fs::read_to_string(said).unwrap(), expected);
}
