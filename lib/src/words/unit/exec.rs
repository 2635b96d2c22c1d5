//! Command lines and word lists as systemd splits them (systemd.service(5) "COMMAND LINES", systemd.syntax(7) "QUOTING").

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// One command of an `Exec…=` setting. Specifiers and variables stand in it as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Command {
    /// The prefix characters (`@ - : + ! !! |`) in the order `@-:+!|`, so that equal meaning is equal text.
    pub prefix: String,
    /// The program.
    pub program: String,
    /// Its arguments; with the prefix `@` the first is the process's `argv[0]`.
    pub arguments: Vec<String>,
}

/// A command line or word list that systemd refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A quote without its partner.
    #[error("a quote is not closed")]
    Quote,
    /// A prefix, and no program after it.
    #[error("names no program")]
    NoProgram,
    /// `@` asks for an `argv[0]`, and there is none.
    #[error("'@' needs one more word")]
    NoArgv0,
}

/// Splits one `Exec…=` value into its commands: `;` as a word of its own separates two.
pub fn commands(value: &str) -> Result<Vec<Command>, Unreadable> {
    let mut rest = value.chars().peekable();
    let mut commands = Vec::new();
    while let Some(first) = next_word(&mut rest)? {
        if first == ";" {
            continue;
        }
        let (prefix, program) = split_prefix(&first);
        if program.is_empty() {
            return Err(Unreadable::NoProgram);
        }
        let mut command = Command { prefix, program: program.to_owned(), arguments: Vec::new() };
        loop {
            skip_blanks(&mut rest);
            // Only the bare character separates; quoted or escaped it is a word (systemd.service(5)).
            if lone(&rest, ";") {
                rest.next();
                break;
            }
            if lone(&rest, "\\;") {
                rest.nth(1);
                command.arguments.push(";".to_owned());
            } else if let Some(word) = next_word(&mut rest)? {
                command.arguments.push(word);
            } else {
                break;
            }
        }
        if command.prefix.contains('@') && command.arguments.is_empty() {
            return Err(Unreadable::NoArgv0);
        }
        commands.push(command);
    }
    Ok(commands)
}

/// Splits a list (`Environment=`, `ReadWritePaths=`) into its words, quotes and escapes resolved.
pub fn words(value: &str) -> Result<Vec<String>, Unreadable> {
    let mut rest = value.chars().peekable();
    let mut words = Vec::new();
    while let Some(word) = next_word(&mut rest)? {
        words.push(word);
    }
    Ok(words)
}

impl fmt::Display for Command {
    /// The command as it can stand in a unit file again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, quoted(&self.program))?;
        self.arguments.iter().try_for_each(|word| write!(f, " {}", quoted(word)))
    }
}

/// `word` as it can stand in a unit file: quoted and escaped only when it must be.
#[must_use]
pub fn quoted(word: &str) -> String {
    let special = |c: char| c.is_whitespace() || c.is_control() || "\"'\\".contains(c);
    if !word.is_empty() && !word.contains(special) && word != ";" {
        return word.to_owned();
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn skip_blanks(rest: &mut Peekable<Chars>) {
    while rest.next_if(|c| is_blank(*c)).is_some() {}
}

/// True when `token` stands next, followed by a blank or the end.
fn lone(rest: &Peekable<Chars>, token: &str) -> bool {
    let mut ahead = rest.clone();
    token.chars().all(|c| ahead.next() == Some(c)) && ahead.next().is_none_or(is_blank)
}

/// systemd takes each prefix once, and of `+`, `!`, `!!` only one kind.
fn split_prefix(word: &str) -> (String, &str) {
    let mut taken = String::new();
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let privileges = taken.contains(['+', '!']);
        let accepted = match c {
            '-' | '@' | ':' | '|' => !taken.contains(c),
            '+' => !privileges,
            '!' => !taken.contains('+') && taken.matches('!').count() < 2,
            _ => false,
        };
        if !accepted {
            break;
        }
        taken.push(c);
        rest = &rest[c.len_utf8()..];
    }
    let ordered = "@-:+!|".chars().flat_map(|c| taken.chars().filter(move |t| *t == c)).collect();
    (ordered, rest)
}

/// The next word, as systemd's own splitting gives it: quotes may open anywhere, unknown escapes stay as they are.
fn next_word(rest: &mut Peekable<Chars>) -> Result<Option<String>, Unreadable> {
    skip_blanks(rest);
    if rest.peek().is_none() {
        return Ok(None);
    }
    let mut word = Vec::new();
    let mut quote = None;
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => unescape(rest, &mut word),
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (c, None) if is_blank(c) => break,
            (c, _) => push(&mut word, c),
        }
    }
    if quote.is_some() {
        return Err(Unreadable::Quote);
    }
    Ok(Some(String::from_utf8_lossy(&word).into_owned()))
}

