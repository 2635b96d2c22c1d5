//! svc-wait against every state that a unit of a real systemd can be in: each has one right verdict, and gets it each time.

use std::fmt::Write as _;

use serde_json::Value;

use crate::env::Env;

/// A state of a unit: how it comes about, and what is to be said of it.
#[derive(Clone)]
struct Case {
    name: &'static str,
    /// Its unit file without `[Service]`; `|` parts the lines.
    unit: &'static str,
    /// Further unit files: the name, and all the text.
    beside: &'static [(&'static str, &'static str)],
    /// A shell script before svc-wait begins; `$U` is the unit.
    setup: &'static str,
    /// svc-wait's COMMAND, a shell script too; none when empty.
    command: &'static str,
    /// What somebody else does meanwhile.
    meanwhile: &'static str,
    /// svc-wait's other arguments.
    flags: &'static str,
    /// The unit's type suffix.
    suffix: &'static str,
    verdict: &'static str,
    /// What stands in its text.
    says: &'static str,
    /// The first systemd that has it.
    since: u32,
}

/// The program is `/opt/m/sh`, a copy of dash(1), or `/opt/m/sleep`.
const fn case(name: &'static str, unit: &'static str, verdict: &'static str, says: &'static str) -> Case {
    Case {
        name,
        unit,
        beside: &[],
        setup: ":",
        command: "systemctl restart $U",
        meanwhile: ":",
        flags: "--timeout 60s --stable 1s",
        suffix: "service",
        verdict,
        says,
        since: 0,
    }
}

impl Case {
    const fn setup(self, setup: &'static str) -> Self {
        Self { setup, ..self }
    }

    const fn command(self, command: &'static str) -> Self {
        Self { command, ..self }
    }

    const fn meanwhile(self, meanwhile: &'static str) -> Self {
        Self { meanwhile, ..self }
    }

    const fn flags(self, flags: &'static str) -> Self {
        Self { flags, ..self }
    }

    const fn beside(self, beside: &'static [(&'static str, &'static str)]) -> Self {
        Self { beside, ..self }
    }

    const fn of_type(self, suffix: &'static str) -> Self {
        Self { suffix, ..self }
    }

    const fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }

    fn unit_name(&self) -> String {
        format!("m-{}.{}", self.name, self.suffix)
    }

    fn code(&self) -> i32 {
        i32::from(self.verdict != "healthy")
    }
}

/// Starts the unit, then installs its program anew by rename, as swapbin does.
const SWAPPED: &str = "own; systemctl start $U; own";
/// Waits for the third try of a unit that is started again and again.
const THIRD_TRY: &str = "systemctl restart $U; until test $(shown NRestarts) -ge 3; do sleep 0.05; done";
const UNTIL_FAILED: &str = "systemctl restart $U; while ! systemctl is-failed --quiet $U; do sleep 0.05; done";
const NEVER_READY: &str = "Type=notify|NotifyAccess=all|TimeoutStartSec=60s|ExecStart=/opt/m/sleep infinity";
const SLEEPS: &str = "ExecStart=/opt/m/sleep infinity";

