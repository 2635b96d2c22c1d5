//! SSH signatures as `ssh-keygen -Y sign` makes them (OpenSSH's PROTOCOL.sshsig); the cryptography is ring's.
//!
//! Ed25519, ECDSA over P-256 and P-384, and RSA (2048 to 8192 bits, SHA-2 alone). Security keys (`sk-`), certificates and all
//! others are refused by name.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use sha2::{Digest as _, Sha256};

use super::sha512;

const MAGIC: &[u8] = b"SSHSIG";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

/// A public key as it is sent and stored (RFC 4253 section 6.6): its type and what that type needs.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyBlob(Vec<u8>);

impl KeyBlob {
    /// The key in base64, as the second field of a `.pub` file has it. It says itself of which type it is.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let blob = Self(STANDARD.decode(text).ok()?);
        blob.kind().is_some().then_some(blob)
    }

    /// The key's type: `ssh-ed25519` and so on.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        std::str::from_utf8(Fields(&self.0).string()?).ok()
    }

    /// `SHA256:` and base64, as `ssh-keygen -l` writes it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.0)))
    }
}

impl fmt::Debug for KeyBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

/// Text that is no signature that can be checked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotASignature {
    /// It is not in the form.
    #[error("not an SSH signature: {0}")]
    Malformed(&'static str),
    /// It is of a kind that is not taken.
    #[error("{0} is not taken here: sign with an Ed25519, ECDSA (P-256, P-384) or RSA key (ssh-keygen -t ed25519)")]
    Unsupported(String),
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It does not fit these bytes.
    #[error("it does not fit the bytes")]
    Bytes,
    /// It was made for another use.
    #[error("it was made for the namespace '{found}', '{wanted}' is wanted (ssh-keygen -Y sign -n {wanted})")]
    Namespace {
        /// The namespace it was made for.
        found: String,
        /// The one that is asked for.
        wanted: String,
    },
}

/// A signature that was read, and proves nothing yet.
#[derive(Clone, Debug)]
pub struct Signature {
    key: KeyBlob,
    public: Public,
    namespace: String,
    hash: Hash,
    made: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha256,
    Sha512,
}

/// The key, with the algorithm that the signature names for it.
#[derive(Clone, Debug)]
enum Public {
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    RsaSha256 { n: Vec<u8>, e: Vec<u8> },
    RsaSha512 { n: Vec<u8>, e: Vec<u8> },
}

impl Signature {
    /// Reads a signature in its armour.
    pub fn parse(text: &[u8]) -> Result<Self, NotASignature> {
        let blob = dearmoured(text).ok_or(NotASignature::Malformed("it has not the form ssh-keygen -Y sign writes"))?;
        let cut = NotASignature::Malformed("what is in the armour is cut short or goes on");
        let mut fields = Fields(blob.strip_prefix(MAGIC).ok_or(NotASignature::Malformed("SSHSIG is not in front"))?);
        let version = fields.number().ok_or_else(|| cut.clone())?;
        if version != 1 {
            return Err(NotASignature::Unsupported(format!("an SSH signature of version {version}")));
        }
        let [Some(key), Some(namespace), Some(reserved), Some(hash), Some(signature)] =
            std::array::from_fn(|_| fields.string())
        else {
            return Err(cut);
        };
        if !fields.0.is_empty() || !reserved.is_empty() {
            return Err(cut);
        }
        let hash = match hash {
            b"sha256" => Hash::Sha256,
            b"sha512" => Hash::Sha512,
            other => return Err(NotASignature::Unsupported(String::from_utf8_lossy(other).into_owned())),
        };
        let namespace = std::str::from_utf8(namespace).ok().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.ok_or(NotASignature::Malformed("it has no namespace"))?.to_owned();
        let (public, made) = of_key(key, signature)?;
        Ok(Self { key: KeyBlob(key.to_vec()), public, namespace, hash, made })
    }

    /// The key that it says it was made with.
    #[must_use]
    pub fn key(&self) -> &KeyBlob {
        &self.key
    }

    /// Begins to check bytes against this signature, which must have been made for `namespace`.
    pub fn check<'a>(&'a self, namespace: &str) -> Result<Check<'a>, Rejected> {
        if self.namespace != namespace {
            let (found, wanted) = (self.namespace.clone(), namespace.to_owned());
            return Err(Rejected::Namespace { found, wanted });
        }
        let hashing = match self.hash {
            Hash::Sha256 => Hashing::Sha256(Sha256::new()),
            Hash::Sha512 => Hashing::Sha512(sha512::Hashing::default()),
        };
        Ok(Check { signature: self, hashing })
    }
}