fn push(word: &mut Vec<u8>, c: char) {
    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The escapes of systemd.syntax(7), table 1. A NUL can't be written; such an escape stays as it is.
fn unescape(rest: &mut Peekable<Chars>, word: &mut Vec<u8>) {
    let mut ahead = rest.clone();
    let simple = match ahead.next() {
        Some('a') => Some(7),
        Some('b') => Some(8),
        Some('f') => Some(12),
        Some('n') => Some(10),
        Some('r') => Some(13),
        Some('t') => Some(9),
        Some('v') => Some(11),
        Some('s') => Some(b' '),
        Some(c @ ('\\' | '"' | '\'')) => u8::try_from(c).ok(),
        _ => None,
    };
    if let Some(byte) = simple {
        rest.next();
        word.push(byte);
        return;
    }
    let (skip, digits, radix) = match rest.peek() {
        Some('x') => (1, 2, 16),
        Some('u') => (1, 4, 16),
        Some('U') => (1, 8, 16),
        _ => (0, 3, 8),
    };
    let text: String = rest.clone().skip(skip).take(digits).collect();
    let plain = text.chars().count() == digits && text.chars().all(|c| c.is_digit(radix));
    let code = u32::from_str_radix(&text, radix).ok().filter(|code| plain && *code != 0);
    let written = match code {
        Some(code) if digits <= 3 => u8::try_from(code).map(|byte| word.push(byte)).ok(),
        Some(code) => char::from_u32(code).map(|c| push(word, c)),
        None => None,
    };
    if written.is_some() {
        rest.nth(skip + digits - 1);
    } else {
        word.push(b'\\');
        if let Some(c) = rest.next() {
            push(word, c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_split_as_systemd_splits_them() {
        let cases: &[(&str, &[&str])] = &[
            (r#"a  "b c"	'd "e'"#, &["a", "b c", "d \"e"]),
            (r#"a"b c"d """#, &["ab cd", ""]),
            (r"\x41 \101 \u00e4 \U0001F600 \s\t", &["A", "A", "ä", "😀", " \t"]),
            (r"\q \x4 \000 \400 x\", &[r"\q", r"\x4", r"\000", r"\400", "x\\"]),
            (r"\xc3\xa4", &["ä"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).unwrap(), *expected, "{text}");
        }
        assert_eq!(words("a 'b"), Err(Unreadable::Quote));
        assert_eq!(words("\"\\\""), Err(Unreadable::Quote));
    }

    #[test]
    fn a_command_is_prefix_program_and_arguments() {
        let shown = |text: &str| {
            let all = commands(text).unwrap();
            all.iter().map(|c| format!("{} {} {:?}", c.prefix, c.program, c.arguments)).collect::<Vec<_>>()
        };
        assert_eq!(shown("/bin/a -x"), [r#" /bin/a ["-x"]"#]);
        assert_eq!(shown("-@!!:/bin/a zero"), [r#"@-:!! /bin/a ["zero"]"#]);
        assert_eq!(shown("+!/bin/a"), ["+ !/bin/a []"]);
        assert_eq!(shown("!+/bin/a"), ["! +/bin/a []"]);
        assert_eq!(shown("--/bin/a"), ["- -/bin/a []"]);
        assert_eq!(shown(r"/bin/a \; x ; ; -/bin/b ';' y;"), [r#" /bin/a [";", "x"]"#, r#"- /bin/b [";", "y;"]"#]);
        assert_eq!(shown("; /bin/a ;"), [" /bin/a []"]);
        assert_eq!(commands("-"), Err(Unreadable::NoProgram));
        assert_eq!(commands("@/bin/a"), Err(Unreadable::NoArgv0));
    }

    proptest! {
        #[test]
        fn a_shown_command_reads_the_same(program in "/[a-z \"'\\\\;ä]{1,8}", arguments in prop::collection::vec("[ -~\tä\n]{0,6}", 0..5)) {
            let command = Command { prefix: String::new(), program, arguments };
            prop_assert_eq!(commands(&command.to_string()).unwrap(), [command]);
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"[\\xuU0-9a-f"' ;@+!:|-]{0,40}"#) {
            let _ = (commands(&text), words(&text));
        }
    }
}
