//! Templates: `{{NAME}}` in a unit's text, as in systemd's own build, filled with values that can't break out of their place.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::exec::{self, Command};
use super::file::{Assignment, File, Malformed};
use super::keys::{self, Kind};
use crate::words::exit::{Coded, Exit};

/// `NAME=VALUE` of `--set`: a value that may stand in a unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The placeholder it fills: a letter or `_`, then letters, digits and `_`.
    pub name: String,
    /// Not empty, no control characters, `%` only doubled.
    pub text: String,
}

/// Why a word is no `NAME=VALUE` for a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAValue {
    /// No `=`, or a name that no placeholder can have.
    #[error("NAME=VALUE is needed, NAME of letters, digits and '_'")]
    Form,
    /// Nothing after the `=`.
    #[error("the value of {0} is empty, which would reset the key it stands in")]
    Empty(String),
    /// A newline or another control character.
    #[error("the value of {0} has a control character, which could begin a line of its own")]
    Control(String),
    /// A single `%`.
    #[error("the value of {0} has a '%', which begins a specifier; write '%%' for the character itself")]
    Specifier(String),
}

/// Why a template could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// `{{` without a name and `}}`.
    #[error("line {line}: '{{{{' begins no placeholder of the form {{{{NAME}}}}")]
    Placeholder {
        /// The line, from 1.
        line: usize,
    },
    /// A placeholder that nobody gave a value for.
    #[error("line {line}: no value for {{{{{name}}}}}; give it with --set {name}=VALUE")]
    Unknown {
        /// The line, from 1.
        line: usize,
        /// The placeholder's name.
        name: String,
    },
    /// A value that no placeholder takes.
    #[error("--set {name}: the template has no {{{{{name}}}}}")]
    Unused {
        /// The value's name.
        name: String,
    },
    /// Two values for one placeholder.
    #[error("--set {name}: given twice")]
    Twice {
        /// The value's name.
        name: String,
    },
    /// A value that changes how systemd splits the line it stands in.
    #[error(
        "line {line}: the value of {names} would not stay one word there ({key}=); quotes and separate words belong into the template"
    )]
    BreaksOut {
        /// The line, from 1.
        line: usize,
        /// The key it stands in.
        key: String,
        /// The values that stand in it.
        names: String,
    },
    /// A placeholder after a `%` or, in a command line, a `$`: its value would be read as a specifier or a variable.
    #[error(
        "line {line}: '{sign}' in front of {{{{{name}}}}} makes more of its value than text; write '{sign}{sign}' for the character itself"
    )]
    After {
        /// The line, from 1.
        line: usize,
        /// `%` or `$`.
        sign: char,
        /// The placeholder's name.
        name: String,
    },
    /// A value that makes the list it stands in mean its opposite.
    #[error(
        "line {line}: the value of {names} begins with '~', which turns {key}= into its opposite; that belongs into the template"
    )]
    Inverts {
        /// The line, from 1.
        line: usize,
        /// The key it stands in.
        key: String,
        /// The values that stand in it.
        names: String,
    },
    /// A value that begins an environment variable in a command line.
    #[error(
        "line {line}: the value of {name} has a '$', which begins a variable in {key}=; write '$$' for the character itself"
    )]
    Variable {
        /// The line, from 1.
        line: usize,
        /// The key it stands in.
        key: String,
        /// The value's name.
        name: String,
    },
    /// The template, or what became of it, is no unit file.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Coded for FillError {
    fn exit(&self) -> Exit {
        match self {
            Self::Placeholder { .. } | Self::After { .. } | Self::Malformed(_) => Exit::CouldNot,
            _ => Exit::Usage,
        }
    }
}

impl FromStr for Value {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let (name, text) = text.split_once('=').filter(|(name, _)| is_name(name)).ok_or(NotAValue::Form)?;
        let name = name.to_owned();
        if text.is_empty() {
            return Err(NotAValue::Empty(name));
        }
        if text.contains(char::is_control) {
            return Err(NotAValue::Control(name));
        }
        if text.replace("%%", "").contains('%') {
            return Err(NotAValue::Specifier(name));
        }
        Ok(Self { name, text: text.to_owned() })
    }
}

