//! fetch, where it writes to and where it asks: full disks, things in the way, folders of others, networks that are not there.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown, symlink};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;

use super::{BODY, Ended, Env, plain, repository, run, serving};
use crate::host::{chmod, needs_root};
use crate::http::{Reply, Server};

/// fetch may hold as much at most while it receives; what is tested is a debug build.
const RESIDENT: u64 = 64 << 20;

/// Runs a command to its end: its exit code, and the most memory it had, in bytes (`VmHWM`, proc(5)).
fn peak(command: &mut std::process::Command) -> (i32, u64) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // It only grows, and the last that is seen counts: before execve(2) it is that of this test.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(peak, |kib| kib << 10);
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code().unwrap_or(-1), peak);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Rows 7, 8 and 10: without end, or with a bomb inside: ended at the cap, in little memory.
#[test]
fn what_has_no_end_is_cut_off_and_takes_no_memory() {
    let chunked = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..200).for_each(|_| bomb.write_all(&zeros).unwrap());
    let bomb = bomb.finish().unwrap();
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
    for (what, reply, code) in [
        ("endless body", Reply::raw(chunked, &chunk).repeat(), 3),
        ("endless headers", Reply::raw("HTTP/1.1 200 X\r\n", "").repeat(), 3),
        ("gzip bomb", Reply::new(200, &bomb).header("Content-Encoding", "gzip"), 0),
    ] {
        let (env, server) = (Env::new(), serving(reply));
        let url = format!("{}/x.bin", server.url());
        let (ended, resident) = peak(&mut plain(env.from(&server).args(["--retry", "0", "--max-size", "100M", &url])));
        assert_eq!(ended, code, "{what}");
        assert!(resident > 1 << 20 && resident < RESIDENT, "{what}: {resident} bytes");
        if code == 0 {
            assert_eq!(fs::read(env.dir().join("x.bin")).unwrap(), bomb, "kept as it came, and never unpacked");
        } else {
            assert_eq!(env.names(), [""; 0], "{what}");
        }
    }
}

#[test]
fn canary_a_client_that_holds_the_body_in_memory_is_caught() {
    let mut hoards = std::process::Command::new("sh");
    let (_, resident) = peak(hoards.args(["-c", "x=$(head -c 90000000 /dev/zero | tr '\\0' x); sleep 0.5"]));
    assert!(resident > RESIDENT, "{resident} bytes");
}

/// Row 4: a connection that is reset in the middle of a body.
#[test]
fn a_reset_connection_is_a_cut_and_no_whole_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.bin", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // What is closed with bytes unread is reset (RFC 1122, section 4.2.2.13).
            let _ = stream.read(&mut [0; 4]);
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\nhalf");
        }
    });
    let env = Env::new();
    let ended = run(env.fetch().args(["--allow-http", "--retry", "0", "--into", "into", &url]));
    assert_eq!((ended.code, ended.stdout.as_str()), (75, ""), "{}", ended.stderr);
    assert_eq!(env.names(), [""; 0]);
}

