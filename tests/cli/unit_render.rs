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
const ECHO: &str = "echo '[Service]'; for word in \"$@\"; do echo \"Word=$word\"; done";

#[test]
fn the_program_is_called_with_the_words_given() {
    let host = Host::new();
    host.script("runed", ECHO);
    let ran = host.render(["--", "./runed", "print-systemd", "--config", "/a b"]).success();
    assert_eq!(stdout(&ran), "[Service]\nWord=print-systemd\nWord=--config\nWord=/a b\n");
    let odd = host.path(OsStr::from_bytes(b"\xff"));
    fs::copy(host.path("runed"), &odd).unwrap();
    host.render([OsStr::new("--"), odd.as_os_str(), OsStr::from_bytes(b"\xfe")]).code(3);
    let ran = host.render([OsStr::new("--"), odd.as_os_str(), OsStr::new("x")]).success();
    assert_eq!(stdout(&ran), "[Service]\nWord=x\n");
    let ran = host.render(["--json", "--", "./runed", "print-systemd"]).success();
    let object: serde_json::Value = serde_json::from_str(&stdout(&ran)).unwrap();
    assert_eq!(object["unit"], "[Service]\nWord=print-systemd\n");
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
    insta::assert_snapshot!(said("echo '[core]'; echo A=1"), @"unit-render: ./runed print-systemd: gave no unit: it has none of systemd's sections");
    assert!(said("head -c 100000 /dev/urandom").lines().count() == 1);
    assert!(said("kill -9 $$").contains("killed by SIGKILL: it said nothing on standard error"));
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
fn a_program_that_does_not_end_is_killed_with_all_it_started() {
    let host = Host::new();
    for (text, waits) in [
        ("echo '[Unit]'; echo A=1; exec sleep 600", true),
        ("echo '[Unit]'; echo A=1; trap '' TERM HUP; while :; do sleep 1; done", true),
        // Who forks away is gone with its cell, though it holds standard output.
        ("echo '[Unit]'; echo A=1; setsid sleep 600 & exit 0", false),
        ("echo '[Unit]'; echo A=1; setsid sleep 600 >&- 2>&- & exit 0", false),
    ] {
        host.script("runed", text);
        let start = Instant::now();
        let ran = host.render(["--run-timeout", "1s", "--", "./runed", "print-systemd"]);
        assert!(start.elapsed().as_secs() < 60, "{text}: {:?}", start.elapsed());
        if waits {
            let ran = ran.code(3);
            assert_eq!(stderr(&ran), "unit-render: ./runed: did not end within 1s and was killed\n", "{text}");
            assert_eq!(stdout(&ran), "");
        } else {
            assert_eq!(stdout(&ran.success()), "[Unit]\nA=1\n");
        }
    }
}

#[test]
fn what_systemd_would_take_comes_out_to_the_byte() {
    let host = Host::new();
    for text in
        ["\\357\\273\\277[Unit]\\r\\nA=1\\r\\n", "# c\\n\\n[Unit]\\nA=1\\\\\\n  2", "[X-Y]\\nB=1\\n[Unit]\\nA= 1 \\n"]
    {
        host.script("runed", &format!("printf '{text}'"));
        let expected = Command::new("printf").arg(text).output().unwrap().stdout;
        assert_eq!(host.render(["--", "./runed", "print-systemd"]).success().get_output().stdout, expected);
    }
}

#[test]
fn a_wrapper_and_a_dynamic_user_say_nothing_certain() {
    let words = |properties: &str, command: &str| {
        let host = Host::new().with_unit(properties, &format!("[Service]\nDynamicUser=x\nExecStart={command}\n"));
        host.script("runed", ECHO);
        let ran = host.render(["--like", "runed", "--", "./runed", "p"]).success();
        let words =
            stdout(&ran).lines().skip(2).map(|line| line.trim_start_matches("Word=").to_owned()).collect::<Vec<_>>();
        (words.join(" "), stderr(&ran))
    };
    for command in [
        "/usr/bin/env RUST_LOG=info /usr/local/bin/runed --config /etc/rune.yaml",
        "/bin/sh -c 'exec /usr/local/bin/runed --config /etc/rune.yaml'",
        "/usr/bin/nice -n 5 /usr/local/bin/runed --config /etc/rune.yaml",
        "/opt/launch /usr/local/bin/runed --config /etc/rune.yaml",
    ] {
        let (words, said) = words("User=rune\nGroup=rune", command);
        assert_eq!(words, "--user rune --group rune", "{command}");
        assert!(said.contains("so --binary and --config are not taken from it"), "{said}");
    }
    // systemd shows the name that it would give to a dynamic user.
    let (words, said) = words("User=runed\nGroup=runed\nDynamicUser=yes", "/usr/local/bin/runed --config /c");
    assert_eq!((words.as_str(), said.as_str()), ("--binary /usr/local/bin/runed --config /c", ""));
}

#[test]
fn a_unit_that_names_the_place_it_was_printed_from_is_refused() {
    let host = Host::new();
    host.script("runed", "printf '[Service]\\nExecStart=%s run\\n' \"$0\"");
    for options in [&[][..], &["--run-unconfined"]] {
        let ran = host.render([options, &["--", "./runed", "print-systemd"]].concat());
        if options.is_empty() {
            let ran = ran.code(3);
            let said = "unit-render: ./runed print-systemd: its unit names /run/upswap/runed, the place where it was only run to \
                 print it; tell it with --binary PATH\n";
            assert_eq!((stderr(&ran).as_str(), stdout(&ran).as_str()), (said, ""));
        } else {
            // A script is opened by its interpreter, which has no better name for it.
            assert!(stdout(&ran.success()).contains("/proc/self/fd/9"));
        }
    }
}

#[test]
fn a_builtin_unit_is_printed_or_refused_by_its_flag() {
    let host = Host::new();
    let service =
        ["--builtin", "service", "--binary", "/usr/local/bin/runed", "--user", "rune", "--config", "/etc/rune.yaml"];
    let more = ["--ambient", "CAP_NET_BIND_SERVICE,CAP_SYS_NICE", "--", "--motd", "100% $HOME \"x\""];
    insta::assert_snapshot!(
        "unit_render_builtin_service",
        stdout(&host.render([&service[..], &more].concat()).success())
    );
    let socket =
        ["--builtin", "socket", "--name", "runed.socket", "--listen", "127.0.0.1:80", "--listen", "/run/runed.sock"];
    insta::assert_snapshot!(
        "unit_render_builtin_socket",
        stdout(&host.render([&socket[..], &["--user", "rune"]].concat()).success())
    );
    let timer = ["--builtin", "timer", "--name", "runed", "--calendar", "Mon 03:00"];
    insta::assert_snapshot!("unit_render_builtin_timer", stdout(&host.render(timer).success()));
    for (arguments, expected) in [
        (&["--builtin", "mount"][..], "one of service, socket and timer is needed"),
        (&["--builtin", "service"], "--builtin service: --binary is needed"),
        (&["--builtin", "service", "--binary", "runed"], "--binary 'runed': the absolute path of a program is needed"),
        (&["--builtin", "service", "--binary", "/b/d", "--ambient", "NET"], "--ambient 'NET': is not a capability"),
        (
            &["--builtin", "service", "--binary", "/b/d", "--description", "x\nExecStartPre=/evil"],
            "has a control character",
        ),
        (
            &["--builtin", "timer", "--name", "d", "--calendar", "daily", "--", "x"],
            "--builtin timer: has no place for words after --",
        ),
        (&["--builtin", "timer", "--like", "x"], "cannot be used with"),
        (&["--user", "x", "--", "./runed", "p"], "--user: belongs to a built-in unit"),
        (&["--ambient", "CAP_KILL", "--template", "in"], "--ambient: belongs to a built-in unit"),
    ] {
        let ran = host.render(arguments).code(2);
        assert_eq!((stdout(&ran).as_str(), stderr(&ran).lines().count()), ("", 1), "{}", stderr(&ran));
        assert!(stderr(&ran).contains(expected), "{}", stderr(&ran));
    }
}

/// What the stub of systemd-analyze says depends on the text, as the real one's does; the real one is asked in tests/system.
#[test]
fn what_systemd_says_is_the_answer_of_a_check() {
    let host = Host::new();
    host.file("d.service.in", "[Service]\nExecStart=/bin/d\n");
    let check = ["--check", "--template", "d.service.in"];
    let ran = host.render(check).code(3);
    assert!(stderr(&ran).contains("systemd-analyze: not found"), "{}", stderr(&ran));
    let analyze = |text: &str| host.script("usr/bin/systemd-analyze", &format!("for last; do :; done; {text}"));
    analyze("test \"$1\" = verify && test -f \"$last\" && test \"${last##*/}\" = d.service");
    assert_eq!(stdout(&host.render(check).success()), "[Service]\nExecStart=/bin/d\n");
    let ran = host.render([&["--json"][..], &check].concat()).success();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout(&ran)).unwrap()["checked"], true);
    // Said, with status 0: as systemd does for a key that it doesn't know.
    analyze("grep -q /bin/d \"$last\" && echo \"$last:2: Unknown key\" >&2; echo 'of the host' >&2");
    let ran = host.render(check).code(1);
    assert_eq!(stdout(&ran), "");
    assert_eq!(stderr(&ran), "unit-render: d.service: systemd-analyze verify: d.service:2: Unknown key\n");
    analyze(
        "grep -q /bin/d \"$last\" && echo \"$last:2: Unknown key\" >&2; echo \"$last: two\" >&2; grep -vq /bin/d \"$last\" || exit 1",
    );
    // What it says of any unit here is not of this one.
    analyze("echo 'of the host' >&2");
    host.render(check).success();
    // A status alone is a fault too, and one of any unit is the host's.
    analyze("! grep -q /bin/d \"$last\"");
    let ran = host.render(check).code(1);
    assert!(stderr(&ran).contains("refuses it and does not say why"), "{}", stderr(&ran));
    analyze("echo 'no manager' >&2; exit 1");
    let ran = host.render(check).code(3);
    assert!(stderr(&ran).contains("systemd-analyze verify does not work here: no manager"), "{}", stderr(&ran));
    analyze("kill -9 $$");
    host.render(check).code(3);
    // Without a name there is nothing to ask about.
    let ran = assert_cmd::Command::from_std(host.raw())
        .args(["--check", "--template", "-"])
        .write_stdin("[Socket]\nListenStream=80\n")
        .assert()
        .code(2);
    assert!(stderr(&ran).contains("say it with --name"), "{}", stderr(&ran));
    analyze("test \"${last##*/}\" = d.socket && test -f \"${last%/*}/d.service\"");
    assert_cmd::Command::from_std(host.raw())
        .args(["--check", "--name", "d", "--template", "-"])
        .write_stdin("[Socket]\nListenStream=80\n")
        .assert()
        .success();
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
        &["--like", "-", "--", "./runed"],
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
