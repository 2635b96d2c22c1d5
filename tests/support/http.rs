//! A small HTTP server for tests, on a port of its own, that can also misbehave.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

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
    /// The bytes behind the blank line again and again, until the client hangs up.
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

/// The server; it ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    held: Arc<Mutex<Vec<TcpStream>>>,
    ends: Arc<AtomicBool>,
}

impl Server {
    /// Serves what `answer` makes of each request. It gets the server's own address, for links to itself.
    pub fn start(answer: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            held: Arc::default(),
            ends: Arc::default(),
        };
        let (seen, held, ends, base) = (server.seen.clone(), server.held.clone(), server.ends.clone(), server.url());
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (answer, seen, held, base) = (answer.clone(), seen.clone(), held.clone(), base.clone());
                // A client that hangs up is no failure of the server.
                thread::spawn(move || stream.and_then(|stream| serve(stream, &*answer, &seen, &held, &base)));
            }
        });
        server
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        self.held.lock().unwrap().clear();
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&Seen, &str) -> Reply,
    log: &Mutex<Vec<Seen>>,
    held: &Mutex<Vec<TcpStream>>,
    base: &str,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let seen = {
        let mut log = log.lock().unwrap();
        let nth = log.iter().filter(|seen| seen.path == path).count();
        log.push(Seen { path, headers, nth });
        log.last().unwrap().clone()
    };
    let Reply { bytes, then } = answer(&seen, base);
    stream.write_all(&bytes)?;
    match then {
        Then::Close => {}
        Then::Hold => held.lock().unwrap().push(stream),
        Then::Repeat => {
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
            let body = if head < bytes.len() { &bytes[head..] } else { b"X-More: more\r\n" };
            while stream.write_all(body).is_ok() {}
        }
    }
    Ok(())
}
