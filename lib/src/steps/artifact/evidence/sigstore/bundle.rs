//! Bundles: a signature with its certificate and the proof that a transparency log or a timestamp authority saw it in time.
//!
//! The formats and their checks are sigstore-verify's. What is decided here: which instance's keys count, whom the certificate must
//! name, and what a statement must say.

use sigstore_verify::trust_root::{SigstoreInstance, TrustedRoot};
use sigstore_verify::types::{Bundle, Sha256Hash};
use sigstore_verify::{Error, SubjectAltName, VerificationPolicy, VerificationResult, Verifier};

use super::super::error::{EvidenceError, shown};
use super::super::read;
use super::super::signed::{Check, Copy, Kind, SignatureFile, Signed};
use super::attestation::{self, Said, Silent};
use super::{Trusted, provider};
use crate::words::digest::Digest;
use crate::words::identity::GITHUB;
use crate::words::statement::{By, Covers, Signer, Statement};

/// The most bundles that are tried in one file.
const BUNDLES: usize = 64;

/// Trust in an identity, with the keys of the instances that may name it.
#[derive(Debug)]
pub(super) struct Sigstore {
    trusted: Trusted,
    /// The instance of everybody, or the one that was given.
    main: Instance,
    /// GitHub's own, which signs what private repositories attest.
    github: Option<Instance>,
}

/// The keys of one instance. What it has keys for must be proven: with a log an entry in it, with a certificate log the
/// certificate's; an instance without a log (GitHub's own) has a timestamp authority instead.
struct Instance {
    verifier: Verifier,
    logged: bool,
    certificates_logged: bool,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("logged", &self.logged).finish_non_exhaustive()
    }
}

impl Instance {
    fn new(root: &TrustedRoot) -> Result<Self, Error> {
        if root.certificate_authorities.is_empty() {
            return Err(Error::InvalidTrustRoot("it has no certificate authority".to_owned()));
        }
        let verifier = Verifier::new(root)?;
        Ok(Self { verifier, logged: !root.tlogs.is_empty(), certificates_logged: !root.ctlogs.is_empty() })
    }

    fn embedded(instance: SigstoreInstance) -> Result<Self, Error> {
        Self::new(&TrustedRoot::from_embedded(instance)?)
    }

    fn verify(&self, bundle: &Bundle, digest: Sha256Hash, issuer: &str) -> Result<VerificationResult, Error> {
        // The identity is compared here, with its pattern, and the issuer by the verifier.
        let mut policy = VerificationPolicy::any_identity().require_issuer(issuer);
        if !self.logged {
            policy = policy.skip_tlog_unsafe();
        }
        if !self.certificates_logged {
            policy = policy.skip_sct();
        }
        let result = self.verifier.verify(digest, bundle, &policy)?;
        let all = result.certificate_verified()
            && result.identity_policy_checked()
            && (result.tlog_verified() || !self.logged)
            && (result.sct_verified() || !self.certificates_logged)
            && !result.verified_timestamps().is_empty();
        if all { Ok(result) } else { Err(Error::InvalidBundle("a check was left out".to_owned())) }
    }
}

impl Sigstore {
    /// Reads the keys.
    pub(super) fn new(trusted: Trusted) -> Result<Self, EvidenceError> {
        provider::install();
        if let Some(path) = &trusted.root {
            let malformed = |why: String| EvidenceError::Malformed { path: shown(path), why: one_line(&why) };
            let bytes = read("trusted root", path)?;
            let text = str::from_utf8(&bytes).map_err(|_| malformed("not a trusted root: not text".to_owned()))?;
            let main = TrustedRoot::from_json(text).map_err(Error::from).and_then(|root| Instance::new(&root));
            let main = main.map_err(|e| malformed(format!("not a trusted root: {e}")))?;
            return Ok(Self { main, github: None, trusted });
        }
        let inside = |e: Error| EvidenceError::Malformed {
            path: "the keys of Sigstore that came with this verify".to_owned(),
            why: one_line(&format!("{e}; give newer ones with --sigstore-root FILE")),
        };
        // GitHub's instance may name GitHub's identities, and nobody else.
        let github = trusted.issuer == GITHUB;
        let github = github.then(|| Instance::embedded(SigstoreInstance::GitHub).map_err(inside)).transpose()?;
        let main = Instance::embedded(SigstoreInstance::PublicGood).map_err(inside)?;
        Ok(Self { trusted, main, github })
    }

    /// The instance that should have made the bundle: GitHub's own logs nothing.
    fn instance(&self, bundle: &Bundle) -> &Instance {
        match &self.github {
            Some(github) if bundle.verification_material.tlog_entries.is_empty() => github,
            _ => &self.main,
        }
    }
}

impl Kind for Sigstore {
    fn suffixes(&self) -> &'static [&'static str] {
        &[".sigstore.json", ".sigstore"]
    }

    /// One bundle, or several one after the other, as `gh attestation download` writes them.
    fn read<'k>(&'k self, file: SignatureFile, covers: Covers) -> Result<Box<dyn Signed + 'k>, EvidenceError> {
        let path = shown(&file.path);
        let malformed = |why: String| EvidenceError::Malformed { path: path.clone(), why: one_line(&why) };
        let mut bundles = Vec::new();
        for bundle in serde_json::Deserializer::from_slice(&file.bytes).into_iter::<Bundle>().take(BUNDLES + 1) {
            bundles.push(bundle.map_err(|e| malformed(format!("not a Sigstore bundle: {e}")))?);
        }
        match bundles.len() {
            0 => Err(malformed("not a Sigstore bundle: it is empty".to_owned())),
            1..=BUNDLES => Ok(Box::new(Read { trust: self, path, bundles, covers })),
            _ => Err(malformed(format!("more than {BUNDLES} bundles"))),
        }
    }
}

