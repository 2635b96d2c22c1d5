//! `file-server`: serves the files of one folder over HTTPS, at a chosen pace. For the benchmarks: it reads a file while it
//! sends it, so its memory is the same for every size, and sends as fast as TLS can unless it is told otherwise.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A command line program.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, thread};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use upswap_material::http::{Request, Response};
use upswap_material::server::configuration;

const USAGE: &str = "\
Usage: file-server --dir DIR --tls-dir DIR [--rate BYTES]
  --dir DIR       the files
  --tls-dir DIR   where ca.pem, server.pem and server.key are, or will be
  --rate BYTES    at most so many bytes a second, one connection by itself";

/// How much is read and sent at once, in bytes: a millisecond's worth at 1 Gbit/s.
const CHUNK: usize = 128 * 1024;

fn main() -> ExitCode {
    match serve(env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("file-server: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mut words: impl Iterator<Item = String>) -> io::Result<()> {
    let (mut dir, mut tls_dir, mut rate) = (None, None, None);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| io::Error::other(USAGE))?;
        match word.as_str() {
            "--dir" => dir = Some(PathBuf::from(value)),
            "--tls-dir" => tls_dir = Some(PathBuf::from(value)),
            "--rate" => rate = Some(value.parse::<u32>().map_err(io::Error::other)?),
            _ => return Err(io::Error::other(USAGE)),
        }
    }
    let (Some(dir), Some(tls_dir)) = (dir, tls_dir) else { return Err(io::Error::other(USAGE)) };
    let tls = configuration(&tls_dir)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("https://localhost:{}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let (tls, dir, stream) = (tls.clone(), dir.clone(), stream?);
        thread::spawn(move || answer(stream, tls, &dir, rate));
    }
    Ok(())
}

/// One request, one answer. A client that hangs up is its own business.
fn answer(stream: TcpStream, tls: Arc<ServerConfig>, dir: &Path, rate: Option<u32>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.conn.set_buffer_limit(Some(2 * CHUNK));
    let request = Request::read(&mut stream)?;
    let name = request.path.trim_start_matches('/');
    match File::open(dir.join(name)) {
        Ok(mut file) if !name.contains('/') => {
            let len = file.metadata()?.len();
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n")?;
            send(&mut file, &mut stream, rate)?;
        }
        _ => Response::text(404, "no such file\n").write(&mut stream, false, None)?,
    }
    stream.conn.send_close_notify();
    stream.flush()
}

fn send(file: &mut File, stream: &mut impl Write, rate: Option<u32>) -> io::Result<()> {
    let begin = Instant::now();
    let mut buffer = vec![0; CHUNK];
    let mut sent = 0.0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return stream.flush();
        }
        stream.write_all(&buffer[..n])?;
        if let Some(rate) = rate {
            sent += f64::from(u32::try_from(n).unwrap_or(u32::MAX));
            let due = Duration::from_secs_f64(sent / f64::from(rate));
            thread::sleep(due.saturating_sub(begin.elapsed()));
        }
    }
}
