//! setcap-keep: capabilities survive whatever COMMAND does.

mod args;

use std::process::ExitCode;

use serde_json::{Value, json};
use upswap::report::{self, Answer};
use upswap::steps::keep_caps::{self, Kept};
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::sys::systemd::{Systemd, unit_name};
use upswap::words::exit::{Exit, Stop};
use upswap::words::filecaps::{FileCaps, save};

use args::Args;

fn main() -> ExitCode {
    report::run("setcap-keep", work)
}

fn work(args: Args, say: &Say) -> Result<Answer, Stop> {
    let host = Host::from_env();
    if let Some(unit) = &args.explain {
        let explained = keep_caps::explain(&host, unit)?;
        explained.notes().iter().for_each(|note| say.note(note));
        return Ok(Answer::product(explained.exit()).text(explained.table()).json(explained.json()));
    }
    if let Some(file) = &args.restore {
        let kept = keep_caps::restore(&host, file.as_deref(), say)?;
        return Ok(Answer::deed(Exit::Done).json(fields(&kept)));
    }
    if args.save || args.dry_run {
        let saved = keep_caps::observe(&args.paths, say)?;
        let kept: Vec<_> = saved
            .iter()
            .map(|saved| Kept {
                path: saved.path.clone(),
                capabilities: saved.capability.as_deref().map(FileCaps::describe),
                restored: false,
            })
            .collect();
        if args.dry_run {
            for k in &kept {
                say.note(format_args!(
                    "would keep {} of {}",
                    k.capabilities.as_deref().unwrap_or("nothing"),
                    k.path.display()
                ));
            }
            return Ok(Answer::product(Exit::Done).json(fields(&kept)));
        }
        return Ok(Answer::product(Exit::Done).text(save::write(&saved)).json(fields(&kept)));
    }
    let outcome = keep_caps::run(&host, &args.paths, &args.command, say)?;
    if let Some(unit) = args.try_restart.filter(|_| outcome.ended.well()) {
        Systemd::on(&host).try_restart(&unit_name(&unit)).map_err(|e| {
            Stop::new(
                Exit::Changed,
                format!("{e}; COMMAND is done and the capabilities are back: systemctl restart {unit}"),
            )
        })?;
    }
    Ok(Answer::deed(Exit::Done).passing_on(outcome.ended.code).json(fields(&outcome.kept)))
}

fn fields(kept: &[Kept]) -> Value {
    let one =
        |k: &Kept| json!({ "path": k.path.to_string_lossy(), "capabilities": k.capabilities, "restored": k.restored });
    json!({ "kept": kept.iter().map(one).collect::<Vec<_>>() })
}
