//! fetch, killed or cut off, and what the next try or run makes of what is there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;

use super::{Env, plain, run};
use crate::http::{Reply, Seen, Server};

/// How much of the file comes before the server falls silent.
const FIRST: usize = 3 << 20;
const LEN: usize = 4 << 20;
/// Nothing here lasts long; a run that hangs ends a test all the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file of some size whose bytes say where they are and which file it is.
fn content(of: u8) -> Arc<Vec<u8>> {
    Arc::new((0..LEN).map(|n| u8::try_from(n % 251).unwrap().wrapping_add(of)).collect())
}

/// Where a request wants to go on, and what it says the file is.
fn range(seen: &Seen) -> Option<(usize, &str)> {
    let from = seen.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    Some((from, seen.headers.get("if-range").map_or("", String::as_str)))
}

fn whole(body: &[u8], tag: &str) -> Reply {
    Reply::new(200, body).header("ETag", tag)
}

/// The first bytes of the file, and then nothing more for ever.
fn begun(body: &[u8], tag: &str) -> Reply {
    let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\nETag: {tag}\r\n\r\n", body.len());
    Reply::raw(head, &body[..FIRST]).hold()
}

fn rest(body: &[u8], from: usize, tag: &str) -> Reply {
    let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
    Reply::new(206, &body[from..]).header("Content-Range", &range).header("ETag", tag)
}

/// A server that serves parts as it should, but the first time stops behind `FIRST` bytes.
fn stops_once(body: Arc<Vec<u8>>, tag: &'static str) -> Server {
    Server::start(move |seen, _| match range(seen) {
        Some((from, is)) if is == tag => rest(&body, from, tag),
        _ if seen.nth == 0 => begun(&body, tag),
        _ => whole(&body, tag),
    })
}

/// True for a part that can be gone on with; its record and those of one process alone have a dot more.
fn is_part(name: &str) -> bool {
    name.strip_prefix(".upswap-part-").is_some_and(|rest| !rest.contains('.'))
}

/// The sizes of the parts in the folder.
fn parts(env: &Env) -> Vec<u64> {
    let names = env.names().into_iter().filter(|name| is_part(name));
    names.filter_map(|name| Some(fs::metadata(env.dir().join(name)).ok()?.len())).collect()
}

/// A fetch of `/x.bin` that is killed as soon as it has all that there is for now.
fn killed(env: &Env, server: &Server) {
    let mut child = plain(env.from(server).arg(format!("{}/x.bin", server.url())));
    let mut child = child.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while parts(env) != [FIRST as u64] {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "{:?}", env.names());
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!env.dir().join("x.bin").exists());
}

/// The same fetch once more, to its end; what it said.
#[track_caller]
fn fetched(env: &Env, server: &Server, expected: &[u8]) -> String {
    let ended = run(env.from(server).arg(format!("{}/x.bin", server.url())));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        fs::read(env.dir().join("x.bin")).unwrap() == expected,
        "neither the old file nor the new: {}",
        ended.stderr
    );
    assert_eq!(env.names(), ["x.bin", "x.bin.origin.json"], "nothing is left over");
    ended.stderr
}

/// Row 24, and the fourth promise of fetch: what was received before a kill is not fetched again, not one byte of it.
#[test]
fn a_killed_fetch_is_gone_on_with_and_no_byte_is_served_twice() {
    for tag in ["\"one\"", "dated"] {
        let body = content(1);
        let (env, server) = (
            Env::new(),
            match tag {
                "dated" => {
                    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
                    let body = body.clone();
                    let dated = |reply: Reply| {
                        reply.header("Last-Modified", THEN).header("Date", "Mon, 07 Nov 1994 08:49:37 GMT")
                    };
                    Server::start(move |seen, _| match range(seen) {
                        Some((from, THEN)) => dated(rest(&body, from, "W/\"weak\"")),
                        _ => dated(begun(&body, "W/\"weak\"")),
                    })
                }
                tag => stops_once(body.clone(), tag),
            },
        );
        killed(&env, &server);
        let said = fetched(&env, &server, &body);
        assert!(said.contains(&format!("going on behind the first {FIRST} of {LEN} bytes")), "{said}");
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(FIRST + (LEN - range(&seen[1]).unwrap().0), LEN, "bytes served");
        assert_eq!(seen[0].headers.get("range"), None);
    }
}

#[test]
fn a_try_goes_on_where_the_one_before_broke_off() {
    let body = content(1);
    let bytes = body.clone();
    let env = Env::new();
    let server = Server::start(move |seen, _| {
        let (from, to) = (range(seen).map_or(0, |(from, _)| from), [1 << 20, 2 << 20, LEN][seen.nth]);
        let head = match seen.nth {
            0 => "HTTP/1.1 200 X\r\n".to_owned(),
            _ => format!("HTTP/1.1 206 X\r\nContent-Range: bytes {from}-{}/{LEN}\r\n", LEN - 1),
        };
        let head = format!("{head}ETag: \"one\"\r\nContent-Length: {}\r\n\r\n", LEN - from);
        Reply::raw(head, &bytes[from..to])
    });
    let said = fetched(&env, &server, &body);
    assert!(said.contains("cut off after 2097152 bytes of 4194304; try 2 of 3"), "{said}");
    let from: Vec<_> = server.seen().iter().map(|seen| range(seen).map(|(from, _)| from)).collect();
    assert_eq!(from, [None, Some(1 << 20), Some(2 << 20)]);
}

