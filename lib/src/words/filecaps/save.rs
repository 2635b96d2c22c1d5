//! A save of file capabilities, in the form of `getfattr --dump --absolute-names -e hex -m security.capability`, so that
//! `setfattr --restore=FILE` reads it too.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{FileCaps, NotFileCaps};

const OWNER: &str = "# owner: ";
const ATTRIBUTE: &str = "security.capability=0x";

/// What is saved of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The path.
    pub path: PathBuf,
    /// The raw bytes of its `security.capability`; `None` when it had none.
    pub capability: Option<Vec<u8>>,
    /// The user ID of its owner, where that is known, on a line that `setfattr` has no use for.
    pub owner: Option<u32>,
}

/// Text that is no save.
#[derive(Debug, thiserror::Error)]
pub enum NotASave {
    /// A line of another form, by its number from 1.
    #[error("line {0}: not of the form that setcap-keep --save and getfattr --dump -e hex write")]
    Line(usize),
    /// A line whose bytes are no capability.
    #[error("line {0}: {1}")]
    Capability(usize, NotFileCaps),
    /// It ends in the middle.
    #[error("it is cut off after line {0}; save again")]
    CutOff(usize),
    /// It speaks of no file.
    #[error("it holds no file: what wrote it gave nothing")]
    Empty,
}

/// Writes the save of these paths.
#[must_use]
pub fn write(saved: &[Saved]) -> Vec<u8> {
    let mut text = Vec::new();
    for Saved { path, capability, owner } in saved {
        text.extend_from_slice(b"# file: ");
        text.extend(quote(path));
        text.push(b'\n');
        text.extend(owner.map(|owner| format!("{OWNER}{owner}\n")).unwrap_or_default().into_bytes());
        if let Some(bytes) = capability {
            text.extend_from_slice(ATTRIBUTE.as_bytes());
            text.extend(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
            text.push(b'\n');
        }
        text.push(b'\n');
    }
    text
}

/// Reads a save, whole or not at all; attributes other than the capability are passed over.
pub fn read(text: &[u8]) -> Result<Vec<Saved>, NotASave> {
    let mut saved: Vec<Saved> = Vec::new();
    let lines = text.split(|byte| *byte == b'\n').count();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if let Some(path) = line.strip_prefix(b"# file: ") {
            let path = unquote(path).ok_or(NotASave::Line(number))?;
            saved.push(Saved { path, capability: None, owner: None });
        } else if let Some(owner) = line.strip_prefix(OWNER.as_bytes()) {
            let saved = saved.last_mut().ok_or(NotASave::Line(number))?;
            let owner = str::from_utf8(owner).ok().and_then(|owner| owner.parse().ok());
            saved.owner = Some(owner.ok_or(NotASave::Line(number))?);
        } else if let Some(hex) = line.strip_prefix(ATTRIBUTE.as_bytes()) {
            let saved = saved.last_mut().ok_or(NotASave::Line(number))?;
            let bytes = from_hex(hex).ok_or(NotASave::Line(number))?;
            FileCaps::from_bytes(&bytes).map_err(|e| NotASave::Capability(number, e))?;
            saved.capability = Some(bytes);
        } else if !line.is_empty()
            && (saved.is_empty() || !line.contains(&b'=') || line.starts_with(b"security.capability="))
        {
            return Err(NotASave::Line(number));
        }
    }
    match saved.last() {
        None => Err(NotASave::Empty),
        Some(_) if !text.ends_with(b"\n") => Err(NotASave::CutOff(lines)),
        // A file without capabilities is followed by an empty line as well.
        Some(Saved { capability: None, .. }) if !text.ends_with(b"\n\n") => Err(NotASave::CutOff(lines - 1)),
        Some(_) => Ok(saved),
    }
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

    const BIND: &str = "0100000200040000000000000000000000000000";

    fn of(path: &str, capability: Option<Vec<u8>>) -> Saved {
        Saved { path: path.into(), capability, owner: None }
    }

    fn bind() -> Vec<u8> {
        from_hex(BIND.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let odd = PathBuf::from(OsString::from_vec(b"/a b\\c=\n\xff".to_vec()));
        let owned = Saved { owner: Some(1234), ..of("/usr/local/bin/runed", Some(bind())) };
        let saved = vec![owned, Saved { path: odd, capability: None, owner: Some(0) }, of("/bin/x", None)];
        assert_eq!(read(&write(&saved)).unwrap(), saved);
    }

    #[test]
    fn reads_what_getfattr_dumps() {
        let text = format!("# file: /bin/x\nsecurity.capability=0x{BIND}\nuser.note=0x41\n\n");
        assert_eq!(read(text.as_bytes()).unwrap(), [of("/bin/x", Some(bind()))]);
    }

    #[test]
    fn a_save_that_is_cut_off_anywhere_is_never_read_as_another() {
        let saved = vec![of("/a", None), of("/b", Some(bind())), of("/c", None)];
        let text = write(&saved);
        for end in 0..text.len() {
            // Between two files nothing tells; what is there is whole.
            if let Ok(some) = read(&text[..end]) {
                assert!(saved.starts_with(&some), "{end}: {some:?}");
            }
        }
        let told = |text: &[u8]| read(text).unwrap_err().to_string();
        assert_eq!(told(&text[..text.len() - 1]), "it is cut off after line 6; save again");
        assert!(told(b"").contains("no file") && told(b"\n").contains("no file"));
    }

    #[test]
    fn refuses_other_text() {
        for bad in [
            "hello\n".to_owned(),
            format!("security.capability=0x{BIND}\n"),
            format!("# file: /x\nsecurity.capability=0x{}\n", &BIND[1..]),
            format!("# file: /x\nsecurity.capability=0x{}\n", &BIND[2..]),
            "# file: /x\nsecurity.capability=0sAQ==\n".to_owned(),
            "# file: \\9\n".to_owned(),
            "# file: /x\n# owner: root\n\n".to_owned(),
            "# owner: 0\n# file: /x\n\n".to_owned(),
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
