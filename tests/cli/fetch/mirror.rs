//! A mirror for hosts without a network: what fetch left, copied.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use serde_json::Value;
use upswap::words::digest::Digest;

use super::{Env, release, run};
use crate::http::{Reply, Server};

const BINARY: &str = "x_linux_amd64";

/// What the program of release `tag` holds.
fn content(tag: &str) -> String {
    format!("#!/bin/sh\necho {tag}\n")
}

/// A repository with three releases, each a program and its checksum list.
fn repository() -> Server {
    Server::start(|seen, base| {
        let asset = seen.path.strip_prefix("/download/").and_then(|rest| rest.split_once('/'));
        if let Some((tag, name)) = asset {
            let tag = &tag.replace("%2F", "/");
            let digest = Digest::of(content(tag).as_bytes());
            return Reply::new(200, if name == BINARY { content(tag) } else { format!("{digest}  {BINARY}\n") });
        }
        match seen.path.strip_prefix("/repos/o/r/releases/tags/") {
            Some(tag) => {
                let mut answer = release(base, &tag.replace("%2F", "/"), &[BINARY, "SHA256SUMS"]);
                for asset in answer["assets"].as_array_mut().unwrap() {
                    asset["size"] = Value::Null;
                    let address = asset["browser_download_url"].as_str().unwrap().replace("rune/v", "rune%2Fv");
                    asset["browser_download_url"] = address.into();
                }
                Reply::new(200, answer.to_string())
            }
            None => Reply::new(404, "{}"),
        }
    })
}

/// Copies a folder with everything in it, as `cp -r` does.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// A tool in a network namespace that has no network, not even a loopback that is up.
fn without_network(env: &Env, tool: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new("unshare");
    let root = nix::unistd::geteuid().is_root();
    command.args(if root { &["--net"][..] } else { &["--map-root-user", "--net"] });
    command
        .arg(assert_cmd::cargo::cargo_bin(tool))
        .args(args)
        .env("UPSWAP_ROOT", env.root.path())
        .current_dir(env.root.path());
    for name in ["UPSWAP_CACHE_DIR", "CACHE_DIRECTORY", "http_proxy", "HTTP_PROXY"] {
        command.env_remove(name);
    }
    let output = command.output().expect("unshare(1) is missing");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("unshare"), "no network namespace can be had here: {err}");
    (output.status.code().unwrap(), out, err)
}

#[test]
fn what_fetch_left_serves_hosts_without_a_network() {
    let (env, server) = (Env::new(), repository());
    let tags = ["v1.0.0", "v1.1.0", "v2.0.0-rc.1", "rune/v0.9.0", "v9.0.0"];
    for tag in tags {
        let args = ["--allow-http", "--target", "x86_64-unknown-linux-gnu", "--sums", "SHA256SUMS"];
        let ended = run(env.fetch().env("GITHUB_API_URL", server.url()).args(args).arg(format!("gh:o/r@{tag}")));
        assert_eq!(ended.code, 0, "{tag}: {}", ended.stderr);
    }
    let kept = env.root.path().join("var/cache/upswap/fetch").join("127.0.0.1/o/r");
    let mirror = env.root.path().join("mirror");
    copy(&kept, &mirror);
    // What a fetch of a version that is not there leaves.
    fs::create_dir(mirror.join("v1.2.0")).unwrap();
    drop(server);
    fs::remove_dir_all(&kept).unwrap();

    // The publisher's mark came along: v9.0.0 is a pre-release by it alone, and no selector below picks it.
    // Canary: there really is no network in there.
    let (code, _, err) = without_network(&env, "fetch", &["--retry", "0", "--timeout", "20s", "gh:o/r@v1.0.0"]);
    assert_eq!(code, 75, "{err}");

    for (selector, tag) in [
        ("", "v1.1.0"),
        ("@latest", "v1.1.0"),
        ("@v1.0", "v1.0.0"),
        ("@1.0.0", "v1.0.0"),
        ("@v2.0.0-rc.1", "v2.0.0-rc.1"),
        ("@rune/v0.9.0", "rune/v0.9.0"),
    ] {
        let source = format!("mirror{selector}");
        let args = ["--target", "x86_64-unknown-linux-gnu", "--sums", "SHA256SUMS", "--json", &source];
        let (code, out, err) = without_network(&env, "fetch", &args);
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, answer["tag"].as_str()), (0, Some(tag)), "{selector}: {err}");
        let asset = answer["assets"][0]["path"].as_str().unwrap();
        assert_eq!(fs::read_to_string(asset).unwrap(), content(tag));
        let (code, out, err) = without_network(&env, "verify", &["--check", "--sums", "SHA256SUMS", asset]);
        assert_eq!(code, 0, "{err}{out}");
        fs::write(asset, "changed").unwrap();
        assert_eq!(without_network(&env, "verify", &["--check", "--sums", "SHA256SUMS", asset]).0, 1, "the canary");
    }

    let url = format!("file://{}", mirror.display());
    let (code, out, err) = without_network(&env, "fetch", &["--list", "--pre", &url]);
    assert_eq!((code, out.as_str()), (0, "v9.0.0\nv2.0.0-rc.1\nv1.1.0\nv1.0.0\nrune/v0.9.0\n"), "{err}");
    let (code, out, _) = without_network(&env, "fetch", &["--list", "--newer-than", "v1.0.0", "mirror"]);
    assert_eq!((code, out.as_str()), (0, "v1.1.0\n"));
    assert_eq!(without_network(&env, "fetch", &["--list", "--newer-than", "v1.1.0", "mirror"]).0, 1);
    let (_, out, _) =
        without_network(&env, "fetch", &["--list", "--long", "--target", "x86_64-unknown-linux-gnu", "mirror@v1.0"]);
    assert_eq!(out, format!("v1.0.0\t2026-01-01T00:00:00Z\t{}\tfinal\t-\n", content("v1.0.0").len()));
}

#[test]
fn two_folders_with_the_same_version_do_not_meet() {
    let env = Env::new();
    let mut paths = Vec::new();
    for place in ["a/mirror", "b/mirror"] {
        let dir = env.root.path().join(place).join("v1.0.0");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(BINARY), place).unwrap();
        let ended = run(env.fetch().args(["--target", "x86_64-unknown-linux-gnu", place]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        paths.push(ended.stdout.trim().to_owned());
    }
    assert_ne!(paths[0], paths[1]);
    assert_eq!(
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect::<Vec<_>>(),
        ["a/mirror", "b/mirror"]
    );
    assert!(
        paths[0].as_bytes().is_ascii()
            && std::ffi::OsStr::new(&paths[0]).as_bytes().ends_with(b"/v1.0.0/x_linux_amd64")
    );
}
