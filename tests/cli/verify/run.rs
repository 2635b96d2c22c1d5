//! `--run`: what the new program may do before it is stored, and what its answers decide.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Child;

use super::*;
use crate::host::needs_root;

/// A user whom this machine does not have, and who has a service here.
const SERVICE: u32 = 61_234;

/// A service with data, a socket, a port and a process, as a new program of it may find them.
struct Service {
    data: tempfile::TempDir,
    _socket: UnixListener,
    port: TcpListener,
    process: Child,
}

impl Service {
    fn new() -> Self {
        needs_root();
        // Not below /tmp, of which a cell has its own.
        let data = tempfile::tempdir_in("/var/lib").unwrap();
        let socket = UnixListener::bind(data.path().join("socket")).unwrap();
        fs::write(data.path().join("config"), "port = 1\n").unwrap();
        for name in ["", "socket", "config"] {
            std::os::unix::fs::chown(data.path().join(name), Some(SERVICE), Some(SERVICE)).unwrap();
        }
        let process = Program::new("sleep").arg("600").uid(SERVICE).gid(SERVICE).spawn().unwrap();
        Self { data, _socket: socket, port: TcpListener::bind("127.0.0.1:0").unwrap(), process }
    }

    /// A program that tries what it must not, and prints what it could.
    fn probe(&self) -> String {
        let data = self.data.path().display();
        format!(
            r#"#!/bin/bash
could() {{ what=$1; shift; if "$@" 2>/dev/null; then echo "$what yes"; else echo "$what no"; fi; }}
port() {{ (exec 3<>/dev/tcp/127.0.0.1/{port}) }}
write() {{ (echo x >"$1") }}
could read grep -q port {data}/config
could write write {data}/new
could tmp write /var/tmp/upswap-probe-{pid}
could socket test -S {data}/socket
could signal kill -0 {pid}
could see test -e /proc/{pid}
could port port
could lock test -e /proc/self/fd/7
could disk test -e /dev/pts
could last grep -qx 1000 /proc/self/oom_score_adj
grep -E '^(CapPrm|CapBnd|NoNewPrivs)' /proc/self/status | tr '\t' ' '
"#,
            port = self.port.local_addr().unwrap().port(),
            pid = self.process.id(),
        )
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(format!("/var/tmp/upswap-probe-{}", self.process.id()));
    }
}

