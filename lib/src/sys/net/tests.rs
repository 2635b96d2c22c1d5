//! The deadlines, each by itself, and what is asked of whom; against sockets that say little.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

use super::*;
use crate::sys::Host;
use crate::sys::landing::Landing;
use crate::words::digest::Digest;
use crate::words::exit::{Coded, Exit};

/// Long enough never to be what ended a test.
const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(200);

fn policy() -> Policy {
    Policy { plain_http: PlainHttp::Allowed, retries: 0, connect: LONG, stall: LONG, total: LONG, ..Policy::default() }
}

/// What became of a fetch of `/x` from there.
fn saved(policy: Policy, address: SocketAddr) -> Result<(), NetError> {
    let dir = tempfile::tempdir().unwrap();
    let say = Say::quiet("t");
    let mut net = Net::open(policy).unwrap();
    net.proxies = Proxies::default();
    let ask = Ask { url: Url::parse(&format!("http://{address}/x")).unwrap(), accept: "*/*", headers: Vec::new() };
    let mut landing = Landing::of(&Host::below(dir.path()), dir.path(), "x", Digest::of(b""), &say).unwrap();
    net.save(&ask, None, Size(1 << 20), &mut landing, &say)
}

/// What a server does behind its answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Silence,
    /// One byte or line after the other.
    Drip(&'static [u8], Duration),
}

/// A server that answers each request with these bytes.
fn says(bytes: &'static [u8], then: Then) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let mut sent = stream.write_all(bytes);
            match then {
                Then::Close => {}
                Then::Silence => thread::sleep(LONG),
                Then::Drip(more, pause) => {
                    while sent.is_ok() {
                        thread::sleep(pause);
                        sent = stream.write_all(more);
                    }
                }
            }
        }
    });
    address
}

#[track_caller]
fn gives_up(policy: Policy, address: SocketAddr, says: &str) {
    let started = Instant::now();
    let error = saved(policy, address).unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(error.exit(), Exit::NotNow);
    assert!(started.elapsed() < LONG / 2);
}

/// Rows 9 and 22: nobody lets us in.
#[test]
fn a_server_that_lets_nobody_in_is_given_up_by_the_time_to_connect() {
    let server = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&server, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&server, 0).unwrap();
    let address = TcpListener::from(server.try_clone().unwrap()).local_addr().unwrap();
    // One waits to be let in; for the others there is no room, and the kernel drops what they send.
    let mut waiting = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, SHORT) {
        waiting.push(stream);
    }
    gives_up(Policy { connect: SHORT, ..policy() }, address, "no connection within 200ms");
}

/// Rows 9 and 10: no head, or one that comes too slowly.
#[test]
fn a_silent_a_slow_and_an_endless_head_are_given_up() {
    for (address, what) in [
        (says(b"", Then::Silence), "no answer within 200ms"),
        (says(b"HTTP/1.1 200 X\r\nX-", Then::Drip(b"x", SHORT / 4)), "no answer within 200ms"),
    ] {
        gives_up(Policy { stall: SHORT, ..policy() }, address, what);
    }
    let endless = says(b"HTTP/1.1 200 X\r\n", Then::Drip(b"X-Slow: x\r\n", SHORT / 8));
    gives_up(Policy { stall: SHORT, ..policy() }, endless, "no answer within 200ms");
}

/// Row 9: no body, or one that comes too slowly, and the time for all of it.
#[test]
fn a_silent_and_a_slow_body_are_given_up() {
    const HEAD: &[u8] = b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n";
    gives_up(Policy { stall: SHORT, ..policy() }, says(HEAD, Then::Silence), "no byte came or went within 200ms");
    gives_up(
        Policy { stall: SHORT, ..policy() },
        says(HEAD, Then::Drip(b"x", SHORT / 4)),
        "1024 a second are the least",
    );
    let total = Policy { total: SHORT, ..policy() };
    gives_up(total, says(HEAD, Then::Drip(b"x", SHORT / 4)), "not complete within 200ms");
}

/// Row 15: short waits, again and again.
#[test]
fn all_waits_together_are_within_the_patience() {
    const BUSY: &[u8] = b"HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let started = Instant::now();
    let policy = Policy { retries: 100, patience: Duration::from_millis(2500), ..policy() };
    gives_up(policy, says(BUSY, Then::Close), "answers 503");
    assert!(started.elapsed() > Duration::from_millis(1500), "two waits of a second fit");
}

#[test]
fn only_the_hosts_of_the_policy_are_asked_redirects_included() {
    let admits = |hosts: &[&str], url: &str| {
        let hosts = Some(hosts.iter().map(|host| (*host).to_owned()).collect());
        Policy { hosts, ..policy() }.admits(&Url::parse(url).unwrap())
    };
    assert!(Policy::default().admits(&Url::parse("https://anything/").unwrap()));
    for (hosts, url) in [
        (&["h.test"][..], "https://H.test:8443/x"),
        (&["x", "H.TEST"], "https://h.test/"),
        (&["h.test"], "https://h.test./"),
        (&[".test"], "https://h.test/"),
        (&[".h.test"], "https://a.b.h.test/"),
    ] {
        assert!(admits(hosts, url), "{hosts:?} {url}");
    }
    for (hosts, url) in [
        (&[][..], "https://h.test/"),
        (&["h.test"], "https://a.h.test/"),
        (&["h.test"], "https://ah.test/"),
        (&[".h.test"], "https://h.test/"),
        (&[".h.test"], "https://evilh.test/"),
        (&["."], "https://h.test./"),
        (&[""], "https://h.test/"),
        (&["h.test"], "https://h.test.evil.test/"),
    ] {
        assert!(!admits(hosts, url), "{hosts:?} {url}");
    }
    let server = says(b"HTTP/1.1 302 X\r\nLocation: http://other.test/\r\nContent-Length: 0\r\n\r\n", Then::Close);
    let only = |host: &str| Policy { hosts: Some(vec![host.to_owned()]), ..policy() };
    for (policy, named) in [(only("127.0.0.1"), "'other.test'"), (only("other.test"), "'127.0.0.1'")] {
        let error = saved(policy, server).unwrap_err();
        assert_eq!(error.exit(), Exit::No);
        assert!(error.to_string().contains(named), "{error}");
    }
}
