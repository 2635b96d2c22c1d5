//! What rollback answers: a line or a table for people and scripts, one object with --json.

use serde_json::json;
use upswap::report::Answer;
use upswap::steps::generation::exchange::Exchanged;
use upswap::steps::generation::upkeep::Removed;
use upswap::steps::way_back::guard::Guarded;
use upswap::steps::way_back::list::{self, Current, Row};
use upswap::steps::way_back::{Back, Plan};
use upswap::words::exit::Exit;

pub fn back(back: &Back) -> Answer {
    Answer::deed(Exit::Done).json(json!({ "back": back }))
}

pub fn plan(plan: &Plan) -> Answer {
    Answer::product(Exit::Done).json(json!({ "would": plan }))
}

pub fn exchanged(done: &Exchanged) -> Answer {
    let fields =
        json!({ "path": done.path.to_string_lossy(), "backup": done.backup.to_string_lossy(), "units": done.units });
    Answer::deed(Exit::Done).json(fields)
}

pub fn guarded(guarded: &Guarded) -> Answer {
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

pub fn settled(settled: &[Back]) -> Answer {
    Answer::deed(Exit::Done).json(json!({ "settled": settled }))
}

pub fn listed(rows: &[Row]) -> Answer {
    Answer::product(Exit::Done).text(list::table(rows)).json(json!({ "names": rows }))
}

pub fn current(current: &Current) -> Answer {
    let version = current.version.as_deref().unwrap_or("-");
    let line = format!("{} {version} {}", current.generation, current.verdict);
    Answer::product(Exit::Done).line(line).json(json!({ "current": current }))
}

pub fn removed(removed: &[Removed]) -> Answer {
    let paths = removed.iter().flat_map(|removed| &removed.paths);
    paths.fold(Answer::deed(Exit::Done), Answer::line).json(json!({ "removed": removed }))
}
