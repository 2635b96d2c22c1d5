//! fetch from GitHub with and without its API: what is asked, and that the answers are the same.

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{ASSETS, BODY, Ended, Env, SHA256, release, repository, run};
use crate::http::{Reply, Seen, Server};

/// Arguments that name every asset, so that no list of them is needed.
const NAMED: [&str; 4] = ["--asset", "rune_{os}_{goarch}.tar.gz", "--sums", "checksums.txt"];

/// The web of the repository o/r besides its API: `latest` and the downloads.
fn web(seen: &Seen, base: &str) -> Reply {
    match seen.path.as_str() {
        "/o/r/releases/latest" => Reply::redirect(&format!("{base}/o/r/releases/tag/v2.0.0")),
        "/old/r/releases/latest" => Reply::redirect(&format!("{base}/o/r/releases/latest")),
        path if path.starts_with("/o/r/releases/download/v2.0.0/")
            || path.starts_with("/old/r/releases/download/v2.0.0/") =>
        {
            Reply::new(200, BODY)
        }
        _ => Reply::new(404, "Not Found"),
    }
}

/// The web, and an API that has the releases of [`repository`] with their digests, below Enterprise's `/api/v3`.
fn all(seen: &Seen, base: &str) -> Reply {
    match seen.path.strip_prefix("/api/v3") {
        Some(path) => repository(&Seen { path: path.to_owned(), ..seen.clone() }, base),
        None if seen.path.starts_with("/download/") || seen.path.starts_with("/api-asset/") => Reply::new(200, BODY),
        None => web(seen, base),
    }
}

/// The web, and an API that is used up until 2100.
fn limited(seen: &Seen, base: &str) -> Reply {
    let used_up =
        || Reply::new(403, "{}").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "4102444800");
    if seen.path.starts_with("/api/v3/") { used_up() } else { web(seen, base) }
}

/// fetch from `server` as from an Enterprise server.
fn from(env: &Env, server: &Server) -> Command {
    let mut command = env.from(server);
    command.env("GITHUB_API_URL", format!("{}/api/v3", server.url())).args(["--retry", "0"]);
    command
}

fn tag(ended: &Ended) -> String {
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    answer["tag"].as_str().unwrap_or_default().to_owned()
}

/// The paths that were asked for, the API's by themselves.
fn asked(server: &Server) -> (Vec<String>, Vec<String>) {
    server.seen().into_iter().map(|seen| seen.path).partition(|path| path.starts_with("/api/v3/"))
}

#[test]
fn latest_and_a_tag_with_named_assets_do_not_use_the_api() {
    for (source, paths) in [
        ("gh:o/r", &["/o/r/releases/latest"][..]),
        ("gh:o/r@latest", &["/o/r/releases/latest"]),
        ("gh:old/r", &["/old/r/releases/latest", "/o/r/releases/latest"]),
        ("gh:o/r@v2.0.0", &[]),
    ] {
        let (env, server) = (Env::new(), Server::start(limited));
        let ended = run(from(&env, &server).args(NAMED).args(["--json", source]));
        assert_eq!((ended.code, tag(&ended).as_str()), (0, "v2.0.0"), "{source}: {}", ended.stderr);
        assert_eq!(ended.stderr, "", "{source}");
        let (api, web) = asked(&server);
        assert_eq!((api.len(), web.len()), (0, paths.len() + 2), "{source}: {web:?}");
        assert_eq!(&web[..paths.len()], paths);
        let names = [ASSETS[2], ASSETS[0], "rune_linux_amd64.tar.gz.origin.json"];
        assert_eq!(env.names(), names);
    }
}

#[test]
fn what_only_the_api_can_tell_is_asked_of_it() {
    for (args, source) in [
        (&NAMED[..], "gh:o/r@v2"),
        (&NAMED, "gh:o/r@2.0.0"),
        (&["--asset", "rune_*_amd64.tar.gz"], "gh:o/r@v2.0.0"),
        (&["--asset", ASSETS[0], "--sums", "check*.minisig"], "gh:o/r"),
        (&[], "gh:o/r"),
    ] {
        let (env, server) = (Env::new(), Server::start(all));
        let ended = run(from(&env, &server).args(args).args(["--json", source]));
        assert_eq!((ended.code, tag(&ended).as_str()), (0, "v2.0.0"), "{source}: {}", ended.stderr);
        assert!(!asked(&server).0.is_empty(), "{source} {args:?}");
    }
}

