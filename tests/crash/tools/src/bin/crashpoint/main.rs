//! `crashpoint [OPTION…] N ACTION -- CMD…`: runs CMD and all its descendants under ptrace(2), counts their system calls as one
//! row, and does ACTION at the N-th.
//!
//! ACTION, while the victim stands before its call:
//!   `count`        nothing (N is 0): only counts
//!   `kill`         SIGKILL for the whole tree; the call is never made
//!   `errno=NAME`   the call is not made and gives this error (a name or a number)
//!   `short=BYTES`  a write that lies: only BYTES are written, and what was asked for is said to have been
//!   `hook=SHELL`   /bin/sh runs SHELL, and then the whole tree is killed
//!
//! OPTION:
//!   `--calls mutating|all`  what counts: calls that change the host (the default), or all
//!   `--after-main`          what happens before main does not count (see `trace::Stage`)
//!   `--list FILE`           every counted call, a line: number, PID, program, call, target (TAB between; also `CP_LIST`)
//!   `--reached FILE`        the line of the N-th call; there is no FILE when CMD ended before it
//!   `--timeout SEC`         the whole tree is killed after that (60 by default)
//!
//! Exit: CMD's own code, 128+SIGNAL when a signal ended it, 125 when crashpoint itself failed or the time was over. Whatever
//! of the tree is left when CMD ends is killed, and it dies with crashpoint too (`PTRACE_O_EXITKILL`).
// A tool of the tests: it talks to its caller as any command does.
#![allow(clippy::print_stderr)]
// Registers, ioctl numbers and descriptors have different widths in C, in ptrace(2) and in seccomp(2).
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod calls;
mod filter;
mod trace;
mod tracee;

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::errno::Errno;

/// What is done at the point.
#[derive(Clone, Debug)]
pub enum Action {
    /// Nothing.
    Count,
    /// The whole tree is killed.
    Kill,
    /// The call fails.
    Fail(Errno),
    /// The write writes so much only, and lies.
    Short(u64),
    /// A shell script, and then the whole tree is killed.
    Hook(OsString),
}

/// What was asked for.
#[derive(Debug)]
pub struct Order {
    point: u64,
    action: Action,
    all: bool,
    after_main: bool,
    list: Option<PathBuf>,
    reached: Option<PathBuf>,
    timeout: u32,
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let order = match Order::read(std::env::args_os().skip(1)) {
        Ok(order) => order,
        Err(why) => return failed(&why),
    };
    let list = order.list.as_ref().map(|path| File::create(path).map_err(|e| format!("{}: {e}", path.display())));
    match list.transpose().and_then(|list| trace::run(&order, list)) {
        Ok(code) => ExitCode::from(code),
        Err(why) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("crashpoint: {why}");
    ExitCode::from(125)
}

impl Order {
    fn read(mut words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut order = Self {
            point: 0,
            action: Action::Count,
            all: false,
            after_main: false,
            list: std::env::var_os("CP_LIST").map(PathBuf::from),
            reached: None,
            timeout: 60,
            command: Vec::new(),
        };
        let mut operands = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{} needs a value", word.display()));
            match word.to_str() {
                Some("--") => break,
                Some("--calls") => order.all = value()? == "all",
                Some("--after-main") => order.after_main = true,
                Some("--list") => order.list = Some(value()?.into()),
                Some("--reached") => order.reached = Some(value()?.into()),
                Some("--timeout") => order.timeout = number(&value()?)?,
                _ => operands.push(word),
            }
        }
        order.command = words.collect();
        let [point, action] = operands.as_slice() else {
            return Err("usage: crashpoint [OPTION]... N ACTION -- CMD...".into());
        };
        if order.command.is_empty() {
            return Err("there is no CMD after --".into());
        }
        order.point = number(point)?;
        order.action = Action::read(action)?;
        Ok(order)
    }
}

impl Action {
    fn read(word: &OsString) -> Result<Self, String> {
        let bad = || format!("no such action: {}", word.display());
        match word.to_str().ok_or_else(bad)?.split_once('=').unwrap_or((word.to_str().ok_or_else(bad)?, "")) {
            ("count", _) => Ok(Self::Count),
            ("kill", _) => Ok(Self::Kill),
            ("errno", name) => {
                let named = (1..134).map(Errno::from_raw).find(|e| format!("{e:?}") == name);
                named.or_else(|| name.parse().ok().map(Errno::from_raw)).map(Self::Fail).ok_or_else(bad)
            }
            ("short", bytes) => bytes.parse().map(Self::Short).map_err(|_| bad()),
            ("hook", script) => Ok(Self::Hook(script.into())),
            _ => Err(bad()),
        }
    }
}

fn number<T: std::str::FromStr>(word: &OsString) -> Result<T, String> {
    word.to_str().and_then(|w| w.parse().ok()).ok_or_else(|| format!("not a number: {}", word.display()))
}
