//! One unit file: every byte of it, and the assignments that systemd reads from it.
//!
//! The rules are those of systemd.syntax(7) and, where it is silent, of what systemd 252 was seen to do: a carriage
//! return or a NUL ends a line too, the first byte order mark is dropped, comments inside a continuation are skipped, an
//! empty line ends it. What merely is ignored with a warning becomes a [`Complaint`]; what makes systemd refuse the
//! whole file is a [`Malformed`].

use std::ops::Range;

use crate::words::exit::{Coded, Exit};

/// The blanks that systemd strips around lines, keys and values.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A unit file or drop-in, kept to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    bytes: Vec<u8>,
    lines: Vec<Place>,
    sections: Vec<String>,
    /// The keys and values of all assignments, one after the other.
    text: String,
    assignments: Vec<Assigned>,
    complaints: Vec<Complaint>,
}

/// One line as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its bytes, line end included.
    pub bytes: &'a [u8],
    /// What it is to systemd.
    pub part: Part,
}

/// What a line is to systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing but blanks.
    Blank,
    /// A comment, also one inside a continuation.
    Comment,
    /// (Part of) a section header.
    Section,
    /// (Part of) an assignment.
    Assignment,
    /// (Part of) what systemd ignores with a warning.
    Ignored,
}

/// `Key=value` in a section, as systemd reads it: continuations joined, blanks around key and value dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The section, without its brackets.
    pub section: &'a str,
    /// The key.
    pub key: &'a str,
    /// The value; empty for a reset.
    pub value: &'a str,
    /// The number of its first line, from 1.
    pub line: usize,
}

/// Where a line ends in the file, and what it is. A file of many short lines must not take many times its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    end: u32,
    part: Part,
}

/// Where the key and the value of an assignment begin in the file's `text`; the value ends where the next key begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Assigned {
    section: u32,
    key: u32,
    value: u32,
    line: u32,
}

/// Something that systemd ignores with a warning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}; systemd ignores it")]
pub struct Complaint {
    /// The number of its first line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// What makes systemd refuse a whole file.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// A line that is not UTF-8.
    #[error("line {line}: not UTF-8; systemd refuses the whole file")]
    NotUtf8 {
        /// The number of its first line, from 1.
        line: usize,
    },
    /// A section header without its closing bracket, or with characters that systemd refuses.
    #[error("line {line}: invalid section header '{text}'; systemd refuses the whole file")]
    Section {
        /// The number of its first line, from 1.
        line: usize,
        /// The header.
        text: String,
    },
}

impl Coded for Malformed {
    fn exit(&self) -> Exit {
        Exit::CouldNot
    }
}

impl File {
    /// Reads `bytes` as systemd reads a unit file or a drop-in; fails on what makes systemd refuse it.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Malformed> {
        let mut reader = Reader::default();
        let mut start = 0;
        while let Some((text, end)) = next_line(&bytes, start) {
            reader.line(bytes.get(text).unwrap_or_default(), end)?;
            start = end;
        }
        reader.end()?;
        let Reader { lines, sections, text, assignments, complaints, .. } = reader;
        Ok(Self { bytes, lines, sections, text, assignments, complaints })
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, when nothing else of it is needed any more.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Its lines in order; together they are [`Self::bytes`].
    #[must_use]
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Line<'_>> {
        let mut start = 0;
        self.lines.iter().map(move |Place { end, part }| {
            let end = long(*end);
            let bytes = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            Line { bytes, part: *part }
        })
    }

    /// The section headers in order, without brackets, repeated when the file repeats them.
    #[must_use]
    pub fn sections(&self) -> &[String] {
        &self.sections
    }

    /// The assignments in order.
    #[must_use]
    pub fn assignments(&self) -> impl ExactSizeIterator<Item = Assignment<'_>> {
        self.assignments.iter().enumerate().map(|(index, Assigned { section, key, value, line })| {
            let end = self.assignments.get(index + 1).map_or(self.text.len(), |next| long(next.key));
            Assignment {
                section: self.sections.get(long(*section)).map(String::as_str).unwrap_or_default(),
                key: self.text.get(long(*key)..long(*value)).unwrap_or_default(),
                value: self.text.get(long(*value)..end).unwrap_or_default(),
                line: long(*line),
            }
        })
    }

    /// What systemd would warn about and ignore, in order.
    #[must_use]
    pub fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }
}

