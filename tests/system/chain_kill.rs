//! The whole chain, script and tools and systemctl, is killed at points spread over its mutating system calls: every time the
//! service runs, or `rollback --pending` makes it run, with whole files of one generation.
//!
//! `make test` takes 20 points, most of them while the trial is open; `UPSWAP_SWEEP=full` takes every one.

use std::collections::BTreeSet;
use std::io::Write as _;

use crate::env::Env;
use crate::material::{self, full_sweep};

/// The chain that is killed.
pub const CHAIN: &str = "upswap upgrade runed --version v2.0.0 --refresh-unit --carry-edits";
/// How many points a short sweep has while the trial is open, and before and after that.
const INSIDE: usize = 14;
const OUTSIDE: usize = 6;

/// The upgrade as it is often written: what is killed in its middle stays so.
const REFERENCE: &str = "cp -p /usr/local/bin/runed /usr/local/bin/runed.bak
    systemctl stop runed
    cp /opt/new/rune /usr/local/bin/rune
    cp /opt/new/runed /usr/local/bin/runed
    setcap cap_net_bind_service=+ep /usr/local/bin/runed
    cp /opt/new/runed.service /etc/systemd/system/runed.service
    cp /opt/new/00-upswap.conf /etc/systemd/system/runed.service.d
    systemctl daemon-reload
    systemctl start runed";

/// A system call of the chain, before which it is stopped.
#[derive(Clone, Debug)]
pub struct Point {
    pub number: usize,
    /// Program, call and target.
    pub what: String,
}

impl Point {
    /// A line of crashpoint's list: number, PID, program, call, target. Numbers of sockets are nothing to tell points apart by.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split('\t');
        let (number, _pid) = (words.next()?.parse().ok()?, words.next()?);
        let what: Vec<&str> = words.map(|word| word.split(":[").next().unwrap_or(word)).collect();
        Some(Self { number, what: what.join(" ") })
    }
}

/// The mutating system calls of a whole run of `command`.
pub fn points_of(host: &Env, command: &str) -> Vec<Point> {
    let script = format!(
        "/opt/crashpoint --list /run/list 0 count -- {command} >/dev/null 2>/run/stderr </dev/null; cat /run/list
        . /opt/words; put_back"
    );
    let list = host.run(&script).success();
    list.stdout().lines().filter_map(Point::read).collect()
}

/// `inside` points while the trial is open, `outside` before and after it, each evenly over the calls that differ: a file
/// that is written in a hundred pieces counts once. The renames of the binaries are always among them.
pub fn spread(points: &[Point], inside: usize, outside: usize) -> Vec<Point> {
    let writes_state = |point: &&Point| point.what.contains("-> /var/lib/upswap/runed/state.json");
    let states: Vec<usize> = points.iter().filter(writes_state).map(|point| point.number).collect();
    let (mark, commit) = (states[0], *states.last().unwrap());
    let mut distinct = points.to_vec();
    distinct.dedup_by(|next, kept| next.what == kept.what);
    let (trial, rest): (Vec<Point>, Vec<Point>) =
        distinct.into_iter().partition(|point| (mark + 1..=commit).contains(&point.number));
    let evenly = |points: &[Point], n: usize| -> Vec<Point> {
        (0..n).map(|i| points[(2 * i + 1) * points.len() / (2 * n)].clone()).collect()
    };
    let (renames, others): (Vec<Point>, Vec<Point>) =
        trial.into_iter().partition(|point| point.what.starts_with("swapbin rename "));
    let others = evenly(&others, inside - renames.len());
    let mut chosen = [renames, others, evenly(&rest, outside)].concat();
    chosen.sort_by_key(|point| point.number);
    chosen
}

