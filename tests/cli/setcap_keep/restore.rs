//! What COMMAND may do to a file, and what may have become of one until a save of it is put back.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fs_err as fs;

use super::{NAMESPACED, NET_BIND, caps, keeping, saves, with_caps};
use crate::host::{Host, Ran, chmod};

/// A save of `bin/runed` and `bin/rune`, and both replaced since.
fn with_save() -> Host {
    let host = with_caps();
    let save = host.setcap_keep(["--save", "bin/runed", "bin/rune"]).is(0).stdout.replace("DIR", "");
    let save =
        save.replace("# file: ", &format!("# file: {}", host.path("").display().to_string().trim_end_matches('/')));
    host.file("save", save);
    for name in ["bin/runed", "bin/rune"] {
        fs::remove_file(host.path(name)).unwrap();
        host.file(name, "v2");
    }
    host
}

fn both(host: &Host) -> [Option<Vec<u8>>; 2] {
    ["bin/runed", "bin/rune"].map(|name| caps(host.path(name)))
}

fn nobody(path: &Path) {
    std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
}

#[test]
fn what_makes_no_file_of_the_path_is_told_with_the_way_out() {
    for (script, why) in [
        ("rm bin/runed", "it is gone"),
        ("mv bin/runed bin/elsewhere", "it is gone"),
        ("rm bin/runed; mkdir bin/runed", "it is not a regular file now"),
        ("rm bin/runed; mkfifo bin/runed", "it is not a regular file now"),
        ("ln -sf nowhere bin/runed", "it is gone"),
        ("ln -sf runed bin/runed", "it can't be opened"),
        ("mv bin bin2", "it is gone"),
        ("chown nobody bin/runed", "it belongs to user 65534 now"),
        ("chmod o+w bin/runed", "others than its owner can write to it (mode 0646)"),
    ] {
        let host = with_caps();
        keeping(&host, "bin/runed", script).is(4).says(why).says("put it back with: setcap-keep --restore DIR/var");
        assert_eq!(saves(&host), 1, "{script}");
    }
}

#[test]
fn what_was_so_before_stays_so() {
    let host = with_caps();
    nobody(&host.path("bin/runed"));
    chmod(host.path("bin/runed"), 0o775);
    xattr::set(host.path("bin/runed"), "security.capability", &NET_BIND).unwrap();
    keeping(&host, "bin/runed", "install -o nobody -m 775 src/runed bin/runed").is(0).says("again");
    // chown(2) takes the capability away.
    keeping(&host, "bin/runed", "chown root bin/runed").is(0).says("again");
    assert_eq!(caps(host.path("bin/runed")), Some(NET_BIND.to_vec()));
}

#[test]
fn a_symlink_that_command_turned_is_followed_and_that_is_said() {
    let host = with_caps();
    symlink("runed", host.path("bin/current")).unwrap();
    keeping(&host, "bin/current", "cp src/runed bin/runed2; ln -sfn runed2 bin/current")
        .is(0)
        .says("DIR/bin/current leads to DIR/bin/runed2 now; that file is meant");
    assert_eq!(["bin/runed2", "bin/runed"].map(|name| caps(host.path(name)).is_some()), [true, true]);
    keeping(&host, "bin/rune", "mv bin/rune bin/rune-2; ln -s rune-2 bin/rune").is(0).says("leads to DIR/bin/rune-2");
    assert_eq!(caps(host.path("bin/rune-2")), Some(NAMESPACED.to_vec()));
}

#[test]
fn two_paths_of_one_file_are_kept_as_two_and_as_one() {
    let host = with_caps();
    fs::hard_link(host.path("bin/runed"), host.path("bin/second")).unwrap();
    let both = |script: &str| host.setcap_keep(["bin/runed", "bin/second", "bin/runed", "--", "sh", "-ec", script]);
    let ran = both("cat src/runed >bin/second").is(0);
    assert_eq!(ran.stderr.lines().count(), 1, "one file gets it once: {ran:?}");
    both("install src/runed bin/second").is(0).says("DIR/bin/second has cap_net_bind_service=ep again");
    assert_eq!(
        ["bin/runed", "bin/second"].map(|name| caps(host.path(name))),
        [Some(NET_BIND.to_vec()), Some(NET_BIND.to_vec())]
    );
}

#[test]
fn what_command_gave_instead_is_said() {
    let host = with_caps();
    keeping(&host, "bin/runed", "setcap cap_chown=p bin/runed")
        .is(0)
        .says("DIR/bin/runed has cap_net_bind_service=ep again, in place of cap_chown=p");
}

#[test]
fn a_signal_to_the_wrapper_goes_to_command_and_the_capabilities_come_back() {
    let host = with_caps();
    keeping(
        &host,
        "bin/runed",
        "trap 'exit 9' TERM; install src/runed bin/runed; kill $PPID; while :; do sleep 0.1; done",
    )
    .is(9)
    .says("again");
    assert_eq!((caps(host.path("bin/runed")), saves(&host)), (Some(NET_BIND.to_vec()), 0));
}

#[test]
fn nothing_is_run_where_nothing_can_be_saved() {
    let host = with_caps();
    fs::create_dir_all(host.path("var/lib")).unwrap();
    host.file("var/lib/upswap", "a file");
    keeping(&host, "bin/runed", "touch 'it was run'").is(3).says("can't be written");
    assert!(!host.path("it was run").exists());
}

