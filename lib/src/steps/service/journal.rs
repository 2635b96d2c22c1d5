//! What a service wrote before its end: the last journal lines of one invocation, and of no other.

use std::time::Duration;

use crate::sys::Host;
use crate::words::verdict::Verdict;

/// How long the journal may take. The verdict does not wait longer for its illustration.
const ANSWER: Duration = Duration::from_secs(2);

/// The last ten lines of the run that `verdict` speaks of; none when it is healthy, when there is no journal, or when it does not
/// answer. Asking takes longer than judging, so the verdict is told before.
#[must_use]
pub fn journal_of(host: &Host, verdict: &Verdict) -> Vec<String> {
    let Some(invocation) = verdict.invocation.as_deref().filter(|_| !verdict.healthy) else { return Vec::new() };
    let lines = read(host, invocation);
    if !lines.is_empty() {
        return lines;
    }
    // A process that has just ended may have lines that journald has not written yet.
    match host.run_tool("journalctl", ["--sync"], ANSWER) {
        Ok(_) => read(host, invocation),
        Err(_) => lines,
    }
}

fn read(host: &Host, invocation: &str) -> Vec<String> {
    let of_run = format!("_SYSTEMD_INVOCATION_ID={invocation}");
    match host.run_tool("journalctl", ["--no-pager", "--quiet", "--lines=10", "--output=cat", &of_run], ANSWER) {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        // The journal adds to the verdict; its absence takes nothing from it.
        Ok(_) | Err(_) => Vec::new(),
    }
}
