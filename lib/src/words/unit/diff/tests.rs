use super::*;
use crate::words::unit::file::File;
use proptest::prelude::*;

fn reading(text: &str) -> Reading<'static> {
    Reading::of([&*Box::leak(Box::new(File::parse(text.as_bytes().to_vec()).unwrap()))])
}

fn changes(old: &str, new: &str) -> Vec<String> {
    compare(&reading(old), &reading(new)).iter().map(ToString::to_string).collect()
}

fn service(old: &str, new: &str) -> Vec<String> {
    changes(&format!("[Service]\n{old}\n"), &format!("[Service]\n{new}\n"))
}

#[test]
fn what_systemd_does_not_see_is_the_same() {
    let cases = [
        ("RestartSec=5", "RestartSec = 5s # no"),
        ("RestartSec=1min 30s", "# c\nRestartSec=1\nRestartSec=90"),
        ("NoNewPrivileges=yes", "NoNewPrivileges=true"),
        ("ReadWritePaths=/a /b", "ReadWritePaths=\"/b\"\nReadWritePaths=/a"),
        ("Environment=A=1 B=2", "Environment=B=9\nEnvironment=\"B=2\"\nEnvironment='A=1'"),
        ("ExecStart=/a  -x \\\n  --y", "ExecStart=/wrong\nExecStart=\nExecStart=/a -x '--y'"),
        ("ExecStartPre=/a ; /b", "ExecStartPre=/a\nExecStartPre=/b"),
        ("User=", ""),
    ];
    for (old, new) in cases {
        // The first case alone differs: a comment can't follow a value.
        let same = service(old, new).is_empty();
        assert_eq!(same, !new.contains("# no"), "{old} / {new}");
    }
}

#[test]
fn a_command_is_compared_by_prefix_program_and_flag() {
    let old = "ExecStart=/usr/bin/d serve --config /a --data-dir=/srv --v";
    let new = "ExecStart=-/usr/local/bin/d serve --config=/b --v --json";
    assert_eq!(
        service(old, new),
        [
            "changes  [Service] ExecStart= prefix none -> -",
            "changes  [Service] ExecStart= program /usr/bin/d -> /usr/local/bin/d",
            "changes  [Service] ExecStart= --config /a -> /b",
            "LOSES    [Service] ExecStart= --data-dir /srv",
            "adds     [Service] ExecStart= --json",
        ]
    );
    assert_eq!(
        service("ExecStart=/a -x -y", "ExecStart=/a -y -x"),
        ["changes  [Service] ExecStart=/a -x -y -> /a -y -x"]
    );
    assert_eq!(
        service("ExecStart=/a --l 1 --l 2", "ExecStart=/a --l 2 --l 3 --l 4"),
        [
            "LOSES    [Service] ExecStart= --l 1",
            "adds     [Service] ExecStart= --l 3",
            "adds     [Service] ExecStart= --l 4"
        ]
    );
}

#[test]
fn several_commands_are_paired_by_program_and_their_order_counts() {
    assert_eq!(
        service(
            "ExecStartPre=/a 1\nExecStartPre=/b\nExecStartPre=/c",
            "ExecStartPre=/c\nExecStartPre=/a 2\nExecStartPre=/b\nExecStartPre=/d"
        ),
        [
            "changes  [Service] ExecStartPre= /a argument 1 -> 2",
            "adds     [Service] ExecStartPre=/d",
            "changes  [Service] ExecStartPre= order /a 1; /b; /c -> /c; /a 2; /b; /d",
        ]
    );
}

#[test]
fn lists_are_compared_by_element_and_variables_by_name() {
    assert_eq!(
        changes("[Unit]\nAfter=a b\n", "[Unit]\nAfter=b c\n"),
        ["LOSES    [Unit] After=a", "adds     [Unit] After=c"]
    );
    assert_eq!(
        service("Environment=A=1 B=2 C=\"x y\"", "Environment=A=3 D="),
        [
            "changes  [Service] Environment=A=1 -> 3",
            "LOSES    [Service] Environment=B=2",
            "LOSES    [Service] Environment=C=x y",
            "adds     [Service] Environment=D="
        ]
    );
    assert_eq!(
        service("SystemCallFilter=@a\nSystemCallFilter=~@b", "SystemCallFilter=~@b\nSystemCallFilter=@a").len(),
        1
    );
}

