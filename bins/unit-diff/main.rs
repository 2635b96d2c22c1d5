//! unit-diff: what would change, in systemd's meaning.

use std::process::ExitCode;

use upswap::report::{self, Answer};
use upswap::steps::unit;
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::{Exit, Stop};

mod args;

fn main() -> ExitCode {
    report::run("unit-diff", work)
}

fn work(args::Args { old, new, drop_in, base, common }: args::Args, say: &Say) -> Result<Answer, Stop> {
    if drop_in {
        let carried = unit::drop_in(&Host::from_env(), base.as_ref(), &old, &new, say)?;
        carried.conflicts.iter().for_each(|conflict| say.error(conflict));
        let exit = if carried.conflicts.is_empty() { Exit::Done } else { Exit::No };
        return Ok(Answer::product(exit).text(&carried.text).json(carried.json()));
    }
    let difference = unit::compare(&Host::from_env(), &old, &new, say)?;
    let exit = if difference.same() { Exit::Done } else { Exit::No };
    let answer = Answer::product(exit);
    Ok(if common.json { answer.json(difference.json()) } else { answer.text(difference.text(common.colours())) })
}
