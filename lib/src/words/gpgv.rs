//! What gpgv(1) says on its `--status-fd` (GnuPG's doc/DETAILS, "Format of the --status-fd output"), and keyrings in armour.

use std::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A signature that gpgv found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    /// The fingerprint of the key that made it, in upper case.
    pub key: String,
    /// The fingerprint of that key's primary key.
    pub primary: String,
    /// When it was made, in seconds since 1970-01-01 UTC; the signature covers this.
    pub made: Option<u64>,
}

/// The signatures, when every one of them is good; else why not. gpgv's exit status must be 0 besides.
pub fn good(status: &[u8]) -> Result<Vec<Good>, String> {
    let text = String::from_utf8_lossy(status);
    let (mut begun, mut fine, mut good) = (0, 0, Vec::new());
    for line in text.lines() {
        let Some(line) = line.strip_prefix("[GNUPG:] ") else { continue };
        let mut words = line.split(' ');
        let (keyword, words) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>());
        let word = |n: usize| words.get(n).copied().unwrap_or_default();
        match keyword {
            "NEWSIG" => begun += 1,
            "GOODSIG" => fine += 1,
            "VALIDSIG" => good.push(valid(&words)?),
            "BADSIG" => return Err("it does not fit the bytes".to_owned()),
            "ERRSIG" if word(5) == "9" => return Err(format!("key {} made it, and it is not in the keyring", word(0))),
            "ERRSIG" => {
                return Err(format!("key {} made it, and it can't be checked (gpgv's code {})", word(0), word(5)));
            }
            "EXPSIG" => return Err(format!("the signature by key {} has expired", word(0))),
            "EXPKEYSIG" => return Err(format!("key {}, which made it, has expired", word(0))),
            "REVKEYSIG" => return Err(format!("key {}, which made it, is revoked", word(0))),
            "NODATA" => return Err("there is no OpenPGP signature in it".to_owned()),
            "PLAINTEXT" => return Err("it is no detached signature (gpg --detach-sign)".to_owned()),
            "UNEXPECTED" | "FAILURE" | "ERROR" => return Err(format!("gpgv says {line}")),
            _ => {}
        }
    }
    if good.is_empty() || begun != good.len() || fine != good.len() {
        return Err("gpgv found no good signature in it".to_owned());
    }
    Ok(good)
}

/// `VALIDSIG FINGERPRINT DATE TIME EXPIRES VERSION RESERVED KEY-ALGORITHM HASH-ALGORITHM CLASS PRIMARY-FINGERPRINT`
fn valid(words: &[&str]) -> Result<Good, String> {
    let [key, _, made, _, _, _, _, hash, class, primary, ..] = words else {
        return Err("gpgv's VALIDSIG is not of the known form".to_owned());
    };
    let known =
        |fingerprint: &&str| matches!(fingerprint.len(), 40 | 64) && fingerprint.bytes().all(|b| b.is_ascii_hexdigit());
    if ![key, primary].into_iter().all(known) {
        return Err("gpgv's VALIDSIG holds no fingerprint of a key of version 4 or newer".to_owned());
    }
    // RFC 9580 section 9.5: SHA-256, SHA-384, SHA-512, SHA3-256, SHA3-512.
    if !matches!(*hash, "8" | "9" | "10" | "12" | "14") {
        let name = match *hash {
            "1" => "MD5",
            "2" => "SHA-1",
            "3" => "RIPEMD-160",
            "11" => "SHA-224",
            _ => "an unknown digest",
        };
        return Err(format!("it is over {name}, which proves nothing (gpg --digest-algo SHA512)"));
    }
    // Section 5.2.1: in text mode line ends are not signed, so that other bytes would hold as well.
    if *class != "00" {
        return Err(format!("it is not over the bytes as they are, but of class 0x{class} (sign without --textmode)"));
    }
    Ok(Good { key: key.to_uppercase(), primary: primary.to_uppercase(), made: made.parse().ok() })
}

/// Bytes that are no keyring for gpgv.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a keyring of public OpenPGP keys: {0}")]
pub struct NotAKeyring(&'static str);

/// The keyring as gpgv reads it: a binary one as it is, one in armour (RFC 9580 section 6) without it.
pub fn keyring(bytes: &[u8]) -> Result<Vec<u8>, NotAKeyring> {
    const SECRET: NotAKeyring = NotAKeyring("it holds a secret key; export the public one (gpg --export)");
    // A binary packet has its highest bit set; its type is in the bits below (section 4.2).
    // A keybox has its length in front, type 1, version 1, flags, and then its name.
    match bytes {
        [] => Err(NotAKeyring("it is empty")),
        [0x98..=0x9b | 0xc6, ..] | [_, _, _, _, 1, 1, _, _, b'K', b'B', b'X', b'f', ..] => Ok(bytes.to_vec()),
        [0x94..=0x97 | 0xc5, ..] => Err(SECRET),
        [first, ..] if first & 0x80 != 0 => Err(NotAKeyring("it begins with something else than a key")),
        _ => {
            let text = str::from_utf8(bytes).map_err(|_| NotAKeyring("it is neither a keyring nor armour"))?;
            if text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
                return Err(SECRET);
            }
            dearmoured(text).ok_or(NotAKeyring("its armour is not that of gpg --armor --export"))
        }
    }
}

