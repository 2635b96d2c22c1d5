//! The network: GET and nothing else, with deadlines, a cap, retries, and no trust in what answers.
//!
//! Knows addresses and bytes; knows no release. ureq's own redirects, proxies and retries are switched off, because each
//! hop is looked at here: never from https to http, and no secret to another origin.

mod error;
mod proxy;
mod surplus;
pub mod url;

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fs_err as fs;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, Body, Proxy, Timeout};

pub use error::NetError;
use proxy::Proxies;
use surplus::Surplus;
use url::Url;

use super::landing::Landing;
use super::say::Say;
use crate::words::size::Size;

/// How many redirects are followed; release servers need one or two.
const REDIRECTS: u32 = 5;
/// The longest wait that a server's Retry-After can ask for.
const PATIENCE: Duration = Duration::from_secs(60);
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
}

/// A body that is about to be read, and where it came from after redirects.
struct Answer {
    url: Url,
    proxied: bool,
    response: Response<Body>,
}

impl Net {
    /// The network under `policy`; the time for everything starts now.
    pub fn open(policy: Policy) -> Result<Self, NetError> {
        // Fails only when a provider is there already, which is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = match &policy.cacert {
            Some(path) => RootCerts::new_with_certs(&certificates(path)?),
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
        Ok(Self { agent, proxies: Proxies::from_env(), surplus, policy, deadline })
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
        self.page(ask, cap, say).map(|(bytes, _)| bytes)
    }

    /// The same, and its `Link:` header (RFC 8288), which says where a list goes on.
    pub fn page(&self, ask: &Ask, cap: Size, say: &Say) -> Result<(Vec<u8>, Option<String>), NetError> {
        self.retried(say, || {
            let Answer { url, response, .. } = self.get(ask, say)?;
            let link = response.headers().get(header::LINK).and_then(|link| link.to_str().ok()).map(str::to_owned);
            let mut bytes = Vec::new();
            let reader = response.into_body().into_reader();
            let read = reader.take(cap.0.saturating_add(1)).read_to_end(&mut bytes);
            read.map_err(|e| self.broken(&url, bytes.len() as u64, None, e))?;
            if bytes.len() as u64 > cap.0 {
                return Err(NetError::TooLarge { url, cap });
            }
            Ok((bytes, link))
        })
    }

    /// Puts a whole file into `landing`, at most `cap` bytes, and of just `size` bytes when that is known from elsewhere.
    ///
    /// A body that is cut, longer than announced, of unknown length, or a web page is never taken for the file.
    pub fn save(
        &self,
        ask: &Ask,
        size: Option<u64>,
        cap: Size,
        landing: &mut Landing,
        say: &Say,
    ) -> Result<(), NetError> {
        self.retried(say, || {
            let saved = self.save_once(ask, size, cap, landing, say);
            landing.hide();
            saved
        })
    }

    fn save_once(
        &self,
        ask: &Ask,
        size: Option<u64>,
        cap: Size,
        landing: &mut Landing,
        say: &Say,
    ) -> Result<(), NetError> {
        let Answer { url, proxied, response } = self.get(ask, say)?;
        if is_page(response.headers(), &ask.url) {
            return Err(NetError::Page(url));
        }
        let length = content_length(response.headers());
        let chunked = response.headers().contains_key(header::TRANSFER_ENCODING);
        match (length, size) {
            (Some(got), Some(expected)) if got != expected => {
                return Err(NetError::WrongSize { url, got, expected });
            }
            (None, None) if !chunked => return Err(NetError::Unsized(url)),
            _ => {}
        }
        let announced = length.or(size);
        if announced.is_some_and(|bytes| bytes > cap.0) {
            return Err(NetError::TooLarge { url, cap });
        }
        landing.begin(announced).map_err(NetError::Write)?;
        let got = self.pour(&url, response, announced, cap, landing)?;
        match announced {
            Some(expected) if got < expected => Err(NetError::Cut { url, got, expected: Some(expected) }),
            Some(expected) if got > expected => Err(NetError::WrongSize { url, got, expected }),
            // Behind a proxy the connection below TLS is watched too, and its last bytes are TLS's own.
            _ if self.surplus.take() && length.is_some() && !proxied => Err(NetError::Surplus(url)),
            _ => Ok(()),
        }
    }