#[test]
fn with_a_token_the_api_is_asked_and_its_digests_count() {
    for (digest, code) in [(SHA256, 0), ("83df6a94e8692155862f85c96e7a1d5fc87f1cd0123656ca387eae6ad45efd37", 3)] {
        let server = Server::start(move |seen, base| {
            let mut answer = release(base, "v2.0.0", &ASSETS);
            answer["assets"][0]["digest"] = format!("sha256:{digest}").into();
            answer["assets"][0]["url"] = format!("{base}/api/v3/asset").into();
            match seen.path.as_str() {
                "/api/v3/repos/o/r/releases/latest" => Reply::new(200, answer.to_string()),
                "/api/v3/asset" => Reply::new(200, BODY),
                _ => Reply::new(404, "{}"),
            }
        });
        let env = Env::new();
        let ended = run(from(&env, &server).env("GITHUB_TOKEN", "SECRET").args(&NAMED[..2]).arg("gh:o/r"));
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert_eq!(server.seen().len(), 2);
        assert!(server.seen().iter().all(|seen| seen.headers["authorization"] == "Bearer SECRET"));
    }
}

#[test]
fn with_a_token_and_an_api_that_is_of_no_use_the_web_is_asked_without_the_token() {
    for api in [Reply::new(429, "").header("Retry-After", "86400"), Reply::new(504, "")] {
        let server = Server::start(
            move |seen, base| {
                if seen.path.starts_with("/api/v3/") { api.clone() } else { web(seen, base) }
            },
        );
        let env = Env::new();
        let ended = run(from(&env, &server).env("GH_TOKEN", "SECRET").args(NAMED).args(["--json", "gh:o/r"]));
        assert_eq!((ended.code, tag(&ended).as_str()), (0, "v2.0.0"), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("o/r: the API can't be asked now; taken without its digests"),
            "{}",
            ended.stderr
        );
        let seen = server.seen();
        let told: Vec<_> = seen.iter().filter(|seen| seen.headers.contains_key("authorization")).collect();
        assert!(told.iter().all(|seen| seen.path.starts_with("/api/v3/")) && !told.is_empty(), "{told:?}");
    }
}

/// The four answers, and that each is the same whether the API was asked at once or only when the download was not there.
#[test]
fn publishing_no_asset_rate_limited_and_not_found_are_four_answers_on_both_ways() {
    let api = |seen: &Seen, base: &str| {
        let mut fresh = release(base, "v1.0.1", &ASSETS[2..3]);
        fresh["published_at"] = "2999-01-01T00:00:00Z".into();
        let mut uploading = release(base, "v1.0.2", &ASSETS);
        uploading["assets"][0]["state"] = "starter".into();
        let mut draft = release(base, "v1.0.4", &ASSETS);
        draft["draft"] = true.into();
        match seen.path.strip_prefix("/api/v3/repos/o/r/releases/tags/") {
            Some("v1.0.1") => Reply::new(200, fresh.to_string()),
            Some("v1.0.2") => Reply::new(200, uploading.to_string()),
            Some("v1.0.3") => Reply::new(200, release(base, "v1.0.3", &ASSETS[1..3]).to_string()),
            Some("v1.0.4") => Reply::new(200, draft.to_string()),
            Some("v1.0.5") => {
                Reply::new(403, "{}").header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "4102444800")
            }
            Some("v1.0.6") => Reply::new(504, ""),
            _ if seen.path == "/api/v3/repos/o/r/releases?per_page=50&page=1" => Reply::new(200, "[]"),
            _ => Reply::new(404, "{}"),
        }
    };
    // Without the asset's name the API is asked at once; with it, after the download was not found.
    for named in [false, true] {
        for (tag, code, at_once, later) in [
            (
                "v1.0.1",
                75,
                "still being published: no asset for x86_64-unknown-linux-gnu yet",
                "still being published: no asset 'rune_linux_amd64.tar.gz' yet",
            ),
            (
                "v1.0.2",
                75,
                "still being published: rune_linux_amd64.tar.gz is being uploaded",
                "still being published: rune_linux_amd64.tar.gz is being uploaded",
            ),
            (
                "v1.0.3",
                1,
                "no asset for x86_64-unknown-linux-gnu; it has rune_linux_arm64.tar.gz",
                "no asset 'rune_linux_amd64.tar.gz'; it has rune_linux_arm64.tar.gz",
            ),
            (
                "v1.0.4",
                1,
                "no release 'v1.0.4' (or it is private: set GITHUB_TOKEN)",
                "no release 'v1.0.4' (or it is private: set GITHUB_TOKEN)",
            ),
            (
                "v1.0.5",
                75,
                "rate limit reached; try again at 2100-01-01T00:00:00Z",
                "only the API can tell, and that fails: ",
            ),
            (
                "v1.0.5",
                75,
                "a token in GITHUB_TOKEN raises the limit",
                "rate limit reached; try again at 2100-01-01T00:00:00Z",
            ),
            ("v1.0.6", 75, "the server answers 504", "whether it is still being published"),
            ("v1.0.7", 1, "no release 'v1.0.7'", "no release 'v1.0.7' (or it is private: set GITHUB_TOKEN)"),
        ] {
            let (env, server) = (Env::new(), Server::start(api));
            let args = if named { &NAMED[..2] } else { &[] };
            let ended = run(from(&env, &server).args(args).arg(format!("gh:o/r@{tag}")));
            let says = if named { later } else { at_once };
            assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{tag} {named}: {}", ended.stderr);
            assert!(ended.stderr.contains(says), "{tag} {named}: {}", ended.stderr);
            let lines = ended.stderr.lines().filter(|line| !line.contains(": taken for "));
            assert_eq!(lines.count(), 1, "{}", ended.stderr);
            assert_eq!(env.names(), [""; 0]);
            let direct = asked(&server).1;
            assert_eq!(direct.len(), usize::from(named), "{direct:?}");
        }
    }
}

