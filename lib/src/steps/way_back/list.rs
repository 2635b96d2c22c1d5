//! `rollback --list`: what there is to go back to.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::steps::generation::record::{self, Dest, Failed, FileState, Generation, Id, Judged, Record};
use crate::sys::say::Say;
use crate::sys::{Host, clock, lock};
use crate::words::exit::{Exit, Stop};
use crate::words::name::Name;
use crate::words::verdict::shown;

/// One NAME as `--list` shows it.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The NAME.
    pub name: String,
    /// The generation in place.
    pub current: Id,
    /// The open trial.
    pub trial: Option<OpenTrial>,
    /// Who is at work on it now.
    pub locked_by: Option<String>,
    /// The units that belong to it.
    pub units: Vec<String>,
    /// How many generations are kept.
    pub keep: usize,
    /// Its generations, newest first.
    pub generations: Vec<Line>,
    /// The versions that are taken again only with `--retry-failed`, newest first.
    pub failed: Vec<FailedLine>,
}

/// An open trial.
#[derive(Debug, Serialize)]
pub struct OpenTrial {
    /// The generation on trial.
    pub generation: Id,
    /// The generation it would go back to.
    pub home: Id,
    /// When it was opened, RFC 3339.
    pub opened: String,
    /// How long ago that was, in seconds.
    pub age_s: u64,
    /// Whether it was opened by `swapbin --trial`, for an operator to end.
    pub by_hand: bool,
}

/// One generation.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Its number.
    pub generation: Id,
    /// Its version, when one is known.
    pub version: Option<String>,
    /// `unproven`, `proven` or `unhealthy`.
    pub verdict: &'static str,
    /// Why it is unhealthy.
    pub why: Option<String>,
    /// How long its service did not answer when it was brought in, in milliseconds, when that was measured.
    pub pause_ms: Option<u64>,
    /// When it was made, RFC 3339.
    pub time: String,
    /// Its files.
    pub files: Vec<FileLine>,
}

/// One path of a generation.
#[derive(Debug, Serialize)]
pub struct FileLine {
    /// The path.
    pub path: Dest,
    /// What is there; `None` is nothing.
    #[serde(flatten)]
    pub state: Option<FileState>,
    /// The hard link that keeps it.
    pub backup: Option<Dest>,
}

/// A version that a verdict found unhealthy.
#[derive(Debug, Serialize)]
pub struct FailedLine {
    /// Its version, when one is known.
    pub version: Option<String>,
    /// What was found.
    pub why: String,
    /// When, RFC 3339.
    pub time: String,
}

/// The generation in place, as `--current` says it.
#[derive(Debug, Serialize)]
pub struct Current {
    /// The NAME.
    pub name: String,
    /// Its generation in place, on trial or not.
    pub generation: Id,
    /// Its version, when one is known.
    pub version: Option<String>,
    /// `unproven`, `proven`, `unhealthy` or `on-trial`.
    pub verdict: &'static str,
}

/// What is known of `name`.
pub fn of(host: &Host, name: &Name) -> Result<Row, Stop> {
    let record = record::read(host, name.as_str()).map_err(|e| could_not(&e))?;
    let record = record.ok_or_else(|| Stop::new(Exit::No, format!("{name}: {}", unknown(host, name.as_str()))))?;
    Ok(row(host, record))
}

/// The generation of `name` that is in place.
pub fn current(host: &Host, name: &Name) -> Result<Current, Stop> {
    let row = of(host, name)?;
    let id = row.trial.as_ref().map_or(row.current, |trial| trial.generation);
    let line = row.generations.into_iter().find(|line| line.generation == id);
    let line = line.ok_or_else(|| Stop::new(Exit::CouldNot, format!("{name}: its record has no generation {id}")))?;
    let verdict = if row.trial.is_some() { "on-trial" } else { line.verdict };
    Ok(Current { name: row.name, generation: id, version: line.version, verdict })
}

/// What is known of every name, and the records that can't be read: they do not hide the others.
pub fn all(host: &Host, say: &Say) -> Result<(Vec<Row>, Vec<Stop>), Stop> {
    let (mut rows, mut unread) = (Vec::new(), Vec::new());
    for name in record::names(host).map_err(|e| could_not(&e))? {
        match record::read(host, &name) {
            Ok(record) => rows.extend(record.map(|record| row(host, record))),
            Err(e) => unread.push(could_not(&e)),
        }
    }
    if rows.is_empty() && unread.is_empty() {
        say.note(format_args!("nothing is managed here: {} holds no record{}", host.state().display(), whose()));
    }
    Ok((rows, unread))
}

