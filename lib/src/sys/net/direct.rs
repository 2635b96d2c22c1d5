//! One GET to a service of ours: no redirect is followed, no proxy asked, nothing tried again.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{HeaderMap, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error, Timeout};

use super::{Header, tls};
use crate::sys::sockets;

/// What is asked, and how.
#[derive(Clone, Copy, Debug)]
pub struct Direct<'a> {
    /// The address; of the host's Unix socket it is only the path and the `Host:` that count.
    pub url: &'a str,
    /// The Unix socket that is asked instead of the address's host.
    pub unix: Option<&'a Path>,
    /// Header lines, `NAME: VALUE`.
    pub headers: &'a [String],
    /// The only certificates to trust, in PEM.
    pub cacert: Option<&'a Path>,
    /// Any certificate is taken.
    pub insecure: bool,
    /// The time for everything.
    pub within: Duration,
    /// How many bytes of the body are read, at most.
    pub body: u64,
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// Nothing, or not all, came in time.
    #[error("no answer in time")]
    Silent,
    /// A refusal, a broken connection, or no HTTP.
    #[error("{0}")]
    No(String),
}

impl Direct<'_> {
    /// Asks.
    pub fn get(&self) -> Result<Reply, DirectError> {
        // Fails only when it is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = match self.cacert {
            Some(path) => {
                RootCerts::new_with_certs(&tls::certificates(path).map_err(|e| DirectError::No(e.to_string()))?)
            }
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder().root_certs(roots).disable_verification(self.insecure).build();
        let config = Agent::config_builder()
            .timeout_global(Some(self.within))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .tls_config(tls)
            .user_agent(concat!("svc-wait/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = match self.unix {
            None => Agent::with_parts(config, DefaultConnector::default(), Names),
            Some(path) => {
                let path = path.to_owned();
                Agent::with_parts(config, Unix { path, within: self.within }, DefaultResolver::default())
            }
        };
        let mut request = agent.get(self.url).header(header::CONNECTION, "close");
        let mut names_host = false;
        for line in self.headers {
            let Header { name, value } = Header::line(line).map_err(|e| DirectError::No(e.to_string()))?;
            names_host |= name == header::HOST;
            request = request.header(name, value);
        }
        if self.unix.is_some() && !names_host {
            request = request.header(header::HOST, "localhost");
        }
        let mut response = request.call().map_err(told)?;
        let mut body = Vec::new();
        if self.body > 0 {
            response.body_mut().as_reader().take(self.body).read_to_end(&mut body).map_err(|e| told(e.into()))?;
        }
        Ok(Reply { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }
}

/// The resolver's own makes a thread for each question, and panics where there is no room for one more.
#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.parse::<IpAddr>().is_ok() {
            return DefaultResolver::default().resolve(uri, config, NextTimeout::default());
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let (uri, config) = (uri.clone(), config.clone());
        let ask = move || {
            // Nobody waits any more when it can't be sent.
            let _ = answer.send(DefaultResolver::default().resolve(&uri, &config, NextTimeout::default()));
        };
        thread::Builder::new().name("resolve".into()).spawn(ask)?;
        answered.recv_timeout(*timeout.after).unwrap_or(Err(Error::Timeout(timeout.reason)))
    }
}

/// ureq's error in our words.
fn told(error: Error) -> DirectError {
    let refused = |e: &rustls::Error| DirectError::No(format!("TLS: {}", tls::refusal(e)));
    match error {
        Error::Timeout(_) => DirectError::Silent,
        Error::Rustls(e) => refused(&e),
        Error::Io(e) if e.kind() == io::ErrorKind::TimedOut => DirectError::Silent,
        Error::Io(e) => match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => refused(tls),
            None => DirectError::No(e.to_string()),
        },
        other => DirectError::No(other.to_string()),
    }
}

/// Connects to a Unix socket, whatever the address says.
#[derive(Debug)]
struct Unix {
    path: PathBuf,
    within: Duration,
}

impl Connector<()> for Unix {
    type Out = UnixTransport;

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<UnixTransport>, Error> {
        let stream = sockets::connect_unix(&self.path.to_string_lossy(), self.within)?;
        Ok(Some(UnixTransport { stream, buffers: LazyBuffers::new(64 * 1024, 64 * 1024) }))
    }
}

struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl fmt::Debug for UnixTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnixTransport")
    }
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(timeout.not_zero().map(|time| *time))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|e| in_time(e, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(timeout.not_zero().map(|time| *time))?;
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input).map_err(|e| in_time(e, timeout.reason))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Each connection is for one request.
        false
    }
}

fn in_time(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}
