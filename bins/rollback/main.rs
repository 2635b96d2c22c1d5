//! rollback: the way back.

mod args;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use upswap::report::{self, Answer};
use upswap::steps::generation::exchange::exchange;
use upswap::steps::way_back::guard::{Guarded, guard};
use upswap::steps::way_back::{self, Services, To, list, pending};
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::{Exit, Stop};
use upswap::words::name::Name;

use args::Args;

fn main() -> ExitCode {
    report::run("rollback", work)
}

#[expect(clippy::needless_pass_by_value, reason = "as report::run gives it")]
fn work(args: Args, say: &Say) -> Result<Answer, Stop> {
    let host = Host::from_env().with_state(args.state_dir.clone());
    let services = if args.no_restart { Services::Leave } else { Services::Prove };
    match (&args.guard, &args.list, &args.target) {
        (Some(name), ..) if args.dry_run => Ok(would_guard(name, &args, say)),
        (Some(name), ..) => Ok(guarded(&guard(&host, name, &args.command, args.lock_wait.into(), say)?)),
        (_, Some(None), Some(name)) => Ok(listed(&[list::of(&host, &name_of(name)?)?])),
        (_, Some(Some(name)), _) => Ok(listed(&[list::of(&host, name)?])),
        (_, Some(None), _) => Ok(listed(&list::all(&host, say)?)),
        (.., Some(path)) if path.as_os_str().as_bytes().contains(&b'/') => exchanged(&host, path, &args, say),
        (.., Some(name)) => one(&host, name, services, &args, say),
        _ if args.dry_run => {
            let on_trial: Vec<_> = list::all(&host, say)?.into_iter().filter(|row| row.trial.is_some()).collect();
            Ok(listed(&on_trial))
        }
        _ => Ok(settled(&pending::settle(&host, services, say)?, say)),
    }
}

fn one(host: &Host, name: &Path, services: Services, args: &Args, say: &Say) -> Result<Answer, Stop> {
    let name = name_of(name)?;
    let to = args.to.clone().map_or(To::Previous, To::Named);
    let wait = args.lock_wait.into();
    if args.dry_run {
        let plan = way_back::plan(host, &name, &to, wait, say)?;
        say.note(format_args!("{name}: would bring generation {} back", plan.title));
        for unit in &plan.units {
            say.note(format_args!("{name}: would restart {unit}, if it is not stopped, and prove it healthy"));
        }
        return Ok(Answer::product(Exit::Done).json(json!({ "would": plan })));
    }
    let back = way_back::roll_back(host, &name, &to, services, wait, say).map_err(|e| or_path(e, name.as_str()))?;
    say.note(way_back::tell(&back));
    Ok(Answer::deed(Exit::Done).json(json!({ "back": back })))
}

fn name_of(text: &Path) -> Result<Name, Stop> {
    text.to_string_lossy().parse().map_err(|e| Stop::new(Exit::Usage, format!("{e}")))
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
    let fields =
        json!({ "path": done.path.to_string_lossy(), "backup": done.backup.to_string_lossy(), "units": done.units });
    Ok(Answer::deed(Exit::Done).json(fields))
}

fn would_guard(name: &Name, args: &Args, say: &Say) -> Answer {
    let command: Vec<_> = args.command.iter().map(|word| word.to_string_lossy()).collect();
    say.note(format_args!("would run under the lock of {name}: {}", command.join(" ")));
    Answer::product(Exit::Done).json(json!({ "name": name, "command": command }))
}

fn guarded(guarded: &Guarded) -> Answer {
    match guarded {
        Guarded::Passed(code) => {
            Answer::deed(Exit::Done).passing_on(*code).json(json!({ "outcome": "nothing-changed" }))
        }
        Guarded::Committed(id) => Answer::deed(Exit::Done).json(json!({ "outcome": "committed", "generation": id })),
        Guarded::TakenBack(back) => {
            Answer::deed(Exit::TakenBack).json(json!({ "outcome": "taken-back", "back": back }))
        }
    }
}

fn settled(settled: &[way_back::Back], say: &Say) -> Answer {
    for back in settled {
        say.note(way_back::tell(back));
    }
    Answer::deed(Exit::Done).json(json!({ "settled": settled }))
}

fn listed(rows: &[list::Row]) -> Answer {
    Answer::product(Exit::Done).text(list::table(rows)).json(json!({ "names": rows }))
}
