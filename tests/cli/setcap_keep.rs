//! setcap-keep: capabilities survive whatever COMMAND does.

mod explain;
mod restore;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;

use crate::host::{Host, Ran, needs_root, told};

/// `cap_net_bind_service=ep`, and `cap_chown=ip` for the user namespace whose root is user 1000.
const NET_BIND: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const NAMESPACED: [u8; 24] = [0, 0, 0, 3, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe8, 3, 0, 0];

fn caps(path: impl AsRef<Path>) -> Option<Vec<u8>> {
    xattr::get(path, "security.capability").unwrap()
}

/// A host on which `bin/runed` and `bin/rune` have capabilities, and a build without any waits in `src`.
fn with_caps() -> Host {
    needs_root();
    let host = Host::with_runed();
    host.file("bin/rune", "v1");
    host.file("src/runed", "v2");
    xattr::set(host.path("bin/runed"), "security.capability", &NET_BIND).unwrap();
    xattr::set(host.path("bin/rune"), "security.capability", &NAMESPACED).unwrap();
    host
}

fn keeping(host: &Host, path: &str, script: &str) -> Ran {
    host.setcap_keep([path, "--", "sh", "-ec", script])
}

fn saves(host: &Host) -> usize {
    fs::read_dir(host.path("var/lib/upswap/.setcap-keep")).map_or(0, Iterator::count)
}

#[test]
fn help_says_it_all() {
    insta::assert_snapshot!(Host::new().setcap_keep(["--help"]).is(0).stdout);
}

