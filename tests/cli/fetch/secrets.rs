//! fetch, its secrets and its proxies: where they go, and where they must never be seen.

use std::path::Path;

use fs_err as fs;

use super::{ASSETS, BODY, Ended, Env, repository, repository_with_assets_elsewhere, run, serving};
use crate::http::{Reply, Server};

/// The files below `dir` whose bytes hold the secret, those that were given it left out.
fn tells(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == "credentials") {
            continue;
        }
        if path.is_dir() {
            found.extend(tells(&path));
        } else if fs::read(&path).unwrap().windows(6).any(|six| six == b"SECRET") {
            found.push(path.display().to_string());
        }
    }
    found
}

fn credentials(env: &Env, files: &[(&str, &str)]) -> std::path::PathBuf {
    let dir = env.root.path().join("credentials");
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
    dir
}

#[test]
fn a_credential_of_the_service_is_used_when_the_environment_has_none_and_is_told_nobody() {
    let (server, other) = repository_with_assets_elsewhere();
    let env = Env::new();
    let dir =
        credentials(&env, &[("github-token", "SECRET-1\n"), ("fetch-header", "X-Key: SECRET-2\n\nX-More: SECRET-3\n")]);
    for (variable, option, token, key) in [
        (None, None, "Bearer SECRET-1", "SECRET-2"),
        (Some("SECRET-4"), None, "Bearer SECRET-4", "SECRET-2"),
        (None, Some("X-Key: SECRET-5"), "Bearer SECRET-1", "SECRET-5"),
    ] {
        let before = server.seen().len();
        let mut fetch = env.from(&server);
        fetch.env("CREDENTIALS_DIRECTORY", &dir).args(["-v", "--json", "--asset", ASSETS[0], "gh:o/r@v1"]);
        if let Some(value) = variable {
            fetch.env("GH_TOKEN", value);
        }
        if let Some(line) = option {
            fetch.args(["--header", line]);
        }
        let Ended { code, stdout, stderr } = run(&mut fetch);
        assert_eq!(code, 0, "{stderr}");
        assert!(!stdout.contains("SECRET") && !stderr.contains("SECRET"), "{stdout}{stderr}");
        for seen in &server.seen()[before..] {
            assert_eq!(seen.headers["authorization"], token);
            assert_eq!(seen.headers["x-key"], key);
            assert_eq!(seen.headers.contains_key("x-more"), option.is_none());
        }
    }
    assert!(other.seen().iter().all(|seen| seen.headers.values().all(|value| !value.contains("SECRET"))));
    assert_eq!(tells(env.root.path()), [""; 0]);

    let empty = credentials(&Env::new(), &[]);
    assert_eq!(run(env.from(&server).env("CREDENTIALS_DIRECTORY", empty).arg("gh:o/r@v1")).code, 0);
    fs::write(dir.join("github-token"), b"SECRET\xff").unwrap();
    let ended = run(env.from(&server).env("CREDENTIALS_DIRECTORY", &dir).arg("gh:o/r@v1"));
    assert_ne!(ended.code, 0, "a credential that can't be read is not the same as none");
    assert!(ended.stderr.contains("github-token: ") && !ended.stderr.contains("SECRET"), "{}", ended.stderr);
}

#[test]
fn canary_the_search_for_the_secret_finds_it() {
    let env = Env::new();
    fs::create_dir(env.dir()).unwrap();
    fs::write(env.dir().join("x.origin.json"), "{\"source\": \"https://h/?SECRET\"}").unwrap();
    assert_eq!(tells(env.root.path()).len(), 1);
}

/// A proxy is any server here: what it is asked shows what it would do.
#[test]
fn plain_http_is_asked_of_its_proxy_whole_and_https_goes_through_a_tunnel() {
    let env = Env::new();
    let proxy = Server::start(|seen, _| match seen.path.as_str() {
        "http://release.test/a?b=c" | "http://release.test:8080/x.bin" => Reply::new(200, BODY),
        "http://release.test/busy" => Reply::new(502, ""),
        "http://release.test/closed" | "closed.test:443" => Reply::new(407, ""),
        "busy.test:443" => Reply::new(503, ""),
        _ => Reply::new(403, ""),
    });
    let address = proxy.url().replace("//", "//me:SE%43RET@");
    let fetch = |url: &str, more: &[(&str, &str)]| {
        let mut fetch = env.fetch();
        fetch.args(["-v", "--retry", "0", "--allow-http", "--into", "into"]);
        fetch.env("http_proxy", &address).env("HTTPS_PROXY", &address).envs(more.iter().copied());
        let ended = run(fetch.arg(url));
        assert!(!ended.stderr.contains("SECRET") && !ended.stderr.contains("SE%43RET"), "{}", ended.stderr);
        ended
    };
    for url in ["http://release.test/a?b=c", "http://release.test:8080/x.bin"] {
        let ended = fetch(url, &[]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stderr.contains(" by the proxy 127.0.0.1:"), "{}", ended.stderr);
        let seen = proxy.seen().last().unwrap().clone();
        assert_eq!(format!("http://{}", seen.headers["host"]), url.rsplit_once('/').unwrap().0);
        // printf me:SECRET | base64
        assert_eq!(seen.headers["proxy-authorization"], "Basic bWU6U0VDUkVU");
    }
    for (url, code, says) in [
        ("https://release.test/x", 3, "it refuses to connect us (403)"),
        ("https://closed.test/x", 3, "it wants a user name and a password (407)"),
        ("http://release.test/closed", 3, "it wants a user name and a password (407)"),
        ("https://busy.test/x", 75, "answers 503"),
        ("http://release.test/busy", 75, "answers 502"),
        ("http://release.test/forbidden", 3, "(403)"),
    ] {
        let ended = fetch(url, &[]);
        assert_eq!(ended.code, code, "{url}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{url}: {}", ended.stderr);
    }
    let asked = proxy.seen().len();
    assert!(proxy.seen().iter().all(|seen| seen.headers["proxy-authorization"] == "Basic bWU6U0VDUkVU"));

    // Not by this proxy at all.
    let server = serving(Reply::new(200, BODY));
    let direct = format!("{}/x.bin", server.url());
    for except in [&[("no_proxy", "127.0.0.0/8")][..], &[("NO_PROXY", "h, 127.0.0.1")], &[("no_proxy", "*")]] {
        assert_eq!(fetch(&direct, except).code, 0);
    }
    assert_eq!((server.seen().len(), proxy.seen().len()), (3, asked));
    assert!(server.seen().iter().all(|seen| !seen.headers.contains_key("proxy-authorization")));

    let gone = { Server::start(repository).url().replace("//", "//me:SECRET@") };
    for (url, variable) in [("http://h.test/x", "http_proxy"), ("https://h.test/x", "https_proxy")] {
        let ended = fetch(url, &[(variable, &gone)]);
        assert_eq!(ended.code, 75, "{}", ended.stderr);
        assert!(ended.stderr.contains("the proxy 127.0.0.1:"), "{}", ended.stderr);
    }
    for wrong in ["socks5://me:SECRET@h:1", "http://me:SECRET@:x"] {
        let ended = fetch("http://h.test/x", &[("http_proxy", wrong)]);
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(ended.stderr.contains("the proxy of the environment (http_proxy"), "{}", ended.stderr);
    }
}
