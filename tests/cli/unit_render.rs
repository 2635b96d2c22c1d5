//! unit-render: from a program that runs confined, like a unit, and from templates.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use assert_cmd::assert::Assert;
use fs_err as fs;

use crate::host::program;

/// A host with a stub systemctl, the real programs that confine, and a folder that everybody may read.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        for tool in ["setsid", "unshare", "setpriv", "timeout"] {
            let real = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool)).into_iter().find(|p| p.exists());
            symlink(real.unwrap_or_else(|| panic!("{tool} is needed")), root.path().join("usr/bin").join(tool))
                .unwrap();
        }
        Self(root)
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn script(&self, name: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.path(name);
        program(&path, format!("#!/bin/sh\n{text}\n"));
        path
    }

    /// Systemd knows one unit: `runed.service`, with these properties besides its fragment, and this text.
    fn with_unit(self, properties: &str, text: &str) -> Self {
        self.file("runed.service", text);
        let show = format!("LoadState=loaded\nFragmentPath=/runed.service\nDropInPaths=\n{properties}");
        self.script("usr/bin/systemctl", &format!("cat <<'END'\n{show}\nEND"));
        self
    }

    fn raw(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("unit-render"));
        command.current_dir(self.0.path()).env("UPSWAP_ROOT", self.0.path());
        command
    }

    fn render<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Assert {
        assert_cmd::Command::from_std(self.raw()).args(arguments).assert()
    }
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// A program that prints a unit in which each of its words is one assignment.
const ECHO: &str = "echo '[Unit]'; for word in \"$@\"; do echo \"Word=$word\"; done";

#[test]
fn the_program_is_called_with_the_words_given() {
    let host = Host::new();
    host.script("runed", ECHO);
    let ran = host.render(["--", "./runed", "print-systemd", "--config", "/a b"]).success();
    assert_eq!(stdout(&ran), "[Unit]\nWord=print-systemd\nWord=--config\nWord=/a b\n");
    let ran = host.render(["--json", "--", "./runed", "print-systemd"]).success();
    let object: serde_json::Value = serde_json::from_str(&stdout(&ran)).unwrap();
    assert_eq!(object["unit"], "[Unit]\nWord=print-systemd\n");
    assert_eq!(object["from"]["command"], serde_json::json!(["./runed", "print-systemd"]));
}

#[test]
fn like_fills_what_the_loaded_unit_says() {
    let words = |properties: &str, unit: &str, more: &[&str]| {
        let host = Host::new().with_unit(properties, unit);
        host.script("runed", ECHO);
        let ran = host.render([&["--like", "runed", "--", "./runed", "print-systemd"], more].concat()).success();
        stdout(&ran)
            .lines()
            .skip(2)
            .map(|line| line.trim_start_matches("Word=").to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let unit = "[Service]\nUser=%i\nExecStart=-/opt/rune/bin/runed --log x \\\n  --config=\"/etc/my rune.yaml\"\n";
    let rune = "User=rune\nGroup=runes";
    let binary_and_config = "--binary /opt/rune/bin/runed --config /etc/my rune.yaml";
    assert_eq!(words(rune, unit, &[]), format!("--user rune --group runes {binary_and_config}"));
    assert_eq!(words("User=rune\nGroup=", unit, &[]), format!("--user rune {binary_and_config}"));
    // No User= is root, whatever the program's own default is; only DynamicUser= is nobody we could name.
    assert_eq!(words("User=\nGroup=", unit, &[]), format!("--user root --group root {binary_and_config}"));
    assert_eq!(words("User=\nGroup=\nDynamicUser=yes", unit, &[]), binary_and_config);
    assert_eq!(
        words(rune, unit, &["--config", "/b", "--user=x"]),
        "--config /b --user=x --group runes --binary /opt/rune/bin/runed"
    );
    for unknown in ["/bin/$X --config $Y", "%h/runed --config %E/x", "runed --config ${Y}/z", "runed", "a ; /b"] {
        let words = words(rune, &format!("[Service]\nExecStart={unknown}\n"), &[]);
        let expected = if unknown.starts_with("/bin/$X") { " --binary /bin/$X" } else { "" };
        assert_eq!(words, format!("--user rune --group runes{expected}"), "{unknown}");
    }
    let host = Host::new().with_unit("", "[Timer]\nOnCalendar=daily\n");
    let ran = host.render(["--like", "runed", "--", "/bin/echo", "x"]).code(3);
    assert!(stderr(&ran).contains("runed.service: has no [Service] section"), "{}", stderr(&ran));
}

#[test]
fn root_runs_the_program_as_nobody_without_network() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "only root can run this test, and without it nothing shows the confinement"
    );
    let host = Host::new();
    host.script("runed", "echo '[Unit]'; echo \"Uid=$(id -u)\"; echo \"Links=$(grep -c : /proc/self/net/dev)\"; grep NoNewPrivs /proc/self/status | sed 's/:./=/' ; echo x > /x && echo Wrote=1; exit 0");
    let ran = host.render(["--", "./runed", "print-systemd"]).success();
    assert_eq!(stdout(&ran), "[Unit]\nUid=65534\nLinks=1\nNoNewPrivs=1\n");
}

