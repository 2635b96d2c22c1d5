//! The chain under faults: whatever goes wrong, the old service runs, the disk is as it was, the exit status is the documented
//! one, and one line says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::env::Env;

/// What goes wrong, and how the chain is to end.
struct Fault {
    name: &'static str,
    /// Brings it about. `release NEW` makes a release of the files of v2.0.0 and goes into its folder; `sums` writes its list anew.
    setup: &'static str,
    deed: &'static str,
    /// Takes away what of it would disturb the others.
    undo: &'static str,
    code: i32,
}

/// The exit status of a chain that took back what it had swapped in.
const TAKEN_BACK: i32 = 5;

const fn fault(name: &'static str, setup: &'static str, deed: &'static str, code: i32) -> Fault {
    Fault { name, setup, deed, undo: "", code }
}

/// The faults that are found before anything is changed, in the order of the chain.
fn refused() -> Vec<Fault> {
    let server_down = "GITHUB_API_URL=https://localhost:9 upswap upgrade runed -q --version v2.0.0";
    let to_small = "upswap upgrade runed -q --version v2.0.0 --bin-dir /opt/small";
    let slow_guard = "systemd-run --quiet --unit=slow --property=Type=exec rollback --guard runed -- sleep infinity
        while flock --nonblock /run/upswap/runed.lock true; do sleep 0.01; done";
    vec![
        fault("unknown unit", "", "upswap upgrade runed -q --version v2.0.0 --unit nosuch", 1),
        fault("server down", "", server_down, 75),
        fault("no such release", "", "upswap upgrade runed -q --version v2.9.9", 1),
        fault("no such repository", "", "upswap upgrade runed -q --source gh:runestack/nosuch", 1),
        fault(
            "no asset for this machine",
            "release v2.0.1; rm rune_linux_$goarch.tar.gz",
            "upswap upgrade runed -q --version v2.0.1",
            1,
        ),
        fault(
            "asset cut short on the way",
            "release v2.0.2; touch .rune_linux_$goarch.tar.gz.cut",
            "upswap upgrade runed -q --version v2.0.2",
            75,
        ),
        fault(
            "no checksum list",
            "release v2.0.3; rm checksums.txt*",
            "upswap upgrade runed -q --version v2.0.3 --key ''",
            1,
        ),
        fault(
            "no checksum entry",
            "release v2.0.4; sed -i \"/linux_$goarch/d\" checksums.txt",
            "upswap upgrade runed -q --version v2.0.4 --key ''",
            1,
        ),
        fault(
            "wrong checksum",
            "release v2.0.5; sed -i 's/^......../00000000/' checksums.txt",
            "upswap upgrade runed -q --version v2.0.5 --key ''",
            1,
        ),
        fault(
            "missing signature",
            "release v2.0.6; rm checksums.txt.minisig",
            "upswap upgrade runed -q --version v2.0.6",
            1,
        ),
        fault(
            "signature of another list",
            "release v2.0.7; sums; echo >>checksums.txt",
            "upswap upgrade runed -q --version v2.0.7",
            1,
        ),
        fault(
            "archive cut short by its author",
            "release v2.0.8; truncate -s 100000 rune_linux_$goarch.tar.gz; sums",
            "upswap upgrade runed -q --version v2.0.8 --key ''",
            1,
        ),
        fault(
            "archive without the binary",
            "release v2.0.9; tar -xf *_$goarch.tar.gz rune; tar -czf *_$goarch.tar.gz rune; rm rune; sums",
            "upswap upgrade runed -q --version v2.0.9 --key ''",
            1,
        ),
        fault("needs-newer-glibc", "", "upswap upgrade runed -q --version v7.0.0", 1),
        fault("other-machine", "", "upswap upgrade runed -q --version v8.0.0", 1),
        Fault {
            undo: "systemctl stop slow",
            ..fault("lock held", slow_guard, "upswap upgrade runed -q --version v2.0.0", 75)
        },
        Fault {
            undo: "umount /usr/local/bin",
            ..fault(
                "read-only target",
                "mount --bind /usr/local/bin /usr/local/bin; mount -o remount,bind,ro /usr/local/bin",
                "upswap upgrade runed -q --version v2.0.0",
                3,
            )
        },
        Fault {
            undo: "moved_back; umount /opt/small",
            ..fault("full disk under the binaries", "moved_to /opt/small", to_small, 3)
        },
    ]
}

