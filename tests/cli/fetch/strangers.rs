//! A GitHub server that points to other hosts and odd places: they get no token, and are not taken for the server itself.

use fs_err as fs;
use serde_json::{Value, json};

use super::{BODY, Env, release, run};
use crate::http::{Reply, Server};

/// A release v2.0.0 of the one asset `x`, its addresses as given.
fn one(base: &str, by_api: &str, address: &str) -> Value {
    let mut answer = release(base, "v2.0.0", &[]);
    answer["assets"] = json!([{
        "name": "x", "size": BODY.len(), "state": "uploaded", "url": by_api, "browser_download_url": address,
    }]);
    answer
}

#[test]
fn an_asset_on_another_host_is_asked_for_without_the_token() {
    let other = Server::start(|_, _| Reply::new(200, BODY));
    let there = format!("{}/x", other.url());
    let server = Server::start(move |_, base| Reply::new(200, one(base, &there, &there).to_string()));
    let env = Env::new();
    let ended = run(env.from(&server).env("GITHUB_TOKEN", "SECRET").args(["--asset", "x", "gh:o/r@v2.0.0"]));
    assert_eq!((ended.code, other.seen().len()), (0, 1), "{}", ended.stderr);
    assert!(server.seen()[0].headers["authorization"].contains("SECRET"), "the token was in use");
    let told = &other.seen()[0].headers;
    assert!(told.values().all(|value| !value.contains("SECRET")), "{told:?}");
}

#[test]
fn an_api_by_https_can_t_send_us_to_plain_http() {
    let plain = Server::start(|_, _| Reply::new(200, BODY));
    let there = format!("{}/x", plain.url());
    let (server, ca) = Server::start_tls(move |_, base| Reply::new(200, one(base, &there, &there).to_string()));
    let env = Env::new();
    fs::write(env.root.path().join("ca.pem"), ca).unwrap();
    let ended = run(env.from(&server).args(["--cacert", "ca.pem", "--asset", "x*", "gh:o/r@v2.0.0"]));
    assert_eq!((ended.code, ended.stdout.as_str(), plain.seen().len()), (3, "", 0), "{}", ended.stderr);
    assert!(ended.stderr.contains("unencrypted"), "{}", ended.stderr);
    assert_eq!(env.names(), [""; 0]);
}

/// What a redirect names as the latest release is believed of the server itself alone, and when it is a tag at all.
#[test]
fn a_latest_release_of_another_host_or_no_tag_is_not_taken() {
    for to in [
        "http://localhost:1/o/r/releases/tag/v6.6.6",
        "/o/r/releases/tag/..%2f..%2fevil",
        "/o/r/releases/tag/v1%0a",
        "/o/r/releases/tag/",
    ] {
        let server = Server::start(move |seen, base| match seen.path.as_str() {
            "/o/r/releases/latest" => Reply::redirect(to),
            "/api/v3/repos/o/r/releases/latest" => {
                let there = format!("{base}/download/x");
                Reply::new(200, one(base, &there, &there).to_string())
            }
            "/download/x" => Reply::new(200, BODY),
            _ => Reply::new(404, ""),
        });
        let env = Env::new();
        let mut command = env.from(&server);
        command.env("GITHUB_API_URL", format!("{}/api/v3", server.url())).args(["--retry", "0", "--json"]);
        let ended = run(command.args(["--asset", "x", "gh:o/r"]));
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
        assert_eq!((ended.code, answer["tag"].as_str()), (0, Some("v2.0.0")), "{to}: {}", ended.stderr);
        let asked: Vec<_> = server.seen().into_iter().map(|seen| seen.path).collect();
        let wanted = ["/o/r/releases/latest", "/api/v3/repos/o/r/releases/latest", "/download/x"];
        assert_eq!(asked, wanted, "{to}");
    }
}

/// An announced length above the cap is refused by the head alone: no space is reserved for it, and nothing is waited for.
#[test]
fn what_says_that_it_is_too_large_is_not_begun() {
    let server =
        Server::start(|_, _| Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 9000000000000000000\r\n\r\n", "").hold());
    let env = Env::new();
    let ended = run(env.fetch().args(["--allow-http", "--into", "into"]).arg(format!("{}/x", server.url())));
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("larger than"), "{}", ended.stderr);
    assert_eq!(env.names(), [""; 0]);
}