#[test]
fn what_is_no_unit_or_fails_gives_nothing() {
    let host = Host::new();
    let said = |text: &str| {
        host.script("runed", text);
        let ran = host.render(["--", "./runed", "print-systemd"]).code(3);
        assert_eq!(stdout(&ran), "");
        assert_eq!(stderr(&ran).lines().count(), 1, "{}", stderr(&ran));
        stderr(&ran)
    };
    insta::assert_snapshot!(said("true"), @"unit-render: ./runed print-systemd: gave no unit: it is empty");
    insta::assert_snapshot!(said("echo usage: runed"), @"unit-render: ./runed print-systemd: gave no unit: it has no [Section]");
    insta::assert_snapshot!(said("echo '[Unit]'"), @"unit-render: ./runed print-systemd: gave no unit: it sets nothing");
    insta::assert_snapshot!(said("echo '[Unit'"), @"unit-render: ./runed print-systemd: line 1: invalid section header '[Unit'; systemd refuses the whole file");
    insta::assert_snapshot!(said("printf '[Unit]\\nA=1\\0\\n'"), @"unit-render: ./runed print-systemd: gave no unit: it holds a NUL");
    insta::assert_snapshot!(said("printf '[Unit]\\nA=\\377\\n'"), @"unit-render: ./runed print-systemd: line 2: not UTF-8; systemd refuses the whole file");
    insta::assert_snapshot!(said("echo '[Unit]'; echo A=1; echo one >&2; printf 'bad \\033[2J flag\\n' >&2; exit 7"), @r"unit-render: ./runed print-systemd: exit status: 7: bad \u{1b}[2J flag");
    assert!(said("while :; do echo '[Unit]'; done").contains("wrote more than 1048576 bytes and was killed"));
    fs::set_permissions(host.path("runed"), PermissionsExt::from_mode(0o600)).unwrap();
    let ran = host.render(["--", "./runed", "print-systemd"]).code(3);
    assert!(stderr(&ran).contains("./runed: is not executable; chmod +x makes it so"), "{}", stderr(&ran));
    let ran = host.render(["--", "./absent", "print-systemd"]).code(3);
    assert!(stderr(&ran).contains("./absent: not found"), "{}", stderr(&ran));
}

