//! File capabilities, as capabilities(7) describes them: the bytes of `security.capability` and their text form.
//!
//! Keeping a capability never goes through here: the raw bytes are carried. This is for saying what they mean, and for
//! making them from text (`--cap`).

pub mod save;
mod text;

use std::fmt;

/// `VFS_CAP_REVISION_MASK` and the revisions of include/uapi/linux/capability.h.
const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_1: u32 = 0x0100_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
/// `VFS_CAP_FLAGS_EFFECTIVE`: the kernel knows one effective bit for the whole file.
const EFFECTIVE: u32 = 1;

/// The capabilities of a file: bit n is capability number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCaps {
    /// Permitted: given to the process, as far as its bounding set allows.
    pub permitted: u64,
    /// Inheritable: given when the process has them inheritable too.
    pub inheritable: u64,
    /// Whether the permitted ones are effective from the start.
    pub effective: bool,
    /// The user namespace's root user these capabilities are for (revision 3), if not the first namespace's.
    pub rootid: Option<u32>,
}

/// Bytes that are not a `security.capability` attribute.
#[derive(Debug, thiserror::Error)]
#[error("not a security.capability attribute: {0}")]
pub struct NotFileCaps(String);

impl FileCaps {
    /// Reads the attribute's bytes: revision 1, 2 or 3.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotFileCaps> {
        let words: Vec<u32> = bytes
            .chunks(4)
            .map(|c| <[u8; 4]>::try_from(c).map(u32::from_le_bytes))
            .collect::<Result<_, _>>()
            .map_err(|_| NotFileCaps(format!("{} bytes", bytes.len())))?;
        let magic = words.first().copied().unwrap_or_default();
        let effective = magic & EFFECTIVE != 0;
        let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        match (magic & REVISION_MASK, words.as_slice()) {
            (REVISION_1, &[_, p, i]) => {
                Ok(Self { permitted: p.into(), inheritable: i.into(), effective, rootid: None })
            }
            (REVISION_2, &[_, p0, i0, p1, i1]) => {
                Ok(Self { permitted: wide(p0, p1), inheritable: wide(i0, i1), effective, rootid: None })
            }
            (REVISION_3, &[_, p0, i0, p1, i1, rootid]) => {
                Ok(Self { permitted: wide(p0, p1), inheritable: wide(i0, i1), effective, rootid: Some(rootid) })
            }
            _ => Err(NotFileCaps(format!("{} bytes that begin with {magic:#010x}", bytes.len()))),
        }
    }

    /// The attribute's bytes: revision 2, or 3 when there is a rootid.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let revision = if self.rootid.is_some() { REVISION_3 } else { REVISION_2 };
        let low = |set: u64| u32::try_from(set & 0xffff_ffff).unwrap_or_default();
        let high = |set: u64| u32::try_from(set >> 32).unwrap_or_default();
        let mut words = vec![
            revision | if self.effective { EFFECTIVE } else { 0 },
            low(self.permitted),
            low(self.inheritable),
            high(self.permitted),
            high(self.inheritable),
        ];
        words.extend(self.rootid);
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// What the attribute's bytes mean, for people; bytes that mean nothing are shown as hexadecimal digits.
    #[must_use]
    pub fn describe(bytes: &[u8]) -> String {
        Self::from_bytes(bytes).map_or_else(
            |_| bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
            |caps| caps.to_string(),
        )
    }
}

/// The name of a capability; the number when it has none that is known here.
pub(super) fn name(index: u8) -> String {
    text::name(index)
}

impl fmt::Display for FileCaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(self))
    }
}

impl std::str::FromStr for FileCaps {
    type Err = text::NotCapText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text::read(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // `setcap cap_net_bind_service=ep FILE; getfattr -n security.capability -e hex FILE`
    const NET_BIND_EP: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn reads_and_writes_what_setcap_writes() {
        let caps = FileCaps::from_bytes(&NET_BIND_EP).unwrap();
        assert_eq!(caps, FileCaps { permitted: 1 << 10, effective: true, ..FileCaps::default() });
        assert_eq!(caps.to_bytes(), NET_BIND_EP);
        assert_eq!(caps.to_string(), "cap_net_bind_service=ep");
    }

    #[test]
    fn reads_revision_1_and_3() {
        let one = [1, 0, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0];
        assert_eq!(FileCaps::from_bytes(&one).unwrap().permitted, 1 << 10);
        let mut three = NET_BIND_EP.to_vec();
        three[3] = 3;
        three.extend(1000_u32.to_le_bytes());
        let caps = FileCaps::from_bytes(&three).unwrap();
        assert_eq!(caps.rootid, Some(1000));
        assert_eq!(caps.to_bytes(), three);
    }

    #[test]
    fn refuses_other_bytes() {
        for bad in [&[][..], &[1, 0, 0], &NET_BIND_EP[..16], &[0; 20]] {
            assert!(FileCaps::from_bytes(bad).is_err(), "{bad:?}");
        }
    }
}
