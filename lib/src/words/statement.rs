//! What evidence says when it holds: by what, signed by whom and when, over what.

use std::fmt;
use std::str::FromStr;

use super::allowed_signers::matches;

/// The kind of evidence, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// A checksum list.
    Sums,
    /// A digest that the caller gave.
    Sha256,
    /// A minisign signature.
    Minisign,
    /// An SSH signature.
    Ssh,
    /// An OpenPGP signature.
    OpenPgp,
    /// A Sigstore bundle.
    Sigstore,
}

impl By {
    /// One word, for programs: `sums`, `sha256`, `minisign`, `ssh`, `openpgp` or `sigstore`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sums => "sums",
            Self::Sha256 => "sha256",
            Self::Minisign => "minisign",
            Self::Ssh => "ssh",
            Self::OpenPgp => "openpgp",
            Self::Sigstore => "sigstore",
        }
    }

    /// How much this kind proves.
    #[must_use]
    pub fn strength(self) -> Strength {
        match self {
            Self::Sums => Strength::Integrity,
            Self::Sha256 => Strength::Pinned,
            Self::Minisign | Self::Ssh | Self::OpenPgp | Self::Sigstore => Strength::Authentic,
        }
    }
}

/// How much was proven, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// The bytes are those that whoever made the list had; nobody signed the list.
    Integrity,
    /// The bytes are those whose digest the caller gave.
    Pinned,
    /// The owner of a trusted key signed them, or the list they are in.
    Authentic,
}

impl Strength {
    /// One word, for programs: `integrity`, `pinned` or `authentic`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Pinned => "pinned",
            Self::Authentic => "authentic",
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integrity => "integrity only, nobody signed this",
            Self::Pinned => "as pinned",
            Self::Authentic => "authentic",
        })
    }
}

/// Who signed. Shown with the kind in front: `minisign:NUMBER`, `ssh:SHA256:FINGERPRINT`, `openpgp:FINGERPRINT`,
/// `sigstore:IDENTITY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// A minisign key.
    Minisign {
        /// Its number, as `minisign` writes it.
        number: String,
        /// The whole public key in base64.
        key: String,
    },
    /// An SSH key.
    Ssh {
        /// `SHA256:` and base64, as `ssh-keygen -l` writes it.
        fingerprint: String,
        /// The principals that the trusted file gives the key to: a pattern list for each line that does (ssh-keygen(1)).
        principals: Vec<String>,
    },
    /// An OpenPGP key.
    OpenPgp {
        /// The fingerprint of the primary key, in upper case.
        primary: String,
        /// The fingerprint of the key that made the signature: the primary key itself or a subkey of it.
        key: String,
    },
    /// The identity in a Sigstore certificate.
    Sigstore {
        /// A URI or an address.
        identity: String,
        /// The OpenID Connect issuer that vouched for it.
        issuer: String,
    },
}

impl Signer {
    /// The principals of an SSH key; others have none.
    #[must_use]
    pub fn principals(&self) -> &[String] {
        match self {
            Self::Ssh { principals, .. } => principals,
            _ => &[],
        }
    }

    /// Who vouched for the identity in a Sigstore certificate.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        match self {
            Self::Sigstore { issuer, .. } => Some(issuer),
            _ => None,
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minisign { number, .. } => write!(f, "minisign:{number}"),
            Self::Ssh { fingerprint, .. } => write!(f, "ssh:{fingerprint}"),
            Self::OpenPgp { primary, .. } => write!(f, "openpgp:{primary}"),
            Self::Sigstore { identity, .. } => write!(f, "sigstore:{identity}"),
        }
    }
}

/// A signer as a person or a policy names one: as [`Signer`] is shown, or without the kind in front; an SSH key also by a
/// principal, an OpenPGP key also by the subkey that signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    kind: Option<By>,
    name: String,
}

/// Text that names no signer.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' names no signer: {why}")]
pub struct NotASigner {
    text: String,
    why: &'static str,
}

impl FromStr for Who {
    type Err = NotASigner;

