//! Every value in its place, and nothing else in the unit.

use super::super::exec;
use super::*;
use proptest::prelude::*;

fn runed() -> Given {
    Given { binary: Some("/usr/local/bin/runed".into()), ..Given::default() }
}

fn settings(text: &str) -> Vec<(String, String)> {
    let file = File::parse(text.as_bytes().to_vec()).unwrap();
    assert_eq!(file.complaints(), [], "{text}");
    file.assignments().map(|a| (format!("[{}]{}", a.section, a.key), a.value.to_owned())).collect()
}

fn value(text: &str, key: &str) -> Option<String> {
    let found: Vec<_> = settings(text).into_iter().filter(|(name, _)| name.ends_with(key)).collect();
    assert!(found.len() < 2, "{found:?}");
    found.into_iter().next().map(|(_, value)| value)
}

#[test]
fn a_service_holds_its_capabilities_and_no_others() {
    let none = Builtin::Service.fill(&runed()).unwrap().text;
    assert_eq!(value(&none, "]CapabilityBoundingSet").as_deref(), Some(""));
    assert_eq!((value(&none, "]AmbientCapabilities"), value(&none, "]User")), (None, None));
    assert_eq!(value(&none, "]DynamicUser").as_deref(), Some("yes"));
    let ambient = ["cap_net_bind_service", "CAP_SYS_NICE", "CAP_NET_BIND_SERVICE"].map(str::to_owned).to_vec();
    let given = Given { ambient, user: Some("rune".into()), group: Some("www".into()), ..runed() };
    let two = Builtin::Service.fill(&given).unwrap().text;
    for key in ["]CapabilityBoundingSet", "]AmbientCapabilities"] {
        assert_eq!(value(&two, key).as_deref(), Some("CAP_NET_BIND_SERVICE CAP_SYS_NICE"));
    }
    assert_eq!((value(&two, "]User"), value(&two, "]Group")), (Some("rune".into()), Some("www".into())));
    assert_eq!(value(&two, "]DynamicUser"), None);
}

#[test]
fn no_key_stands_twice_and_all_are_systemd_s() {
    let text = Builtin::Service.fill(&runed()).unwrap().text;
    let mut keys: Vec<_> = settings(&text).into_iter().map(|(key, _)| key).collect();
    keys.sort();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn a_oneshot_is_for_a_timer_or_socket_to_start() {
    let text = Builtin::Service.fill(&Given { start: Some(Start::Oneshot), ..runed() }).unwrap().text;
    assert!(!text.contains("Restart=") && !text.contains("[Install]"), "{text}");
}

#[test]
fn what_does_not_belong_is_refused_by_its_flag() {
    let said = |builtin: Builtin, given: Given| builtin.fill(&given).unwrap_err().to_string();
    let named = || Given { name: Some("runed".into()), ..Given::default() };
    let list = |text: &str| vec![text.to_owned()];
    for (builtin, given, expected) in [
        (Builtin::Service, Given::default(), "--builtin service: --binary is needed"),
        (Builtin::Service, named(), "--builtin service: --binary is needed"),
        (Builtin::Service, Given { listen: list("80"), ..runed() }, "--builtin service: has no place for --listen"),
        (Builtin::Socket, Given { listen: list("80"), ..Given::default() }, "--builtin socket: --name is needed"),
        (Builtin::Socket, named(), "--builtin socket: --listen is needed"),
        (Builtin::Socket, runed(), "--builtin socket: has no place for --binary"),
        (Builtin::Timer, named(), "--builtin timer: --calendar is needed"),
        (Builtin::Timer, Given { user: Some("u".into()), ..named() }, "--builtin timer: has no place for --user"),
        (Builtin::Service, Given { group: Some("g".into()), ..runed() }, "--group 'g': is the group of a user"),
        (Builtin::Service, Given { ambient: list("CAP_X"), ..runed() }, "--ambient 'CAP_X': is not a capability"),
        (Builtin::Socket, Given { listen: list("80"), user: Some("u".into()), ..named() }, "--user 'u': only a socket"),
        (Builtin::Service, Given { name: Some("a@b".into()), ..runed() }, "--name 'a@b': a unit's name is of"),
        (
            Builtin::Timer,
            Given { name: Some("a.service".into()), calendar: list("daily"), user: None, ..Given::default() },
            "",
        ),
    ] {
        match expected {
            "" => assert_eq!(builtin.fill(&given).unwrap().name, "a.service.timer"),
            expected => {
                let said = said(builtin, given);
                assert!(said.starts_with(expected), "{said}");
            }
        }
    }
    for binary in
        ["runed", "/usr/bin/", "/usr/../bin/x", "/usr//bin/x", "/home/u/runed", "/tmp/runed", "/a\n/b", "/bin/a b", ""]
    {
        let given = Given { binary: Some(binary.into()), ..Given::default() };
        assert!(Builtin::Service.fill(&given).is_err(), "{binary}");
    }
    for listen in
        ["0", "65536", "", "x:80", "1.2.3.4", "[::1]", "/a ", " /a", "/a\\", "@", "/a\nExecStartPre=/x", "80 81"]
    {
        assert!(Builtin::Socket.fill(&Given { listen: list(listen), ..named() }).is_err(), "{listen}");
    }
    for listen in ["80", "1.2.3.4:80", "[::1]:80", "/run/a b.sock", "@a"] {
        assert!(Builtin::Socket.fill(&Given { listen: list(listen), ..named() }).is_ok(), "{listen}");
    }
    for user in ["", "a b", "-a", "a\nb", "%i", "..", "a$b", "ä"] {
        assert!(Builtin::Service.fill(&Given { user: Some(user.into()), ..runed() }).is_err(), "{user}");
    }
    for calendar in ["", " ", "daily\nX=1", "%i", "a\\"] {
        assert!(Builtin::Timer.fill(&Given { calendar: list(calendar), ..named() }).is_err(), "{calendar}");
    }
}

/// What systemd gives the program for a word of its command line.
fn received(word: &str) -> String {
    word.replace("%%", "%").replace("$$", "$")
}

proptest! {
    /// The keys are always the same, and the program gets the words that were given.
    #[test]
    fn no_value_leaves_its_place(
        word in "[ -~äß\\u{2028}]{0,8}",
        description in "\\PC{0,8}",
        config in "/[ -~]{0,8}",
    ) {
        let given = Given {
            arguments: vec![word.clone(), "last".into()],
            description: Some(description.clone()),
            config: Some(config.clone()),
            ..runed()
        };
        let plain = Given { arguments: vec!["x".into()], description: Some("x".into()), config: Some("/x".into()), ..runed() };
        let keys = |given: &Given| {
            let text = Builtin::Service.fill(given)?.text;
            Ok::<_, BuiltinError>((settings(&text).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), text))
        };
        let (expected, _) = keys(&plain).unwrap();
        if let Ok((keys, text)) = keys(&given) {
            prop_assert_eq!(keys, expected);
            let commands = exec::commands(&value(&text, "]ExecStart").unwrap()).unwrap();
            prop_assert_eq!(commands.len(), 1);
            let words: Vec<_> = commands[0].arguments.iter().map(|word| received(word)).collect();
            prop_assert_eq!(words, ["--config", &config, &word, "last"].map(str::to_owned));
            prop_assert_eq!(value(&text, "]Description").unwrap().replace("%%", "%"), description);
        }
    }
}