fn healthy() -> Vec<Case> {
    let notify = "NotifyAccess=all|ExecStart=/opt/m/sh -c 'systemd-notify --ready; while :; do sleep 1; done'";
    let notify = |kind: &str| -> &'static str { format!("Type={kind}|{notify}").leak() };
    vec![
        case("simple", SLEEPS, "healthy", "without a restart, process "),
        case("exec", "Type=exec|ExecStart=/opt/m/sleep infinity", "healthy", ""),
        case("idle", "Type=idle|ExecStart=/opt/m/sleep infinity", "healthy", ""),
        case("notify", notify("notify"), "healthy", ""),
        case("notify-reload", notify("notify-reload"), "healthy", "").since(253),
        case("forking", "Type=forking|PIDFile=/run/m-forking.pid|ExecStart=/opt/m/sh -c '(while :; do sleep 1; done) & echo $! >/run/m-forking.pid'", "healthy", ""),
        case("forking-guessed", "Type=forking|ExecStart=/opt/m/sh -c '(while :; do sleep 1; done) & exit 0'", "healthy", ""),
        case("dbus", "Type=dbus|BusName=org.freedesktop.hostname1|ExecStart=/opt/m/hostnamed", "healthy", "")
            // Debian's own unit for that name.
            .beside(&[("systemd-hostnamed.service", "")]),
        case("oneshot-remains", "Type=oneshot|RemainAfterExit=yes|ExecStart=/opt/m/sh -c 'exit 0'", "healthy", ""),
        case("oneshot", "Type=oneshot|ExecStart=/opt/m/sh -c 'exit 0'", "healthy", "done"),
        case("slow-start", "ExecStartPre=/bin/sleep 1|ExecStart=/opt/m/sleep infinity", "healthy", ""),
        case("not-waited-for", "ExecStartPre=/bin/sleep 1|ExecStart=/opt/m/sleep infinity", "healthy", "")
            .setup("systemctl start $U")
            .command("systemctl restart --no-block $U"),
        case("as-it-is", SLEEPS, "healthy", "").setup("systemctl start $U").command(""),
        case("of-a-template", SLEEPS, "healthy", "")
            .beside(&[("m-t@.service", "[Service]\nExecStart=/opt/m/sleep infinity\n")])
            .setup("U=m-t@a.b.service"),
        case("reloaded-meanwhile", "ExecStart=/opt/m/sleep infinity|ExecReload=/bin/sleep 0.5", "healthy", "")
            .meanwhile("held; systemctl reload $U")
            .flags("--timeout 60s --stable 2s"),
        case("old-failure", "ExecStart=/opt/m/sh -c 'if ! test -e /run/m-good; then exit 3; fi; while :; do sleep 1; done'", "healthy", "")
            .setup("! systemctl start $U; while ! systemctl is-failed --quiet $U; do sleep 0.05; done; touch /run/m-good"),
        case("old-crash-loop", "Restart=always|RestartSec=50ms|ExecStart=/opt/m/sh -c 'if ! test -e /run/m-mended; then exit 3; fi; while :; do sleep 1; done'|[Unit]|StartLimitIntervalSec=0", "healthy", "")
            .setup("systemctl start $U; until test $(shown NRestarts) -ge 3; do sleep 0.05; done")
            .command("touch /run/m-mended; systemctl restart $U"),
        case("slow-to-stop", "TimeoutStopSec=1s|ExecStart=/opt/m/sh -c 'trap : TERM; while :; do sleep 1; done'", "healthy", "")
            .setup("systemctl start $U; sleep 0.2"),
        case("last-start-allowed", "ExecStart=/opt/m/sleep infinity|[Unit]|StartLimitBurst=1|StartLimitIntervalSec=1h", "healthy", "")
            .setup("systemctl start $U")
            .command("systemctl reset-failed $U; systemctl restart $U"),
        case("interpreter", "ExecStart=/opt/m/sh /opt/m/endless", "healthy", ""),
        case("wrapper-named", "ExecStart=/opt/m/wrapper", "healthy", "").flags("--timeout 60s --stable 1s --exe /opt/m/sleep"),
        case("wrapper-any", "ExecStart=/opt/m/wrapper", "healthy", "").flags("--timeout 60s --stable 1s --exe any"),
        case("link", "ExecStart=/opt/m/link infinity", "healthy", ""),
        case("other-root", "RootDirectory=/opt/m/root|ExecStart=/sleep infinity", "healthy", ""),
        case("without-a-slash", "ExecStart=m-bare infinity", "healthy", "").setup("cp /opt/m/sleep /usr/local/bin/m-bare"),
        case("counted-anew", "Restart=always|RestartSec=10ms|ExecStart=/opt/m/sh -c 'if ! test -e /run/m-anew; then touch /run/m-anew; exit 3; fi; while :; do sleep 1; done'", "healthy", "")
            .setup("systemctl start $U; until test $(shown NRestarts) -ge 1 && test $(shown SubState) = running; do sleep 0.05; done")
            .command("")
            .meanwhile("held; systemctl reset-failed $U"),
        case("put-back", "Type=exec|ExecStart=/opt/m/own/put-back infinity", "healthy", "")
            .setup("own; ln /opt/m/own/put-back /opt/m/own/kept; systemctl start $U; own; mv /opt/m/own/kept /opt/m/own/put-back")
            .command(""),
        case("socket", "", "healthy", "")
            .of_type("socket")
            .beside(&[("m-socket.socket", "[Socket]\nListenStream=/run/m-socket\n"), ("m-socket.service", "[Service]\nExecStart=/opt/m/sleep infinity\n")]),
        case("timer", "", "healthy", "")
            .of_type("timer")
            .beside(&[("m-timer.timer", "[Timer]\nOnActiveSec=1h\n"), ("m-timer.service", "[Service]\nExecStart=/opt/m/sleep infinity\n")]),
        case("path", "", "healthy", "")
            .of_type("path")
            .beside(&[("m-path.path", "[Path]\nPathExists=/run/never\n"), ("m-path.service", "[Service]\nExecStart=/opt/m/sleep infinity\n")]),
    ]
}

