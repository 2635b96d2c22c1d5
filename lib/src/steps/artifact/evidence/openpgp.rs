//! OpenPGP signatures, judged by gpgv(1) with the keys of one keyring and no others.
//!
//! gpgv gets the keyring, the signature and the signed bytes as open files without a name, the very ones that were read here.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::Duration;

use super::error::{EvidenceError, shown};
use super::read;
use super::signed::{Check, Copy, Kind, SignatureFile, Signed};
use crate::sys::tool::ToolError;
use crate::sys::{Host, intake, tool};
use crate::words::gpgv::{self, Good};
use crate::words::statement::{By, Covers, Signer, Statement};

/// How long gpgv may take: it hashes at most 4 GiB, perhaps on a slow host.
const DEADLINE: Duration = Duration::from_secs(600);

/// Reads a keyring.
pub(super) fn trust(host: &Host, keyring: &Path) -> Result<OpenPgp, EvidenceError> {
    let path = shown(keyring);
    let keys = gpgv::keyring(&read("keyring", keyring)?)
        .map_err(|e| EvidenceError::Malformed { path: path.clone(), why: e.to_string() })?;
    Ok(OpenPgp { host: host.clone(), path, keys })
}

/// Trust in the keys of one keyring.
#[derive(Debug)]
pub(super) struct OpenPgp {
    host: Host,
    path: String,
    keys: Vec<u8>,
}

impl Kind for OpenPgp {
    fn suffixes(&self) -> &'static [&'static str] {
        &[".asc", ".sig"]
    }

    fn read<'k>(&'k self, file: SignatureFile, covers: Covers) -> Result<Box<dyn Signed + 'k>, EvidenceError> {
        Ok(Box::new(Read { trust: self, file, covers }))
    }
}

struct Read<'k> {
    trust: &'k OpenPgp,
    file: SignatureFile,
    covers: Covers,
}

impl Read<'_> {
    fn tool(&self, source: ToolError) -> EvidenceError {
        EvidenceError::Gpgv { path: shown(&self.file.path), source }
    }

    fn io(&self, source: io::Error) -> EvidenceError {
        self.tool(ToolError::Run { program: "gpgv".to_owned(), source })
    }

    fn rejected(&self, why: String) -> EvidenceError {
        EvidenceError::Rejected {
            path: shown(&self.file.path),
            signed: self.covers.name().to_owned(),
            trusted: format!("a key of {}", self.trust.path),
            why,
        }
    }
}

impl Signed for Read<'_> {
    fn begin<'s>(&'s self, copy: Copy<'s>) -> Result<Box<dyn Check + 's>, EvidenceError> {
        let (bytes, own) = match copy {
            Some(copy) => (copy.try_clone(), false),
            None => (intake::unnamed(&self.trust.host), true),
        };
        Ok(Box::new(Checking { read: self, bytes: bytes.map_err(|e| self.io(e))?, own }))
    }
}

struct Checking<'s> {
    read: &'s Read<'s>,
    /// What gpgv is to read: the copy that is being judged, or one of our own that is filled as the bytes go by.
    bytes: File,
    own: bool,
}

impl Check for Checking<'_> {
    fn update(&mut self, bytes: &[u8]) -> Result<(), EvidenceError> {
        if self.own {
            self.bytes.write_all(bytes).map_err(|e| self.read.io(e))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Statement>, EvidenceError> {
        let read = self.read;
        self.bytes.rewind().map_err(|e| read.io(e))?;
        let keys = tool::Handed::new(&read.trust.keys).map_err(|e| read.io(e))?;
        let signature = tool::Handed::new(&read.file.bytes).map_err(|e| read.io(e))?;
        let arguments = ["--homedir", "/nonexistent", "--status-fd", "1", "--keyring"];
        let arguments =
            arguments.iter().map(AsRef::as_ref).chain([keys.path(), "--".as_ref(), signature.path(), "-".as_ref()]);
        let output = read.trust.host.run_tool_on("gpgv", arguments, self.bytes, DEADLINE);
        let output = output.map_err(|e| read.tool(e))?;
        let good = gpgv::good(&output.stdout).map_err(|why| read.rejected(why))?;
        if !output.status.success() {
            return Err(read.rejected(format!("gpgv ended with {}", output.status)));
        }
        Ok(good.into_iter().map(|good| stated(good, &read.covers)).collect())
    }
}

fn stated(Good { key, primary, made }: Good, covers: &Covers) -> Statement {
    let by = if key == primary { String::new() } else { format!(" (subkey {key})") };
    let text = format!("openpgp {primary}{by} over {}", covers.name());
    let signer = Some(Signer::OpenPgp { primary, key });
    Statement { by: By::OpenPgp, signer, signed_at: made, version: None, covers: covers.clone(), text }
}
