use proptest::prelude::*;

use super::*;

fn file(text: &str) -> File {
    File::parse(text.as_bytes().to_vec()).unwrap()
}

fn carried(base: &str, old: &str, new: &str) -> Result<String, Vec<Conflict>> {
    let (base, old, new) = (file(base), file(old), file(new));
    carry(&Sides { base: Some(vec![&base]), old: vec![&old], new: vec![&new], ..Sides::default() })
}

/// The lines of the drop-in of services that say these lines, without its header and section; conflicts as they are told.
fn lines(base: &str, old: &str, new: &str) -> Vec<String> {
    let [base, old, new] = [base, old, new].map(|text| format!("[Service]\n{text}\n"));
    match carried(&base, &old, &new) {
        Ok(text) => text.lines().skip(4).map(ToOwned::to_owned).collect(),
        Err(conflicts) => conflicts
            .iter()
            .map(|c| c.to_string().split_once(": both").map_or_else(|| c.to_string(), |(said, _)| said.to_owned()))
            .collect(),
    }
}

#[test]
fn each_kind_is_carried_in_its_own_way() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("Nice=1", "Nice=2", "Nice=1\nUMask=77", &["Nice=2"]),
        ("RestartSec=60", "RestartSec=1min", "RestartSec=5", &[]),
        ("Nice=1", "", "Nice=1", &["Nice="]),
        ("Restart=always", "", "Restart=always", &["Restart=no"]),
        (
            "ReadWritePaths=/a /b",
            "ReadWritePaths=/b /c",
            "ReadWritePaths=/a /b /d",
            &["ReadWritePaths=", "ReadWritePaths=/b /c /d"],
        ),
        ("EnvironmentFile=/a", "EnvironmentFile=/a\nEnvironmentFile=/b", "EnvironmentFile=/a", &["EnvironmentFile=/b"]),
        ("Environment=A=1", "Environment='A=2 %%' $B", "Environment=A=1 C=3", &["Environment='A=2 %%'"]),
        ("", "CapabilityBoundingSet=", "", &["CapabilityBoundingSet="]),
        ("CapabilityBoundingSet=A", "", "CapabilityBoundingSet=A", &["CapabilityBoundingSet=~"]),
        ("ReadWriteDirectories=/a", "ReadWritePaths=/a /b", "ReadWritePaths=/a", &["ReadWritePaths=/b"]),
        ("TimeoutSec=3", "TimeoutStopSec=4\nTimeoutStartSec=3", "TimeoutSec=3", &["TimeoutStopSec=4"]),
        ("Fancy=1", "Fancy=2", "Fancy=1", &["Fancy=", "Fancy=2"]),
        (
            "ExecStart=/a\nExecStopPost=/x",
            "ExecStart=/b\nExecStopPost=/x",
            "ExecStart=/a",
            &["ExecStart=", "ExecStart=/b"],
        ),
        // A last backslash must not join the next line.
        ("", "ReadWritePaths=/a\\ \nReadWritePaths=/b", "", &["ReadWritePaths=/a\\ ", "ReadWritePaths=/b"]),
        ("", "SyslogIdentifier=a\\ ", "", &["SyslogIdentifier=a\\ "]),
        // A line of a program that runs twice is not another of its lines.
        (
            "ExecStart=/m -p /a",
            "ExecStart=/m -p /b\nExecStart=/m -p /a",
            "ExecStart=/m -p /a --mode 7",
            &["ExecStart=", "ExecStart=/m -p /b", "ExecStart=/m -p /a --mode 7"],
        ),
        (
            "RestrictAddressFamilies=AF_UNIX",
            "RestrictAddressFamilies=none",
            "RestrictAddressFamilies=AF_UNIX",
            &["RestrictAddressFamilies=none"],
        ),
        // 'none' is no family that could stand among others.
        (
            "RestrictAddressFamilies=AF_UNIX",
            "RestrictAddressFamilies=none",
            "RestrictAddressFamilies=AF_UNIX AF_INET",
            &["[Service] RestrictAddressFamilies=: BASE says 'AF_UNIX', OLD 'none', NEW 'AF_UNIX AF_INET'"],
        ),
        // What systemd ignores is no change.
        ("Environment=A=1", "Environment=A=1 B\nRestart=", "Environment=A=1", &[]),
    ];
    for (base, old, new, expected) in cases {
        assert_eq!(lines(base, old, new), *expected, "{base:?} {old:?} {new:?}");
    }
}

