//! The chain on a host: the pipeline of the README, `upswap upgrade`, good releases and bad ones, and the way back.

use crate::env::Env;
use crate::material;

/// A host that runs `tag`, with the tools, and a profile that says all that `upswap upgrade runed` needs.
fn host_that_runs(tag: &str) -> Env {
    Env::boot().with_tools().with_releases().with_rune(tag).with_profile("4s")
}

/// The chain as the README has it.
fn pipeline() -> String {
    let readme = fs_err::read_to_string(material::project().join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let found: Vec<_> = blocks.filter(|block| block.contains("rollback --guard")).collect();
    assert_eq!(found.len(), 1, "the README shows the chain once");
    found[0].to_owned()
}

fn version_served(host: &Env) -> String {
    host.run("curl -fsS http://127.0.0.1/version").success().stdout().to_owned()
}

/// Everything about the installed files that a user could miss: content, owner, mode, capability; and the process that runs.
fn state_of(host: &Env) -> String {
    host.run(
        "cd /usr/local/bin
        stat -c '%n %i %a %u:%g %s' rune runed /etc/systemd/system/runed.service
        getcap rune runed
        systemctl show --property=MainPID,InvocationID,NRestarts,NeedDaemonReload runed",
    )
    .success()
    .stdout()
    .to_owned()
}

#[test]
fn the_pipeline_of_the_readme_works_as_written_in_a_provisioning_script() {
    let host = Env::boot().with_tools().with_releases().with_rune("v0.0.1-dev.44");
    let capability = host.run("setcap-keep --save /usr/local/bin/runed").success();
    host.run(&format!("cat >/root/provision.sh <<'END'\n#!/bin/sh\nset -eu\n{}END\nsh /root/provision.sh", pipeline()))
        .success();
    assert_eq!(version_served(&host), "v0.0.1-dev.45");
    let now = host.run("setcap-keep --save /usr/local/bin/runed").success();
    assert_eq!(now.stdout(), capability.stdout());
    let list = host.run("rollback --list runed").success();
    assert!(list.stdout().contains("* 2           v0.0.1-dev.45  proven"), "{}", list.stdout());
    // Both binaries are one change, with the old ones beside them.
    host.run("rune --version | grep -q dev.45; /usr/local/bin/.rune.bak --version | grep -q dev.44").success();
    host.run("rollback runed").success();
    assert_eq!(version_served(&host), "v0.0.1-dev.44");
}

#[test]
fn a_release_that_crashes_after_3_s_in_the_pipeline_goes_back_and_exits_5() {
    let host = host_that_runs("v1.0.0");
    let before = host.run("stat -c %i /usr/local/bin/rune /usr/local/bin/runed; getcap /usr/local/bin/runed").success();
    let bad = pipeline().replace("@v0.0.1-dev.45", "@v3.0.0");
    let output = host.run(&bad).code(5);
    assert!(output.stderr().contains("crashed: exit status 1"), "{}", output.stderr());
    assert!(output.stderr().contains("fatal: lost the leader"), "its journal is shown: {}", output.stderr());
    assert_eq!(version_served(&host), "v1.0.0");
    let after = host.run("stat -c %i /usr/local/bin/rune /usr/local/bin/runed; getcap /usr/local/bin/runed").success();
    assert_eq!(after.stdout(), before.stdout(), "the old inodes are back");
    let list = host.run("rollback --list runed").success();
    assert!(list.stdout().contains("unhealthy"), "{}", list.stdout());
}

#[test]
fn an_upgrade_by_profile_there_again_and_back() {
    let host = host_that_runs("v1.0.0");
    let before = state_of(&host);
    assert!(host.run("upswap upgrade runed --version v9").code(1).stderr().contains("--pre"));
    assert!(host.run("upswap upgrade runed --version v9 --pre --plan").success().stderr().contains("would restart"));
    let plan = host.run("upswap upgrade runed --version v2.0.0 --plan").success();
    assert!(plan.stderr().contains("would restart runed.service"), "{}", plan.stderr());
    assert_eq!(state_of(&host), before, "a plan changes nothing");

    host.run("upswap upgrade runed --version v2.0.0").success();
    assert_eq!(version_served(&host), "v2.0.0");
    host.run("test \"$(getcap /usr/local/bin/runed)\" = '/usr/local/bin/runed cap_net_bind_service=ep'").success();

    let upgraded = state_of(&host);
    let again = host.run("upswap upgrade runed --version v2").success();
    assert!(again.stderr().contains("nothing was restarted"), "{}", again.stderr());
    assert_eq!(state_of(&host), upgraded);

    // The file is right and the process is not: the one case in which a restart without a change is right.
    host.run(
        "cp --preserve=all /usr/local/bin/runed /usr/local/bin/.again && mv /usr/local/bin/.again /usr/local/bin/runed",
    )
    .success();
    let restarted = host.run("upswap upgrade runed --version v2").success();
    assert!(restarted.stderr().contains("not what runs healthily; restarting"), "{}", restarted.stderr());

    // Nothing to swap, so nothing to take back: a restart that does not help is told as the change that it is.
    let unhealthy =
        "upswap upgrade runed --version v2 --stable 0 --timeout 1s --probes '--http http://127.0.0.1/nothing'";
    let told = host.run(unhealthy).code(4);
    assert!(told.stderr().contains("take the version before: rollback runed"), "{}", told.stderr());

    host.run("rollback runed --to 1").success();
    assert_eq!(version_served(&host), "v1.0.0");
    assert!(host.run("rollback runed").code(1).stderr().contains("rollback runed --to N, one of: "));
    host.run("rollback runed --to v2.0.0").success();
    assert_eq!(version_served(&host), "v2.0.0");

    // What is kept may come back; nothing older is taken from a source until root says so.
    let floor = "/var/lib/upswap/runed/floor";
    let older = host.run("upswap upgrade runed --version v1.0.0").code(1);
    assert!(older.stderr().contains(&format!("lower the floor: echo VERSION >{floor}")), "{}", older.stderr());
    assert_eq!(version_served(&host), "v2.0.0");
    host.run(&format!("echo v1.0.0 >{floor}; upswap upgrade runed --version v1.0.0")).success();
    assert_eq!(version_served(&host), "v1.0.0");
}

#[test]
fn a_refreshed_unit_comes_and_goes_with_its_binaries() {
    let host = host_that_runs("v1.0.0");
    let limit =
        |host: &Env| host.run("systemctl show --property=LimitNOFILE --value runed").success().stdout().to_owned();
    let output = host.run("upswap upgrade runed --version v2.0.0 --refresh-unit").success();
    assert!(output.stderr().contains("LimitNOFILE=8192"), "the difference is shown: {}", output.stderr());
    assert_eq!((limit(&host).as_str(), version_served(&host).as_str()), ("8192", "v2.0.0"));

    let before = host.run("sha256sum /etc/systemd/system/runed.service /usr/local/bin/rune*").success();
    let output = host.run("upswap upgrade runed --version v3.0.0 --refresh-unit").code(5);
    assert!(output.stderr().contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"), "{}", output.stderr());
    let after = host.run("sha256sum /etc/systemd/system/runed.service /usr/local/bin/rune*").success();
    assert_eq!(after.stdout(), before.stdout());
    let unit = host.run("systemctl show --property=NeedDaemonReload,AmbientCapabilities runed").success();
    assert_eq!(unit.stdout(), "AmbientCapabilities=\nNeedDaemonReload=no");
    assert_eq!((limit(&host).as_str(), version_served(&host).as_str()), ("8192", "v2.0.0"));

    // An edit that the new unit does not have is never lost unasked.
    let edited = "grep -q Environment=RUST_LOG=debug /etc/systemd/system/runed.service";
    host.run(
        "sed -i '/^User=/i Environment=RUST_LOG=debug' /etc/systemd/system/runed.service; systemctl daemon-reload",
    )
    .success();
    let refused = host.run("upswap upgrade runed --version v2.0.0 --refresh-unit").code(1);
    assert!(refused.stderr().contains("LOSES    [Service] Environment=RUST_LOG=debug"), "{}", refused.stderr());
    host.run(edited).success();
    host.run("upswap upgrade runed --version v2.0.0 --refresh-unit --accept-loss --keep 9").success();
    host.run(edited).code(1);

    host.run("rollback runed --to v1.0.0").code(1);
    host.run("rollback runed --to 1").success();
    assert_eq!(version_served(&host), "v1.0.0");
    assert_ne!(limit(&host), "8192", "the unit went back too");
}

#[test]
fn the_flags_of_an_upgrade_do_what_they_say() {
    let host = host_that_runs("v1.0.0");
    let output = host.run("upswap upgrade runed --version v2.0.0 --skip-restart").success();
    assert!(output.stderr().contains("what runs is the old version until: systemctl restart runed.service"));
    assert_eq!(version_served(&host), "v1.0.0");
    host.run("runed --version | grep -q v2.0.0; systemctl restart runed").success();
    assert_eq!(version_served(&host), "v2.0.0");

    // Without its capability it can't bind port 80, and its drop-in gives it none: it goes back.
    host.run("upswap upgrade runed --version v1.0.0 --skip-caps").code(5);
    assert_eq!(version_served(&host), "v2.0.0");
    host.run(
        "printf '[Service]\\nAmbientCapabilities=CAP_NET_BIND_SERVICE\\n' >/etc/systemd/system/runed.service.d/ambient.conf
        systemctl daemon-reload
        upswap upgrade runed --version v1.0.0 --retry-failed --skip-caps --no-keep-backup
        test -z \"$(getcap /usr/local/bin/runed)\"
        test \"$(ls -A /usr/local/bin | grep '^\\.')\" = ''",
    )
    .success();
    assert_eq!(version_served(&host), "v1.0.0");

    host.run(
        "cp /etc/systemd/system/runed.service /etc/systemd/system/other.service
        upswap upgrade runed --version v2.0.0 --skip-caps --refresh-unit --unit-path /etc/systemd/system/other.service
        grep -q LimitNOFILE /etc/systemd/system/other.service
        ! grep -q LimitNOFILE /etc/systemd/system/runed.service",
    )
    .success();
    assert!(host.run("upswap upgrade runed --unit nothing.service").code(1).stderr().contains("it is not-found here"));
    for (option, says) in [("--probes '--htpp x'", "--htpp"), ("--stable 4parsecs", "parsecs"), ("--keep many", "many")]
    {
        let refused = host.run(&format!("upswap upgrade runed --version v3.0.0 {option}")).code(2);
        assert!(refused.stderr().contains(says), "{}", refused.stderr());
    }
    host.run("setpriv --reuid=65534 --regid=65534 --clear-groups upswap upgrade runed").code(3);
    for unit in ["run*", "runed@", "--now", "../runed"] {
        let refused = host.run(&format!("upswap upgrade runed --unit '{unit}'")).code(2);
        assert!(refused.stderr().contains("is not one unit"), "{}", refused.stderr());
    }
    // getopt(3) stops at the first operand then, and so does systemctl.
    host.run("export POSIXLY_CORRECT=1; svc-wait runed --stable 0; upswap upgrade runed --version v2.0.0 --plan")
        .success();
    assert!(host.run("upswap upgrade --guarded").code(2).stderr().contains("upswap upgrade --help"));
    assert!(host.run("upswap upgrade runed --frobnicate").code(2).stderr().contains("--frobnicate"));
    assert!(host.run("upswap upgrade unknown").code(2).stderr().contains("/etc/upswap/unknown.conf"));
}

#[test]
fn a_profile_that_could_do_harm_is_refused() {
    let host = host_that_runs("v1.0.0");
    for (line, says) in [
        ("SOURCE=$(touch /tmp/harm)", "line 7"),
        ("PATH=/tmp", "line 7"),
        ("STABLE=1s; touch /tmp/harm", "line 7"),
        ("PROBES=--http http://127.0.0.1/", "line 7"),
        ("touch /tmp/harm", "line 7"),
    ] {
        let script = format!(
            "cp /etc/upswap/runed.conf /etc/upswap/bad.conf; echo '{line}' >>/etc/upswap/bad.conf; upswap upgrade runed --profile /etc/upswap/bad.conf"
        );
        let refused = host.run(&script).code(2);
        assert!(refused.stderr().contains(says), "{line}: {}", refused.stderr());
    }
    host.run("chmod o+w /etc/upswap/runed.conf; upswap upgrade runed").code(2);
    host.run("test ! -e /tmp/harm").success();
}

#[test]
fn a_chain_that_is_killed_is_settled_by_the_next_one() {
    let host = host_that_runs("v1.0.0");
    let before = state_of(&host);
    // Killed between the swap and the wait: new files, old process.
    host.run(
        "fetch gh:runestack/rune@v3.0.0 --sums checksums.txt | verify --sums checksums.txt --extract rune,runed --files-from - >/run/files
        rollback --guard runed -- sh -ec '
            swapbin --unit runed.service -t /usr/local/bin --files-from /run/files
            kill -9 $PPID' || test $? -eq 137
        # What the guard ran outlives it for a moment, and so does the lock.
        flock --timeout 10 /run/upswap/runed.lock true
        rollback --list runed | grep -q \"its chain is gone: rollback runed\"
        rollback --pending",
    )
    .success();
    assert_eq!(state_of(&host), before, "the files are back and the service was never touched");
    assert_eq!(version_served(&host), "v1.0.0");
}

#[test]
fn an_end_in_the_middle_is_told_by_the_exit_status() {
    let host = host_that_runs("v1.0.0");
    // The new version answers: svc-wait watches it for four seconds from then on.
    let runs = "while ! curl -fsS http://127.0.0.1/version | grep -q v2.0.0; do sleep 0.01; done 2>/dev/null";
    // The interrupt key of a terminal.
    let output = host.run(&format!(
        "({runs}
            printf '\\003'; while pgrep -x rollback; do sleep 0.1; done >/dev/null) |
            script -qec 'upswap upgrade runed --version v2.0.0' /dev/null",
    ));
    assert!(output.code(5).stdout().contains("is back in place"));
    assert_eq!(version_served(&host), "v1.0.0");

    let begin = format!("upswap upgrade runed --version v2.0.0 & script=$!\n{runs}");
    let output = host.run(&format!("{begin}\npkill -KILL -x rollback; wait $script")).code(4);
    assert!(output.stderr().contains("left a trial open; end it: rollback runed"), "{}", output.stderr());
    host.run("rollback runed --lock-wait 20s").success();
    assert_eq!(version_served(&host), "v1.0.0");

    // One to the script alone is one to the guard.
    host.run(&format!("{begin}\nkill $script; wait $script")).code(5);
    assert_eq!(version_served(&host), "v1.0.0");
}

#[test]
fn a_profile_is_a_file_of_the_current_folder_and_never_one_of_path() {
    let host = host_that_runs("v1.0.0");
    let output = host.run(
        "printf 'touch /tmp/harm\\n' >/usr/local/bin/web.conf
        cd /etc/upswap && mv runed.conf web.conf
        upswap upgrade runed --version v1.0.0 --profile web.conf",
    );
    output.success();
    host.run("test ! -e /tmp/harm").success();
}

#[test]
fn a_start_limit_of_one_stops_no_upgrade_and_no_way_back() {
    let host = host_that_runs("v1.0.0");
    host.run(
        "printf '[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1h\n' >/etc/systemd/system/runed.service.d/limit.conf
        systemctl daemon-reload; systemctl restart runed
        # What nobody clears the way for is refused.
        if systemctl restart runed; then exit 9; fi
        systemctl reset-failed runed; systemctl start runed",
    )
    .success();
    host.run("upswap upgrade runed --version v2.0.0").success();
    assert_eq!(version_served(&host), "v2.0.0");
    for bad in ["v4.0.0", "v3.0.0"] {
        host.run(&format!("upswap upgrade runed --version {bad}")).code(5);
        assert_eq!(version_served(&host), "v2.0.0");
    }
    host.run("rollback runed --to 1").success();
    assert_eq!(version_served(&host), "v1.0.0");
}