/// That there is no record of `name`, and what else to try.
#[must_use]
pub fn unknown(host: &Host, name: &str) -> String {
    let state = host.state().display();
    let meant = name.rsplit_once('.').map(|(stem, _)| stem);
    let hint = match meant.filter(|stem| record::path(host, stem).is_file()) {
        Some(stem) => format!("the name is {stem}: rollback {stem}"),
        None => "a file can go back without one: rollback /PATH/TO/FILE".to_owned(),
    };
    format!("nothing is recorded under this name in {state}{}; {hint}", whose())
}

/// For a user who looks in a state of his own, whose it is.
#[must_use]
pub fn whose() -> &'static str {
    if nix::unistd::geteuid().is_root() {
        return "";
    }
    " (your own state; root's is another: sudo)"
}

fn could_not(e: &std::io::Error) -> Stop {
    Stop::new(Exit::CouldNot, format!("the state can't be read: {e}"))
}

/// The rows as a table for people: `*` is in place, `?` on trial.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        for line in &row.generations {
            let mark = match &row.trial {
                Some(trial) if trial.generation == line.generation => "?",
                None if row.current == line.generation => "*",
                _ => " ",
            };
            lines.push([
                row.name.clone(),
                format!("{mark} {}", line.generation),
                line.version.clone().unwrap_or_else(|| "-".to_owned()),
                line.verdict.to_owned(),
                line.time.clone(),
                line.why.clone().or_else(|| line.pause_ms.map(pause)).unwrap_or_default(),
            ]);
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    lines.insert(0, ["NAME", "  GENERATION", "VERSION", "VERDICT", "TIME", "WHY"].map(str::to_owned));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..6).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    for row in rows {
        if let Some(trial) = &row.trial {
            let name = &row.name;
            let by = match &row.locked_by {
                Some(holder) => format!("{holder} is at work on it"),
                None if trial.by_hand => {
                    format!("opened by hand; keep it: swapbin --commit {name}, or take it back: rollback {name}")
                }
                None => format!("its chain is gone: rollback {name}"),
            };
            let _ = writeln!(
                text,
                "{}: generation {} is in place, on trial for {} s, and goes back to {}; {by}",
                row.name, trial.generation, trial.age_s, trial.home
            );
        }
        for failed in &row.failed {
            let version = failed.version.as_deref().unwrap_or("a version without a name");
            let _ = writeln!(text, "{}: {version} is taken again only with --retry-failed: {}", row.name, failed.why);
        }
    }
    text
}

fn pause(ms: u64) -> String {
    format!("{} without an answer", shown(Duration::from_millis(ms)))
}

fn row(host: &Host, record: Record) -> Row {
    let trial = record.trial.as_ref().map(|t| OpenTrial {
        generation: t.generation,
        home: t.home,
        opened: clock::rfc3339(t.opened),
        age_s: clock::now().saturating_sub(t.opened),
        by_hand: t.by_hand,
    });
    Row {
        locked_by: lock::held_by(host, &record.name),
        current: record.current,
        trial,
        units: record.units.into_iter().collect(),
        keep: record.keep,
        failed: record.failed.iter().rev().map(failed).collect(),
        generations: record.generations.iter().rev().map(line).collect(),
        name: record.name,
    }
}

fn line(generation: &Generation) -> Line {
    let (verdict, why) = match &generation.verdict {
        Judged::Unproven => ("unproven", None),
        Judged::Proven => ("proven", None),
        Judged::Unhealthy(why) => ("unhealthy", Some(why.clone())),
    };
    Line {
        generation: generation.id,
        version: generation.version().map(str::to_owned),
        verdict,
        why,
        pause_ms: generation.pause_ms,
        time: clock::rfc3339(generation.time),
        files: generation.files.iter().map(file).collect(),
    }
}

fn file((dest, state): (&Dest, &Option<FileState>)) -> FileLine {
    let backup = state.as_ref().map(|state| Dest::new(dest.backup(state.born)));
    FileLine { path: dest.clone(), state: state.clone(), backup }
}

fn failed(failed: &Failed) -> FailedLine {
    FailedLine { version: failed.version.clone(), why: failed.why.clone(), time: clock::rfc3339(failed.time) }
}