/// A place in a file, as it is kept: what is longer than four gigabytes is no unit ([`super::LIMIT`]).
fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn long(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// A line end of systemd is any run of `\n`, `\r` and NUL in which none repeats and nothing follows a NUL.
fn next_line(bytes: &[u8], start: usize) -> Option<(Range<usize>, usize)> {
    let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
    let is_end = |b: &u8| matches!(b, b'\n' | b'\r' | 0);
    let Some(length) = rest.iter().position(is_end) else { return Some((start..bytes.len(), bytes.len())) };
    let mut seen: Vec<u8> = Vec::with_capacity(3);
    for byte in rest.iter().skip(length) {
        if !is_end(byte) || seen.contains(byte) || seen.last() == Some(&0) {
            break;
        }
        seen.push(*byte);
    }
    Some((start..start + length, start + length + seen.len()))
}

#[derive(Default)]
struct Reader {
    lines: Vec<Place>,
    sections: Vec<String>,
    text: String,
    assignments: Vec<Assigned>,
    complaints: Vec<Complaint>,
    /// The logical line so far, and the index of its first line.
    logical: Vec<u8>,
    open: Option<usize>,
    mark_seen: bool,
}

impl Reader {
    /// Takes the line with this text, which ends in the file at `end`.
    fn line(&mut self, text: &[u8], end: usize) -> Result<(), Malformed> {
        let index = self.lines.len();
        let first = text.iter().find(|b| !matches!(b, b' ' | b'\t'));
        let part = if matches!(first, Some(b'#' | b';')) { Part::Comment } else { Part::Blank };
        self.lines.push(Place { end: short(end), part });
        if part == Part::Comment {
            return Ok(());
        }
        let text = match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if !self.mark_seen => {
                self.mark_seen = true;
                rest
            }
            _ => text,
        };
        self.open.get_or_insert(index);
        self.logical.extend_from_slice(text);
        if ends_in_backslash(text) {
            // systemd.syntax(7): the backslash is replaced by a space.
            self.logical.pop();
            self.logical.push(b' ');
            return Ok(());
        }
        self.end()
    }

    fn end(&mut self) -> Result<(), Malformed> {
        let Some(first) = self.open.take() else { return Ok(()) };
        let line = first + 1;
        let mut logical = std::mem::take(&mut self.logical);
        let text = std::str::from_utf8(&logical).ok().filter(|t| t.is_ascii() || t.chars().all(is_character));
        let part = self.logical(text.ok_or(Malformed::NotUtf8 { line })?.trim_matches(BLANKS), line)?;
        let its = self.lines.iter_mut().skip(first).filter(|line| line.part != Part::Comment);
        its.for_each(|line| line.part = part);
        logical.clear();
        self.logical = logical;
        Ok(())
    }

    fn logical(&mut self, text: &str, line: usize) -> Result<Part, Malformed> {
        if text.is_empty() {
            return Ok(Part::Blank);
        }
        if let Some(header) = text.strip_prefix('[') {
            let name = header
                .strip_suffix(']')
                .filter(|name| !name.contains(|c: char| c.is_ascii_control() || "\"'\\".contains(c)));
            let name = name.ok_or_else(|| Malformed::Section { line, text: text.to_owned() })?;
            self.sections.push(name.to_owned());
            return Ok(Part::Section);
        }
        let mut ignored = |what| {
            self.complaints.push(Complaint { line, what });
            Ok(Part::Ignored)
        };
        let Some(section) = self.sections.len().checked_sub(1) else {
            return ignored("stands before the first section");
        };
        let Some((key, value)) = text.split_once('=') else { return ignored("has no '='") };
        let key = key.trim_matches(BLANKS);
        if key.is_empty() {
            return ignored("has no key before '='");
        }
        let begins = short(self.text.len());
        self.text.push_str(key);
        let value_begins = short(self.text.len());
        self.assignments.push(Assigned {
            section: short(section),
            key: begins,
            value: value_begins,
            line: short(line),
        });
        self.text.push_str(value.trim_matches(BLANKS));
        Ok(Part::Assignment)
    }
}