#[test]
fn nothing_newer_costs_no_request_of_the_api() {
    for (args, source) in [(&[][..], "gh:o/r"), (&NAMED, "gh:o/r"), (&[], "gh:o/r@v1.0.0")] {
        let (env, server) = (Env::new(), Server::start(limited));
        let ended = run(from(&env, &server).args(args).args(["--newer-than", "v2.0.0", source]));
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert!(ended.stderr.contains(": nothing newer: it has v"), "{}", ended.stderr);
        assert_eq!(asked(&server).0, [""; 0]);
    }
    for (args, requests) in [(&NAMED[..], 0), (&[], 1)] {
        let (env, server) = (Env::new(), Server::start(all));
        let ended = run(from(&env, &server).args(args).args(["--newer-than", "v1.9", "gh:o/r"]));
        assert_eq!((ended.code, asked(&server).0.len()), (0, requests), "{}", ended.stderr);
    }
}

#[test]
fn latest_is_what_is_marked_so_on_both_ways_and_never_a_prerelease_by_its_version() {
    // v1.9.9 is a fix of an older line and marked as latest; v2.0.0 is higher.
    let marked = |tag: &'static str| {
        Server::start(move |seen, base| match seen.path.as_str() {
            "/o/r/releases/latest" => Reply::redirect(&format!("/o/r/releases/tag/{tag}")),
            "/api/v3/repos/o/r/releases/latest" => Reply::new(200, release(base, tag, &ASSETS).to_string()),
            path if path.starts_with("/api/v3/repos/o/r/releases?") => {
                let releases = [release(base, tag, &ASSETS), release(base, "v2.0.0", &ASSETS)];
                Reply::new(200, json!(releases).to_string())
            }
            path if path.contains("/download/") => Reply::new(200, BODY),
            _ => Reply::new(404, "{}"),
        })
    };
    for (mark, args, latest) in [
        ("v1.9.9", &[][..], "v1.9.9"),
        ("v1.9.9", &NAMED, "v1.9.9"),
        ("v1.9.9", &["--pre"], "v2.0.0"),
        ("v3.0.0-rc.1", &[], "v2.0.0"),
        ("v3.0.0-rc.1", &NAMED, "v2.0.0"),
        ("v3.0.0-rc.1", &["--pre"], "v3.0.0-rc.1"),
    ] {
        let (env, server) = (Env::new(), marked(mark));
        let ended = run(from(&env, &server).args(args).args(["--json", "gh:o/r"]));
        assert_eq!(tag(&ended), latest, "{mark} {args:?}: {}", ended.stderr);
    }
}

#[test]
fn a_redirect_that_leads_elsewhere_names_no_release() {
    for to in [
        "http://127.0.0.1:9/o/r/releases/tag/v6.6.6",
        "/o/r/releases",
        "/o/r/releases/tag/",
        "/o/r/releases/tag/a%0Ab",
        "/o/r/releases/latest",
    ] {
        let server =
            Server::start(
                move |seen, base| {
                    if seen.path == "/o/r/releases/latest" { Reply::redirect(to) } else { all(seen, base) }
                },
            );
        let env = Env::new();
        let ended = run(from(&env, &server).args(NAMED).args(["--json", "gh:o/r"]));
        // The API says what the redirect did not.
        assert_eq!((ended.code, tag(&ended).as_str()), (0, "v2.0.0"), "{to}: {}", ended.stderr);
        assert!(asked(&server).0.len() == 1, "{to}");
    }
}

