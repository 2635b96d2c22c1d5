//! Sockets that listen, whose they are, and the network they are in (proc(5), `/proc/net`; namespaces(7)).

use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Host;
use super::process::FileId;

/// How long to wait before a full queue of a Unix socket is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// The number by which the kernel knows a socket: what `/proc/PID/fd/N` calls `socket:[NUMBER]`.
pub type Inode = u64;

/// The network that process `pid` is in, when it is not the caller's own.
pub fn other_network(host: &Host, pid: u32) -> io::Result<Option<fs::File>> {
    let theirs = host.path(format!("/proc/{pid}/ns/net"));
    if FileId::of(&theirs)? == FileId::of(&host.path("/proc/thread-self/ns/net"))? {
        return Ok(None);
    }
    fs::File::open(theirs).map(Some)
}

/// Moves the calling thread, and what it starts from now on, into `network`. Needs `CAP_SYS_ADMIN` (setns(2)).
pub fn enter(network: &fs::File) -> io::Result<()> {
    Ok(move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Whether `address` is one of this host's own, as the calling thread's network sees it.
#[must_use]
pub fn is_of_this_host(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // To one of its own addresses the kernel talks from that address itself. Nothing is sent.
    let from = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((address, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    address.is_loopback() || address.is_unspecified() || from() == Some(address)
}

/// The sockets that would get a connection to `to` in the calling thread's network; several share a port with `SO_REUSEPORT`.
pub fn listening_at(host: &Host, to: SocketAddr) -> io::Result<Vec<Inode>> {
    let mut all = Vec::new();
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        match fs::File::open(host.path(table)) {
            Ok(file) => all.extend(listening(BufReader::new(file))?),
            // A kernel without IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound && table.ends_with('6') => {}
            Err(e) => return Err(e),
        }
    }
    Ok(chosen(&all, to))
}

/// Those of `all` that the kernel would choose from for `to`: bound to the address itself, else to all addresses.
fn chosen(all: &[(SocketAddr, Inode)], to: SocketAddr) -> Vec<Inode> {
    let bound_to = |address: IpAddr| -> Vec<Inode> {
        let wanted = SocketAddr::new(address, to.port());
        all.iter().filter(|(at, _)| *at == wanted).map(|(_, inode)| *inode).collect()
    };
    let (itself, any_v6) = (to.ip().to_canonical(), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let mut tried = match itself {
        // 0.0.0.0 as a destination is this host.
        IpAddr::V4(v4) if v4.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into(), IpAddr::V4(v4), any_v6],
        IpAddr::V4(v4) => vec![itself, v4.to_ipv6_mapped().into(), Ipv4Addr::UNSPECIFIED.into(), any_v6],
        IpAddr::V6(v6) if v6.is_unspecified() => vec![Ipv6Addr::LOCALHOST.into(), any_v6],
        IpAddr::V6(_) => vec![itself, any_v6],
    }
    .into_iter();
    tried.by_ref().map(bound_to).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The listening sockets of a table, which stand before all others.
fn listening(table: impl BufRead) -> io::Result<Vec<(SocketAddr, Inode)>> {
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let line = line?;
        let mut fields = line.split_whitespace().skip(1);
        let (at, state, inode) = (fields.next(), fields.nth(1), fields.nth(5));
        if state != Some("0A") {
            break;
        }
        found.extend(at.and_then(address).zip(inode.and_then(|inode| inode.parse().ok())));
    }
    Ok(found)
}

/// An address as the table writes it: words of 32 bits as the machine has them, in hexadecimal digits.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = (0..ip.len()).step_by(8).map(|at| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The sockets that listen by the name `path` in the network of process `pid`, or of the calling thread.
pub fn listening_by_name(host: &Host, pid: Option<u32>, path: &str) -> io::Result<Vec<Inode>> {
    /// `__SO_ACCEPTCON` among a socket's flags.
    const LISTENS: u32 = 0x1_0000;
    let process = pid.map_or("thread-self".to_owned(), |pid| pid.to_string());
    let table = fs::read(host.path(format!("/proc/{process}/net/unix")))?;
    let table = String::from_utf8_lossy(&table);
    let wanted = fs::canonicalize(path).ok();
    let is_wanted = |name: &str| wanted.is_some() && fs::canonicalize(name).ok() == wanted;
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let mut fields = line.splitn(7, ' ').skip(3);
        let (flags, rest) = (fields.next(), fields.nth(2).unwrap_or_default().trim_start());
        // One without a name has no blank behind its number.
        let (inode, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let listens = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok()).is_some_and(|f| f & LISTENS != 0);
        let same = || name == path || name.starts_with('/') && is_wanted(name);
        if listens && same() {
            found.extend(inode.parse::<Inode>().ok());
        }
    }
    Ok(found)
}

/// Which of `inodes` process `pid` has open. A process that has ended has none.
pub fn held_by(host: &Host, pid: u32, inodes: &[Inode]) -> io::Result<Vec<Inode>> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(3);
    let entries = match fs::read_dir(host.path(format!("/proc/{pid}/fd"))) {
        Ok(entries) => entries,
        Err(e) if gone(&e) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut held = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if gone(&e) => break,
            Err(e) => return Err(e),
        };
        let Ok(link) = fs::read_link(entry.path()) else { continue };
        let text = link.as_os_str().to_string_lossy();
        let inode = text.strip_prefix("socket:[").and_then(|text| text.strip_suffix(']')?.parse().ok());
        held.extend(inode.filter(|inode| inodes.contains(inode) && !held.contains(inode)));
        // A server may have a million others.
        if held.len() >= inodes.len() {
            break;
        }
    }
    Ok(held)
}

