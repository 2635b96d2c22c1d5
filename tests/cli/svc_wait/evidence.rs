//! What the main process runs, whether it runs at all, and what is left of the run before.

use std::os::unix::net::UnixListener;

use super::*;

/// What a test's COMMAND leaves when it ran.
fn judged(host: &Host, more: &[&str]) -> (Answer, bool) {
    let ran = host.path("ran");
    let answer = host.run(&[&with(more)[..], &["--", "touch", ran.to_str().unwrap()]].concat());
    let did = ran.exists();
    let _ = fs::remove_file(ran);
    (answer, did)
}

/// Waits until the kernel's clock of process starts, which has ticks of 10 ms, has gone on.
fn next_tick() {
    let uptime = || fs::read_to_string("/proc/uptime").unwrap();
    for _ in 0..2 {
        let now = uptime();
        while uptime() == now {
            thread::yield_now();
        }
    }
}

#[test]
fn a_command_without_a_slash_is_found_where_systemd_looks() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600").to_string();
    let bare = "{ path=runed ; argv[]=runed ; ignore_errors=no ; }";
    host.says(1, "healthy", &[("MainPID", &pid), ("ExecStart", bare)]);
    assert_eq!(host.run(&QUICK).code, 0);
    // Nearer than /usr/local/bin; what nobody may execute is passed over.
    fs::create_dir_all(host.path("usr/local/sbin")).unwrap();
    fs::write(host.path("usr/local/sbin/runed"), "").unwrap();
    assert_eq!(host.run(&QUICK).code, 0);
    program(host.path("usr/local/sbin/runed"), fs::read("/bin/true").unwrap());
    let answer = host.run(&QUICK);
    assert!(answer.stderr.starts_with("svc-wait: runed.service: wrong-binary: "), "{answer:?}");
    let searched = state("healthy", &[("MainPID", &pid), ("ExecStart", bare)]) + "\nExecSearchPath=/opt /usr/local/bin";
    fs::write(host.path("states/1"), searched).unwrap();
    assert_eq!(host.run(&QUICK).code, 0);
}

#[test]
fn a_wrapper_that_names_what_runs_is_refused_before_command_runs() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600").to_string();
    fs::copy("/bin/true", host.path("usr/bin/env")).unwrap();
    let runs = host.path(RUNED);
    for word in [runs.to_str().unwrap(), "runed"] {
        let wrapped = format!("{{ path=/usr/bin/env ; argv[]=/usr/bin/env A=1 {word} -x ; ignore_errors=no ; }}");
        host.says(1, "healthy", &[("MainPID", &pid), ("ExecStart", &wrapped)]);
        // Also when it was swapped already.
        host.install();
        let (answer, ran) = judged(&host, &[]);
        let advice = format!("executes {0}; say --exe {0}, or --exe any (nothing was run)", runs.display());
        assert!(answer.stderr.starts_with("svc-wait: runed.service: not-provable: "), "{answer:?}");
        assert!(answer.stderr.contains(&advice) && !ran, "{answer:?}");
        let (answer, ran) = judged(&host, &["--exe", "any"]);
        assert!(answer.code == 0 && ran, "{answer:?}");
    }
    // An argument that only looks like it: the file of ExecStart= itself was moved aside.
    let moved = format!("{{ path={RUNED} ; argv[]={RUNED} --again runed ; ignore_errors=no ; }}");
    host.says(1, "healthy", &[("MainPID", &pid), ("ExecStart", &moved)]);
    assert!(judged(&host, &[]).1);
}

#[test]
fn a_service_without_a_main_process_is_refused_before_command_runs() {
    let mut host = Host::new();
    host.install();
    host.start("600");
    host.says(1, "healthy", &[("MainPID", "0"), ("Type", "forking")]);
    let (answer, ran) = judged(&host, &[]);
    assert!(
        answer.stderr.contains("not-provable: systemd knows no main process of the unit (MainPID=0)"),
        "{answer:?}"
    );
    assert!(answer.code == 1 && !ran, "{answer:?}");
    assert_eq!(judged(&host, &["--exe", "any"]).0.code, 0);
}

#[test]
fn what_is_suspended_is_not_healthy_until_it_runs_again() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    host.up(1, pid);
    let signal =
        |signal: &str| assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    signal("-STOP");
    // The signal is on its way until the process was scheduled.
    while !fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("State:\tT") {
        thread::yield_now();
    }
    let answer = host.judged("300ms", &[]);
    assert!(answer.stderr.contains(&format!("runed.service: stopped: process {pid} is suspended")), "{answer:?}");
    assert_eq!(answer.code, 1);
    signal("-CONT");
    while fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("State:\tT") {
        thread::yield_now();
    }
    assert_eq!(host.run(&QUICK).code, 0);
    let frozen = |word| state("healthy", &[("MainPID", &pid.to_string())]) + "\nFreezerState=" + word;
    for (word, healthy) in [("frozen", false), ("frozen-by-parent", false), ("running", true)] {
        fs::write(host.path("states/1"), frozen(word)).unwrap();
        let answer = if healthy { host.run(&QUICK) } else { host.judged("300ms", &[]) };
        assert_eq!(answer.stderr.contains("runed.service: stopped: the unit is frozen"), !healthy, "{answer:?}");
        assert_eq!(answer.code, i32::from(!healthy), "{answer:?}");
    }
}

