//! The network: GET and nothing else, with deadlines, a cap, retries, and no trust in what answers.
//!
//! Knows addresses and bytes; knows no release. ureq's own redirects, proxies and retries are switched off, because each
//! hop is looked at here: never from https to http, and no secret to another origin.

mod answer;
pub mod direct;
mod error;
mod page;
mod proxy;
mod save;
mod surplus;
mod tls;
pub mod url;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

pub use ureq::http::HeaderMap;
use ureq::http::{HeaderName, HeaderValue, Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, Body, Timeout};

pub use answer::{moment, no_rest, validator};
pub use error::NetError;
pub use page::Page;
use proxy::{Proxies, Via};
use surplus::Surplus;
use url::Url;

use super::say::Say;
use crate::words::size::Size;

/// How many redirects are followed; release servers need one or two.
const REDIRECTS: u32 = 5;
/// All the waiting of one run, for what a server asks for with Retry-After and for the pauses between tries.
const PATIENCE: Duration = Duration::from_secs(60);
/// What to say of a name that nobody knows.
const NO_ADDRESS: &str = "its name has no address; is it right, and is the network up?";
/// The most header bytes of an answer.
const HEADERS_MAX: usize = 64 * 1024;

/// Whether unencrypted addresses are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// Never.
    Refused,
    /// Where the user names one (`--allow-http`); a redirect from https to http is refused all the same.
    Allowed,
}

/// How the network is used.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether unencrypted addresses are asked.
    pub plain_http: PlainHttp,
    /// The only certificates to trust, in PEM; those of the system when absent.
    pub cacert: Option<PathBuf>,
    /// The time to connect, TLS included.
    pub connect: Duration,
    /// The longest silence of a server.
    pub stall: Duration,
    /// The time for everything.
    pub total: Duration,
    /// How often a failed request is tried again.
    pub retries: u32,
    /// The time for all waits between tries; a server that wants more of it is not waited for.
    pub patience: Duration,
    /// The only hosts to ask, redirects included: a name (`api.github.com`), or with a dot in front all names below it
    /// (`.githubusercontent.com`). Any host when absent.
    pub hosts: Option<Vec<String>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            plain_http: PlainHttp::Refused,
            cacert: None,
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            total: Duration::from_secs(1800),
            retries: 3,
            patience: PATIENCE,
            hosts: None,
        }
    }
}

impl Policy {
    /// The usual policy, with `total` for everything and nothing within it longer.
    #[must_use]
    pub fn within(total: Duration) -> Self {
        let usual = Self::default();
        Self { connect: usual.connect.min(total), stall: usual.stall.min(total), total, ..usual }
    }

    /// True when `url` is of a host that may be asked.
    fn admits(&self, url: &Url) -> bool {
        let covers = |allowed: &String| {
            let allowed = allowed.to_ascii_lowercase();
            let host = url.host().trim_end_matches('.');
            host == allowed || (allowed.starts_with('.') && allowed.len() > 1 && host.ends_with(&allowed))
        };
        self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(covers))
    }
}

/// A header whose value may be a secret: it is sent to one origin alone and never shown.
#[derive(Clone)]
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
}

impl Header {
    /// The header `name: value`.
    pub fn new(name: &str, value: &str) -> Result<Self, NetError> {
        let name: HeaderName = name.trim().parse().map_err(|_| NetError::BadHeader("its name"))?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| NetError::BadHeader("its value"))?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }

    /// The header in a line `NAME: VALUE`, as curl's `-H` takes it.
    pub fn line(line: &str) -> Result<Self, NetError> {
        let (name, value) = line.split_once(':').ok_or(NetError::BadHeader("there is no colon"))?;
        Self::new(name, value)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The address.
    pub url: Url,
    /// The media type wanted; `*/*` for any.
    pub accept: &'static str,
    /// Sent to the address's own origin alone.
    pub headers: Vec<Header>,
}

/// The network, used under one policy and one deadline.
pub struct Net {
    agent: Agent,
    proxies: Proxies,
    surplus: Surplus,
    policy: Policy,
    deadline: Instant,
    waited: Cell<Duration>,
}

/// A body that is about to be read, and where it came from after redirects.
struct Answer {
    url: Url,
    via: Option<Via>,
    response: Response<Body>,
}

/// Where one request led.
enum Hop {
    Content(Answer),
    Redirect(Url),
}