#[test]
fn a_save_is_put_back_as_a_whole() {
    let host = with_save();
    let json = host.setcap_keep(["--json", "--restore", "save"]).is(0).json();
    assert_eq!(both(&host), [Some(NET_BIND.to_vec()), Some(NAMESPACED.to_vec())]);
    assert_eq!(json["kept"][1]["restored"], true);
    let json = host.setcap_keep(["--json", "--restore", "save"]).is(0).json();
    assert_eq!(json["kept"][1]["restored"], false, "a second time there is nothing to do");
}

/// Whatever is wrong with the second file or the save: the first gets nothing.
#[test]
fn an_old_save_is_put_back_whole_or_not_at_all() {
    let refuses = |deed: &dyn Fn(&Host), why: &str| {
        let host = with_save();
        deed(&host);
        let ran: Ran = host.setcap_keep(["--restore", "save"]);
        assert!([1, 3].contains(&ran.code) && ran.stderr.contains(why), "{why}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert_eq!(caps(host.path("bin/runed")), None, "{why}");
    };
    let rune = |host: &Host| host.path("bin/rune");
    refuses(&|host| fs::remove_file(rune(host)).unwrap(), "DIR/bin/rune: it is gone");
    refuses(&|host| nobody(&rune(host)), "DIR/bin/rune: it belongs to user 65534 now, so it gets no capability");
    refuses(&|host| chmod(rune(host), 0o775), "others than its owner can write to it (mode 0775)");
    refuses(
        &|host| {
            fs::remove_file(rune(host)).unwrap();
            host.fifo("bin/rune");
        },
        "not a regular file now",
    );
    let by_link = |make: &dyn Fn(&Host)| {
        refuses(
            &|host| {
                fs::remove_file(rune(host)).unwrap();
                host.file("src/shell", "sh");
                make(host);
                nobody(&host.path("bin"));
            },
            "it is a link in DIR/bin, where others than root can make links",
        );
    };
    by_link(&|host| symlink("../src/shell", rune(host)).unwrap());
    by_link(&|host| fs::hard_link(host.path("src/shell"), rune(host)).unwrap());
    let text = |host: &Host| host.text("save");
    refuses(&|host| drop(host.file("save", text(host).replace("=0x", "=0s"))), "line 2: not of the form");
    refuses(&|host| drop(host.file("save", &text(host)[..text(host).len() - 3])), "save: line 5: not of the form");
    refuses(
        &|host| drop(host.file("save", text(host).replace("e8030000\n", "e80300\n"))),
        "line 5: not a security.capability attribute",
    );
    refuses(&|host| drop(host.file("save", "")), "save: it holds no file");
    refuses(&|host| drop(host.file("save", [0; 4096])), "save: line 1: not of the form");
    refuses(&|host| fs::remove_file(host.path("save")).unwrap(), "save can't be read");
}

/// The canary of the test above: a restore that does not look first, as setfattr(1) does it, gives the first its capability.
#[test]
fn a_restore_that_does_not_look_first_is_found() {
    let host = with_save();
    fs::remove_file(host.path("bin/rune")).unwrap();
    let restored = Command::new("setfattr").arg("--restore").arg(host.path("save")).current_dir(host.path("")).status();
    assert!(!restored.expect("setfattr is there: scripts/deps test installs it").success());
    assert_eq!(caps(host.path("bin/runed")), Some(NET_BIND.to_vec()));
}

#[test]
fn what_an_interrupted_run_left_is_not_half_put_back_either() {
    let host = with_save();
    let left = "var/lib/upswap/.setcap-keep/77-1.save";
    fs::create_dir_all(host.path(left).parent().unwrap()).unwrap();
    fs::rename(host.path("save"), host.path(left)).unwrap();
    fs::remove_file(host.path("bin/rune")).unwrap();
    let told = host.setcap_keep(["--restore"]).is(1).says("take its lines out of it to put back the others");
    assert!(
        told.stderr.trim_end().ends_with("setcap-keep --restore DIR/var/lib/upswap/.setcap-keep/77-1.save"),
        "{told:?}"
    );
    assert_eq!((caps(host.path("bin/runed")), saves(&host)), (None, 1));
    host.file("bin/rune", "v3");
    host.setcap_keep(["--restore"]).is(0);
    assert_eq!((both(&host), saves(&host)), ([Some(NET_BIND.to_vec()), Some(NAMESPACED.to_vec())], 0));
}

/// `$STATE_DIRECTORY` is the service's own where `ExecStartPre=+` runs this with all rights.
#[test]
fn a_save_that_a_service_wrote_is_not_believed() {
    let host = with_caps();
    let runed = host.path("bin/runed").display().to_string();
    let had = caps(&runed);
    let state = host.path("service/upswap");
    fs::create_dir_all(state.join(".setcap-keep")).unwrap();
    let evil = "0100000200002000000000000000000000000000";
    let save = state.join(".setcap-keep/1-1.save");
    fs::write(&save, format!("# file: {runed}\nsecurity.capability=0x{evil}\n\n")).unwrap();
    for path in [&state, &state.join(".setcap-keep"), &save] {
        nobody(path);
    }
    for arguments in [&["bin/runed", "--", "true"][..], &["--restore"]] {
        let mut command = host.tool("setcap-keep");
        command.args(arguments).env("STATE_DIRECTORY", &state);
        host.ran(&mut command).is(3).says("so nothing in it can be believed");
        assert_eq!(caps(&runed), had);
    }
}
