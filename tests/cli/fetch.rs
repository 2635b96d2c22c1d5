//! fetch, against a server of our own. What happens when it misbehaves is in `faults`.

mod cargo;
mod certificates;
mod faults;
mod github;
mod index;
mod list;
mod mirror;
mod oci;
mod places;
mod resume;
pub mod rows;
mod secrets;
mod strangers;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use fs_err as fs;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Reply, Seen, Server};

const BODY: &[u8] = b"the bytes of the asset";
/// `sha256sum` of [`BODY`].
const SHA256: &str = "83df6a94e8692155862f85c96e7a1d5fc87f1cd0123656ca387eae6ad45efd36";

/// A folder for the host's places, and one to fetch into.
struct Env {
    root: TempDir,
}

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Env {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("into")
    }

    fn fetch(&self) -> Command {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("fetch");
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        for name in ["GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL", "GITHUB_SERVER_URL"] {
            command.env_remove(name);
        }
        for name in ["UPSWAP_CACHE_DIR", "CACHE_DIRECTORY", "SSL_CERT_FILE", "CREDENTIALS_DIRECTORY"] {
            command.env_remove(name);
        }
        for name in ["OCI_USERNAME", "OCI_PASSWORD", "OCI_TOKEN_HOST"] {
            command.env_remove(name);
        }
        command.env("UPSWAP_ROOT", self.root.path()).current_dir(self.root.path());
        command
    }

    /// fetch from `server` for an amd64 host into a folder of its own.
    fn from(&self, server: &Server) -> Command {
        let mut command = self.fetch();
        command.env("GITHUB_API_URL", server.url()).args([
            "--allow-http",
            "--target",
            "x86_64-unknown-linux-gnu",
            "--into",
            "into",
        ]);
        command
    }

    /// The names in the folder that was fetched into; none when it does not exist.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.dir()) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A release as the API shows it, its assets on the server at `base`.
fn release(base: &str, tag: &str, assets: &[&str]) -> Value {
    let asset = |name: &&str| {
        json!({
            "name": name, "size": BODY.len(), "state": "uploaded",
            "url": format!("{base}/api-asset/{tag}/{name}"),
            "browser_download_url": format!("{base}/download/{tag}/{}", name.replace('\n', "%0A")),
        })
    };
    json!({
        "tag_name": tag, "draft": false, "prerelease": tag.starts_with("v9"), "published_at": "2026-01-01T00:00:00Z",
        "assets": assets.iter().map(asset).collect::<Vec<_>>(),
    })
}

const ASSETS: [&str; 4] =
    ["rune_linux_amd64.tar.gz", "rune_linux_arm64.tar.gz", "checksums.txt", "checksums.txt.minisig"];
const TAGS: [&str; 6] = ["v0.0.1-dev.45", "v9.0.0", "v2.0.0", "v1.10.0", "v1.9.0", "v2.1.0-rc.1"];

/// The repository o/r with some releases.
fn repository(seen: &Seen, base: &str) -> Reply {
    let path = seen.path.as_str();
    if let Some(tag) = path.strip_prefix("/repos/o/r/releases/tags/") {
        if TAGS.contains(&tag) {
            return Reply::new(200, release(base, tag, &ASSETS).to_string());
        }
    } else if path == "/repos/o/r/releases/latest" {
        return Reply::new(200, release(base, "v2.0.0", &ASSETS).to_string());
    } else if path.starts_with("/repos/o/r/releases?") {
        let releases: Vec<_> = TAGS.iter().map(|tag| release(base, tag, &ASSETS)).collect();
        return Reply::new(200, json!(releases).to_string());
    } else if path.starts_with("/download/") || path.starts_with("/api-asset/") {
        return Reply::new(200, BODY);
    }
    Reply::new(404, "{}")
}

/// A server whose one asset `/x.bin` is answered with `reply`.
fn serving(reply: Reply) -> Server {
    Server::start(move |_, _| reply.clone())
}