/// A signature being checked while the bytes go by.
pub struct Check<'a> {
    signature: &'a Signature,
    hashing: Hashing,
}

enum Hashing {
    Sha256(Sha256),
    Sha512(sha512::Hashing),
}

impl Check<'_> {
    /// The next bytes of what was signed.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.hashing {
            Hashing::Sha256(hashing) => hashing.update(bytes),
            Hashing::Sha512(hashing) => hashing.update(bytes),
        }
    }

    /// Whether the signature is its key's, over all the bytes there were. Whether that key may sign is another question.
    pub fn finish(self) -> Result<(), Rejected> {
        let (name, digest) = match self.hashing {
            Hashing::Sha256(hashing) => (&b"sha256"[..], hashing.finalize().to_vec()),
            Hashing::Sha512(hashing) => (&b"sha512"[..], hashing.finish().as_bytes().to_vec()),
        };
        let mut signed = MAGIC.to_vec();
        for field in [self.signature.namespace.as_bytes(), b"", name, &digest] {
            // None of them is near 4 GiB.
            signed.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            signed.extend(field);
        }
        let signature = &self.signature.made;
        let held = match &self.signature.public {
            Public::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(&signed, signature),
            Public::P256(key) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(&signed, signature),
            Public::P384(key) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key).verify(&signed, signature),
            Public::RsaSha256 { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, &signed, signature)
            }
            Public::RsaSha512 { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA512, &signed, signature)
            }
        };
        held.map_err(|_| Rejected::Bytes)
    }
}

/// The bytes between the two lines of the armour; nothing else may stand around them.
fn dearmoured(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    if lines.next() != Some(BEGIN) {
        return None;
    }
    let mut base64 = String::new();
    loop {
        match lines.next()? {
            END => break,
            line => base64.push_str(line),
        }
    }
    if lines.any(|line| !line.is_empty()) {
        return None;
    }
    STANDARD.decode(base64).ok()
}

/// The key, and the signature in the form that its check takes.
fn of_key(key: &[u8], signature: &[u8]) -> Result<(Public, Vec<u8>), NotASignature> {
    let malformed = || NotASignature::Malformed("the key or the signature in it is not of its type's form");
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut key, mut signature) = (Fields(key), Fields(signature));
    let (kind, algorithm) = (key.string().ok_or_else(malformed)?, signature.string().ok_or_else(malformed)?);
    let made = signature.string().ok_or_else(malformed)?;
    let read = match (kind, algorithm) {
        (b"ssh-ed25519", b"ssh-ed25519") => key.string().map(|point| (Public::Ed25519(point.to_vec()), made.to_vec())),
        (b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp256") => {
            key.point(b"nistp256").zip(fixed(made, 32)).map(|(point, made)| (Public::P256(point), made))
        }
        (b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp384") => {
            key.point(b"nistp384").zip(fixed(made, 48)).map(|(point, made)| (Public::P384(point), made))
        }
        (b"ssh-rsa", b"rsa-sha2-256") => key.rsa().map(|(e, n)| (Public::RsaSha256 { n, e }, made.to_vec())),
        (b"ssh-rsa", b"rsa-sha2-512") => key.rsa().map(|(e, n)| (Public::RsaSha512 { n, e }, made.to_vec())),
        (b"ssh-ed25519" | b"ssh-rsa" | b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384", other) => {
            return Err(NotASignature::Unsupported(format!("{} with {}", name(kind), name(other))));
        }
        (other, _) => return Err(NotASignature::Unsupported(name(other))),
    };
    if !key.0.is_empty() || !signature.0.is_empty() {
        return Err(malformed());
    }
    read.ok_or_else(malformed)
}

/// r and s of an ECDSA signature (RFC 5656 section 3.1.2), each in `width` bytes.
fn fixed(made: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut fields = Fields(made);
    let (r, s) = (fields.positive()?, fields.positive()?);
    let mut out = vec![0; width.checked_sub(r.len())?];
    out.extend(r);
    out.extend(vec![0; width.checked_sub(s.len())?]);
    out.extend(s);
    fields.0.is_empty().then_some(out)
}

