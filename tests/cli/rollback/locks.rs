//! One chain at a time per name.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use fs_err as fs;

use crate::host::{Host, needs_root, told};

/// Runs `while_held` while a guard of `runed` has the lock.
fn held(host: &Host, while_held: impl FnOnce()) {
    let mut gate = host.gate("gate");
    let mut guard = host.guard("echo told; read line <gate").stdout(Stdio::piped()).spawn().unwrap();
    let _out = told(&mut guard);
    while_held();
    gate.write_all(b"\n").unwrap();
    assert_eq!(guard.wait().unwrap().code(), Some(0));
}

#[test]
fn a_held_lock_is_75_and_names_its_holder() {
    let host = Host::with_runed();
    host.swapped_in("2");
    host.file("src/runed", "v3");
    held(&host, || {
        for ran in [
            host.swapbin(["src/runed", "bin/runed"]),
            host.swapbin(["-n", "src/runed", "bin/runed"]),
            host.swapbin(["--commit", "runed"]),
            host.rollback(["runed"]),
            host.rollback(["bin/runed"]),
            host.guarded(":"),
        ] {
            insta::allow_duplicates!(insta::assert_snapshot!(ran.is(75).stderr.split_once(": ").unwrap().1));
        }
        host.file("src/other", "o");
        host.swapbin(["src/other", "bin/other"]).is(0);
        host.rollback(["other"]).is(0);
    });
    host.swapbin(["src/runed", "bin/runed"]).is(0);
}

#[test]
fn who_waits_gets_it() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    let mut waiting = None;
    held(&host, || {
        let swapbin =
            host.tool("swapbin").args(["--lock-wait", "1min", "src/runed", "bin/runed"]).stdout(Stdio::null()).spawn();
        waiting = Some(swapbin.unwrap());
    });
    assert_eq!(waiting.unwrap().wait().unwrap().code(), Some(0));
    assert_eq!(host.text("bin/runed"), "v2");
}

#[test]
fn of_eight_guards_one_works() {
    let host = Host::with_runed();
    let (file, mut gate) = (host.stored("runed", "2"), host.gate("gate"));
    let (send, codes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..8 {
            let (send, host, file) = (send.clone(), &host, &file);
            scope.spawn(move || {
                let mut guard = host.guard("swapbin -t bin \"$FILE\"; read line <gate");
                send.send(guard.env("FILE", file).stderr(Stdio::null()).output().unwrap().status.code()).unwrap();
            });
        }
        let first: Vec<_> = codes.iter().take(7).collect();
        assert_eq!(first, [Some(75); 7]);
        gate.write_all(b"\n").unwrap();
        assert_eq!(codes.recv().unwrap(), Some(0));
    });
    assert_eq!((host.text("bin/runed"), host.record()["generations"].as_array().unwrap().len()), ("2".into(), 2));
}

#[test]
fn a_lock_that_did_not_come_down_is_a_usage_error() {
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    let refused = |command: &mut Command| {
        let ran = host.ran(command.args(["-t", "bin"]).arg(&file)).is(2);
        assert!(ran.stderr.contains("not sudo inside the chain"), "{ran:?}");
        ran.stderr
    };
    host.guarded(":").is(0);
    let mut lost = refused(host.tool("swapbin").env("UPSWAP_NAME", "runed"));
    lost += &refused(host.tool("swapbin").env("UPSWAP_NAME", "runed").env("UPSWAP_LOCK_FD", "77"));
    lost += &refused(host.tool("swapbin").env("UPSWAP_NAME", "runed").env("UPSWAP_LOCK_FD", "0"));
    insta::assert_snapshot!(lost);
    let closes = "eval \"exec $UPSWAP_LOCK_FD>&-\"; swapbin -t bin \"$FILE\"";
    host.ran(host.guard(closes).env("FILE", &file)).is(2).says("its descriptor was closed on the way here");
    host.guarded("swapbin --name other -t bin x").is(2).says("so its name is runed");
    host.guarded("swapbin --commit other").is(2).says("this runs under the guard of runed");
    assert_eq!(host.names("bin"), ["runed"]);
}