/// Runs `script` as root in a network and with mounts of its own, `$1` being fetch's path.
fn apart(env: &Env, script: &str) -> Ended {
    needs_root();
    let fetch = env.fetch();
    let mut inside = std::process::Command::new("unshare");
    inside.args(["--mount", "--net", "sh", "-ec", script, "sh"]).arg(fetch.get_program());
    inside.current_dir(env.root.path()).env("UPSWAP_ROOT", env.root.path());
    let output = inside.output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Row 22: a network that swallows everything, one that is not there, a name that nobody knows, a port where nobody listens.
#[test]
fn a_network_that_does_not_answer_is_told_within_the_deadline() {
    for (network, url, says) in [
        ("ip link set lo up; ip route add 203.0.113.0/24 dev lo", "http://203.0.113.9/x.bin", "within 1s"),
        ("true", "http://203.0.113.9/x.bin", "is the network up?"),
        ("true", "http://[2001:db8::1]/x.bin", "is the network up?"),
        ("true", "https://release.invalid/x.bin", "is it right, and is the network up?"),
        ("ip link set lo up", "http://127.0.0.1:9/x.bin", "is the address right, and is the server up?"),
    ] {
        let (env, started) = (Env::new(), Instant::now());
        let script = format!("{network}; exec \"$1\" --allow-http --timeout 1s --retry 0 --into into {url}");
        let ended = apart(&env, &script);
        assert_eq!((ended.code, ended.stdout.as_str()), (75, ""), "{url}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{url}: {}", ended.stderr);
        assert!(started.elapsed() < Duration::from_secs(30), "{url}");
        assert_eq!(env.names(), [""; 0]);
    }
}

/// Row 23: a disk without room, known before or found out.
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        "/sized.bin" => Reply::new(200, vec![b'x'; 1 << 20]).header("ETag", "\"x\""),
        _ => Reply::raw(
            "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1000\r\n".to_owned() + &"x".repeat(0x1000) + "\r\n",
        )
        .repeat(),
    });
    needs_root();
    for (name, says) in [("sized.bin", "no room for 1048576 bytes"), ("endless.bin", "No space left on device")] {
        let env = Env::new();
        fs::create_dir(env.dir()).unwrap();
        let script = format!(
            "mount -t tmpfs -o size=256k none into
            \"$1\" --allow-http --into into {}/{name} || code=$?
            ls -A into; exit ${{code:-0}}",
            server.url()
        );
        let fetch = env.fetch();
        let mut inside = std::process::Command::new("unshare");
        inside.args(["--mount", "sh", "-ec", &script, "sh"]).arg(fetch.get_program());
        let output = inside.current_dir(env.root.path()).env("UPSWAP_ROOT", env.root.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b""[..]), "{name}: {said}");
        assert!(said.contains(says), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// Row 25: something else by the name of the file. Only a regular file is replaced, and what a link points to stays.
#[test]
fn what_is_in_the_way_is_left_alone() {
    let (env, server) = (Env::new(), serving(Reply::new(200, BODY)));
    let (path, url) = (env.dir().join("x.bin"), format!("{}/x.bin", server.url()));
    fs::create_dir(env.dir()).unwrap();
    fs::write(env.root.path().join("precious"), "precious").unwrap();
    let refused = || {
        let ended = run(env.from(&server).arg(&url));
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains("no regular file; remove it"), "{}", ended.stderr);
        assert_eq!(env.names(), ["x.bin"]);
    };
    for target in ["../precious", "/dev/null", "nowhere"] {
        symlink(target, &path).unwrap();
        refused();
        assert_eq!(fs::read_link(&path).unwrap().to_str(), Some(target));
        fs::remove_file(&path).unwrap();
    }
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused();
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused();
    fs::remove_dir(&path).unwrap();
    assert_eq!(fs::read(env.root.path().join("precious")).unwrap(), b"precious");
    assert_eq!(server.seen().len(), 0, "told before anything is fetched");
    fs::write(&path, "an older one").unwrap();
    fs::hard_link(&path, env.root.path().join("older")).unwrap();
    assert_eq!(run(env.from(&server).arg(&url)).code, 0);
    assert_eq!(fs::read(&path).unwrap(), BODY);
    assert_eq!(fs::read(env.root.path().join("older")).unwrap(), b"an older one", "replaced, not written into");
}

/// Row 27: odd addresses are refused, and what may be a secret in them is not said.
#[test]
fn odd_addresses_are_usage_errors_and_tell_no_secret() {
    let long = format!("https://h/{}?SECRET", "x".repeat(8192));
    for url in [
        "-ohttps://h/SECRET",
        "--output=SECRET",
        "https://me:SECRET@h/x",
        "https://me:SECRET@h@h/x",
        "https://h/a\nb?SECRET",
        "https://h/a b?SECRET",
        "https://h\r\nX: y/x?SECRET",
        "https://?SECRET",
        "https:///x?SECRET",
        "https://h:99999/x?SECRET",
        "https://[::1/x?SECRET",
        "https://h/%00x?SECRET",
        "https://h/..?SECRET",
        "https://h/?SECRET",
        "https://h#x?SECRET",
        "ftp://h/x?SECRET",
        &long,
    ] {
        let env = Env::new();
        let ended = run(env.fetch().args(["--retry", "0", "--timeout", "1s", "--into", "into", url]));
        // clap shows an option that it does not know, and nothing else was given there.
        let shown = ended.stderr.contains("SECRET") && !url.starts_with('-');
        assert!(!shown, "{url}: {}", ended.stderr);
        assert!([2, 3].contains(&ended.code), "{url}: {} {}", ended.code, ended.stderr);
        assert_eq!((ended.stdout.as_str(), env.names()), ("", vec![]), "{url}");
    }
}