#[test]
fn elements_about_one_thing_are_one_that_differs() {
    for (old, new, expected) in [
        (
            "LoadCredential=a:/1 \nLoadCredential=b:/2",
            "LoadCredential=b:/3\nLoadCredential=a:/1",
            "changes  [Service] LoadCredential=b:/2 -> b:/3",
        ),
        ("BindPaths=/a:/x /b:/y", "BindPaths=/c:/x /b:/y", "changes  [Service] BindPaths=/a:/x -> /c:/x"),
        (
            "EnvironmentFile=/a\nEnvironmentFile=-/b",
            "EnvironmentFile=-/a\nEnvironmentFile=-/b",
            "changes  [Service] EnvironmentFile=/a -> -/a",
        ),
        (
            "EnvironmentFile=/a\nEnvironmentFile=-/b",
            "EnvironmentFile=-/b\nEnvironmentFile=/a",
            "changes  [Service] EnvironmentFile= order /a; -/b -> -/b; /a",
        ),
        (
            "DeviceAllow=/dev/a r\nDeviceAllow=/dev/b r",
            "DeviceAllow=/dev/b r\nDeviceAllow=/dev/a rw",
            "weakens  [Service] DeviceAllow=/dev/a r -> /dev/a rw",
        ),
        ("ReadWritePaths=-/a", "ReadWritePaths=/a", "changes  [Service] ReadWritePaths=-/a -> /a"),
        (
            "ReadWritePaths=-/a /a",
            "ReadWritePaths=+/a",
            "LOSES    [Service] ReadWritePaths=-/a\nLOSES    [Service] ReadWritePaths=/a\nadds     [Service] ReadWritePaths=+/a",
        ),
    ] {
        assert_eq!(service(old, new).join("\n"), expected, "{old} / {new}");
    }
}

#[test]
fn spellings_of_one_command_line() {
    for (old, new, expected) in [
        ("--v serve", "serve --v", "changes  [Service] ExecStart=/a --v serve -> /a serve --v"),
        ("--v serve --x=1", "serve --v --x 2", "changes  [Service] ExecStart= --x 1 -> 2"),
        ("-abc", "-ab", "LOSES    [Service] ExecStart= -abc\nadds     [Service] ExecStart= -ab"),
        ("--a=b=c", "--a b=c", "changes  [Service] ExecStart=/a --a=b=c -> /a --a b=c"),
        ("--a=", "--a", "changes  [Service] ExecStart= --a \"\" -> none"),
        ("\\\n  --x 1 \\\n# c\n  --y", "--x 1 --y", ""),
        ("--x 1 --x 2", "--x 2 --x 1", "changes  [Service] ExecStart=/a --x 1 --x 2 -> /a --x 2 --x 1"),
        ("-- --x", "--x", "LOSES    [Service] ExecStart= argument --x\nadds     [Service] ExecStart= --x"),
    ] {
        let line = |rest: &str| format!("ExecStart=/a {rest}");
        assert_eq!(service(&line(old), &line(new)).join("\n"), expected, "{old} / {new}");
    }
}

#[test]
fn an_empty_bounding_set_is_not_an_absent_one() {
    assert_eq!(service("", "CapabilityBoundingSet="), ["hardens  [Service] CapabilityBoundingSet=\"\""]);
    assert_eq!(
        service("CapabilityBoundingSet=CAP_CHOWN", "CapabilityBoundingSet="),
        ["LOSES    [Service] CapabilityBoundingSet=CAP_CHOWN (hardens)"]
    );
}

proptest! {
    #[test]
    fn a_unit_is_the_same_as_itself_and_a_swap_swaps_the_classes(
        old in prop::collection::vec("(User|ExecStartPre|Environment|After|Fancy)=(/a|B=1|-x 'c'|/a ;|~)?( -x)?( --y[=1 ]z)?", 0..8),
        new in prop::collection::vec("(User|ExecStartPre|Environment|After|Fancy)=(/a|B=1|-x 'c'|/a ;|~)?( -x)?( --y[=1 ]z)?", 0..8),
    ) {
        let text = |lines: &[String]| format!("[Service]\n{}\n", lines.join("\n"));
        let (old, new) = (reading(&text(&old)), reading(&text(&new)));
        prop_assert!(compare(&old, &old).is_empty());
        let count = |changes: &[Change], class| changes.iter().filter(|c| c.class == class).count();
        let (there, back) = (compare(&old, &new), compare(&new, &old));
        prop_assert_eq!(count(&there, Class::Adds), count(&back, Class::Loses));
        prop_assert_eq!(count(&there, Class::Changes), count(&back, Class::Changes));
    }
}