/// The same repository, whose API sends whoever asks for an asset's bytes to another host: both servers.
fn repository_with_assets_elsewhere() -> (Server, Server) {
    let other = Server::start(|_, _| Reply::new(200, BODY));
    let to = format!("{}/signed?sig=SECRET", other.url());
    let answer = move |seen: &Seen, base: &str| {
        if seen.path.starts_with("/api-asset/") { Reply::redirect(&to) } else { repository(seen, base) }
    };
    (Server::start(answer), other)
}

#[test]
fn a_release_and_its_sidecars_are_fetched_and_the_assets_alone_are_printed() {
    let (env, server) = (Env::new(), Server::start(repository));
    let args = ["--asset", "rune_{os}_{goarch}.tar.gz", "--sums", "checksums.txt", "--sig", "checksums.txt.minisig"];
    let ended = run(env.from(&server).args(args).arg("gh:o/r@v0.0.1-dev.45"));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "into/rune_linux_amd64.tar.gz\n"), "{}", ended.stderr);
    assert_eq!(ended.stderr, "", "nothing is drawn and nothing said where nothing is to be known");
    let names =
        ["checksums.txt", "checksums.txt.minisig", "rune_linux_amd64.tar.gz", "rune_linux_amd64.tar.gz.origin.json"];
    assert_eq!(env.names(), names);
    let record: Value = serde_json::from_slice(&fs::read(env.dir().join(names[3])).unwrap()).unwrap();
    assert_eq!(record["source"], "gh:o/r@v0.0.1-dev.45");
    assert_eq!(record["version"], "v0.0.1-dev.45");
    assert_eq!(record["asset"], "rune_linux_amd64.tar.gz");
    assert_eq!(record["digest"], SHA256);
}

#[test]
fn each_selector_picks_its_release() {
    let server = Server::start(repository);
    for (source, more, tag) in [
        ("gh:o/r", None, "v2.0.0"),
        ("gh:o/r@latest", None, "v2.0.0"),
        ("gh:o/r@v1", None, "v1.10.0"),
        ("gh:o/r@1.9", None, "v1.9.0"),
        ("gh:o/r@2.1.0-rc.1", None, "v2.1.0-rc.1"),
        ("gh:o/r@v2", Some("--pre"), "v2.1.0-rc.1"),
        ("gh:o/r", Some("--pre"), "v9.0.0"),
    ] {
        let env = Env::new();
        let ended = run(env.from(&server).args(more).arg("--json").arg(source));
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(answer["tag"], tag, "{source}: {}", ended.stderr);
        assert_eq!(answer["version"], tag[1..]);
        assert_eq!(answer["assets"][0]["name"], "rune_linux_amd64.tar.gz");
        assert_eq!(answer["assets"][0]["size"], BODY.len());
        assert_eq!(answer["assets"][0]["digest"], SHA256);
        assert_eq!(answer["assets"][0]["url"], format!("{}/download/{tag}/rune_linux_amd64.tar.gz", server.url()));
    }
}

#[test]
fn what_does_not_exist_is_a_no_and_says_what_to_try() {
    let server = Server::start(repository);
    for (source, says) in [
        ("gh:o/r@v3.0.0", "no release 'v3.0.0' (or it is private: set GITHUB_TOKEN)"),
        ("gh:o/r@v9", "only pre-releases such as v9.0.0; name one, or use --pre"),
        ("gh:o/r@v7", "no release for 'v7'"),
        ("gh:o/none", "no such repository"),
    ] {
        let env = Env::new();
        let ended = run(env.from(&server).arg(source));
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert_eq!(env.names(), [""; 0]);
    }
}

