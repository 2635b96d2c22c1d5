//! Who answers: the listening socket must be one of the unit's own, and is looked for in the network where the unit is.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::Target;
use crate::sys::process;
use crate::sys::sockets::{self, Inode};
use crate::words::proof::{Http, Probe};
use crate::words::verdict::Name;
use crate::words::verdict::fold::Probed;

/// What to do where something of another unit is meant to answer.
const ADVICE: &str = "if a proxy in front of it is meant to, say --via-proxy";

/// How long a Unix socket that has just answered is given to do so again.
const ANSWER: Duration = Duration::from_secs(1);

/// What a probe connects to.
enum Place<'a> {
    /// A host with a port.
    Host(&'a str, u16),
    /// A Unix socket.
    Unix(&'a str),
}

/// Moves the calling thread to where `probe` is to be asked: a loopback address means the service's own loopback, unless it
/// has been handed a socket that listens there in ours.
pub(super) fn enter_network(target: &Target, probe: &Probe) -> Result<(), Probed> {
    let Some(pid) = process_of_its_network(target, probe) else { return Ok(()) };
    let entered = match sockets::other_network(&target.host, pid) {
        Ok(Some(_)) if is_handed_ours(target, probe) => Ok(()),
        Ok(Some(network)) => sockets::enter(&network),
        Ok(None) => Ok(()),
        Err(e) => Err(e),
    };
    entered.map_err(|e| {
        if e.kind() == io::ErrorKind::NotFound {
            return Probed::Wrong(format!("{probe}: process {pid} has ended"));
        }
        let text = format!("{probe}: the network of process {pid} can't be entered: {e}; run as root");
        Probed::Unproven(Name::Unreadable, text)
    })
}

/// Whether the unit has a socket that listens at the place of `probe` in the calling thread's network.
fn is_handed_ours(target: &Target, probe: &Probe) -> bool {
    let listening = place(probe).and_then(|place| listening(target, &place).ok()?).unwrap_or_default();
    let members = members(target, target.group.as_deref().unwrap_or_default());
    members.into_iter().any(|pid| sockets::held_by(&target.host, pid, &listening).is_ok_and(|held| !held.is_empty()))
}

/// Whether [`enter_network`] leads elsewhere.
pub(super) fn is_in_another_network(target: &Target, probe: &Probe) -> bool {
    let process = process_of_its_network(target, probe);
    process.is_some_and(|pid| matches!(sockets::other_network(&target.host, pid), Ok(Some(_))))
        && !is_handed_ours(target, probe)
}

/// A process of the unit, when it depends on the network where `probe` leads to.
fn process_of_its_network(target: &Target, probe: &Probe) -> Option<u32> {
    let depends = match place(probe)? {
        Place::Host(host, _) => is_loopback(host),
        Place::Unix(path) => path.starts_with('@'),
    };
    some_process(target).filter(|_| depends)
}

/// Whether the one that answered `probe`, `rightly` or not, belongs to the unit; called where [`enter_network`] leads to.
pub(super) fn prove(target: &Target, probe: &Probe, rightly: bool) -> Probed {
    let (Some(group), Some(place)) = (&target.group, place(probe)) else { return Probed::Answered };
    let unreadable = |what: String, e: io::Error| {
        let advice = "run as root, or say --via-proxy to prove nothing about who listens";
        Probed::Unproven(Name::Unreadable, format!("{probe}: {what}: {e}; {advice}"))
    };
    let listening = match listening(target, &place) {
        // What is refused has no listener.
        Ok(Some(listening)) if listening.is_empty() && !rightly => return Probed::Answered,
        Ok(Some(listening)) => listening,
        // Another host's.
        Ok(None) => return Probed::Answered,
        Err(e) => return unreadable("who listens can't be read".into(), e),
    };
    if connects_only(probe) && is_held_by_systemd(target, &listening) {
        return Probed::Unproven(Name::NotProvable, backlog(probe));
    }
    let mut wanted = listening.clone();
    for pid in members(target, group) {
        match sockets::held_by(&target.host, pid, &listening) {
            Ok(held) => wanted.retain(|inode| !held.contains(inode)),
            Err(e) => return unreadable(format!("the descriptors of process {pid}"), e),
        }
        if wanted.is_empty() && !listening.is_empty() {
            return Probed::Answered;
        }
    }
    if let Place::Unix(path) = place
        && is_accepted_by(target, group, path, &listening)
    {
        return Probed::Answered;
    }
    let who = match sockets::holder(&target.host, &wanted) {
        Some((pid, name, group)) => format!("process {pid} ({name}) of {group} listens there, none of this unit"),
        None if listening.is_empty() => "no socket of this host listens there, so something else answers".to_owned(),
        None => "none of this unit's processes listens there".to_owned(),
    };
    Probed::Unproven(Name::WrongListener, format!("{probe}: it is answered, but {who}; {ADVICE}"))
}

/// Whether the one that listens at `path` is of the unit by the kernel's own word. Several have the same name in its table where
/// the socket was bound anew, or in a container's folder, or where a file has the name of an abstract one.
fn is_accepted_by(target: &Target, group: &str, path: &str, listening: &[Inode]) -> bool {
    let Ok(pid) = sockets::listener(path, ANSWER) else { return false };
    members(target, group).contains(&pid)
        && sockets::held_by(&target.host, pid, listening).is_ok_and(|held| !held.is_empty())
}

/// Why `probe` proves nothing of the unit: systemd listens for it, and a connection waits there whether the service lives or not.
pub(super) fn is_systemd(target: &Target, probe: &Probe) -> Option<String> {
    let place = place(probe).filter(|_| target.group.is_some() && connects_only(probe))?;
    // What is of another network is found out there, when it is asked.
    if is_in_another_network(target, probe) {
        return None;
    }
    let listening = listening(target, &place).ok()??;
    is_held_by_systemd(target, &listening).then(|| backlog(probe))
}

fn backlog(probe: &Probe) -> String {
    format!(
        "{probe}: systemd itself listens there (a .socket unit), so a connection is accepted whether the service lives or not; ask it by --http, --exec or --version-from"
    )
}

fn is_held_by_systemd(target: &Target, listening: &[Inode]) -> bool {
    sockets::held_by(&target.host, 1, listening).is_ok_and(|held| !held.is_empty())
}

/// A probe that is content with a connection.
fn connects_only(probe: &Probe) -> bool {
    matches!(probe, Probe::Tcp(_) | Probe::Unix(_))
}

/// The sockets that listen at `place`; `None` when it is on another host.
fn listening(target: &Target, place: &Place) -> io::Result<Option<Vec<Inode>>> {
    let (host, port) = match place {
        Place::Unix(path) => {
            // The table is of one network, the file is of all of them.
            let mut found = sockets::listening_by_name(&target.host, some_process(target), path)?;
            if found.is_empty() {
                found = sockets::listening_by_name(&target.host, None, path)?;
            }
            return Ok(Some(found));
        }
        Place::Host(host, port) => (*host, *port),
    };
    let mut is_here = false;
    for at in (host, port).to_socket_addrs()? {
        if !sockets::is_of_this_host(at.ip()) {
            continue;
        }
        is_here = true;
        // Where a name has several addresses, the first one that somebody listens at has answered.
        let found = sockets::listening_at(&target.host, SocketAddr::new(at.ip(), port))?;
        if !found.is_empty() {
            return Ok(Some(found));
        }
    }
    Ok(is_here.then(Vec::new))
}

/// The processes of the unit, its main process first.
fn members(target: &Target, group: &str) -> Vec<u32> {
    let mut pids: Vec<u32> = target.pid.into_iter().collect();
    if !group.is_empty() {
        let others = process::of_cgroup(&target.host, group).ok().flatten().unwrap_or_default();
        pids.extend(others.into_iter().filter(|pid| Some(*pid) != target.pid));
    }
    pids
}

fn some_process(target: &Target) -> Option<u32> {
    target.pid.or_else(|| members(target, target.group.as_deref().unwrap_or_default()).first().copied())
}

fn place(probe: &Probe) -> Option<Place<'_>> {
    match probe {
        Probe::Http(http) => of_url(http),
        Probe::Tcp(address) => {
            let (host, port) = address.rsplit_once(':')?;
            Some(Place::Host(bare(host), port.parse().ok()?))
        }
        Probe::Unix(path) => Some(Place::Unix(path)),
        Probe::Exec(_) => None,
        Probe::Version { asked, .. } => place(asked),
    }
}