#[test]
fn a_program_that_hangs_is_killed_after_its_ten_seconds() {
    let host = Host::new();
    host.script("runed", "echo '[Unit]'; exec sleep 600");
    let start = Instant::now();
    let ran = host.render(["--", "./runed", "print-systemd"]).code(3);
    assert!(stderr(&ran).contains("did not end within 10s and was killed"), "{}", stderr(&ran));
    assert!((10..60).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[test]
fn a_host_that_cannot_confine_runs_nothing() {
    let host = Host::new();
    let mark = host.path("ran");
    host.script("runed", &format!("touch {}", mark.display()));
    let tool = "unshare";
    let path = host.path("usr/bin").join(tool);
    fs::remove_file(&path).unwrap();
    host.script(&path, &format!("echo '{tool}: failed: Operation not permitted' >&2; exit 1"));
    let ran = host.render(["--", "./runed", "print-systemd"]).code(3);
    let said = format!(
        "unit-render: ./runed: was not run, as it cannot be confined here: {tool}: failed: Operation not permitted; run \
         unit-render as root, or accept that: --run-unconfined\n"
    );
    assert_eq!(stderr(&ran), said);
    fs::remove_file(&path).unwrap();
    let ran = host.render(["--", "./runed", "print-systemd"]).code(3);
    assert!(stderr(&ran).contains(&format!("{tool}: not found")), "{}", stderr(&ran));
    assert!(!mark.exists());
}

#[test]
fn a_template_is_filled() {
    let host = Host::new();
    host.file("in", "[Service]\nUser={{USER}}\nExecStart={{ BIN }} --as={{USER}}\n");
    let ran = host.render(["--template", "in", "--set", "USER=rune", "--set", "BIN=/bin/runed"]).success();
    assert_eq!(stdout(&ran), "[Service]\nUser=rune\nExecStart=/bin/runed --as=rune\n");
    let ran = assert_cmd::Command::from_std(host.raw())
        .args(["--template", "-"])
        .write_stdin("[Unit]\r\nA=1")
        .assert()
        .success();
    assert_eq!(stdout(&ran), "[Unit]\r\nA=1");
    let name = OsStr::from_bytes(b"\xff");
    host.file(name, "[Unit]\nA=1\n");
    host.render([OsStr::new("--template"), name]).success();
}

#[test]
fn a_wrong_value_or_command_line_is_exit_2_and_no_output() {
    let host = Host::new();
    host.file("in", "[Service]\nUser={{USER}}\nExecStart=/bin/d {{ARG}}\n");
    let said = |arguments: &[&str]| {
        let ran = host.render(arguments).code(2);
        assert_eq!((stdout(&ran).as_str(), stderr(&ran).lines().count()), ("", 1), "{}", stderr(&ran));
        stderr(&ran)
    };
    let set = |text: &str| said(&["--template", "in", "--set", "USER=u", "--set", text]);
    insta::assert_snapshot!(set("OTHER=x"), @"unit-render: in: line 3: no value for {{ARG}}; give it with --set ARG=VALUE");
    insta::assert_snapshot!(set("ARG=a\nExecStartPre=/evil"), @r"unit-render: invalid value 'ARG=a ExecStartPre=/evil' for '--set <NAME=VALUE>': the value of ARG has a control character, which could begin a line of its own; see unit-render --help");
    insta::assert_snapshot!(set("ARG=%h"), @"unit-render: invalid value 'ARG=%h' for '--set <NAME=VALUE>': the value of ARG has a '%', which begins a specifier; write '%%' for the character itself; see unit-render --help");
    insta::assert_snapshot!(set("ARG="), @"unit-render: invalid value 'ARG=' for '--set <NAME=VALUE>': the value of ARG is empty, which would reset the key it stands in; see unit-render --help");
    insta::assert_snapshot!(set("ARG=a b"), @"unit-render: in: line 3: the value of ARG would not stay one word there (ExecStart=); quotes and separate words belong into the template");
    insta::assert_snapshot!(set("ARG=$HOME"), @"unit-render: in: line 3: the value of ARG has a '$', which begins a variable in ExecStart=; write '$$' for the character itself");
    insta::assert_snapshot!(said(&["--template", "in", "--set", "USER=u", "--set", "ARG=a", "--set", "B=c"]), @"unit-render: in: --set B: the template has no {{B}}");
    for wrong in [
        &["--", "./runed"][..],
        &[],
        &["--template", "in", "--", "a", "b"],
        &["--set", "A=1", "--", "a", "b"],
        &["--like", "x"],
    ] {
        said(wrong);
    }
    host.render(["--template", "absent"]).code(3);
}

#[test]
fn a_stdout_that_fails_is_exit_3_and_no_panic() {
    let host = Host::new();
    host.file("in", "[Unit]\nA=1\n");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for out in [Stdio::from(full.into_parts().0), writer.into()] {
        let ran = host.raw().args(["--template", "in"]).stdout(out).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(ran.status.code(), Some(3));
        assert!(!String::from_utf8(ran.stderr).unwrap().contains("panic"));
    }
}

/// Whoever shares root's terminal can type there.
#[test]
fn the_program_has_not_our_terminal() {
    let host = Host::new();
    let unit = "echo '[Unit]'; (: </dev/tty) 2>/dev/null && echo Word=terminal || echo Word=none";
    let rune = host.script("rune", unit);
    let terminal = |command: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", command, "/dev/null"]).env("UPSWAP_ROOT", host.0.path()).stdin(Stdio::null());
        String::from_utf8_lossy(&script.output().unwrap().stdout).into_owned()
    };
    let rune = rune.display();
    assert!(terminal(&format!("{rune}")).contains("Word=terminal"), "this test can fail");
    let render = format!("{} -- {rune} print-systemd", assert_cmd::cargo::cargo_bin!("unit-render").display());
    let said = terminal(&render);
    assert!(said.contains("Word=none"), "{said}");
}
