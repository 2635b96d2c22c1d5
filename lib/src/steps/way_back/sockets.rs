//! Sockets on the way back.
//!
//! systemd forgets what an active socket listens on as soon as it reads other addresses for it, and opens no socket while its
//! service runs. So the socket closes before the service stops, which a connection could start again, and opens before it starts.

use std::path::Path;

use crate::steps::generation::record::Dest;
use crate::steps::generation::set::{OnTrial, Set};
use crate::sys::say::Say;
use crate::sys::systemd::{Systemd, SystemdError};

/// Closes and opens each socket of the trial that was active before, and whose unit came back with `changed` or that was closed
/// since. Its services are stopped; those of the set are left to the caller to start.
pub(super) fn reopen(
    systemd: Systemd<'_>,
    set: &Set<'_, OnTrial>,
    changed: &[Dest],
    say: &Say,
) -> Result<(), SystemdError> {
    let before = &set.trial().before;
    for (socket, was) in before.iter().filter(|(unit, was)| unit.ends_with(".socket") && was.active) {
        let now = systemd.show(socket, &["ActiveState", "InvocationID", "Triggers"])?;
        let value = |key: &str| now.get(key).map(String::as_str).unwrap_or_default();
        let same = value("ActiveState") == "active" && value("InvocationID") == was.invocation;
        if same && !changed.iter().any(|dest| is_of(dest.path(), socket)) {
            continue;
        }
        let mut others = Vec::new();
        say.note(format_args!(
            "{}: restarting {socket}; until it listens again it refuses connections",
            set.record().name
        ));
        systemd.stop(socket)?;
        for service in value("Triggers").split_whitespace() {
            let shown = systemd.show(service, &["ActiveState"])?;
            if shown.get("ActiveState").is_some_and(|state| state == "inactive") {
                continue;
            }
            systemd.stop(service)?;
            if !set.record().units.contains(service) {
                others.push(service);
            }
        }
        // Only a failed unit can be reset; any other has nothing to forget.
        let _ = systemd.reset_failed(socket);
        systemd.start(socket)?;
        for service in others {
            systemd.start(service)?;
        }
    }
    // Those that the chain itself had stopped for a socket. systemd may have forgotten meanwhile that they are a socket's.
    for (service, _) in before.iter().filter(|(unit, was)| was.active && !set.record().units.contains(*unit)) {
        let shown = systemd.show(service, &["ActiveState"])?;
        if shown.get("ActiveState").is_some_and(|state| state == "inactive") {
            systemd.start(service)?;
        }
    }
    Ok(())
}

/// Whether `path` is the unit file of `unit`, of its template, or a drop-in of either.
fn is_of(path: &Path, unit: &str) -> bool {
    let template =
        unit.split_once('@').zip(unit.rsplit_once('.')).map(|((name, _), (_, kind))| format!("{name}@.{kind}"));
    let names = |name: &std::ffi::OsStr| name == unit || template.as_deref().is_some_and(|template| name == template);
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let of_folder = folder.and_then(|name| name.strip_suffix(".d"));
    path.file_name().is_some_and(names) || of_folder.is_some_and(|name| names(name.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_its_file_its_template_and_the_drop_ins_of_both() {
        let is = |path: &str, unit: &str| is_of(Path::new(path), unit);
        assert!(is("/etc/systemd/system/web.socket", "web.socket"));
        assert!(is("/etc/systemd/system/web.socket.d/00-upswap.conf", "web.socket"));
        assert!(is("/etc/systemd/system/web@.socket", "web@1.2.socket"));
        assert!(is("/etc/systemd/system/web@.socket.d/x.conf", "web@1.socket"));
        assert!(!is("/etc/systemd/system/web.service", "web.socket"));
        assert!(!is("/etc/systemd/system/other@.socket", "web@1.socket"));
        assert!(!is("/usr/local/bin/web", "web.socket"));
    }
}
