//! Acceptance 2: every call of our tools after main fails, each with nine errors, and every write lies once. No success is silent, no exit code
//! wrong, nothing is left lying about.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bed::{Bed, Disk, Listed, Struck, asked_for, none, sweep, tell};
use crate::cases::{CASES, Case, States};
use crate::host::needs_root;
use crate::kill::{ends_well, litter, record};
use crate::material::full_sweep;

const ERRORS: [&str; 9] = ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EPERM", "EMFILE", "EINTR", "ENOSYS"];
const OURS: [&str; 3] = ["swapbin", "rollback", "setcap-keep"];

/// The calls that are left out, and why.
const LEFT_OUT: [(&str, &str); 16] = [
    ("getrandom", "EINTR and ENOSYS alone are its own, and those are swept; std ends the process at any other"),
    (
        "close",
        "gives the descriptor up whatever it returns (close(2)): a call that is not made is another fault than one that fails",
    ),
    ("geteuid", "always succeeds (getuid(2))"),
    ("getegid", "as geteuid"),
    ("rt_sigprocmask", "can't fail with these arguments; glibc does not look when it makes a child"),
    ("brk", "asks for memory; it can fail with ENOMEM alone, and then the process ends as by a kill"),
    ("mmap", "the same, unless it maps a file: that is swept"),
    ("munmap", "gives memory back; it can't fail with the arguments of an allocator"),
    ("mprotect", "as munmap"),
    ("mremap", "as brk"),
    ("madvise", "advice"),
    ("futex", "never touches the host, and these errors are none of its own"),
    ("rt_sigreturn", "does not return"),
    ("exit", "does not return"),
    ("exit_group", "does not return"),
    ("execve", "of COMMAND and systemctl: makes the child of a fork end, and is swept as the parent's reading of that"),
];

/// One fault at one call.
pub struct Fault {
    pub number: u64,
    pub action: String,
}

impl Fault {
    /// Whether it struck what it was meant for: where processes run side by side, the numbers are not the same every time.
    pub fn hit(&self, struck: &Struck) -> bool {
        let Some(call) = struck.call() else { return false };
        let fits = match self.action.strip_prefix("errno=") {
            Some(error) => can_fail_so(&call, error),
            None => ["write", "pwrite64"].contains(&call.name.as_str()),
        };
        fits && OURS.contains(&call.program.as_str())
    }
}

#[test]
fn a_call_that_fails_is_told_and_leaves_the_disk_as_the_exit_code_says() {
    needs_root();
    let mut used = BTreeMap::new();
    let mut bad = Vec::new();
    for case in CASES.iter().filter(|case| asked_for(case.name)) {
        bad.extend(swept(case, &mut used));
    }
    eprintln!("errno: left out: {}", LEFT_OUT.map(|(name, why)| format!("{name} ({why})")).join("; "));
    none(&bad);
}

/// Every fault of one case; what is bad. `used` counts how often each call has failed with each error.
pub fn swept(case: &Case, used: &mut BTreeMap<(String, usize), u32>) -> Vec<String> {
    let bed = Bed::new(case.prepare);
    let states = case.states(&bed);
    let calls = bed.calls(&["--calls", "all", "--after-main"], &(case.command)(&bed.host));
    let faults = fault_points(&calls, used);
    let started = std::time::Instant::now();
    let missed = AtomicUsize::new(0);
    let mut bad = sweep(case.prepare, &faults, |bed, fault| judged(bed, case, &states, fault, &missed));
    let missed = missed.into_inner();
    eprintln!(
        "errno: {}: {} calls; {} runs, {missed} beside their call, {} disks to go on from, {} bad, {:.1} s",
        case.name,
        calls.len(),
        faults.len(),
        states.ended.lock().unwrap().len(),
        bad.len(),
        started.elapsed().as_secs_f32()
    );
    if missed * 20 > faults.len() {
        bad.push(format!("{}: {missed} of {} faults struck another call than the one meant", case.name, faults.len()));
    }
    tell(&bad);
    bad
}

/// All errors at every call; in the short form one error at every call, the one that this kind of call has seen least.
pub fn fault_points(calls: &[Listed], used: &mut BTreeMap<(String, usize), u32>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for call in calls.iter().filter(|call| OURS.contains(&call.program.as_str())) {
        let count = |index: usize| used.get(&(call.name.clone(), index)).copied().unwrap_or(0);
        let least = (0..ERRORS.len())
            .filter(|index| can_fail_so(call, ERRORS[*index]))
            .min_by_key(|index| count(*index))
            .unwrap_or(0);
        // An interrupted sync is done again; what shows a lost one is an error that stays.
        let lost = |error: &str| is_sync(call) && ERRORS[least] == "EINTR" && error == "EIO";
        for (index, error) in ERRORS.iter().enumerate() {
            if !can_fail_so(call, error) || !(full_sweep() || index == least || lost(error)) {
                continue;
            }
            *used.entry((call.name.clone(), index)).or_default() += 1;
            faults.push(Fault { number: call.number, action: format!("errno={error}") });
        }
        // What is said to people is not read back.
        let on_disk =
            call.target.starts_with('/') && !call.target.starts_with("/proc") && !call.target.starts_with("/dev/null");
        if matches!(call.name.as_str(), "write" | "pwrite64") && on_disk {
            faults.push(Fault { number: call.number, action: "short=1".into() });
        }
    }
    faults
}

