//! The version in what a program prints, and whether it is the one that a release is called by.

use super::release::{Tag, Version};

/// The first word of the first line that reads as a version, as it is printed: `1.2.3` of `rune version v1.2.3 (abc)`.
#[must_use]
pub fn version(output: &str) -> Option<&str> {
    let line = output.lines().find(|line| !line.trim().is_empty())?;
    let outside = |c: char| matches!(c, '(' | ')' | '[' | ']' | ',' | ';' | ':' | '"' | '\'' | '.');
    let words = line.split_whitespace().map(|word| word.trim_matches(outside));
    words.map(|word| (word, Tag::new(word))).find(|(_, tag)| tag.version().is_some()).map(|(word, _)| word)
}

/// Whether two texts name one version: the same numbers and the same pre-release. A leading `v` or name, missing zeros, `+build`
/// and the `-DATE-TIME-COMMIT` of a traceability tag make no difference. `None` when one of them names no version.
#[must_use]
pub fn same(a: &str, b: &str) -> Option<bool> {
    let version = |text: &str| untraced(text).parse::<Version>().ok();
    Some(version(a)? == version(b)?)
}

/// `v1.2.3` of `v1.2.3-20241213-152430-a1b2c3d4`.
fn untraced(text: &str) -> &str {
    let text = text.split('+').next().unwrap_or_default();
    let mut parts = text.rsplitn(4, '-');
    let digits = |part: &str, len: usize| part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit());
    let commit = |part: &str| (7..=40).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(id), Some(time), Some(day), Some(version)) if commit(id) && digits(time, 6) && digits(day, 8) => version,
        _ => text,
    }
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

    #[test]
    fn build_and_trace_and_v_make_no_difference_and_everything_else_does() {
        for other in ["1.2.3", "V1.2.3", "rune-1.2.3", "1.2.3+b7", "v1.2.3-20241213-152430-a1b2c3d4"] {
            assert_eq!(same("v1.2.3", other), Some(true), "{other}");
        }
        assert_eq!(same("v1.2", "1.2.0"), Some(true));
        assert_eq!(same("v1.2.3-rc.1", "1.2.3-rc.1+x"), Some(true));
        assert_eq!(same("20241213-152430", "v20241213-152430"), Some(true));
        for other in ["1.2.4", "1.2.3-rc.1", "1.2.3.1", "v1.2.3-20241213-152430", "1.2.30"] {
            assert_eq!(same("v1.2.3", other), Some(false), "{other}");
        }
        assert_eq!((same("nightly", "1.2.3"), same("1.2.3", "")), (None, None));
    }
}
