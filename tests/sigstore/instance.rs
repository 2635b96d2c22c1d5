//! A Sigstore instance of our own, in memory: a certificate authority, a certificate log, a transparency log, and what signs with
//! them. Its trusted root makes every rejection possible, offline and at a time of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SigningKey, date_time_ymd,
};
use serde_json::{Value, json};
use upswap::words::digest::Digest;

/// The workflow that signs.
pub const RELEASE: &str = "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1.0.0";
/// Who vouches for it.
pub const GITHUB: &str = "https://token.actions.githubusercontent.com";
/// What it is built from.
pub const SOURCE: &str = "https://github.com/o/r";
/// Noon of the one day of which the certificates are, 2024-03-01.
pub const NOON: i64 = 1_709_294_400;

/// The instance.
pub struct Instance {
    ca: Issuer<'static, KeyPair>,
    ca_der: Vec<u8>,
    certificate_log: KeyPair,
    log: KeyPair,
}

/// What a certificate says, and when the log saw the signature.
#[derive(Clone)]
pub struct Signing {
    pub san: SanType,
    pub issuer: Option<&'static str>,
    pub source: Option<&'static str>,
    pub time: i64,
    pub for_code: bool,
    pub certificate_logged: bool,
    /// Whether the certificate's own key signs, and no other.
    pub own_key: bool,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            san: SanType::URI(RELEASE.try_into().unwrap()),
            issuer: Some(GITHUB),
            source: Some(SOURCE),
            time: NOON,
            for_code: true,
            certificate_logged: true,
            own_key: true,
        }
    }
}

/// What is signed.
pub enum Over<'a> {
    /// A file's bytes.
    Bytes(&'a [u8]),
    /// An in-toto statement.
    Statement(Value),
}

impl Instance {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "our certificate authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let ca_der = params.self_signed(&key).unwrap().der().to_vec();
        let new = || KeyPair::generate().unwrap();
        Self { ca: Issuer::new(params, key), ca_der, certificate_log: new(), log: new() }
    }

    /// Its `trusted_root.json`.
    pub fn root(&self) -> Value {
        let log = |key: &KeyPair| {
            json!([{
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(&key.subject_public_key_info()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": { "start": "2024-01-01T00:00:00Z" },
                },
                "logId": { "keyId": b64(&log_id(key)) },
            }])
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": log(&self.log),
            "ctlogs": log(&self.certificate_log),
            "certificateAuthorities": [{
                "uri": "https://ca.example",
                "certChain": { "certificates": [{ "rawBytes": b64(&self.ca_der) }] },
                "validFor": { "start": "2024-01-01T00:00:00Z" },
            }],
            "timestampAuthorities": [],
        })
    }

    /// A bundle as cosign writes one for a file, or GitHub for an attestation.
    pub fn sign(&self, over: &Over, signing: &Signing) -> Value {
        let key = KeyPair::generate().unwrap();
        let certificate = self.certificate(&key, signing);
        let key = if signing.own_key { key } else { KeyPair::generate().unwrap() };
        let (content, kind, body) = match over {
            Over::Bytes(bytes) => signature(&key, &certificate, bytes),
            Over::Statement(statement) => attestation(&key, &certificate, statement),
        };
        let mut bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": b64(&certificate) },
                "tlogEntries": [self.entry(kind, &body, signing.time)],
            },
        });
        bundle.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
        bundle
    }

    /// The signer's certificate, good for one day, with the promise of the certificate log in it.
    fn certificate(&self, key: &KeyPair, signing: &Signing) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2024, 3, 1);
        params.not_after = date_time_ymd(2024, 3, 2);
        params.serial_number = Some(SerialNumber::from(7_u64));
        params.subject_alt_names = vec![signing.san.clone()];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if signing.for_code {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        }
        // 1.3.6.1.4.1.57264.1: 8 the issuer, 12 the repository, 13 the commit, 14 the tag.
        let built = |what| signing.source.map(|_| what);
        let claims =
            [(8, signing.issuer), (12, signing.source), (13, built("a1b2c3")), (14, built("refs/tags/v1.0.0"))];
        for (number, value) in claims {
            let Some(value) = value else { continue };
            let oid = [1, 3, 6, 1, 4, 1, 57264, 1, number];
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, der(0x0c, value.as_bytes())));
        }
        if signing.certificate_logged {
            let before = params.signed_by(key, &self.ca).unwrap();
            let list = self.promise(first_of(before.der()));
            let oid = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, der(0x04, &list)));
        }
        params.signed_by(key, &self.ca).unwrap().der().to_vec()
    }

    /// RFC 6962 section 3.2 and 3.3: a list of one promise for this certificate, which is not in it yet.
    fn promise(&self, certificate: &[u8]) -> Vec<u8> {
        let time = (u64::try_from(NOON).unwrap() * 1000).to_be_bytes();
        let ca = sha256(&self.ca.key().subject_public_key_info());
        let length = u32::try_from(certificate.len()).unwrap().to_be_bytes();
        let signed = [&[0, 0][..], &time, &[0, 1], &ca, &length[1..], certificate, &[0, 0]].concat();
        let signature = self.certificate_log.sign(&signed).unwrap();
        let promise = [&[0][..], &log_id(&self.certificate_log), &time, &[0, 0, 4, 3], &counted(&signature)].concat();
        counted(&counted(&promise))
    }

    /// The entry of `body` as one of two leaves of the log.
    fn entry(&self, kind: &str, body: &Value, time: i64) -> Value {
        let body = body.to_string();
        let leaf = sha256(&[&[0], body.as_bytes()].concat());
        let beside = sha256(b"another entry");
        let root = b64(&sha256(&[&[1], &leaf[..], &beside].concat()));
        let note = format!("log.example\n2\n{root}\n");
        let hint = &log_id(&self.log)[..4];
        let signature = b64(&[hint, &self.log.sign(note.as_bytes()).unwrap()].concat());
        let promised = json!({
            "body": b64(body.as_bytes()),
            "integratedTime": time,
            "logID": Digest::of(&self.log.subject_public_key_info()).to_string(),
            "logIndex": 70,
        });
        json!({
            "logIndex": "70",
            "logId": { "keyId": b64(&log_id(&self.log)) },
            "kindVersion": { "kind": kind, "version": "0.0.1" },
            "integratedTime": time.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": b64(&self.log.sign(promised.to_string().as_bytes()).unwrap()) },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": root,
                "treeSize": "2",
                "hashes": [b64(&beside)],
                "checkpoint": { "envelope": format!("{note}\n\u{2014} log.example {signature}\n") },
            },
            "canonicalizedBody": b64(body.as_bytes()),
        })
    }
}

