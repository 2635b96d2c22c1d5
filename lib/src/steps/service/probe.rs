//! Asking the service itself: HTTP, TCP, a command line. Each try has its own short deadline, no probe follows a redirect or
//! goes through a proxy.

use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::sys::process::{self, Ended};
use crate::words::proof::Probe;
use crate::words::verdict::fold::Probed;
use crate::words::verdict::shown;

/// How long one probe may take to be answered.
const TRY: Duration = Duration::from_secs(3);
/// How much of a body is searched for `--body`.
const BODY: u64 = 1024 * 1024;

/// Asks all probes, in turn, each for at most `within`; the first that is not answered as it should be ends it.
pub(super) fn ask(probes: &[Probe], within: Duration) -> Probed {
    let first = probes.iter().map(|probe| one(probe, within.min(TRY))).find(|probed| *probed != Probed::Answered);
    match first {
        Some(Probed::Silent(text)) if within < TRY => Probed::CutShort(text),
        other => other.unwrap_or(Probed::Answered),
    }
}

fn one(probe: &Probe, within: Duration) -> Probed {
    match probe {
        Probe::Http { url, status, body } => http(url, *status, body.as_deref(), within),
        Probe::Tcp(address) => tcp(address, within),
        Probe::Exec(line) => exec(line, within),
    }
}

fn http(url: &str, status: Option<u16>, text: Option<&str>, within: Duration) -> Probed {
    if url.starts_with("https:") {
        // Fails only when it is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(within))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .tls_config(tls)
        .user_agent(concat!("svc-wait/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let silent = || Probed::Silent(format!("GET {url}: no answer within {}", shown(within)));
    let mut response = match agent.get(url).call() {
        Ok(response) => response,
        Err(ureq::Error::Timeout(_)) => return silent(),
        Err(e) => return Probed::Wrong(format!("GET {url}: {e}")),
    };
    let got = response.status().as_u16();
    let right = status.map_or((200..300).contains(&got), |status| status == got);
    if !right {
        let wanted = status.map_or("200 to 299".to_owned(), |status| status.to_string());
        return Probed::Wrong(format!("GET {url}: status {got}, not {wanted}"));
    }
    let Some(text) = text else { return Probed::Answered };
    let mut body = Vec::new();
    match response.body_mut().as_reader().take(BODY).read_to_end(&mut body) {
        Ok(_) if holds(&body, text.as_bytes()) => Probed::Answered,
        Ok(_) => Probed::Wrong(format!("GET {url}: status {got}, but its body lacks '{text}': {}", beginning(&body))),
        Err(e) if e.kind() == io::ErrorKind::TimedOut => silent(),
        Err(e) => Probed::Wrong(format!("GET {url}: status {got}, then its body: {e}")),
    }
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

fn beginning(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).chars().take(80).collect();
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
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                Probed::Silent(format!("connect to {address}: no answer within {}", shown(within)))
            }
            Err(e) => Probed::Wrong(format!("connect to {address}: {e}")),
        };
    }
    last
}

fn exec(line: &str, within: Duration) -> Probed {
    match process::shell(line, within) {
        Ok(Ended::Itself(status, _)) if status.success() => Probed::Answered,
        Ok(Ended::Itself(status, said)) => {
            let said = if said.is_empty() { said } else { format!(": {said}") };
            Probed::Wrong(format!("'{line}': {status}{said}"))
        }
        Ok(Ended::Killed) => Probed::Silent(format!("'{line}': no end within {}", shown(within))),
        Err(e) => Probed::Wrong(format!("'{line}': /bin/sh could not be run: {e}")),
    }
}