#[test]
fn a_version_without_a_release_of_its_own_is_its_newest_build() {
    let builds = ["v1.2.3-20241213-152430-a1b2c3d4", "v1.2.3-20250101-000000-b1b2c3d4"];
    let server = Server::start(move |seen, base| match seen.path.as_str() {
        path if path.starts_with("/api/v3/repos/o/r/releases?") => {
            Reply::new(200, json!(builds.map(|tag| release(base, tag, &ASSETS))).to_string())
        }
        path if path.starts_with("/download/") => Reply::new(200, BODY),
        _ => Reply::new(404, "{}"),
    });
    for args in [&[][..], &NAMED] {
        let env = Env::new();
        let ended = run(from(&env, &server).args(args).args(["--json", "gh:o/r@v1.2.3"]));
        assert_eq!((ended.code, tag(&ended).as_str()), (0, builds[1]), "{}", ended.stderr);
    }
}

#[test]
fn pages_are_followed_by_their_links_and_made_smaller_where_the_server_gives_up() {
    // 120 releases, the oldest one alone of line 0; pages of more than 10 end in a 504.
    let server = |largest: usize| {
        Server::start(move |seen, base| {
            let Some((_, query)) = seen.path.split_once("/releases?per_page=") else { return Reply::new(404, "{}") };
            let (size, page) = query.split_once("&page=").unwrap();
            let (size, page): (usize, usize) = (size.parse().unwrap(), page.parse().unwrap());
            if size > largest {
                return Reply::new(504, "");
            }
            let all: Vec<String> =
                (0..120).map(|n| if n == 119 { "v0.1.0".into() } else { format!("v1.0.{n}") }).collect();
            let shown: Vec<_> =
                all.iter().skip((page - 1) * size).take(size).map(|tag| release(base, tag, &[])).collect();
            // A page may hold fewer than asked for, and another still follow.
            let reply = Reply::new(200, json!(shown[..shown.len().saturating_sub(usize::from(page == 1))]).to_string());
            let next = format!("<{base}/evil>; rel=\"next\", <{base}/x>; rel=\"last\"");
            if page * size < 120 { reply.header("Link", &next) } else { reply }
        })
    };
    for (largest, requests) in [(50, 3), (10, 13)] {
        let (env, server) = (Env::new(), server(largest));
        let mut command = env.fetch();
        command.env("GITHUB_API_URL", server.url()).args(["--allow-http", "--retry", "0", "--list"]);
        let ended = run(command.arg("gh:o/r@v0"));
        assert_eq!((ended.code, ended.stdout.as_str()), (0, "v0.1.0\n"), "{}", ended.stderr);
        assert_eq!(server.seen().len(), requests);
        assert!(server.seen().iter().all(|seen| seen.path.starts_with("/repos/o/r/releases?")));
    }
}

#[test]
fn a_list_without_end_is_cut_and_that_is_said() {
    let server = Server::start(|_, base| {
        Reply::new(200, json!([release(base, "v1.0.0", &[])]).to_string()).header("Link", "<x>; rel=\"next\"")
    });
    let env = Env::new();
    let ended = run(env.fetch().env("GITHUB_API_URL", server.url()).args(["--allow-http", "--list", "gh:o/r"]));
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("only the newest 1000 releases are looked at"), "{}", ended.stderr);
    assert_eq!(server.seen().len(), 20);
}

#[test]
fn an_api_that_makes_no_sense_is_refused() {
    for (answer, says) in [
        ("[]", "not an answer of the GitHub releases API"),
        ("<html>", "not an answer of the GitHub releases API"),
        (r#"{"tag_name":"v1\nv2"}"#, "which git would not take"),
        (
            r#"{"tag_name":"v1.0.0","assets":[{"name":"rune_linux_amd64","browser_download_url":"file:///etc/passwd"}]}"#,
            "is not an http:// or https:// address",
        ),
    ] {
        let server = Server::start(move |_, _| Reply::new(200, answer));
        let env = Env::new();
        let ended = run(env.from(&server).arg("gh:o/r@v1.0.0"));
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{answer}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{answer}: {}", ended.stderr);
    }
}

/// Canary: the counting above sees a request of the API where there is one.
#[test]
fn the_tests_see_when_the_api_is_asked() {
    let (env, server) = (Env::new(), Server::start(all));
    assert_eq!(run(from(&env, &server).env("GITHUB_TOKEN", "x").args(NAMED).arg("gh:o/r@v2.0.0")).code, 0);
    assert_eq!(asked(&server).0, ["/api/v3/repos/o/r/releases/tags/v2.0.0"]);
}