fn ends_in_backslash(text: &[u8]) -> bool {
    text.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

/// systemd counts the noncharacters of Unicode (chapter 23.7) as not UTF-8.
fn is_character(c: char) -> bool {
    let code = u32::from(c);
    !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<String> {
        let file = File::parse(text.as_bytes().to_vec()).unwrap();
        file.assignments().map(|a| format!("{}:[{}]{}={}", a.line, a.section, a.key, a.value)).collect()
    }

    #[test]
    fn reads_as_systemd_does() {
        let cases: &[(&str, &[&str])] = &[
            (
                "[A]\nOne=value 1\n\n# c\n[B]\nTwo=value 2 \\\n       continued\n[C]\nThree=value 3\\\n# c\n; c\n       continued\n",
                &["2:[A]One=value 1", "6:[B]Two=value 2         continued", "9:[C]Three=value 3        continued"],
            ),
            ("[S]\n \t Key \t=\t v  \n", &["2:[S]Key=v"]),
            ("[S]\nK=a=b\nK=\n", &["2:[S]K=a=b", "3:[S]K="]),
            ("[S]\nK=1\n[T]\nK=2\n[S]\nK=3\n", &["2:[S]K=1", "4:[T]K=2", "6:[S]K=3"]),
            ("\u{feff}[S]\r\nK=1\r\n\r\nL=2\r\n", &["2:[S]K=1", "4:[S]L=2"]),
            ("[S]\rK=1\rL=2", &["2:[S]K=1", "3:[S]L=2"]),
            ("[S]\nK=1\0L=2\n", &["2:[S]K=1", "3:[S]L=2"]),
            // An empty line ends a continuation, and a comment's own backslash continues nothing.
            ("[S]\nK=a\\\n\nL=b\n# c\\\nM=d\n", &["2:[S]K=a", "4:[S]L=b", "6:[S]M=d"]),
            ("[S]\nK=a\\\\\nL=b\\", &["2:[S]K=a\\\\", "3:[S]L=b"]),
            ("[S]\nK=a\\ \nL=b", &["2:[S]K=a\\", "3:[S]L=b"]),
            ("[S]\nK=a # no comment ; here\n", &["2:[S]K=a # no comment ; here"]),
            ("[S]\nnonsense\n=v\n", &[]),
            ("K=before\n[S]\nK=v", &["3:[S]K=v"]),
            ("[Se\\\nt]\nK=v", &["3:[Se t]K=v"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn what_systemd_ignores_is_a_complaint_with_its_line() {
        let file = File::parse(b"K=1\n[S]\nx\n\n = 3\n".to_vec()).unwrap();
        let said: Vec<_> = file.complaints().iter().map(|c| (c.line, c.what)).collect();
        assert_eq!(said, [(1, "stands before the first section"), (3, "has no '='"), (5, "has no key before '='")]);
    }

    #[test]
    fn what_systemd_refuses_is_refused() {
        for bad in [&b"[S\nK=1"[..], b"[S] # c", b"[S\"]", b"[\x01]", b"[", b"[S]\nK=\xff", b"[S]\nK=\xef\xb7\x90"] {
            assert!(File::parse(bad.to_vec()).is_err(), "{bad:?}");
        }
        assert!(File::parse(b"# \xff\n[S]\n".to_vec()).is_ok(), "a comment may hold any bytes");
    }

    #[test]
    fn a_hundred_thousand_continued_lines_are_one_assignment() {
        let mut text = b"[S]\nK=".to_vec();
        text.extend(b"a\\\n".repeat(100_000));
        let file = File::parse(text).unwrap();
        assert_eq!((file.assignments().len(), file.lines().len()), (1, 100_001));
    }

    const PIECES: &[&[u8]] = &[
        b"\n",
        b"\r",
        b"\0",
        b"\\",
        b"]",
        b"=",
        b"#",
        b" ",
        b"\xef\xbb\xbf",
        b"[Service]\n",
        b"[S]",
        b"Key=v",
        b"\\\n",
        b"\xc3\xa4",
        b"\xff",
        b"\xef\xb7\x90",
        b"\\\n# c\n",
        b"; c \\\r\n",
        b"\t",
        b"[",
        b"Key=\n",
        b"Environment=\"A=b c\" \\\n  'D=%i'\n",
        b"ExecStart=-/bin/a \\; ; /bin/b\n",
    ];

    proptest! {
        #[test]
        fn every_byte_comes_back_out(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
            let bytes = pieces.concat();
            if let Ok(file) = File::parse(bytes.clone()) {
                let back: Vec<u8> = file.lines().flat_map(|l| l.bytes).copied().collect();
                prop_assert_eq!(back, bytes);
                prop_assert_eq!(&File::parse(file.bytes().to_vec()).unwrap(), &file);
                let parts = |part| file.lines().filter(|line| line.part == part).count();
                prop_assert!(file.assignments().len() <= parts(Part::Assignment));
                prop_assert!(file.sections().len() <= parts(Part::Section));
                prop_assert!(file.complaints().len() <= parts(Part::Ignored));
                for line in file.lines().filter(|line| line.part == Part::Comment) {
                    prop_assert!(matches!(line.bytes.trim_ascii_start().first(), Some(b'#' | b';')));
                }
                for assignment in file.assignments() {
                    let first = file.lines().nth(assignment.line - 1).unwrap();
                    prop_assert_eq!(first.part, Part::Assignment);
                    prop_assert!(!assignment.key.is_empty() && assignment.key == assignment.key.trim_matches(BLANKS));
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = File::parse(bytes);
        }
    }
}
