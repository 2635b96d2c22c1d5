//! fetch, killed before each of its calls, and each of them failed.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use fs_err as fs;

use crate::bed::{Bed, sweep};
use crate::host::Host;
use crate::http::{Reply, Seen, Server};
use crate::material::full_sweep;

/// More than fetch keeps no record of.
const LEN: usize = 3 << 19;

fn body() -> Vec<u8> {
    (0..LEN).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// Serves the file, and parts of it.
fn answer(seen: &Seen, _: &str) -> Reply {
    let body = body();
    let from =
        seen.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match from.filter(|_| seen.headers.get("if-range").is_some_and(|tag| tag == "\"x\"")) {
        Some(from) => Reply::new(206, &body[from..]).range(from, LEN).header("ETag", "\"x\""),
        None => Reply::new(200, &body).header("ETag", "\"x\""),
    }
}

fn ready(host: &Host) {
    fs::create_dir(host.path("into")).unwrap();
}

fn fetch(host: &Host, server: &Server) -> Command {
    let mut fetch = host.tool("fetch");
    for name in ["http_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "CREDENTIALS_DIRECTORY", "UPSWAP_CACHE_DIR"] {
        fetch.env_remove(name);
    }
    fetch
        .args(["--allow-http", "--retry", "0", "--timeout", "60s", "--into", "into"])
        .arg(format!("{}/x.bin", server.url()));
    fetch
}

/// What is wrong with the folder: a file by the final name that is not whole.
fn half(bed: &Bed) -> Option<String> {
    let there = fs::read(bed.host.path("into/x.bin")).ok()?;
    (there != body()).then(|| format!("into/x.bin has {} bytes of {LEN}", there.len()))
}

/// Makes what was left look an hour old, so that it is swept; what can be gone on with stays all the same.
fn age(bed: &Bed) {
    for name in bed.host.names("into") {
        let file = fs::File::open(bed.host.path("into").join(name)).unwrap();
        file.file().set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
}

/// The runs of a sweep and what it finds: `strike` at each point of `command`, then the same fetch to its end.
fn swept(strikes: &[&str], command: impl Fn(&Host, &Server) -> Command + Sync) -> Vec<String> {
    let server = Server::start(answer);
    let bed = Bed::new(ready);
    let calls = bed.calls(&[], &command(&bed.host, &server)).len() as u64;
    // About fifty points in the short form: all where fetch is killed, a third of those where a call fails.
    let stride = if full_sweep() { 1 } else { (calls * strikes.len() as u64 / 50).max(1) };
    let points: Vec<_> = strikes
        .iter()
        .flat_map(|strike| (1..=calls).step_by(usize::try_from(stride).unwrap()).map(move |n| (*strike, n)))
        .collect();
    let struck = AtomicUsize::new(0);
    let bad = sweep(ready, &points, |bed, (strike, number)| {
        let ran = bed.struck(&[], *number, strike, &command(&bed.host, &server));
        struck.fetch_add(usize::from(ran.at.is_some()), Ordering::Relaxed);
        let told = format!("{strike} at {number} ({})", ran.at.as_deref().unwrap_or("nothing").replace('\t', " "));
        let mut bad: Vec<String> = half(bed).into_iter().map(|what| format!("{told}: {what}")).collect();
        if *strike != "kill" && ![0, 3, 75].contains(&ran.code) {
            bad.push(format!("{told}: {ran:?}"));
        }
        age(bed);
        let again = bed.run(&mut fetch(&bed.host, &server));
        if again.code != 0 || half(bed).is_some() {
            bad.push(format!("{told}: once more: {again:?}"));
        }
        age(bed);
        bed.run(&mut fetch(&bed.host, &server));
        let names = bed.host.names("into");
        if names != ["x.bin", "x.bin.origin.json"] {
            bad.push(format!("{told}: litter: {names:?}"));
        }
        if fs::metadata(bed.host.path("into/x.bin")).is_ok_and(|meta| meta.mode() & 0o7777 != 0o644) {
            bad.push(format!("{told}: another mode"));
        }
        bad
    });
    eprintln!("fetch: {calls} calls, {} runs, {} struck, {} bad", points.len(), struck.into_inner(), bad.len());
    bad
}

/// Row 24: killed at any call, the file has its name only when it is whole, and the next fetch ends it and leaves no litter.
#[test]
fn a_kill_at_any_call_leaves_no_half_file_and_a_fetch_that_ends_it() {
    let bad = swept(&["kill"], fetch);
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Row 23: a disk that is full, broken, or over its quota at any call.
#[test]
fn a_call_that_fails_leaves_no_half_file() {
    let bad = swept(&["errno=28", "errno=5", "errno=122"], fetch);
    assert!(bad.is_empty(), "{bad:#?}");
}

/// The same sweep over a client that writes under the final name.
#[test]
fn canary_a_client_that_writes_under_the_final_name_is_caught() {
    let bad = swept(&["kill"], |host, server| {
        let mut curl = host.tool("fetch");
        let mut broken = Command::new("curl");
        broken.args(["--silent", "--noproxy", "*", "-o", "into/x.bin"]).arg(format!("{}/x.bin", server.url()));
        broken.current_dir(host.path(""));
        std::mem::swap(&mut curl, &mut broken);
        curl
    });
    assert!(bad.iter().any(|bad| bad.contains("bytes of")), "{bad:#?}");
}
