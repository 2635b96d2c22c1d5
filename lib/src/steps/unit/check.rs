//! What systemd itself says of a unit's text: `systemd-analyze verify`, whose standard error is the answer, not its status.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;

use crate::sys::Host;
use crate::sys::say::Say;
use crate::sys::systemd::one_unit;
use crate::sys::tool::ToolError;
use crate::words::exit::{Coded, Exit};
use crate::words::unit::file::File;

/// How long systemd-analyze may take; it reads every unit that the one refers to.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why a text is not good, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// systemd finds fault with it.
    #[error("{unit}: systemd-analyze verify: {first}{more}")]
    Found {
        /// The unit.
        unit: String,
        /// The first line it says.
        first: String,
        /// How many more there are, for people.
        more: String,
    },
    /// What the unit is called can't be told, and systemd needs it.
    #[error("--check: what the unit is called can't be told; say it with --name, as in --name runed.service")]
    NoName,
    /// The name is no unit's.
    #[error("--check: '{name}' is not a unit's name; say it with --name, as in --name runed.service")]
    Name {
        /// The name.
        name: String,
    },
    /// systemd-analyze is missing or hangs.
    #[error("--check: {0}")]
    Tool(#[from] ToolError),
    /// systemd-analyze does not work here: it refuses a unit without any fault, too.
    #[error("--check: systemd-analyze verify does not work here: {0}")]
    NotHere(String),
    /// The folder for it could not be made.
    #[error("--check: {0}")]
    Folder(io::Error),
}

impl Coded for CheckError {
    fn exit(&self) -> Exit {
        match self {
            Self::Found { .. } => Exit::No,
            Self::NoName | Self::Name { .. } => Exit::Usage,
            Self::Tool(_) | Self::NotHere(_) | Self::Folder(_) => Exit::CouldNot,
        }
    }
}

/// Has systemd read `text` as the unit `name`, and refuses it when systemd says anything.
///
/// The other units are this host's; what is wrong with them, and with the drop-ins that are there already, is not said: it is
/// what systemd says also when a unit without a fault stands in the place of `text`.
pub fn check(host: &Host, name: Option<&str>, text: &[u8], say: &Say) -> Result<(), CheckError> {
    let unit = unit_name(name.ok_or(CheckError::NoName)?, text)?;
    say.detail(format_args!("{unit}: asking systemd-analyze verify"));
    let said = said(host, &unit, text)?;
    if said.status_is_good && said.lines.is_empty() {
        return Ok(());
    }
    let lines = faults(host, &unit, said, say)?;
    if lines.is_empty() {
        return Ok(());
    }
    let first = lines.first().cloned().unwrap_or_default();
    for line in lines.iter().skip(1) {
        say.note(format_args!("{unit}: systemd-analyze verify: {line}"));
    }
    let more = match lines.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Err(CheckError::Found { unit, first, more })
}

/// What of that systemd does not say of a unit without a fault in the same place; nothing when that is all.
fn faults(host: &Host, unit: &str, said: Said, say: &Say) -> Result<Vec<String>, CheckError> {
    let mut lines = said.lines;
    let mut refused = !said.status_is_good;
    if let Some(text) = faultless(unit) {
        let besides = self::said(host, unit, text.as_bytes())?;
        for line in lines.extract_if(.., |line| besides.lines.contains(line)) {
            say.detail(format_args!("{unit}: not of this text: {line}"));
        }
        if lines.is_empty() && !besides.status_is_good {
            // The drop-ins that are there can be to blame, or systemd-analyze: for a name of nobody's there are none.
            let suffix = unit.rsplit('.').next().unwrap_or_default();
            let anew = self::said(host, &format!("upswap-check-{}.{suffix}", std::process::id()), text.as_bytes())?;
            if !anew.status_is_good {
                return Err(CheckError::NotHere(anew.lines.into_iter().next().unwrap_or_default()));
            }
            refused = false;
        }
    }
    if refused && lines.is_empty() {
        lines.push("refuses it and does not say why".to_owned());
    }
    Ok(lines)
}

/// The full name; a name without its suffix gets the one that the text's sections ask for.
fn unit_name(name: &str, text: &[u8]) -> Result<String, CheckError> {
    let bad = || CheckError::Name { name: name.to_owned() };
    let full = one_unit(name).ok_or_else(bad)?;
    if full == name {
        return Ok(full);
    }
    let sections = File::parse(text.to_vec()).map(|file| file.sections().to_vec()).unwrap_or_default();
    let suffix = ["Service", "Socket", "Timer", "Path", "Mount", "Automount", "Swap", "Slice", "Scope"]
        .into_iter()
        .find(|kind| sections.iter().any(|section| section == kind))
        .unwrap_or("Service");
    one_unit(&format!("{name}.{}", suffix.to_ascii_lowercase())).ok_or_else(bad)
}

/// What systemd-analyze said.
struct Said {
    lines: Vec<String>,
    status_is_good: bool,
}

fn said(host: &Host, unit: &str, text: &[u8]) -> Result<Said, CheckError> {
    let folder = tempfile::Builder::new().prefix("upswap-check-").tempdir().map_err(CheckError::Folder)?;
    let put = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        // systemd says something about any other mode.
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644))?;
        Ok(path)
    };
    let path = put(unit, text).map_err(CheckError::Folder)?;
    // A socket or timer is nothing without its service, which may not be there yet.
    for service in activated(unit) {
        put(&service, FAULTLESS_SERVICE.as_bytes()).map_err(CheckError::Folder)?;
    }
    // Manual pages are often not installed, and other units are not what is asked about.
    let arguments = ["verify".as_ref(), "--man=no".as_ref(), "--recursive-errors=no".as_ref(), path.as_os_str()];
    let output = host.run_tool("systemd-analyze", arguments, DEADLINE)?;
    if let Some(signal) = output.status.signal() {
        return Err(CheckError::NotHere(format!("it was killed by signal {signal}")));
    }
    let place = |folder: &Path| format!("{}/", folder.display());
    let stderr = String::from_utf8_lossy(&output.stderr).replace(&place(folder.path()), "");
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Ok(Said { lines, status_is_good: output.status.success() })
}

const FAULTLESS_SERVICE: &str = "[Service]\nExecStart=/bin/sh\n";

/// A unit of this kind without a fault.
fn faultless(unit: &str) -> Option<&'static str> {
    match unit.rsplit('.').next() {
        Some("service") => Some(FAULTLESS_SERVICE),
        Some("socket") => Some("[Socket]\nListenStream=/run/upswap-check\n"),
        Some("timer") => Some("[Timer]\nOnCalendar=daily\n"),
        Some("path") => Some("[Path]\nPathExists=/\n"),
        Some("target" | "slice") => Some("[Unit]\nDescription=x\n"),
        _ => None,
    }
}

/// The services that a unit of this name may start.
fn activated(unit: &str) -> Vec<String> {
    match unit.rsplit_once('.') {
        Some((stem, "socket")) if !stem.contains('@') => vec![format!("{stem}.service"), format!("{stem}@.service")],
        Some((stem, "socket" | "timer" | "path")) => vec![format!("{stem}.service")],
        _ => Vec::new(),
    }
}
