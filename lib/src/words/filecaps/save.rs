//! A save of file capabilities, in the form of `getfattr --dump --absolute-names -e hex -m security.capability`, so that
//! `setfattr --restore=FILE` reads it too.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const ATTRIBUTE: &str = "security.capability=0x";

/// One path and the raw bytes of its `security.capability`; `None` when it had none.
pub type Saved = (PathBuf, Option<Vec<u8>>);

/// A line that is not of this form, by its number from 1.
#[derive(Debug, thiserror::Error)]
#[error("line {0}: not of the form that setcap-keep --save and getfattr --dump -e hex write")]
pub struct NotASave(usize);

/// Writes the save of these paths.
#[must_use]
pub fn write(saved: &[Saved]) -> Vec<u8> {
    let mut text = Vec::new();
    for (path, capability) in saved {
        text.extend_from_slice(b"# file: ");
        text.extend(quote(path));
        text.push(b'\n');
        if let Some(bytes) = capability {
            text.extend_from_slice(ATTRIBUTE.as_bytes());
            text.extend(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
            text.push(b'\n');
        }
        text.push(b'\n');
    }
    text
}

/// Reads a save; attributes other than the capability are passed over.
pub fn read(text: &[u8]) -> Result<Vec<Saved>, NotASave> {
    let mut saved: Vec<Saved> = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if let Some(path) = line.strip_prefix(b"# file: ") {
            saved.push((unquote(path).ok_or(NotASave(number))?, None));
        } else if let Some(hex) = line.strip_prefix(ATTRIBUTE.as_bytes()) {
            let (_, capability) = saved.last_mut().ok_or(NotASave(number))?;
            *capability = Some(from_hex(hex).ok_or(NotASave(number))?);
        } else if !line.is_empty() && (saved.is_empty() || !line.contains(&b'=') || line.starts_with(b"security.capability=")) {
            return Err(NotASave(number));
        }
    }
    Ok(saved)
}

fn from_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(hex).ok().filter(|t| t.len() % 2 == 0 && !t.is_empty())?;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// Control characters, blanks, `\` and `=` as three octal digits, as getfattr(1) quotes them.
fn quote(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'\\' | b'=' | 0..=b' ' | 0x7f => out.extend(format!("\\{byte:03o}").into_bytes()),
            _ => out.push(*byte),
        }
    }
    out
}

fn unquote(text: &[u8]) -> Option<PathBuf> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte == b'\\' {
            let digits = std::str::from_utf8(rest.get(..3)?).ok()?;
            out.push(u8::from_str_radix(digits, 8).ok()?);
            rest = rest.get(3..)?;
        } else {
            out.push(*byte);
        }
    }
    (!out.is_empty()).then(|| OsString::from_vec(out).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let odd = PathBuf::from(OsString::from_vec(b"/a b\\c=\n\xff".to_vec()));
        let saved = vec![(PathBuf::from("/usr/local/bin/runed"), Some(vec![1, 0, 0, 2])), (odd, None)];
        assert_eq!(read(&write(&saved)).unwrap(), saved);
    }

    #[test]
    fn reads_what_getfattr_dumps() {
        let text = b"# file: /bin/x\nsecurity.capability=0x0100\nuser.note=0x41\n\n";
        assert_eq!(read(text).unwrap(), [("/bin/x".into(), Some(vec![1, 0]))]);
    }

    #[test]
    fn refuses_other_text() {
        for bad in [&b"hello"[..], b"security.capability=0x01", b"# file: /x\nsecurity.capability=0x1", b"# file: /x\nsecurity.capability=0sAQ==", b"# file: \\9"] {
            assert!(read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
