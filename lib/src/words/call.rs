//! What is to be run of a file, as `verify --run` takes it: words of an argument list, and perhaps which file in front.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::member::FileName;

/// One call of a program: `--version`, `runed: config check /etc/rune.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The file that is meant; `None`: the only program.
    pub file: Option<FileName>,
    /// The words, without the program's name.
    pub words: Vec<OsString>,
}

/// A text that is no call.
#[derive(Debug, thiserror::Error)]
pub enum NotACall {
    /// A quotation mark without its partner, or a backslash at the end.
    #[error("a quotation mark or backslash in it has no end")]
    Open,
    /// What stands before the colon is no file's name.
    #[error("'{0}' is no file's name, as 'NAME: ARGS' has it in front")]
    Name(String),
}

impl Call {
    /// Reads words with quotation marks and backslashes as sh(1) does, which has no say in it: nothing is expanded. A first
    /// word that ends in a colon names the file.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self, NotACall> {
        // One character for each byte, and back, so that words need not be UTF-8.
        let characters: String = text.as_ref().as_bytes().iter().copied().map(char::from).collect();
        let words = shell_words::split(&characters).map_err(|_| NotACall::Open)?;
        let bytes = |word: String| OsString::from_vec(word.chars().filter_map(|c| u8::try_from(c).ok()).collect());
        let mut words: Vec<OsString> = words.into_iter().map(bytes).collect();
        let name = words.first().and_then(|word| word.as_bytes().strip_suffix(b":")).map(OsStr::from_bytes);
        let file = match name {
            Some(name) => Some(FileName::parse(name).map_err(|_| NotACall::Name(name.display().to_string()))?),
            None => None,
        };
        if file.is_some() {
            words.remove(0);
        }
        Ok(Self { file, words })
    }

    /// True when it asks for the version, as programs commonly are: `--version`, `-V`, `version`.
    #[must_use]
    pub fn asks_version(&self) -> bool {
        matches!(self.words.as_slice(), [word, ..] if [OsStr::new("--version"), OsStr::new("-V"), OsStr::new("version")].contains(&word.as_os_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> (Option<String>, Vec<String>) {
        let call = Call::parse(text).unwrap();
        let text = |word: &OsStr| word.to_string_lossy().into_owned();
        (call.file.map(|file| text(file.as_os_str())), call.words.iter().map(|word| text(word)).collect())
    }

    #[test]
    fn words_are_split_as_a_shell_does_and_nothing_is_expanded() {
        let words = |words: &[&str]| (None, words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>());
        assert_eq!(call("--version"), words(&["--version"]));
        assert_eq!(
            call("config check '/etc/a b' c\\ d \"$HOME\" *"),
            words(&["config", "check", "/etc/a b", "c d", "$HOME", "*"])
        );
        assert_eq!(call(""), words(&[]));
        assert_eq!(call("a; rm -rf / | b $(c)"), words(&["a;", "rm", "-rf", "/", "|", "b", "$(c)"]));
        assert!(matches!(Call::parse("'a"), Err(NotACall::Open)));
    }

    #[test]
    fn a_first_word_with_a_colon_behind_it_names_the_file() {
        assert_eq!(call("runed: --version"), (Some("runed".into()), vec!["--version".into()]));
        assert_eq!(call("runed:").1, Vec::<String>::new());
        assert_eq!(call("--at http://x: y").0, None);
        assert_eq!(call("tcp:80 x").0, None);
        assert!(
            matches!(Call::parse("a/b: x"), Err(NotACall::Name(_)))
                && matches!(Call::parse(": x"), Err(NotACall::Name(_)))
        );
    }

    #[test]
    fn words_are_bytes() {
        let call = Call::parse(OsStr::from_bytes(b"check '/etc/\xff \xc3\xa9' \x85\xa0")).unwrap();
        assert_eq!(call.words[1..], [OsStr::from_bytes(b"/etc/\xff \xc3\xa9"), OsStr::from_bytes(b"\x85\xa0")]);
    }

    #[test]
    fn what_asks_for_the_version_is_known() {
        for (text, asks) in
            [("--version", true), ("-V", true), ("version --short", true), ("config version", false), ("", false)]
        {
            assert_eq!(Call::parse(text).unwrap().asks_version(), asks, "{text}");
        }
    }
}
