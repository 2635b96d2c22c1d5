//! Why evidence does not hold.

use std::io;
use std::path::Path;

use crate::sys::tool::ToolError;
use crate::words::exit::{Coded, Exit};
use crate::words::sums::{NoEntry, SumsError};

const OR_SIGSTORE: &str = if cfg!(feature = "sigstore") { ", or --sigstore" } else { "" };

/// What was given can't be evidence.
#[derive(Debug, thiserror::Error)]
pub enum NoEvidence {
    /// Nothing was.
    #[error(
        "no evidence given: say what proves the files with --sums, --sha256, --minisign, --ssh or --gpg{OR_SIGSTORE}"
    )]
    Nothing,
    /// A signature's name or a signer, and nothing that says whose signature counts.
    #[error("--sig and --signer speak of a signature; say whose counts with --minisign, --ssh or --gpg{OR_SIGSTORE}")]
    NoKey,
    /// One file for signatures of several kinds.
    #[error("--sig names one signature, and several kinds are asked for; leave it out, and give each its usual name")]
    OneName,
}

impl Coded for NoEvidence {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What brings evidence that lies beside the file.
fn fetched(what: &str) -> &'static str {
    match what {
        "checksum list" => "; fetch --sums brings it",
        "signature" => "; fetch --sig brings it",
        _ => "",
    }
}

/// Why a file is not proven.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Evidence that was asked for is not there.
    #[error("{path}: there is no such {what}, so nothing is proven{}", fetched(.what))]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: String,
    },
    /// Evidence, or the file, could not be read.
    #[error("{path}: the {what} can't be read: {source}")]
    Unreadable {
        /// What was read.
        what: &'static str,
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A key, a file of trusted keys or a signature is malformed.
    #[error("{path}: {why}")]
    Malformed {
        /// Its file.
        path: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A signature does not hold.
    #[error("{path}: the signature of {signed} by {trusted} does not hold: {why}")]
    Rejected {
        /// The signature's file.
        path: String,
        /// What it should speak of.
        signed: String,
        /// The key, or the file of the keys, that is trusted.
        trusted: String,
        /// Why.
        why: String,
    },
    /// The signature holds, and speaks of another file.
    #[error("{path}: signed for '{comment}', not for '{name}': right key, other file")]
    OtherFile {
        /// The signature's file.
        path: String,
        /// The file it speaks of.
        comment: String,
        /// The file it should speak of.
        name: String,
    },
    /// The signature holds, and another key made it than those that are asked for.
    #[error("{path}: signed by {signer}, and {wanted} is wanted (--signer)")]
    OtherSigner {
        /// The signature's file.
        path: String,
        /// Who signed.
        signer: String,
        /// Who should have.
        wanted: String,
    },
    /// The evidence is of another version.
    #[error("{what} version {found}, and {wanted} is wanted")]
    OtherVersion {
        /// What, and by what.
        what: String,
        /// The version that it names.
        found: String,
        /// The version that was asked for, or that fetch got.
        wanted: String,
    },
    /// gpgv could not judge.
    #[error("{path}: {source}{}", hint(source))]
    Gpgv {
        /// The signature's file.
        path: String,
        /// Why.
        source: ToolError,
    },
    /// The list is of no use.
    #[error("{path}: {source}")]
    List {
        /// The list.
        path: String,
        /// Why.
        source: SumsError,
    },
    /// The list does not speak of the file.
    #[error("{path}: {source}")]
    NoEntry {
        /// The list.
        path: String,
        /// Why.
        source: NoEntry,
    },
    /// The digest is another one.
    #[error("{path}: does not verify: its {kind} is {found}, {wanted} is wanted ({statement})")]
    Differs {
        /// The file.
        path: String,
        /// The kind of digest.
        kind: &'static str,
        /// Its digest.
        found: String,
        /// The digest it should have.
        wanted: String,
        /// Who says so.
        statement: String,
    },
}

impl Coded for EvidenceError {
    fn exit(&self) -> Exit {
        match self {
            Self::Gpgv { source, .. } => source.exit(),
            Self::Unreadable { .. }
            | Self::Malformed { .. }
            | Self::List { source: SumsError::Malformed { .. }, .. } => Exit::CouldNot,
            Self::Missing { .. }
            | Self::Rejected { .. }
            | Self::OtherFile { .. }
            | Self::OtherSigner { .. }
            | Self::OtherVersion { .. }
            | Self::List { .. }
            | Self::NoEntry { .. }
            | Self::Differs { .. } => Exit::No,
        }
    }
}

/// Where a program that is missing comes from.
fn hint(source: &ToolError) -> &'static str {
    match source {
        ToolError::Missing { .. } => " (apt-get install gpgv)",
        _ => "",
    }
}

/// A path in a message.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