#[test]
fn what_one_fetch_of_several_got_is_kept_when_another_fails() {
    let body = content(1);
    let bytes = body.clone();
    let server = Server::start(move |seen, _| match (seen.path.as_str(), range(seen)) {
        ("/x.bin", Some((from, "\"one\""))) => rest(&bytes, from, "\"one\""),
        ("/x.bin", _) => whole(&bytes, "\"one\""),
        (_, _) if seen.nth == 0 => Reply::new(503, ""),
        _ => Reply::new(200, "sums"),
    });
    let (env, url) = (Env::new(), format!("{}/x.bin", server.url()));
    let ended = run(env.from(&server).args(["--retry", "0", "--sums", "sums", &url]));
    assert_eq!(ended.code, 75, "{}", ended.stderr);
    assert_eq!(parts(&env), [LEN as u64]);
    let ended = run(env.from(&server).args(["--sums", "sums", &url]));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(range(&server.seen()[2]).unwrap().0, LEN - 1, "the last byte tells whether it is still the same file");
    assert!(fs::read(env.dir().join("x.bin")).unwrap() == *body);
    assert_eq!(env.names(), ["sums", "x.bin", "x.bin.origin.json"]);
}

/// How a server answers when it is asked for the rest of what it began, and a new file is there.
type Answer = fn(&[u8], &[u8], usize) -> Reply;

const WRONG: [(&str, Answer); 9] = [
    ("200 instead of 206", |_, new, _| whole(new, "\"two\"")),
    ("another part", |old, new, from| rest(old, from, "\"one\"").header("X", "").range(0, new.len())),
    ("a part of another whole", |old, _, from| rest(old, from, "\"one\"").range(from, LEN + 1)),
    ("no Content-Range", |_, new, from| Reply::new(206, &new[from..]).header("ETag", "\"one\"")),
    ("a changed ETag", |_, new, from| rest(new, from, "\"two\"")),
    ("a weak ETag", |_, new, from| rest(new, from, "W/\"one\"")),
    ("several parts", |_, new, from| {
        Reply::new(206, &new[from..]).header("Content-Type", "multipart/byteranges; boundary=x")
    }),
    ("416", |_, _, _| Reply::new(416, "").header("Content-Range", "bytes */5")),
    ("more than the rest", |_, new, _| Reply::new(206, new).range(FIRST, LEN)),
];

/// Rows 17 and 18: a wrong answer to a request for the rest, or a file that changed meanwhile, never gives a mixed file.
#[test]
fn a_part_of_what_is_not_there_any_more_is_dropped_and_never_mixed() {
    for (what, answer) in WRONG {
        let (old, new) = (content(1), content(2));
        let (one, two) = (old.clone(), new.clone());
        let server = Server::start(move |seen, _| match range(seen) {
            Some((from, _)) => answer(&one, &two, from),
            None if seen.nth == 0 => begun(&one, "\"one\""),
            None => whole(&two, "\"two\""),
        });
        let env = Env::new();
        killed(&env, &server);
        let said = fetched(&env, &server, &new);
        let requests = server.seen().len();
        assert_eq!(requests, if what.starts_with("200") { 2 } else { 3 }, "{what}: {said}");
        assert_eq!(said.contains("starting over"), requests == 3, "{what}: {said}");
    }
}

/// The same judge over a client that appends whatever comes: it must be caught.
#[test]
fn canary_a_client_that_appends_what_comes_mixes_two_files() {
    let (old, new) = (content(1), content(2));
    let mut caught = 0;
    for (_, answer) in WRONG {
        let (one, two) = (old.clone(), new.clone());
        let server = Server::start(move |_, _| answer(&one, &two, FIRST));
        let mut stream = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
        write!(stream, "GET /x.bin HTTP/1.1\r\nRange: bytes={FIRST}-\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let file = [&old[..FIRST], &answer[body..]].concat();
        caught += u32::from(file != *old && file != *new);
    }
    assert!(caught >= 7, "{caught} of {}", WRONG.len());
}

#[test]
fn a_server_that_gets_parts_wrong_again_and_again_is_not_asked_for_parts_again() {
    let body = content(1);
    let server = Server::start(move |seen, _| match range(seen) {
        Some(_) => Reply::new(416, ""),
        None => Reply::raw(format!("HTTP/1.1 200 X\r\nETag: \"one\"\r\nContent-Length: {LEN}\r\n\r\n"), &body[..FIRST]),
    });
    let env = Env::new();
    let ended = run(env.from(&server).args(["--retry", "2", &format!("{}/x.bin", server.url())]));
    assert_eq!(ended.code, 75, "{}", ended.stderr);
    let ranges: Vec<_> = server.seen().iter().map(|seen| range(seen).is_some()).collect();
    assert_eq!(ranges, [false, true, false, false]);
}

#[test]
fn two_fetches_at_once_share_no_part() {
    let body = content(1);
    let (env, server) = (Env::new(), stops_once(body.clone(), "\"one\""));
    let mut first = plain(env.from(&server).arg(format!("{}/x.bin", server.url())));
    let mut first = first.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while parts(&env) != [FIRST as u64] {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(5));
    }
    let ended = run(env.from(&server).arg(format!("{}/x.bin", server.url())));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(fs::read(env.dir().join("x.bin")).unwrap() == *body);
    assert_eq!(parts(&env), [FIRST as u64], "the first one's is still its own");
    assert_eq!(range(&server.seen()[1]), None);
    first.kill().unwrap();
    first.wait().unwrap();
    fetched(&env, &server, &body);
    assert_eq!(range(&server.seen()[2]).unwrap().0, FIRST);
}

