//! The control group that this process runs in: systemd ends all that is in a unit's when it stops the unit.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, id};
use std::time::Duration;

use fs_err as fs;

use super::Host;
use super::systemd::{Systemd, SystemdError};
use super::tool::ToolError;
use crate::words::exit::{Coded, Exit};

/// The process that has moved itself into a scope; it does so once.
const MOVED: &str = "UPSWAP_SCOPE_PID";
/// How long systemd-run may take to say what it can do.
const ANSWER: Duration = Duration::from_secs(10);

/// Why this process stays inside a unit that is about to be stopped. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// systemd kills a unit's main process wherever it is.
    #[error(
        "this is the main process of {unit}, which is stopped when it is restarted; run the upgrade from another unit: systemd-run --collect COMMAND"
    )]
    Main {
        /// The unit.
        unit: String,
    },
    /// The scope did not help.
    #[error(
        "this runs inside {unit} and is stopped with it, and systemd-run --scope did not take it out; run it from another unit: systemd-run --collect COMMAND"
    )]
    Still {
        /// The unit.
        unit: String,
    },
    /// systemd-run can't be run.
    #[error(
        "this runs inside {unit} and is stopped with it, and can't leave it: {source}; run it from another unit: systemd-run --collect COMMAND"
    )]
    Run {
        /// The unit.
        unit: String,
        /// Why.
        source: ToolError,
    },
    /// systemd could not be asked.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

impl Coded for ScopeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Main { .. } | Self::Still { .. } => Exit::No,
            Self::Run { source, .. } => source.exit(),
            Self::Systemd(e) => e.exit(),
        }
    }
}

/// The first of `units` in whose control group this process is, if any.
pub fn unit_around<'u>(host: &Host, units: impl IntoIterator<Item = &'u str>) -> Option<&'u str> {
    let groups = fs::read_to_string(host.path("/proc/self/cgroup")).unwrap_or_default();
    units.into_iter().find(|unit| names_unit(&groups, unit))
}

/// Goes on as the same process in a scope of its own, from the start of `main`; returns only when that can't be. systemd-run
/// keeps the descriptors, the environment and, as it becomes the program that it is given, the process.
pub fn leave(host: &Host, unit: &str) -> ScopeError {
    let unit = unit.to_owned();
    if env::var_os(MOVED).is_some_and(|moved| moved == *id().to_string()) {
        return ScopeError::Still { unit };
    }
    let main = match Systemd::on(host).show(&unit, &["MainPID"]) {
        Ok(shown) => shown.get("MainPID").is_some_and(|pid| *pid == id().to_string()),
        Err(e) => return e.into(),
    };
    if main {
        return ScopeError::Main { unit };
    }
    let failed = |source| ScopeError::Run { unit: unit.clone(), source };
    let (program, help) = match (host.program("systemd-run"), host.run_tool("systemd-run", ["--help"], ANSWER)) {
        (Ok(program), Ok(help)) => (program, help),
        (Err(e), _) | (_, Err(e)) => return failed(e),
    };
    let mut options = vec!["--scope", "--quiet", "--collect", "--description=A guard of upswap"];
    if !nix::unistd::geteuid().is_root() {
        options.push("--user");
    }
    // A systemd that can put variables into the words of COMMAND is told not to.
    if String::from_utf8_lossy(&help.stdout).contains("--expand-environment") {
        options.push("--expand-environment=no");
    }
    let mut arguments = env::args_os();
    let called = arguments.next();
    let this = env::current_exe().ok().map(OsString::from).or(called).unwrap_or_default();
    let error: io::Error =
        Command::new(program).args(options).arg("--").arg(this).args(arguments).env(MOVED, id().to_string()).exec();
    failed(ToolError::Run { program: "systemd-run".to_owned(), source: error })
}

/// Whether `groups`, the text of /proc/PID/cgroup (`cgroups(7)`), names the control group of `unit` or one below it, in the unified
/// hierarchy or in systemd's own of version 1.
fn names_unit(groups: &str, unit: &str) -> bool {
    let systemds = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.strip_prefix(':').or_else(|| rest.strip_prefix("name=systemd:"))
    });
    // systemd puts an underscore before a name that the kernel could take for a file of its own (`cpu.service`).
    let is_it = |part: &str| part == unit || part.strip_prefix('_') == Some(unit);
    systemds.flat_map(|path| path.split('/')).any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_s_group_is_found_in_each_hierarchy() {
        let unified = "0::/system.slice/runed.service\n";
        let hybrid = "9:name=systemd:/system.slice/runed.service\n1:cpu:/\n0::/\n";
        let delegated = "0::/system.slice/system-runed.slice/runed.service/worker\n";
        for groups in [unified, hybrid, delegated] {
            assert!(names_unit(groups, "runed.service"), "{groups}");
            assert!(!names_unit(groups, "une.service") && !names_unit(groups, "ned.service"), "{groups}");
        }
        assert!(names_unit("0::/system.slice/_cpu.service\n", "cpu.service"));
        // Not systemd's own hierarchy, no text at all, and what no kernel writes.
        for groups in ["4:memory:/system.slice/runed.service\n", "", "runed.service", "::\n:"] {
            assert!(!names_unit(groups, "runed.service"), "{groups}");
        }
    }

    #[test]
    fn without_proc_no_unit_is_around() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(unit_around(&Host::below(root.path()), ["runed.service"]), None);
    }
}
