//! `runed`: the daemon that the tests upgrade. It answers `/health` and `/version` on port 80, and on 7861 for this host alone.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A daemon of few words: its journal is its stderr.

use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io, thread};

use upswap_material::http::{Request, Response};
use upswap_material::marker::{Fault, Marker};
use upswap_material::{notify, units};

const USAGE: &str = "\
Usage: runed [--config FILE] [--listen ADDR:PORT]
       runed print-systemd [--user USER] [--group GROUP] [--binary PATH] [--config FILE]
       runed --version";

fn main() -> ExitCode {
    let marker = Marker::of_this_program();
    let mut words = env::args().skip(1).peekable();
    let outcome = match words.peek().map(String::as_str) {
        Some("--version" | "version") => {
            println!("runed {}", marker.version);
            Ok(())
        }
        Some("--help") => {
            println!("{USAGE}");
            Ok(())
        }
        Some("print-systemd") => options(words.skip(1), &["--user", "--group", "--binary", "--config"]).map(|given| {
            let [user, group, binary, config] = given;
            print!("{}", units::service(marker.major(), user, group, binary, config));
        }),
        _ => options(words, &["--config", "--listen"])
            .and_then(|[config, listen]| listen_address(config, listen))
            .and_then(|addresses| serve(&marker, &addresses)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("runed: {message}");
            ExitCode::from(2)
        }
    }
}

/// The values of the `known` options, in their order.
fn options<const N: usize>(
    mut words: impl Iterator<Item = String>,
    known: &[&str; N],
) -> Result<[Option<String>; N], String> {
    let mut values = [const { None }; N];
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let place = known.iter().position(|k| *k == name).ok_or_else(|| format!("'{name}' is unknown\n{USAGE}"))?;
        values[place] = Some(value.or_else(|| words.next()).ok_or_else(|| format!("{name} needs a value"))?);
    }
    Ok(values)
}

/// Where to listen: the option, else `listen=` of the configuration, else every address, port 80, and the host's own 7861.
fn listen_address(config: Option<String>, listen: Option<String>) -> Result<Vec<String>, String> {
    let configured = match config.map(fs::read_to_string) {
        Some(Ok(text)) => text.lines().find_map(|l| l.trim().strip_prefix("listen=").map(str::to_owned)),
        Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => return Err(format!("configuration: {e}")),
        _ => None,
    };
    let default = ["0.0.0.0:80", "127.0.0.1:7861"].map(str::to_owned);
    Ok(listen.or(configured).map_or_else(|| default.to_vec(), |address| vec![address]))
}

fn serve(marker: &Marker, addresses: &[String]) -> Result<(), String> {
    eprintln!("runed {} starts", marker.version);
    match marker.fault {
        Fault::ExitAtOnce => {
            eprintln!("runed: the store of an older version can't be opened");
            std::process::exit(3);
        }
        Fault::NeverReady => loop {
            eprintln!("runed: waiting for the leader");
            thread::sleep(Duration::from_secs(60));
        },
        Fault::CrashAfter => drop(thread::spawn(|| {
            thread::sleep(Duration::from_secs(3));
            eprintln!("runed: fatal: lost the leader");
            std::process::exit(1);
        })),
        _ => {}
    }
    let bind = |address: &String| TcpListener::bind(address).map_err(|e| format!("listen on {address}: {e}"));
    let listeners = addresses.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    notify::ready().map_err(|e| format!("sd_notify: {e}"))?;
    eprintln!("runed: listening on {}", addresses.join(" and "));
    thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| accept(listener, &marker.version));
        }
    });
    Ok(())
}

fn accept(listener: &TcpListener, version: &str) {
    for stream in listener.incoming() {
        let version = version.to_owned();
        match stream {
            // A client that went away is its own business.
            Ok(stream) => drop(thread::Builder::new().spawn(move || answer(&stream, &version))),
            // Out of descriptors: the next ones may find some again.
            Err(e) => {
                eprintln!("runed: accept: {e}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn answer(stream: &TcpStream, version: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let request = Request::read(&mut reader)?;
    let response = match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/health") => Response::text(200, "ok\n"),
        ("GET" | "HEAD", "/version") => Response::text(200, format!("{version}\n")),
        ("GET" | "HEAD", _) => Response::text(404, "not found\n"),
        _ => Response::text(405, "only GET\n"),
    };
    response.write(&mut &*stream, request.method == "HEAD", None)
}
