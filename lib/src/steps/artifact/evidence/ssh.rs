//! SSH signatures by the keys of a file of allowed signers.

use std::fmt::Display;
use std::path::PathBuf;

use super::error::{EvidenceError, shown};
use super::read;
use super::signed::{Check, Copy, Kind, SignatureFile, Signed};
use crate::sys::clock;
use crate::words::allowed_signers::AllowedSigners;
use crate::words::sshsig::{self, Signature};
use crate::words::statement::{By, Covers, Signer, Statement};

/// Who may sign, and for what use.
#[derive(Clone, Debug)]
pub struct SshSigners {
    /// The file of allowed signers.
    pub allowed: PathBuf,
    /// The namespace that signatures must have been made for; `file` is the one for files.
    pub namespace: String,
}

impl SshSigners {
    /// Reads the file.
    pub(super) fn trust(&self) -> Result<Ssh, EvidenceError> {
        let path = shown(&self.allowed);
        let text = read("file of allowed signers", &self.allowed)?;
        let allowed = AllowedSigners::parse(&text)
            .map_err(|e| EvidenceError::Malformed { path: path.clone(), why: e.to_string() })?;
        Ok(Ssh { path, allowed, namespace: self.namespace.clone(), now: clock::now() })
    }
}

/// Trust in the keys of one file.
#[derive(Debug)]
pub(super) struct Ssh {
    path: String,
    allowed: AllowedSigners,
    namespace: String,
    now: u64,
}

impl Kind for Ssh {
    fn suffixes(&self) -> &'static [&'static str] {
        &[".sig"]
    }

    fn read<'k>(&'k self, file: SignatureFile, covers: Covers) -> Result<Box<dyn Signed + 'k>, EvidenceError> {
        let path = shown(&file.path);
        let signature = Signature::parse(&file.bytes)
            .map_err(|e| EvidenceError::Malformed { path: path.clone(), why: e.to_string() })?;
        Ok(Box::new(Read { trust: self, path, signature, covers }))
    }
}

struct Read<'k> {
    trust: &'k Ssh,
    path: String,
    signature: Signature,
    covers: Covers,
}

impl Read<'_> {
    fn rejected(&self, why: &dyn Display) -> EvidenceError {
        EvidenceError::Rejected {
            path: self.path.clone(),
            signed: self.covers.name().to_owned(),
            trusted: format!("a key of {}", self.trust.path),
            why: why.to_string(),
        }
    }
}

impl Signed for Read<'_> {
    fn begin<'s>(&'s self, _: Copy<'s>) -> Result<Box<dyn Check + 's>, EvidenceError> {
        let Ssh { allowed, namespace, now, .. } = self.trust;
        let key = self.signature.key();
        let principals = allowed.principals(key, namespace, *now).map_err(|why| self.rejected(&why))?;
        let signer = Signer::Ssh { fingerprint: key.fingerprint(), principals };
        let check = self.signature.check(namespace).map_err(|why| self.rejected(&why))?;
        Ok(Box::new(Checking { read: self, signer, check }))
    }
}

struct Checking<'s> {
    read: &'s Read<'s>,
    signer: Signer,
    check: sshsig::Check<'s>,
}

impl Check for Checking<'_> {
    fn update(&mut self, bytes: &[u8]) -> Result<(), EvidenceError> {
        self.check.update(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Statement>, EvidenceError> {
        let Self { read, signer, check } = *self;
        check.finish().map_err(|why| read.rejected(&why))?;
        let (key, name) = (read.signature.key().fingerprint(), read.covers.name());
        let principals = signer.principals().join(" or ");
        Ok(vec![Statement {
            by: By::Ssh,
            signer: Some(signer),
            signed_at: None,
            version: None,
            covers: read.covers.clone(),
            text: format!("ssh {key} ({principals}) over {name}"),
        }])
    }
}
