//! What the probes ask, what they are answered, and what becomes of that.

use std::os::unix::net::UnixListener;

use super::*;
use crate::http::{Reply, Server};

/// A host whose unit is up with this test as one of its processes, so that what listens here is the unit's own.
fn up() -> Host {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    host.up(1, pid);
    host
}

/// The same with this test in no control group of the unit: its servers are somebody else's.
fn up_beside() -> Host {
    let host = up();
    let pid = host.processes[0].id().to_string();
    fs::write(host.path("sys/fs/cgroup/system.slice/runed.service/cgroup.procs"), pid).unwrap();
    host
}

/// Runs svc-wait with these probes, in little time where it is to fail.
fn ask(host: &Host, probes: &[&str], healthy: bool) -> Answer {
    host.judged(if healthy { "60s" } else { "1s" }, probes)
}

#[track_caller]
fn is(answer: &Answer, name: &str, reason: &str) {
    assert!(answer.stderr.starts_with(&format!("svc-wait: runed.service: {name}: ")), "{answer:?}");
    assert!(answer.stderr.contains(reason), "{reason}: {answer:?}");
    assert_eq!(answer.code, i32::from(name != "healthy"), "{answer:?}");
    assert_eq!(answer.stderr.lines().count(), 1, "{answer:?}");
}

