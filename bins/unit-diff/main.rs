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

fn work(args: args::Args, say: &Say) -> Result<Answer, Stop> {
    let args::Args { refuse_loss, drop_in, base, old, new, common } = args;
    let host = Host::from_env();
    if drop_in {
        let carried = unit::drop_in(&host, base.as_ref(), &old, &new, say)?;
        carried.conflicts.iter().for_each(|conflict| say.error(conflict));
        let exit = if carried.conflicts.is_empty() { Exit::Done } else { Exit::No };
        return Ok(Answer::product(exit).text(&carried.text).json(carried.json()));
    }
    let (old, new) = unit::pair(&host, &old, &new, say)?;
    let difference = unit::compare(&host, &old, &new, say);
    let answer = Answer::product(difference.exit(refuse_loss));
    Ok(if common.json { answer.fields(&difference.json())? } else { answer.text(difference.text(common.colours())) })
}
