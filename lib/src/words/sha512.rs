//! SHA-512 digests (FIPS 180-4), for lists and signatures that speak in them. A file's own name is its SHA-256.

use std::fmt;

use sha2::Digest as _;

/// A SHA-512 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha512([u8; 64]);

impl Sha512 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha512::digest(bytes).into())
    }

    /// Reads 128 hexadecimal digits in either case.
    #[must_use]
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        if hex.len() != 128 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            let value = char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?;
            *byte = u8::try_from(value).ok()?;
        }
        Some(Self(bytes))
    }

    /// The 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha512:{self}")
    }
}

/// A digest in the making.
#[derive(Clone, Default)]
pub struct Hashing(sha2::Sha512);

impl Hashing {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all there were.
    #[must_use]
    pub fn finish(self) -> Sha512 {
        Sha512(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4 example "abc".
    const ABC: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                       2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    #[test]
    fn reads_and_writes_the_published_example() {
        assert_eq!(Sha512::of(b"abc").to_string(), ABC);
        assert_eq!(Sha512::from_hex(ABC.to_uppercase().as_bytes()), Some(Sha512::of(b"abc")));
        let mut hashing = Hashing::default();
        for part in [&b"a"[..], b"", b"bc"] {
            hashing.update(part);
        }
        assert_eq!(hashing.finish(), Sha512::of(b"abc"));
        for bad in ["", &ABC[1..], &format!("{ABC}0"), &format!("{}g", &ABC[1..])] {
            assert_eq!(Sha512::from_hex(bad.as_bytes()), None, "{bad}");
        }
    }
}
