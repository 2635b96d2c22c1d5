//! svc-wait UNIT [PROBE…] [-- COMMAND]: healthy, or why not.

use std::process::ExitCode;

use upswap::report::{self, Answer};
use upswap::steps::service;
use upswap::steps::way_back::record_proof::recorded;
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::Stop;

use args::Args;

mod args;

fn main() -> ExitCode {
    report::run("svc-wait", work)
}

fn work(args: Args, say: &Say) -> Result<Answer, Stop> {
    let host = Host::from_env().with_user_manager(args.user);
    let (proof, command) = (args.proof()?, args.command);
    let (found, answer): (_, fn(_) -> _) = if command.is_empty() {
        (recorded(&host, &proof, || service::watch(&host, say, &proof))?, Answer::product)
    } else {
        let deed = || service::run_command(&command);
        (recorded(&host, &proof, || service::wait(&host, say, &proof, deed))?, Answer::deed)
    };
    let mut verdict = found.verdict;
    if verdict.healthy || found.in_trial {
        say.note(&verdict);
    } else {
        say.error(&verdict);
    }
    verdict.journal = service::journal_of(&host, &verdict);
    for line in &verdict.journal {
        say.note(format_args!("| {line}"));
    }
    Ok(answer(verdict.exit()).json(verdict.fields()))
}
