//! One probe, asked once.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use regex_lite::Regex;

use super::{Target, listener};
use crate::sys::net::direct::{Direct, DirectError, Reply};
use crate::sys::process::{self, Ended};
use crate::sys::sockets;
use crate::words::printed;
use crate::words::proof::{Http, Probe};
use crate::words::verdict::Name;
use crate::words::verdict::fold::Probed;
use crate::words::verdict::shown;

/// How much of a body is looked at.
const BODY: u64 = 1024 * 1024;

/// Asks `probe` for at most `within`; a command line only while the other end of `stop` is open.
pub(super) fn one(target: &Target, probe: &Probe, within: Duration, stop: BorrowedFd) -> Probed {
    if let Err(unproven) = listener::enter_network(target, probe) {
        return unproven;
    }
    match answer(target, probe, within, stop) {
        Probed::Answered => listener::prove(target, probe, true),
        // A stranger's answer is wrong in more than what it says.
        Probed::Wrong(text) => match listener::prove(target, probe, false) {
            stranger @ Probed::Unproven(Name::WrongListener, _) => stranger,
            _ => Probed::Wrong(text),
        },
        other => other,
    }
}

/// The same wherever the calling thread is, and whoever answers.
pub(super) fn answer(target: &Target, probe: &Probe, within: Duration, stop: BorrowedFd) -> Probed {
    match probe {
        Probe::Http(http) => get(http, within, http.body.is_some() || http.pattern.is_some())
            .map_or_else(|wrong| wrong, |_| Probed::Answered),
        Probe::Tcp(address) => tcp(address, within),
        Probe::Unix(path) => unix(path, within),
        Probe::Exec(line) => exec(target, line, within, stop).map_or_else(|wrong| wrong, |_| Probed::Answered),
        Probe::Version { asked, expected } => version(target, asked, expected, within, stop),
    }
}

/// Whether a process of ours is at work while it is asked.
pub(super) fn is_command(probe: &Probe) -> bool {
    match probe {
        Probe::Exec(_) => true,
        Probe::Version { asked, .. } => is_command(asked),
        Probe::Http(_) | Probe::Tcp(_) | Probe::Unix(_) => false,
    }
}

/// The body, when it `reads` that: one that has no end is nobody's concern who does not look at it.
fn get(http: &Http, within: Duration, reads: bool) -> Result<String, Probed> {
    let local;
    let (unix, url) = match http.unix() {
        Some((socket, path)) => {
            local = format!("http://127.0.0.1{path}");
            (Some(socket), local.as_str())
        }
        None => (None, http.url.as_str()),
    };
    let ask = Direct {
        url,
        unix,
        headers: &http.headers,
        cacert: http.cacert.as_deref(),
        insecure: http.insecure,
        within,
        body: if reads { BODY } else { 0 },
    };
    let reply = match ask.get() {
        Ok(reply) => reply,
        Err(DirectError::Silent) => {
            return Err(Probed::Silent(format!("GET {http}: no answer within {}", shown(within))));
        }
        Err(DirectError::No(why)) => return Err(Probed::Wrong(format!("GET {http}: {why}"))),
    };
    match wrong_in(http, &reply) {
        Some(why) => Err(Probed::Wrong(format!("GET {http}: status {}{why}", reply.status))),
        None => Ok(String::from_utf8_lossy(&reply.body).into_owned()),
    }
}

/// What is not as it should be, to be read behind the status.
fn wrong_in(http: &Http, reply: &Reply) -> Option<String> {
    let got = reply.status;
    if !http.status.map_or((200..300).contains(&got), |status| status == got) {
        let wanted = http.status.map_or("200 to 299".to_owned(), |status| status.to_string());
        return Some(format!(", not {wanted}"));
    }
    for line in &http.expect_headers {
        let (name, wanted) = line.split_once(':').unwrap_or((line, ""));
        let (name, wanted) = (name.trim(), wanted.trim());
        let values = reply.headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let Ok(regex) = Regex::new(wanted) else { return Some(format!(", but '{wanted}' is no regular expression")) };
        if !values.iter().any(|value| regex.is_match(value)) {
            let found =
                values.first().map_or("it is not there".to_owned(), |value| format!("it is {}", beginning(value)));
            return Some(format!(", but its header {name} does not match '{wanted}': {found}"));
        }
    }
    let body = String::from_utf8_lossy(&reply.body);
    if let Some(text) = http.body.as_ref().filter(|text| !body.contains(text.as_str())) {
        return Some(format!(", but its body lacks '{text}': {}", beginning(&body)));
    }
    let pattern = http.pattern.as_ref()?;
    match Regex::new(pattern) {
        Ok(regex) if regex.is_match(&body) => None,
        Ok(_) => Some(format!(", but its body does not match '{pattern}': {}", beginning(&body))),
        Err(e) => Some(format!(", but '{pattern}' is no regular expression: {e}")),
    }
}

fn beginning(body: &str) -> String {
    let text: String = body.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", text.trim())
}

fn tcp(address: &str, within: Duration) -> Probed {
    let begun = Instant::now();
    let addresses = match address.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(e) => return Probed::Wrong(format!("connect to {address}: {e}")),
    };
    let mut last = Probed::Wrong(format!("connect to {address}: it has no address"));
    for one in addresses {
        // connect_timeout refuses a zero.
        let left = within.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        last = match TcpStream::connect_timeout(&one, left) {
            Ok(_) => return Probed::Answered,
            Err(e) => unconnected(address, &e, within),
        };
    }
    last
}

fn unix(path: &str, within: Duration) -> Probed {
    match sockets::connect_unix(path, within) {
        Ok(_) => Probed::Answered,
        Err(e) => unconnected(path, &e, within),
    }
}

fn unconnected(to: &str, error: &io::Error, within: Duration) -> Probed {
    if error.kind() == io::ErrorKind::TimedOut {
        return Probed::Silent(format!("connect to {to}: no answer within {}", shown(within)));
    }
    Probed::Wrong(format!("connect to {to}: {error}"))
}

fn exec(target: &Target, line: &str, within: Duration, stop: BorrowedFd) -> Result<String, Probed> {
    let environment: Vec<_> = target.pid.iter().map(|pid| ("MAINPID", pid.to_string())).collect();
    match process::shell(line, &environment, within, Some(stop)) {
        Ok(Ended::Itself(status, printed)) if status.success() => Ok(printed.first),
        Ok(Ended::Itself(status, printed)) => {
            let said = if printed.last.is_empty() { String::new() } else { format!(": {}", printed.last) };
            Err(Probed::Wrong(format!("'{line}': {status}{said}")))
        }
        Ok(Ended::Killed) => Err(Probed::Silent(format!("'{line}': no end within {}", shown(within)))),
        Err(e) => Err(Probed::Wrong(format!("'{line}': /bin/sh could not be run: {e}"))),
    }
}

fn version(target: &Target, asked: &Probe, expected: &str, within: Duration, stop: BorrowedFd) -> Probed {
    let (what, said) = match asked {
        Probe::Http(http) => (format!("GET {http}"), get(http, within, true)),
        other => (format!("'{}'", other.asked()), exec(target, other.asked(), within, stop)),
    };
    let said = match said {
        Ok(said) => said,
        Err(wrong) => return wrong,
    };
    let is_right = if matches!(asked, Probe::Http(_)) { printed::holds_version } else { printed::is_of_version };
    match is_right(&said, expected) {
        Ok(()) => Probed::Answered,
        Err(Some(other)) => Probed::Wrong(format!("{what}: version {other}, not {expected}")),
        Err(None) => Probed::Wrong(format!("{what}: it says no version, {expected} is expected")),
    }
}
