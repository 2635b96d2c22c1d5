//! What a signed in-toto statement says of a file: that it is one of its subjects, by what name, and in which sense.

use sigstore_verify::types::{DsseEnvelope, SignatureContent, Statement};

use crate::words::digest::Digest;

/// What a bundle's signature is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The bytes themselves.
    Signature,
    /// A statement of this type about them.
    Attestation(String),
}

/// Why a signed statement does not speak for the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// It knows these bytes by another name.
    Other(String),
    /// It can't be used, whatever it says.
    Unfit(String),
}

/// The types of statement that mean "we made this". Others, a test report or a list of known holes, say the opposite as well.
const MADE: [&str; 2] = ["https://slsa.dev/provenance/", "https://sigstore.dev/cosign/sign/"];

/// What `content`, whose signature holds, says of the file `name` with this digest.
pub(super) fn said(content: &SignatureContent, name: &str, digest: Digest) -> Result<Said, Silent> {
    match content {
        SignatureContent::MessageSignature(_) => Ok(Said::Signature),
        SignatureContent::DsseEnvelope(envelope) => attested(envelope, name, digest),
        _ => Err(Silent::Unfit("it is neither a signature nor an attestation".to_owned())),
    }
}

fn attested(envelope: &DsseEnvelope, name: &str, digest: Digest) -> Result<Said, Silent> {
    let unfit = |why: String| Err(Silent::Unfit(why));
    let Ok(statement) = serde_json::from_slice::<Statement>(envelope.payload.as_bytes()) else {
        return unfit("what it attests can't be read".to_owned());
    };
    if !statement.type_.starts_with("https://in-toto.io/Statement/v") {
        return unfit("what it attests is no in-toto statement".to_owned());
    }
    let kind = statement.predicate_type;
    if !MADE.iter().any(|made| kind.starts_with(made)) {
        return unfit(format!("an attestation of the type '{}' does not say who made the file", kind.escape_debug()));
    }
    let wanted = digest.to_string();
    let is_it = |subject: &&sigstore_verify::types::Subject| {
        subject.digest.sha256.is_some_and(|found| found.to_hex() == wanted)
    };
    let mut names: Vec<String> = statement.subject.iter().filter(is_it).map(|subject| subject.name.clone()).collect();
    if names.is_empty() {
        return unfit("it attests other bytes".to_owned());
    }
    // Cosign writes no names; everybody else's end in the file's.
    if names.iter().any(|known| known.is_empty() || known.rsplit('/').next() == Some(name)) {
        return Ok(Said::Attestation(kind.escape_debug().to_string()));
    }
    Err(Silent::Other(names.swap_remove(0).escape_debug().to_string()))
}
