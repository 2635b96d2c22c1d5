//! What the tools answer programs with: svc-wait's verdicts, and the members of each tool's `--json` object.
//!
//! `tests/cli/docs/answers.rs` compares the members with what the tools print, a member by its way there.

use upswap::words::verdict::Name;

use super::{Entry, Members};

/// svc-wait's verdicts. `tests/cli/docs.rs` compares the names with those of the code.
pub const VERDICTS: [(Name, &str); 30] = [
    (
        Name::Healthy,
        "It ran the right executable through the whole hold-down without a restart, and every probe was answered.",
    ),
    (Name::Crashed, "The main process ended with a failure or by a signal."),
    (Name::CrashLoop, "It ended so more than once, and systemd starts it again and again."),
    (
        Name::StartLimit,
        "systemd starts it no more: it failed StartLimitBurst= times. 'systemctl reset-failed' allows it again.",
    ),
    (
        Name::ExecFailed,
        "systemd could not execute it: the file, the user, the working directory or the like (exit status 200 to 245, see systemd.exec(5)).",
    ),
    (Name::StartFailed, "A command of ExecStartPre= or ExecStartPost= failed."),
    (Name::Resources, "systemd lacked something that the unit needs, such as a file of EnvironmentFile=."),
    (Name::Exited, "The main process ended with success, and the service should have kept running."),
    (Name::Protocol, "The main process ended before it said that it was ready (Type=notify, Type=forking)."),
    (Name::NeverReady, "It was not up in time: at --timeout it was still starting, or TimeoutStartSec= ended it."),
    (Name::Hang, "It runs, and a probe got no answer at all."),
    (Name::ProbeFailed, "It runs, and a probe got a wrong answer or a refusal."),
    (
        Name::WrongListener,
        "A probe was answered by somebody else: the socket that listens there is none of the unit's. Where a proxy in front of it is meant to answer, say --via-proxy.",
    ),
    (Name::Watchdog, "systemd ended it: WatchdogSec= passed without a sign of life."),
    (Name::OomKilled, "The kernel or systemd-oomd ended it for want of memory."),
    (Name::Timeout, "It was up, and systemd ended it on a timeout (RuntimeMaxSec=, TimeoutStopSec=)."),
    (Name::StopTimedOut, "The old process did not stop in time."),
    (
        Name::WrongBinary,
        "The main process runs another executable than it should: the file that was replaced, or another one than ExecStart= or --exe names.",
    ),
    (Name::OldProcess, "The main process is the right one; another process of the unit still runs the replaced file."),
    (Name::StaleUnit, "The unit file was changed and systemd still has the old one: 'systemctl daemon-reload'."),
    (
        Name::NotProvable,
        "Which executable runs can't be proven: ExecStart= names a script or a wrapper. Name the executable with --exe. Or --tcp or --unix asks where systemd itself listens for a .socket unit: there a connection is accepted whether the service lives or not. Ask by --http, --exec or --version-from.",
    ),
    (
        Name::Unreadable,
        "/proc or the control group could not be read, or the network of the service not be entered, mostly for want of privileges. The exit status is 124.",
    ),
    (Name::Masked, "The unit is masked. COMMAND was not run."),
    (Name::NotFound, "There is no such unit. Before COMMAND this means that COMMAND was not run."),
    (Name::BadSetting, "systemd could not load the unit file."),
    (Name::ConditionFailed, "A condition or an assertion of the unit does not hold, so nothing was started."),
    (Name::JobFailed, "COMMAND failed, and the unit shows no other reason."),
    (Name::Restarted, "Something else restarted the unit in the hold-down."),
    (
        Name::Stopped,
        "Something ended the main process by a signal, and the unit is down without a failure; or it is suspended: stopped by a signal, or frozen.",
    ),
    (Name::Inactive, "The unit is not running."),
];

/// The members of fetch's object when it fetched.
const FETCHED: &[Entry] = &[
    ("source", "SOURCE as it was given, without secrets."),
    ("tag", "The release's tag; null where the source has none."),
    ("version", "The tag as a version, without a leading v; null likewise."),
    ("assets", "The assets, in the order asked for."),
    ("assets[].name", "The asset's name in the release."),
    ("assets[].path", "Where it is now."),
    ("assets[].size", "Its size in bytes."),
    ("assets[].digest", "The SHA-256 of what was received, in hexadecimal digits."),
    ("assets[].url", "Where it came from: an address without secrets, or a path."),
    ("sidecars", "The files of --sums and --sig."),
    ("sidecars[].name, sidecars[].path, sidecars[].size, sidecars[].digest, sidecars[].url", "As for assets."),
];

