//! What proves a file: SSH and OpenPGP signatures and their keys, and the policy that demands them.

use std::str;

use upswap::words::allowed_signers::{AllowedSigners, matches};
use upswap::words::gpgv;
use upswap::words::policy::{Facts, Policy};
use upswap::words::release::Tag;
use upswap::words::sshsig::{KeyBlob, Signature};

use super::{first_line, text};

/// The key that the seeds of the corpora were signed with, and the other one.
const KEYS: [&str; 2] = [
    "AAAAC3NzaC1lZDI1NTE5AAAAIAdTgEJcgt3q+X5r7hYrZN/9dxmWEaf28iF3etPIqISI",
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBO/7oKumusgyAaz/cwlLeXs8KEK0z8ZuW1hOx6WY33nQIXyvbl9XlVhOt4rZWRq5n8HgbI+iyzOpE+oyFtg5Hmw=",
];

/// The first two lines are a pattern list and what it may fit, the rest is a file of allowed signers.
pub fn allowed_signers(bytes: &[u8]) {
    let (list, rest) = first_line(bytes);
    let (word, file) = first_line(rest);
    if let (Some(list), Some(word)) = (text(list), text(word)) {
        assert!(!matches(list, word) || list.split(',').any(|one| one == word || one.contains(['*', '?'])));
        assert!(!matches(&format!("{list},!*"), word), "what is refused does not fit");
        assert!(matches(word, word) || word.contains([',', '!']), "a text fits itself");
    }
    let Ok(signers) = AllowedSigners::parse(file) else { return };
    let alone = |key: &KeyBlob| {
        let of_key = |line: &&[u8]| text(line).is_some_and(|line| has_key(line, key));
        file.split(|b| *b == b'\n').filter(of_key).collect::<Vec<_>>().join(&b'\n')
    };
    for key in KEYS.iter().filter_map(|key| KeyBlob::from_base64(key)) {
        for (namespace, now) in [("file", 0), ("file", 1_800_000_000), ("git", u64::MAX)] {
            let Ok(principals) = signers.principals(&key, namespace, now) else { continue };
            assert!(!principals.is_empty() && principals.iter().all(|one| !one.is_empty()));
            let lines = AllowedSigners::parse(&alone(&key)).expect("its lines are lines");
            assert_eq!(lines.principals(&key, namespace, now), Ok(principals), "the key's own lines allow it");
        }
    }
}

fn has_key(line: &str, key: &KeyBlob) -> bool {
    line.split_ascii_whitespace().any(|word| KeyBlob::from_base64(word).as_ref() == Some(key))
}

pub fn ssh_key(bytes: &[u8]) {
    let Some(key) = text(bytes).and_then(KeyBlob::from_base64) else { return };
    assert!(key.kind().is_some(), "a key says of which type it is");
    assert!(key.fingerprint().len() == "SHA256:".len() + 43 && format!("{key:?}") == key.fingerprint());
}

/// A signature: it is never right for these bytes, which were not signed, and it says which key made it.
pub fn ssh_signature(bytes: &[u8]) {
    let Ok(signature) = Signature::parse(bytes) else { return };
    assert!(signature.key().kind().is_some_and(|kind| kind.starts_with("ssh-") || kind.starts_with("ecdsa-sha2-")));
    let mut checked = 0;
    for namespace in ["file", "git", ""] {
        if let Ok(mut check) = signature.check(namespace) {
            checked += 1;
            check.update(b"nobody signed this");
            assert!(check.finish().is_err());
        }
    }
    assert!(checked <= 1 && signature.check("").is_err(), "a signature is made for one use");
}

pub fn gpgv_status(bytes: &[u8]) {
    let Ok(good) = gpgv::good(bytes) else { return };
    let said = String::from_utf8_lossy(bytes);
    let count = |keyword: &str| {
        let is_one =
            |line: &&str| line.strip_prefix("[GNUPG:] ").and_then(|line| line.split(' ').next()) == Some(keyword);
        said.lines().filter(is_one).count()
    };
    assert!(!good.is_empty(), "good is what was signed");
    for keyword in ["NEWSIG", "GOODSIG", "VALIDSIG"] {
        assert_eq!(count(keyword), good.len(), "each signature is good: {keyword}");
    }
    for keyword in ["BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NODATA", "FAILURE", "ERROR"] {
        assert_eq!(count(keyword), 0, "{keyword}");
    }
    for fingerprint in good.iter().flat_map(|good| [&good.key, &good.primary]) {
        assert!(matches!(fingerprint.len(), 40 | 64));
        assert!(fingerprint.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()), "{fingerprint}");
    }
}

/// A keyring: a binary one is taken as it is, and one in armour is what it holds.
pub fn gpg_keyring(bytes: &[u8]) {
    let Ok(ring) = gpgv::keyring(bytes) else { return };
    assert!(!ring.is_empty());
    if ring == bytes {
        return;
    }
    assert!(ring.len() < bytes.len(), "armour is longer than what it holds");
    let twice = gpgv::keyring(&[bytes, b"\n", bytes].concat());
    assert_eq!(twice, Ok([ring.as_slice(), &ring].concat()), "a block behind it is one more block");
}

/// A policy: a demand in it is never passed over.
pub fn policy(bytes: &[u8]) {
    let Ok(policy) = Policy::parse(bytes) else { return };
    let demands = [
        !policy.signers.is_empty(),
        !policy.require.is_empty(),
        policy.floor.is_some(),
        policy.min_age.is_some(),
        policy.max_age.is_some(),
        !policy.hosts.is_empty(),
    ];
    assert!(demands.contains(&true), "a policy demands something");
    let lines = str::from_utf8(bytes).expect("a text").lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    let found = demands.iter().filter(|there| **there).count() - usize::from(demands[0]) + policy.signers.len();
    assert_eq!(found, lines, "every line is a demand");
    assert!(policy.signers.iter().all(|who| who.to_string().contains(':')), "a signer has a kind");
    assert_eq!(policy.floor.is_some(), policy.floor.as_ref().and_then(Tag::version).is_some());
    let judged = policy.judge(&Facts::default());
    assert!(judged.is_err() || !demands[..5].contains(&true), "nothing is known of it, and still it is taken");
    let _ = judged.map_err(|unmet| unmet.to_string());
}