/// A line for people, also when the sweep passes: which points it took and what it found there.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// What the host's shell knows: `files` says which generation each file is and whether it can do its work, `service` what runs.
pub const WORDS: &str = r#"
    files() {
        for path in /usr/local/bin/rune /usr/local/bin/runed /etc/systemd/system/runed.service; do
            name=${path##*/} mode=755 capability=
            case $name in
            runed) capability="$path cap_net_bind_service=ep" ;;
            *.service) mode=644 ;;
            esac
            case $(sha256sum <"$path" 2>/dev/null) in
            "$(sha256sum <"/opt/old/$name")") is=old ;;
            "$(sha256sum <"/opt/new/$name")") is=new ;;
            *) is=BROKEN ;;
            esac
            [ "$(stat -c '%a %u:%g' "$path" 2>/dev/null)" = "$mode 0:0" ] || is=$is-MODE
            [ "$(getcap "$path" 2>/dev/null)" = "$capability" ] || is=$is-NOCAP
            printf '%s ' "$is"
        done
    }
    # The operator's edit is in the old unit itself, and over the new one in a drop-in.
    carried() {
        nice=$(systemctl show --property=Nice --value runed)
        if cmp -s /opt/old/runed.service /etc/systemd/system/runed.service; then
            [ "$nice" = 5 ] && [ ! -e "$drop_in" ]
        else
            [ "$nice" = 5 ] && cmp -s /opt/new/00-upswap.conf "$drop_in"
        fi
    }
    drop_in=/etc/systemd/system/runed.service.d/00-upswap.conf
    service() {
        # A restart goes on in systemd when the systemctl that asked for it is gone.
        while systemctl list-jobs --no-legend runed.service | grep -q .; do sleep 0.01; done
        pid=$(systemctl show --property=MainPID --value runed)
        if ! systemctl is-active --quiet runed || ! curl -fsS http://127.0.0.1:7861/health >/dev/null 2>&1; then
            echo down
        elif [ ! "/proc/$pid/exe" -ef /usr/local/bin/runed ]; then
            echo other-file
        elif [ "$(systemctl show --property=NeedDaemonReload --value runed)" = yes ]; then
            echo stale-unit
        elif ! carried; then
            echo other-drop-in
        else
            case $(curl -fsS http://127.0.0.1/version) in v1.0.0) echo old ;; v2.0.0) echo new ;; *) echo unknown ;; esac
        fi
    }
    put_back() {
        rm -rf /var/lib/upswap/* /usr/local/bin/.rune* /usr/local/bin/*.bak /etc/systemd/system/.runed* /tmp/tmp.* "$drop_in" "${drop_in%/*}"/.00*
        cp --preserve=all --remove-destination /opt/old/rune /opt/old/runed /usr/local/bin
        cp --preserve=all --remove-destination /opt/old/runed.service /etc/systemd/system
        systemctl daemon-reload
        systemctl reset-failed runed
        systemctl restart runed
    }
    trial() { if rollback --list | grep -q ' on trial '; then echo open; else echo none; fi; }
"#;

/// Kills `deed` at point `$1`, tells how the host is then, settles what is pending, and tells it again; then puts all back.
const KILL: &str = r#"
    rm -f /run/reached
    /opt/crashpoint --reached /run/reached "$1" kill -- $deed >/dev/null 2>/run/stderr </dev/null || :
    trial=$(trial)
    files=$(files)
    echo "killed $files$(service) $trial"
    code=0
    rollback --pending >/run/pending 2>&1 || code=$?
    echo "settled $(files)$(service) $(trial) $code $(tr '\n' ' ' </run/pending)"
    echo "reached $(tr ' \t' '_ ' </run/reached 2>/dev/null || :)"
    [ -z "$again" ] || { $deed >/dev/null 2>/run/again && echo "again $(files)$(service) $(trial) 0" || echo "again failed $(tail -n1 /run/again)"; }
    put_back
"#;

/// Makes a host that runs v1.0.0 ready for a sweep: its words, both generations, a cache that makes all later runs alike.
pub fn ready(host: Env) -> Env {
    let host = host.with_tools().with_releases().with_rune("v1.0.0").with_profile("300ms");
    host.put(&material::program("crashpoint"), "/opt/crashpoint");
    host.run(&format!(
        "cat >/opt/words <<'WORDS'\n{WORDS}WORDS
        cat >/opt/kill <<'KILL'\nset -e\n. /opt/words\n{KILL}KILL
        # The sweep settles itself what is pending.
        systemctl stop upswap-settle.timer
        set -- /usr/local/bin/rune /usr/local/bin/runed /etc/systemd/system/runed.service
        sed -i '/^User=/i Nice=5' \"$3\"
        systemctl daemon-reload
        systemctl restart runed
        mkdir /opt/old /opt/new
        cp --preserve=all \"$@\" /opt/old
        {CHAIN}
        cp --preserve=all \"$@\" /etc/systemd/system/runed.service.d/00-upswap.conf /opt/new
        . /opt/words
        put_back"
    ))
    .success();
    host
}

/// How the host was after one kill.
#[derive(Debug)]
pub struct Seen {
    /// The line of the call that was stopped at, none when the chain had ended before.
    pub reached: String,
    pub killed: Vec<String>,
    pub settled: Vec<String>,
    again: Option<Vec<String>>,
}

impl Seen {
    fn of(report: &str) -> Self {
        let line = |word: &str| {
            let line = report.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
            line.map(|line| line.split(' ').map(str::to_owned).collect::<Vec<String>>())
        };
        let reached = Point::read(&line("reached").unwrap_or_default().join("\t"));
        Self {
            reached: reached.map(|point| format!("{:4} {}", point.number, point.what)).unwrap_or_default(),
            killed: line("killed").unwrap_or_default(),
            settled: line("settled").unwrap_or_default(),
            again: line("again"),
        }
    }

    /// What is wrong with it; empty when the promise is kept.
    pub fn judge(&self) -> Vec<String> {
        let whole = |file: &String| file == "old" || file == "new";
        let mut wrong = Vec::new();
        if !self.killed.iter().take(3).all(whole) {
            wrong.push(format!("a file is not whole at the kill: {:?}", self.killed));
        }
        match self.settled.as_slice() {
            [rune, runed, unit, service, trial, code, ..]
                if whole(rune) && [runed, unit, service] == [rune; 3] && trial == "none" && code == "0" => {}
            other => wrong.push(format!("not one healthy generation after rollback --pending: {}", other.join(" "))),
        }
        if let Some(again) = &self.again
            && again.join(" ") != "new new new new none 0"
        {
            wrong.push(format!("the chain did not work again: {}", again.join(" ")));
        }
        wrong
    }
}

fn kill_at(host: &Env, deed: &str, number: usize) -> Seen {
    let again = if full_sweep() && deed == CHAIN { "yes" } else { "" };
    let output = host.run(&format!("deed='{deed}' again='{again}' sh /opt/kill {number}")).success();
    Seen::of(output.stdout())
}

#[test]
fn a_chain_killed_anywhere_leaves_a_service_that_runs_or_is_made_to_run() {
    let host = ready(Env::boot());
    let all = points_of(&host, CHAIN);
    let points = if full_sweep() { all.clone() } else { spread(&all, INSIDE, OUTSIDE) };
    tell(&format!("chain_kill: {} of {} mutating calls of '{CHAIN}'", points.len(), all.len()));
    let (mut open, mut missed, mut wrong, mut ends) = (0, 0, Vec::new(), BTreeSet::new());
    for point in &points {
        let seen = kill_at(&host, CHAIN, point.number);
        let (killed, settled) = (seen.killed.join(" "), seen.settled[..5].join(" "));
        tell(&format!("chain_kill: {}: {killed} -> {settled}", seen.reached));
        wrong.extend(seen.judge().into_iter().map(|why| format!("{}: {why}", seen.reached)));
        missed += usize::from(seen.reached.is_empty());
        open += usize::from(seen.killed.last().is_some_and(|trial| trial == "open"));
        ends.insert(seen.settled[..2].join(" "));
    }
    tell(&format!("chain_kill: {open} of them with the trial open, {missed} not killed; {} bad", wrong.len()));
    assert!(wrong.is_empty(), "{wrong:#?}");
    // No two runs make quite the same calls, but a sweep that kills nothing shows nothing.
    assert!(missed * 20 <= points.len(), "{missed} of {} chains had ended before they could be killed", points.len());
    assert!(open >= 12, "only {open} points between mark and commit");
    assert!(ends.contains("old old"), "{ends:?}");
}

/// The same sweep and judge over the reference: it must find the points at which its service stays down or cannot bind.
#[test]
fn a_reference_script_killed_so_is_found_out() {
    let host = ready(Env::boot());
    host.run(&format!("cat >/opt/reference <<'END'\nset -e\n{REFERENCE}\nEND")).success();
    let all = points_of(&host, "sh /opt/reference");
    let mut found = BTreeSet::new();
    let mut points = all.clone();
    points.dedup_by(|next, kept| next.what == kept.what);
    let step = if full_sweep() { 1 } else { points.len().div_ceil(12) };
    let points: Vec<&Point> = points.iter().step_by(step).collect();
    let mut bad = 0;
    for point in &points {
        let seen = kill_at(&host, "sh /opt/reference", point.number);
        bad += usize::from(!seen.judge().is_empty());
        found.extend(seen.settled.into_iter().take(4));
    }
    tell(&format!("chain_kill: the reference script ends badly at {bad} of {} points: {found:?}", points.len()));
    assert!(found.contains("down"), "{found:?}");
    assert!(found.iter().any(|file| file.ends_with("-NOCAP")), "{found:?}");
    assert!(bad >= points.len() / 3, "{bad} of {}", points.len());
}
