//! Why an address gave nothing, and whether to ask again.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::url::{BadUrl, Url};
use crate::words::exit::{Coded, Exit};
use crate::words::size::Size;

/// Why an address gave nothing. No message holds a header, a query or a password.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address or a redirect that can't be read.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// The address is not encrypted and nobody allowed that.
    #[error("{0}: plain http is refused; use https, or --allow-http where the network can be trusted")]
    PlainHttp(Url),
    /// The server sends us from https to http.
    #[error("{from}: redirects to the unencrypted {to}; refused")]
    Downgrade {
        /// Where we asked.
        from: Url,
        /// Where it sends us.
        to: Url,
    },
    /// A redirect to what is no http or https address.
    #[error("{from}: redirects to a place that is refused: {why}")]
    Redirect {
        /// Where we asked.
        from: Url,
        /// Why it is refused.
        why: BadUrl,
    },
    /// Too many redirects.
    #[error("{0}: redirected more than five times; refused")]
    Redirects(Url),
    /// The server does not have it.
    #[error("{0}: not found (404)")]
    NotFound(Url),
    /// The server wants another or any token, or forbids it altogether.
    #[error("{url}: refused by the server ({status}); is a token or a header missing, or not allowed to read this?")]
    Denied {
        /// Where we asked.
        url: Url,
        /// The HTTP status: 401 or 403.
        status: u16,
        /// What it wants to see, its `WWW-Authenticate:` headers.
        wants: Vec<String>,
    },
    /// Too many requests, by the server's own count.
    #[error("{url}: rate limit reached; try again {}{hint}", when(*.until))]
    RateLimited {
        /// Where we asked.
        url: Url,
        /// When it will answer again, if it said so.
        until: Option<SystemTime>,
        /// What would raise the limit, with a leading `; `; empty when nothing would.
        hint: &'static str,
    },
    /// The server is in trouble.
    #[error("{url}: the server answers {status}; try again {}", when(*.until))]
    Busy {
        /// Where we asked.
        url: Url,
        /// The HTTP status, 500 to 599 or 408.
        status: u16,
        /// When it wants to be asked again, if it said so.
        until: Option<SystemTime>,
    },
    /// An answer that is neither content nor one of the above.
    #[error("{url}: the server answers {status}, which is no file")]
    Status {
        /// Where we asked.
        url: Url,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or it broke before there was an answer.
    #[error("{url}: no connection: {why}")]
    Unreachable {
        /// Where we asked.
        url: Url,
        /// Why.
        why: String,
    },
    /// Nothing listens at that address.
    #[error("{url}: connection refused{}; is the address right, and is the server up?", by_proxy(by.as_deref()))]
    Refused {
        /// Where we asked.
        url: Url,
        /// The proxy in between, `HOST:PORT`.
        by: Option<String>,
    },
    /// A host that the policy does not name.
    #[error("{0}: the host '{host}' is not among the HOSTS of the policy; refused", host = .0.host())]
    Host(Url),
    /// Nothing came for too long.
    #[error("{url}: gave up: {what}")]
    Timeout {
        /// Where we asked.
        url: Url,
        /// What took too long, and how long it was given.
        what: String,
    },
    /// All the time there was is used up.
    #[error("{url}: not complete within {}; see --timeout", humantime::format_duration(*.total))]
    Deadline {
        /// Where we asked.
        url: Url,
        /// How long there was.
        total: Duration,
    },
    /// The body ended early.
    #[error("{url}: cut off after {got} bytes{}", of_expected(*.expected))]
    Cut {
        /// Where we asked.
        url: Url,
        /// How many bytes came.
        got: u64,
        /// How many were announced.
        expected: Option<u64>,
    },
    /// The server can't be trusted to be who it says.
    #[error("{url}: TLS: {why}")]
    Tls {
        /// Where we asked.
        url: Url,
        /// Why, and what to do.
        why: String,
    },
    /// The answer is no HTTP, or breaks its rules.
    #[error("{url}: not a proper answer: {why}")]
    Protocol {
        /// Where we asked.
        url: Url,
        /// What is wrong with it.
        why: String,
    },
    /// Neither a length nor chunks: nobody could tell a whole body from a cut one.
    #[error(
        "{0}: the server does not say how long the file is, so a cut one could not be told from a whole one; refused"
    )]
    Unsized(Url),
    /// Another size than was announced.
    #[error("{url}: {got} bytes come where {expected} were announced; refused")]
    WrongSize {
        /// Where we asked.
        url: Url,
        /// How many bytes come.
        got: u64,
        /// How many should.
        expected: u64,
    },
    /// Bytes behind the end of the body.
    #[error("{0}: the server sends more than the length it gave; refused")]
    Surplus(Url),
    /// More than is taken.
    #[error("{url}: larger than {cap}; raise --max-size if that is right")]
    TooLarge {
        /// Where we asked.
        url: Url,
        /// The most that is taken.
        cap: Size,
    },
    /// A web page where a file should be.
    #[error("{0}: a web page came instead of the file; a login page or a captive portal?")]
    Page(Url),
    /// The proxy of the environment can't be used.
    #[error("{url}: the proxy of the environment ({variable}) can't be used: {why}")]
    Proxy {
        /// Where we asked.
        url: Url,
        /// The variables that name it.
        variable: &'static str,
        /// Why.
        why: String,
    },
    /// The file of `--cacert` can't be used.
    #[error("{path}: no certificate could be read: {why}", path = .path.display())]
    CaCert {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A header that HTTP does not allow.
    #[error("a header is refused ({0}); NAME: VALUE in printable ASCII is needed (its value is not shown here)")]
    BadHeader(&'static str),
    /// The bytes could not be written.
    #[error("{0}")]
    Write(io::Error),
}

/// When to come back, for people.
fn when(until: Option<SystemTime>) -> String {
    let Some(until) = until else { return "later".to_owned() };
    let at = humantime::format_rfc3339_seconds(until);
    match until.duration_since(SystemTime::now()) {
        Ok(left) => {
            format!("at {at} (in {})", humantime::format_duration(Duration::from_secs(left.as_secs().max(1))))
        }
        Err(_) => "now".to_owned(),
    }
}

fn by_proxy(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" by the proxy {proxy}")).unwrap_or_default()
}