/// What verify answered, its runs being good.
fn printed(bench: &Bench, arguments: &[&str]) -> String {
    // A lock that the caller left open, as a guard does.
    let verify = bench.verify();
    let mut shell = Program::new("sh");
    shell.args(["-c", r#"exec 7>lock; exec "$@""#, "sh"]).arg(verify.get_program());
    shell.current_dir(bench.path("")).env("UPSWAP_ROOT", bench.dir.path().join("host"));
    let output = shell.args(["--sums", "SHA256SUMS"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the probe of `service` found; its lines are one, as the first line is in the answer.
fn findings(service: &Service, options: &[&str]) -> String {
    let bench = Bench::new();
    let probe = service.probe();
    let (first, rest) = probe.split_once('\n').unwrap();
    let all = format!("{first}\nall() {{\n{rest}}}\nall | tr '\\n' ';'\n");
    bench.listed("probe", all.as_bytes());
    let user = SERVICE.to_string();
    let mut arguments = vec!["--json", "-q", "--run", "", "--run-as", &user];
    arguments.extend(options);
    arguments.push("probe");
    let answer: serde_json::Value = serde_json::from_str(&printed(&bench, &arguments)).unwrap();
    let line = answer["files"][0]["stored"][0]["ran"][0]["line"].as_str().unwrap().to_owned();
    line.replace(';', "\n")
}

#[test]
fn a_program_in_its_cell_reads_the_service_s_files_and_reaches_nothing_else() {
    let service = Service::new();
    insta::assert_snapshot!(findings(&service, &[]), @r"
    read yes
    write no
    tmp yes
    socket no
    signal no
    see no
    port no
    lock no
    disk no
    last yes
    CapPrm: 0000000000000000
    CapBnd: 0000000000000000
    NoNewPrivs: 1
    ");
    assert!(!service.data.path().join("new").exists());
    assert!(!Path::new(&format!("/var/tmp/upswap-probe-{}", service.process.id())).exists(), "its own /var/tmp");
}

/// The canary: without the cell the same program finds every one of them, so the test above can fail.
#[test]
fn without_a_cell_the_same_program_reaches_all_of_it() {
    let service = Service::new();
    let found = findings(&service, &["--run-unconfined"]);
    for leak in ["write yes", "tmp yes", "socket yes", "signal yes", "see yes", "port yes", "disk yes"] {
        assert!(found.contains(leak), "{leak}: {found}");
    }
    // These two hold without namespaces too.
    assert!(found.contains("CapPrm: 0000000000000000") && found.contains("NoNewPrivs: 1"), "{found}");
    assert!(service.data.path().join("new").exists());
    // What the caller left open is closed in either case; started by anything else it would be there.
    let bench = Bench::new();
    bench.file("probe", service.probe());
    let mut shell = Program::new("sh");
    let output = shell.args(["-c", "exec 7>lock; exec bash probe"]).current_dir(bench.path("")).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("lock yes"), "{output:?}");
}

#[test]
fn as_root_it_still_can_change_nothing() {
    needs_root();
    let bench = Bench::new();
    let probe = "#!/bin/bash\nfor f in /etc/upswap-probe /proc/sys/kernel/domainname /run/x /dev/x /proc/sysrq-trigger; do (echo >$f) 2>/dev/null && echo \"wrote $f\"; done; ls /dev/[hsv]d* 2>/dev/null; mount -t tmpfs x /mnt 2>/dev/null && echo mounted; echo end $(id -u) $(ls -d /proc/[0-9]* | wc -l)\n";
    bench.listed("probe", probe.as_bytes());
    let answer: serde_json::Value =
        serde_json::from_str(&printed(&bench, &["--json", "-q", "--run", "", "--run-as", "root", "probe"])).unwrap();
    let line = answer["files"][0]["stored"][0]["ran"][0]["line"].as_str().unwrap().to_owned();
    assert!(line.starts_with("end 0 "), "{line}");
    assert!(line["end 0 ".len()..].parse::<u32>().unwrap() < 10, "{line}");
}

#[test]
fn what_its_runs_decide() {
    let bench = Bench::new();
    let text = r#"#!/bin/sh
case $1 in
--version) echo "rune version v1.2.3 (abc)";;
config) [ "$3" = '/etc/a b' ] || { echo "no such file: $3" >&2; exit 4; };;
fail) echo; echo "line 3: unknown key 'prot'" >&2; echo more >&2; exit 1;;
crash) kill -SEGV $$;;
silent) exit 9;;
hang) setsid sleep 600 & sleep 600;;
flood) yes;;
*) cat; echo "$0|$*|$HOME|$(pwd)|$(umask)|$PATH" ;;
esac
"#;
    bench.listed("rune", text.as_bytes());
    let mut table = String::new();
    for arguments in [
        &["--run", "--version"][..],
        &["--run", "--version", "--expect-version", "1.2.3+b7"],
        &["--run", "--version", "--expect-version", "v1.2.3-20241213-152430-a1b2c3d4"],
        &["--run", "--version", "--expect-version", "v1.2.4"],
        &["--run", "--version", "--expect-version", "v1.2.3-rc.1"],
        &["--run", "x y", "--expect-version", "v1.2.3"],
        &["--run", "config check '/etc/a b'", "--run", "--version", "--expect-version", "v1.2.3"],
        &["--run", "config check /etc/x"],
        &["--run", "rune: fail"],
        &["--run", "--version", "--run", "crash"],
        &["--run", "silent"],
        &["--run", "hang", "--run-timeout", "500ms"],
        &["--run", "flood"],
        &["--run", "runed: --version"],
        &["--run", "--version", "--run-as", "no such user"],
    ] {
        let bench_arguments: Vec<&str> = arguments.iter().copied().chain(["rune"]).collect();
        let (code, stdout, stderr) = bench.run(&[&["-q"], bench_arguments.as_slice()].concat());
        let stored = !bench.store().is_empty();
        assert_eq!((code == 0, !stdout.is_empty()), (stored, stored), "{arguments:?}");
        let _ = fs::remove_dir_all(bench.dir.path().join("host/var/cache/upswap/store"));
        writeln!(table, "{}: {code} {}", arguments.join(" "), stderr.trim_end()).unwrap();
    }
    insta::assert_snapshot!(table);
    let answer = printed(&bench, &["--json", "-q", "--run", "", "rune"]);
    assert!(answer.contains("/run/upswap/rune||/|/|0022|/usr/sbin:/usr/bin:/sbin:/bin"), "{answer}");
}

