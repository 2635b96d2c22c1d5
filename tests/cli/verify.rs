//! verify: what it lets through, what it refuses, and with which words and codes.

mod archives;
mod demands;
mod hostile;
mod lying;
mod rows;
mod run;
mod runnable;
mod signatures;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};

use assert_cmd::Command;
use assert_cmd::cargo::{cargo_bin, cargo_bin_cmd};
use fs_err as fs;

/// A small ELF program that every host has.
const PROGRAM: &str = "/bin/true";

/// A folder with releases in it, and a host whose own places lie in another one.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("dl")).unwrap();
        fs::create_dir(dir.path().join("host")).unwrap();
        // The host's loader, its libraries and its interpreters are the real ones.
        for folder in ["bin", "lib", "lib64", "usr"] {
            if Path::new("/").join(folder).exists() {
                symlink(Path::new("/").join(folder), dir.path().join("host").join(folder)).unwrap();
            }
        }
        Self { dir }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join("dl").join(name)
    }

    fn file(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A file with a line in `SHA256SUMS` for it.
    fn listed(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name, bytes);
        self.list(&format!("{}  {name}\n", sha256(&path)));
        path
    }

    fn list(&self, line: &str) {
        let mut list = fs::OpenOptions::new().create(true).append(true).open(self.path("SHA256SUMS")).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }

    fn verify(&self) -> Command {
        let mut command = cargo_bin_cmd!("verify");
        command.current_dir(self.path("")).env("UPSWAP_ROOT", self.dir.path().join("host"));
        command
    }

    /// `verify --sums SHA256SUMS ARGUMENTS`: the code, stdout, and stderr without this test's folder.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.ran(self.verify().arg("--sums").arg("SHA256SUMS").args(arguments))
    }

    fn ran(&self, command: &mut Command) -> (i32, String, String) {
        let output = command.output().unwrap();
        let clean = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(self.dir.path().to_str().unwrap(), "DIR");
        (output.status.code().expect("an exit code, no signal"), clean(&output.stdout), clean(&output.stderr))
    }

    fn store(&self) -> Vec<PathBuf> {
        let root = self.dir.path().join("host/var/cache/upswap/store");
        let Ok(objects) = fs::read_dir(root) else { return Vec::new() };
        objects.flat_map(|o| fs::read_dir(o.unwrap().path()).unwrap()).map(|file| file.unwrap().path()).collect()
    }
}

fn sha256(path: &Path) -> String {
    upswap::words::digest::Digest::of(&fs::read(path).unwrap()).to_string()
}

fn program() -> Vec<u8> {
    fs::read(PROGRAM).unwrap()
}

