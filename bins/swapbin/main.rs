//! swapbin: files into place, as one change.

mod args;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use upswap::report::{self, Answer};
use upswap::steps::generation::stage::{Caps, Wanted};
use upswap::steps::generation::swap::{self, Swapped, Target};
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::{Exit, Stop};

use args::Args;

fn main() -> ExitCode {
    report::run("swapbin", work)
}

fn work(args: Args, say: &Say) -> Result<Answer, Stop> {
    let host = Host::from_env().with_state(args.state_dir.clone());
    let swapped = match &args.commit {
        Some(name) => swap::commit(&host, name, args.lock_wait.into(), say)?,
        None => swap::run(&host, &request(args)?, say)?,
    };
    Ok(answer(&swapped))
}

fn request(args: Args) -> Result<swap::Request, Stop> {
    // The last name of a list is a FILE like the others, never the destination.
    let listed = args.list.files_from.is_some() || args.list.files0_from.is_some();
    let mut files = args.list.files_or(args.files)?;
    let target = match (args.target_directory, files.len()) {
        (Some(folder), _) => Target::Folder(folder),
        (None, _) if listed => {
            return Err(Stop::new(Exit::Usage, "a list of files needs a folder to go to: -t DIR; see swapbin --help"));
        }
        (None, 0 | 1) => {
            return Err(Stop::new(Exit::Usage, "a destination is needed: FILE DEST, or -t DIR; see swapbin --help"));
        }
        (None, _) => Target::operand(files.pop().unwrap_or_default(), files.len(), args.no_target_directory)?,
    };
    let caps = match (args.cap, args.no_caps) {
        (Some(caps), _) => Caps::Set(caps),
        (None, true) => Caps::Drop,
        (None, false) => Caps::Keep,
    };
    Ok(swap::Request {
        files,
        target,
        name: args.name,
        units: args.unit,
        wanted: Wanted { mode: args.mode, owner: args.owner, group: args.group, caps },
        keep: args.keep.map(usize::from),
        retry_failed: args.retry_failed,
        trial: args.trial,
        unverified: args.unverified,
        allow: args.allow,
        dry_run: args.dry_run,
        lock_wait: args.lock_wait.into(),
    })
}

fn answer(swapped: &Swapped) -> Answer {
    let paths: Vec<&PathBuf> = swapped.changed.iter().collect();
    let shown: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    let fields = json!({
        "name": swapped.name, "changed": shown, "generation": swapped.generation, "on_trial": swapped.on_trial,
    });
    paths.iter().fold(Answer::deed(Exit::Done), upswap::report::Answer::line).json(fields)
}
