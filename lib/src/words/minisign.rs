//! Minisign keys and signatures (<https://jedisct1.github.io/minisign/>, "Signature format"); the cryptography is the
//! `minisign-verify` crate's.

use std::fmt;
use std::str;

use minisign_verify::{Error, PublicKey, StreamVerifier};

/// The most that a signature in the old form, which is over the bytes and not over their hash, can speak of here, in bytes.
const LEGACY: usize = 1 << 20;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    public: PublicKey,
    id: u64,
    base64: String,
}

/// Text that is no public key.
#[derive(Debug, thiserror::Error)]
#[error("not a minisign public key: {0}")]
pub struct NotAKey(&'static str);

impl Key {
    /// The key in one line of base64, as `minisign -G` shows it.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let key = PublicKey::from_base64(text).ok()?;
        // Two bytes of algorithm, eight of key number, little-endian. A key has one algorithm; signatures have two.
        let start = base64_start::<10>(text)?;
        let id = u64::from_le_bytes(start.strip_prefix(b"Ed")?.try_into().ok()?);
        Some(Self { public: key, id, base64: text.trim().to_owned() })
    }

    /// The key in a `.pub` file: a comment and a line of base64.
    pub fn from_file(text: &[u8]) -> Result<Self, NotAKey> {
        let text = str::from_utf8(text).map_err(|_| NotAKey("it is no text"))?;
        let mut lines = text.lines();
        let comment = lines.next().ok_or(NotAKey("it is empty"))?;
        if !comment.starts_with("untrusted comment:") {
            return Err(NotAKey("its first line is no 'untrusted comment:'"));
        }
        let key = match lines.next() {
            None | Some("") => return Err(NotAKey("it is a comment alone, without a key")),
            // A secret key (algorithm `Ed`, then what encrypts it) and a signature are longer; `RW` is `Ed` in base64.
            Some(long) if long.len() >= 100 && comment.contains("secret key") => {
                return Err(NotAKey("it is a secret key or a signature; the public key is in the .pub file"));
            }
            Some(line) => Self::from_base64(line).ok_or(NotAKey("its second line is no key"))?,
        };
        if lines.any(|line| !line.is_empty()) {
            return Err(NotAKey("it goes on behind the key; one file holds one key"));
        }
        Ok(key)
    }

    /// The whole key, as [`Key::from_base64`] takes it. Its number alone is no pin: whoever makes keys can choose it.
    #[must_use]
    pub fn base64(&self) -> &str {
        &self.base64
    }
}

impl fmt::Display for Key {
    /// The key's number, as `minisign` writes it into comments: a leading zero is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}", self.id)
    }
}

/// A signature that was read, and proves nothing yet.
#[derive(Clone)]
pub struct Signature(minisign_verify::Signature);

/// Text that is no signature.
#[derive(Debug, thiserror::Error)]
#[error("not a minisign signature: {0}")]
pub struct NotASignature(&'static str);

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It does not fit these bytes, or its trusted comment was changed.
    #[error("it does not fit the bytes")]
    Bytes,
    /// It was made with another key.
    #[error("it was made with another key")]
    OtherKey,
    /// It is in the old form, over more bytes than are taken for that.
    #[error("it is in the legacy form (minisign -l), taken for at most 1 MiB; sign again without -l, or sign a list")]
    Legacy,
}

impl Signature {
    /// Reads a signature file of four lines.
    pub fn parse(text: &[u8]) -> Result<Self, NotASignature> {
        let text = str::from_utf8(text).map_err(|_| NotASignature("it is no text"))?;
        if text.lines().skip(4).any(|line| !line.is_empty()) {
            return Err(NotASignature("it goes on behind the fourth line"));
        }
        let decoded = minisign_verify::Signature::decode(text);
        decoded.map(Self).map_err(|_| NotASignature("four lines as `minisign -S` writes them are needed"))
    }

    /// Begins to check bytes against this signature.
    pub fn check<'a>(&'a self, key: &'a Key) -> Result<Check<'a>, Rejected> {
        let how = match key.public.verify_stream(&self.0) {
            Ok(stream) => How::Hashed(Box::new(stream)),
            Err(Error::UnsupportedLegacyMode) => How::Legacy(Vec::new()),
            Err(Error::UnexpectedKeyId) => return Err(Rejected::OtherKey),
            Err(_) => return Err(Rejected::Bytes),
        };
        Ok(Check { signature: self, key, how })
    }
}

