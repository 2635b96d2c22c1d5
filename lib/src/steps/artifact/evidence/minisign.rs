//! Minisign: one key, given inline or as its `.pub` file.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::{EvidenceError, shown};
use super::read;
use super::signed::{Check, Copy, Kind, SignatureFile, Signed};
use crate::words::minisign::{self, Key, Rejected, Signature};
use crate::words::statement::{By, Covers, Signer, Statement};

/// A public key: the key itself or the file that holds it.
#[derive(Clone, Debug)]
pub enum KeyPlace {
    /// The key.
    Inline(Key),
    /// Its `.pub` file.
    File(PathBuf),
}

impl From<OsString> for KeyPlace {
    /// Text that is a key is the key; everything else is a file's name.
    fn from(text: OsString) -> Self {
        let inline = text.to_str().and_then(Key::from_base64);
        inline.map_or_else(|| Self::File(text.into()), Self::Inline)
    }
}

impl KeyPlace {
    /// Reads the key.
    pub(super) fn trust(&self) -> Result<Minisign, EvidenceError> {
        match self {
            Self::Inline(key) => Ok(Minisign { key: key.clone() }),
            Self::File(path) => {
                let malformed = |why| EvidenceError::Malformed { path: shown(path), why };
                let key = Key::from_file(&read("minisign key", path)?).map_err(|e| malformed(e.to_string()))?;
                Ok(Minisign { key })
            }
        }
    }
}

/// Trust in one key.
#[derive(Debug)]
pub(super) struct Minisign {
    key: Key,
}

impl Kind for Minisign {
    fn suffixes(&self) -> &'static [&'static str] {
        &[".minisig"]
    }

    fn read<'k>(&'k self, file: SignatureFile, covers: Covers) -> Result<Box<dyn Signed + 'k>, EvidenceError> {
        let path = shown(&file.path);
        let signature = Signature::parse(&file.bytes)
            .map_err(|e| EvidenceError::Malformed { path: path.clone(), why: e.to_string() })?;
        Ok(Box::new(Read { key: &self.key, path, signature, covers }))
    }
}

struct Read<'k> {
    key: &'k Key,
    path: String,
    signature: Signature,
    covers: Covers,
}

impl Read<'_> {
    fn rejected(&self, why: Rejected) -> EvidenceError {
        EvidenceError::Rejected {
            path: self.path.clone(),
            signed: self.covers.name().to_owned(),
            trusted: format!("key {}", self.key),
            why: why.to_string(),
        }
    }
}

impl Signed for Read<'_> {
    fn begin<'s>(&'s self, _: Copy<'s>) -> Result<Box<dyn Check + 's>, EvidenceError> {
        let check = self.signature.check(self.key).map_err(|why| self.rejected(why))?;
        Ok(Box::new(Checking { read: self, check }))
    }
}

struct Checking<'s> {
    read: &'s Read<'s>,
    check: minisign::Check<'s>,
}

impl Check for Checking<'_> {
    fn update(&mut self, bytes: &[u8]) -> Result<(), EvidenceError> {
        self.check.update(bytes);
        Ok(())
    }

    /// A trusted comment that names another file tells of a mix-up or a replay: the key's owner signed these bytes, and never
    /// as this file.
    fn finish(self: Box<Self>) -> Result<Vec<Statement>, EvidenceError> {
        let Read { key, path, covers, .. } = self.read;
        let comment = self.check.finish().map_err(|why| self.read.rejected(why))?;
        let name = covers.name();
        match minisign::file_of(&comment) {
            Some(file) if file != name => {
                Err(EvidenceError::OtherFile { path: path.clone(), comment: file.to_owned(), name: name.to_owned() })
            }
            _ => Ok(vec![Statement {
                by: By::Minisign,
                signer: Some(Signer::Minisign(key.to_string())),
                signed_at: minisign::time_of(&comment),
                version: minisign::version_of(&comment).map(str::to_owned),
                covers: covers.clone(),
                text: format!("minisign {key} over {name}: {comment}"),
            }]),
        }
    }
}
