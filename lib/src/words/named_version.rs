//! The version in a file's name: `rune_1.2.3_linux_amd64.tar.gz` is of 1.2.3, and of no other.

use super::release::Tag;

/// What a file's name says of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// It is this one.
    This,
    /// It is another one: this.
    Other(String),
    /// No version of three numbers is in it.
    Nothing,
}

/// What `name` says of `version`. Names hold all sorts of numbers, so only three or more with dots between them are taken
/// for a version, and one that is the wanted version is enough.
#[must_use]
pub fn named(name: &str, version: &str) -> Named {
    let Some(wanted) = versions(Tag::new(version).version_text()).into_iter().next() else { return Named::Nothing };
    let found = versions(name);
    match found.iter().find(|found| (&found.numbers, &found.pre) == (&wanted.numbers, &wanted.pre)) {
        Some(_) => Named::This,
        None => found.into_iter().next().map_or(Named::Nothing, |other| Named::Other(other.text)),
    }
}

struct Found {
    text: String,
    numbers: Vec<String>,
    pre: String,
}

/// Every version in `text`: three or more numbers, and the kind of pre-release behind them that is not a word of the name.
fn versions(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut rest = text;
    let digit = |c: char| c.is_ascii_digit();
    while let Some(start) = rest.find(digit) {
        let here = rest.get(start..).unwrap_or_default();
        let dots = here.find(|c| !digit(c) && c != '.').unwrap_or(here.len());
        let core = here.get(..dots).unwrap_or_default().trim_end_matches('.');
        let numbers: Vec<_> = core.split('.').map(|n| n.trim_start_matches('0').to_owned()).collect();
        rest = here.get(core.len().max(1)..).unwrap_or_default();
        if numbers.len() >= 3 && !core.contains("..") {
            let (pre, length) = pre_release(rest);
            let text = format!("{core}{}", rest.get(..length).unwrap_or_default());
            rest = rest.get(length..).unwrap_or_default();
            found.push(Found { text, numbers, pre });
        }
    }
    found
}

/// `-rc.1` at the start of `text`, as `rc1`, and its length in bytes.
fn pre_release(text: &str) -> (String, usize) {
    let word = text.trim_start_matches(['-', '_', '~', '.']);
    for kind in ["alpha", "beta", "rc", "pre", "dev", "a", "b"] {
        let Some(behind) = word.strip_prefix(kind) else { continue };
        let number = behind.trim_start_matches(['.', '-']);
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        let number = number.get(..digits).unwrap_or_default();
        if !number.is_empty() {
            let length = text.len() - behind.len() + behind.find(number).unwrap_or_default() + digits;
            return (format!("{kind}{number}"), length);
        }
    }
    (String::new(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_version_they_hold() {
        for (name, version, said) in [
            ("rune_1.2.3_linux_amd64.tar.gz", "v1.2.3", Named::This),
            ("rune-v1.2.3.tar.gz", "rune-1.2.3", Named::This),
            ("rune_1.2.3_linux.tar.gz", "v1.2.3-20241213-152430-a1b2c3d4", Named::This),
            ("rune_0.0.1-dev.45_linux.tar.gz", "v0.0.1-dev.45", Named::This),
            ("rune-1.2.3rc1.tar.gz", "1.2.3-rc.1", Named::This),
            ("rune-1.2.3-glibc-2.31.0.tar.gz", "1.2.3", Named::This),
            ("rune-1.2.3.4.zip", "1.2.3.4", Named::This),
            ("rune_linux_amd64.tar.gz", "v1.2.3", Named::Nothing),
            ("rune_x86_64-glibc2.31.tar.gz", "v1.2.3", Named::Nothing),
            ("rune-20240101.tar.gz", "v1.2.3", Named::Nothing),
            ("rune-1.2.2.tar.gz", "20241213-152430", Named::Nothing),
            ("rune-1.2.2.tar.gz", "v1.7", Named::Nothing),
            ("", "v1.2.3", Named::Nothing),
            ("rune-1.2.3.tar.gz", "", Named::Nothing),
            ("rune-1..2.3.tar.gz", "1.2.3", Named::Nothing),
            ("rune_1.2.2_linux.tar.gz", "v1.2.3", Named::Other("1.2.2".into())),
            ("rune-11.2.3.tar.gz", "v1.2.3", Named::Other("11.2.3".into())),
            ("rune-1.2.33.tar.gz", "v1.2.3", Named::Other("1.2.33".into())),
            ("rune-1.2.3.4.tar.gz", "v1.2.3", Named::Other("1.2.3.4".into())),
            ("rune_0.0.1-dev.44_linux.tar.gz", "v0.0.1-dev.45", Named::Other("0.0.1-dev.44".into())),
            ("rune-1.2.3-rc.1.tar.gz", "v1.2.3", Named::Other("1.2.3-rc.1".into())),
            ("rune-1.2.3.tar.gz", "v1.2.3-rc.1", Named::Other("1.2.3".into())),
        ] {
            assert_eq!(named(name, version), said, "{name} {version}");
        }
    }
}