fn minisign(folder: &Path, arguments: &[&str]) {
    let run = Program::new("minisign").current_dir(folder).args(arguments).stdin(Stdio::null()).output();
    let output = run.expect("these tests need the real minisign program: install the package minisign");
    assert!(output.status.success(), "minisign {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_bare_file_is_stored_under_its_own_or_the_given_name() {
    let bench = Bench::new();
    bench.listed("rune_linux_amd64", &program());
    for (arguments, name) in [
        (vec!["rune_linux_amd64"], "rune_linux_amd64"),
        (vec!["--as", "rune", "rune_linux_amd64"], "rune"),
        (vec!["--extract", "rune", "rune_linux_amd64"], "rune"),
        (vec!["--extract", "runed=rune_linux_amd64", "rune_linux_amd64"], "runed"),
    ] {
        let (code, stdout, stderr) = bench.run(&arguments);
        assert_eq!((code, stdout.trim_end().rsplit('/').next()), (0, Some(name)), "{stderr}");
    }
}

/// Rows 29, 30, 31, 32 and 34: lists that say nothing of a file, or two things, or something that proves nothing.
#[test]
fn what_does_not_verify_is_told_apart_by_code() {
    let bench = Bench::new();
    let file = bench.file("f", "#!/bin/sh\n");
    let (digest, other) = (sha256(&file), "0".repeat(64));
    let mut table = String::new();
    for (what, list) in [
        ("other digest", format!("{other}  f\n")),
        ("no entry", format!("{digest}  f.sbom\n{digest}  xf\n")),
        ("empty list", String::new()),
        ("two digests", format!("{digest}  f\n{other}  ./f\n")),
        ("garbage", format!("{digest}  f\nnot a line\n")),
        ("md5", "d41d8cd98f00b204e9800998ecf8427e  f\n".to_owned()),
        ("html", "<html>Sign in</html>\n".to_owned()),
        ("digest alone", format!("{digest}\n")),
    ] {
        bench.file("SHA256SUMS", list);
        let (code, stdout, stderr) = bench.run(&["--check", "f"]);
        assert_eq!(stdout, "");
        writeln!(table, "{what}: {code} {}", stderr.trim_end()).unwrap();
    }
    fs::remove_file(bench.path("SHA256SUMS")).unwrap();
    let (code, _, stderr) = bench.run(&["--check", "f"]);
    writeln!(table, "no list: {code} {}", stderr.trim_end()).unwrap();
    insta::with_settings!({filters => vec![(digest.as_str(), "DIGEST"), (other.as_str(), "ZEROS")]}, {
        insta::assert_snapshot!(table);
    });
}

/// Row 33: every form in the wild; each form by itself is in the tests of the lists.
#[test]
fn lists_of_either_form_hold() {
    let bench = Bench::new();
    let file = bench.file("f", "#!/bin/sh\n");
    let digest = sha256(&file);
    for list in [
        format!("{digest}  f\n"),
        format!("{digest} *f\r\n"),
        format!("{digest}  ./f\n"),
        format!("{digest}  dist/f\n"),
        format!("SHA256 (f) = {digest}\n"),
    ] {
        bench.file("SHA256SUMS", &list);
        assert_eq!(bench.run(&["--check", "f"]).0, 0, "{list}");
        assert_eq!(bench.run(&["--check", file.to_str().unwrap()]).0, 0, "{list}");
    }
    let (code, stdout, _) = bench.ran(bench.verify().args(["--check", "--sha256", &digest.to_uppercase(), "f"]));
    assert_eq!((code, stdout.as_str()), (0, "f\n"));
    assert_eq!(bench.store(), Vec::<PathBuf>::new(), "--check stores nothing");
    assert!(!bench.dir.path().join("host/var").exists());
}

/// Rows 35, 36 and 37: no signature, another key's, another file's; no key is not nothing to check. (A signature covers all that
/// is read, piece by piece: no length of a file is computed with.)
#[test]
fn signatures_of_the_real_minisign_hold_and_everything_else_is_refused() {
    let bench = Bench::new();
    bench.listed("f", b"#!/bin/sh\n");
    minisign(&bench.path(""), &["-G", "-W", "-p", "k.pub", "-s", "k.sec"]);
    minisign(&bench.path(""), &["-G", "-W", "-p", "other.pub", "-s", "other.sec"]);
    minisign(&bench.path(""), &["-S", "-s", "k.sec", "-m", "SHA256SUMS", "-t", "rune v1"]);
    minisign(&bench.path(""), &["-S", "-s", "k.sec", "-m", "f"]);
    minisign(&bench.path(""), &["-S", "-l", "-s", "k.sec", "-m", "f", "-x", "f.legacy"]);
    let key = fs::read_to_string(bench.path("k.pub")).unwrap().lines().nth(1).unwrap().to_owned();
    let number =
        fs::read_to_string(bench.path("k.pub")).unwrap().lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();

    let (code, _, stderr) = bench.run(&["--check", "--minisign", "k.pub", "f"]);
    assert_eq!(code, 0);
    let said = format!("verify: f: authentic: minisign {number} over SHA256SUMS: rune v1; sha256 in SHA256SUMS\n");
    assert_eq!(stderr, said);
    let check = |arguments: &[&str]| bench.ran(bench.verify().arg("--check").args(arguments)).0;
    assert_eq!(check(&["--minisign", &key, "f"]), 0, "the key itself");
    assert_eq!(check(&["--minisign", "k.pub", "--sig", "f.legacy", "f"]), 0);
    assert_eq!(check(&["--minisign", "k.pub", "--sig", "./f.minisig", bench.path("f").to_str().unwrap()]), 0);

    assert_eq!(check(&["--minisign", "other.pub", "f"]), 1, "another key");
    assert_eq!(check(&["--minisign", "k.pub", "--sig", "SHA256SUMS.minisig", "f"]), 1, "another file's signature");
    assert_eq!(check(&["--minisign", "k.pub", "--sig", "none.minisig", "f"]), 1, "no signature");
    assert_eq!(check(&["--minisign", "none.pub", "f"]), 1, "no key");
    bench.file("empty.pub", "");
    assert_eq!(check(&["--minisign", "empty.pub", "f"]), 3, "an empty key file is not 'nothing to check'");
    bench.file("bad.minisig", "untrusted comment: x\n");
    assert_eq!(check(&["--minisign", "k.pub", "--sig", "bad.minisig", "f"]), 3, "half a signature");

    // The right key signed these bytes, as another file: a mirror serves one file under another's name.
    fs::copy(bench.path("f"), bench.path("g")).unwrap();
    fs::copy(bench.path("f.minisig"), bench.path("g.minisig")).unwrap();
    let (code, _, stderr) = bench.ran(bench.verify().args(["--check", "--minisign", "k.pub", "g"]));
    assert_eq!((code, stderr.contains("signed for 'f', not for 'g'")), (1, true), "{stderr}");

    // A list that was changed after it was signed is not even read.
    bench.list("this line would be malformed\n");
    assert_eq!(bench.run(&["--check", "--minisign", "k.pub", "f"]).0, 1);
}

#[test]
fn the_origin_record_travels_into_the_store_with_what_was_proven() {
    let bench = Bench::new();
    let file = bench.listed("f", b"#!/bin/sh\n");
    let record = format!(
        r#"{{"schema":1,"source":"gh:o/r@latest","version":"v1","asset":"f","digest":"{}","time":7,"proven":["a lie"]}}"#,
        sha256(&file)
    );
    bench.file("f.origin.json", &record);
    assert_eq!(bench.run(&["f"]).0, 0);
    let stored = || {
        let path = bench.store().into_iter().find(|p| p.ends_with(".origin.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap()).unwrap()
    };
    assert_eq!(stored()["version"], "v1");
    assert_eq!(stored()["proven"], serde_json::json!(["sha256 in SHA256SUMS"]));

    bench.file("f.origin.json", record.replace(&sha256(&file), &"0".repeat(64)));
    let (code, _, stderr) = bench.run(&["f"]);
    assert_eq!((code, stderr.contains("speaks of other bytes")), (0, true), "{stderr}");
    assert_eq!(stored()["source"], "f");
}

#[test]
fn an_object_in_the_store_is_hashed_again_and_replaced_when_it_is_wrong() {
    let bench = Bench::new();
    let file = bench.listed("f", b"#!/bin/sh\n");
    let (_, stdout, _) = bench.run(&["f"]);
    let object = PathBuf::from(stdout.trim_end().replace("DIR", bench.dir.path().to_str().unwrap()));
    let (code, again, stderr) = bench.run(&["-v", "f"]);
    assert_eq!((code, again, stderr.contains("in the store already")), (0, stdout.clone(), true));
    fs::write(&object, "#!/bin/evil\n").unwrap();
    let (code, _, stderr) = bench.run(&["f"]);
    assert_eq!((code, stderr.contains("replaced")), (0, true), "{stderr}");
    assert_eq!(fs::read(&object).unwrap(), fs::read(&file).unwrap());
    // A link to the right bytes is no object: who owns its target could change them.
    fs::remove_file(&object).unwrap();
    symlink(&file, &object).unwrap();
    assert_eq!(bench.run(&["f"]).0, 0);
    assert!(fs::symlink_metadata(&object).unwrap().is_file());
    // Neither is a file that others own or could have open.
    for (owner, mode) in [(Some(4711), 0o755), (None, 0o666)] {
        fs::set_permissions(&object, std::fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(&object, owner, None).unwrap();
        let held = fs::File::open(&object).unwrap();
        assert_eq!(bench.run(&["f"]).0, 0);
        let (there, before) = (fs::metadata(&object).unwrap(), held.metadata().unwrap());
        assert!(there.uid() != 4711 && there.mode() & 0o777 == 0o755 && there.ino() != before.ino());
    }
    // A store that others can write to is none.
    let folder = object.parent().unwrap();
    fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let (code, stdout, stderr) = bench.run(&["f"]);
    assert_eq!((code, stdout.as_str(), stderr.contains("not trusted")), (3, "", true), "{stderr}");
}

/// A file of holes costs nobody anything but whoever copies it.
#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_copied() {
    let bench = Bench::new();
    fs::File::create(bench.path("f")).unwrap().set_len(1 << 40).unwrap();
    let mut verify = bench.verify();
    // A cache with less room than that would be full.
    let run = verify.args(["--sha256", &"0".repeat(64), "f"]);
    let mut limited = Program::new("prlimit");
    limited.arg("--fsize=1048576").arg(run.get_program()).args(run.get_args()).current_dir(bench.path(""));
    let output = limited.env("UPSWAP_ROOT", bench.dir.path().join("host")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("can't be copied into the cache: more than 4294967296 bytes"), "{stderr}");
}

#[test]
fn nothing_is_stored_when_one_of_several_files_is_bad() {
    let bench = Bench::new();
    bench.listed("a", b"#!/bin/sh\n");
    bench.listed("b", b"#!/bin/sh\n#\n");
    let (code, stdout, _) = bench.run(&["a", "b"]);
    assert_eq!((code, stdout.lines().count()), (0, 2));
    let bench = Bench::new();
    bench.listed("a", b"#!/bin/sh\n");
    bench.listed("b", b"#!/bin/sh\n#\n");
    bench.file("b", "#!/bin/evil\n");
    let (code, stdout, _) = bench.run(&["a", "b"]);
    assert_eq!((code, stdout.as_str(), bench.store().len()), (1, "", 0));
}

#[test]
fn files_come_by_name_by_list_and_on_stdin() {
    let bench = Bench::new();
    let file = bench.listed("f", b"#!/bin/sh\n");
    bench.listed("g h", b"#!/bin/sh\n#\n");
    let from = |arguments: &[&str], stdin: &[u8]| {
        bench.ran(bench.verify().args(["--check", "--sums", "SHA256SUMS"]).args(arguments).write_stdin(stdin))
    };
    assert_eq!(from(&["--files-from", "-"], b"f\ng h\n").1, "f\ng h\n");
    assert_eq!(from(&["--files0-from", "-", "-0"], b"f\0g h\0").1, "f\0g h\0");
    assert_eq!(from(&["--as", "f", "-"], &fs::read(&file).unwrap()).0, 0);
    assert_eq!(from(&["--as", "f", "-"], b"other").0, 1);
    let stored = bench.ran(bench.verify().args(["--sums", "SHA256SUMS", "--as", "f", "-"]).write_stdin("#!/bin/sh\n"));
    assert_eq!(stored.0, 0, "{}", stored.2);

    for (arguments, stdin) in [
        (&["--files-from", "-"][..], &b""[..]),
        (&["--files-from", "-"], b"\n"),
        (&["--files0-from", "-"], b""),
        (&["--files-from", "-", "f"], b"f\n"),
        (&["-"], b"#!/bin/sh\n"),
        (&["--as", "x", "f"], b""),
        (&[], b""),
    ] {
        let (code, stdout, stderr) = from(arguments, stdin);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
    }
    assert!(from(&["--files-from", "-"], b"").2.contains("the stage before gave nothing"));
}

#[test]
fn a_command_line_without_evidence_is_a_usage_error() {
    let bench = Bench::new();
    bench.listed("f", b"#!/bin/sh\n");
    let digest = sha256(&bench.path("f"));
    let usage = |arguments: &[&str]| {
        let (code, stdout, stderr) = bench.ran(bench.verify().args(arguments));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{arguments:?}: {stderr}");
    };
    usage(&["f"]);
    usage(&["--check", "f"]);
    usage(&["--sig", "x", "f"]);
    usage(&["--sha256", "abc", "f"]);
    usage(&["--sha256", &digest, "f", "f"]);
    usage(&["--sums", "SHA256SUMS", "--extract", "a/b", "f"]);
    usage(&["--sums", "SHA256SUMS", "--extract", "a,a", "f"]);
    usage(&["--sums", "SHA256SUMS", "--extract", "a", "--as", "b", "f"]);
    usage(&["--sums", "SHA256SUMS", "--target", "vax", "f"]);
    usage(&["--sums", "SHA256SUMS", "--no-such-option", "f"]);
}

#[test]
fn a_program_for_another_machine_is_stored_when_that_machine_is_named() {
    let bench = Bench::new();
    let mut other = program();
    let (code, name): (u8, &str) = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
    other[18..20].copy_from_slice(&[code, 0]);
    bench.listed("rune", &other);
    assert_eq!(bench.run(&["rune"]).0, 1);
    assert_eq!(bench.run(&["--target", &format!("{name}-unknown-linux-gnu"), "rune"]).0, 0);
}

/// A list of SHA-512 alone is all the proof that there is, and beside SHA-256 both must hold.
#[test]
fn sha512_in_a_list_must_hold_too() {
    let bench = Bench::new();
    let short = sha256(&bench.file("f", "#!/bin/sh\n"));
    let of = |text: &str| upswap::words::sha512::Sha512::of(text.as_bytes()).to_string();
    let (right, wrong) = (of("#!/bin/sh\n"), of("#!/bin/evil\n"));
    for (list, code) in [
        (format!("{right}  f\n"), 0),
        (format!("{right}  f\n{short}  f\n"), 0),
        (format!("{wrong}  f\n"), 1),
        (format!("{short}  f\n{wrong}  f\n"), 1),
        (format!("{right}  f\n{}  f\n", "0".repeat(64)), 1),
    ] {
        bench.file("SHA256SUMS", &list);
        for then in [&["--check", "f"][..], &["f"]] {
            let (got, stdout, stderr) = bench.run(then);
            assert_eq!((got, stdout.is_empty()), (code, code != 0), "{list}: {stderr}");
            assert!(code == 1 || stderr.is_empty() || stderr.contains("sha512 in SHA256SUMS"), "{stderr}");
        }
    }
}

#[test]
fn a_fifo_never_hangs_it_and_a_folder_is_refused() {
    let bench = Bench::new();
    nix::unistd::mkfifo(&bench.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    bench.listed("f", b"#!/bin/sh\n");
    assert_eq!(bench.run(&["--check", "fifo"]).0, 3);
    assert_eq!(bench.run(&["--check", "."]).0, 2);
    assert_eq!(bench.run(&["--check", "./../dl"]).0, 3);
    assert_eq!(bench.run(&["--check", "absent"]).0, 3);
    assert_eq!(bench.ran(bench.verify().args(["--check", "--sums", "fifo", "f"])).0, 3);
}

#[test]
fn a_failing_stdout_is_a_failure() {
    let bench = Bench::new();
    bench.listed("f", b"#!/bin/sh\n");
    let run = |stdout: Stdio| {
        let mut verify = Program::new(cargo_bin!("verify"));
        verify.current_dir(bench.path("")).env("UPSWAP_ROOT", bench.dir.path().join("host"));
        let output = verify.args(["--sums", "SHA256SUMS", "f"]).stdout(stdout).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, stderr) = run(full.into_parts().0.into());
    assert_eq!((code, stderr.contains("standard output")), (Some(3), true), "{stderr}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()).0, Some(3));
}

#[test]
fn names_are_bytes() {
    let bench = Bench::new();
    let name = OsStr::from_bytes(b"f\xff");
    let file = bench.file(Path::new(name), "#!/bin/sh\n");
    let list = [sha256(&file).as_bytes(), b"  f\xff\n"].concat();
    bench.file("SHA256SUMS", list);
    let mut verify = bench.verify();
    let output = verify.args(["--sums", "SHA256SUMS"]).arg(name).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.ends_with(b"/f\xff\n"));
    let (code, stdout, _) = bench.ran(bench.verify().args(["--json", "--sums", "SHA256SUMS"]).arg(name));
    assert_eq!(code, 0);
    assert!(serde_json::from_str::<serde_json::Value>(&stdout).is_ok());
}

#[test]
fn the_json_answer_says_what_was_proven_and_stored() {
    let bench = Bench::new();
    bench.listed("rune.tar.gz", &archives::gz(&archives::tar(&[("rune", b"#!/bin/sh\n")])));
    let (_, stdout, _) = bench.run(&["--json", "--extract", "rune", "rune.tar.gz"]);
    let mut answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let archive = &mut answer["files"][0];
    assert_eq!(archive["digest"], sha256(&bench.path("rune.tar.gz")));
    archive["digest"] = "DIGEST".into();
    archive["size"] = 0.into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&answer).unwrap());
    let (code, stdout, _) = bench.run(&["--json", "--extract", "absent", "rune.tar.gz"]);
    let refused: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &refused["exit"]), (1, &1.into()));
}

