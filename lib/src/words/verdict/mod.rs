//! Healthy, or why not: the names of the verdicts, and the verdict itself.
//!
//! [`state`] is what systemd says of a unit at one time; [`fold`] turns a sequence of such observations into a verdict.
//! Pure: the clock and the questions belong to `steps::service`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exit::Exit;

mod ending;
pub mod fold;
pub mod state;
#[cfg(test)]
mod tests;

/// The name of a verdict. The names are documented in svc-wait(1), stand in its JSON, and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// The right executable ran through the whole hold-down without a restart, and the probes answered.
    Healthy,
    /// The main process ended with a failure.
    Crashed,
    /// It ended so more than once, and systemd starts it again and again.
    CrashLoop,
    /// systemd starts it no more: `StartLimitBurst=` is used up.
    StartLimit,
    /// systemd could not execute it: the file, the user, the working directory … (systemd.exec(5), exit statuses 200 to 245).
    ExecFailed,
    /// A command before or after the main process failed (`ExecStartPre=`, `ExecStartPost=`).
    StartFailed,
    /// systemd lacked something to start it with, such as a file of `EnvironmentFile=`.
    Resources,
    /// The main process ended with success, though the service should keep running.
    Exited,
    /// It ended before it said that it was ready (`Type=notify`, `Type=forking`).
    Protocol,
    /// It was not up before the deadline, systemd's or ours.
    NeverReady,
    /// It runs, and a probe got no answer at all.
    Hang,
    /// It runs, and a probe was answered wrongly or refused.
    ProbeFailed,
    /// The probe was answered, by somebody else than this unit.
    WrongListener,
    /// `WatchdogSec=` passed without a sign of life.
    Watchdog,
    /// The kernel or systemd-oomd ended it for want of memory.
    OomKilled,
    /// systemd ended it on a timeout while it ran or stopped.
    Timeout,
    /// The old process did not stop in time, so that no new one was started or it was killed.
    StopTimedOut,
    /// The main process runs another executable than it should.
    WrongBinary,
    /// A process that runs the replaced, deleted executable is left in the unit's control group.
    OldProcess,
    /// The unit file was changed and systemd still holds the old one.
    StaleUnit,
    /// Which executable runs can't be proven: a script or a wrapper.
    NotProvable,
    /// /proc or the control group could not be read.
    Unreadable,
    /// The unit is masked.
    Masked,
    /// There is no such unit.
    NotFound,
    /// systemd could not load the unit file.
    BadSetting,
    /// A condition or an assertion of the unit did not hold, so nothing was started.
    ConditionFailed,
    /// COMMAND failed.
    JobFailed,
    /// Something else restarted the unit in the hold-down.
    Restarted,
    /// Something stopped the unit in the hold-down, or suspended it (`SIGSTOP`, `systemctl freeze`).
    Stopped,
    /// The unit is not running.
    Inactive,
}

impl Name {
    /// The exit code of a wait that ends so.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::Healthy => Exit::Done,
            Self::Unreadable => Exit::Deadline,
            _ => Exit::No,
        }
    }

    /// Whether it is the program that is unhealthy. The other verdicts speak of the unit, of other hands, or of what could
    /// not be seen: no reason to refuse the same version tomorrow.
    #[must_use]
    pub fn blames_the_program(self) -> bool {
        matches!(
            self,
            Self::Crashed
                | Self::CrashLoop
                | Self::StartLimit
                | Self::ExecFailed
                | Self::StartFailed
                | Self::Exited
                | Self::Protocol
                | Self::NeverReady
                | Self::Hang
                | Self::ProbeFailed
                | Self::Watchdog
                | Self::OomKilled
                | Self::Timeout
        )
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// When things happened, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How long COMMAND took; `None` without one.
    pub job_ms: Option<u64>,
    /// From the end of COMMAND (from the start without one) until systemd first said that the unit is active.
    pub active_ms: Option<u64>,
    /// Likewise until all probes were first answered; `None` when they never were, or when there are none.
    pub answer_ms: Option<u64>,
    /// From the end of COMMAND (from the start without one) until the unit was first healthy; `None` when it never was.
    pub healthy_ms: Option<u64>,
    /// How long it then stayed healthy, to the verdict.
    pub stable_ms: Option<u64>,
    /// The longest time without an answer, from the last answer before it to the first one after it, from before COMMAND until
    /// first healthy; `None` when that was not measured, or when there was no answer before or after.
    pub pause_ms: Option<u64>,
    /// From the start to the verdict.
    pub total_ms: u64,
}

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its name: the option it was given by, and what it asks.
    pub name: String,
    /// Whether its failure is only told.
    pub advisory: bool,
    /// Whether the last answer was the right one; `None` when it was never asked.
    pub answered: Option<bool>,
    /// What was wrong with it; empty when nothing was.
    pub text: String,
    /// When it was first answered, in milliseconds from the end of COMMAND.
    pub answer_ms: Option<u64>,
}

/// The answer to "is it healthy?".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a verdict that nobody reads proves nothing"]
pub struct Verdict {
    /// The unit that was judged.
    pub unit: String,
    /// True for [`Name::Healthy`] alone.
    pub healthy: bool,
    /// What it is called.
    pub name: Name,
    /// The evidence, on one line.
    pub text: String,
    /// The main process when it was last seen.
    pub pid: Option<u32>,
    /// The invocation that was judged, in systemd's 32 hexadecimal digits.
    pub invocation: Option<String>,
    /// When things happened.
    pub times: Times,
    /// The probes, in the order in which they were given.
    pub probes: Vec<Asked>,
    /// The last journal lines of this invocation; empty when healthy, when there is no journal, or until it was asked.
    pub journal: Vec<String>,
}

impl Verdict {
    /// The exit code of a tool that ends with this verdict.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.name.exit()
    }

    /// The verdict as the fields of a `--json` object.
    #[must_use]
    pub fn fields(&self) -> serde_json::Value {
        // Strings, numbers and lists always have a JSON form.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.unit, self.name, self.text)
    }
}

/// `duration` as people read it, no finer than a millisecond.
#[must_use]
pub fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn names_are_written_as_they_are_documented() {
        for (name, text) in [
            (Name::Healthy, "healthy"),
            (Name::CrashLoop, "crash-loop"),
            (Name::StartLimit, "start-limit"),
            (Name::OomKilled, "oom-killed"),
            (Name::NotProvable, "not-provable"),
        ] {
            assert_eq!(name.to_string(), text);
            assert_eq!(serde_json::to_value(name).unwrap(), text);
        }
    }

    #[test]
    fn times_are_short() {
        assert_eq!(shown(Duration::from_micros(3_499)), "3 ms");
        assert_eq!(shown(Duration::from_millis(10_090)), "10.0 s");
    }
}