impl Net {
    /// The network under `policy`; the time for everything starts now.
    pub fn open(policy: Policy) -> Result<Self, NetError> {
        // Fails only when a provider is there already, which is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = match &policy.cacert {
            Some(path) => RootCerts::new_with_certs(&tls::certificates(path)?),
            None => RootCerts::PlatformVerifier,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(HEADERS_MAX)
            .max_idle_connections(0)
            .proxy(None)
            .user_agent(concat!("upswap/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(Some(policy.connect))
            .timeout_connect(Some(policy.connect))
            .timeout_send_request(Some(policy.stall))
            .timeout_recv_response(Some(policy.stall))
            .timeout_per_read(Some(policy.stall))
            .timeout_per_write(Some(policy.stall))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        let surplus = Surplus::default();
        let connector = ().chain(DefaultConnector::new()).chain(surplus.clone());
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        let deadline = Instant::now() + policy.total;
        Ok(Self { agent, proxies: Proxies::from_env(), surplus, policy, deadline, waited: Cell::default() })
    }

    /// The policy it is used under.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// When the time for everything is up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A small document, whole and in memory, at most `cap` bytes.
    pub fn document(&self, ask: &Ask, cap: Size, say: &Say) -> Result<Vec<u8>, NetError> {
        Ok(self.page(ask, cap, say)?.bytes)
    }

    /// Follows redirects to an answer with content. With the validator of a part and its length the rest is asked for: the
    /// answer is then 206 or 416, or 200 where the server has another state of the file or can't serve parts.
    fn get(&self, ask: &Ask, rest: Option<(&str, u64)>, say: &Say) -> Result<Answer, NetError> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            match self.hop(ask, url, rest, say)? {
                Hop::Content(answer) => return Ok(answer),
                Hop::Redirect(to) => url = to,
            }
        }
        Err(NetError::Redirects(ask.url.clone()))
    }