/// Fields in SSH's form (RFC 4251 section 5), taken from the front.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// A positive number in its only form, big-endian without zeros in front.
    fn positive(&mut self) -> Option<&'b [u8]> {
        match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Some(rest),
            [] | [0 | 0x80.., ..] => None,
            rest => Some(rest),
        }
    }

    fn point(&mut self, curve: &[u8]) -> Option<Vec<u8>> {
        (self.string()? == curve).then(|| self.string().map(<[u8]>::to_vec))?
    }

    fn rsa(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((self.positive()?.to_vec(), self.positive()?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with OpenSSH 9.2 for these tests; the secret key is gone.
    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIFi30qjipS6z2Zoavp9tCm/PFA/DQbFbiGDAhPpI7e6r";
    const SIGNED: &[u8] = b"test list\n";
    const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgWLfSqOKlLrPZmhq+n20Kb88UD8
NBsVuIYMCE+kjt7qsAAAAEZmlsZQAAAAAAAAAGc2hhNTEyAAAAUwAAAAtzc2gtZWQyNTUx
OQAAAECM0Leuz0C+hxEsU9RkpuqUR1wCyMBT6d9vA3aGOJwxPSzExUaf+hHKnEkjefDbg6
b2zM3n1Gehn/qsh/+OJlUM
-----END SSH SIGNATURE-----
";

    /// Whether the signature is one of `KEY` over the bytes.
    fn holds(signature: &[u8], bytes: &[u8], namespace: &str) -> bool {
        let Ok(signature) = Signature::parse(signature) else { return false };
        let Ok(mut check) = signature.check(namespace) else { return false };
        bytes.chunks(3).for_each(|chunk| check.update(chunk));
        check.finish().is_ok() && Some(signature.key()) == KeyBlob::from_base64(KEY).as_ref()
    }

    #[test]
    fn a_signature_of_ssh_keygen_holds_for_its_bytes_and_its_namespace() {
        assert!(holds(SIGNATURE.as_bytes(), SIGNED, "file"));
        assert!(holds(SIGNATURE.replace('\n', "\r\n").as_bytes(), SIGNED, "file"));
        assert!(!holds(SIGNATURE.as_bytes(), b"test list", "file"));
        assert!(!holds(SIGNATURE.as_bytes(), b"", "file"));
        assert!(!holds(SIGNATURE.as_bytes(), SIGNED, "git"));
        let key = KeyBlob::from_base64(KEY).unwrap();
        assert_eq!(key.fingerprint(), "SHA256:fAsdslCeuNoAW2EGsLzLnaS/CAqzy7McTlMYOuuokF4");
        assert_eq!(key.kind(), Some("ssh-ed25519"));
    }

    #[test]
    fn no_single_bit_flip_of_signature_or_bytes_holds() {
        for bit in 0..SIGNATURE.len() * 8 {
            let mut flipped = SIGNATURE.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(&flipped, SIGNED, "file"), "byte {} bit {}", bit / 8, bit % 8);
        }
        for bit in 0..SIGNED.len() * 8 {
            let mut flipped = SIGNED.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(SIGNATURE.as_bytes(), &flipped, "file"), "bit {bit}");
        }
    }

    #[test]
    fn what_is_cut_doubled_or_of_another_kind_is_refused() {
        for length in 0..SIGNATURE.len() - 1 {
            assert!(Signature::parse(&SIGNATURE.as_bytes()[..length]).is_err(), "{length}");
        }
        for bad in [format!("{SIGNATURE}{SIGNATURE}"), format!("x\n{SIGNATURE}"), format!("{SIGNATURE}x")] {
            assert!(Signature::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let of = |kind: &str, algorithm: &str| {
            let mut blob = MAGIC.to_vec();
            blob.extend(1u32.to_be_bytes());
            let field = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
            let (key, made) =
                ([field(kind.as_bytes()), field(b"x")].concat(), [field(algorithm.as_bytes()), field(b"y")].concat());
            for part in [&key[..], b"file", b"", b"sha512", &made] {
                blob.extend(field(part));
            }
            let text = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(blob));
            Signature::parse(text.as_bytes()).unwrap_err()
        };
        for (kind, algorithm, named) in [
            ("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com"),
            ("ssh-dss", "ssh-dss", "ssh-dss"),
            ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
            ("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"),
            ("ssh-rsa", "ssh-rsa", "ssh-rsa with ssh-rsa"),
            ("ssh-ed25519", "rsa-sha2-512", "ssh-ed25519 with rsa-sha2-512"),
        ] {
            assert_eq!(of(kind, algorithm), NotASignature::Unsupported(named.to_owned()));
        }
        assert!(matches!(of("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"), NotASignature::Malformed(_)));
    }
}