#[test]
fn the_asset_that_fits_is_taken_with_a_reason_and_two_that_fit_are_refused() {
    let server = Server::start(|seen, base| match seen.path.as_str() {
        path if path.ends_with("/v1.0.0") => Reply::new(
            200,
            release(base, "v1.0.0", &["a_linux_amd64.tar.gz", "a_linux_amd64.zip", "a_linux_arm64.zip"]).to_string(),
        ),
        _ => repository(seen, base),
    });
    let env = Env::new();
    let ended = run(env.from(&server).arg("gh:o/r@v2.0.0"));
    assert_eq!(ended.code, 0);
    assert!(
        ended.stderr.contains("rune_linux_amd64.tar.gz: taken for x86_64-unknown-linux-gnu, because"),
        "{}",
        ended.stderr
    );
    for args in [&["gh:o/r@v1.0.0"][..], &["--asset", "a_linux_{goarch}.*", "gh:o/r@v1.0.0"]] {
        let ended = run(env.from(&server).args(args));
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains("2 assets fit"), "{}", ended.stderr);
        assert!(ended.stderr.contains("a_linux_amd64.tar.gz, a_linux_amd64.zip; name one"), "{}", ended.stderr);
    }
}

#[test]
fn still_publishing_no_asset_for_this_host_and_a_wrong_name_are_told_apart() {
    let server = Server::start(|seen, base| {
        let mut uploading = release(base, "v1.0.0", &ASSETS);
        uploading["assets"][0]["state"] = "starter".into();
        let mut fresh = release(base, "v1.0.2", &ASSETS[1..2]);
        fresh["published_at"] = "2999-01-01T00:00:00Z".into();
        let mut unknown = release(base, "v1.0.3", &ASSETS[..1]);
        unknown["published_at"] = Value::Null;
        let mut empty = release(base, "v1.0.4", &[]);
        empty["published_at"] = Value::Null;
        Reply::new(
            200,
            match seen.path.rsplit('/').next().unwrap() {
                "v1.0.0" => uploading,
                "v1.0.1" => release(base, "v1.0.1", &ASSETS[1..]),
                "v1.0.2" => fresh,
                "v1.0.3" => unknown,
                _ => empty,
            }
            .to_string(),
        )
    });
    let env = Env::new();
    for (tag, args, code, says) in [
        ("v1.0.0", &[][..], 75, "still being published: rune_linux_amd64.tar.gz is being uploaded"),
        ("v1.0.1", &[], 1, "no asset for x86_64-unknown-linux-gnu; it has rune_linux_arm64.tar.gz, checksums.txt"),
        ("v1.0.1", &["--asset", "*amd64*"], 1, "no asset '*amd64*'"),
        ("v1.0.2", &[], 75, "no asset for x86_64-unknown-linux-gnu yet, some minutes after it appeared"),
        ("v1.0.3", &["--sums", "checksums.txt"], 75, "no asset 'checksums.txt' yet, or the name is wrong"),
        ("v1.0.4", &[], 75, "it has no assets yet"),
    ] {
        let ended = run(env.from(&server).args(args).arg(format!("gh:o/r@{tag}")));
        assert_eq!(ended.code, code, "{tag}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{tag}: {}", ended.stderr);
        assert_eq!(env.names(), [""; 0]);
    }
}

#[test]
fn an_asset_that_is_there_already_is_not_fetched_again() {
    let server = Server::start(|seen, base| {
        let mut answer = release(base, "v1.0.0", &ASSETS[..1]);
        answer["assets"][0]["digest"] = format!("sha256:{SHA256}").into();
        if seen.path.contains("/tags/") { Reply::new(200, answer.to_string()) } else { repository(seen, base) }
    });
    let env = Env::new();
    for _ in 0..2 {
        assert_eq!(run(env.from(&server).arg("gh:o/r@v1.0.0")).code, 0);
    }
    let downloads = |server: &Server| server.seen().iter().filter(|seen| seen.path.starts_with("/download/")).count();
    assert_eq!(downloads(&server), 1);
    fs::write(env.dir().join(ASSETS[0]), "changed").unwrap();
    assert_eq!(run(env.from(&server).arg("gh:o/r@v1.0.0")).code, 0);
    assert_eq!(fs::read(env.dir().join(ASSETS[0])).unwrap(), BODY);
}

