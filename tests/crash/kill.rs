//! Acceptance 1: SIGKILL before every call. The paths are judged as they are, after recovery, and after the same command again.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bed::{Bed, Struck, asked_for, none, sweep, tell};
use crate::cases::{CASES, Case, States, tool};
use crate::host::needs_root;
use crate::material::full_sweep;

/// Where a run is killed, and then perhaps its recovery.
struct Point {
    calls: &'static str,
    number: u64,
    recovery: Option<u64>,
}

#[test]
fn a_kill_before_any_call_leaves_whole_files_and_a_way_to_end_the_change() {
    needs_root();
    let mut bad = Vec::new();
    for case in CASES.iter().filter(|case| asked_for(case.name)) {
        bad.extend(swept(case));
    }
    none(&bad);
}

/// Every point of one case; what is bad.
pub fn swept(case: &Case) -> Vec<String> {
    let bed = Bed::new(case.prepare);
    let states = case.states(&bed);
    let command = (case.command)(&bed.host);
    let mutating = bed.calls(&[], &command).len() as u64;
    let all = bed.calls(&["--calls", "all"], &command).len() as u64;
    let recovery = recovery_calls(&bed, case, mutating);
    let mut points: Vec<_> = (1..=mutating).map(|number| Point { calls: "mutating", number, recovery: None }).collect();
    // Every call of swapbin alone; of a whole tree every third in the short form.
    let stride = match case.name {
        _ if full_sweep() => 1,
        name if name.starts_with("swapbin, 1 file, the first") => 1,
        name if name.starts_with("swapbin") => 3,
        _ => 41,
    };
    points.extend((1..=all).step_by(stride).map(|number| Point { calls: "all", number, recovery: None }));
    // A recovery that is killed too: the whole grid, or a diagonal of it.
    // A diagonal of a whole tree is long; every third point of it is killed twice.
    let every = if full_sweep() || case.name.starts_with("swapbin, 1") { 1 } else { 3 };
    for number in (1..=mutating).step_by(every) {
        let seconds = (1..=recovery).filter(|second| full_sweep() || (number * 7 + 3) % recovery.max(1) + 1 == *second);
        points.extend(seconds.map(|second| Point { calls: "mutating", number, recovery: Some(second) }));
    }
    let started = std::time::Instant::now();
    let missed = AtomicUsize::new(0);
    let mut bad = sweep(case.prepare, &points, |bed, point| judged(bed, case, &states, point, &missed));
    let missed = missed.into_inner();
    eprintln!(
        "kill: {}: {mutating} mutating calls of {all}, {} in a recovery; {} runs, {missed} of them not killed, {} disks to go on from, {} bad, {:.1} s",
        case.name,
        recovery,
        points.len(),
        states.ended.lock().unwrap().len(),
        bad.len(),
        started.elapsed().as_secs_f32()
    );
    if missed * 20 > points.len() {
        bad.push(format!("{}: {missed} of {} runs ended before they could be killed", case.name, points.len()));
    }
    tell(&bad);
    bad
}

/// How many calls the longest recovery makes: the one after a kill in the middle of the renames.
fn recovery_calls(bed: &Bed, case: &Case, mutating: u64) -> u64 {
    let mut most = 0;
    for number in (1..=mutating).step_by(5) {
        bed.reset();
        bed.struck(&[], number, "kill", &(case.command)(&bed.host));
        let list = bed.host.path("list");
        let options = ["--list", list.to_str().unwrap()];
        bed.struck(&options, 0, "count", &pending(bed));
        most = most.max(fs_err::read_to_string(list).unwrap().lines().count() as u64);
    }
    most
}

fn pending(bed: &Bed) -> std::process::Command {
    tool(&bed.host, "rollback", &["--pending"])
}