/// The releases that are found out only when they run.
fn taken_back() -> Vec<Fault> {
    let forget = |fault| Fault { undo: "rm -r /var/lib/upswap/runed /usr/local/bin/.rune*", ..fault };
    // The healthy one has to last as long as the crash takes to come.
    let crash_after = "upswap upgrade runed -q --version v3.0.0 --stable 4s";
    let exit_at_once = "upswap upgrade runed -q --version v4.0.0";
    let never_ready = "upswap upgrade runed -q --version v5.0.0";
    // A service that says that it is another version than the one asked for: a line more in the chain.
    let wrong_version = "
        fetch -q gh:runestack/rune@v6.0.0 --sums checksums.txt |
            verify -q --sums checksums.txt --extract rune,runed --files-from - |
            rollback -q --guard runed -- sh -ec '
                swapbin -q --unit runed.service -t /usr/local/bin --files-from - >/dev/null
                svc-wait -q runed --stable 300ms -- systemctl restart runed
                test \"$(curl -fsS http://127.0.0.1/version)\" = v6.0.0'";
    vec![
        forget(fault("crash-after", "", crash_after, TAKEN_BACK)),
        forget(fault("exit-at-once", "", exit_at_once, TAKEN_BACK)),
        forget(fault("never-ready", "", never_ready, TAKEN_BACK)),
        forget(fault("wrong-version", "", wrong_version, TAKEN_BACK)),
    ]
}

/// What the faults' scripts say in one word, and `listing`: the files, the state, the process, one line each.
const WORDS: &str = r#"
    goarch=$(dpkg --print-architecture)
    release() { cp -r /srv/releases/runestack/rune/v2.0.0 "/srv/releases/runestack/rune/$1"; cd "/srv/releases/runestack/rune/$1"; }
    sums() { sha256sum rune_linux_*.tar.gz >checksums.txt; }
    # The service runs from a disk with room for what is there and a half.
    moved_to() {
        mkdir -p "$1" /run/systemd/system/runed.service.d
        size=$(cat /usr/local/bin/rune /usr/local/bin/runed | wc -c)
        mount -t tmpfs -o mode=0755,size=$((size * 3 / 2)) small "$1"
        cp --preserve=all /usr/local/bin/rune /usr/local/bin/runed "$1"
        printf '[Service]\nExecStart=\nExecStart=%s/runed\n' "$1" >/run/systemd/system/runed.service.d/moved.conf
        systemctl daemon-reload; systemctl restart runed
    }
    moved_back() { rm /run/systemd/system/runed.service.d/moved.conf; systemctl daemon-reload; systemctl restart runed; }
    # A line each: what it is, a tab, how it is.
    listing() {
        roots="/usr/local/bin /etc/systemd/system $(find /var/lib/upswap /opt/small -prune 2>/dev/null || :)"
        # The time of a folder changes with every file that comes and goes: it is the files that are to stay.
        find $roots -type d -printf '%p\tinode %i mode %m owner %U:%G\n' -o -printf '%p\tinode %i mode %m owner %U:%G size %s time %T@ %l\n'
        find $roots -type f -exec sha256sum {} + | sed -E 's/^([0-9a-f]+)  (.*)/\2 (sha256)\t\1/'
        find $roots -type f -exec getcap {} + | sed 's/ / (capabilities)\t/'
        find /tmp -mindepth 1 -maxdepth 1 -name 'tmp.*' -printf '%p\t\n'
        systemctl show --property=ActiveState,InvocationID,MainPID,NRestarts,NeedDaemonReload runed | tr = '\t'
        printf 'inode that runs\t%s\n' "$(stat -Lc %i "/proc/$(systemctl show --property=MainPID --value runed)/exe")"
        printf 'version served\t%s\n' "$(curl -fsS http://127.0.0.1/version)"
        pgrep -l 'fetch|verify|swapbin|rollback|svc-wait|upswap' | grep -vw "^${slow:-0}" | sed 's/$/ still runs\t/' || :
        rollback --list | grep ' on trial ' || :
    }
