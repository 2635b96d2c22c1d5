//! The version in what a program prints.

use super::release::Tag;

/// The first word of the first line that reads as a version, as it is printed: `1.2.3` of `rune version v1.2.3 (abc)`.
#[must_use]
pub fn version(output: &str) -> Option<&str> {
    let line = output.lines().find(|line| !line.trim().is_empty())?;
    let outside = |c: char| matches!(c, '(' | ')' | '[' | ']' | ',' | ';' | ':' | '"' | '\'' | '.');
    let words = line.split_whitespace().map(|word| word.trim_matches(outside));
    words.map(|word| (word, Tag::new(word))).find(|(_, tag)| tag.version().is_some()).map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

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
