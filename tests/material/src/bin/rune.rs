//! `rune`: the client of `runed`, released with it in one archive.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A command line client.

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use upswap_material::http;
use upswap_material::marker::Marker;

const USAGE: &str = "Usage: rune status [ADDR:PORT]\n       rune --version";

fn main() -> ExitCode {
    let mut words = env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some("--version" | "version"), _) => {
            println!("rune {}", Marker::of_this_program().version);
            ExitCode::SUCCESS
        }
        (Some("status"), address) => match status(address.as_deref().unwrap_or("127.0.0.1:80")) {
            Ok(version) => {
                println!("runed {version}");
                ExitCode::SUCCESS
            }
            Err(message) => {
                eprintln!("rune: {message}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// The version of the daemon that answers at `address`.
fn status(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|e| format!("{address}: {e}"))?;
    match http::get(address, "/version", Duration::from_secs(2)) {
        Ok((200, body)) => Ok(body.trim().to_owned()),
        Ok((code, _)) => Err(format!("{address} answers {code}")),
        Err(e) => Err(format!("{address}: {e}")),
    }
}
