//! setcap-keep over install(1), killed before every call and failed at every call of its own.
//!
//! install unlinks the file first and writes it in place: while it runs, the path may be missing or short, and that is install's. What
//! setcap-keep answers for is judged: it never says 0 while the capability is gone, and after a kill `--restore`, or the same command
//! again, brings it back.

use std::process::Command;

use crate::bed::{Bed, Struck, none, sweep, tell};
use crate::cases::{one, tool};
use crate::errno::fault_points;
use crate::host::{Host, needs_root};
use crate::material::full_sweep;

const PATH: &str = "bin/runed";

fn command(host: &Host) -> Command {
    tool(host, "setcap-keep", &[PATH, "--", "install", "-m", "0755", "src/runed", PATH])
}

#[test]
fn a_killed_setcap_keep_still_gives_the_capability_back() {
    needs_root();
    let bed = Bed::new(one);
    let calls = bed.calls(&["--calls", "all"], &command(&bed.host)).len() as u64;
    let mutating = bed.calls(&[], &command(&bed.host)).len() as u64;
    let stride = if full_sweep() { 1 } else { 5 };
    let mut points: Vec<_> = (1..=mutating).map(|n| ("mutating", n)).collect();
    points.extend((1..=calls).step_by(stride).map(|n| ("all", n)));
    let points: Vec<_> = points.iter().flat_map(|p| [(*p, true), (*p, false)]).collect();
    let bad = sweep(one, &points, |bed, ((calls, number), restores)| {
        let struck = bed.struck(&["--calls", calls], *number, "kill", &command(&bed.host));
        let told = format!("setcap-keep: killed before {}", struck.at.as_deref().unwrap_or("nothing"));
        let mut bad = Vec::new();
        let saved = bed.disk().keys().any(|path| path.extension().is_some_and(|e| e == "save"));
        if *restores && saved {
            let there = bed.host.path(PATH).exists();
            let ran = bed.run(&mut tool(&bed.host, "setcap-keep", &["--restore"]));
            // Where the file is gone nothing can be put back, and nothing is.
            if ran.code != i32::from(!there) || there && !capable(bed) {
                bad.push(format!("{told}: --restore: {ran:?}"));
            }
        }
        let ran = bed.run(&mut command(&bed.host));
        if ran.code != 0 || !capable(bed) {
            bad.push(format!("{told}: the same command again: {ran:?}, capability {}", capable(bed)));
        }
        if let Some(left) = bed.disk().keys().find(|path| path.to_string_lossy().contains(".save")) {
            bad.push(format!("{told}: litter: {}", left.display()));
        }
        bad
    });
    eprintln!("kill: setcap-keep: {mutating} mutating calls of {calls}; {} runs, {} bad", points.len(), bad.len());
    tell(&bad);
    none(&bad);
}

#[test]
fn a_setcap_keep_that_fails_says_so() {
    needs_root();
    let bed = Bed::new(one);
    let calls = bed.calls(&["--calls", "all", "--after-main"], &command(&bed.host));
    let faults = fault_points(&calls, &mut std::collections::BTreeMap::new());
    let bad = sweep(one, &faults, |bed, fault| {
        let before = bed.disk();
        let struck = bed.struck(&["--calls", "all", "--after-main"], fault.number, &fault.action, &command(&bed.host));
        let told = format!("setcap-keep: {} at {}", fault.action, struck.at.as_deref().unwrap_or("nothing"));
        if !fault.hit(&struck) {
            return Vec::new();
        }
        let wrong = |what: &str, ran: &Struck| vec![format!("{told}: {what}: {ran:?}")];
        match struck.code {
            0 if !capable(bed) => wrong("silent success", &struck),
            3 if bed.holds(&[PATH]) != [before.get(std::path::Path::new(PATH)).cloned()] => {
                wrong("3, and changed", &struck)
            }
            0 | 3 => Vec::new(),
            4 => {
                let mend =
                    struck.stderr.lines().last().unwrap_or_default().rsplit(": ").next().unwrap_or_default().to_owned();
                let ran = bed.shell(&mend);
                if ran.code == 0 && capable(bed) {
                    Vec::new()
                } else {
                    wrong(&format!("'{mend}' does not mend it: {ran:?}"), &struck)
                }
            }
            _ => wrong("wrong exit code", &struck),
        }
    });
    eprintln!("errno: setcap-keep: {} calls; {} runs, {} bad", calls.len(), faults.len(), bad.len());
    tell(&bad);
    none(&bad);
}

fn capable(bed: &Bed) -> bool {
    xattr::get(bed.host.path(PATH), "security.capability").is_ok_and(|caps| caps.is_some())
}
