//! What svc-wait leaves in a trial, and what a later rollback makes of it.

use serde_json::json;

use crate::host::{Host, chmod};

const ALL: &str = "svc-wait runed --exe any --timeout 30s --stable 0 --exec 'echo asked >>exec.log' \
    --http http://127.0.0.1:1/x --status 204 --body '^ok' --header 'Host: h' --expect-header 'X: y' --cacert ca.pem \
    --tcp 127.0.0.1:1 --unix /nothing --version-from 'cat version' --expect-version v2 --via-proxy \
    --advisory http://127.0.0.1:1/x --advisory 127.0.0.1:1 --advisory /nothing";

#[test]
fn every_probe_is_in_the_record_and_asked_again_by_the_way_back() {
    let host = Host::with_runed();
    let root = host.path("").display().to_string();
    let asks =
        ALL.replace("exec.log", &format!("{root}/exec.log")).replace("cat version", &format!("cat {root}/version"));
    host.swapped_in("1");
    host.file("version", "runed v2.0.0\n");
    let new = host.stored_as("runed", "2", "v2.0.0");
    let asks = asks.replace("v2 ", "v2.0.0 ");
    let script = format!("swapbin -q --unit runed {} bin/runed; {asks} --measure -- true", new.display());
    host.guarded(&script).is(0).says("committed, proven healthy").says("without an answer");

    let record = host.record();
    let proof = &record["proofs"]["runed.service"];
    let http = json!({
        "url": "http://127.0.0.1:1/x", "status": 204, "body": null, "pattern": "^ok", "headers": ["Host: h"],
        "expect_headers": ["X: y"], "cacert": format!("{}/ca.pem", root.trim_end_matches('/')),
    });
    assert_eq!(proof["probes"][0], json!({ "http": http }));
    assert_eq!(proof["probes"][1], json!({ "tcp": "127.0.0.1:1" }));
    assert_eq!(proof["probes"][2], json!({ "unix": "/nothing" }));
    assert_eq!(proof["probes"][4]["version"]["expected"], "v2.0.0");
    assert_eq!(proof["advisory"], json!(["http://127.0.0.1:1/x", "127.0.0.1:1", "/nothing"]));
    assert_eq!((&proof["via_proxy"], &proof["measure"]), (&json!(true), &json!(null)));
    assert_eq!(host.rollback(["--list"]).is(0).stdout.matches(" without an answer").count(), 1);
    assert!(
        host.rollback(["--list", "runed", "--json"]).is(0).json()["names"][0]["generations"][0]["pause_ms"].is_u64()
    );

    // The way back asks the same, and expects the version that it brings.
    host.file("exec.log", "");
    host.file("version", "runed v2.0.0\n");
    let still_new = host.rollback(["runed"]).is(4);
    still_new.says("probe-failed").says("version v2.0.0, not v1");
    assert!(host.text("exec.log").contains("asked"));
    host.file("version", "runed v1\n");
    host.rollback(["runed", "--to", "v2.0.0"]).is(0);
}

#[test]
fn a_trial_that_fails_by_a_probe_names_it() {
    let host = Host::with_runed();
    host.swapped_in("1");
    chmod(host.path("bin/runed"), 0o755);
    let new = host.stored("runed", "2");
    let script = format!(
        "swapbin -q --unit runed {} bin/runed; svc-wait runed --exe any --timeout 100ms --stable 0 --exec 'grep -q 1 {}' -- true",
        new.display(),
        host.path("bin/runed").display()
    );
    host.guarded(&script).is(5).says("probe-failed: 'grep -q 1 DIR/bin/runed': exit status: 1");
}