#[test]
fn an_address_is_filled_with_the_version_behind_it() {
    let (env, server) = (Env::new(), serving(Reply::new(200, BODY)));
    let source = format!("{}/{{tag}}/x-{{version}}-{{goarch}}.tgz@v1.2.3", server.url());
    let ended = run(env.from(&server).args(["--sums", "x-{version}.sums", &source]));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "into/x-1.2.3-amd64.tgz\n"), "{}", ended.stderr);
    let paths: Vec<_> = server.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/v1.2.3/x-1.2.3-amd64.tgz", "/v1.2.3/x-1.2.3.sums"]);
    assert_eq!(env.names(), ["x-1.2.3-amd64.tgz", "x-1.2.3-amd64.tgz.origin.json", "x-1.2.3.sums"]);
}

#[test]
fn a_list_is_sorted_and_newer_than_answers_no_when_nothing_is() {
    let (env, server) = (Env::new(), Server::start(repository));
    let list = |args: &[&str]| run(env.fetch().env("GITHUB_API_URL", server.url()).arg("--allow-http").args(args));
    assert_eq!(list(&["--list", "gh:o/r"]).stdout, "v2.0.0\nv1.10.0\nv1.9.0\n");
    assert_eq!(
        list(&["--list", "--pre", "gh:o/r"]).stdout,
        "v9.0.0\nv2.1.0-rc.1\nv2.0.0\nv1.10.0\nv1.9.0\nv0.0.1-dev.45\n"
    );
    assert_eq!(list(&["--list", "-0", "gh:o/r@v1"]).stdout, "v1.10.0\0v1.9.0\0");
    assert_eq!(list(&["--list", "--newer-than", "1.9", "gh:o/r@v1"]).stdout, "v1.10.0\n");
    let json: Value = serde_json::from_str(&list(&["--list", "--json", "gh:o/r@v2"]).stdout).unwrap();
    assert_eq!(json["releases"][0]["tag"], "v2.0.0");
    let asset = json!({ "name": ASSETS[0], "size": BODY.len(), "digest": null });
    assert_eq!(json["releases"][0]["assets"][0], asset);
    assert_eq!(json["releases"][0]["published"], "2026-01-01T00:00:00Z");
    for args in [&["--list", "--newer-than", "v2", "gh:o/r"][..], &["--newer-than", "v2.0.0", "gh:o/r"]] {
        let ended = list(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
        assert!(ended.stderr.contains("nothing newer"), "{}", ended.stderr);
    }
    assert_eq!(run(env.from(&server).args(["--newer-than", "v1.10.0", "gh:o/r"])).code, 0);
    assert_eq!(list(&["--list", &server.url()]).code, 2);
}

/// `DIR/VERSION/` with an asset and its checksums.
fn folder(root: &Path) {
    for version in ["v1.0.0", "v1.1.0", "v2.0.0-rc.1"] {
        let dir = root.join("releases").join(version);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("x_linux_amd64.tar.gz"), BODY).unwrap();
        fs::write(dir.join("SHA256SUMS"), version).unwrap();
    }
}