fn unhealthy() -> Vec<Case> {
    let ready_then = |then: &str| -> &'static str {
        format!("Type=notify|NotifyAccess=all|ExecStart=/opt/m/sh -c 'systemd-notify --ready; {then}'").leak()
    };
    vec![
        case("exit-at-once", "ExecStart=/opt/m/sh -c 'exit 3'", "crashed", "exit status 3"),
        case("exit-after-3s", "ExecStart=/opt/m/sh -c 'sleep 3; exit 3'", "crashed", "exit status 3").flags("--timeout 60s --stable 60s"),
        case("exit-after-3s-restarts", "Restart=on-failure|ExecStart=/opt/m/sh -c 'sleep 3; exit 3'", "crashed", "").flags("--timeout 60s --stable 60s"),
        case("exit-after-ready", ready_then("sleep 0.3; exit 3"), "crashed", "exit status 3"),
        case("clean-exit", "ExecStart=/opt/m/sh -c 'exit 0'", "exited", ""),
        case("clean-exit-later", "ExecStart=/opt/m/sh -c 'sleep 1; exit 0'", "exited", "").flags("--timeout 60s --stable 60s"),
        case("clean-exit-restarts", "Restart=always|RestartSec=60s|ExecStart=/opt/m/sh -c 'sleep 1; exit 0'", "exited", "").flags("--timeout 60s --stable 60s"),
        case("killed", "ExecStart=/opt/m/sh -c 'kill -KILL $$$$; :'", "crashed", "signal 9/KILL"),
        case("segv", "ExecStart=/opt/m/sh -c 'kill -SEGV $$$$; :'", "crashed", "signal 11/SEGV"),
        case("waits-for-its-restart", "Restart=always|RestartSec=60s|ExecStart=/opt/m/sh -c 'exit 3'", "crashed", "exit status 3"),
        case("crash-loop", "Restart=always|RestartSec=50ms|ExecStart=/opt/m/sh -c 'exit 3'|[Unit]|StartLimitIntervalSec=0", "crash-loop", "").command(THIRD_TRY),
        case("start-limit", "Restart=always|RestartSec=10ms|ExecStart=/opt/m/sh -c 'exit 3'|[Unit]|StartLimitBurst=2|StartLimitIntervalSec=1h", "start-limit", "reset-failed").command(UNTIL_FAILED),
        case("start-limit-before", "Restart=always|RestartSec=10ms|ExecStart=/opt/m/sh -c 'exit 3'|[Unit]|StartLimitBurst=2|StartLimitIntervalSec=1h", "start-limit", "reset-failed")
            .setup("systemctl start $U; while ! systemctl is-failed --quiet $U; do sleep 0.05; done"),
        case("start-limit-by-hand", "ExecStart=/opt/m/sleep infinity|[Unit]|StartLimitBurst=1|StartLimitIntervalSec=1h", "start-limit", "reset-failed").setup("systemctl start $U"),
        case("condition", "ExecStart=/opt/m/sleep infinity|[Unit]|ConditionPathExists=/none", "condition-failed", "condition"),
        case("exec-condition", "ExecCondition=/bin/false|ExecStart=/opt/m/sleep infinity", "condition-failed", ""),
        case("assertion", "ExecStart=/opt/m/sleep infinity|[Unit]|AssertPathExists=/none", "condition-failed", "assertion"),
        case("watchdog", "Type=notify|NotifyAccess=all|WatchdogSec=500ms|ExecStart=/opt/m/sh -c 'systemd-notify --ready; while :; do sleep 1; done'", "watchdog", "WatchdogSec=").flags("--timeout 60s --stable 60s"),
        case("runs-too-long", "RuntimeMaxSec=1s|ExecStart=/opt/m/sleep infinity", "timeout", "").flags("--timeout 60s --stable 60s"),
        case("masked", "", "masked", "nothing was run").beside(&[("m-masked.service", "")]).command("touch /run/m-masked-ran"),
        case("not-found", "", "not-found", "nothing was run").command("touch /run/m-not-found-ran"),
        case("bad-setting", "Type=simple", "bad-setting", "LoadState=bad-setting (nothing was run)"),
        case("stale-unit", SLEEPS, "stale-unit", "daemon-reload").setup("echo '#' >>/run/systemd/system/$U; touch --date=tomorrow /run/systemd/system/$U"),
        case("no-executable", "ExecStart=/opt/m/none", "exec-failed", "203/EXEC"),
        case("no-executable-exec", "Type=exec|ExecStart=/opt/m/none", "exec-failed", "203/EXEC"),
        case("no-format", "ExecStart=/opt/m/empty", "exec-failed", "203/EXEC"),
        case("no-user", "User=nosuch|ExecStart=/opt/m/sleep infinity", "exec-failed", "217/USER"),
        case("no-folder", "WorkingDirectory=/none|ExecStart=/opt/m/sleep infinity", "exec-failed", "200/CHDIR"),
        case("no-environment-file", "EnvironmentFile=/none|ExecStart=/opt/m/sleep infinity", "resources", "EnvironmentFile="),
        case("start-pre", "ExecStartPre=/bin/false|ExecStart=/opt/m/sleep infinity", "start-failed", "ExecStartPre="),
        case("start-post", "ExecStartPost=/bin/false|ExecStart=/opt/m/sleep infinity", "start-failed", "ExecStartPost="),
        case("start-post-orderly", "ExecStartPost=/bin/sh -c 'sleep 0.3; exit 4'|ExecStart=/opt/m/sh -c 'trap \"exit 0\" TERM; while :; do sleep 0.1; done'", "start-failed", "ExecStartPost="),
        case("not-ready-in-time", "Type=notify|TimeoutStartSec=1s|ExecStart=/opt/m/sleep infinity", "never-ready", "TimeoutStartSec="),
        case("hangs-in-activating", NEVER_READY, "never-ready", "still starting").command("systemctl restart --no-block $U").flags("--timeout 5s"),
        case("bus-name-not-taken", "Type=dbus|BusName=org.upswap.Never|TimeoutStartSec=1s|ExecStart=/opt/m/sleep infinity", "never-ready", ""),
        case("ends-before-ready", "Type=notify|NotifyAccess=all|ExecStart=/opt/m/sh -c 'sleep 0.1; exit 0'", "protocol", "ready"),
        case("fails-before-ready", "Type=notify|NotifyAccess=all|ExecStart=/opt/m/sh -c 'sleep 0.1; exit 3'", "crashed", "exit status 3"),
        case("oneshot-fails", "Type=oneshot|ExecStart=/opt/m/sh -c 'exit 3'", "crashed", "exit status 3"),
        case("forgotten-oneshot", "Type=oneshot|ExecStart=/opt/m/sh -c 'exit 0'", "not-provable", "RemainAfterExit=yes"),
        case("forgotten-exit", "ExecStart=/opt/m/sh -c 'exit 0'", "inactive", ""),
        case("forking-fails", "Type=forking|ExecStart=/opt/m/sh -c 'exit 3'", "crashed", "exit status 3"),
        case("old-process-left", "Type=exec|KillMode=process|ExecStart=/opt/m/own/old-process-left -c '/opt/m/own/old-process-left -c \"while :; do sleep 1; done\" & while :; do sleep 1; done'", "old-process", "still runs the replaced")
            .setup("program=sh own; systemctl start $U; sleep 0.2; program=sh own")
            .flags("--timeout 5s"),
        case("old-process-runs", "Type=exec|ExecStart=/opt/m/own/old-process-runs infinity", "wrong-binary", "runs the old, replaced").setup(SWAPPED).command("true"),
        case("old-process-as-it-is", "Type=exec|ExecStart=/opt/m/own/old-process-as-it-is infinity", "wrong-binary", "runs the old, replaced").setup(SWAPPED).command(""),
        case("old-process-in-other-root", "Type=exec|RootDirectory=/opt/m/root|ExecStart=/old infinity", "wrong-binary", "runs the old, replaced")
            .setup("cp /bin/sleep /opt/m/root/old; systemctl start $U; cp /bin/sleep /opt/m/root/.new; mv /opt/m/root/.new /opt/m/root/old")
            .command("true"),
        case("old-process-left-in-other-root", "Type=exec|KillMode=process|RootDirectory=/opt/m/root|ExecStart=/left -c '/left -c \"while :; do /sleep 1; done\" & while :; do /sleep 1; done'", "old-process", "still runs the replaced")
            .setup("cp /bin/dash /opt/m/root/left; systemctl start $U; sleep 0.2; cp /bin/dash /opt/m/root/.left; mv /opt/m/root/.left /opt/m/root/left")
            .flags("--timeout 5s"),
        case("script", "ExecStart=/opt/m/wrapper", "not-provable", "is a script").command("touch /run/m-script-ran"),
        case("wrapper-shell", "ExecStart=/opt/m/sh -c 'exec /opt/m/sleep infinity'", "not-provable", "--exe"),
        case("wrapper-env", "ExecStart=/usr/bin/env A=1 /opt/m/sleep infinity", "not-provable", "say --exe /opt/m/sleep")
            .setup("systemctl start $U"),
        case("main-process-unknown", "Type=forking|ExecStart=/opt/m/sh -c '/opt/m/sleep infinity & /opt/m/sleep infinity & exit 0'", "not-provable", "nothing was run")
            .setup("systemctl start $U"),
        // Type=exec: what is suspended before it is executed is systemd's own, and never up.
        case("suspended", "Type=exec|ExecStart=/opt/m/sleep infinity", "stopped", "is suspended").flags("--timeout 5s --stable 1s").command("systemctl restart $U; kill -STOP $(shown MainPID)"),
        case("old-process-moved-aside", "Type=exec|KillMode=process|ExecStart=/opt/m/own/old-process-moved-aside -c '/opt/m/own/old-process-moved-aside -c \"while :; do sleep 1; done\" & while :; do sleep 1; done'", "old-process", "runs what it ran before")
            .setup("program=sh own; systemctl start $U; sleep 0.2; mv /opt/m/own/$name /opt/m/own/aside; program=sh own")
            .flags("--timeout 5s"),
        case("wrapper-wrong", "ExecStart=/opt/m/wrapper", "wrong-binary", "not /opt/m/sh").flags("--timeout 5s --exe /opt/m/sh"),
        case("stop-times-out", "TimeoutStopSec=500ms|SendSIGKILL=no|ExecStart=/opt/m/sh -c 'trap : TERM; while :; do sleep 1; done'", "stop-timed-out", "")
            .setup("systemctl start $U; sleep 0.2")
            .command("systemctl stop $U"),
        case("old-one-does-not-stop", "TimeoutStopSec=500ms|SendSIGKILL=no|ExecStart=/opt/m/sh -c 'trap : TERM; while :; do sleep 1; done'", "resources", "SendSIGKILL=no")
            .setup("systemctl start $U; sleep 0.2"),
        case("killed-meanwhile", "Restart=always|ExecStart=/opt/m/sleep infinity", "crashed", "").meanwhile("held; kill -KILL $(shown MainPID)").flags("--timeout 60s --stable 60s"),
        case("restarted-meanwhile", SLEEPS, "restarted", "").meanwhile("held; systemctl restart $U").flags("--timeout 60s --stable 60s"),
        case("stopped-meanwhile", SLEEPS, "stopped", "").meanwhile("held; systemctl stop $U").flags("--timeout 60s --stable 60s"),
        case("stopped", SLEEPS, "inactive", "").command("systemctl stop $U"),
        case("probe-refused", SLEEPS, "probe-failed", "127.0.0.1:1").flags("--timeout 5s --tcp 127.0.0.1:1"),
        case("probe-fails-later", SLEEPS, "probe-failed", "").meanwhile("held; touch /run/m-ill").flags("--timeout 60s --stable 60s --exec '! test -e /run/m-ill'").setup("rm -f /run/m-ill"),
        case("probe-hangs", SLEEPS, "hang", "").flags("--timeout 5s --exec 'sleep 60'"),
        case("dependency", "ExecStart=/opt/m/sleep infinity|[Unit]|Requires=m-bad.service|After=m-bad.service", "job-failed", "COMMAND")
            .beside(&[("m-bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")]),
        case("command-fails", SLEEPS, "job-failed", "exit status: 7").command("systemctl restart $U; exit 7"),
        case("socket-taken", "", "resources", "")
            .of_type("socket")
            .beside(&[("m-socket-taken.socket", "[Socket]\nListenStream=/opt/m/sh/x\n"), ("m-socket-taken.service", "[Service]\nExecStart=/opt/m/sleep infinity\n")]),
    ]
}