    fn from_str(text: &str) -> Result<Self, NotASigner> {
        let kind = [By::Minisign, By::Ssh, By::OpenPgp, By::Sigstore]
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.word())?.strip_prefix(':')?)));
        let (kind, name) = kind.map_or((None, text), |(kind, name)| (Some(kind), name));
        let refused = |why| Err(NotASigner { text: text.to_owned(), why });
        if name.trim().is_empty() {
            return refused("it is empty");
        }
        if kind == Some(By::OpenPgp) && !is_fingerprint(&bare(name)) {
            return refused("an OpenPGP key is named by its whole fingerprint, 40 or 64 hexadecimal digits");
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{}:{}", kind.word(), self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Who {
    /// Whether `signer` is the one that is named.
    #[must_use]
    pub fn is(&self, signer: &Signer) -> bool {
        let of = |kind| self.kind.is_none_or(|named| named == kind);
        match signer {
            Signer::Minisign { number, key } => {
                of(By::Minisign) && (self.name == *key || bare(&self.name).trim_start_matches('0') == number)
            }
            // A fingerprint is no principal: a key that may sign for everybody ('*') is not every key.
            Signer::Ssh { fingerprint, .. } if self.name.starts_with("SHA256:") => {
                of(By::Ssh) && self.name == *fingerprint
            }
            Signer::Ssh { principals, .. } => of(By::Ssh) && principals.iter().any(|list| matches(list, &self.name)),
            Signer::OpenPgp { primary, key } => of(By::OpenPgp) && [primary, key].contains(&&bare(&self.name)),
            Signer::Sigstore { identity, .. } => of(By::Sigstore) && self.name == *identity,
        }
    }
}

/// Hexadecimal digits without what people put between them.
fn bare(digits: &str) -> String {
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    digits.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_uppercase()).collect()
}

fn is_fingerprint(digits: &str) -> bool {
    matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a statement speaks of, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Covers {
    /// The file.
    File(String),
    /// The list that names the file.
    List(String),
}

impl Covers {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        let (Self::File(name) | Self::List(name)) = self;
        name
    }
}

/// One thing that is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// By what kind of evidence.
    pub by: By,
    /// Who signed; nobody does for a list and a digest.
    pub signer: Option<Signer>,
    /// When, in seconds since 1970-01-01 UTC, only when the signature covers this.
    pub signed_at: Option<u64>,
    /// The version that the signature names.
    pub version: Option<String>,
    /// What it speaks of.
    pub covers: Covers,
    /// All of it for people, in one line.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: &str = "0123456789ABCDEF0123456789ABCDEF01234567";
    const SUBKEY: &str = "89ABCDEF0123456789ABCDEF0123456789ABCDEF";

    #[test]
    fn a_signer_is_named_with_and_without_its_kind() {
        let minisign = Signer::Minisign { number: "CF51D532FC52A77".to_owned(), key: "RWQx".to_owned() };
        let ssh = Signer::Ssh {
            fingerprint: "SHA256:abC".to_owned(),
            principals: vec!["c@x".to_owned(), "a@x,b@*,!b@y".to_owned()],
        };
        let openpgp = Signer::OpenPgp { primary: PRIMARY.to_owned(), key: SUBKEY.to_owned() };
        let sigstore = Signer::Sigstore { identity: "https://x/y".to_owned(), issuer: "https://z".to_owned() };
        let spaced = "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567";
        for (signer, names) in [
            (&minisign, vec!["minisign:RWQx", "minisign:CF51D532FC52A77", "CF51D532FC52A77", "0cf51d532fc52a77"]),
            (&ssh, vec!["ssh:SHA256:abC", "SHA256:abC", "a@x", "ssh:b@x"]),
            (&openpgp, vec![PRIMARY, SUBKEY, spaced, "openpgp:0123456789abcdef0123456789abcdef01234567"]),
            (&sigstore, vec!["https://x/y", "sigstore:https://x/y"]),
        ] {
            for name in names {
                let who: Who = name.parse().unwrap();
                for other in [&minisign, &ssh, &openpgp, &sigstore] {
                    assert_eq!(who.is(other), signer == other, "{name} {other}");
                }
            }
            assert!(signer.to_string().parse::<Who>().unwrap().is(signer));
        }
        for (name, signer) in [
            ("SHA256:ABC", &ssh),
            ("ssh:a@", &ssh),
            ("openpgp:0123456789ABCDEF0123456789ABCDEF01234560", &openpgp),
            ("a@x,b@*", &ssh),
            ("b@y", &ssh),
            ("01234567", &openpgp),
        ] {
            assert!(!name.parse::<Who>().unwrap().is(signer), "{name}");
        }
    }

    #[test]
    fn a_key_for_every_principal_is_not_every_key() {
        let anybody = Signer::Ssh { fingerprint: "SHA256:abC".to_owned(), principals: vec!["*".to_owned()] };
        for (name, is) in [("a@x", true), ("SHA256:abC", true), ("SHA256:other", false), ("ssh:SHA256:other", false)] {
            assert_eq!(name.parse::<Who>().unwrap().is(&anybody), is, "{name}");
        }
    }

    #[test]
    fn half_a_fingerprint_and_nothing_name_nobody() {
        for bad in ["", " ", "ssh:", "openpgp:89ABCDEF01234567", "openpgp:x"] {
            assert!(bad.parse::<Who>().is_err(), "{bad}");
        }
    }
}