fn of_expected(bytes: Option<u64>) -> String {
    bytes.map(|bytes| format!(" of {bytes}")).unwrap_or_default()
}

impl NetError {
    /// How long to wait before the try after `tries` failed ones; `None` when asking again is no use.
    pub(super) fn pause(&self, tries: u32) -> Option<Duration> {
        let backoff = Duration::from_millis(500) * 2u32.saturating_pow(tries.min(6));
        match self {
            Self::Busy { until: Some(until), .. } | Self::RateLimited { until: Some(until), .. } => {
                let left = until.duration_since(SystemTime::now()).unwrap_or_default();
                // Whole milliseconds, for people.
                Some(Duration::from_millis(left.as_millis().try_into().unwrap_or(u64::MAX)))
            }
            // A server that starts anew is back soon; an address that is wrong never is.
            Self::Refused { .. } => (tries == 0).then_some(backoff),
            Self::Busy { .. } | Self::Unreachable { .. } | Self::Timeout { .. } | Self::Cut { .. } => Some(backoff),
            _ => None,
        }
    }
}

impl Coded for NetError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotFound(_) | Self::Host(_) => Exit::No,
            Self::Url(_) | Self::PlainHttp(_) | Self::BadHeader(_) => Exit::Usage,
            Self::RateLimited { .. }
            | Self::Busy { .. }
            | Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Timeout { .. }
            | Self::Deadline { .. }
            | Self::Cut { .. } => Exit::NotNow,
            _ => Exit::CouldNot,
        }
    }
}