/// A child that outlives its guard must not join the trial of the next one.
#[test]
fn the_lock_of_a_guard_that_has_ended_is_nobody_s_though_another_has_it() {
    let host = Host::with_runed();
    let (file, mut late) = (host.stored("runed", "2"), host.gate("late"));
    let script = "(read line <late; swapbin -t bin \"$FILE\" 2>err || echo told $?) & :";
    let mut guard = host.guard(script).env("FILE", file).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(guard.wait().unwrap().code(), Some(0));
    held(&host, || {
        late.write_all(b"\n").unwrap();
        assert_eq!(told(&mut guard).0, "2");
    });
    assert_eq!((host.text("bin/runed"), host.text("err").contains("that guard has ended")), ("v1".into(), true));
}

/// Both find that the path is no set's, and both would stage a file under its one name.
#[test]
fn of_two_names_one_gets_a_path() {
    let host = Host::with_runed();
    let sources = ["a", "b"].map(|name| host.file(format!("src/{name}"), name.repeat(8 << 20)));
    for round in 0..8 {
        let path = host.path(format!("bin/runed-{round}"));
        fs::write(&path, "v1").unwrap();
        let start = |(name, source)| {
            let mut swapbin = host.tool("swapbin");
            swapbin.args(["-q", "--name", name, "-T"]).args([source, &path]).stdout(Stdio::null());
            swapbin.stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = ["a", "b"].into_iter().zip(&sources).map(start).collect::<Vec<_>>();
        let both: Vec<_> = both.into_iter().map(|child| host.told(&child.wait_with_output().unwrap())).collect();
        let won = usize::from(both[0].code != 0);
        assert_eq!((both[won].code, both[1 - won].code), (0, 1), "{both:?}");
        assert!(both[1 - won].stderr.contains("a path belongs to one set"), "{both:?}");
        assert!(fs::read(&path).unwrap() == fs::read(&sources[won]).unwrap(), "not what swapbin said: {both:?}");
    }
}

/// Who waits for its own lock meanwhile has asked too early whose the path is.
#[test]
fn a_path_that_another_name_got_during_the_wait_is_refused() {
    let host = Host::with_runed();
    for name in ["bin/x", "src/a", "src/b"] {
        host.file(name, name);
    }
    let mut waiting = None;
    held(&host, || {
        let mut swapbin = host.tool("swapbin");
        swapbin.args(["--name", "runed", "--lock-wait", "10min", "-T", "src/b", "bin/x"]).stdout(Stdio::null());
        let swapbin = swapbin.stderr(Stdio::piped()).spawn().unwrap();
        let waits = || {
            let open = std::fs::read_dir(format!("/proc/{}/fd", swapbin.id())).unwrap();
            open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).any(|file| file.ends_with("runed.lock"))
        };
        while !waits() {
            thread::yield_now();
        }
        host.swapbin(["--name", "a", "-T", "src/a", "bin/x"]).is(0);
        waiting = Some(swapbin);
    });
    let ran = host.told(&waiting.unwrap().wait_with_output().unwrap()).is(1);
    assert!(ran.stderr.contains("it belongs to the set a, not to runed"), "{ran:?}");
    assert_eq!(host.text("bin/x"), "src/a");
}

/// cron and su give a user no `XDG_RUNTIME_DIR`, a session and the user's timers do.
#[test]
fn a_user_has_one_lock_in_every_session() {
    needs_root();
    let host = Host::with_runed();
    let home = host.path("home");
    fs::create_dir_all(home.join("run")).unwrap();
    fs::write(home.join("app"), "v1").unwrap();
    fs::write(home.join("new"), "v2").unwrap();
    for path in [home.clone(), home.join("run"), home.join("app"), home.join("new")] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let script = "swapbin --unverified new app; XDG_RUNTIME_DIR=$HOME/run rollback --pending; grep -q v2 app";
    let mut guard = host.tool("rollback");
    guard.args(["--guard", "app", "--", "sh", "-ec", script]).current_dir(&home);
    guard.env_remove("UPSWAP_ROOT").env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME").env("HOME", &home);
    host.ran(guard.uid(65534).gid(65534)).is(0).says("is at work on its trial; it is left alone");
    assert_eq!(fs::read_to_string(home.join("app")).unwrap(), "v2");
}