/// A signature being checked while the bytes go by.
pub struct Check<'a> {
    signature: &'a Signature,
    key: &'a Key,
    how: How<'a>,
}

enum How<'a> {
    Hashed(Box<StreamVerifier<'a>>),
    Legacy(Vec<u8>),
}

impl Check<'_> {
    /// The next bytes of what was signed.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.how {
            How::Hashed(stream) => stream.update(bytes),
            // One byte more than is taken tells the end that there was more.
            How::Legacy(seen) => seen.extend_from_slice(&bytes[..bytes.len().min(LEGACY + 1 - seen.len())]),
        }
    }

    /// Whether the signature holds for all the bytes there were: then its trusted comment, which it covers too.
    pub fn finish(self) -> Result<String, Rejected> {
        let held = match self.how {
            How::Hashed(mut stream) => stream.finalize(),
            How::Legacy(seen) if seen.len() > LEGACY => return Err(Rejected::Legacy),
            How::Legacy(seen) => self.key.public.verify(&seen, &self.signature.0, true),
        };
        held.map(|()| self.signature.0.trusted_comment().to_owned()).map_err(|_| Rejected::Bytes)
    }
}

/// The file that a trusted comment says was signed: its `file:` field, which `minisign -S` writes unless told otherwise.
#[must_use]
pub fn file_of(trusted_comment: &str) -> Option<&str> {
    trusted_comment.split('\t').find_map(|field| field.strip_prefix("file:"))
}

/// The version that a trusted comment names: its field `version:1.2.3`, with blanks or tabs around it.
#[must_use]
pub fn version_of(trusted_comment: &str) -> Option<&str> {
    trusted_comment.split_ascii_whitespace().find_map(|field| field.strip_prefix("version:"))
}

/// When a trusted comment says it was signed, in seconds since 1970-01-01 UTC: its `timestamp:` field.
#[must_use]
pub fn time_of(trusted_comment: &str) -> Option<u64> {
    trusted_comment.split('\t').find_map(|field| field.strip_prefix("timestamp:"))?.parse().ok()
}