#[test]
fn headers_are_sent_and_expected() {
    let host = up();
    let server = Server::start(|seen, _| match seen.headers.get("host").map(String::as_str) {
        Some("app.example.com") => Reply::new(200, "hello").header("Content-Type", "text/plain; charset=utf-8"),
        other => Reply::new(421, format!("{other:?}")),
    });
    let url = server.url();
    is(&ask(&host, &["--http", &url], false), "probe-failed", "status 421");
    let named = ["--http", &url, "--header", "Host: app.example.com"];
    is(&ask(&host, &named, true), "healthy", "");
    let with = |more: &[&'static str], healthy| ask(&host, &[&named, more].concat(), healthy);
    is(&with(&["--expect-header", "content-type: ^text/plain(;|$)"], true), "healthy", "");
    let json = "its header Content-Type does not match '^application/json': it is 'text/plain; charset=utf-8'";
    is(&with(&["--expect-header", "Content-Type: ^application/json"], false), "probe-failed", json);
    is(&with(&["--expect-header", "X-Ready: ^1$"], false), "probe-failed", "it is not there");
}

#[test]
fn bodies_match_and_a_text_that_is_one_still_does() {
    let host = up();
    let server = Server::start(|_, _| Reply::new(200, "{\"status\":\"up\",\"load\":0.5}\n"));
    let url = server.url();
    for (body, healthy) in [
        ("\"status\":\"up\"", true),
        ("\"status\": *\"(up|ok)\"", true),
        ("^[{].*[}]\n?$", true),
        ("\"load\":0.9", false),
        ("^up", false),
    ] {
        let answer = ask(&host, &["--http", &url, "--body", body], healthy);
        is(&answer, if healthy { "healthy" } else { "probe-failed" }, if healthy { "" } else { "does not match" });
    }
}

#[test]
fn certificates_are_checked_unless_that_is_not_wanted() {
    let host = up();
    let (server, pem) = Server::start_tls(|_, _| Reply::new(200, "ok"));
    let (_other, other_pem) = Server::start_tls(|_, _| Reply::new(200, "ok"));
    fs::write(host.path("ca.pem"), pem).unwrap();
    fs::write(host.path("other.pem"), other_pem).unwrap();
    fs::write(host.path("none.pem"), "").unwrap();
    let (url, path) = (server.url(), |name: &str| host.path(name).to_str().unwrap().to_owned());
    is(&ask(&host, &["--http", &url], false), "probe-failed", "TLS: its certificate is signed by nobody trusted here");
    is(&ask(&host, &["--http", &url, "--cacert", &path("ca.pem")], true), "healthy", "");
    is(&ask(&host, &["--http", &url, "--cacert", &path("other.pem")], false), "probe-failed", "TLS: ");
    is(
        &ask(&host, &["--http", &url, "--cacert", &path("none.pem")], false),
        "probe-failed",
        "no certificate could be read",
    );
    is(&ask(&host, &["--http", &url, "--insecure"], true), "healthy", "");
}

#[test]
fn answers_without_an_end_are_given_up_and_large_ones_are_cut() {
    let host = up();
    let endless = Server::start(|seen, _| match seen.path.as_str() {
        "/body" => Reply::raw("HTTP/1.1 200 X\r\n\r\n", vec![b'x'; 65536]).repeat(),
        "/headers" => Reply::raw("HTTP/1.1 200 X\r\nX-More: more\r\n", "").repeat(),
        "/half" => Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n", "half").hold(),
        _ => Reply::raw("HTTP/1.1 2", "").hold(),
    });
    let (body, headers) = (format!("{}/body", endless.url()), format!("{}/headers", endless.url()));
    let (half, line) = (format!("{}/half", endless.url()), format!("{}/line", endless.url()));
    is(&ask(&host, &["--http", &body], true), "healthy", "");
    is(&ask(&host, &["--http", &body, "--body", "^x*$"], true), "healthy", "");
    is(&ask(&host, &["--http", &headers], false), "probe-failed", "/headers: ");
    is(&ask(&host, &["--http", &half], true), "healthy", "");
    is(&ask(&host, &["--http", &half, "--body", "half"], false), "hang", "no answer within");
    is(&ask(&host, &["--http", &line], false), "hang", "no answer within");
}

/// A server that sends its answer byte by byte, far too slowly.
#[test]
fn an_answer_byte_by_byte_has_one_deadline_and_not_one_a_byte() {
    let host = up();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                for byte in b"HTTP/1.1 200 OK\r\nX-Long: ".iter().chain(std::iter::repeat(&b'x')) {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    let answer = ask(&host, &["--http", &url], false);
    is(&answer, "hang", "no answer within");
    assert!(answer.took < Duration::from_secs(30), "{answer:?}");
}

#[test]
fn unix_sockets_are_connected_to_and_asked() {
    let host = up();
    let path = host.path("run.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let status =
                if request.contains("get /health ") && request.contains("\r\nhost: localhost\r\n") { 200 } else { 400 };
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let path = path.to_str().unwrap();
    is(&ask(&host, &["--unix", path], true), "healthy", "");
    is(&ask(&host, &["--http", &format!("http://unix:{path}:/health")], true), "healthy", "");
    is(&ask(&host, &["--http", &format!("http://unix:{path}:/other")], false), "probe-failed", "status 400");
    is(&ask(&host, &["--unix", "/nothing"], false), "probe-failed", "connect to /nothing: No such file");
    is(&ask(&host, &["--http", "http://unix:/nothing:/"], false), "probe-failed", "No such file");
    let beside = up_beside();
    is(&ask(&beside, &["--unix", path], false), "wrong-listener", "none of this unit");
    is(&ask(&beside, &["--http", &format!("http://unix:{path}:/health")], false), "wrong-listener", "--via-proxy");
}

#[test]
fn the_version_that_answers_is_the_expected_one() {
    let host = up();
    let server = Server::start(|seen, _| match seen.path.as_str() {
        "/version" => Reply::new(200, "{\"go\":\"1.22.1\",\"version\":\"v1.2.3\"}"),
        "/sick" => Reply::new(500, "v1.2.3"),
        _ => Reply::new(200, "hello"),
    });
    let url = |path: &str| format!("{}/{path}", server.url());
    let from =
        |from: &str, version, healthy| ask(&host, &["--version-from", from, "--expect-version", version], healthy);
    is(&from(&url("version"), "1.2.3", true), "healthy", "");
    is(&from(&url("version"), "1.2.4", false), "probe-failed", "version 1.22.1, not 1.2.4");
    is(&from(&url("sick"), "1.2.3", false), "probe-failed", "status 500");
    is(&from(&url("x"), "1.2.3", false), "probe-failed", "it says no version, 1.2.3 is expected");
    is(&from("echo rune v1.2.3", "1.2.3", true), "healthy", "");
    is(&from("echo rune v1.2.4", "1.2.3", false), "probe-failed", "'echo rune v1.2.4': version v1.2.4, not 1.2.3");
    is(&from("echo v1.2.3; false", "1.2.3", false), "probe-failed", "exit status: 1: v1.2.3");
}

#[test]
fn every_probe_has_its_name_and_an_advisory_one_is_only_told() {
    let host = up();
    let server = Server::start(|seen, _| Reply::new(if seen.path == "/up" { 200 } else { 503 }, ""));
    let (good, sick) = (format!("{}/up", server.url()), format!("{}/upstream?key=secret", server.url()));
    let probes = ["--http", &good, "--http", &sick, "--exec", "test -d /proc/$MAINPID"];
    is(&ask(&host, &probes, false), "probe-failed", "status 503");
    let advisory = [&probes[..], &["--advisory", &sick]].concat();
    let answer = ask(&host, &advisory, true);
    is(&answer, "healthy", "; advisory: GET ");
    assert!(!answer.stderr.contains("secret"), "{answer:?}");
    let json = ask(&host, &[&advisory[..], &["--json"]].concat(), true);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let told = |n: usize| (&json["probes"][n]["name"], &json["probes"][n]["advisory"], &json["probes"][n]["answered"]);
    assert_eq!(told(0), (&format!("http {good}").into(), &false.into(), &true.into()));
    assert_eq!(told(1), (&format!("http {}/upstream?…", server.url()).into(), &true.into(), &false.into()));
    assert_eq!(told(2), (&"exec test -d /proc/$MAINPID".into(), &false.into(), &true.into()));
    assert!(json["probes"][0]["answer_ms"].is_u64() && json["probes"][1]["answer_ms"].is_null(), "{json}");
    assert!(json["probes"][1]["text"].as_str().unwrap().contains("status 503"), "{json}");
    for time in ["active_ms", "answer_ms", "healthy_ms", "stable_ms"] {
        assert!(json["times"][time].is_u64(), "{time}: {json}");
    }
}

#[test]
fn who_answers_for_the_unit_is_not_the_unit() {
    let host = up_beside();
    let server = Server::start(|_, _| Reply::new(200, "v1.0.0"));
    let (url, address) = (server.url(), server.url().replace("http://", ""));
    let who = format!("process {} (", std::process::id());
    is(&ask(&host, &["--http", &url], false), "wrong-listener", &who);
    is(&ask(&host, &["--tcp", &address], false), "wrong-listener", "none of this unit; if a proxy in front");
    is(&ask(&host, &["--version-from", &url, "--expect-version", "1.0.0"], false), "wrong-listener", &who);
    // A wrong answer of a stranger is a stranger's first of all; where nobody listens there is none.
    let stranger = Server::start(|_, _| Reply::new(404, "not here"));
    is(&ask(&host, &["--http", &stranger.url()], false), "wrong-listener", &who);
    is(&ask(&host, &["--tcp", "127.0.0.1:1"], false), "probe-failed", "refused");
    is(&ask(&host, &["--http", &url, "--via-proxy"], true), "healthy", "");
    is(&ask(&host, &["--http", &url, "--exec", "true", "--advisory", &url], true), "healthy", "; advisory: http ");
    // The canary: the same server is the unit's own where this process is in its control group.
    is(&ask(&up(), &["--http", &url], true), "healthy", "");
}

/// A probe that hangs for all of its time neither hides the end of the main process nor outlives the wait.
#[test]
fn the_end_of_the_process_cuts_a_probe_short() {
    let host = host_whose_process_ends();
    let (pids, late) = (host.path("pids"), host.path("late"));
    // A probe has 3 s; this one tells when it was left alone for 2 s after the end of the process.
    let line = format!(
        "echo $$ >> {}; while kill -0 $MAINPID && ! grep -q '^State:.*Z' /proc/$MAINPID/status; do sleep 0.01; done; sleep 2; touch {}",
        pids.display(),
        late.display()
    );
    let answer = host.run(&["runed", "--timeout", "100s", "--stable", "0", "--exec", &line]);
    is_crash(&answer);
    for pid in fs::read_to_string(&pids).unwrap().lines() {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left");
    }
    assert!(!late.exists(), "the probe was waited for: {answer:?}");
}

#[track_caller]
fn is_crash(answer: &Answer) {
    assert!(answer.stderr.contains("runed.service: crashed: exit status 3"), "{answer:?}");
    assert_eq!(answer.code, 1);
}

#[test]
fn probes_are_asked_at_the_same_time() {
    let host = up();
    let (a, b) = (host.path("a"), host.path("b"));
    // Each waits for the other, so that one after the other never ends.
    let line = |mine: &Path, other: &Path| {
        format!("touch {}; until [ -e {} ]; do sleep 0.01; done", mine.display(), other.display())
    };
    let (first, second) = (line(&a, &b), line(&b, &a));
    is(&ask(&host, &["--exec", &first, "--exec", &second], true), "healthy", "");
}

#[test]
fn the_pause_is_measured_across_command() {
    let host = up();
    let gate = host.path("closed");
    let closed = gate.clone();
    let server = Server::start(move |_, _| Reply::new(if closed.exists() { 503 } else { 200 }, ""));
    let url = server.url();
    let command = format!("touch {0}; sleep 0.5; rm {0}", gate.display());
    let run = |more: &[&str], command: &str| {
        let base = ["runed", "--timeout", "60s", "--stable", "0", "--http", &url, "--json"];
        host.run(&[&base[..], more, &["--", "sh", "-c", command]].concat())
    };
    let answer = run(&["--measure"], &command);
    let json: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let pause = json["times"]["pause_ms"].as_u64().unwrap_or_default();
    assert!((450..30_000).contains(&pause), "{json}");
    assert!(answer.stderr.contains(" without an answer"), "{answer:?}");
    // Where nothing paused, or nothing answered, no pause is made up.
    let json: serde_json::Value = serde_json::from_str(&run(&["--measure"], "sleep 0.2").stdout).unwrap();
    assert!(json["times"]["pause_ms"].as_u64().unwrap() < pause, "{json}");
    let json: serde_json::Value = serde_json::from_str(&run(&[], &command).stdout).unwrap();
    assert!(json["times"]["pause_ms"].is_null(), "{json}");
    fs::write(&gate, "").unwrap();
    let answer = run(&["--measure"], &format!("rm {}", gate.display()));
    assert!(answer.stderr.contains("the pause is not measured: there is no answer before COMMAND"), "{answer:?}");
    assert_eq!(answer.code, 0);
}

#[test]
fn wrong_probes_are_usage() {
    let host = up();
    for arguments in [
        &["--unix", "run.sock"][..],
        &["--http", "http://unix:run.sock:/"],
        &["--http", "https://unix:/run.sock:/"],
        &["--http", "http://h/", "--body", "("],
        &["--http", "http://h/", "--expect-header", "X"],
        &["--http", "http://h/", "--expect-header", "X: ("],
        &["--http", "http://h/", "--header", "no colon"],
        &["--http", "http://h/", "--insecure", "--cacert", "x"],
        &["--http", "http://h/", "--advisory", "http://other/"],
        &["--http", "http://h/", "--measure"],
        &["--measure", "--", "true"],
        &["--version-from", "x"],
        &["--expect-version", "1"],
    ] {
        let answer = host.run(&[&["runed"], arguments].concat());
        assert_eq!(answer.code, 2, "{arguments:?} {answer:?}");
        assert_eq!(answer.stderr.lines().count(), 1, "{answer:?}");
    }
}

/// What an earlier run wrote is not what this one died of.
#[test]
fn journal_lines_are_those_of_this_invocation_alone() {
    let host = Host::new();
    host.says(1, "exit3", &[("InvocationID", "22222222222222222222222222222222")]);
    // Plays journalctl: it gives what was asked for, and all of the unit's lines to a question that names no invocation.
    host.tool(
        "journalctl",
        "#!/bin/sh\ncase $* in *_SYSTEMD_INVOCATION_ID=*) ;; *--sync*) exit ;; *) echo 'old: asked for all'; exit ;; esac
for word; do id=${word#_SYSTEMD_INVOCATION_ID=}; done
case $id in 2222*) echo 'new line' ;; *) echo 'old line' ;; esac\n",
    );
    let answer = host.run(&QUICK);
    assert!(answer.stderr.contains("| new line") && !answer.stderr.contains("old"), "{answer:?}");
}