/// The process that listens where `path`, a Unix socket as of [`connect_unix`], leads to: who called listen(2) (unix(7), `SO_PEERCRED`).
pub fn listener(path: &str, within: Duration) -> io::Result<u32> {
    let stream = connect_unix(path, within)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    Ok(peer.pid.as_raw_nonzero().get().cast_unsigned())
}

/// Some process that has one of `inodes` open: its number, what it is called, and the end of its control group's path.
#[must_use]
pub fn holder(host: &Host, inodes: &[Inode]) -> Option<(u32, String, String)> {
    let entries = fs::read_dir(host.path("/proc")).ok()?;
    let mut pids: Vec<u32> = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    // systemd holds what it hands on; another one is the better answer.
    pids.sort_unstable_by_key(|pid| (*pid == 1, *pid));
    let pid = pids.into_iter().find(|pid| held_by(host, *pid, inodes).is_ok_and(|held| !held.is_empty()))?;
    let text = |name: &str| fs::read_to_string(host.path(format!("/proc/{pid}/{name}"))).unwrap_or_default();
    let group = text("cgroup").lines().last().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    Some((pid, text("comm").trim_end().to_owned(), group))
}

/// Connects to a Unix socket, a path or `@NAME`, within a time: connect(2) itself waits for ever where the queue is full.
pub fn connect_unix(path: &str, within: Duration) -> io::Result<UnixStream> {
    let begun = Instant::now();
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        None => SocketAddrUnix::new(Path::new(path).as_os_str().as_bytes())?,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match connect(&socket, &address) {
            Ok(()) => break,
            Err(Errno::AGAIN | Errno::INTR) if begun.elapsed() < within => thread::sleep(AGAIN),
            Err(Errno::AGAIN | Errno::INTR) => return Err(io::ErrorKind::TimedOut.into()),
            Err(e) => return Err(e.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_listening_socket_is_found_and_its_holder_named() {
        let host = Host::below(Path::new("/"));
        let pid = std::process::id();
        for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(bound) else { continue };
            let port = listener.local_addr().unwrap().port();
            let to: IpAddr = if bound == "[::1]:0" { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            let found = listening_at(&host, SocketAddr::new(to, port)).unwrap();
            assert_eq!(found.len(), 1, "{bound}");
            assert_eq!(held_by(&host, pid, &found).unwrap(), found, "{bound}");
            assert_eq!(holder(&host, &found).unwrap().0, pid, "{bound}");
            drop(listener);
            assert_eq!(listening_at(&host, SocketAddr::new(to, port)).unwrap(), Vec::<Inode>::new(), "{bound}");
            assert_eq!(held_by(&host, pid, &found).unwrap(), Vec::<Inode>::new(), "{bound}");
        }
    }

    #[test]
    fn the_nearest_address_is_chosen() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let all = [(at("0.0.0.0:80"), 1), (at("127.0.0.1:80"), 2), (at("[::]:81"), 3), (at("0.0.0.0:82"), 4)];
        for (to, inodes) in [
            ("127.0.0.1:80", &[2][..]),
            ("10.0.0.1:80", &[1]),
            ("127.0.0.1:81", &[3]),
            ("[::1]:81", &[3]),
            ("[::1]:82", &[]),
        ] {
            assert_eq!(chosen(&all, at(to)), inodes, "{to}");
        }
    }

    #[test]
    fn a_unix_socket_is_found_by_any_path_to_it() {
        let host = Host::below(Path::new("/"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a socket");
        let _listener = UnixListener::bind(&path).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("other")).unwrap();
        for path in [path.clone(), dir.path().join("other/a socket")] {
            let found = listening_by_name(&host, None, path.to_str().unwrap()).unwrap();
            assert_eq!(found.len(), 1, "{}", path.display());
            assert_eq!(held_by(&host, std::process::id(), &found).unwrap(), found);
            connect_unix(path.to_str().unwrap(), Duration::from_secs(60)).unwrap();
        }
        assert_eq!(listening_by_name(&host, None, "/nothing").unwrap(), Vec::<Inode>::new());
    }

    #[test]
    fn addresses_of_this_host_are_told_from_others() {
        assert!(is_of_this_host(Ipv4Addr::new(127, 1, 2, 3).into()));
        assert!(is_of_this_host(Ipv4Addr::UNSPECIFIED.into()));
        assert!(!is_of_this_host(Ipv4Addr::new(192, 0, 2, 1).into()));
    }

    #[test]
    fn garbage_in_a_table_is_passed_over() {
        for bad in ["", "x", "00:1", "0100007F", "0100007F:XYZ", "é00007F:1F90", "0100007F01:1F90"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
