//! fetch, against servers that are busy, broken or hostile.

use std::io::{Read, Write};

use fs_err as fs;

use super::{ASSETS, BODY, Env, release, repository, repository_with_assets_elsewhere, run, serving};
use crate::http::{Reply, Server};

/// Row 15: a wait that is too long is not begun, and when to come back is said.
#[test]
fn a_rate_limit_says_when_and_is_not_waited_for() {
    let reset = "4102444800"; // 2100-01-01
    let limited = Reply::new(403, "{}").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", reset);
    for (reply, says) in [
        (limited, "at 2100-01-01T00:00:00Z"),
        (Reply::new(429, "").header("Retry-After", "86400"), "rate limit reached; try again at "),
        (
            Reply::new(503, "").header("Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT"),
            "answers 503; try again at 2100-01-01T00:00:00Z",
        ),
    ] {
        let (env, server) = (Env::new(), serving(reply));
        let ended = run(env.from(&server).arg("gh:o/r"));
        assert_eq!(ended.code, 75, "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert_eq!(server.seen().len(), 1);
    }
}

/// Row 15: a short wait is waited, in seconds or as a date; what can't be read is no wait at all.
#[test]
fn a_wait_that_is_short_is_waited() {
    let soon = |seconds| {
        let then = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
        let then = then.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut date = std::process::Command::new("date");
        let date =
            date.args(["-u", "-d", &format!("@{then}"), "+%a, %d %b %Y %T GMT"]).env("LC_ALL", "C").output().unwrap();
        String::from_utf8(date.stdout).unwrap().trim().to_owned()
    };
    for status in [429, 503] {
        for (seconds, waits) in [(None, true), (Some(2), true), (Some(0), false)] {
            let after = seconds.map_or("1".to_owned(), soon);
            let sent = after.clone();
            let server = Server::start(move |seen, _| match seen.nth {
                0 => Reply::new(status, "").header("Retry-After", &sent),
                _ => Reply::new(200, BODY),
            });
            let (env, started) = (Env::new(), std::time::Instant::now());
            let ended = run(env.from(&server).args(["--retry", "1", &format!("{}/x.bin", server.url())]));
            assert_eq!(ended.code, 0, "{status} {after}: {}", ended.stderr);
            assert_eq!(server.seen().len(), 2);
            // A date has whole seconds: of two at least one is left.
            assert!(!waits || started.elapsed().as_millis() >= 900, "{status} {after}: {:?}", started.elapsed());
        }
    }
    for garbage in ["-1", "soon", "99999999999999999999", "1.5"] {
        let (env, server) = (Env::new(), serving(Reply::new(503, "").header("Retry-After", garbage)));
        let ended = run(env.from(&server).args(["--retry", "0", &format!("{}/x.bin", server.url())]));
        assert_eq!(ended.code, 75, "{garbage}: {}", ended.stderr);
        assert!(ended.stderr.contains("answers 503; try again later"), "{garbage}: {}", ended.stderr);
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    let (env, server) = (
        Env::new(),
        Server::start(|seen, base| match (seen.path.starts_with("/download/"), seen.nth) {
            (_, 0) => Reply::new(503, "").header("Retry-After", "0"),
            (true, 1) => Reply::new(429, "").header("Retry-After", "0"),
            _ => repository(seen, base),
        }),
    );
    let ended = run(env.from(&server).args(["--asset", ASSETS[0], "gh:o/r@v1"]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("; try 1 of 3 in 0s").count(), 2, "{}", ended.stderr);
}

/// Answers that are not the file, or may not be all of it: what, the answer, exit code, and a part of the message.
fn bad_answers() -> Vec<(&'static str, Reply, i32, &'static str)> {
    let page = Reply::new(200, "<html>log in</html>").header("Content-Type", "text/html; charset=utf-8");
    let chunked = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        (
            "short",
            Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n", BODY),
            75,
            "cut off after 22 bytes of 100",
        ),
        ("long", Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\n", BODY), 3, "more than the length it gave"),
        ("no length", Reply::raw("HTTP/1.1 200 X\r\n\r\n", BODY), 3, "does not say how long"),
        ("last chunk missing", Reply::raw(chunked, "5\r\nhello\r\n"), 75, "cut off after 5 bytes"),
        ("absurd chunk", Reply::raw(chunked, "FFFFFFFFFFFFFFFFF\r\nhello\r\n"), 3, "not a proper answer"),
        ("two lengths", Reply::new(200, BODY).header("Content-Length", "5"), 3, "not a proper answer"),
        ("no HTTP", Reply::raw("hello\r\n\r\n", ""), 3, "not a proper answer"),
        ("web page", page, 3, "login page or a captive portal"),
        ("part", Reply::new(206, BODY), 3, "answers 206"),
        ("too large", Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\n", BODY), 3, "larger than 64K"),
        ("endless chunks", Reply::raw(chunked, "5\r\nhello\r\n").repeat(), 3, "larger than 64K"),
        ("endless headers", Reply::raw("HTTP/1.1 200 X\r\n", "").repeat(), 3, "headers"),
        ("gone", Reply::new(404, ""), 1, "not found (404)"),
        ("forbidden", Reply::new(403, ""), 3, "refused by the server (403)"),
        ("loop", Reply::redirect("/x.bin"), 3, "redirected more than five times"),
        ("file redirect", Reply::redirect("file:///etc/passwd"), 3, "a place that is refused"),
        ("ftp redirect", Reply::redirect("ftp://127.0.0.1/x.bin"), 3, "a place that is refused"),
        ("data redirect", Reply::redirect("data:text/plain,x"), 3, "a place that is refused"),
        ("relative file redirect", Reply::redirect("file:x"), 3, "a place that is refused"),
        ("redirect with a password", Reply::redirect("http://me:SECRET@127.0.0.1/x"), 3, "a place that is refused"),
        ("redirect to nowhere", Reply::redirect(""), 3, "redirected more than five times"),
        ("bad status line", Reply::raw("HTTP/1.1 abc\r\nContent-Length: 3\r\n\r\n", "abc"), 3, "not a proper answer"),
        ("HTTP/0.9", Reply::raw("", BODY), 3, "not a proper answer"),
        ("negative length", Reply::raw("HTTP/1.1 200 X\r\nContent-Length: -1\r\n\r\n", BODY), 3, "not a proper answer"),
        ("broken", Reply::new(500, "trouble"), 75, "answers 500"),
        ("no content", Reply::new(204, ""), 3, "answers 204"),
    ]
}

/// Rows 1, 2, 3, 5, 6, 11, 13, 16 and 19: whatever a server answers, a file has its name only when it is whole.
#[test]
fn a_file_that_may_not_be_whole_or_not_the_file_never_has_its_name() {
    for (what, reply, code, says) in bad_answers() {
        let (env, server) = (Env::new(), serving(reply));
        let url = format!("{}/x.bin", server.url());
        let ended = run(env.from(&server).args(["--retry", "0", "--max-size", "64K", &url]));
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{what}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{what}: {}", ended.stderr);
        assert!(!ended.stderr.contains("SECRET"), "{what}: {}", ended.stderr);
        assert_eq!(env.names(), [""; 0], "{what}");
    }
}

/// The same answers to a client that takes what comes for the file: each must be caught.
#[test]
fn canary_a_client_that_believes_what_comes_publishes_most_of_it() {
    let mut published = Vec::new();
    for (what, reply, ..) in bad_answers() {
        let (env, server) = (Env::new(), serving(reply));
        let mut stream = std::net::TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
        stream.write_all(b"GET /x.bin HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.take(1 << 20).read_to_end(&mut answer).unwrap();
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        fs::create_dir(env.dir()).unwrap();
        if body < answer.len() {
            fs::write(env.dir().join("x.bin"), &answer[body..]).unwrap();
        }
        if !env.names().is_empty() {
            published.push(what);
        }
    }
    for row in ["short", "long", "no length", "two lengths", "web page", "endless chunks", "HTTP/0.9"] {
        assert!(published.contains(&row), "{row}: {published:?}");
    }
}

/// Row 2: where the release itself says how long a file is, an answer need not.
#[test]
fn a_body_without_a_length_is_taken_when_the_release_says_its_size() {
    for (body, code) in [(BODY, 0), (&BODY[..20], 75), (&[BODY, b"x"].concat(), 3)] {
        let sent = body.to_vec();
        let server = Server::start(move |seen, base| {
            if seen.path.starts_with("/download/") {
                Reply::raw("HTTP/1.1 200 X\r\n\r\n", &sent)
            } else {
                repository(seen, base)
            }
        });
        let env = Env::new();
        let ended = run(env.from(&server).args(["--retry", "0", "--asset", ASSETS[0], "gh:o/r@v1"]));
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert_eq!(env.names().is_empty(), code != 0);
    }
}

/// Row 9: silence, in the body or the head; each deadline by itself is in the tests of the network.
#[test]
fn a_server_that_falls_silent_is_given_up() {
    for reply in
        [Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n", BODY).hold(), Reply::raw("HTTP/1.1 2", "").hold()]
    {
        let (env, server) = (Env::new(), serving(reply));
        let ended = run(env.from(&server).args(["--timeout", "300ms", &format!("{}/x.bin", server.url())]));
        assert_eq!(ended.code, 75, "{}", ended.stderr);
        assert!(ended.stderr.contains("300ms"), "{}", ended.stderr);
        assert_eq!(env.names(), [""; 0]);
    }
}

#[test]
fn a_size_or_digest_other_than_the_releases_is_refused() {
    let server = Server::start(|seen, base| {
        let mut answer = release(base, "v1.0.0", &ASSETS[..1]);
        match seen.path.rsplit('/').next().unwrap() {
            "v1.0.0" => answer["assets"][0]["size"] = 5.into(),
            "v1.0.1" => answer["assets"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into(),
            "v1.0.2" => answer["assets"][0]["size"] = (1u64 << 40).into(),
            _ => return repository(seen, base),
        }
        Reply::new(200, answer.to_string())
    });
    for (tag, says) in
        [("v1.0.0", "22 bytes come where 5 were announced"), ("v1.0.1", "its SHA-256 is"), ("v1.0.2", "larger than 2G")]
    {
        let env = Env::new();
        let ended = run(env.from(&server).arg(format!("gh:o/r@{tag}")));
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert_eq!(env.names(), [""; 0]);
    }
}

#[test]
fn a_name_that_is_no_plain_file_name_is_refused() {
    for name in ["../evil_linux_amd64", ".evil_linux_amd64", "-evil_linux_amd64", "evil\n_linux_amd64"] {
        let (env, server) =
            (Env::new(), Server::start(move |_, base| Reply::new(200, release(base, "v1.0.0", &[name]).to_string())));
        let ended = run(env.from(&server).args(["--asset", "*_linux_amd64", "gh:o/r@v1.0.0"]));
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains("refused as a file name"), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "a name can't fake a line");
        assert_eq!(env.names(), [""; 0]);
    }
}

/// Row 14: a redirect to another host takes no secret along.
#[test]
fn tokens_and_headers_stay_with_their_host_and_out_of_messages() {
    let (server, other) = repository_with_assets_elsewhere();
    let env = Env::new();
    fs::write(env.root.path().join("headers"), "X-More: SECRET-2\n").unwrap();
    let ended = run(env.from(&server).env("GITHUB_TOKEN", "SECRET-1").args([
        "-v",
        "--header",
        "@headers",
        "--header",
        "X-Key: SECRET-3",
        "--asset",
        ASSETS[0],
        "gh:o/r@v1",
    ]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("SECRET"), "{}", ended.stderr);
    for seen in server.seen() {
        assert_eq!(seen.headers["authorization"], "Bearer SECRET-1");
        assert_eq!((&*seen.headers["x-more"], &*seen.headers["x-key"]), ("SECRET-2", "SECRET-3"));
    }
    let there = &other.seen()[0].headers;
    assert!(there.values().all(|value| !value.contains("SECRET")), "{there:?}");
    assert_eq!(there["accept-encoding"], "identity");

    for args in [
        &["--header", "SECRET", "gh:o/r"][..],
        &["https://me:SECRET@127.0.0.1/x"],
        &["--header", "a b: SECRET", "gh:o/r"],
    ] {
        let ended = run(env.fetch().args(args));
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(!ended.stderr.contains("SECRET"), "{}", ended.stderr);
    }
}

#[test]
fn plain_http_needs_to_be_allowed() {
    let (env, server) = (Env::new(), Server::start(repository));
    let ended = run(env.fetch().arg(format!("{}/x.bin", server.url())));
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("--allow-http"), "{}", ended.stderr);
    assert_eq!(run(env.fetch().env("GITHUB_API_URL", server.url()).arg("gh:o/r")).code, 2);
    assert_eq!(server.seen().len(), 0);
}

/// Row 12: a redirect from https to http is refused, also where http is allowed.
#[test]
fn https_needs_a_trusted_ca_and_is_never_left() {
    let plain = Server::start(|_, _| Reply::new(200, BODY));
    let to = format!("{}/x.bin", plain.url());
    let (server, ca) = Server::start_tls(move |seen, _| match seen.path.as_str() {
        "/down.bin" => Reply::redirect(&to),
        "/short.bin" => Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n", BODY),
        _ => Reply::new(200, BODY),
    });
    let env = Env::new();
    fs::write(env.root.path().join("ca.pem"), ca).unwrap();
    fs::write(env.root.path().join("no.pem"), "nothing").unwrap();
    let url = |name: &str| format!("{}/{name}", server.url());
    for (args, code, says) in [
        (
            &["--cacert", "ca.pem", &url("down.bin"), "--allow-http"][..],
            3,
            "redirects to the unencrypted http://127.0.0.1",
        ),
        (&["--cacert", "ca.pem", &url("short.bin")], 75, "cut off after 22 bytes of 100"),
        (&["--cacert", "no.pem", &url("x.bin")], 3, "no.pem: no certificate could be read"),
        (&[&url("x.bin")], 3, "TLS: "),
    ] {
        let ended = run(env.fetch().args(["--retry", "0", "--into", "into"]).args(args));
        assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
        assert_eq!(env.names(), [""; 0]);
    }
    assert_eq!(plain.seen().len(), 0);
    assert_eq!(run(env.fetch().args(["--cacert", "ca.pem", "--into", "into", &url("x.bin")])).stdout, "into/x.bin\n");
    let by_variable = run(env.fetch().env("SSL_CERT_FILE", "ca.pem").args(["--into", "into", &url("y.bin")]));
    assert_eq!(by_variable.code, 0, "{}", by_variable.stderr);
}

/// Row 22: nothing listens there.
#[test]
fn a_network_that_is_down_is_worth_another_try() {
    let gone = { Server::start(repository).url() };
    let env = Env::new();
    let ended = run(env.fetch().args(["--allow-http", "--retry", "1", &format!("{gone}/x.bin")]));
    assert_eq!(ended.code, 75, "{}", ended.stderr);
    assert!(ended.stderr.contains("try 1 of 1 in 500ms"), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("is the address right, and is the server up?\n"), "{}", ended.stderr);
    let ended = run(env.fetch().args(["--allow-http", "--retry", "9", &format!("{gone}/x.bin")]));
    assert_eq!((ended.code, ended.stderr.lines().count()), (75, 2), "once more and no oftener: {}", ended.stderr);
}
