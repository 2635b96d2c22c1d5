//! The file of SSH keys that may sign: the `allowed_signers` of ssh-keygen(1), "ALLOWED SIGNERS".
//!
//! `PRINCIPALS [OPTIONS] TYPE KEY [COMMENT]` a line. The options `namespaces=`, `valid-after=` and `valid-before=` are
//! understood, times in UTC alone (`20260101Z`); `cert-authority` and every other option refuse the file.

use super::sshsig::KeyBlob;

/// A file of allowed signers that was read whole.
#[derive(Clone, Debug)]
pub struct AllowedSigners(Vec<Line>);

#[derive(Clone, Debug)]
struct Line {
    principals: String,
    limits: Limits,
    key: KeyBlob,
}

#[derive(Clone, Debug, Default)]
struct Limits {
    namespaces: Option<String>,
    after: Option<u64>,
    before: Option<u64>,
}

/// A file that is of no use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotAllowedSigners {
    /// A line is not understood.
    #[error("line {line} is not 'PRINCIPALS [OPTIONS] TYPE KEY' (ssh-keygen(1), ALLOWED SIGNERS): {why}")]
    Malformed {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no key in it.
    #[error("no key may sign: the file of allowed signers is empty")]
    Empty,
}

/// Why a key may not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// No line has it.
    #[error("its key is not among the allowed signers")]
    Unknown,
    /// No line allows it for this use.
    #[error("its key is not allowed for this namespace (namespaces=)")]
    Namespace,
    /// No line allows it now.
    #[error("its key is not allowed at this time (valid-after=, valid-before=)")]
    Time,
}

impl AllowedSigners {
    /// Reads the file.
    pub fn parse(text: &[u8]) -> Result<Self, NotAllowedSigners> {
        let mut lines = Vec::new();
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            let malformed = |why| NotAllowedSigners::Malformed { line: index + 1, why };
            let line = std::str::from_utf8(line).map_err(|_| malformed("it is no text"))?.trim();
            if !line.is_empty() && !line.starts_with('#') {
                lines.push(read(line).map_err(malformed)?);
            }
        }
        if lines.is_empty() { Err(NotAllowedSigners::Empty) } else { Ok(Self(lines)) }
    }

    /// The principals that `key` belongs to, when it may sign for `namespace` at the time `now` (seconds since 1970-01-01
    /// UTC): one pattern list for each line that allows it.
    pub fn principals(&self, key: &KeyBlob, namespace: &str, now: u64) -> Result<Vec<String>, NotAllowed> {
        let mut why = NotAllowed::Unknown;
        let mut principals = Vec::new();
        for line in self.0.iter().filter(|line| line.key == *key) {
            let Limits { namespaces, after, before } = &line.limits;
            if namespaces.as_ref().is_some_and(|list| !matches(list, namespace)) {
                why = NotAllowed::Namespace;
            } else if after.is_some_and(|after| now < after) || before.is_some_and(|before| now > before) {
                why = NotAllowed::Time;
            } else {
                principals.push(line.principals.clone());
            }
        }
        if principals.is_empty() { Err(why) } else { Ok(principals) }
    }
}

/// Whether a pattern list of `ssh_config(5)`, "PATTERNS", fits `text`: one pattern does, and none with `!` in front.
#[must_use]
pub fn matches(list: &str, text: &str) -> bool {
    let refused =
        list.split(',').filter_map(|one| one.strip_prefix('!')).any(|one| fits(one.as_bytes(), text.as_bytes()));
    !refused && list.split(',').any(|one| !one.starts_with('!') && fits(one.as_bytes(), text.as_bytes()))
}

