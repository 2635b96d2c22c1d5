//! Registries that want to know who asks.

use fs_err as fs;
use serde_json::json;

use super::super::{Env, run};
use super::{BODY, Shelf, source};
use crate::http::{Reply, Server};

/// A registry that lets in who has a token; `realm` gives them.
fn guarded(realm: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
    let mut shelf = Shelf::default();
    shelf.artifact("runed", BODY, &["v1"]);
    Server::start(move |seen, base| {
        if seen.path.starts_with("/token") {
            return Reply::new(200, json!({ "token": "TOKEN" }).to_string());
        }
        match seen.headers.get("authorization").map(String::as_str) {
            Some("Bearer TOKEN") => shelf.answer(seen),
            _ => Reply::new(401, "{}").header(
                "WWW-Authenticate",
                &format!("Bearer realm=\"{}\",service=\"the registry\",scope=\"repository:secret:push\"", realm(base)),
            ),
        }
    })
}

#[test]
fn a_token_is_asked_for_reading_this_repository_and_nothing_else() {
    let server = guarded(|base| format!("{base}/token"));
    let fetch = |login: Option<(&str, &str)>| {
        let env = Env::new();
        let mut command = env.from(&server);
        if let Some((user, password)) = login {
            command.env("OCI_USERNAME", user).env("OCI_PASSWORD", password);
        }
        run(command.args(["--asset", "runed", &source(&server, ":v1")]))
    };
    assert_eq!(fetch(None).code, 0);
    let asked = server.seen().into_iter().find(|seen| seen.path.starts_with("/token")).unwrap();
    assert_eq!(asked.path, "/token?scope=repository%3Ao%2Fr%3Apull&service=the%20registry");
    assert_eq!(asked.headers.get("authorization"), None);
    assert_eq!(fetch(Some(("me", "secret"))).code, 0);
    let asked = server.seen().into_iter().rfind(|seen| seen.path.starts_with("/token")).unwrap();
    assert_eq!(asked.headers["authorization"], "Basic bWU6c2VjcmV0");
    let half = run(Env::new().fetch().env("OCI_USERNAME", "me").arg("oci://h/r"));
    assert_eq!(half.code, 2, "{}", half.stderr);
}

#[test]
fn a_login_from_systemds_credentials_answers_a_basic_challenge() {
    let mut shelf = Shelf::default();
    shelf.artifact("runed", BODY, &["v1"]);
    let server = Server::start(move |seen, _| match seen.headers.get("authorization").map(String::as_str) {
        Some("Basic bWU6c2VjcmV0") => shelf.answer(seen),
        _ => Reply::new(401, "{}").header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let env = Env::new();
    let credentials = env.root.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    for (login, code) in [("me:secret\n", 0), ("me:wrong", 3), ("nonsense", 2)] {
        fs::write(credentials.join("oci-login"), login).unwrap();
        let mut command = env.from(&server);
        let ended =
            run(command.env("CREDENTIALS_DIRECTORY", &credentials).args(["--asset", "runed", &source(&server, ":v1")]));
        assert_eq!(ended.code, code, "{login}: {}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    let ended = run(env.from(&server).args(["--asset", "runed", &source(&server, ":v1")]));
    assert_eq!(ended.code, 3);
    assert!(ended.stderr.contains("set OCI_USERNAME and OCI_PASSWORD"), "{}", ended.stderr);
}

#[test]
fn a_password_is_shown_to_no_other_site_and_a_token_to_no_other_host() {
    let thief = Server::start(|_, _| Reply::new(200, json!({ "token": "TOKEN" }).to_string()));
    let realm = format!("http://localhost:{}/token", thief.url().rsplit_once(':').unwrap().1);
    let server = guarded(move |_| realm.clone());
    let fetch = |more: &[(&str, &str)]| {
        let env = Env::new();
        let mut command = env.from(&server);
        command.envs(more.iter().copied());
        run(command.args(["--asset", "runed", &source(&server, ":v1")]))
    };
    let login = [("OCI_USERNAME", "me"), ("OCI_PASSWORD", "secret")];
    let ended = fetch(&login);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("set OCI_TOKEN_HOST=localhost"), "{}", ended.stderr);
    assert!(thief.seen().is_empty());
    // The canary: who says so shows it, and without a password there is nothing to steal.
    assert_eq!(fetch(&[login[0], login[1], ("OCI_TOKEN_HOST", "localhost")]).code, 0);
    assert!(thief.seen().last().unwrap().headers.contains_key("authorization"));
    assert_eq!(fetch(&[]).code, 0);
    assert!(!thief.seen().last().unwrap().headers.contains_key("authorization"));

    // A blob that is elsewhere is fetched there, without the token.
    let cdn = Server::start(|_, _| Reply::new(200, BODY));
    let at = cdn.url();
    let mut shelf = Shelf::default();
    shelf.artifact("runed", BODY, &["v1"]);
    let server = Server::start(move |seen, base| match seen.headers.get("authorization") {
        _ if seen.path.starts_with("/token") => Reply::new(200, json!({ "access_token": "TOKEN" }).to_string()),
        None => Reply::new(401, "").header("WWW-Authenticate", &format!("Bearer realm=\"{base}/token\"")),
        _ if seen.path.contains("/blobs/") => Reply::redirect(&format!("{at}/blob?sig=SECRET")),
        _ => shelf.answer(seen),
    });
    let env = Env::new();
    let ended = run(env.from(&server).args(["-v", "--asset", "runed", &source(&server, ":v1")]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(cdn.seen().len(), 1);
    assert!(!cdn.seen()[0].headers.contains_key("authorization"));
    assert!(!ended.stderr.contains("SECRET") && !ended.stderr.contains("TOKEN"), "{}", ended.stderr);
}

/// A registry by https may not send us for a token to where anybody reads along.
#[test]
fn a_token_is_not_asked_for_by_plain_http() {
    let plain = Server::start(|_, _| Reply::new(200, json!({ "token": "TOKEN" }).to_string()));
    let realm = format!("Bearer realm=\"{}/token\"", plain.url());
    let (server, ca) = Server::start_tls(move |_, _| Reply::new(401, "{}").header("WWW-Authenticate", &realm));
    let env = Env::new();
    fs::write(env.root.path().join("ca.pem"), ca).unwrap();
    let registry = format!("oci:{}/o/r:v1", server.url().strip_prefix("https:").unwrap());
    let ended = run(env.fetch().args(["--cacert", "ca.pem", "--into", "into", "--asset", "runed", &registry]));
    assert_eq!((ended.code, plain.seen().len()), (3, 0), "{}", ended.stderr);
    assert!(ended.stderr.contains("unencrypted"), "{}", ended.stderr);
}

/// Who is not the registry, and only was redirected to, gets no answer to what it asks.
#[test]
fn a_challenge_of_another_host_is_not_answered() {
    let other = Server::start(|seen, base| match seen.path.as_str() {
        "/token" => Reply::new(200, json!({ "token": "TOKEN" }).to_string()),
        _ => Reply::new(401, "{}").header("WWW-Authenticate", &format!("Bearer realm=\"{base}/token\"")),
    });
    let there = format!("{}/there", other.url());
    let server = Server::start(move |_, _| Reply::redirect(&there));
    let env = Env::new();
    let ended = run(env.from(&server).args(["--asset", "runed", &source(&server, ":v1")]));
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{}", ended.stderr);
    assert!(other.seen().iter().all(|seen| seen.path == "/there"), "{:?}", other.seen());
}