/// fetch's.
pub const FETCH: Members = &[
    ("When files were fetched:", FETCHED),
    (
        "With --list:",
        &[
            ("source", "As above."),
            ("releases", "The releases, the highest version first."),
            ("releases[].tag, releases[].version", "As above."),
            ("releases[].prerelease", "Whether it is a pre-release."),
            ("releases[].published", "When it was published, as RFC 3339 writes it; null where that is not known."),
            ("releases[].notes", "The address of its notes; null likewise."),
            (
                "releases[].fits",
                "The name of the one asset that fits this host, or --target; null where none does, or several.",
            ),
            ("releases[].assets", "Its assets; empty where the source does not list them."),
            ("releases[].assets[].name", "The asset's name."),
            ("releases[].assets[].size", "Its size in bytes; null where the source does not tell."),
            (
                "releases[].assets[].digest",
                "Its SHA-256 as the source announces it, in hexadecimal digits; null likewise.",
            ),
        ],
    ),
];

/// verify's.
pub const VERIFY: Members = &[(
    "",
    &[
        ("files", "One object for each FILE, in their order."),
        ("files[].file", "The FILE as it was given."),
        ("files[].digest", "Its SHA-256, in hexadecimal digits."),
        ("files[].size", "Its size in bytes."),
        (
            "files[].strength",
            "How much was proven: integrity (an unsigned list has it), pinned (its digest was given), or authentic (the owner of the key signed it).",
        ),
        ("files[].proven", "What was proven, one object for each statement; all of them hold."),
        ("files[].proven[].by", "By what: sums, sha256, minisign, ssh, openpgp or sigstore."),
        (
            "files[].proven[].signer",
            "Who signed: minisign:NUMBER, ssh:SHA256:FINGERPRINT, openpgp:FINGERPRINT or sigstore:IDENTITY; null for a list and a digest.",
        ),
        (
            "files[].proven[].issuer",
            "The issuer that vouched for the identity in a Sigstore certificate; null for others.",
        ),
        (
            "files[].proven[].principals",
            "The principals that the trusted file gives an SSH key to, a pattern list for each of its lines; empty for others.",
        ),
        (
            "files[].proven[].signed_at",
            "When it was signed, in seconds since 1970-01-01 UTC; for a Sigstore bundle when a log or a timestamp authority saw the signature first; null when the signature does not cover a time.",
        ),
        ("files[].proven[].version", "The version that the signature names; null when it names none."),
        ("files[].proven[].covers", "What the statement speaks of."),
        ("files[].proven[].covers.what", "Which it is: file, or the list that names the file."),
        ("files[].proven[].covers.name", "The name of that."),
        ("files[].proven[].text", "All of it in a sentence, for people."),
        ("files[].stored", "What of it is in the store now; empty with --check."),
        ("files[].stored[].name", "The name in the store."),
        ("files[].stored[].path", "The path in the store, which is printed without --json."),
        ("files[].stored[].digest", "The SHA-256 of the stored file."),
        ("files[].stored[].size", "Its size in bytes."),
        ("files[].stored[].ran", "One object for each --run of it, in their order."),
        ("files[].stored[].ran[].words", "The words it was called with."),
        ("files[].stored[].ran[].line", "The first line it printed; null where it printed none."),
        (
            "files[].stored[].ran[].version",
            "The version in that line, of the call that was asked for the version; null else.",
        ),
    ],
)];

/// unit-render's.
pub const UNIT_RENDER: Members = &[(
    "",
    &[
        ("unit", "The unit's text."),
        ("checked", "Whether systemd took it without a word, asked by --check; false without that."),
        ("from", "Where it came from: an object with one of these three."),
        ("from.command", "BIN and the words it was called with, those of --like included."),
        ("from.template", "The template."),
        ("from.builtin", "service, socket or timer."),
    ],
)];

