//! Sigstore: trust in an identity and in who vouches for it, instead of a key. Bundles are read only when the crate is built
//! with its feature `sigstore`; without it no trust of this kind can be had, so nothing of it is ever passed over.

#[cfg(feature = "sigstore")]
mod attestation;
#[cfg(feature = "sigstore")]
mod bundle;
#[cfg(feature = "sigstore")]
mod provider;

use std::path::PathBuf;

use super::error::EvidenceError;
use super::signed::Kind;
use crate::words::exit::{Coded, Exit};
use crate::words::identity::{self, Identity};

/// Whether Sigstore bundles can be read.
pub const BUILT: bool = cfg!(feature = "sigstore");

/// Whom a bundle's certificate must name, and whose word is taken for that.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "sigstore"), expect(dead_code, reason = "only Sigstore's own code asks"))]
pub struct Trusted {
    identity: Identity,
    issuer: String,
    source: Option<String>,
    root: Option<PathBuf>,
}

/// Why there is no trust of this kind.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// The feature is off.
    #[error("this verify was built without Sigstore: build it with --features sigstore")]
    NotBuilt,
    /// An identity is worth nothing without who vouches for it.
    #[error("anybody may be called {0} by some issuer: say whose word counts with --sigstore-issuer URL")]
    NoIssuer(Identity),
    /// The source is no repository.
    #[error("--sigstore-source '{0}' is no repository: gh:OWNER/REPO is one, and its URI")]
    Source(String),
    /// An option says more of a signer, and there is none.
    #[error("{0} says more of the signer: name the signer with --sigstore")]
    NoIdentity(&'static str),
}

impl Coded for Untrusted {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Trusted {
    /// Trust in `identity` when `issuer` vouches for it and it built what is in the repository `source`; for identities on GitHub
    /// both are known when they are not given. `root` holds the keys of a Sigstore instance that is not the public one.
    pub fn new(
        identity: Identity,
        issuer: Option<String>,
        source: Option<&str>,
        root: Option<PathBuf>,
    ) -> Result<Self, Untrusted> {
        if !BUILT {
            return Err(Untrusted::NotBuilt);
        }
        let known = || identity.issuer().map(str::to_owned);
        let Some(issuer) = issuer.filter(|issuer| !issuer.is_empty()).or_else(known) else {
            return Err(Untrusted::NoIssuer(identity));
        };
        let source = match source {
            Some(given) => Some(identity::source(given).ok_or_else(|| Untrusted::Source(given.to_owned()))?),
            None => identity.repository(),
        };
        Ok(Self { identity, issuer, source, root })
    }

    /// Reads the keys.
    #[cfg(feature = "sigstore")]
    pub(super) fn trust(&self) -> Result<Box<dyn Kind>, EvidenceError> {
        Ok(Box::new(bundle::Sigstore::new(self.clone())?))
    }

    /// There is none without the feature.
    #[cfg(not(feature = "sigstore"))]
    pub(super) fn trust(&self) -> Result<Box<dyn Kind>, EvidenceError> {
        let why = Untrusted::NotBuilt.to_string();
        Err(EvidenceError::Malformed { path: self.identity.to_string(), why })
    }
}