/// The first bytes of base64 text (RFC 4648), without its end.
fn base64_start<const N: usize>(text: &str) -> Option<[u8; N]> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut filled, mut bits, mut held) = ([0; N], 0, 0, 0u32);
    for digit in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        held = (held << 6 | u32::try_from(value).ok()?) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            *out.get_mut(filled)? = (held >> bits & 0xff).try_into().ok()?;
            filled += 1;
        }
        if filled == N {
            return Some(out);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with minisign 0.11 for these tests; the secret key is gone.
    const KEY: &str = "RWSRaRcNNbViWTCleHZ9ezxVKGXpaak0fdOHYSuMluD4CPFhXOlGptLI";
    const OTHER: &str = "RWQNvsIyiqkCMxQuv9er+hjyJol7QsApeCVewLi02rZidjy5x+gBLbek";
    const SIGNED: &[u8] = b"test list\n";
    const HASHED: &str = "untrusted comment: signature from minisign secret key
RUSRaRcNNbViWd1NWp1IIW51fS2rApWWhIn6Fu8MPD5cMyxBEBRgKiUyZyfLyuL80aM9aWj9IV7ShN9Z40rgfe9oj8vtUxTcXgg=
trusted comment: timestamp:1795282436\tfile:f\thashed
SJOvmkUu79vc24YlJ6x6nSQFPue+RtQc96SPk47RYWGwEQ4DYlEd9vAqUxkERb2TTiFznSyCUHjyvZ1w9kazDg==
";
    const PLAIN: &str = "untrusted comment: signature from minisign secret key
RWSRaRcNNbViWZko4UQIKUNThR1QBMhV7ujsxzt9D509huwT4A+ATeaJtkWkcFkYcueuHKMjTsNy1uaDbiY8Qxiu6ofujVZ3cAQ=
trusted comment: timestamp:1795282436\tfile:f
yjJj7wMlMl3/bVit68FbSMuuIHeaa5bJFrT4EQ6FJJVMSiKkEt4fZKP1BuhgosUrF45tutwE7+OKBoEopKHmBQ==
";

    fn holds(key: &str, signature: &[u8], bytes: &[u8]) -> Option<String> {
        let key = Key::from_base64(key)?;
        let signature = Signature::parse(signature).ok()?;
        let mut check = signature.check(&key).ok()?;
        bytes.chunks(3).for_each(|chunk| check.update(chunk));
        check.finish().ok()
    }

    #[test]
    fn signatures_of_both_forms_hold_and_show_their_comment() {
        let comment = holds(KEY, HASHED.as_bytes(), SIGNED).unwrap();
        assert_eq!((comment.as_str(), file_of(&comment)), ("timestamp:1795282436\tfile:f\thashed", Some("f")));
        assert_eq!((time_of(&comment), version_of(&comment)), (Some(1_795_282_436), None));
        assert_eq!(version_of("timestamp:1\tfile:f version:v1.2.3\thashed"), Some("v1.2.3"));
        assert!(holds(KEY, PLAIN.as_bytes(), SIGNED).is_some());
        assert_eq!(Key::from_base64(KEY).unwrap().to_string(), "5962B5350D176991");
        let file = format!("untrusted comment: minisign public key 5962B5350D176991\n{KEY}\n");
        assert_eq!(Key::from_file(file.as_bytes()).unwrap(), Key::from_base64(KEY).unwrap());
    }

    #[test]
    fn a_number_is_written_as_minisign_writes_it() {
        let key = Key { id: 0x0CF5_1D53_2FC5_2A77, ..Key::from_base64(KEY).unwrap() };
        assert_eq!(key.to_string(), "CF51D532FC52A77");
    }

    #[test]
    fn another_key_and_other_bytes_are_rejected() {
        for signature in [HASHED, PLAIN] {
            assert_eq!(holds(OTHER, signature.as_bytes(), SIGNED), None);
            assert_eq!(holds(KEY, signature.as_bytes(), b"test list"), None);
            assert_eq!(holds(KEY, signature.as_bytes(), b""), None);
        }
    }

    #[test]
    fn a_legacy_signature_over_much_is_rejected_by_name() {
        let (key, signature) = (Key::from_base64(KEY).unwrap(), Signature::parse(PLAIN.as_bytes()).unwrap());
        let mut check = signature.check(&key).unwrap();
        (0..3).for_each(|_| check.update(&vec![0; LEGACY / 2]));
        assert_eq!(check.finish(), Err(Rejected::Legacy));
    }

    #[test]
    fn texts_that_are_no_key_and_no_signature_are_said_to_be() {
        for bad in ["", "RW", KEY, &format!("untrusted comment: x\n{KEY}\n{OTHER}\n"), "untrusted comment: x\n"] {
            assert!(Key::from_file(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["", "x", &HASHED[..200], &format!("{HASHED}{HASHED}"), &HASHED.replace("trusted comment: t", "t")] {
            assert!(Signature::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Key::from_base64("/etc/upswap/key.pub").is_none());
        assert!(Key::from_base64(&KEY.replace("RW", "RU")).is_none(), "no key's algorithm");
    }

    #[test]
    fn a_file_that_is_no_public_key_is_told_what_it_is() {
        let key = format!("untrusted comment: minisign public key 5962B5350D176991\n{KEY}\n");
        let secret = format!("untrusted comment: minisign encrypted secret key\nRWRTY0Iy{}\n", "A".repeat(200));
        for (file, why) in [
            ("", "empty"),
            ("untrusted comment: x\n", "a comment alone"),
            ("untrusted comment: x\n\n", "a comment alone"),
            (&secret, "a secret key"),
            (HASHED, "a secret key or a signature"),
            (&format!("{key}{key}"), "one file holds one key"),
            (&format!("{key}{OTHER}\n"), "one file holds one key"),
        ] {
            let said = Key::from_file(file.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn no_single_bit_flip_of_the_signed_bytes_holds() {
        for bit in 0..SIGNED.len() * 8 {
            let mut flipped = SIGNED.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(holds(KEY, HASHED.as_bytes(), &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn no_single_bit_flip_of_a_signature_holds() {
        // The first line is the untrusted comment: nobody signs it, and it is shown nowhere.
        let signed_from = HASHED.find('\n').unwrap();
        for bit in signed_from * 8..HASHED.trim_end().len() * 8 {
            let mut flipped = HASHED.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(holds(KEY, &flipped, SIGNED), None, "byte {} bit {}", bit / 8, bit % 8);
        }
    }
}