#[test]
fn a_process_of_the_run_before_is_found_though_its_file_was_only_moved_aside() {
    let mut host = Host::new();
    host.install();
    let old = host.start("600");
    let aside = host.path("usr/local/bin/runed.old");
    fs::rename(host.path(RUNED), &aside).unwrap();
    host.install();
    next_tick();
    let new = host.start("600");
    host.up(1, old).up(2, new);
    let run = |host: &Host| {
        fs::write(host.path("count"), "0").unwrap();
        host.run(&["runed", "--timeout", "5s", "--stable", "0", "--", "true"])
    };
    let answer = run(&host);
    let told =
        format!("runed.service: old-process: process {old} of the unit, older than its main process, still runs");
    assert!(answer.stderr.contains(&told) && answer.code == 1, "{answer:?}");
    // The new run may have a use for that file, and the other program is free to be older.
    next_tick();
    let child = Command::new(&aside).arg("600").spawn().unwrap();
    fs::write(
        host.path("sys/fs/cgroup/system.slice/runed.service/cgroup.procs"),
        format!("{new}\n{}\n{}\n", child.id(), std::process::id()),
    )
    .unwrap();
    host.processes.push(child);
    let answer = run(&host);
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// The kernel's table has the names of sockets whose file is gone, or is in another folder of that name.
#[test]
fn a_unix_socket_of_the_same_name_is_no_other_listener() {
    let mut host = Host::new();
    host.install();
    let path = host.path("run.sock");
    let name = path.to_str().unwrap().to_owned();
    // Somebody else's, and so is what it becomes when it is taken away and bound anew.
    let mut stranger = Command::new("perl")
        .args(["-MSocket", "-e"])
        .arg("socket S,AF_UNIX,SOCK_STREAM,0; bind S,pack_sockaddr_un($ARGV[0]) or die; listen S,5; $|=1; print qq(x); sleep 600")
        .arg(&name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    stranger.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = host.start("600");
    host.up(1, pid);
    // Not before: what is there at a start is a process of the unit.
    host.processes.push(stranger);
    let probe = ["--unix", name.as_str()];
    let answer = host.judged("1s", &probe);
    assert!(answer.stderr.contains("runed.service: wrong-listener: "), "{answer:?}");
    fs::remove_file(&path).unwrap();
    let _own = UnixListener::bind(&path).unwrap();
    let answer = host.judged("60s", &probe);
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// What a service writes comes into verdicts, which are kept and printed where nothing escapes them again.
#[test]
fn a_verdict_has_no_control_characters() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    host.up(1, pid);
    let answer = host.judged("1s", &["--json", "--exec", r"printf 'bad \033[2J\302\233 thing'; exit 1"]);
    let json: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let text = json["text"].as_str().unwrap();
    assert!(text.contains(r"bad \u{1b}[2J\u{9b} thing"), "{text}");
    assert!(!text.chars().any(char::is_control), "{text}");
}

/// A program that listens where others do too (`SO_REUSEPORT`), and its port.
fn listener(port: u16) -> (Child, u16) {
    let script = "socket S,AF_INET,SOCK_STREAM,0; setsockopt S,SOL_SOCKET,15,1 or die; \
        bind S,pack_sockaddr_in($ARGV[0],INADDR_LOOPBACK) or die; listen S,64; $|=1; \
        printf qq(%05d), (sockaddr_in(getsockname S))[0]; sleep 600";
    let mut child = Command::new("perl")
        .args(["-MSocket", "-e", script, &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    (child, std::str::from_utf8(&said).unwrap().parse().unwrap())
}

#[test]
fn all_that_share_a_port_must_be_of_the_unit() {
    let mut host = Host::new();
    host.install();
    let (first, port) = listener(0);
    host.processes.push(first);
    let pid = host.start("600");
    host.up(1, pid);
    // Not before: what is there at a start is a process of the unit.
    let (second, _) = listener(port);
    host.processes.push(second);
    let second = host.processes.len() - 1;
    let probe = format!("127.0.0.1:{port}");
    let answer = host.judged("1s", &["--tcp", &probe]);
    let told = format!(
        "runed.service: wrong-listener: tcp {probe}: it is answered, but process {} (perl)",
        host.processes[second].id()
    );
    assert!(answer.stderr.contains(&told), "{answer:?}");
    host.processes[second].kill().unwrap();
    host.processes[second].wait().unwrap();
    let (second, _) = listener(port);
    host.processes.push(second);
    host.start("600");
    let answer = host.judged("60s", &["--tcp", &probe]);
    assert_eq!(answer.code, 0, "{answer:?}");
}

#[test]
fn a_redirect_is_an_answer_and_not_followed() {
    let host = {
        let mut host = Host::new();
        host.install();
        let pid = host.start("600");
        host.up(1, pid);
        host
    };
    let server = crate::http::Server::start(|seen, _| match seen.path.as_str() {
        "/" => crate::http::Reply::new(302, "").header("Location", "/login"),
        _ => crate::http::Reply::new(200, "ok"),
    });
    let url = format!("{}/", server.url());
    let answer = host.judged("1s", &["--http", &url]);
    assert!(answer.stderr.contains("status 302, not 200 to 299"), "{answer:?}");
    assert_eq!(host.judged("60s", &["--http", &url, "--status", "302"]).code, 0);
}

#[test]
fn the_manager_of_the_user_is_asked_for_the_user_s_unit() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    host.up(1, pid);
    let inner = SYSTEMCTL.replace("@ROOT@", host.root.path().to_str().unwrap());
    let (first, rest) = inner.split_once('\n').unwrap();
    host.tool("systemctl", &format!("{first}\n[ \"$1\" = --user ] || {{ echo 'no --user' >&2; exit 1; }}\n{rest}"));
    assert_eq!(host.run(&with(&["--user"])).code, 0);
    let answer = host.run(&["runed", "--timeout", "300ms", "--stable", "0"]);
    assert!(answer.code != 0 && answer.stderr.contains("no --user"), "{answer:?}");
}
