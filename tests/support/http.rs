//! A small HTTP server for tests, on a port of its own, that can also misbehave.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path with its query.
    pub path: String,
    /// The header lines by lower-case name.
    pub headers: HashMap<String, String>,
    /// How many requests for this path came before.
    pub nth: usize,
}

/// What is answered: bytes as they are, and then the end of the connection or silence.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    /// Nothing more is sent and the connection stays open until the server goes.
    Hold,
    /// The body again and again, or header lines where there is no body yet, until the client hangs up.
    Repeat,
}

impl Reply {
    /// A status with a body and its right length.
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::raw(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.as_ref().len()), body)
    }

    /// A head as it is, and a body as it is.
    pub fn raw(head: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        Self { bytes: [head.as_ref(), body.as_ref()].concat(), then: Then::Close }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        Self::new(302, "").header("Location", to)
    }

    /// With one more header line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let end = self.bytes.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
        self.bytes.splice(end..end, format!("{name}: {value}\r\n").into_bytes());
        self
    }

    /// With these bytes of a whole of `len` in its `Content-Range`, instead of the one that it has.
    #[allow(dead_code)] // The crash tests ask for no parts.
    pub fn range(mut self, from: usize, len: usize) -> Self {
        let name = b"Content-Range: ";
        if let Some(at) = self.bytes.windows(name.len()).position(|here| here == name) {
            let end = at + self.bytes[at..].iter().position(|byte| *byte == b'\n').unwrap();
            self.bytes.drain(at..=end);
        }
        self.header("Content-Range", &format!("bytes {from}-{}/{len}", len - 1))
    }

    /// And then nothing, for ever.
    pub fn hold(mut self) -> Self {
        self.then = Then::Hold;
        self
    }

    /// And then the same bytes, for ever.
    pub fn repeat(mut self) -> Self {
        self.then = Then::Repeat;
        self
    }
}

/// A connection, encrypted or not.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The server; it ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    held: Mutex<Vec<Box<dyn Stream>>>,
    ends: AtomicBool,
}

impl Server {
    /// Serves what `answer` makes of each request. It gets the server's own address, for links to itself.
    pub fn start(answer: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen("http", answer, |stream| Ok(Box::new(stream)))
    }

    /// The same by https, and the certificate in PEM of the CA that signed the server's.
    pub fn start_tls(answer: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static) -> (Self, String) {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = ca.self_signed(&ca_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        (Self::start_as(leaf.der().clone(), key.into(), answer), pem)
    }

    /// The same as the one that has this certificate.
    pub fn start_as(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        answer: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let wrap = move |stream| {
            let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            Ok(Box::new(StreamOwned::new(connection, stream)) as Box<dyn Stream>)
        };
        Self::listen("https", answer, wrap)
    }

    fn listen(
        scheme: &'static str,
        answer: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), scheme, shared: Arc::default() };
        let (shared, base) = (server.shared.clone(), server.url());
        let both = Arc::new((answer, wrap));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ends.load(Ordering::Relaxed) {
                    return;
                }
                let (both, shared, base) = (both.clone(), shared.clone(), base.clone());
                // A client that hangs up is no failure of the server.
                thread::spawn(move || {
                    stream.and_then(&both.1).and_then(|stream| serve(stream, &both.0, &shared, &base))
                });
            }
        });
        server
    }

    /// `http://127.0.0.1:PORT`, or the same with https.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The requests so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        self.shared.held.lock().unwrap().clear();
    }
}

fn serve(
    mut stream: Box<dyn Stream>,
    answer: &dyn Fn(&Seen, &str) -> Reply,
    shared: &Shared,
    base: &str,
) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let seen = {
        let mut log = shared.seen.lock().unwrap();
        let nth = log.iter().filter(|seen| seen.path == path).count();
        log.push(Seen { path, headers, nth });
        log.last().unwrap().clone()
    };
    let Reply { bytes, then } = answer(&seen, base);
    stream.write_all(&bytes)?;
    stream.flush()?;
    match then {
        Then::Close => {}
        Then::Hold => shared.held.lock().unwrap().push(stream),
        Then::Repeat => {
            let blank = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let body = blank.map_or(&b"X-More: more\r\n"[..], |at| &bytes[at + 4..]);
            while stream.write_all(body).is_ok() {}
        }
    }
    Ok(())
}