#[test]
fn a_folder_of_versions_is_a_source_and_so_is_what_fetch_left() {
    let env = Env::new();
    folder(env.root.path());
    let fetch = |args: &[&str]| {
        run(env.fetch().args(["--target", "x86_64-unknown-linux-gnu", "--sums", "SHA256SUMS"]).args(args))
    };
    let ended = fetch(&["--into", "into", "releases@v1"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "into/x_linux_amd64.tar.gz\n"), "{}", ended.stderr);
    assert_eq!(fs::read(env.dir().join("SHA256SUMS")).unwrap(), b"v1.1.0");

    let ended = fetch(&["--json", "into@v1.1.0"]);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(answer["tag"], "v1.1.0", "{}", ended.stderr);
    let path = answer["assets"][0]["path"].as_str().unwrap();
    assert!(path.contains("/var/cache/upswap/fetch/local/into-"), "{path}");
    assert!(path.ends_with("/v1.1.0/x_linux_amd64.tar.gz"), "{path}");
    assert_eq!(fs::read(path).unwrap(), BODY);

    assert_eq!(fetch(&["releases@v2"]).code, 1);
    assert_eq!(fetch(&["releases@v2.0.0-rc.1"]).code, 0);
    assert_eq!(fetch(&["releases@v3.0.0"]).code, 1);
    assert_eq!(run(env.fetch().args(["--list", "releases"])).stdout, "v1.1.0\nv1.0.0\n");
}

#[test]
fn a_file_is_a_source_with_its_evidence_beside_it() {
    let env = Env::new();
    fs::write(env.root.path().join("x.bin"), BODY).unwrap();
    fs::write(env.root.path().join("x.bin.sha256"), SHA256).unwrap();
    let ended = run(env.fetch().args(["--sums", "x.bin.sha256", "--into", "into", "x.bin"]));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "into/x.bin\n"), "{}", ended.stderr);
    assert_eq!(env.names(), ["x.bin", "x.bin.origin.json", "x.bin.sha256"]);
    assert_eq!(run(env.fetch().args(["--sums", "none", "--into", "into", "x.bin"])).code, 1);
    assert_eq!(run(env.fetch().args(["--max-size", "5", "--into", "into", "x.bin"])).code, 3);
}

#[test]
fn a_folder_whose_name_is_not_utf8_is_taken_as_it_is() {
    let env = Env::new();
    fs::write(env.root.path().join("x.bin"), BODY).unwrap();
    let name = OsStr::from_bytes(b"in\xffto");
    let output = env.fetch().arg("-0").arg("--into").arg(name).arg("x.bin").output().unwrap();
    assert_eq!(output.stdout, b"in\xffto/x.bin\0");
    assert_eq!(fs::read(env.root.path().join(name).join("x.bin")).unwrap(), BODY);
}

#[test]
fn a_full_stdout_is_an_error_and_no_panic() {
    let env = Env::new();
    fs::write(env.root.path().join("x.bin"), BODY).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = run_into(env.fetch().args(["--into", "into", "x.bin"]), full);
    assert_eq!(ended.code, 3);
    assert!(ended.stderr.starts_with("fetch: standard output: "), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1);
}

/// The same command for a test that starts it and does not wait.
fn plain(command: &mut Command) -> std::process::Command {
    let mut plain = std::process::Command::new(command.get_program());
    plain.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => plain.env(name, value),
            None => plain.env_remove(name),
        };
    }
    plain
}

/// `Command` captures stdout always; here it goes to `stdout`.
fn run_into(command: &mut Command, stdout: std::fs::File) -> Ended {
    let mut plain = plain(command);
    let output = plain.stdout(stdout).stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    let env = Env::new();
    for args in [
        &[][..],
        &["--asset", "{nothing}", "gh:o/r"],
        &["--max-size", "0", "gh:o/r"],
        &["--timeout", "infinity", "gh:o/r"],
        &["--target", "nowhere", "gh:o/r"],
        &["--list", "--into", "x", "gh:o/r"],
        &["oci://h/R"],
        &["oci://h/r:v1@v2"],
        &["cargo:x@nightly"],
        &["npm:x"],
        &["https://h/{version}.tgz"],
        &["--newer-than", "nightly", "gh:o/r"],
    ] {
        let ended = run(env.fetch().args(args));
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn help_says_it_all() {
    let ended = run(Env::new().fetch().env("COLUMNS", "100").arg("--help"));
    assert_eq!(ended.code, 0);
    insta::assert_snapshot!(ended.stdout);
}