/// A statement that `digest` is the build called `name`.
pub fn provenance(name: &str, bytes: &[u8]) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": name, "digest": { "sha256": Digest::of(bytes).to_string() } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    })
}

fn signature(key: &KeyPair, certificate: &[u8], bytes: &[u8]) -> (Value, &'static str, Value) {
    let signature = b64(&key.sign(bytes).unwrap());
    let content = json!({ "messageSignature": {
        "messageDigest": { "algorithm": "SHA2_256", "digest": b64(&sha256(bytes)) },
        "signature": signature,
    } });
    let body = json!({ "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": { "hash": { "algorithm": "sha256", "value": Digest::of(bytes).to_string() } },
        "signature": { "content": signature, "publicKey": { "content": b64(pem(certificate).as_bytes()) } },
    } });
    (content, "hashedrekord", body)
}

fn attestation(key: &KeyPair, certificate: &[u8], statement: &Value) -> (Value, &'static str, Value) {
    let (kind, payload) = ("application/vnd.in-toto+json", statement.to_string());
    let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = b64(&key.sign(signed.as_bytes()).unwrap());
    let content = json!({ "dsseEnvelope": {
        "payloadType": kind,
        "payload": b64(payload.as_bytes()),
        "signatures": [{ "sig": signature }],
    } });
    let hash = json!({ "algorithm": "sha256", "value": Digest::of(payload.as_bytes()).to_string() });
    let body = json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": {
        "envelopeHash": hash,
        "payloadHash": hash,
        "signatures": [{ "signature": signature, "verifier": b64(pem(certificate).as_bytes()) }],
    } });
    (content, "dsse", body)
}

pub fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hex = Digest::of(bytes).to_string();
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

fn log_id(key: &KeyPair) -> [u8; 32] {
    sha256(&key.subject_public_key_info())
}

fn pem(certificate: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", b64(certificate))
}

/// With its length, two bytes, in front.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A DER value of this tag.
fn der(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let head = match length {
        0..128 => vec![tag, bytes.len().to_le_bytes()[0]],
        128..256 => vec![tag, 0x81, bytes.len().to_le_bytes()[0]],
        _ => [&[tag, 0x82][..], &length.to_be_bytes()].concat(),
    };
    [&head[..], bytes].concat()
}

/// The first value inside the DER sequence `outer`, whole: what is signed in a certificate.
fn first_of(outer: &[u8]) -> &[u8] {
    let inner = &outer[head(outer).0..];
    let (start, length) = head(inner);
    &inner[..start + length]
}

/// How many bytes a DER value's head and its contents have.
fn head(value: &[u8]) -> (usize, usize) {
    match usize::from(value[1]) {
        short @ 0..128 => (2, short),
        long => {
            let bytes = &value[2..2 + (long & 0x7f)];
            (2 + bytes.len(), bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
        }
    }
}
