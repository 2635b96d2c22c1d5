//! systemd, by `systemctl`: as root it talks to PID 1 through /run/systemd/private, so it works with dbus-daemon down.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Host;
use super::tool::ToolError;
use crate::words::exit::{Coded, Exit};
use crate::words::verdict::state::properties as properties_of;

/// How long systemd may take to answer a question.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a job (start, restart, stop) may take: longer than any sensible `TimeoutStartSec`= and `TimeoutStopSec`= together.
const JOB: Duration = Duration::from_secs(300);

/// The properties of one unit, as `systemctl show` prints them.
pub type Properties = BTreeMap<String, String>;

/// Why systemd could not be asked or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// systemctl could not be run.
    #[error("systemctl {verb}: {source}")]
    Tool {
        /// What was asked.
        verb: String,
        /// Why it could not be.
        source: ToolError,
    },
    /// systemctl ran and failed.
    #[error("systemctl {verb}: {message}")]
    Refused {
        /// What was asked.
        verb: String,
        /// What systemctl said, on one line.
        message: String,
    },
}

impl Coded for SystemdError {
    fn exit(&self) -> Exit {
        match self {
            Self::Tool { source, .. } => source.exit(),
            Self::Refused { .. } => Exit::CouldNot,
        }
    }
}

/// The system's service manager on a host.
#[derive(Clone, Copy, Debug)]
pub struct Systemd<'h> {
    host: &'h Host,
}

impl<'h> Systemd<'h> {
    /// The system manager of `host`.
    #[must_use]
    pub fn on(host: &'h Host) -> Self {
        Self { host }
    }

    /// The named properties of `unit` (all of them when none is named). A unit that does not exist has
    /// `LoadState=not-found`; that is an answer, not an error.
    pub fn show(&self, unit: &str, properties: &[&str]) -> Result<Properties, SystemdError> {
        self.show_within(unit, properties, ANSWER)
    }

    /// [`Systemd::show`] for a caller with a deadline of its own; never longer than systemd is given anyway.
    pub fn show_within(&self, unit: &str, properties: &[&str], within: Duration) -> Result<Properties, SystemdError> {
        let mut arguments = vec!["show".to_owned(), "--no-pager".to_owned()];
        if !properties.is_empty() {
            arguments.push(format!("--property={}", properties.join(",")));
        }
        let text = self.ask("show", arguments, unit, within.min(ANSWER))?;
        Ok(properties_of(&text))
    }

    /// Rereads all unit files (`systemctl daemon-reload`).
    pub fn daemon_reload(&self) -> Result<(), SystemdError> {
        self.ask("daemon-reload", vec!["daemon-reload".into()], "", JOB).map(drop)
    }

    /// Forgets the failed state of `unit` and its start-limit counter.
    pub fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        self.ask("reset-failed", vec!["reset-failed".into()], unit, ANSWER).map(drop)
    }

    /// Starts `unit` and waits for the job to end.
    pub fn start(&self, unit: &str) -> Result<(), SystemdError> {
        self.ask("start", vec!["start".into()], unit, JOB).map(drop)
    }

    /// Restarts `unit` and waits for the job to end.
    pub fn restart(&self, unit: &str) -> Result<(), SystemdError> {
        self.ask("restart", vec!["restart".into()], unit, JOB).map(drop)
    }

    /// Restarts `unit` if it is active, and waits for the job to end.
    pub fn try_restart(&self, unit: &str) -> Result<(), SystemdError> {
        self.ask("try-restart", vec!["try-restart".into()], unit, JOB).map(drop)
    }

    /// Stops `unit` and waits for the job to end.
    pub fn stop(&self, unit: &str) -> Result<(), SystemdError> {
        self.ask("stop", vec!["stop".into()], unit, JOB).map(drop)
    }

    fn ask(
        self,
        verb: &str,
        mut arguments: Vec<String>,
        unit: &str,
        deadline: Duration,
    ) -> Result<String, SystemdError> {
        let shown = format!("{verb} {unit}").trim_end().to_owned();
        if !unit.is_empty() {
            arguments.extend(["--".to_owned(), unit.to_owned()]);
        }
        let output = self
            .host
            .run_tool("systemctl", arguments, deadline)
            .map_err(|source| SystemdError::Tool { verb: shown.clone(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let message = stderr.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
        let message = if message.is_empty() { output.status.to_string() } else { message };
        Err(SystemdError::Refused { verb: shown, message })
    }
}

/// A unit name with its type: a name without a suffix is a service, as systemctl takes it.
#[must_use]
pub fn unit_name(name: &str) -> String {
    const TYPES: [&str; 11] = [
        ".service",
        ".socket",
        ".timer",
        ".path",
        ".target",
        ".mount",
        ".automount",
        ".swap",
        ".slice",
        ".scope",
        ".device",
    ];
    if TYPES.iter().any(|t| name.ends_with(t)) { name.to_owned() } else { format!("{name}.service") }
}

/// The full name of one unit, as systemd.unit(5) has its letters: no pattern, no template, no path, no option.
#[must_use]
pub fn one_unit(name: &str) -> Option<String> {
    let unit = unit_name(name);
    let letter = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let one =
        unit.chars().all(letter) && unit.len() < 256 && !unit.contains("@.") && !unit.starts_with(['-', '.', '@']);
    one.then_some(unit)
}