"#;

/// What one fault did to the host.
struct Seen {
    code: i32,
    stderr: String,
    before: BTreeMap<String, String>,
    after: BTreeMap<String, String>,
}

fn bring_about(host: &Env, fault: &Fault) -> Seen {
    let Fault { setup, deed, undo, .. } = fault;
    let script = format!(
        ". /run/words
        cat >/run/deed <<'DEED'
{deed}
DEED
        cd /
        {setup}
        cd /
        slow=$(systemctl show --property=MainPID --value slow)
        listing >/run/before
        code=0
        sh -eu /run/deed >/run/stdout 2>/run/stderr </dev/null || code=$?
        listing >/run/after
        {undo}
        printf '%s\\036' \"$code\" \"$(cat /run/stderr)\" \"$(cat /run/before)\" \"$(cat /run/after)\""
    );
    let output = host.run(&script).success();
    let parts: Vec<&str> = output.stdout().split('\x1e').collect();
    let [code, stderr, before, after, ""] = parts[..] else { panic!("{}: {output:?}", fault.name) };
    let lines = |text: &str| {
        let pairs = text.lines().map(|line| line.split_once('\t').unwrap_or((line, "")));
        pairs.map(|(what, how)| (what.to_owned(), how.to_owned())).collect()
    };
    Seen {
        code: code.parse().unwrap(),
        stderr: stderr.trim_end().to_owned(),
        before: lines(before),
        after: lines(after),
    }
}

/// What is wrong with how the chain ended; empty when all is as promised.
fn judge(fault: &Fault, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    if seen.code != fault.code {
        wrong.push(format!("exit status {}, not {}", seen.code, fault.code));
    }
    if seen.stderr.lines().count() != 1 {
        wrong.push(format!("{} lines on stderr, not 1:\n{}", seen.stderr.lines().count(), seen.stderr));
    }
    // What was swapped in and taken back leaves its backups, its record, and a service that was restarted.
    let allowed = |what: &str| {
        let started = ["InvocationID", "MainPID"].contains(&what);
        let kept = what.starts_with("/usr/local/bin/.rune") && (what.contains(".upswap-") || what.contains(".bak"));
        fault.code == TAKEN_BACK && (started || kept || what.starts_with("/var/lib/upswap"))
    };
    let all: BTreeSet<&String> = seen.before.keys().chain(seen.after.keys()).collect();
    for what in all.into_iter().filter(|what| !allowed(what)) {
        match (seen.before.get(what), seen.after.get(what)) {
            (Some(before), Some(after)) if before != after => wrong.push(format!("{what}: was {before}, is {after}")),
            (Some(before), None) => wrong.push(format!("{what}: is gone (was {before})")),
            (None, Some(after)) => wrong.push(format!("{what}: is new: {after}")),
            _ => {}
        }
    }
    wrong
}

fn host() -> Env {
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0").with_profile("300ms");
    host.run(&format!("cat >/run/words <<'WORDS'\n{WORDS}WORDS")).success();
    host
}

