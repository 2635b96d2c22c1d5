//! unit-diff: what would change, in systemd's meaning.

use std::process::ExitCode;

use upswap::report::{self, Answer};
use upswap::steps::unit;
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::Stop;

mod args;

fn main() -> ExitCode {
    report::run("unit-diff", work)
}

fn work(args::Args { refuse_loss, old, new, common }: args::Args, say: &Say) -> Result<Answer, Stop> {
    let difference = unit::compare(&Host::from_env(), &old, &new, say)?;
    let answer = Answer::product(difference.exit(refuse_loss));
    Ok(if common.json { answer.json(difference.json()) } else { answer.text(difference.text(common.colours())) })
}