    fn pour(
        &self,
        url: &Url,
        response: Response<Body>,
        announced: Option<u64>,
        cap: Size,
        landing: &mut Landing,
    ) -> Result<u64, NetError> {
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 64 * 1024];
        let mut got: u64 = 0;
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => return Ok(got),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.broken(url, got, announced, e)),
            };
            got += n as u64;
            if got > cap.0 {
                return Err(NetError::TooLarge { url: url.clone(), cap });
            }
            landing.write(buffer.get(..n).unwrap_or_default()).map_err(NetError::Write)?;
        }
    }

    /// Follows redirects to an answer with content.
    fn get(&self, ask: &Ask, say: &Say) -> Result<Answer, NetError> {
        let mut url = ask.url.clone();
        if !url.is_secure() && self.policy.plain_http == PlainHttp::Refused {
            return Err(NetError::PlainHttp(url));
        }
        for _ in 0..=REDIRECTS {
            say.detail(format_args!("GET {url}"));
            let proxy = self.proxy(&url)?;
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NetError::Deadline { url, total: self.policy.total });
            }
            let proxied = proxy.is_some();
            let mut request = self.agent.get(url.as_str()).header(header::ACCEPT, ask.accept);
            if url.same_origin(&ask.url) {
                for Header { name, value } in &ask.headers {
                    request = request.header(name, value);
                }
            }
            let request = request.header(header::CONNECTION, "close");
            let request = request.config().proxy(proxy).timeout_global(Some(left)).build();
            self.surplus.take();
            let response = request.call().map_err(|e| self.failed(&url, e))?;
            let status = response.status().as_u16();
            match (status, response.headers().get(header::LOCATION)) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    let location = String::from_utf8_lossy(location.as_bytes());
                    let to = url.join(&location).map_err(|why| NetError::Redirect { from: url.clone(), why })?;
                    if url.is_secure() && !to.is_secure() {
                        return Err(NetError::Downgrade { from: url, to });
                    }
                    url = to;
                }
                (200, _) => return Ok(Answer { url, proxied, response }),
                _ => return Err(refusal(url, status, response.headers())),
            }
        }
        Err(NetError::Redirects(ask.url.clone()))
    }

    fn proxy(&self, url: &Url) -> Result<Option<Proxy>, NetError> {
        let Some(proxy) = self.proxies.of(url) else { return Ok(None) };
        let variable = if url.is_secure() { "https_proxy or all_proxy" } else { "http_proxy or all_proxy" };
        let bad = |why| NetError::Proxy { url: url.clone(), variable, why };
        if proxy.starts_with("socks") {
            return Err(bad("SOCKS is not spoken here; name an http:// proxy"));
        }
        Proxy::new(proxy).map(Some).map_err(|_| bad("it is not an address such as http://HOST:PORT"))
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
                Some(pause) if tries < self.policy.retries && pause <= PATIENCE && pause < left => {
                    tries += 1;
                    let again = humantime::format_duration(pause);
                    say.note(format_args!("{error}; try {tries} of {} in {again}", self.policy.retries));
                    thread::sleep(pause);
                }
                _ => return Err(error),
            }
        }
    }

    /// Why a body broke off.
    fn broken(&self, url: &Url, got: u64, expected: Option<u64>, error: io::Error) -> NetError {
        match ureq::Error::from(error) {
            ureq::Error::Io(e) if e.kind() != io::ErrorKind::InvalidData => {
                NetError::Cut { url: url.clone(), got, expected }
            }
            other => self.failed(url, other),
        }
    }

    /// Why there was no answer, from ureq's words to ours. ureq's own text can hold addresses, and so is used nowhere.
    fn failed(&self, url: &Url, error: ureq::Error) -> NetError {
        let url = url.clone();
        let policy = &self.policy;
        let after = |what: &str, time: Duration| format!("{what} within {}", humantime::format_duration(time));
        match error {
            ureq::Error::Timeout(Timeout::Global | Timeout::PerCall) => NetError::Deadline { url, total: policy.total },
            ureq::Error::Timeout(Timeout::Resolve) => {
                NetError::Timeout { url, what: after("no address", policy.connect) }
            }
            ureq::Error::Timeout(Timeout::Connect) => {
                NetError::Timeout { url, what: after("no connection", policy.connect) }
            }
            ureq::Error::Timeout(Timeout::RecvResponse) => {
                NetError::Timeout { url, what: after("no answer", policy.stall) }
            }
            ureq::Error::Timeout(_) => NetError::Timeout { url, what: after("no byte came or went", policy.stall) },
            ureq::Error::HostNotFound => NetError::Unreachable { url, why: "the host's name has no address".into() },
            ureq::Error::ConnectionFailed => NetError::Unreachable { url, why: "no address answers".into() },
            ureq::Error::Rustls(e) => NetError::Tls { url, why: tls(&e) },
            ureq::Error::Io(e) => match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(e) => NetError::Tls { url, why: tls(e) },
                None => NetError::Unreachable { url, why: e.to_string() },
            },
            ureq::Error::Tls(why) => NetError::Tls { url, why: why.to_owned() },
            ureq::Error::ConnectProxyFailed(_) => NetError::Proxy {
                url,
                variable: "https_proxy, http_proxy or all_proxy",
                why: "it refuses to connect us",
            },
            ureq::Error::LargeResponseHeader(..) => {
                NetError::Protocol { url, why: "its headers are larger than 64 KiB".into() }
            }
            ureq::Error::Protocol(e) => NetError::Protocol { url, why: e.to_string() },
            _ => NetError::Protocol { url, why: "ureq could not make sense of it".into() },
        }
    }
}