/// `*` is any bytes, `?` is one. Goes back to the last `*` alone, so the time is the product of both lengths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(c), _) if *c == b'?' || Some(c) == text.get(t) => (p, t) = (p + 1, t + 1),
            (_, Some((at, from))) => {
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
            (_, None) => return false,
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

fn read(line: &str) -> Result<Line, &'static str> {
    let (principals, rest) = field(line).ok_or("a quotation mark is not closed")?;
    let principals = unquoted(principals);
    if principals.is_empty() || principals.split(',').any(|one| one.is_empty() || one == "!") {
        return Err("it names no principal");
    }
    let (second, after) = field(rest).ok_or("a quotation mark is not closed")?;
    let mut limits = Limits::default();
    let (kind, rest) = if is_type(second) {
        (second, after)
    } else {
        for option in options(second) {
            limits.take(option)?;
        }
        field(after).ok_or("a quotation mark is not closed")?
    };
    if !is_type(kind) {
        return Err("where the key's type should be stands something else");
    }
    let key = rest.split_ascii_whitespace().next().ok_or("no key follows its type")?;
    let key = KeyBlob::from_base64(key).filter(|key| key.kind() == Some(kind)).ok_or("its key is not of its type")?;
    Ok(Line { principals: principals.to_owned(), limits, key })
}

impl Limits {
    fn take(&mut self, option: &str) -> Result<(), &'static str> {
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(unquoted(value))));
        let twice = match (name.to_ascii_lowercase().as_str(), value) {
            ("namespaces", Some(list)) if !list.is_empty() => self.namespaces.replace(list.to_owned()).is_some(),
            ("valid-after", Some(value)) => self.after.replace(time(value)?).is_some(),
            ("valid-before", Some(value)) => self.before.replace(time(value)?).is_some(),
            ("cert-authority", None) => return Err("cert-authority is not taken here; list the keys themselves"),
            _ => return Err("it has an unknown option"),
        };
        if twice { Err("it has an option twice") } else { Ok(()) }
    }
}

/// The first field and what follows it; blanks between quotation marks belong to the field. `None`: an open one.
fn field(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        !quoted && matches!(c, ' ' | '\t')
    });
    match end {
        Some(end) => Some((text.get(..end)?, text.get(end..)?)),
        None if quoted => None,
        None => Some((text, "")),
    }
}

fn options(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        !quoted && c == ','
    })
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// A key's type and no option: `ssh-ed25519`, `ecdsa-sha2-nistp256`, `sk-ssh-ed25519@openssh.com`.
fn is_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-", "rsa-", "webauthn-"].iter().any(|start| word.starts_with(start))
}

