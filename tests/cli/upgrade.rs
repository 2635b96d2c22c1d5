//! `upswap upgrade --plan`, as far as it goes without systemd: what it fetches, and what it holds it against.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fs_err as fs;
use upswap::words::digest::Digest;

/// A shelf of releases that the real minisign has signed, and a host in a folder.
struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> Self {
        let shelf = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(shelf.path("releases/v1.0.0")).unwrap();
        fs::create_dir_all(shelf.path("bin")).unwrap();
        shelf.minisign(&["-G", "-W", "-p", "web.pub", "-s", "web.sec"]);
        shelf
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn minisign(&self, arguments: &[&str]) {
        let run = Command::new("minisign").current_dir(&self.0).args(arguments).stdin(Stdio::null()).output();
        let output = run.expect("these tests need the real minisign program: install the package minisign");
        assert!(output.status.success(), "minisign {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Puts a script on the shelf, with its signature beside it.
    fn signed(self, name: &str) -> Self {
        let file = format!("releases/v1.0.0/{name}");
        fs::write(self.path(&file), "#!/bin/sh\n").unwrap();
        self.minisign(&["-S", "-s", "web.sec", "-m", &file]);
        self
    }

    /// `upswap upgrade web --plan` with the key, for `source` and more flags.
    fn plan(&self, source: &Path, flags: &[&str]) -> Output {
        self.plans(source, flags).output().unwrap()
    }

    fn plans(&self, source: &Path, flags: &[&str]) -> Command {
        let tools = Path::new(assert_cmd::cargo::cargo_bin!("swapbin")).parent().unwrap();
        // The scripts look below the target folder for the tools that this very test run has built.
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/upgrade"));
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", tools.display()));
        command.env("UPSWAP_ROOT", self.0.path());
        command.args(["web", "--plan", "--skip-restart", "--extract", "web", "--bin-dir"]).arg(self.path("bin"));
        command.arg("--key").arg(self.path("web.pub")).arg("--source").arg(source).args(flags);
        command.stdin(Stdio::null());
        command
    }
}

fn says(output: &Output, code: i32, part: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(part), "'{part}' is not in: {stderr}");
}

#[test]
fn a_key_without_a_list_takes_the_signature_of_the_asset() {
    let shelf = Shelf::new().signed("web-1.0.0");
    let releases = shelf.path("releases");
    let would = format!("would replace {}", shelf.path("bin/web").display());
    says(&shelf.plan(&releases, &["--asset", "web-{version}"]), 0, &would);
    says(&shelf.plan(&releases, &["--asset", "web-*0"]), 0, &would);
    says(&shelf.plan(&releases.join("v1.0.0/web-1.0.0"), &[]), 0, &would);
    fs::rename(releases.join("v1.0.0/web-1.0.0.minisig"), releases.join("v1.0.0/other.minisig")).unwrap();
    says(&shelf.plan(&releases, &["--asset", "web-{version}", "--sig", "other.minisig"]), 0, &would);
    says(&shelf.plan(&releases, &["--asset", "web-{version}"]), 1, "web-1.0.0.minisig");
}

#[test]
fn a_key_without_a_list_and_without_an_asset_takes_what_fits_this_host() {
    let name = format!("web_linux_{}", std::env::consts::ARCH);
    let shelf = Shelf::new().signed(&name);
    says(&shelf.plan(&shelf.path("releases"), &[]), 0, "would replace");
    fs::write(shelf.path(&format!("releases/v1.0.0/{name}")), "#!/bin/sh\n# another\n").unwrap();
    says(&shelf.plan(&shelf.path("releases"), &[]), 1, "does not hold");
}

#[test]
fn a_list_and_its_signature_may_have_the_version_in_their_names() {
    let shelf = Shelf::new().signed("web-1.0.0");
    let releases = shelf.path("releases");
    let digest = Digest::of(&fs::read(releases.join("v1.0.0/web-1.0.0")).unwrap());
    fs::write(releases.join("v1.0.0/web_1.0.0_sums.txt"), format!("{digest}  web-1.0.0\n")).unwrap();
    shelf.minisign(&["-S", "-s", "web.sec", "-m", "releases/v1.0.0/web_1.0.0_sums.txt"]);
    let flags = ["--asset", "web-{version}", "--sums", "web_{version}_sums.txt"];
    says(&shelf.plan(&releases, &flags), 0, "would replace");
    let signed = [&flags[..], &["--sig", "web_{version}_sums.txt.minisig"]].concat();
    says(&shelf.plan(&releases, &signed), 0, "would replace");
    fs::write(releases.join("v1.0.0/web-1.0.0"), "#!/bin/sh\n# another\n").unwrap();
    says(&shelf.plan(&releases, &signed), 1, "does not verify");
}

/// The owner of a folder can put his own files in the place of root's.
#[test]
fn a_folder_that_the_caller_names_is_not_worked_in() {
    let shelf = Shelf::new().signed("web-1.0.0");
    let mut plan = shelf.plans(&shelf.path("releases"), &["--asset", "web-{version}"]);
    says(&plan.env("TMPDIR", shelf.path("nowhere")).output().unwrap(), 0, "would replace");
}

#[test]
fn a_key_of_no_kind_and_a_signer_without_a_key_are_told_before_anything_is_fetched() {
    let shelf = Shelf::new();
    let nothing = shelf.path("nothing");
    says(
        &shelf.plan(&nothing, &["--key", "pgp:/etc/x.gpg"]),
        2,
        "KEY: 'pgp:' is no kind of key; minisign:, ssh:, gpg:",
    );
    says(&shelf.plan(&nothing, &["--key", "", "--sums", "S", "--signer", "me"]), 2, "SIGNER without KEY");
    says(&shelf.plan(&nothing, &["--key", "/a:b.pub"]), 1, "no such file or folder");
}