/// What [`LEFT_OUT`] says.
fn can_fail_so(call: &Listed, error: &str) -> bool {
    match call.name.as_str() {
        "getrandom" => ["EINTR", "ENOSYS"].contains(&error),
        "mmap" => !call.target.is_empty(),
        name => LEFT_OUT.iter().all(|(left_out, _)| *left_out != name),
    }
}

fn judged(bed: &Bed, case: &Case, states: &States, fault: &Fault, missed: &AtomicUsize) -> Vec<String> {
    let before = bed.disk();
    let options = ["--calls", "all", "--after-main"];
    let struck = bed.struck(&options, fault.number, &fault.action, &(case.command)(&bed.host));
    if !fault.hit(&struck) {
        missed.fetch_add(1, Ordering::Relaxed);
        return Vec::new();
    }
    let told =
        format!("{}: {} at {}", case.name, fault.action, struck.at.as_deref().unwrap_or("nothing").replace('\t', " "));
    let mut bad = Vec::new();
    let now = bed.holds(case.paths);
    match struck.code {
        code if code == case.code => {
            if now != states.wanted {
                bad.push(format!("{told}: silent success: {struck:?} {now:?}"));
            }
            // What was interrupted is done again.
            if fault.action != "errno=EINTR" && promised(&struck, code) {
                bad.push(format!("{told}: durability is promised, and was not had: {struck:?}"));
            }
            if on_trial(bed) {
                bad.push(format!("{told}: silent success: the trial is still open: {struck:?}"));
            }
        }
        // The guard found COMMAND failed.
        5 if now == states.old => {}
        3 | 75 => {
            let changed = differences(&before, &bed.disk());
            if !changed.is_empty() {
                bad.push(format!("{told}: exit {}, and changed: {changed:?}: {struck:?}", struck.code));
            }
        }
        4 => bad.extend(mended(bed, case, states, &struck).map(|what| format!("{told}: {what}: {struck:?}"))),
        _ => bad.push(format!("{told}: wrong exit code: {struck:?}")),
    }
    // Only what could not be unlinked may lie about, and it is named.
    let named = |name: &String| {
        struck.at.as_ref().is_some_and(|at| at.contains("unlink")) && struck.stderr.contains(name.as_str())
    };
    let trial = on_trial(bed);
    // What may be needed again after a power cut stays until the next run.
    let kept = struck.stderr.ends_with("make it so: sync\n");
    bad.extend(
        litter(bed).iter().filter(|n| !named(n) && !trial && !kept).map(|n| format!("{told}: litter: {n}: {struck:?}")),
    );
    bad.extend(ends_well(bed, case, states, &told));
    bad
}

/// Whether a tool ends as if all went well though it could not make durable what it has done. Memory that is not on the disk looks
/// as if it were, so nothing but the exit code can show it. A guard that takes back need not care what could not be kept.
fn promised(struck: &Struck, code: i32) -> bool {
    code == 0 && struck.call().is_some_and(|call| is_sync(&call))
}

fn is_sync(call: &Listed) -> bool {
    ["fsync", "fdatasync", "sync", "syncfs"].contains(&call.name.as_str())
}

/// What differs between two disks. Folders that upswap made for itself and that hold nothing are no difference.
fn differences(before: &Disk, after: &Disk) -> Vec<String> {
    let mut changed = Vec::new();
    for path in before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))) {
        let (was, is) = (before.get(path), after.get(path));
        let empty = || after.iter().all(|(below, entry)| !below.starts_with(path) || !entry.is_file());
        let own_folder = path.starts_with("var") && was.is_none() && empty();
        if was != is && !own_folder {
            changed.push(format!("{}: {was:?} -> {is:?}", path.display()));
        }
    }
    changed
}

/// Runs the command that the message ends with; what is wrong with it.
fn mended(bed: &Bed, case: &Case, states: &States, struck: &Struck) -> Option<String> {
    let last = struck.stderr.lines().last().unwrap_or_default();
    let command = last.rsplit(": ").next().unwrap_or_default();
    if !["rollback ", "swapbin ", "setcap-keep ", "sync"].iter().any(|start| command.starts_with(start)) {
        return Some("the message does not end with the command that mends it".into());
    }
    let ran = bed.shell(command);
    let now = bed.holds(case.paths);
    let trial = on_trial(bed);
    if ran.code != 0 || trial || !(states.either.contains(&now)) {
        return Some(format!("'{command}' does not mend it: {ran:?} {now:?}, trial {trial}"));
    }
    None
}

fn on_trial(bed: &Bed) -> bool {
    record(bed).is_some_and(|record| !record["trial"].is_null())
}