struct Read<'k> {
    trust: &'k Sigstore,
    path: String,
    bundles: Vec<Bundle>,
    covers: Covers,
}

impl Signed for Read<'_> {
    fn begin<'s>(&'s self, _copy: Copy<'s>) -> Result<Box<dyn Check + 's>, EvidenceError> {
        Ok(Box::new(Checking { read: self, digest: None }))
    }
}

struct Checking<'s> {
    read: &'s Read<'s>,
    digest: Option<Digest>,
}

impl Check for Checking<'_> {
    /// A bundle speaks of the digest, which is made of the same bytes anyway.
    fn update(&mut self, _bytes: &[u8]) -> Result<(), EvidenceError> {
        Ok(())
    }

    fn digest(&mut self, digest: Digest) {
        self.digest = Some(digest);
    }

    /// One bundle that holds is enough; when none does, the first tells why.
    fn finish(self: Box<Self>) -> Result<Vec<Statement>, EvidenceError> {
        let mut refused = None;
        for bundle in &self.read.bundles {
            match self.digest.map(|digest| self.read.judge(bundle, digest)) {
                Some(Ok(statement)) => return Ok(vec![statement]),
                Some(Err(e)) => refused = refused.or(Some(e)),
                None => {}
            }
        }
        Err(refused.unwrap_or_else(|| self.read.rejected("there are no bytes")))
    }
}

impl Read<'_> {
    fn judge(&self, bundle: &Bundle, digest: Digest) -> Result<Statement, EvidenceError> {
        let Trusted { identity, issuer, source, .. } = &self.trust.trusted;
        let instance = self.trust.instance(bundle);
        let name = self.covers.name();
        let result = Sha256Hash::from_hex(&digest.to_string())
            .map_err(Error::from)
            .and_then(|digest| instance.verify(bundle, digest, issuer))
            .map_err(|e| self.rejected(&why(&e)))?;

        let (found, mail) = match result.identity() {
            Some(SubjectAltName::Email(found)) => (found, true),
            Some(SubjectAltName::Uri(found)) => (found, false),
            _ => return Err(self.rejected("its certificate names nobody")),
        };
        if !identity.is(found, mail) {
            return Err(self.rejected(&format!("it is by {found}")));
        }
        let claims = result.certificate().map(|certificate| &certificate.ci_claims);
        let built_from = claims.and_then(|claims| claims.source_repository_uri.as_deref());
        if let Some(source) = source
            && built_from != Some(source)
        {
            let what = built_from.unwrap_or("a repository that the certificate does not name");
            return Err(self.rejected(&format!("it is for what was built from {what}, not from {source}")));
        }
        let said = attestation::said(&bundle.content, name, digest).map_err(|silent| match silent {
            Silent::Unfit(why) => self.rejected(&why),
            Silent::Other(comment) => {
                EvidenceError::OtherFile { path: self.path.clone(), comment, name: name.to_owned() }
            }
        })?;

        let what = match said {
            Said::Signature => "a signature".to_owned(),
            Said::Attestation(kind) => format!("an attestation ({kind})"),
        };
        let commit = claims.and_then(|claims| claims.source_repository_digest.as_deref());
        let built = match (built_from, commit) {
            (Some(source), Some(commit)) => format!(", built from {source} at {commit}"),
            (Some(source), None) => format!(", built from {source}"),
            _ => String::new(),
        };
        let seen = if instance.logged { "in the transparency log" } else { "timestamped, in no public log" };
        // The earliest: what is newer may have been added by anybody later.
        let signed_at = result.verified_timestamps().iter().map(|time| time.as_second()).min();
        Ok(Statement {
            by: By::Sigstore,
            signer: Some(Signer::Sigstore { identity: found.clone(), issuer: issuer.clone() }),
            signed_at: signed_at.and_then(|time| u64::try_from(time).ok()),
            // A workflow that a tag started makes the release of that tag.
            version: claims
                .and_then(|claims| claims.source_repository_ref.as_deref()?.strip_prefix("refs/tags/"))
                .map(str::to_owned),
            covers: self.covers.clone(),
            text: one_line(&format!("sigstore {found} by the word of {issuer} over {name}: {what}{built}, {seen}")),
        })
    }

    fn rejected(&self, why: &str) -> EvidenceError {
        EvidenceError::Rejected {
            path: self.path.clone(),
            signed: self.covers.name().to_owned(),
            trusted: self.trust.trusted.identity.to_string(),
            why: one_line(why),
        }
    }
}

/// The verifier's reason, in our words where they say more.
fn why(error: &Error) -> String {
    match error {
        Error::ArtifactMismatch(_) => "it is over other bytes".to_owned(),
        Error::IssuerMismatch { expected, actual } => {
            let actual = actual.as_deref().unwrap_or("nobody");
            format!("{actual} vouches for its signer, not {expected}")
        }
        other => other.to_string(),
    }
}

/// What a bundle holds is anybody's text.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