#[test]
fn a_folder_that_others_can_write_to_is_refused_to_root() {
    needs_root();
    let server = Server::start(repository);
    let fetch = |env: &Env, into: &[&str]| {
        let mut fetch = env.fetch();
        fetch.env("GITHUB_API_URL", server.url()).args(["--allow-http", "--asset", "checksums.txt"]).args(into);
        run(fetch.arg("gh:o/r@v2.0.0"))
    };
    // Below the cache: nobody else may.
    let cache = "var/cache/upswap/fetch/127.0.0.1/o";
    for (mode, owner, code) in [(0o755, 0, 0), (0o777, 0, 3), (0o1777, 0, 0), (0o755, 4711, 3)] {
        let env = Env::new();
        let dir = env.root.path().join(cache);
        fs::create_dir_all(&dir).unwrap();
        chmod(&dir, mode);
        chown(&dir, Some(owner), None).unwrap();
        let ended = fetch(&env, &[]);
        assert_eq!(ended.code, code, "{mode:o} {owner}: {}", ended.stderr);
        assert_eq!(ended.stderr.contains("mend that: ch"), code == 3, "{}", ended.stderr);
    }
    // Where the user says: not where everybody may; where one other may, he is named.
    for (mode, owner, code, says) in [
        (0o755, 0, 0, ""),
        (0o700, 0, 0, ""),
        (0o777, 0, 3, "everybody can write to the folder"),
        (0o1777, 0, 0, ""),
        (0o755, 4711, 0, "belongs to 4711, who can change what is fetched there; verify proves the bytes it takes"),
    ] {
        let env = Env::new();
        fs::create_dir(env.dir()).unwrap();
        chmod(env.dir(), mode);
        chown(env.dir(), Some(owner), None).unwrap();
        let ended = fetch(&env, &["--into", "into"]);
        assert_eq!(ended.code, code, "{mode:o} {owner}: {}", ended.stderr);
        assert!(ended.stderr.contains(says) && ended.stderr.is_empty() == says.is_empty(), "{}", ended.stderr);
        assert_eq!(env.names().len(), if code == 0 { 2 } else { 0 });
    }
}

/// In a folder such as `/tmp` nobody can take a file of ours away, but may have put one of his there before: none of those is
/// taken for ours, written into, or left in the place of ours.
#[test]
fn what_others_planted_in_a_sticky_folder_is_replaced_or_passed_over() {
    needs_root();
    let body = vec![b'x'; 2 << 20];
    let sent = body.clone();
    let server = Server::start(move |_, _| Reply::new(200, &sent).header("ETag", "\"x\""));
    let env = Env::new();
    fs::create_dir(env.dir()).unwrap();
    chmod(env.dir(), 0o1777);
    let fetch = || run(env.from(&server).arg(format!("{}/x.bin", server.url())));
    assert_eq!(fetch().code, 0);
    let (file, record) = (env.dir().join("x.bin"), env.dir().join("x.bin.origin.json"));
    let digest = upswap::words::digest::Digest::of(b"x.bin").to_string();
    let part = env.dir().join(format!(".upswap-part-{}", &digest[..16]));
    let planted = fs::read(&record).unwrap();
    for path in [&file, &record, &part] {
        let _ = fs::remove_file(path);
        fs::write(path, if *path == record { planted.clone() } else { body.clone() }).unwrap();
        chown(path, Some(4711), Some(4711)).unwrap();
    }
    assert_eq!(fetch().code, 0);
    for path in [&file, &record] {
        let meta = fs::metadata(path).unwrap();
        assert_eq!((std::os::unix::fs::MetadataExt::uid(&meta), meta.permissions().mode() & 0o7777), (0, 0o644));
    }
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&part).unwrap()), 4711, "left alone");
    assert_eq!(server.seen().len(), 2);
    assert!(server.seen().iter().all(|seen| !seen.headers.contains_key("range")));
}