#[test]
fn a_large_file_needs_little_memory() {
    let bench = Bench::new();
    let large = bench.file("large", "#!/bin/sh\n");
    let size = 256 << 20;
    fs::OpenOptions::new().write(true).open(&large).unwrap().set_len(size).unwrap();
    let digest = upswap::words::digest::Digest::of_reader(fs::File::open(&large).unwrap()).unwrap().0;
    bench.file("SHA256SUMS", format!("{digest}  large\n"));
    // 128 MiB of address space: half of the file does not fit.
    let mut verify = Program::new("sh");
    verify.args(["-c", "ulimit -v 131072; exec \"$0\" \"$@\""]).arg(cargo_bin!("verify"));
    verify.current_dir(bench.path("")).env("UPSWAP_ROOT", bench.dir.path().join("host"));
    let output = verify.args(["--sums", "SHA256SUMS", "large"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// tests/sigstore has those of a verify that was built with it.
#[cfg(not(feature = "sigstore"))]
#[test]
fn a_verify_without_sigstore_says_how_to_get_one_and_proves_nothing_by_it() {
    let bench = Bench::new();
    bench.listed("f", b"text");
    for option in ["--sigstore=gh:o/r", "--sigstore-issuer=x", "--sigstore-source=gh:o/r", "--sigstore-root=x"] {
        let (code, stdout, stderr) = bench.run(&["--check", option, "f"]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{option}");
        assert!(stderr.contains("built without Sigstore: build it with --features sigstore"), "{stderr}");
    }
    let help = String::from_utf8(bench.verify().arg("--help").output().unwrap().stdout).unwrap();
    assert!(!help.to_lowercase().contains("sigstore"), "an option that does nothing is in --help:\n{help}");
}

/// Whoever can write to a folder above the store can put another store in its place.
#[test]
fn a_store_that_others_could_replace_takes_nothing() {
    let bench = Bench::new();
    bench.listed("f", b"#!/bin/sh\n");
    let cache = bench.dir.path().join("host/var/cache");
    fs::create_dir_all(&cache).unwrap();
    fs::set_permissions(&cache, PermissionsExt::from_mode(0o777)).unwrap();
    let (code, stdout, stderr) = bench.run(&["f"]);
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    assert!(stderr.contains("everybody can write to the folder DIR/host/var/cache"), "{stderr}");
    fs::set_permissions(&cache, PermissionsExt::from_mode(0o1777)).unwrap();
    assert_eq!(bench.run(&["f"]).0, 0);
}