/// `template` with every `{{NAME}}` replaced by its value.
///
/// Every placeholder needs a value and every value a placeholder. The result has the template's sections, keys, commands
/// and words, one for one: a value that would add to them is refused.
pub fn fill(template: &str, values: &[Value]) -> Result<String, FillError> {
    let mut given = BTreeSet::new();
    if let Some(twice) = values.iter().find(|value| !given.insert(&value.name)) {
        return Err(FillError::Twice { name: twice.name.clone() });
    }
    let mut used = BTreeSet::new();
    let mut out = String::with_capacity(template.len());
    for (index, text) in template.split_inclusive('\n').enumerate() {
        let line = index + 1;
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(FillError::Placeholder { line })?;
            let name = Some(name.trim()).filter(|name| is_name(name)).ok_or(FillError::Placeholder { line })?;
            let value = values.iter().find(|value| value.name == name);
            let value = value.ok_or_else(|| FillError::Unknown { line, name: name.to_owned() })?;
            if odd(before, '%') {
                return Err(FillError::After { line, sign: '%', name: name.to_owned() });
            }
            used.insert(&value.name);
            out.extend([before, value.text.as_str()]);
            rest = after;
        }
        out.push_str(rest);
    }
    if let Some(name) = given.into_iter().find(|name| !used.contains(*name)) {
        return Err(FillError::Unused { name: name.clone() });
    }
    let before = File::parse(template.into())?;
    let after = File::parse(out.clone().into());
    let no_unit =
        |_| FillError::BreaksOut { line: 1, key: "section".to_owned(), names: names_in("", values).join(", ") };
    stays_in_place(&before, &after.map_err(no_unit)?, values)?;
    Ok(out)
}

/// Whether `text` ends in a `sign` that is not one of a pair.
fn odd(text: &str, sign: char) -> bool {
    text.chars().rev().take_while(|c| *c == sign).count() % 2 == 1
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `text` of a template with its values, without any reading of lines or words.
fn substituted(text: &str, values: &[Value]) -> String {
    replaced(text, |name| {
        values.iter().find(|value| value.name == name).map(|value| value.text.clone()).unwrap_or_default()
    })
}

/// `text` with `{{ NAME }}` written `{{NAME}}`: a placeholder is one word, also with blanks inside.
fn opaque(text: &str) -> String {
    replaced(text, |name| format!("{{{{{name}}}}}"))
}

fn replaced(text: &str, with: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        out.push_str(before);
        out.push_str(&with(name.trim()));
        rest = after;
    }
    out + rest
}

/// Compares what systemd reads from the filled text with the filled reading of the template.
fn stays_in_place(template: &File, filled: &File, values: &[Value]) -> Result<(), FillError> {
    let fill = |text: &str| substituted(text, values);
    let breaks_out = |line: usize, key: &str, text: &str| FillError::BreaksOut {
        line,
        key: key.to_owned(),
        names: names_in(text, values).join(", "),
    };
    let mut results = filled.assignments();
    for before in template.assignments() {
        let Assignment { section, key, value, line } = before;
        let fits = |after: Assignment| {
            after.section == fill(section)
                && after.key == fill(key)
                && after.value == fill(value)
                && after.line == line
                && same_words(&fill(key), value, after.value, values)
        };
        if !results.next().is_some_and(fits) {
            return Err(breaks_out(line, key, &format!("{section}{key}{value}")));
        }
        let kind = keys::kind(&fill(key));
        if matches!(kind, Kind::Filter | Kind::Capabilities)
            && substituted(value, values).starts_with('~')
            && !value.starts_with('~')
        {
            return Err(FillError::Inverts { line, key: key.to_owned(), names: names_in(value, values).join(", ") });
        }
        if kind == Kind::Commands
            && let Some((_, after)) =
                value.split("{{").zip(value.split("{{").skip(1)).find(|(before, _)| odd(before, '$'))
        {
            let name = after.split("}}").next().unwrap_or_default().trim().to_owned();
            return Err(FillError::After { line, sign: '$', name });
        }
        if kind == Kind::Commands
            && let Some(name) = names_in(value, values)
                .into_iter()
                .find(|name| values.iter().any(|v| v.name == **name && v.text.replace("$$", "").contains('$')))
        {
            return Err(FillError::Variable { line, key: key.to_owned(), name: name.to_owned() });
        }
    }
    let sections: Vec<_> = template.sections().iter().map(|name| fill(name)).collect();
    match results.next() {
        Some(more) => Err(breaks_out(more.line, more.key, "")),
        None if sections != filled.sections() || template.complaints() != filled.complaints() => {
            Err(breaks_out(1, "section", ""))
        }
        None => Ok(()),
    }
}