/// Brings all `faults` about on one host; fails with all that is wrong, and gives the lines that were said.
fn sweep(host: &Env, faults: &[Fault]) -> String {
    let (mut said, mut wrong) = (String::new(), String::new());
    for fault in faults {
        let seen = bring_about(host, fault);
        assert_eq!(seen.before["version served"], "v1.0.0", "{}: the host is not as it should be before", fault.name);
        let _ = writeln!(said, "{}: {}\n  {}", fault.name, seen.code, seen.stderr);
        for line in judge(fault, &seen) {
            let _ = writeln!(wrong, "{}: {line}", fault.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    said
}

/// The lines as any host would say them.
fn snapshot(name: &str, said: &str) {
    insta::with_settings!({
        filters => [
            (r"PID [0-9]+", "PID N"),
            (r"\b[0-9a-f]{64}\b", "DIGEST"),
            (r"key [0-9A-F]+", "key KEY"),
            (r"after [0-9]+ bytes of [0-9]+", "after N bytes of M"),
            (r"up to GLIBC_2\.[0-9]+", "up to GLIBC_2.N"),
            (r"[0-9.]+ m?s after", "T after"),
            (r"(x86_64|aarch64)", "MACHINE"),
            (r"(amd64|arm64)", "ARCH"),
        ],
        omit_expression => true,
    }, { insta::assert_snapshot!(name, said) });
}

#[test]
fn what_can_be_known_before_changes_nothing() {
    let host = host();
    snapshot("refused", &sweep(&host, &refused()));
}

#[test]
fn each_bad_release_leaves_the_old_version_running() {
    let host = host();
    snapshot("taken_back", &sweep(&host, &taken_back()));
}

/// Somebody put a bad program in place by hand, and the upgrade brings another: there is nothing healthy to go back to.
#[test]
fn a_bad_release_over_a_bad_generation_ends_with_4_and_the_command_that_helps() {
    let host = host();
    host.run(
        ". /run/words
        cd \"$(mktemp -d)\"; tar -xf /srv/releases/runestack/rune/v4.0.0/rune_linux_$goarch.tar.gz
        swapbin -q --unverified --name runed --unit runed.service runed /usr/local/bin/runed
        systemctl restart runed || :",
    )
    .success();
    let told = host.run("upswap upgrade runed -q --version v3.0.0 --stable 5s").code(4);
    let mends = "rollback runed --to 1";
    assert!(told.stderr().lines().last().unwrap().ends_with(mends), "{}", told.stderr());
    assert_eq!(told.stderr().lines().count(), 1, "{}", told.stderr());
    host.run(mends).success();
    assert_eq!(host.run("curl -fsS http://127.0.0.1/version").success().stdout(), "v1.0.0");
}

/// The upgrade as it is often written: what it says, leaves and answers must not pass for right.
#[test]
fn copy_and_restart_would_be_found_out() {
    let host = host();
    let copies = "version=$1; cd /tmp
        curl -fsSLO $GITHUB_API_URL/runestack/rune/releases/download/$version/rune_linux_$(dpkg --print-architecture).tar.gz
        tar -x --no-same-owner -f rune_linux_*.tar.gz -C /usr/local/bin
        setcap cap_net_bind_service=+ep /usr/local/bin/runed
        systemctl restart runed";
    host.run(&format!("cat >/opt/copy <<'END'\n{copies}\nEND")).success();
    for (fault, says) in [
        (
            fault("wrong checksum", "", "sh /opt/copy v2.0.0", 1),
            ["exit status 0", "version served: was v1.0.0, is v2.0.0"],
        ),
        (fault("exit-at-once", "", "sh /opt/copy v4.0.0", TAKEN_BACK), ["exit status 1", "ActiveState: was active"]),
    ] {
        let wrong = judge(&fault, &bring_about(&host, &fault));
        for says in says.into_iter().chain(["/usr/local/bin/runed: was", "inode that runs: was"]) {
            assert!(wrong.iter().any(|line| line.starts_with(says)), "{}: {says}: {wrong:#?}", fault.name);
        }
    }
}
