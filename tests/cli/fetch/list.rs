//! fetch --list for people and for scripts.

use std::process::Command;

use serde_json::{Value, json};

use super::{Env, run};
use crate::http::{Reply, Server};

/// Three releases of several kinds.
fn server() -> Server {
    Server::start(|seen, base| {
        let asset = |name: &str, size: u64| {
            json!({ "name": name, "size": size, "state": "uploaded", "browser_download_url": format!("{base}/{name}"),
                "digest": "sha256:83df6a94e8692155862f85c96e7a1d5fc87f1cd0123656ca387eae6ad45efd36" })
        };
        let release = |tag: &str, pre: bool, published: Value, assets: Vec<Value>| {
            json!({ "tag_name": tag, "prerelease": pre, "published_at": published, "assets": assets,
                "html_url": format!("https://github.com/o/r/releases/tag/{tag}") })
        };
        let mut draft = release("v9.0.0", false, Value::Null, vec![]);
        draft["draft"] = true.into();
        let releases = json!([
            draft,
            release(
                "v2.0.0-rc.1",
                true,
                "2026-03-01T10:00:00Z".into(),
                vec![asset("r_linux_amd64", 12_345_678), asset("r_linux_arm64", 1)]
            ),
            release(
                "v1.10.0",
                false,
                "2026-02-01T10:00:00Z".into(),
                vec![asset("r_linux_arm64", 5), asset("SUMS", 80)]
            ),
            release("v1.9.0", false, Value::Null, vec![asset("r_linux_amd64", 999)]),
        ]);
        if seen.path.contains("/releases?") { Reply::new(200, releases.to_string()) } else { Reply::new(404, "{}") }
    })
}

/// `fetch --list` with these arguments, its standard output a pipe.
fn list(server: &Server, args: &[&str]) -> String {
    let env = Env::new();
    let mut command = env.fetch();
    command.env("GITHUB_API_URL", server.url()).args(["--allow-http", "--list"]);
    if !args.contains(&"--target") {
        command.args(["--target", "x86_64-unknown-linux-gnu"]);
    }
    let ended = run(command.args(args).arg("gh:o/r"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

#[test]
fn a_pipe_gets_a_tag_a_line_and_with_long_its_columns() {
    let server = server();
    assert_eq!(list(&server, &[]), "v1.10.0\nv1.9.0\n");
    insta::assert_snapshot!(list(&server, &["--pre", "--long"]), @r"
    v2.0.0-rc.1	2026-03-01T10:00:00Z	12345678	pre	https://github.com/o/r/releases/tag/v2.0.0-rc.1
    v1.10.0	2026-02-01T10:00:00Z	-	final	https://github.com/o/r/releases/tag/v1.10.0
    v1.9.0	-	999	final	https://github.com/o/r/releases/tag/v1.9.0
    ");
    let nul = list(&server, &["--long", "-0"]);
    assert_eq!(nul.matches('\0').count(), 2);
    assert!(nul.split_terminator('\0').all(|record| record.split('\t').count() == 5), "{nul:?}");
    let arm = list(&server, &["--long", "--target", "aarch64-unknown-linux-gnu"]);
    assert_eq!(arm.lines().next().unwrap().split('\t').nth(2), Some("5"));
}

#[test]
fn the_json_has_dates_sizes_digests_and_notes() {
    let answer: Value = serde_json::from_str(&list(&server(), &["--pre", "--json"])).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&answer["releases"][0]).unwrap());
    assert_eq!(answer["releases"][1]["fits"], Value::Null);
    assert_eq!(answer["releases"][2]["published"], Value::Null);
}

/// A terminal of its own for fetch, which script(1) gives.
#[test]
fn a_terminal_gets_a_table() {
    let (env, server) = (Env::new(), server());
    let fetch = env.fetch();
    let line = format!(
        "{} --list --pre --allow-http --target x86_64-unknown-linux-gnu gh:o/r",
        fetch.get_program().to_str().unwrap()
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("GITHUB_API_URL", server.url());
    for name in ["GITHUB_TOKEN", "GH_TOKEN", "GITHUB_SERVER_URL", "http_proxy", "HTTP_PROXY"] {
        command.env_remove(name);
    }
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script(1) is missing; scripts/deps names its package");
    let shown = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    assert!(output.status.success(), "{shown}");
    insta::assert_snapshot!(shown, @r"
    TAG          PUBLISHED   SIZE       NOTES
    v2.0.0-rc.1  2026-03-01   12M  pre  https://github.com/o/r/releases/tag/v2.0.0-rc.1
    v1.10.0      2026-02-01     -       https://github.com/o/r/releases/tag/v1.10.0
    v1.9.0       -            999       https://github.com/o/r/releases/tag/v1.9.0
    ");
}
