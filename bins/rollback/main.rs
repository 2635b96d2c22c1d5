//! rollback: the way back.

mod answer;
mod args;

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use upswap::report::{self, Answer};
use upswap::steps::generation::exchange::exchange;
use upswap::steps::generation::upkeep::{self, Upkeep};
use upswap::steps::way_back::guard::guard;
use upswap::steps::way_back::{self, Services, To, list, pending};
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::{Exit, Stop};
use upswap::words::name::Name;

use args::{Args, Deed};

fn main() -> ExitCode {
    report::run("rollback", work)
}

#[expect(clippy::needless_pass_by_value, reason = "as report::run gives it")]
fn work(args: Args, say: &Say) -> Result<Answer, Stop> {
    let host = Host::from_env().with_state(args.state_dir.clone());
    let services = if args.no_restart || args.boot { Services::Leave } else { Services::Prove };
    let wait = args.lock_wait.into();
    match args.deed()? {
        Deed::Guard(name) if args.dry_run => Ok(would_guard(name, &args, say)),
        Deed::Guard(name) => Ok(answer::guarded(&guard(&host, name, &args.command, wait, say)?)),
        Deed::List(None) => {
            let (rows, unread) = list::all(&host, say)?;
            Ok(answer::listed(&rows).exiting(told(&unread, say)))
        }
        Deed::List(Some(name)) => Ok(answer::listed(&[list::of(&host, &name)?])),
        Deed::Current(name) => Ok(answer::current(&list::current(&host, name)?)),
        Deed::Pending if args.dry_run => {
            let (rows, unread) = list::all(&host, say)?;
            let on_trial: Vec<_> = rows.into_iter().filter(|row| row.trial.is_some()).collect();
            Ok(answer::listed(&on_trial).exiting(told(&unread, say)))
        }
        Deed::Pending => Ok(answer::settled(&pending::settle(&host, services, args.boot, say)?)),
        Deed::Prune(name) => {
            let what = Upkeep::Prune(args.keep.map(usize::from));
            Ok(answer::removed(&upkeep::remove(&host, name, what, args.dry_run, wait, say)?))
        }
        Deed::Forget(name) => {
            Ok(answer::removed(&upkeep::remove(&host, Some(name), Upkeep::Forget, args.dry_run, wait, say)?))
        }
        Deed::Path(path) => exchanged(&host, path, &args, say),
        Deed::Name(name) => one(&host, &name, services, &args, say),
    }
}

/// Records that could not be read are told of, and make the answer a partial one.
fn told(unread: &[Stop], say: &Say) -> Exit {
    for stop in unread {
        say.error(stop);
    }
    unread.first().map_or(Exit::Done, |stop| stop.exit)
}

fn one(host: &Host, name: &Name, services: Services, args: &Args, say: &Say) -> Result<Answer, Stop> {
    let to = args.to.clone().map_or(To::Previous, To::Named);
    let wait = args.lock_wait.into();
    if args.dry_run {
        let plan = way_back::plan(host, name, &to, wait, say)?;
        say.note(format_args!("{name}: would bring generation {} back", plan.title));
        for unit in &plan.units {
            say.note(format_args!("{name}: would restart {unit}, if it is not stopped, and prove it healthy"));
        }
        return Ok(answer::plan(&plan));
    }
    let back = way_back::roll_back(host, name, &to, services, wait, say).map_err(|e| or_path(e, name.as_str()))?;
    say.note(way_back::tell(&back));
    Ok(answer::back(&back))
}

/// Without a slash it is a NAME, also where a file of that name lies in the current folder.
fn or_path(stop: Stop, name: &str) -> Stop {
    let here = Path::new(name).with_file_name(format!(".{name}.bak")).is_file();
    if here && stop.exit == Exit::No {
        return Stop::new(stop.exit, format!("{stop}; for the file {name} in this folder: rollback ./{name}"));
    }
    stop
}

fn exchanged(host: &Host, path: &Path, args: &Args, say: &Say) -> Result<Answer, Stop> {
    let done = exchange(host, path, args.dry_run, say)?;
    let (path, backup) = (done.path.display(), done.backup.display());
    match (done.was_missing, args.dry_run) {
        (false, false) => say.note(format_args!("{path} and {backup} changed places")),
        (false, true) => say.note(format_args!("{path} and {backup} would change places")),
        (true, false) => say.note(format_args!("{path} was missing; it is the file of {backup} now")),
        (true, true) => say.note(format_args!("{path} is missing; it would be the file of {backup}")),
    }
    let unit = done.units.first().map_or("UNIT", String::as_str);
    say.note(format_args!("a service that runs it keeps the file it was started from until: systemctl restart {unit}"));
    Ok(answer::exchanged(&done))
}

fn would_guard(name: &Name, args: &Args, say: &Say) -> Answer {
    let command: Vec<_> = args.command.iter().map(|word| word.to_string_lossy()).collect();
    say.note(format_args!("would run under the lock of {name}: {}", command.join(" ")));
    Answer::product(Exit::Done).json(json!({ "name": name, "command": command }))
}
