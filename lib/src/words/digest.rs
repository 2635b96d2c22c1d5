//! SHA-256 digests: the name of a file's content.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest (FIPS 180-4), written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A string that is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a SHA-256 digest: 64 hexadecimal digits are needed")]
pub struct NotADigest(String);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of everything `reader` gives, and how many bytes that was.
    pub fn of_reader(reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hashing = Hashing::new(io::sink());
        let mut reader = reader;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(hashing.finish()).map(|(digest, len, _)| (digest, len)),
                Ok(n) => hashing.write_all(&buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    /// Reads 64 hexadecimal digits in either case, with or without the `sha256:` in front that registries write.
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return Err(NotADigest(text.to_owned()));
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16);
            let low = char::from(pair[1]).to_digit(16);
            let (Some(high), Some(low)) = (high, low) else {
                return Err(NotADigest(text.to_owned()));
            };
            *byte = u8::try_from(high * 16 + low).unwrap_or_default();
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A writer that hashes what passes through it to `inner`.
pub struct Hashing<W> {
    inner: W,
    state: Sha256,
    len: u64,
}

impl<W: Write> Hashing<W> {
    /// Hashes what is written on its way to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, state: Sha256::new(), len: 0 }
    }

    /// The digest of all that was written, its length in bytes, and the inner writer.
    pub fn finish(self) -> (Digest, u64, W) {
        (Digest(self.state.finalize().into()), self.len, self.inner)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.state.update(&bytes[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4 example "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn reads_and_writes_the_published_example() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(ABC.to_uppercase().parse::<Digest>().unwrap(), Digest::of(b"abc"));
        assert_eq!(Digest::of_reader(&b"abc"[..]).unwrap(), (Digest::of(b"abc"), 3));
    }

    #[test]
    fn refuses_what_is_not_64_hex_digits() {
        for bad in ["", "ba78", &ABC[1..], &format!("{}g", &ABC[1..]), &format!("{ABC}0"), &"é".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
