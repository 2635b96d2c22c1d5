//! POSIX access control lists as the attribute `system.posix_acl_access` holds them (acl(5), `linux/posix_acl_xattr.h`).

/// The only version of the attribute there is.
const VERSION: u32 = 2;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Permission to write.
const WRITE: u16 = 2;

/// Who may write, besides the owner and what the mode says of everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The user of this number.
    User(u32),
    /// The group that the file belongs to.
    OwningGroup,
    /// The group of this number.
    Group(u32),
}

/// Who may write by this list, the mask applied; `None` when it is no list that this module knows.
#[must_use]
pub fn writers(acl: &[u8]) -> Option<Vec<Writer>> {
    let entries = entries(acl)?;
    let mask = entries.iter().find(|(tag, ..)| *tag == MASK).map_or(WRITE, |(_, perm, _)| *perm);
    let writes = entries.iter().filter(|(_, perm, _)| perm & mask & WRITE != 0);
    let writer = |(tag, _, id): &(u16, u16, u32)| match *tag {
        USER => Some(Writer::User(*id)),
        GROUP_OBJ => Some(Writer::OwningGroup),
        GROUP => Some(Writer::Group(*id)),
        _ => None,
    };
    Some(writes.filter_map(writer).collect())
}

/// The list as chmod(2) leaves it: what the mode says of the owner, of the group (the mask's entry, where there is a mask)
/// and of others stands in it. A list that this module does not know stays as it is.
#[must_use]
pub fn with_mode(acl: &[u8], mode: u32) -> Vec<u8> {
    let Some(entries) = entries(acl) else { return acl.to_vec() };
    let has_mask = entries.iter().any(|(tag, ..)| *tag == MASK);
    let bits = |shift: u32| u16::try_from(mode >> shift & 7).unwrap_or_default();
    let mut out = VERSION.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        let perm = match tag {
            USER_OBJ => bits(6),
            MASK => bits(3),
            GROUP_OBJ if !has_mask => bits(3),
            OTHER => bits(0),
            _ => perm,
        };
        out.extend(tag.to_le_bytes());
        out.extend(perm.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

/// Tag, permissions and number of each entry.
fn entries(acl: &[u8]) -> Option<Vec<(u16, u16, u32)>> {
    let (version, rest) = acl.split_first_chunk::<4>()?;
    let (entries, []) = rest.as_chunks::<8>() else { return None };
    let read = |e: &[u8; 8]| {
        let [t0, t1, p0, p1, i0, i1, i2, i3] = *e;
        (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([p0, p1]), u32::from_le_bytes([i0, i1, i2, i3]))
    };
    (u32::from_le_bytes(*version) == VERSION).then(|| entries.iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let entry = |(tag, perm, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &perm.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
        };
        [VERSION.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
    }

    const NONE: u32 = u32::MAX;

    #[test]
    fn the_mask_decides_who_writes() {
        let list =
            |mask| acl(&[(USER_OBJ, 7, NONE), (USER, 6, 7), (GROUP_OBJ, 7, NONE), (GROUP, 4, 9), (MASK, mask, NONE)]);
        assert_eq!(writers(&list(7)).unwrap(), [Writer::User(7), Writer::OwningGroup]);
        assert_eq!(writers(&list(5)).unwrap(), []);
        assert_eq!(writers(b"\x02\0\0\0odd"), None);
        assert_eq!(writers(&acl(&[(GROUP_OBJ, 7, NONE)])).unwrap(), [Writer::OwningGroup]);
    }

    #[test]
    fn a_mode_goes_into_the_list_as_chmod_puts_it_there() {
        let before = acl(&[(USER_OBJ, 7, NONE), (USER, 4, 7), (GROUP_OBJ, 5, NONE), (MASK, 7, NONE), (OTHER, 5, NONE)]);
        let after = acl(&[(USER_OBJ, 6, NONE), (USER, 4, 7), (GROUP_OBJ, 5, NONE), (MASK, 1, NONE), (OTHER, 0, NONE)]);
        assert_eq!(with_mode(&before, 0o4610), after);
        assert_eq!(with_mode(b"odd", 0o755), b"odd");
    }
}