/// unit-diff's.
pub const UNIT_DIFF: Members = &[
    (
        "When two units were compared:",
        &[
            ("same", "Whether systemd would see the same unit."),
            ("old, new", "The two units."),
            ("old.name, new.name", "The file's path, the unit's name, or 'standard input'."),
            (
                "old.fragment, old.drop_ins, new.fragment, new.drop_ins",
                "The unit file and the drop-ins, for a unit that systemd has loaded.",
            ),
            (
                "old.need_daemon_reload, new.need_daemon_reload",
                "Whether the files have changed since systemd read them; likewise.",
            ),
            ("changes", "The differences, in the order in which they are printed without --json."),
            ("changes[].class", "adds, changes or loses."),
            (
                "changes[].effect",
                "hardens or weakens: what it does to the confinement of the unit's processes; missing where it does nothing, or where that is not sure.",
            ),
            ("changes[].section, changes[].key", "Where it is."),
            (
                "changes[].part",
                "What of the value differs, when not the whole: a variable, a flag, program, prefix or order.",
            ),
            ("changes[].old, changes[].new", "What each unit says; missing where it says nothing."),
            ("notes", "What to know besides; likewise on standard error, a line each."),
            (
                "notes[].about",
                "fragment, need-daemon-reload, drop-ins, exec-start (a drop-in has another ExecStart=), user, data or file-capabilities.",
            ),
            ("notes[].text", "What to know and what to do."),
            (
                "notes[].old, notes[].new",
                "What each unit has, where it is one thing that differs: the user, where the data is.",
            ),
        ],
    ),
    (
        "With --drop-in:",
        &[
            ("base, old, new", "The units, as above; base with --base alone."),
            ("base.name, base.fragment, base.drop_ins, base.need_daemon_reload", "As above."),
            ("drop_in", "The text that is printed without --json; null when there are conflicts."),
            ("changes", "What the drop-in makes other than NEW says, as above."),
            ("conflicts", "What can't be carried, in the order in which it is listed; empty when all is."),
            ("conflicts[].section, conflicts[].key", "Where it is: the key, or a family of keys such as Condition*."),
            (
                "conflicts[].part",
                "What of the value, when not the whole: a variable, a flag, program, prefix or order.",
            ),
            (
                "conflicts[].base, conflicts[].old, conflicts[].new",
                "What each unit says; missing where it says nothing.",
            ),
            ("conflicts[].text", "Why it can't be carried, and what to do."),
        ],
    ),
];

/// svc-wait's.
pub const SVC_WAIT: Members = &[(
    "",
    &[
        ("unit", "The unit that was judged."),
        ("healthy", "True for the verdict healthy alone."),
        ("name", "The verdict, one of VERDICTS."),
        ("text", "The evidence, on one line."),
        ("pid", "The main process when it was last seen; null when there was none."),
        ("invocation", "systemd's InvocationID= of the run that was judged; null likewise."),
        ("times", "How long things took, in milliseconds."),
        ("times.job_ms", "COMMAND; null when there was none, or when it was not run."),
        (
            "times.active_ms",
            "From the end of COMMAND, or from the start without one, until systemd first said that the unit is active; null when it never did.",
        ),
        (
            "times.answer_ms",
            "Likewise until all probes were first answered; null when they never were, or when there are none.",
        ),
        (
            "times.healthy_ms",
            "From the end of COMMAND, or from the start without one, until first healthy; null when it never was.",
        ),
        ("times.stable_ms", "How long it then stayed healthy; null when it never was."),
        (
            "times.pause_ms",
            "With --measure: the longest time from one answer to the next, from before COMMAND until first healthy; null when there was no answer before or after.",
        ),
        ("times.total_ms", "From the start to the verdict."),
        ("probes", "The probes, in the order of the options in the synopsis."),
        ("probes[].name", "Its option without the dashes and what it asks, a password and a query left out."),
        ("probes[].advisory", "Whether its failure is only told."),
        ("probes[].answered", "Whether its last answer was the right one; null when it was never asked."),
        ("probes[].text", "What was wrong with that; empty when nothing was."),
        ("probes[].answer_ms", "When it was first answered, as times.answer_ms; null when it never was."),
        ("journal", "The last journal lines of this run; none when it is healthy."),
    ],
)];

/// swapbin's.
pub const SWAPBIN: Members = &[(
    "",
    &[
        ("name", "The NAME that the files belong to."),
        ("changed", "The destinations that changed, or would with -n; empty when none did."),
        ("generation", "The generation that is in place now; null when NAME has none yet."),
        ("on_trial", "Whether that generation is on trial."),
    ],
)];

/// setcap-keep's.
pub const SETCAP_KEEP: Members = &[
    (
        "",
        &[
            ("kept", "One object for each PATH."),
            ("kept[].path", "The path, made absolute."),
            ("kept[].capabilities", "Its capabilities as cap_to_text(3) writes them; null when it has none."),
            ("kept[].restored", "Whether they had to be put back."),
        ],
    ),
    (
        "With --explain, instead of these:",
        &[
            ("unit", "The unit's full name."),
            ("program", "The file that is executed: for a script its interpreter."),
            ("file_capabilities", "Its capabilities as cap_to_text(3) writes them; null when it has none."),
            ("user", "The user that the process runs as."),
            ("pid", "The main process; null when the unit is not running."),
            ("now", "What it holds; null likewise."),
            ("next", "What it will hold when it is started again; null when the kernel will not execute the program."),
            (
                "now.permitted, now.effective, now.inheritable, now.bounding, now.ambient, next.permitted, next.effective, next.inheritable, next.bounding, next.ambient",
                "The sets of capabilities(7), each a list of names.",
            ),
            ("now.no_new_privs, next.no_new_privs", "Whether execve(2) can give it no more."),
            ("refused", "Why the kernel will not execute the program; null when it will."),
            ("losses", "What the next start loses, an object for each reason."),
            ("losses[].capabilities", "The names of the capabilities."),
            ("losses[].set", "permitted; or, where they stay permitted, effective or ambient."),
            ("losses[].reason", "Why."),
            ("losses[].way_out", "What gives them back."),
            ("notes", "What else is worth knowing, one sentence each."),
        ],
    ),
];

