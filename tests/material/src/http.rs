//! The few lines of HTTP/1.1 (RFC 9112) that daemon, client, server and prober need: one request, one answer, then closed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How many bytes of request or answer head are read at most.
const HEAD: u64 = 64 * 1024;

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query's `key=value` pairs, not decoded.
    pub query: Vec<(String, String)>,
    /// The header fields, names in lower case.
    pub fields: Vec<(String, String)>,
}

impl Request {
    /// Reads one request head from `stream`.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut lines = head(stream)?.into_iter();
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ');
        let (Some(method), Some(target), Some(_)) = (words.next(), words.next(), words.next()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an HTTP request"));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(owned).collect();
        let fields =
            lines.filter_map(|l| l.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned())));
        Ok(Self { method: method.to_owned(), path: path.to_owned(), query, fields: fields.collect() })
    }

    /// The value of a header field; `name` in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// The value of a query parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// 200, 404.
    pub status: u16,
    /// The header fields besides Content-Length and Connection.
    pub fields: Vec<(&'static str, String)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer of plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        let fields = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
        Self { status, fields, body: body.into().into_bytes() }
    }

    /// Writes the answer; to a HEAD request only its head, and of the body no more than `most`.
    pub fn write(&self, stream: &mut impl Write, head_only: bool, most: Option<usize>) -> io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            206 => "Partial Content",
            302 => "Found",
            304 => "Not Modified",
            404 => "Not Found",
            405 => "Method Not Allowed",
            416 => "Range Not Satisfiable",
            _ => "Answer",
        };
        let mut out = format!("HTTP/1.1 {} {reason}\r\nConnection: close\r\n", self.status).into_bytes();
        for (name, value) in &self.fields {
            write!(out, "{name}: {value}\r\n")?;
        }
        write!(out, "Content-Length: {}\r\n\r\n", self.body.len())?;
        if !head_only {
            out.extend_from_slice(&self.body[..most.unwrap_or(usize::MAX).min(self.body.len())]);
        }
        // One write: a small answer is then one packet, and a prober measures the daemon, not the network stack.
        stream.write_all(&out)?;
        stream.flush()
    }
}

/// Asks `address` for `path` and gives status and body, all within about `patience`.
pub fn get(address: SocketAddr, path: &str, patience: Duration) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let lines = head(&mut reader)?;
    let status = lines.first().and_then(|l| l.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))?;
    let mut body = String::new();
    reader.take(HEAD).read_to_string(&mut body)?;
    Ok((status, body))
}

/// The lines up to the empty one; reads byte by byte, so that what follows stays in `stream`.
fn head(stream: &mut impl Read) -> io::Result<Vec<String>> {
    let mut reader = BufReader::with_capacity(1, stream.take(HEAD));
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line);
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_request_and_leaves_what_follows() {
        let mut bytes: &[u8] = b"GET /a/b?page=2&per_page=30 HTTP/1.1\r\nHost: h\r\nRange: bytes=5-\r\n\r\nrest";
        let request = Request::read(&mut bytes).unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/a/b"));
        assert_eq!((request.parameter("page"), request.field("range")), (Some("2"), Some("bytes=5-")));
        assert_eq!(bytes, b"rest");
        assert!(Request::read(&mut &b"GET / HTTP/1.1\r\n"[..]).is_err());
    }
}
