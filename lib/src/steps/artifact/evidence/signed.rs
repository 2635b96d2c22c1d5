//! The one shape of every kind of signature: trust that was read ([`Kind`]) reads a signature ([`Signed`]), which is checked
//! while the bytes go by ([`Check`]) and then makes statements.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use super::error::EvidenceError;
use crate::words::digest::Digest;
use crate::words::statement::{Covers, Statement};

/// Trust in one kind of signature: a key, or a file of keys.
pub(super) trait Kind: fmt::Debug {
    /// What a signature of this kind is called: the name of what it signs and one of these.
    fn suffixes(&self) -> &'static [&'static str];

    /// Reads a signature that should speak of `covers`.
    fn read<'k>(&'k self, file: SignatureFile, covers: Covers) -> Result<Box<dyn Signed + 'k>, EvidenceError>;
}

/// A signature's file, which may hold anything.
pub(super) struct SignatureFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// The file that the bytes come from, when it is one that nobody else can change.
pub(super) type Copy<'s> = Option<&'s File>;

/// A signature that was read, and proves nothing yet.
pub(super) trait Signed {
    /// Begins to check bytes against it.
    fn begin<'s>(&'s self, copy: Copy<'s>) -> Result<Box<dyn Check + 's>, EvidenceError>;
}

/// A signature that is being checked.
pub(super) trait Check {
    /// The next bytes of what was signed.
    fn update(&mut self, bytes: &[u8]) -> Result<(), EvidenceError>;

    /// The SHA-256 of all the bytes there were, told before [`Check::finish`]: for signatures that speak of a digest.
    fn digest(&mut self, _digest: Digest) {}

    /// What the signature says, at least one statement, when it holds for all the bytes there were.
    fn finish(self: Box<Self>) -> Result<Vec<Statement>, EvidenceError>;
}
