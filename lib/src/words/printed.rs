//! The version in what a program prints.

use super::proof::is_version;
use super::release::Tag;

/// The first word of the first line that reads as a version, as it is printed: `1.2.3` of `rune version v1.2.3 (abc)`.
#[must_use]
pub fn version(output: &str) -> Option<&str> {
    let line = output.lines().find(|line| !line.trim().is_empty())?;
    let outside = |c: char| matches!(c, '(' | ')' | '[' | ']' | ',' | ';' | ':' | '"' | '\'' | '.');
    let words = line.split_whitespace().map(|word| word.trim_matches(outside));
    words.map(|word| (word, Tag::new(word))).find(|(_, tag)| tag.version().is_some()).map(|(word, _)| word)
}

/// Whether a program's `output` is of the version `expected`; if not, the version it says.
pub fn is_of_version<'o>(output: &'o str, expected: &str) -> Result<(), Option<&'o str>> {
    let line = output.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match version(output) {
        Some(said) if is_version(said, expected) => Ok(()),
        // One that names no version as others do is taken at its word.
        None if is_version(line, expected) => Ok(()),
        said => Err(said),
    }
}

/// Whether a document, JSON say, holds the version `expected` as a word; if not, the first one it says.
pub fn holds_version<'o>(text: &'o str, expected: &str) -> Result<(), Option<&'o str>> {
    let of_a_word = |c: char| c.is_alphanumeric() || "._-+~/".contains(c);
    let words = || text.split(|c| !of_a_word(c)).map(|word| word.trim_matches('.')).filter(|word| !word.is_empty());
    if text.trim() == expected || words().any(|word| is_version(word, expected)) {
        return Ok(());
    }
    // A lone number is no version here.
    Err(words().find(|word| word.contains('.') && Tag::new(*word).version().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_version_is_found_and_no_other() {
        for (output, expected, found) in [
            ("rune v1.2.3\n", "1.2.3", Ok(())),
            ("rune 1.2.3", "v1.2.3", Ok(())),
            ("rune 1.2.30", "1.2.3", Err(Some("1.2.30"))),
            ("rune 1.2.3, and 2.0.0 is there", "2.0.0", Err(Some("1.2.3"))),
            ("build seven", "build seven", Ok(())),
            ("", "1", Err(None)),
        ] {
            assert_eq!(is_of_version(output, expected), found, "{output}");
        }
        for (text, expected, found) in [
            ("{\"go\":\"1.22.1\",\"version\":\"v1.2.3\"}", "1.2.3", Ok(())),
            ("version: 1.2.3.", "1.2.3", Ok(())),
            ("{\"count\":7,\"version\":\"1.2.4\"}", "1.2.3", Err(Some("1.2.4"))),
            ("\u{e9}", "1", Err(None)),
        ] {
            assert_eq!(holds_version(text, expected), found, "{text}");
        }
    }

    #[test]
    fn the_first_word_that_reads_as_a_version_is_it() {
        for (output, found) in [
            ("rune 1.2.3\n", Some("1.2.3")),
            ("\nrune version v1.2.3-rc.1 (2024-01-02)\nbuilt with 9.9.9\n", Some("v1.2.3-rc.1")),
            ("rune/1.2.3 linux/amd64", Some("rune/1.2.3")),
            ("rune, version 5.2.15(1)-release", None),
            ("Version: \"2.0\",", Some("2.0")),
            ("v1.2.3+b7.", Some("v1.2.3+b7")),
            ("rune dev\n1.2.3\n", None),
            ("", None),
        ] {
            assert_eq!(version(output), found, "{output}");
        }
    }
}