/// The words of the cases' scripts, and the programs of their units.
const WORDS: &str = "
# Waits until svc-wait has found the unit healthy for the first time.
held() { until grep -qs 'must now stay so' cases/$name.err; do sleep 0.05; done; }
shown() { systemctl show --property=$1 --value $U; }
# The unit's own program, installed anew.
own() {
    mkdir -p /opt/m/own
    cp /opt/m/${program:-sleep} /opt/m/own/.$name; mv /opt/m/own/.$name /opt/m/own/$name
}
";
const PROGRAMS: &str = "
mkdir -p /opt/m/root/usr
cp /bin/dash /opt/m/sh
cp /bin/sleep /opt/m/sleep
cp /lib/systemd/systemd-hostnamed /opt/m/hostnamed
ln -s sleep /opt/m/link
printf '#!/bin/sh\\nexec /opt/m/sleep infinity\\n' >/opt/m/wrapper
echo 'while :; do sleep 1; done' >/opt/m/endless
printf '\\0' >/opt/m/empty
chmod +x /opt/m/wrapper /opt/m/empty
# A root that has no more than what sleep(1) needs.
cp /bin/sleep /opt/m/root/sleep
for library in $(ldd /bin/sleep | grep -o '/[^ ]*'); do mkdir -p /opt/m/root${library%/*}; cp $library /opt/m/root$library; done
mkdir -p /opt/m/root/proc /opt/m/root/sys /opt/m/root/dev /opt/m/root/run /opt/m/root/tmp
";

/// So many cases at once.
const AT_ONCE: u32 = 12;

/// The programs that are asked for the verdict: svc-wait, and the loop that it replaces.
const SVC_WAIT: &str = "svc-wait $U --json -v";
const POLLING: &str = "polling";

fn host() -> Env {
    prepared(Env::boot())
}

fn prepared(host: Env) -> Env {
    let host = host.with_tools();
    host.run(&format!("{PROGRAMS}\nmkdir -p /run/m /run/systemd/system\ncat >/run/m/words <<'END'{WORDS}END"))
        .success();
    // The reference: restart, then success at the first second in which the unit is active.
    host.run(
        "cat >/usr/local/bin/polling <<'END'
#!/bin/sh
while test $1 != --; do shift; done
shift
test $# = 0 || \"$@\" || exit 1
echo 'it must now stay so' >&2
for second in 1 2 3 4 5; do
    sleep 1
    ! systemctl is-active --quiet $U || { echo '{\"name\":\"healthy\",\"text\":\"\"}'; exit 0; }
done
exit 1
END
        chmod +x /usr/local/bin/polling",
    )
    .success();
    host
}

/// The script that brings all `cases` about at once, has `waiter` judge them, and prints what it said.
fn script(cases: &[&Case], waiter: &str) -> String {
    let mut script = String::from("cd /run/m; rm -rf cases; mkdir cases\n");
    for case in cases {
        let Case { name, setup, command, meanwhile, flags, .. } = case;
        let unit = case.unit_name();
        let mut files: Vec<(String, String)> =
            case.beside.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        if !case.unit.is_empty() {
            files.push((unit.clone(), format!("[Service]\n{}\n", case.unit.replace('|', "\n"))));
        }
        for (name, text) in files {
            let _ = match text.as_str() {
                "" => writeln!(script, "ln -sf /dev/null /run/systemd/system/{name}"),
                text => write!(script, "cat >/run/systemd/system/{name} <<'END'\n{text}END\n"),
            };
        }
        let command = if command.is_empty() { "" } else { "sh -ec \". /run/m/words; $command\"" };
        let _ = write!(
            script,
            "cat >cases/{name} <<'END'
. /run/m/words
export U={unit}
name={name}
{setup}
command='{command_text}'
flags() {{ {waiter} {flags} -- {command}; }}
({meanwhile}) >/dev/null 2>&1 &
code=0
flags >cases/{name}.json 2>cases/{name}.err </dev/null || code=$?
echo $code >cases/{name}.code
# What crashes again and again is not to be in the way of the others.
systemctl stop --no-block $U 2>/dev/null || :
systemctl kill --signal=KILL $U 2>/dev/null || :
END
",
            command_text = case.command,
        );
    }
    // systemd forgets a unit that is down and that nothing refers to; an enabled one is referred to by its target.
    let kept = cases.iter().filter(|case| !case.name.starts_with("forgotten")).map(|case| case.unit_name());
    let kept = kept.collect::<Vec<_>>().join(" ");
    let keeper = format!("[Unit]\nAfter={kept}\n[Service]\nExecStart=/opt/m/sleep infinity\n");
    let _ = write!(script, "cat >/run/systemd/system/m-keeper.service <<'END'\n{keeper}END\n");
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    let _ = write!(
        script,
        "systemctl daemon-reload
        systemctl start m-keeper
        printf '%s\\n' {names} | xargs -P {AT_ONCE} -I NAME sh -c 'timeout 100 sh -e cases/NAME 2>cases/NAME.trouble || :'
        for name in {names}; do
            for part in code json err trouble; do cat cases/$name.$part 2>/dev/null || :; printf '\\036'; done
        done
        systemctl kill --signal=KILL 'm-*' 2>/dev/null || :
        systemctl stop 'm-*' 2>/dev/null || :
        systemctl reset-failed
        rm -rf /run/systemd/system/m-* /run/m-* /opt/m/own
        systemctl daemon-reload",
        names = names.join(" "),
    );
    script
}

/// Brings the cases about; gives what is wrong with the verdicts.
fn sweep(host: &Env, cases: &[&Case], waiter: &str) -> Vec<String> {
    let output = host.run(&script(cases, waiter)).success();
    let mut parts = output.stdout().split('\x1e');
    let mut wrong = Vec::new();
    for case in cases {
        let [code, json, err, trouble] = std::array::from_fn(|_| parts.next().unwrap_or_default().trim());
        if let Some(line) = judge(case, code, json) {
            wrong.push(format!("{}: {line}\n    {json}\n    {err}\n    {trouble}", case.name));
        }
    }
    wrong
}

/// What is wrong with one verdict.
fn judge(case: &Case, code: &str, json: &str) -> Option<String> {
    let json: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let (name, said) = (text("name"), text("text"));
    if name != case.verdict || code != case.code().to_string() {
        return Some(format!("{name} and exit status '{code}', not {} and {}", case.verdict, case.code()));
    }
    (!said.contains(case.says)).then(|| format!("'{said}' lacks '{}'", case.says))
}

fn version(host: &Env) -> u32 {
    let version = host.run("systemctl --version | sed -n '1s/^systemd \\([0-9]*\\).*/\\1/p'").success();
    version.stdout().parse().unwrap()
}