#[test]
fn the_version_in_the_record_is_compared_too() {
    let bench = Bench::new();
    let file = bench.listed("rune", b"#!/bin/sh\necho rune 1.2.3\n");
    let run = |version: &str, arguments: &[&str]| {
        let digest = sha256(&file);
        let record = format!(
            r#"{{"schema":1,"source":"gh:o/r@latest","version":"{version}","asset":"rune","digest":"{digest}","time":7}}"#
        );
        bench.file("rune.origin.json", record);
        let (code, _, stderr) = bench.run(&[arguments, &["rune"]].concat());
        (code, stderr.lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(run("v1.2.3", &["--run", "--version"]).0, 0);
    let (code, said) = run("v1.2.4", &["--run", "--version"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(said, @"verify: rune --version: prints 1.2.3, v1.2.4 is wanted (the record of gh:o/r@latest)");
    assert_eq!(run("v1.2.4", &["--run", "config"]).0, 0, "nobody asked for the version");
    let (code, said) = run("v1.2.4", &["--run", "--version", "--expect-version", "1.2.3"]);
    assert_eq!(code, 1, "what was fetched as another version is not the one that is expected");
    insta::assert_snapshot!(said, @"verify: rune: was fetched as version v1.2.4, and 1.2.3 is wanted");
    let (code, said) = run("nightly", &["--run", "--version"]);
    assert_eq!((code, said.contains("not compared with nightly")), (0, true), "{said}");
}

#[test]
fn of_several_programs_it_must_be_said_which() {
    let bench = Bench::new();
    let script = |name: &str| format!("#!/bin/sh\necho {name} $1\n").into_bytes();
    let (rune, runed) = (script("rune"), script("runed"));
    let members: &[(&str, &[u8])] = &[("rune", &rune), ("runed", &runed), ("rune.conf", b"[x]\n")];
    bench.listed("rune.tar.gz", &archives::gz(&archives::tar(members)));
    let run =
        |call: &str| bench.run(&["-q", "--json", "--extract", "rune,runed,rune.conf", "--run", call, "rune.tar.gz"]);
    let (code, _, stderr) = run("--version");
    assert_eq!((code, bench.store().len()), (2, 0));
    insta::assert_snapshot!(stderr.trim_end(), @"verify: --run --version: which of rune, runed? Say it in front: --run 'rune: --version'");
    let (code, _, stderr) = run("rune.conf: --version");
    assert_eq!((code, bench.store().len()), (2, 0));
    insta::assert_snapshot!(stderr.trim_end(), @"verify: --run '--version': there is no program rune.conf among the files; rune, runed is");
    let (code, stdout, stderr) = run("runed: --version");
    assert_eq!((code, stdout.contains("runed --version")), (0, true), "{stdout}{stderr}");
    assert_eq!(run("'unfinished").0, 2);
    for arguments in [
        &["--run-as", "root"][..],
        &["--run-unconfined"],
        &["--run", "x", "--check"],
        &["--run", "x", "--target", "aarch64"],
        &["--run", "x", "--expect-version", "newest"],
        &["--run", "x", "--run-timeout", "infinity"],
    ] {
        assert_eq!(bench.run(&[arguments, &["rune.tar.gz"]].concat()).0, 2, "{arguments:?}");
    }
}

/// What hangs is gone with all it started, also what left its session.
#[test]
fn nothing_outlives_a_run() {
    let bench = Bench::new();
    let mark = format!("{}.77", 100_000 + std::process::id());
    bench.listed(
        "rune",
        format!("#!/bin/sh\nsetsid sleep {mark} >/dev/null 2>&1 & setsid sleep {mark} & sleep {mark}\n").as_bytes(),
    );
    let (code, _, stderr) = bench.run(&["-q", "--run", "", "--run-timeout", "1", "rune"]);
    assert_eq!(code, 1, "{stderr}");
    let alive = || {
        let lines = fs::read_dir("/proc").unwrap().filter_map(|e| fs::read(e.ok()?.path().join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).contains(&mark)).count()
    };
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while alive() > 0 {
        assert!(std::time::Instant::now() < patience, "a descendant outlived its namespace");
        std::thread::yield_now();
    }
}

/// The store on a file system that the kernel runs nothing from.
#[test]
fn a_store_that_is_mounted_noexec_runs_it_from_memory() {
    needs_root();
    for option in ["", "--run-unconfined"] {
        let bench = Bench::new();
        bench.listed("rune", &fs::read(PROGRAM).unwrap());
        let cache = bench.dir.path().join("host/var/cache/upswap");
        fs::create_dir_all(&cache).unwrap();
        let script = r#"mount -n -t tmpfs -o noexec x "$1"; shift
            path=$("$@") || exit; "$path" 2>/dev/null; echo "$?""#;
        let verify = bench.verify();
        let mut shell = Program::new("unshare");
        shell.args(["--mount", "sh", "-c", script, "sh"]).arg(&cache).arg(verify.get_program());
        shell.current_dir(bench.path("")).env("UPSWAP_ROOT", bench.dir.path().join("host"));
        shell
            .args(["-q", "--sums", "SHA256SUMS", "--run", ""])
            .args(Some(option).filter(|o| !o.is_empty()))
            .arg("rune");
        let output = shell.output().unwrap();
        // The last word is the canary's: from its place in the store it can't be run.
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim_end(), "126", "{option}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_host_that_gives_no_namespaces_runs_nothing_unless_told() {
    needs_root();
    let bench = Bench::new();
    let host = bench.dir.path().join("host");
    fs::remove_file(host.join("usr")).unwrap();
    fs::create_dir_all(host.join("usr/bin")).unwrap();
    for tool in ["setsid", "setpriv", "timeout"] {
        symlink(Path::new("/usr/bin").join(tool), host.join("usr/bin").join(tool)).unwrap();
    }
    let denied = "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n";
    crate::host::program(host.join("usr/bin/unshare"), denied);
    bench.listed("rune", b"#!/bin/sh\necho 1.2.3\n");
    let (code, stdout, stderr) = bench.run(&["-q", "--run", "--version", "rune"]);
    assert_eq!((code, stdout.as_str(), bench.store().len()), (3, "", 0));
    insta::assert_snapshot!(stderr.trim_end(), @"verify: rune: was not run, as it cannot be confined here: unshare: unshare failed: Operation not permitted; run verify as root, or accept that: --run-unconfined");
    let (code, _, stderr) = bench.run(&["--run", "--version", "--run-unconfined", "rune"]);
    assert_eq!((code, stderr.contains("ran without namespaces")), (0, true), "{stderr}");
}

/// Whoever shares root's terminal can type there.
#[test]
fn no_program_that_is_run_has_our_terminal() {
    let bench = Bench::new();
    bench.listed("rune", b"#!/bin/sh\n(: </dev/tty) 2>/dev/null && echo terminal || echo none\n");
    let terminal = |command: &str| {
        let mut script = Program::new("script");
        script.args(["-qec", command, "/dev/null"]).current_dir(bench.path("")).stdin(Stdio::null());
        let output = script.env("UPSWAP_ROOT", bench.dir.path().join("host")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(terminal("sh rune").contains("terminal"), "this test can fail");
    let verify = format!("{} -q --json --sums SHA256SUMS --run ''", cargo_bin("verify").display());
    for option in ["", "--run-unconfined"] {
        let said = terminal(&format!("{verify} {option} rune"));
        assert!(said.contains(r#""line":"none""#), "{option}: {said}");
    }
}

/// Who is not root gets a cell where the kernel gives user namespaces, and is refused where it does not.
#[test]
fn a_user_gets_a_cell_or_is_refused() {
    needs_root();
    let bench = Bench::new();
    bench.listed("rune", b"#!/bin/sh\n[ \"$(id -u)\" = 61234 ] && [ ! -e /dev/pts ] && echo 1.2.3\n");
    fs::copy(cargo_bin("verify"), bench.path("verify")).unwrap();
    fs::set_permissions(bench.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(bench.dir.path().join("host"), Some(SERVICE), Some(SERVICE)).unwrap();
    let user = |command: &mut Program| {
        let output = command.uid(SERVICE).gid(SERVICE).current_dir(bench.path("")).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (given, _) = user(Program::new("unshare").args(["--user", "--map-root-user", "true"]));
    let verify = |arguments: &[&str]| {
        let mut command = Program::new(bench.path("verify"));
        command.env("UPSWAP_ROOT", bench.dir.path().join("host"));
        user(command.args(["-q", "--sums", "SHA256SUMS", "--run", "--version"]).args(arguments).arg("rune"))
    };
    let (code, stderr) = verify(&[]);
    if given == Some(0) {
        assert_eq!(code, Some(0), "{stderr}");
    } else {
        assert_eq!((code, stderr.contains("--run-unconfined")), (Some(3), true), "{stderr}");
    }
    let (code, stderr) = verify(&["--run-as", "root"]);
    assert_eq!((code, stderr.contains("only root")), (Some(3), true), "{stderr}");
}