fn of_url(http: &Http) -> Option<Place<'_>> {
    if let Some((path, _)) = http.unix() {
        return path.to_str().map(Place::Unix);
    }
    let (scheme, rest) = http.url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end)?.rsplit('@').next()?;
    let usual = if scheme == "https" { 443 } else { 80 };
    match authority.rsplit_once(':') {
        // A colon inside of [::1] is none.
        Some((host, port)) if !port.ends_with(']') => Some(Place::Host(bare(host), port.parse().ok()?)),
        _ => Some(Place::Host(bare(authority), usual)),
    }
}

/// An address without the brackets of IPv6.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let ip = host.parse::<IpAddr>().map(|ip| ip.to_canonical());
    name == "localhost" || name.ends_with(".localhost") || ip.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_url_is_its_host_and_port() {
        let of = |url: &str| {
            let http = Http { url: url.into(), ..Http::default() };
            match of_url(&http) {
                Some(Place::Host(host, port)) => format!("{host} {port}"),
                Some(Place::Unix(path)) => path.to_owned(),
                None => "none".to_owned(),
            }
        };
        for (url, place) in [
            ("http://h/x:1", "h 80"),
            ("https://h", "h 443"),
            ("http://h:81?x", "h 81"),
            ("http://[::1]/", "::1 80"),
            ("http://[::1]:8080/", "::1 8080"),
            ("http://me:secret@h:82/", "h 82"),
            ("http://unix:/run/x:/y", "/run/x"),
            ("http://h:nonsense/", "none"),
        ] {
            assert_eq!(of(url), place, "{url}");
        }
    }

    #[test]
    fn loopback_is_told_from_other_hosts() {
        for (host, is) in [
            ("127.0.0.2", true),
            ("::1", true),
            ("LocalHost.", true),
            ("a.localhost", true),
            ("0.0.0.0", true),
            ("h", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(host), is, "{host}");
        }
    }
}