fn rounds() -> usize {
    std::env::var("UPSWAP_SOAK").ok().and_then(|n| n.parse().ok()).map_or(3, |n: usize| n.min(20))
}

/// The states that this systemd has.
fn states(host: &Env) -> Vec<Case> {
    let version = version(host);
    healthy().into_iter().chain(unhealthy()).filter(|case| case.since <= version).collect()
}

#[test]
fn each_state_has_its_verdict() {
    each_state(&host());
}

/// systemd 257 executes a program through its systemd-executor.
#[test]
fn each_state_has_its_verdict_on_trixie() {
    let host = prepared(Env::boot_suite("trixie"));
    assert!(version(&host) >= 257);
    each_state(&host);
}

#[track_caller]
fn each_state(host: &Env) {
    let all = states(host);
    let cases: Vec<&Case> = all.iter().collect();
    let mut wrong = Vec::new();
    for round in 1..=rounds() {
        wrong.extend(sweep(host, &cases, SVC_WAIT).into_iter().map(|line| format!("round {round}: {line}")));
    }
    assert!(cases.len() >= 24, "{} states", cases.len());
    assert!(wrong.is_empty(), "systemd {}, {} states:\n{}", version(host), cases.len(), wrong.join("\n"));
}

/// systemctl has a way to systemd of its own, for root.
#[test]
fn without_dbus_daemon_each_verdict_is_the_same() {
    let host = host();
    host.run("systemctl stop dbus.socket dbus.service; ! busctl --quiet status 2>/dev/null").success();
    let all = states(&host);
    let chosen =
        ["simple", "notify", "forking", "oneshot", "exit-at-once", "exit-after-3s", "old-process-runs", "masked"];
    let cases: Vec<&Case> = all.iter().filter(|case| chosen.contains(&case.name)).collect();
    assert_eq!(cases.len(), chosen.len());
    let wrong = sweep(&host, &cases, SVC_WAIT);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_user_s_own_units_are_judged_by_the_same_proof() {
    let host = host();
    // The image has no pam_systemd to say where the folder is.
    host.run(
        "useradd --create-home --uid 1000 user
        mkdir /etc/systemd/system/user@.service.d
        printf '[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' >/etc/systemd/system/user@.service.d/test.conf
        systemctl daemon-reload
        systemctl start user@1000
        printf '#!/bin/sh\nexec setpriv --reuid=1000 --regid=1000 --clear-groups env -C /home/user HOME=/home/user XDG_RUNTIME_DIR=/run/user/1000 \"$@\"\n' >/opt/m/as-user
        chmod +x /opt/m/as-user
        /opt/m/as-user sh -ec 'mkdir -p .config/systemd/user; cp /bin/sleep app
            printf \"[Service]\nExecStart=%%h/app infinity\n\" >.config/systemd/user/app.service
            printf \"[Service]\nExecStart=/opt/m/sh -c \\\"exit 3\\\"\n\" >.config/systemd/user/bad.service
            systemctl --user daemon-reload'",
    )
    .success();
    let judged =
        |arguments: &str| host.run(&format!("/opt/m/as-user svc-wait --user --timeout 60s --stable 300ms {arguments}"));
    judged("app -- systemctl --user restart app").success();
    let bad = judged("bad -- systemctl --user restart bad").code(1);
    assert!(bad.stderr().contains("bad.service: crashed: exit status 3"), "{bad:?}");
    host.run("/opt/m/as-user sh -ec 'cp app new; mv new app'").success();
    let old = judged("app").code(1);
    assert!(old.stderr().contains("wrong-binary"), "{old:?}");
    // The system has no such unit, and a guard's way back is the system's.
    let none = host.run("/opt/m/as-user svc-wait --user --system app").code(1);
    assert!(none.stderr().contains("not-found"), "{none:?}");
    host.run("UPSWAP_NAME=app svc-wait --user app").code(2);
}

/// The loop that svc-wait replaces calls these healthy: were the matrix blind to that, it would prove nothing.
#[test]
fn polling_for_active_would_be_found_out() {
    let host = host();
    let all = unhealthy();
    let fooled = [
        "exit-after-3s",
        "exit-after-3s-restarts",
        "old-process-runs",
        "old-process-left",
        "stale-unit",
        "wrapper-wrong",
        "probe-refused",
        "killed-meanwhile",
    ];
    let told = ["exit-at-once", "condition", "not-found", "no-user"];
    let cases: Vec<&Case> =
        all.iter().filter(|case| fooled.contains(&case.name) || told.contains(&case.name)).collect();
    let wrong = sweep(&host, &cases, POLLING);
    let takes_for_healthy =
        |name: &str| wrong.iter().any(|line| line.starts_with(&format!("{name}: healthy and exit status '0'")));
    for name in fooled {
        assert!(takes_for_healthy(name), "{name} in\n{}", wrong.join("\n"));
    }
    for name in told {
        assert!(!takes_for_healthy(name), "{name} in\n{}", wrong.join("\n"));
    }
}

/// What was healthy and ends as soon as COMMAND has restarted it.
const GOOD_THEN_BAD: &str =
    "ExecStart=/opt/m/sh -c 'if ! test -e /run/m-good; then exit 3; fi; touch /run/m-came; while :; do sleep 1; done'";

/// All that systemd says is told half a second late, as it was when it was asked.
fn delay_systemctl(host: &Env) {
    host.run(
        "mv /usr/bin/systemctl /usr/bin/systemctl.real
        cat >/usr/bin/systemctl <<'END'
#!/bin/sh
case \" $* \" in
*' show '*) said=$(systemctl.real \"$@\"; echo x); touch /run/m-asked; sleep 0.5; printf %s \"${said%x}\" ;;
*) exec systemctl.real \"$@\" ;;
esac
END
        chmod +x /usr/bin/systemctl",
    )
    .success();
}

