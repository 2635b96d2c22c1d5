//! `release-server`: serves a shelf of releases as GitHub does.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A command line program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, io};

use upswap_material::notify;
use upswap_material::server::Server;

const USAGE: &str = "\
Usage: release-server --dir DIR [--listen ADDR:PORT] (--tls-dir DIR | --http)
  --dir DIR           the shelf: OWNER/REPO/TAG/ASSET, as make-releases leaves it
  --listen ADDR:PORT  default 127.0.0.1:0: any free port; the address is printed
  --tls-dir DIR       where ca.pem, server.pem and server.key are, or will be
  --http              no TLS";

fn main() -> ExitCode {
    match serve(env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("release-server: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mut words: impl Iterator<Item = String>) -> io::Result<()> {
    let (mut dir, mut listen, mut tls_dir, mut http) = (None, "127.0.0.1:0".to_owned(), None, false);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| io::Error::other(USAGE));
        match word.as_str() {
            "--dir" => dir = Some(PathBuf::from(value()?)),
            "--listen" => listen = value()?,
            "--tls-dir" => tls_dir = Some(PathBuf::from(value()?)),
            "--http" => http = true,
            _ => return Err(io::Error::other(USAGE)),
        }
    }
    let (Some(dir), true) = (dir, http != tls_dir.is_some()) else { return Err(io::Error::other(USAGE)) };
    let server = Server::listen(&dir, &listen, tls_dir.as_deref().map(Path::new))?;
    println!("{}://{}", if http { "http" } else { "https" }, server.address()?);
    notify::ready()?;
    server.serve()
}