/// The blocks of public keys in `text`, one behind the other; between them only empty lines may stand.
fn dearmoured(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut lines = text.lines().map(str::trim_end).skip_while(|line| line.is_empty()).peekable();
    while lines.peek().is_some() {
        if lines.next() != Some("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            return None;
        }
        // Headers, up to an empty line.
        while lines.next_if(|line| line.contains(": ")).is_some() {}
        if lines.next() != Some("") {
            return None;
        }
        let mut base64 = String::new();
        loop {
            match lines.next()? {
                "-----END PGP PUBLIC KEY BLOCK-----" => break,
                // The checksum is no more than that of a transmission, and newer gpg leaves it out.
                line if line.starts_with('=') => {}
                line => base64.push_str(line),
            }
        }
        bytes.extend(STANDARD.decode(base64).ok()?);
        while lines.next_if(|line| line.is_empty()).is_some() {}
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "6DB4E8D04EE1F751377A2B128204AEE13D37A7B0";
    const PRIMARY: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

    fn signature(hash: &str, class: &str) -> String {
        format!(
            "[GNUPG:] NEWSIG\n[GNUPG:] KEY_CONSIDERED {KEY} 0\n[GNUPG:] GOODSIG 8204AEE13D37A7B0 A B\n\
             [GNUPG:] VALIDSIG {KEY} 2026-11-21 1795304120 0 4 0 22 {hash} {class} {PRIMARY}\n"
        )
    }

    #[test]
    fn a_good_signature_is_told_with_its_keys_and_its_time() {
        let fine = signature("8", "00");
        let read = good(fine.as_bytes()).unwrap();
        assert_eq!(read, [Good { key: KEY.to_owned(), primary: PRIMARY.to_owned(), made: Some(1_795_304_120) }]);
        assert_eq!(good(format!("{fine}{}", signature("10", "00")).as_bytes()).unwrap().len(), 2);
        assert_eq!(good(fine.replace("1795304120", "20261121T000000").as_bytes()).unwrap()[0].made, None);
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let fine = signature("8", "00");
        for (status, why) in [
            (String::new(), "no good signature"),
            ("gpgv: GOODSIG\nVALIDSIG\n".to_owned(), "no good signature"),
            (fine.replace("GOODSIG", "GOOD"), "no good signature"),
            (fine.replace("NEWSIG", "OLDSIG"), "no good signature"),
            (fine.lines().take(3).collect::<Vec<_>>().join("\n"), "no good signature"),
            (format!("{fine}[GNUPG:] NEWSIG\n"), "no good signature"),
            (format!("{fine}[GNUPG:] BADSIG 8204AEE13D37A7B0 A"), "does not fit"),
            (format!("{fine}[GNUPG:] ERRSIG 8204AEE13D37A7B0 22 10 00 1795304120 9 {KEY}"), "not in the keyring"),
            (format!("{fine}[GNUPG:] ERRSIG 8204AEE13D37A7B0 22 1 00 1795304120 5 {KEY}"), "can't be checked"),
            (fine.replace("GOODSIG", "EXPSIG"), "has expired"),
            (fine.replace("GOODSIG", "EXPKEYSIG"), "has expired"),
            (fine.replace("GOODSIG", "REVKEYSIG"), "is revoked"),
            (format!("[GNUPG:] NODATA 1\n{fine}"), "no OpenPGP signature"),
            (format!("[GNUPG:] PLAINTEXT 62 0 f\n{fine}"), "no detached signature"),
            (format!("{fine}[GNUPG:] FAILURE gpgv 1"), "gpgv says"),
            (signature("1", "00"), "MD5"),
            (signature("2", "00"), "SHA-1"),
            (signature("11", "00"), "SHA-224"),
            (signature("99", "00"), "an unknown digest"),
            (signature("8", "01"), "--textmode"),
            (fine.replace(KEY, "8204AEE13D37A7B0"), "no fingerprint"),
            (fine.replace(&format!(" {PRIMARY}"), ""), "not of the known form"),
        ] {
            let said = good(status.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{status}: {said}");
        }
    }

    #[test]
    fn keyrings_are_taken_with_and_without_armour() {
        const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
        const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
        let block = format!("{BEGIN}\nVersion: x\n\nmDME\nAAAA\n=abcd\n{END}\n");
        let bytes = [0x98, 0x33, 0x04, 0, 0, 0];
        assert_eq!(keyring(&bytes).unwrap(), bytes);
        assert_eq!(keyring(block.as_bytes()).unwrap(), bytes);
        assert_eq!(keyring(block.replace('\n', "\r\n").as_bytes()).unwrap(), bytes);
        assert_eq!(keyring(format!("{block}\n{block}").as_bytes()).unwrap(), [bytes, bytes].concat());
        assert_eq!(keyring(b"\0\0\0\x20\x01\x01\0\x02KBXf").unwrap().len(), 12);
        for (bad, why) in [
            (Vec::new(), "empty"),
            (vec![0x95, 1], "secret"),
            (block.replace("PUBLIC", "PRIVATE").into_bytes(), "secret"),
            (vec![0x88, 0x75], "something else"),
            (b"a@x ssh-ed25519 AAAA".to_vec(), "armour"),
            (b"\x01\xff".to_vec(), "neither"),
            (format!("{BEGIN}\n\n{END}\n").into_bytes(), "armour"),
            (block.replace("mDME", "m?ME").into_bytes(), "armour"),
            (block.replace(END, "").into_bytes(), "armour"),
            (format!("{block}x").into_bytes(), "armour"),
        ] {
            let said = keyring(&bad).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