/// The names of the values that `text` takes; all of them when it shows none.
fn names_in<'v>(text: &str, values: &'v [Value]) -> Vec<&'v str> {
    let parts: Vec<_> = text.split("{{").skip(1).filter_map(|part| part.split_once("}}")).collect();
    let taken = |value: &&Value| parts.is_empty() || parts.iter().any(|(name, _)| name.trim() == value.name);
    values.iter().filter(taken).map(|value| value.name.as_str()).collect()
}

fn same_words(key: &str, before: &str, after: &str, values: &[Value]) -> bool {
    let fill = |text: &String| substituted(text, values);
    match keys::kind(key) {
        Kind::Commands => {
            let filled = |command: &Command| Command {
                prefix: command.prefix.clone(),
                program: fill(&command.program),
                arguments: command.arguments.iter().map(fill).collect(),
            };
            let expected = exec::commands(&opaque(before)).map(|all| all.iter().map(filled).collect::<Vec<_>>());
            expected == exec::commands(after)
        }
        // Of the entries these are words: a device and what may be done with it.
        Kind::Entries if !key.starts_with("DeviceAllow") && !key.contains("IO") => true,
        Kind::Text | Kind::Switch | Kind::Span | Kind::Sequence => true,
        _ => exec::words(&opaque(before)).map(|all| all.iter().map(fill).collect::<Vec<_>>()) == exec::words(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEMPLATE: &str = "# {{ BIN }}\n[Unit]\nDescription={{TEXT}}\n[Service]\nUser={{USER}}\nExecStart={{BIN}} --text \"{{TEXT}}\" --config={{ CONFIG }}\n";

    fn filled(sets: &[&str]) -> Result<String, String> {
        let values: Vec<Value> =
            sets.iter().map(|s| s.parse()).collect::<Result<_, NotAValue>>().map_err(|e| e.to_string())?;
        fill(TEMPLATE, &values).map_err(|e| e.to_string())
    }

    fn with(set: &str) -> Result<String, String> {
        let name = set.split('=').next().unwrap();
        let usual = ["BIN=/bin/d", "TEXT=a b", "USER=d", "CONFIG=/etc/d"];
        let others = usual.into_iter().filter(|u| !u.starts_with(name));
        filled(&others.chain([set]).collect::<Vec<_>>())
    }

    #[test]
    fn placeholders_are_filled() {
        assert_eq!(
            with("CONFIG=/e/100%%").unwrap(),
            "# /bin/d\n[Unit]\nDescription=a b\n[Service]\nUser=d\nExecStart=/bin/d --text \"a b\" --config=/e/100%%\n"
        );
    }

    #[test]
    fn a_value_stays_in_its_place() {
        for bad in [
            "USER=d\nExecStartPre=/evil",
            "USER=",
            "USER=%h",
            "USER",
            "=x",
            "1X=y",
            "BIN=-/bin/d",
            "BIN=/bin/d x",
            "BIN=+/bin/d",
            "CONFIG=/a b",
            "CONFIG=/a ; /bin/evil",
            "CONFIG=\"",
            "CONFIG=/a\\",
            "CONFIG=\\x41",
            "CONFIG=$HOME",
            "TEXT=a\" \"b",
            "TEXT=a\\",
            "USER= d",
            "USER=d ",
        ] {
            let result = with(bad);
            assert!(result.is_err(), "{bad}: {result:?}");
        }
    }

    #[test]
    fn what_stands_in_front_makes_no_more_of_a_value() {
        let fill = |template: &str, set: &str| fill(template, &[set.parse().unwrap()]).map_err(|e| e.to_string());
        for (template, set) in [
            ("[S]\nK=%{{X}}\n", "X=h"),
            ("[S]\nK=%%%{{X}}\n", "X=h"),
            ("[Service]\nExecStart=/bin/a ${{X}}\n", "X=HOME"),
            ("[Service]\nExecStart=/bin/a b={{X}} $$${{X}}\n", "X=HOME"),
            ("[Service]\nSystemCallFilter={{X}}\n", "X=~@mount"),
            ("[Service]\nCapabilityBoundingSet={{X}}\n", "X=~CAP_KILL"),
            ("[Service]\nDeviceAllow={{X}} r\n", "X=/dev/sda rw"),
            ("[Service]\nExecStart=/bin/a {{X}} /bin/b\n", "X=;"),
            ("[Service]\nExecStart=/bin/a \\\n  {{X}}\n", "X=#b"),
            ("[S]\n{{X}}=v\n", "X=ExecStartPre=/evil"),
            ("[S]\nK={{X}}\n", "X=a\u{ffff}"),
            ("[Service]\nEnvironment=A={{X}}\n", "X=b C=d"),
            ("[Service]\nEnvironment='A={{X}}'\n", "X=b' 'C=d"),
            ("{{X}}[S]\nK=v\n", "X=#"),
            ("{{X}}\n[S]\nK=v\n", "X=[T]"),
        ] {
            let result = fill(template, set);
            assert!(result.is_err(), "{template}: {set}: {result:?}");
        }
        for (template, set, expected) in [
            ("[S]\nK=%%{{X}}\n", "X=h", "[S]\nK=%%h\n"),
            ("[Service]\nExecStart=/bin/a $${{X}}\n", "X=b", "[Service]\nExecStart=/bin/a $$b\n"),
            ("[Service]\nSystemCallFilter=~{{X}}\n", "X=@mount", "[Service]\nSystemCallFilter=~@mount\n"),
            ("[Timer]\nOnCalendar={{X}}\n", "X=Mon 03:00", "[Timer]\nOnCalendar=Mon 03:00\n"),
            ("[S]\nK={{X}}\n", "X={{X}}", "[S]\nK={{X}}\n"),
        ] {
            assert_eq!(fill(template, set).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn the_refusals_say_what_to_do() {
        let said = |set| with(set).unwrap_err();
        assert_eq!(
            said("CONFIG=/a b"),
            "line 6: the value of BIN, TEXT, CONFIG would not stay one word there (ExecStart=); quotes and separate words belong into the template"
        );
        assert_eq!(said("OTHER=x"), "--set OTHER: the template has no {{OTHER}}");
        assert_eq!(filled(&["BIN=/b"]).unwrap_err(), "line 3: no value for {{TEXT}}; give it with --set TEXT=VALUE");
        assert_eq!(
            fill("[S]\nK={{ no }\n", &[]).unwrap_err().to_string(),
            "line 2: '{{' begins no placeholder of the form {{NAME}}"
        );
    }

    proptest! {
        #[test]
        fn no_value_adds_a_setting(text in "[ -~]{1,8}") {
            if let Ok(filled) = with(&format!("CONFIG={text}")) {
                let file = File::parse(filled.into_bytes()).unwrap();
                prop_assert_eq!(file.assignments().len(), 3);
                let command = exec::commands(file.assignments().nth(2).unwrap().value).unwrap();
                prop_assert_eq!(&command[0].arguments[2], &format!("--config={text}"));
                prop_assert_eq!(command.len(), 1);
            }
        }
    }
}