/// What a status other than 200 means.
fn refusal(url: Url, status: u16, headers: &HeaderMap) -> NetError {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let retry_after = text("retry-after").and_then(moment);
    let used_up = text("x-ratelimit-remaining") == Some("0");
    match status {
        404 | 410 => NetError::NotFound(url),
        429 => NetError::RateLimited { url, until: retry_after.or_else(|| reset(text("x-ratelimit-reset"))), hint: "" },
        403 if used_up || retry_after.is_some() => {
            NetError::RateLimited { url, until: retry_after.or_else(|| reset(text("x-ratelimit-reset"))), hint: "" }
        }
        401 | 403 | 407 => {
            let wants = headers.get_all(header::WWW_AUTHENTICATE).iter();
            let wants = wants.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
            NetError::Denied { url, status, wants }
        }
        408 | 500..=599 => NetError::Busy { url, status, until: retry_after },
        _ => NetError::Status { url, status },
    }
}

/// `x-ratelimit-reset`: seconds since 1970-01-01 UTC.
fn reset(text: Option<&str>) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(text?.parse().ok()?))
}

/// `Retry-After`: seconds from now, or a date such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, sections 10.2.3 and 5.6.7).
fn moment(text: &str) -> Option<SystemTime> {
    if let Ok(seconds) = text.parse() {
        return SystemTime::now().checked_add(Duration::from_secs(seconds));
    }
    let mut parts = text.split(' ').skip(1);
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// True for a web page where no web page was asked for.
fn is_page(headers: &HeaderMap, asked: &Url) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let name = Path::new(asked.file_name()).extension();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html") && !name.is_some_and(|e| e == "html" || e == "htm")
}

/// What is wrong with the server's certificate, and what to do.
fn tls(error: &rustls::Error) -> String {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        let text = error.to_string();
        return if text.contains("No CA certificates") {
            "this host has no CA certificates; install the package ca-certificates, or name a file with --cacert".into()
        } else {
            text
        };
    };
    match bad {
        Bad::UnknownIssuer => {
            "its certificate is signed by nobody trusted here; name its CA with --cacert if it is your own".into()
        }
        Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            let now = humantime::format_rfc3339_seconds(SystemTime::now());
            format!("its certificate is not valid at this host's time, {now}; is the clock right?")
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "its certificate is for another name".into(),
        other => format!("its certificate is refused: {other}"),
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, NetError> {
    let failed = |why: String| NetError::CaCert { path: path.to_owned(), why };
    let pem = fs::read(path).map_err(|e| failed(e.kind().to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(failed("it is not PEM".into())),
        }
    }
    if found.is_empty() { Err(failed("there is none in it".into())) } else { Ok(found) }
}
