//! fetch from an address whose versions an index tells.

use serde_json::Value;

use super::{BODY, Ended, Env, SHA256, run};
use crate::http::{Reply, Server};

/// Serves `index` at `/d/index`, and files below `/d/`.
fn serving(index: impl Into<Vec<u8>>) -> Server {
    let index = index.into();
    Server::start(move |seen, _| match seen.path.as_str() {
        "/d/index" => Reply::new(200, &index),
        path if path.starts_with("/d/") => Reply::new(200, BODY),
        _ => Reply::new(404, ""),
    })
}

fn fetch(server: &Server, selector: &str, args: &[&str]) -> (Ended, Env) {
    let env = Env::new();
    let source = format!("{}/d/{{tag}}/x-{{version}}-{{goarch}}.tgz{selector}", server.url());
    let mut command = env.fetch();
    command.args(["--allow-http", "--retry", "0", "--target", "x86_64-unknown-linux-gnu"]);
    let ended = run(command.args(args).arg(source));
    (ended, env)
}

fn tag(server: &Server, selector: &str, args: &[&str]) -> Result<String, (i32, String)> {
    let (ended, _env) = fetch(server, selector, &[&["--index", "index", "--json"], args].concat());
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    if ended.code == 0 { Ok(answer["tag"].as_str().unwrap().to_owned()) } else { Err((ended.code, ended.stderr)) }
}

const VERSIONS: &str = "v1.0.0\nv1.1.0\nv2.0.0-rc.1\n# a comment\nv1.10.0\n";

#[test]
fn each_selector_picks_from_the_index() {
    let server = serving(VERSIONS);
    assert_eq!(tag(&server, "", &[]).unwrap(), "v1.10.0");
    assert_eq!(tag(&server, "@latest", &[]).unwrap(), "v1.10.0");
    assert_eq!(tag(&server, "@latest", &["--pre"]).unwrap(), "v2.0.0-rc.1");
    assert_eq!(tag(&server, "@v1.0", &[]).unwrap(), "v1.0.0");
    let (code, says) = tag(&server, "@v2", &[]).unwrap_err();
    assert!(code == 1 && says.contains("only pre-releases such as v2.0.0-rc.1"), "{says}");
    let (code, says) = tag(&server, "", &["--newer-than", "v1.10.0"]).unwrap_err();
    assert!(code == 1 && says.contains("nothing newer: it has v1.10.0"), "{says}");
    let paths: Vec<_> = server.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(&paths[..2], ["/d/index", "/d/v1.10.0/x-1.10.0-amd64.tgz"]);
}

#[test]
fn a_version_that_is_named_in_full_is_not_looked_up() {
    let server = serving(VERSIONS);
    assert_eq!(tag(&server, "@v9.9.9", &[]).unwrap(), "v9.9.9");
    assert!(server.seen().iter().all(|seen| seen.path != "/d/index"));
}

#[test]
fn the_index_is_listed() {
    let server = serving(VERSIONS);
    let list =
        |selector: &str, args: &[&str]| fetch(&server, selector, &[&["--index", "index", "--list"], args].concat()).0;
    assert_eq!(list("", &[]).stdout, "v1.10.0\nv1.1.0\nv1.0.0\n");
    assert_eq!(list("@v1", &["--newer-than", "1.0.0"]).stdout, "v1.10.0\nv1.1.0\n");
    assert_eq!(list("@v1", &["--newer-than", "v1.10.0"]).code, 1);
    let server = serving(
        r#"[{"tag_name":"v1.0.0","published_at":"2026-01-02T03:04:05Z"},{"tag_name":"v1.1.0","prerelease":true}]"#,
    );
    let ended = fetch(&server, "", &["--index", "index", "--list", "--long", "--pre"]).0;
    assert_eq!(ended.stdout, "v1.1.0\t-\t-\tpre\t-\nv1.0.0\t2026-01-02T03:04:05Z\t-\tfinal\t-\n");
}

#[test]
fn one_line_a_checksum_list_and_json_are_indexes_too() {
    let sums = format!("{SHA256}  x-1.0.0-amd64.tgz\n{SHA256} *x-1.2.0-amd64.tgz\n{SHA256}  x-3.0.0-arm64.tgz\n");
    for (index, latest) in [
        ("v1.31.4\n", "v1.31.4"),
        (sums.as_str(), "1.2.0"),
        (r#"["v1.0.0","v1.2.0"]"#, "v1.2.0"),
        (r#"{"name":"x","versions":{"1.2.0":{},"1.10.0":{}}}"#, "1.10.0"),
    ] {
        assert_eq!(tag(&serving(index), "", &[]).unwrap(), latest);
    }
}

#[test]
fn an_index_that_is_none_is_refused_and_nothing_is_fetched() {
    let huge = "1.0\n".repeat(2 << 20);
    for (index, says) in [
        ("<!DOCTYPE html><html>", "it is a web page"),
        ("v1.0.0\u{1b}]0;x\u{7}\n", "it is no plain text"),
        ("../../etc/passwd\n", "\"../../etc/passwd\" is no version"),
        ("{\"a\":1}", "its JSON is no list of versions"),
        ("[\"v1", "it is no JSON"),
        (&huge, "larger than 4M"),
    ] {
        let server = serving(index);
        let (ended, env) = fetch(&server, "", &["--index", "index", "--into", "into"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("/d/index: not a version index: ") && ended.stderr.contains(says),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.stderr.lines().count(), 1);
        assert_eq!((env.names().len(), server.seen().len()), (0, 1));
    }
    let (ended, _env) = fetch(&serving(""), "", &["--index", "nothing-there.txt", "--into", "into"]);
    assert_eq!(ended.code, 3, "a file that is no index: {}", ended.stderr);
    let (ended, _env) = fetch(&serving(""), "", &["--index", "/gone"]);
    assert!(ended.code == 1 && ended.stderr.contains("/gone: not found (404)"), "{}", ended.stderr);
    let (ended, _env) = fetch(&serving(""), "", &["--index", "index"]);
    assert!(ended.code == 1 && ended.stderr.contains("no release there"), "{}", ended.stderr);
}

#[test]
fn a_header_goes_to_an_index_of_the_same_host_alone() {
    let other = serving(VERSIONS);
    let server = serving(VERSIONS);
    let url = format!("{}/d/index", other.url());
    for index in ["index", &url] {
        assert_eq!(fetch(&server, "", &["--header", "X-Key: SECRET", "--index", index]).0.code, 0);
    }
    assert!(server.seen().iter().all(|seen| seen.headers.contains_key("x-key")) && server.seen().len() == 3);
    assert!(other.seen().iter().all(|seen| !seen.headers.contains_key("x-key")) && other.seen().len() == 1);
}

#[test]
fn wrong_ways_to_name_an_index_are_usage_errors() {
    let env = Env::new();
    for args in [
        &["--index", "i.txt", "gh:o/r"][..],
        &["--index", "i.txt", "/tmp"],
        &["--index", "i.txt", "https://h/x.tgz"],
        &["--index", "{tag}.txt", "https://h/{tag}/x.tgz"],
        &["--list", "https://h/{tag}/x.tgz@v1"],
        &["https://h/{tag}/x.tgz@latest"],
        &["--long", "gh:o/r"],
    ] {
        let ended = run(env.fetch().args(args));
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