#[test]
fn commands_are_merged_by_prefix_program_and_flag() {
    let base = "ExecStart=/bin/d serve --config /a -v";
    let new = "ExecStart=/opt/bin/d serve --config /a -v --json";
    let merged = |old: &str| lines(base, &format!("ExecStart={old}"), new).pop().unwrap_or_default();
    assert_eq!(
        merged("-/bin/d serve --config /a -v --x=%%h"),
        "ExecStart=-/opt/bin/d serve --config /a -v --x=%%h --json"
    );
    assert_eq!(merged("/bin/d serve --config '/b c'"), "ExecStart=/opt/bin/d serve --config '/b c' --json");
    assert_eq!(
        merged("/usr/bin/nice -n 5 /bin/d serve --config /a -v"),
        "ExecStart=/usr/bin/nice -n 5 /opt/bin/d serve --config /a -v --json"
    );
    let clash = |old: &str, new: &str| lines(base, &format!("ExecStart={old}"), &format!("ExecStart={new}"));
    assert_eq!(
        clash("/bin/d serve --config /b -v", "/bin/d serve --config /c -v"),
        ["[Service] ExecStart= --config: BASE says '/a', OLD '/b', NEW '/c'"]
    );
    assert_eq!(
        clash("/opt/d serve --config /a -v", "/srv/d serve --config /a -v"),
        ["[Service] ExecStart= program: BASE says '/bin/d', OLD '/opt/d', NEW '/srv/d'"]
    );
    // Nobody knows the flags of another program, or what stands within a shell's quotes.
    for other in ["/bin/other serve --config /a", "/bin/sh -c '/bin/d serve'", "/bin/d serve 'x"] {
        assert_eq!(clash(other, "/bin/d serve").len(), 1, "{other}");
    }
    // All that the flag stood behind is gone, so nobody knows where it belongs.
    assert_eq!(clash("/bin/d serve -q", "/bin/d run").len(), 1);
}

#[test]
fn several_commands_are_merged_in_their_order() {
    let run = |commands: &str| commands.split(' ').flat_map(|c| ["ExecStartPre=", c, "\n"]).collect::<String>();
    let merged = |base: &str, old: &str, new: &str| {
        lines(&run(base), &run(old), &run(new)).join(" ").replace("ExecStartPre=", "")
    };
    assert_eq!(merged("/a /b", "/x /a /y /b", "/a /b /c"), " /x /a /y /b /c");
    assert_eq!(merged("/a /b", "/a /b /x", "/a /b"), "/x");
    assert_eq!(merged("/a /b", "/b /a", "/a /b /c"), " /b /c /a");
    assert!(merged("/a /b /c", "/b /a /c", "/a /c /b").contains("order"));
    assert!(merged("/a", "/x", "/y").contains("BASE says '/a', OLD '/x', NEW '/y'"));
}

#[test]
fn what_cannot_be_said_is_a_conflict() {
    let cases = [
        ("RestartSec=5", "RestartSec=9", "RestartSec=7"),
        ("Environment=A=1", "Environment=A=2", "Environment=A=3"),
        ("Environment=A=1", "Environment=A=2", ""),
        ("", "Environment=A=2", "Environment=A=3"),
        ("TimeoutStartSec=5", "", "TimeoutStartSec=5"),
        ("", "CapabilityBoundingSet=A", "CapabilityBoundingSet=B"),
        ("RestrictNamespaces=yes", "RestrictNamespaces=no", "RestrictNamespaces=net"),
        (
            "SystemCallFilter=@a\nSystemCallFilter=~@b",
            "SystemCallFilter=@c\nSystemCallFilter=~@b",
            "SystemCallFilter=@a\nSystemCallFilter=~@d",
        ),
        ("StateDirectory=a", "StateDirectory=b", "StateDirectory=c"),
        ("Delegate=yes", "", "Delegate=yes"),
    ];
    for (base, old, new) in cases {
        let said = lines(base, old, new);
        assert!(said.len() == 1 && said[0].starts_with("[Service]"), "{base:?} {old:?} {new:?}: {said:?}");
    }
    let said = carried("[Unit]\nAfter=a b\n", "[Unit]\nAfter=a\n", "[Unit]\nAfter=a b\n").unwrap_err();
    assert_eq!(
        said[0].to_string(),
        "[Unit] After=: BASE says 'a b', OLD 'a', NEW 'b': OLD took it away, and no drop-in can: write the value that should \
         hold into OLD, or put the line back"
    );
}

#[test]
fn one_of_a_family_resets_all_of_it() {
    let base = "[Unit]\nConditionPathExists=/a\nConditionHost=h\n[Socket]\nListenStream=1\nListenDatagram=2\n";
    let old = "[Unit]\nConditionPathExists=/a\n[Socket]\nListenDatagram=2\nListenStream=1\n";
    assert_eq!(
        carried(base, old, base).unwrap().lines().skip(3).collect::<Vec<_>>(),
        [
            "[Unit]",
            "ConditionPathExists=",
            "ConditionPathExists=/a",
            "",
            "[Socket]",
            "ListenStream=",
            "ListenDatagram=2",
            "ListenStream=1"
        ]
    );
}