#[test]
fn a_wrong_command_line_is_one_line_and_2() {
    let host = Host::with_runed();
    let mut told = String::new();
    for arguments in [
        &[][..],
        &["bin/runed"],
        &["--", "true"],
        &["--save"],
        &["--save", "bin/runed", "--", "true"],
        &["--restore", "x", "bin/runed"],
        &["--try-restart", "runed", "--save", "bin/runed"],
        &["-n", "--save", "bin/runed"],
    ] {
        let ran = host.setcap_keep(arguments);
        assert_eq!((ran.stderr.lines().count(), ran.stdout.as_str()), (1, ""), "{ran:?}");
        write!(told, "{}\n  {} {}", arguments.join(" "), ran.code, ran.stderr).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn install_cp_and_mv_lose_no_capability() {
    for script in [
        "install -m 755 src/runed bin/runed",
        "cp src/runed bin/runed",
        "cp --remove-destination src/runed bin/runed",
        "mv src/runed bin/runed",
        "rm bin/runed; cp src/runed bin/runed",
        "cat src/runed >bin/runed",
        "cp -p src/runed bin/new; mv -f bin/new bin/runed; setfattr -n user.x -v y bin/runed",
    ] {
        let host = with_caps();
        keeping(&host, "bin/runed", script).is(0).prints("").says("DIR/bin/runed has cap_net_bind_service=ep again");
        assert_eq!(
            (host.text("bin/runed"), caps(host.path("bin/runed"))),
            ("v2".into(), Some(NET_BIND.to_vec())),
            "{script}"
        );
        assert_eq!(saves(&host), 0);
    }
}

#[test]
fn what_command_does_otherwise_is_left_alone_and_its_code_passed_on() {
    let host = with_caps();
    let ran = host.setcap_keep([
        "bin/runed",
        "bin/rune",
        "src/runed",
        "--",
        "sh",
        "-c",
        "install src/runed bin/rune; exit 7",
    ]);
    assert_eq!(ran.is(7).stderr.lines().count(), 1, "only what was lost is said");
    assert_eq!(caps(host.path("bin/rune")), Some(NAMESPACED.to_vec()), "byte for byte, the namespace's root too");
    assert_eq!((caps(host.path("bin/runed")), caps(host.path("src/runed"))), (Some(NET_BIND.to_vec()), None));
    keeping(&host, "bin/runed", "install src/runed bin/runed; kill -9 $$").is(137);
    assert_eq!(caps(host.path("bin/runed")), Some(NET_BIND.to_vec()));
    host.setcap_keep(["bin/runed", "--", "/no/such/tool"]).is(3).says("COMMAND could not be run: /no/such/tool");
    assert_eq!(saves(&host), 0);
}

#[test]
fn a_file_that_is_gone_is_told_and_its_capability_stays_saved() {
    let host = with_caps();
    let ran = host
        .setcap_keep(["bin/runed", "bin/rune", "--", "sh", "-c", "rm bin/runed; cp src/runed bin/x; mv bin/x bin/rune"])
        .is(4);
    ran.says("DIR/bin/runed: it is gone, so its capability can't be kept; put it back with: setcap-keep --restore");
    assert_eq!(caps(host.path("bin/rune")), Some(NAMESPACED.to_vec()), "the others are kept all the same");
    // Another save that is left is put back although this one can't be.
    fs::copy(host.path("src/runed"), host.path("bin/rune")).unwrap();
    let left = format!(
        "# file: {}\nsecurity.capability=0x{}\n",
        host.path("bin/rune").display(),
        "0100000200040000000000000000000000000000"
    );
    host.file("var/lib/upswap/.setcap-keep/9999999-1.save", left);
    host.setcap_keep(["--restore"]).is(4).says("it is gone");
    assert_eq!((caps(host.path("bin/rune")), saves(&host)), (Some(NET_BIND.to_vec()), 1));
    fs::copy(host.path("src/runed"), host.path("bin/runed")).unwrap();
    host.setcap_keep(["--restore"]).is(0).says("DIR/bin/runed has cap_net_bind_service=ep again");
    host.setcap_keep(["--restore"]).is(1).says("no save is left");
}

#[test]
fn a_symlink_means_the_file_it_leads_to() {
    let host = with_caps();
    symlink("runed", host.path("bin/current")).unwrap();
    let ran = keeping(&host, "bin/current", "install src/runed bin/runed").is(0);
    ran.says("bin/current is a symlink to runed; the file it leads to is meant");
    assert_eq!(caps(host.path("bin/runed")), Some(NET_BIND.to_vec()));
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let host = Host::with_runed();
    host.fifo("fifo");
    for path in ["fifo", "bin", "/dev/null"] {
        keeping(&host, path, "touch 'it was run'").is(1).says("not a regular file");
    }
    keeping(&host, "none", "touch 'it was run'").is(3).says("none: it can't be opened");
    host.setcap_keep(["-n", "bin/runed", "--", "touch", "it was run"])
        .is(0)
        .prints("")
        .says("would keep nothing of DIR/bin/runed");
    assert!(!host.path("it was run").exists());
}

#[test]
fn what_is_saved_is_restored_by_us_and_by_setfattr() {
    let host = with_caps();
    let odd = host.path("bin").join(OsStr::from_bytes(b"o\xffdd =\\\n"));
    fs::copy(host.path("src/runed"), &odd).unwrap();
    xattr::set(&odd, "security.capability", &NET_BIND).unwrap();
    let paths = [host.path("bin/runed"), host.path("bin/rune"), host.path("src/runed"), odd];
    let save = host.tool("setcap-keep").arg("--save").args(&paths).output().unwrap().stdout;
    host.file("save", &save);
    let mut dump = Command::new("getfattr");
    dump.args(["--dump", "--absolute-names", "-e", "hex", "-m", "^security.capability$"]).args(&paths);
    let dumped = dump.output().map(|dump| dump.stdout);
    let sets = |path: &Path| caps(path).map(|c| c.len());
    let had = paths.each_ref().map(|path| sets(path));
    let drop_all = || paths.iter().for_each(|path| xattr::remove(path, "security.capability").unwrap_or(()));
    if let Ok(dumped) = dumped {
        host.file("dumped", dumped);
        drop_all();
        host.setcap_keep(["--restore", "dumped"]).is(0);
        assert_eq!(paths.each_ref().map(|path| sets(path)), had);
        drop_all();
        host.ran(Command::new("setfattr").arg("--restore").arg(host.path("save")).current_dir(host.path(""))).is(0);
        assert_eq!(paths.each_ref().map(|path| sets(path)), had);
    }
    drop_all();
    host.ran(
        host.tool("setcap-keep")
            .args(["--restore", "-"])
            .stdin(fs::File::open(host.path("save")).unwrap().into_parts().0),
    )
    .is(0);
    assert_eq!(paths.each_ref().map(|path| sets(path)), had);
    let json = host.setcap_keep(["--json", "--restore", "save"]).is(0).json();
    assert_eq!(json["kept"].as_array().unwrap().len(), 4, "{json:#}");
    host.file("save", "rubbish");
    host.setcap_keep(["--restore", "save"]).is(3).says("save: line 1: not of the form");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into_parts().0;
    host.ran(host.tool("setcap-keep").args(["--save", "bin/runed"]).stdout(full)).is(3).says("standard output");
}

#[test]
fn the_json_answer_says_what_was_put_back() {
    let host = with_caps();
    let arguments = ["--json", "bin/runed", "bin/rune", "src/runed", "--", "install", "src/runed", "bin/runed"];
    insta::assert_snapshot!(host.setcap_keep(arguments).is(0).stdout);
    let mut command = host.tool("setcap-keep");
    command.args(arguments);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into_parts().0;
    host.ran(command.stdout(full)).is(0).says("the work is done");
    assert_eq!(caps(host.path("bin/runed")), Some(NET_BIND.to_vec()));
}

#[test]
fn what_a_killed_run_left_is_put_back_and_a_running_one_is_left_alone() {
    let host = with_caps();
    let mut gate = host.gate("gate");
    let script = "install src/runed bin/runed; echo told; read line <gate";
    let mut run = host.tool("setcap-keep");
    let mut run = run.args(["bin/runed", "--", "sh", "-ec", script]).stdout(Stdio::piped()).spawn().unwrap();
    let (_, mut out) = told(&mut run);
    assert_eq!(caps(host.path("bin/runed")), None);
    host.setcap_keep(["--restore"]).is(1).says("no save is left from an interrupted setcap-keep");
    run.kill().unwrap();
    run.wait().unwrap();
    std::io::Write::write_all(&mut gate, b"\n").unwrap();
    std::io::Read::read_to_end(&mut out, &mut Vec::new()).unwrap();
    host.setcap_keep(["--restore"]).is(0).says("has cap_net_bind_service=ep again");
    assert_eq!((caps(host.path("bin/runed")), saves(&host)), (Some(NET_BIND.to_vec()), 0));
}

#[test]
fn the_unit_is_restarted_when_the_capabilities_are_back_and_only_then() {
    let host = with_caps();
    let with = |script: &str| host.setcap_keep(["bin/runed", "--try-restart", "runed", "--", "sh", "-c", script]);
    with("install src/runed bin/runed").is(0);
    assert_eq!(host.jobs(), ["try-restart -- runed.service"]);
    with("exit 3").is(3);
    with("rm bin/runed").is(4);
    assert_eq!(host.jobs().len(), 1);
}
