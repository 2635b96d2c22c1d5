//! `measured OUT COMMAND...`: runs COMMAND and appends to OUT what it and all it waited for took: microseconds by the clock,
//! microseconds of processor (user and system), and the resident memory of the largest process, in KiB (getrusage(2)).
//!
//! A process of its own for each measurement, because the largest one is remembered for ever.
#![allow(clippy::print_stderr)] // A command line program.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [out, command, arguments @ ..] = words.as_slice() else {
        eprintln!("Usage: measured OUT COMMAND...");
        return ExitCode::from(2);
    };
    match measure(out, Command::new(command).args(arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("measured: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(out: &OsString, command: &mut Command) -> io::Result<bool> {
    let mut out = File::options().create(true).append(true).open(out)?;
    let begin = Instant::now();
    let status = command.status()?;
    let wall = begin.elapsed().as_micros();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let processor = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    writeln!(out, "{wall} {processor} {}", usage.max_rss())?;
    Ok(status.success())
}
