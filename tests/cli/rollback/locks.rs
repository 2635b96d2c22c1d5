//! One chain at a time per name.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::host::{Host, told};

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