/// What says so of the state before, however late it comes, is judged as nothing.
fn late_cases() -> Vec<Case> {
    let setup = "touch /run/m-good; rm -f /run/m-came; systemctl start $U
        until test -e /run/m-came; do sleep 0.05; done; rm /run/m-good";
    vec![
        case("late", GOOD_THEN_BAD, "crashed", "exit status 3").setup(setup).flags("--timeout 60s --stable 0"),
        case("late-no-block", GOOD_THEN_BAD, "crashed", "exit status 3")
            .setup(setup)
            .command("systemctl restart --no-block $U")
            .flags("--timeout 60s --stable 0"),
        case("late-but-good", SLEEPS, "healthy", "").setup("systemctl start $U").flags("--timeout 60s --stable 0"),
    ]
}

#[test]
fn no_state_from_before_commands_end_is_judged() {
    let host = host();
    delay_systemctl(&host);
    // One after the other: the touched file is the same.
    for case in late_cases() {
        let wrong = sweep(&host, &[&case], SVC_WAIT);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// A watcher that asks while COMMAND still runs, and takes the answer when it comes.
#[test]
fn judging_an_answer_to_an_earlier_question_would_be_found_out() {
    let host = host();
    delay_systemctl(&host);
    host.run(
        "cat >/usr/local/bin/early <<'END'
#!/bin/sh
while test $1 != --; do shift; done
shift
rm -f /run/m-asked
systemctl show --property=ActiveState --value $U >/run/m-early & asked=$!
until test -e /run/m-asked; do sleep 0.01; done
\"$@\"
wait $asked
! grep -qx active /run/m-early || { echo '{\"name\":\"healthy\",\"text\":\"\"}'; exit 0; }
exit 1
END
        chmod +x /usr/local/bin/early",
    )
    .success();
    let cases = late_cases();
    let wrong = sweep(&host, &[&cases[0]], "early");
    assert!(wrong.iter().any(|line| line.starts_with("late: healthy and exit status '0'")), "{}", wrong.join("\n"));
}
