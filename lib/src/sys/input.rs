//! Reading what a user names, up to a limit: a unit file of two gigabytes or `/dev/zero` must not fill the memory.

use std::io::{self, Read};
use std::path::Path;

use fs_err as fs;

/// All bytes of the file at `path`; `None` when there are more than `limit`.
pub fn file(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    all(fs::File::open(path)?, limit)
}

/// All bytes of standard input; `None` when there are more than `limit`.
pub fn stdin(limit: usize) -> io::Result<Option<Vec<u8>>> {
    all(io::stdin().lock(), limit)
}

/// All bytes that `reader` gives; `None` when there are more than `limit`, of which at most one more is read.
pub fn all(reader: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_still_read() {
        assert_eq!(all(&b"abc"[..], 3).unwrap().as_deref(), Some(&b"abc"[..]));
        assert_eq!(all(&b"abcd"[..], 3).unwrap(), None);
        assert_eq!(all(io::repeat(0), 3).unwrap(), None);
    }
}
