//! fetch through a real proxy: Debian's tinyproxy.

use crate::env::Env;

/// Starts a proxy at port 8888, or another, with these lines of tinyproxy.conf(5) besides.
fn proxy(env: &Env, name: &str, port: u16, lines: &str) {
    env.run(&format!(
        "cat >/run/{name}.conf <<'END'
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
ConnectPort 8443
LogFile \"/run/{name}.log\"
LogLevel Connect
{lines}
END
        systemd-run --quiet --unit={name} tinyproxy -d -c /run/{name}.conf
        for turn in $(seq 200); do ss -Hltn sport = :{port} | grep -q . && exit 0; sleep 0.05; done
        cat /run/{name}.log; exit 1"
    ))
    .success();
}

const FETCH: &str = "fetch --retry 0 --asset checksums.txt --into /root/new gh:runestack/rune@v1.0.0";

/// A server of plain http with one file, at port 8080.
fn plain_server(env: &Env) {
    env.run(
        "systemd-run --quiet --unit=plain-server --property=Type=notify --property=DynamicUser=yes \
            /opt/release-server --dir /srv/releases --listen 127.0.0.1:8080 --http",
    )
    .success();
}

#[test]
fn both_schemes_go_through_a_real_proxy_and_no_proxy_goes_past_it() {
    let env = Env::boot().with_tools().with_releases();
    env.run("! systemctl is-active --quiet tinyproxy; ! pgrep tinyproxy").success();
    proxy(&env, "proxy", 8888, "");
    plain_server(&env);
    let requests =
        || env.run("grep -c 'Request (file descriptor' /run/proxy.log || true").success().stdout().to_owned();
    assert_eq!(requests(), "0");
    env.run(&format!("https_proxy=http://127.0.0.1:8888 {FETCH}; test -s /root/new/checksums.txt; rm -r /root/new"))
        .success();
    assert!(env.run("cat /run/proxy.log").success().stdout().contains("CONNECT localhost:8443 HTTP/1.1"));
    let after = requests();
    assert_ne!(after, "0");
    // Plain http: GET with the whole address, which needs no ConnectPort.
    env.run(&format!(
        "export GITHUB_API_URL=http://localhost:8080
        http_proxy=http://127.0.0.1:8888 {FETCH} --allow-http; test -s /root/new/checksums.txt; rm -r /root/new"
    ))
    .success();
    assert!(env.run("cat /run/proxy.log").success().stdout().contains("GET http://localhost:8080/repos/"));
    let after = requests();
    for variables in ["no_proxy=localhost,127.0.0.1", "NO_PROXY='x, .localhost 127.0.0.0/8'", "no_proxy=*"] {
        env.run(&format!("{variables} https_proxy=http://127.0.0.1:8888 {FETCH}; rm -r /root/new")).success();
    }
    env.run(&format!("HTTP_PROXY=http://127.0.0.1:1 GITHUB_API_URL=http://localhost:8080 {FETCH} --allow-http"))
        .success();
    assert_eq!(requests(), after, "past the proxy");
}

#[test]
fn a_real_proxy_that_wants_a_password_or_refuses_is_told_as_that() {
    let env = Env::boot().with_tools().with_releases();
    proxy(&env, "closed", 8889, "BasicAuth me SECRET");
    proxy(&env, "strict", 8890, "FilterDefaultDeny Yes\nFilter \"/dev/null\"");
    plain_server(&env);
    env.run(&format!("https_proxy=http://me:SECRET@127.0.0.1:8889 {FETCH} -v 2>&1; rm -r /root/new")).success();
    let plain = "GITHUB_API_URL=http://localhost:8080 http_proxy";
    env.run(&format!("{plain}=http://me:SECRET@127.0.0.1:8889 {FETCH} --allow-http; rm -r /root/new")).success();
    for (variables, says) in [
        ("https_proxy=http://127.0.0.1:8889", "it wants a user name and a password (40"),
        ("https_proxy=http://me:WRONG@127.0.0.1:8889", "40"),
        ("https_proxy=http://127.0.0.1:8890", "it refuses to connect us (403); is it allowed to go there?"),
        ("GITHUB_API_URL=http://localhost:8080 http_proxy=http://127.0.0.1:8890", "(403)"),
    ] {
        let told = env.run(&format!("{variables} {FETCH} --allow-http")).code(3);
        assert!(told.stderr().contains(says) && !told.stderr().contains("WRONG"), "{variables}: {}", told.stderr());
        assert_eq!(told.stderr().lines().count(), 1, "{}", told.stderr());
    }
}