/// rollback's.
pub const ROLLBACK: Members = &[
    (
        "After rollback NAME, and under outcome taken-back:",
        &[
            ("back", "Where the way back led."),
            ("back.name", "The NAME."),
            ("back.generation", "The generation in place now."),
            ("back.changed", "The paths that changed."),
            (
                "back.proven",
                "The units that are proven to run it: a verdict for each, with the members that svc-wait(1) tells of.",
            ),
            ("back.stopped", "The units that were not running before, and are not now."),
        ],
    ),
    (
        "After rollback -n NAME:",
        &[
            ("would", "What would be done."),
            ("would.name, would.generation", "As in back."),
            ("would.units", "The units that belong to NAME."),
        ],
    ),
    (
        "After rollback PATH:",
        &[
            ("path", "The path."),
            ("backup", "The .FILE.bak that it changed places with."),
            ("units", "The units of the NAME that has the path; empty when none is known."),
        ],
    ),
    (
        "After rollback --guard:",
        &[
            ("outcome", "nothing-changed, committed or taken-back."),
            ("generation", "The generation that was committed."),
            ("name, command", "With -n, instead of these: the NAME, and the words of COMMAND."),
        ],
    ),
    ("After rollback --pending:", &[("settled", "The trials that were taken back: for each an object like back.")]),
    (
        "After rollback --list, and rollback -n --pending for the names on trial:",
        &[
            ("names", "One object for each NAME."),
            ("names[].name", "The NAME."),
            ("names[].current", "The generation in place; while a trial is open, the one before it."),
            ("names[].trial", "The open trial; null when there is none."),
            ("names[].trial.generation", "The generation on trial."),
            ("names[].trial.home", "The generation that it would go back to."),
            ("names[].trial.opened, names[].trial.age_s", "When it was opened (RFC 3339), and how many seconds ago."),
            ("names[].trial.by_hand", "Whether swapbin --trial opened it, for an operator to end."),
            ("names[].locked_by", "Who is at work on it now; null when nobody is."),
            ("names[].units", "The units that belong to it."),
            ("names[].generations", "Its generations, the newest first."),
            ("names[].generations[].generation", "Its number."),
            (
                "names[].generations[].version",
                "Its version; null where none is known, as for files that were found in place.",
            ),
            ("names[].generations[].verdict", "unproven, proven or unhealthy."),
            (
                "names[].generations[].pause_ms",
                "How long its service did not answer when it was brought in, in milliseconds; null unless svc-wait --measure found that.",
            ),
            ("names[].generations[].why", "Why it is unhealthy; null otherwise."),
            ("names[].generations[].time", "When it was made (RFC 3339)."),
            ("names[].generations[].files", "Its paths, and what each of them is in this generation."),
            (
                "names[].generations[].files[].path",
                "The path. Bytes that are no UTF-8 stand as \\xNN, a backslash as \\x5c.",
            ),
            (
                "names[].generations[].files[].digest",
                "The file's SHA-256, in hexadecimal digits; missing, with those below, where there is no file.",
            ),
            (
                "names[].generations[].files[].size, names[].generations[].files[].mode, names[].generations[].files[].uid, names[].generations[].files[].gid",
                "Its length in bytes, permission bits, and the IDs of its owner and group, as numbers.",
            ),
            (
                "names[].generations[].files[].capabilities",
                "Its capabilities, as cap_to_text(3) writes them; missing where it has none.",
            ),
            ("names[].generations[].files[].born", "The generation it came in with."),
            ("names[].generations[].files[].verified", "Whether it came from the store of verified files."),
            (
                "names[].generations[].files[].origin",
                "Where it came from: the record that fetch and verify made; missing where there is none.",
            ),
            ("names[].generations[].files[].backup", "The hard link that keeps it; null where there is no file."),
            ("names[].keep", "How many generations are kept, the one in place included."),
            (
                "names[].failed",
                "The versions that were found unhealthy and are taken again only with --retry-failed, the newest first.",
            ),
            ("names[].failed[].version, names[].failed[].why, names[].failed[].time", "As above."),
        ],
    ),
    (
        "After rollback --current:",
        &[
            ("current", "The generation in place, on trial or not."),
            ("current.name, current.generation, current.version", "As with --list."),
            ("current.verdict", "As with --list, or on-trial."),
        ],
    ),
    (
        "After rollback --prune and --forget, and with -n before them:",
        &[
            ("removed", "One object for each NAME."),
            ("removed[].name", "The NAME."),
            ("removed[].paths", "What was removed, or would be."),
        ],
    ),
];