/// `YYYYMMDDZ`, `YYYYMMDDHHMMZ` or `YYYYMMDDHHMMSSZ` in seconds since 1970-01-01 UTC.
fn time(text: &str) -> Result<u64, &'static str> {
    const FORM: &str = "a time is not of the form YYYYMMDDZ or YYYYMMDDHHMM[SS]Z";
    let Some(digits) = text.strip_suffix('Z') else {
        return Err("a time is in the local time zone; write it in UTC, with Z behind it (YYYYMMDDZ)");
    };
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FORM);
    }
    let part = |at: usize, length: usize| {
        digits.get(at..at + length).map_or(Ok(0), |part| part.parse::<u64>().map_err(|_| FORM))
    };
    let (year, month, day) = (part(0, 4)?, part(4, 2)?, part(6, 2)?);
    let (hour, minute, second) = (part(8, 2)?, part(10, 2)?, part(12, 2)?);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = |year: u64, month: u64| match month {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=12).contains(&month) || !(1..=days(year, month)).contains(&day) {
        return Err(FORM);
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(FORM);
    }
    let whole: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let months: u64 = (1..month).map(|month| days(year, month)).sum();
    Ok((((whole + months + day - 1) * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFi30qjipS6z2Zoavp9tCm/PFA/DQbFbiGDAhPpI7e6r";
    const OTHER: &str = "ssh-rsa AAAAB3NzaC1yc2E=";
    /// 2026-01-01 00:00 UTC, by date(1).
    const NOW: u64 = 1_767_225_600;

    fn key() -> KeyBlob {
        KeyBlob::from_base64(KEY.split(' ').nth(1).unwrap()).unwrap()
    }

    fn allowed(file: &str) -> Result<Vec<String>, NotAllowed> {
        AllowedSigners::parse(file.as_bytes()).unwrap().principals(&key(), "file", NOW)
    }

    #[test]
    fn a_key_signs_for_the_principals_of_its_lines() {
        for (file, principals) in [
            (format!("a@x {KEY}"), vec!["a@x"]),
            (format!("# ours\n\n  a@x,b@* {KEY} a comment \"\r\n"), vec!["a@x,b@*"]),
            (format!("\"a x,b\"\t{KEY}"), vec!["a x,b"]),
            (format!("a {OTHER}\nb {KEY}\nc {KEY}"), vec!["b", "c"]),
            (format!("a namespaces=\"git\" {KEY}\nb namespaces=\"git,fil?\" {KEY}"), vec!["b"]),
            (format!("a namespaces=file {KEY}"), vec!["a"]),
            (format!("a NAMESPACES=\"*\",valid-after=\"20260101Z\",valid-before=\"20260101Z\" {KEY}"), vec!["a"]),
            (format!("a sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t\nb {KEY}"), vec!["b"]),
        ] {
            assert_eq!(allowed(&file), Ok(principals.into_iter().map(str::to_owned).collect()), "{file}");
        }
    }

    #[test]
    fn a_key_does_not_sign_for_what_its_lines_exclude() {
        for (file, why) in [
            (format!("a {OTHER}"), NotAllowed::Unknown),
            (format!("a namespaces=\"git\" {KEY}"), NotAllowed::Namespace),
            (format!("a namespaces=\"*,!file\" {KEY}"), NotAllowed::Namespace),
            (format!("a valid-after=\"202601010001Z\" {KEY}"), NotAllowed::Time),
            (format!("a valid-after=\"20260101000001Z\" {KEY}"), NotAllowed::Time),
            (format!("a valid-before=\"20251231235959Z\" {KEY}"), NotAllowed::Time),
        ] {
            assert_eq!(allowed(&file), Err(why), "{file}");
        }
    }

    #[test]
    fn one_line_that_is_not_understood_refuses_the_file() {
        for bad in [
            KEY,
            "a",
            "a ssh-ed25519",
            &format!("a {}", KEY.replace("ed25519 ", "rsa ")),
            &format!("a {}", &KEY[..KEY.len() - 1]),
            &format!("a cert-authority {KEY}"),
            &format!("a no-touch-required {KEY}"),
            &format!("a namespaces {KEY}"),
            &format!("a namespaces=\"\" {KEY}"),
            &format!("a namespaces=\"x {KEY}"),
            &format!("\"a {KEY}"),
            &format!("a,,b {KEY}"),
            &format!("\"\" {KEY}"),
            &format!("a valid-after=\"20260101\" {KEY}"),
            &format!("a valid-after=\"20260230Z\" {KEY}"),
            &format!("a valid-after=\"20260101Z\",valid-after=\"20260101Z\" {KEY}"),
            "-----BEGIN SSH SIGNATURE-----",
        ] {
            let file = format!("a {KEY}\n{bad}\n");
            let error = AllowedSigners::parse(file.as_bytes()).unwrap_err();
            assert!(matches!(error, NotAllowedSigners::Malformed { line: 2, .. }), "{bad}: {error}");
        }
        for empty in ["", "\n# nobody\n"] {
            assert_eq!(AllowedSigners::parse(empty.as_bytes()).unwrap_err(), NotAllowedSigners::Empty);
        }
        let certificate = AllowedSigners::parse(format!("a cert-authority {KEY}").as_bytes()).unwrap_err().to_string();
        assert!(certificate.contains("cert-authority"), "{certificate}");
    }

    #[test]
    fn patterns_are_those_of_ssh_config() {
        for (list, text, fit) in [
            ("a", "a", true),
            ("a", "A", false),
            ("*@x", "a@x", true),
            ("*@x", "a@xy", false),
            ("*a*b", "aab", true),
            ("a?c", "abc", true),
            ("a?", "a", false),
            ("*", "", true),
            ("!a,*", "a", false),
            ("!a,*", "b", true),
            ("!a", "b", false),
            ("", "", true),
        ] {
            assert_eq!(matches(list, text), fit, "{list} {text}");
        }
        let long = "a".repeat(10_000);
        assert!(!matches(&format!("{}b", "*a".repeat(1000)), &long), "in no more time than the product of both");
    }

    #[test]
    fn times_are_those_of_date() {
        for (text, seconds) in
            [("19700101Z", 0), ("20000229Z", 951_782_400), ("20240301000000Z", 1_709_251_200), ("202601010000Z", NOW)]
        {
            assert_eq!(time(text), Ok(seconds), "{text}");
        }
    }
}