#[test]
fn after_a_power_cut_only_what_was_synced_counts() {
    let body = content(1);
    let (env, server) = (Env::new(), stops_once(body.clone(), "\"one\""));
    let boot = env.root.path().join("proc/sys/kernel/random/boot_id");
    fs::create_dir_all(boot.parent().unwrap()).unwrap();
    fs::write(&boot, "one").unwrap();
    killed(&env, &server);
    // The length came to the disk and the bytes did not.
    let part = env.names().into_iter().find(|name| is_part(name)).unwrap();
    fs::write(env.dir().join(part), vec![0; FIRST]).unwrap();
    fs::write(&boot, "two").unwrap();
    fetched(&env, &server, &body);
    assert_eq!(range(&server.seen()[1]), None, "nothing was synced yet");
}

#[test]
fn bytes_that_changed_on_disk_are_found_and_not_kept() {
    let body = content(1);
    let bytes = body.clone();
    let digest = upswap::words::digest::Digest::of(&body);
    let server = Server::start(move |seen, base| match range(seen) {
        _ if seen.path.contains("/tags/") => {
            let mut answer = super::release(base, "v1.0.0", &["x.bin"]);
            answer["assets"][0]["size"] = LEN.into();
            answer["assets"][0]["digest"] = format!("sha256:{digest}").into();
            Reply::new(200, answer.to_string())
        }
        Some((from, "\"one\"")) => rest(&bytes, from, "\"one\""),
        _ if seen.nth == 0 => begun(&bytes, "\"one\""),
        _ => whole(&bytes, "\"one\""),
    });
    let env = Env::new();
    let fetch = |more: &[&str]| run(env.from(&server).args(more).args(["--asset", "x.bin", "gh:o/r@v1.0.0"]));
    assert_eq!(fetch(&["--retry", "0", "--timeout", "2s"]).code, 75);
    assert_eq!(parts(&env), [FIRST as u64], "a fetch that ran out of time leaves its part");
    let part = env.names().into_iter().find(|name| is_part(name)).unwrap();
    let mut changed = fs::read(env.dir().join(&part)).unwrap();
    changed[5] ^= 1;
    fs::write(env.dir().join(&part), changed).unwrap();
    let ended = fetch(&[]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("its SHA-256 is"), "{}", ended.stderr);
    assert_eq!(env.names(), [""; 0]);
    assert_eq!(fetch(&[]).code, 0);
    assert!(fs::read(env.dir().join("x.bin")).unwrap() == *body);
}

/// After a power cut as much of a part counts as its record says was synced: so it is, before the record says it.
#[test]
fn a_part_is_on_disk_before_its_record_counts_it() {
    let server = Server::start(|_, _| {
        let head = format!("HTTP/1.1 200 X\r\nETag: \"a\"\r\nContent-Length: {LEN}\r\n\r\n");
        Reply::raw(head, &content(1)[..FIRST])
    });
    let env = Env::new();
    let trace = env.root.path().join("trace");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=fdatasync,rename,renameat,renameat2", "-o"]).arg(&trace);
    strace.arg(env.fetch().get_program()).args(["--allow-http", "--retry", "0", "--into", "into"]);
    strace.arg(format!("{}/x.bin", server.url())).current_dir(env.root.path()).env("UPSWAP_ROOT", env.root.path());
    for name in ["http_proxy", "all_proxy", "ALL_PROXY"] {
        strace.env_remove(name);
    }
    let ran = strace.output().expect("these tests need strace (scripts/deps test)");
    assert_eq!(ran.status.code(), Some(75), "{}", String::from_utf8_lossy(&ran.stderr));
    let calls = fs::read_to_string(&trace).unwrap();
    let calls: Vec<_> = calls.lines().filter_map(|line| line.split_once(' ')?.1.trim().split('(').next()).collect();
    assert_eq!(calls, ["rename", "fdatasync", "rename"]);
}
