//! `prober`: asks a daemon for its health every millisecond and tells the longest time without an answer.
//!
//! It stops when its standard input closes or the file of `--until` appears.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A command line program.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use upswap_material::{http, notify};

const USAGE: &str = "\
Usage: prober [--until FILE] [--json] [ADDR:PORT]
  --until FILE  probe until FILE exists; without it until standard input closes
  --json        {\"longest_gap_ms\":N,\"failed\":N,\"answered\":N}
  ADDR:PORT     default 127.0.0.1:80; it is asked for /health";

/// How long after one probe the next one starts.
const EVERY: Duration = Duration::from_millis(1);
/// How long one probe may take; a daemon that hangs longer is asked again.
const PATIENCE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match options(env::args().skip(1)) {
        Ok((address, until, json)) => {
            let seen = probe(address, &until_told(until));
            if json {
                let Seen { longest, failed, answered } = seen;
                println!("{{\"longest_gap_ms\":{:.1},\"failed\":{failed},\"answered\":{answered}}}", millis(longest));
            } else {
                println!("longest gap without an answer: {:.1} ms", millis(seen.longest));
                println!("failed requests: {} of {}", seen.failed, seen.failed + seen.answered);
            }
            if seen.answered == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(message) => {
            eprintln!("prober: {message}");
            ExitCode::from(2)
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<(SocketAddr, Option<PathBuf>, bool), String> {
    let (mut address, mut until, mut json) = ("127.0.0.1:80".to_owned(), None, false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--until" => until = Some(words.next().ok_or(USAGE)?.into()),
            "--json" => json = true,
            option if option.starts_with('-') => return Err(USAGE.to_owned()),
            _ => address = word,
        }
    }
    Ok((address.parse().map_err(|e| format!("{address}: {e}"))?, until, json))
}

/// Becomes true when the file appears, or without one when standard input closes.
fn until_told(until: Option<PathBuf>) -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    thread::spawn(move || {
        match until {
            Some(file) => {
                while !file.exists() {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            // An error ends it as well as the end does.
            None => drop(io::stdin().read_to_end(&mut Vec::new())),
        }
        tell.store(true, Ordering::Relaxed);
    });
    told
}

struct Seen {
    longest: Duration,
    failed: u64,
    answered: u64,
}

/// Probes until `told`. A gap lasts from one answer to the next; the first answer starts the measurement.
fn probe(address: SocketAddr, told: &AtomicBool) -> Seen {
    let mut seen = Seen { longest: Duration::ZERO, failed: 0, answered: 0 };
    let began = Instant::now();
    let mut last: Option<Instant> = None;
    while !told.load(Ordering::Relaxed) {
        if matches!(http::get(address, "/health", PATIENCE), Ok((200, _))) {
            let now = Instant::now();
            match last {
                Some(last) => seen.longest = seen.longest.max(now - last),
                // Whoever waits for this program may begin now.
                None => drop(notify::ready()),
            }
            last = Some(now);
            seen.answered += 1;
        } else {
            seen.failed += 1;
        }
        thread::sleep(EVERY);
    }
    // A daemon that never came back, or never came, has a gap that lasts until now.
    seen.longest = seen.longest.max(last.unwrap_or(began).elapsed());
    seen
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