    /// Asks at `url`, the address of `ask` or where that has sent us.
    fn hop(&self, ask: &Ask, url: Url, rest: Option<(&str, u64)>, say: &Say) -> Result<Hop, NetError> {
        if !ask.url.is_secure() && self.policy.plain_http == PlainHttp::Refused {
            return Err(NetError::PlainHttp(ask.url.clone()));
        }
        if !self.policy.admits(&url) {
            return Err(NetError::Host(url));
        }
        let via = self.proxies.via(&url)?;
        match &via {
            Some(via) => say.detail(format_args!("GET {url} by the proxy {via}")),
            None => say.detail(format_args!("GET {url}")),
        }
        let response = self.call(ask, &url, rest, via.as_ref())?;
        let status = response.status().as_u16();
        match (status, response.headers().get(header::LOCATION)) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                let location = String::from_utf8_lossy(location.as_bytes());
                let to = url.join(&location).map_err(|why| NetError::Redirect { from: url.clone(), why })?;
                if url.is_secure() && !to.is_secure() {
                    return Err(NetError::Downgrade { from: url, to });
                }
                Ok(Hop::Redirect(to))
            }
            (200, _) => Ok(Hop::Content(Answer { url, via, response })),
            (206 | 416, _) if rest.is_some() => Ok(Hop::Content(Answer { url, via, response })),
            (407, _) if via.is_some() => Err(proxy::refused(url, status)),
            _ => Err(answer::refusal(url, status, response.headers())),
        }
    }

    /// One request, to `url` itself or to the proxy in front of it.
    fn call(
        &self,
        ask: &Ask,
        url: &Url,
        rest: Option<(&str, u64)>,
        via: Option<&Via>,
    ) -> Result<Response<Body>, NetError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NetError::Deadline { url: url.clone(), total: self.policy.total });
        }
        let asked = match via {
            Some(via) => via.request(&self.agent, url)?,
            None => self.agent.get(url.as_str()),
        };
        let mut request = asked.header(header::ACCEPT, ask.accept).header(header::CONNECTION, "close");
        if let Some((validator, from)) = rest {
            request = request.header(header::RANGE, format!("bytes={from}-")).header(header::IF_RANGE, validator);
        }
        if url.same_origin(&ask.url) {
            for Header { name, value } in &ask.headers {
                request = request.header(name, value);
            }
        }
        let proxy = via.and_then(Via::tunnel).cloned();
        let request = request.config().proxy(proxy).timeout_global(Some(left)).build();
        self.surplus.take();
        self.surplus.asks_a_proxy(via.is_some_and(|via| via.tunnel().is_none()));
        request.call().map_err(|e| self.failed(url, via, e))
    }

    /// Tries `once`, and again after a pause where that can help and the time allows.
    fn retried<T>(&self, say: &Say, mut once: impl FnMut() -> Result<T, NetError>) -> Result<T, NetError> {
        let mut tries = 0;
        loop {
            let error = match once() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            match error.pause(tries) {
                Some(pause) if tries < self.policy.retries && pause < left && self.waits(pause) => {
                    tries += 1;
                    let again = humantime::format_duration(pause);
                    say.note(format_args!("{error}; try {tries} of {} in {again}", self.policy.retries));
                    thread::sleep(pause);
                }
                _ => return Err(error),
            }
        }
    }

    /// True when there is patience left for this pause, which is then used up.
    fn waits(&self, pause: Duration) -> bool {
        let waited = self.waited.get().saturating_add(pause);
        let is_short = waited <= self.policy.patience;
        if is_short {
            self.waited.set(waited);
        }
        is_short
    }

    /// Why a body broke off.
    fn broken(&self, url: &Url, got: u64, expected: Option<u64>, error: io::Error) -> NetError {
        match ureq::Error::from(error) {
            ureq::Error::Io(e) if e.kind() != io::ErrorKind::InvalidData => {
                NetError::Cut { url: url.clone(), got, expected }
            }
            other => self.failed(url, None, other),
        }
    }

    /// Why there was no answer, from ureq's words to ours. ureq's own text can hold addresses, and so is used nowhere.
    fn failed(&self, url: &Url, via: Option<&Via>, error: ureq::Error) -> NetError {
        let url = url.clone();
        let policy = &self.policy;
        let after = |what: &str, time: Duration| format!("{what} within {}", humantime::format_duration(time));
        let unreachable = |url, why: &str| {
            let by = via.map(|via| format!("the proxy {via}: ")).unwrap_or_default();
            NetError::Unreachable { url, why: format!("{by}{why}") }
        };
        match error {
            ureq::Error::Timeout(Timeout::Global | Timeout::PerCall) => NetError::Deadline { url, total: policy.total },
            ureq::Error::Timeout(Timeout::Resolve) => {
                NetError::Timeout { url, what: after("no address of its name", policy.connect) }
            }
            ureq::Error::Timeout(Timeout::Connect) => {
                NetError::Timeout { url, what: after("no connection", policy.connect) }
            }
            ureq::Error::Timeout(Timeout::RecvResponse) => {
                NetError::Timeout { url, what: after("no answer", policy.stall) }
            }
            ureq::Error::Timeout(_) => NetError::Timeout { url, what: after("no byte came or went", policy.stall) },
            ureq::Error::HostNotFound => unreachable(url, NO_ADDRESS),
            ureq::Error::ConnectionFailed => unreachable(url, "no address answers; is the network up?"),
            ureq::Error::Rustls(e) => NetError::Tls { url, why: tls::refusal(&e) },
            ureq::Error::Io(e) => match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(e) => NetError::Tls { url, why: tls::refusal(e) },
                None if e.kind() == io::ErrorKind::ConnectionRefused => {
                    NetError::Refused { url, by: via.map(ToString::to_string) }
                }
                None => match e.kind() {
                    io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::AddrNotAvailable => unreachable(url, &format!("{e}; is the network up?")),
                    // The words of std::net, which has no kind for it.
                    _ if e.to_string().starts_with("failed to lookup address") => unreachable(url, NO_ADDRESS),
                    _ => unreachable(url, &e.to_string()),
                },
            },
            ureq::Error::Tls(why) => NetError::Tls { url, why: why.to_owned() },
            ureq::Error::ConnectProxyFailed(reason) => {
                // Of ureq's text only the number of the status.
                let number = reason.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() == 3);
                proxy::refused(url, number.and_then(|digits| digits.parse().ok()).unwrap_or_default())
            }
            ureq::Error::LargeResponseHeader(..) => {
                NetError::Protocol { url, why: "its headers are larger than 64 KiB".into() }
            }
            ureq::Error::Protocol(e) => NetError::Protocol { url, why: e.to_string() },
            _ => NetError::Protocol { url, why: "ureq could not make sense of it".into() },
        }
    }
}

#[cfg(test)]
mod tests;