#[test]
fn other_drop_ins_stay_on_top_and_decide_what_they_say_anew() {
    let base = file("[Service]\nNice=1\nEnvironment=A=1\n");
    let old = file("[Service]\nNice=2\nEnvironment=A=2\n");
    let new = file("[Service]\nNice=3\nEnvironment=A=1\n");
    let other = file("[Service]\nNice=7\nEnvironment=A=9\n");
    let sides = |early: Vec<(String, &'static File)>, late| Sides {
        base: Some(vec![&base]),
        old: vec![&old],
        new: vec![&new],
        early,
        late,
    };
    assert_eq!(carry(&sides(vec![], vec![])).unwrap_err().len(), 1);
    assert!(carry(&sides(vec![], vec![&other])).unwrap().ends_with("[Service]\nEnvironment=A=2\n"));
    // What comes before would be overruled by what is carried.
    let early: &'static File = Box::leak(Box::new(file("[Service]\nNice=7\nEnvironment=A=9\n")));
    let said = carry(&sides(vec![("/x/00-a.conf".into(), early)], vec![])).unwrap_err();
    assert!(said.iter().all(|c| c.key == "Environment" && c.text.starts_with("/x/00-a.conf comes before")), "{said:?}");
}

#[test]
fn a_drop_in_that_says_something_else_is_found_out() {
    let new = file("[Service]\nNice=1\n");
    let (base, old) = (new.clone(), file("[Service]\nNice=2\n"));
    let sides = Sides { base: Some(vec![&base]), old: vec![&old], new: vec![&new], ..Sides::default() };
    let text = carry(&sides).unwrap();
    let (state, target) = (State::of([&new]), State::of([&old]));
    assert!(prove(&sides, &state, target.clone(), &text).is_ok());
    for broken in
        ["", "[Service]\n", "[Service]\nNice=3\n", "[Service]\nNice=2\nUMask=0\n", "[Unit]\nNice=2\n", "[Service"]
    {
        assert!(prove(&sides, &state, target.clone(), broken).is_err(), "{broken}");
    }
}

const KEYS: &str = "(User|Restart|RestartSec|NoNewPrivileges|ReadWritePaths|StateDirectory|EnvironmentFile|Environment|\
    CapabilityBoundingSet|AmbientCapabilities|SystemCallFilter|RestrictNamespaces|ExecStart|ExecStartPre|After|\
    ConditionPathExists|AssertHost|ListenStream|OnCalendar|Fancy|Delegate|TimeoutSec|TimeoutStopSec|DeviceAllow)=";
const VALUES: &str = "(|a|b c|'b' a|~a|~b a|~|yes|no|5s|A=1|A=2 B=\"x y\"|/d -v|/d -v --x=1|-/n /d -v|/d ; /e|/e -x 2 \\\\;|'open|a\\\\|\\\\x41=\\\\xff|%%h \\$\\$ä)";

/// Three units that have much in common: each takes some lines of one pool.
fn units() -> impl Strategy<Value = [String; 3]> {
    let line = format!("(\\[(Unit|Service|Socket|Timer|X-Y)\\]\n)?{KEYS}{VALUES}");
    let line = proptest::string::string_regex(&line).unwrap();
    prop::collection::vec((line, any::<[bool; 3]>()), 0..12).prop_map(|lines| {
        [0, 1, 2].map(|unit| {
            let taken = lines.iter().filter(|(_, takes)| takes[unit]).flat_map(|(line, _)| [line.as_str(), "\n"]);
            format!("[Service]\n{}", taken.collect::<String>())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_carried_is_read_as_it_was_meant([base, old, new] in units(), known in any::<bool>()) {
        let (b, o, n) = (file(&base), file(&old), file(&new));
        let sides = Sides { base: known.then(|| vec![&b]), old: vec![&o], new: vec![&n], ..Sides::default() };
        if let Ok(text) = carry(&sides) {
            let drop_in = file(&text);
            let (with, is_new, is_old) = (State::of([&n, &drop_in]), State::of([&n]), State::of([&o]));
            let was = if known { State::of([&b]) } else { is_new.clone() };
            for place in with.slots.keys().chain(is_new.slots.keys()).chain(is_old.slots.keys()) {
                let [with, new, old, base] = [&with, &is_new, &is_old, &was].map(|state| state.slots.get(place));
                // What one alone changed is what that one says.
                if same(new, base) {
                    prop_assert!(same(with, old), "{place:?}\n{text}");
                } else if same(old, base) {
                    prop_assert!(same(with, new), "{place:?}\n{text}");
                }
            }
            // A second refresh gives the same drop-in, and nothing to carry is nothing.
            let again = Sides { base: Some(vec![&n]), old: vec![&n, &drop_in], new: vec![&n], ..Sides::default() };
            prop_assert_eq!(carry(&again), Ok(text));
        }
        let none = Sides { base: Some(vec![&b]), old: vec![&b], new: vec![&n], ..Sides::default() };
        prop_assert_eq!(carry(&none), Ok(String::new()));
    }
}