fn judged(bed: &Bed, case: &Case, states: &States, point: &Point, missed: &AtomicUsize) -> Vec<String> {
    let struck = bed.struck(&["--calls", point.calls], point.number, "kill", &(case.command)(&bed.host));
    missed.fetch_add(usize::from(struck.at.is_none()), Ordering::Relaxed);
    let mut told =
        format!("{}: killed before {}", case.name, struck.at.as_deref().unwrap_or("nothing").replace('\t', " "));
    let mut bad = Vec::new();
    let mut note = |what: &str, ran: &Struck, told: &str| bad.push(format!("{told}: {what}: {ran:?}"));
    if each_is_whole(bed, case, states).is_err() {
        note(&each_is_whole(bed, case, states).unwrap_err(), &struck, &told);
    }
    if let Some(second) = point.recovery {
        let again = bed.struck(&[], second, "kill", &pending(bed));
        // A recovery that is shorter than the longest may have ended before.
        told = format!("{told}, its recovery before {}", again.at.as_deref().unwrap_or("nothing"));
        if let Err(what) = each_is_whole(bed, case, states) {
            note(&what, &again, &told);
        }
    }
    let recovered = bed.run(&mut pending(bed));
    if recovered.code != 0 {
        note("recovery failed", &recovered, &told);
    }
    let now = bed.holds(case.paths);
    if now != states.old && now != states.wanted && !states.either.contains(&now) {
        note("the files of one change are mixed after recovery", &recovered, &told);
    }
    bad.extend(ends_well(bed, case, states, &told));
    bad
}

/// The same command once more does the deed, leaves no litter, and the old files can still be brought back.
pub fn ends_well(bed: &Bed, case: &Case, states: &States, told: &str) -> Vec<String> {
    let disk = bed.fingerprint();
    let known = states.ended.lock().unwrap().get(&disk).cloned();
    let bad = known.unwrap_or_else(|| ended(bed, case, states));
    let told = bad.iter().map(|what| format!("{told}: {what}")).collect();
    states.ended.lock().unwrap().insert(disk, bad);
    told
}

fn ended(bed: &Bed, case: &Case, states: &States) -> Vec<String> {
    let mut bad = Vec::new();
    let done = bed.holds(case.paths) == states.wanted;
    // What exchanges two files must not be asked twice.
    if !(case.name == "rollback PATH" && done) {
        let ran = bed.run(&mut (case.command)(&bed.host));
        let right = ran.code == case.code || (done && case.again.contains(&ran.code));
        // A trial that recovery took back can't be committed any more.
        let gone = case.name == "swapbin --commit" && ran.code == 1;
        if !right && !gone {
            bad.push(format!("the same command again: {ran:?}"));
        }
        if bed.holds(case.paths) != states.wanted && !gone {
            bad.push(format!("the same command again did not do it: {:?}", bed.holds(case.paths)));
        }
    }
    if case.name.starts_with("rollback --pending") {
        // It settles, each minute, and where nothing is open it does no more: what it was killed over is the next change's to sweep.
        bed.shell("rollback --prune runed");
    }
    bad.extend(litter(bed).into_iter().map(|name| format!("litter after the same command again: {name}")));
    if let Some(back) = case.back {
        let ran = bed.shell(back);
        if ran.code != 0 || bed.holds(case.paths) != states.old {
            bad.push(format!("the old files can't be brought back: {ran:?} {:?}", bed.holds(case.paths)));
        }
    }
    bad
}

/// Every path holds the whole old or the whole new file, with all its metadata.
fn each_is_whole(bed: &Bed, case: &Case, states: &States) -> Result<(), String> {
    for (index, now) in bed.holds(case.paths).into_iter().enumerate() {
        if !states.either.iter().any(|whole| whole[index] == now) {
            return Err(format!("{} is neither old nor new: {now:?}", case.paths[index]));
        }
    }
    Ok(())
}

/// Names that no record and no path accounts for.
pub fn litter(bed: &Bed) -> Vec<String> {
    let record = record(bed).unwrap_or_default();
    let mut known = std::collections::BTreeSet::new();
    for generation in record["generations"].as_array().into_iter().flatten() {
        for (path, state) in generation["files"].as_object().into_iter().flatten() {
            let path = std::path::Path::new(path);
            let file = path.file_name().unwrap().to_string_lossy();
            known.insert(path.with_file_name(format!(".{file}.bak")));
            if let Some(born) = state["born"].as_u64() {
                known.insert(path.with_file_name(format!(".{file}.upswap-{born}")));
            }
        }
    }
    let disk = bed.disk();
    let names = disk.keys().filter(|path| {
        let file = path.file_name().unwrap().to_string_lossy();
        let ours = file.starts_with('.')
            && (file.contains("upswap") || file.ends_with(".bak") || file.ends_with(".link"))
            || file.ends_with(".save");
        ours && !known.contains(&bed.host.path(path))
    });
    names.map(|path| path.display().to_string()).collect()
}

/// The record, when there is one that can be read.
pub fn record(bed: &Bed) -> Option<serde_json::Value> {
    serde_json::from_slice(&fs_err::read(bed.host.record_path()).ok()?).ok()
}
