//! How the file system of a path is mounted.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::sys::statvfs::{FsFlags, statvfs};

/// What the mount below a folder takes away.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    flags: FsFlags,
    free: u64,
    free_inodes: Option<u64>,
}

impl Mount {
    /// The mount that `folder` is on (statvfs(3)).
    pub fn of(folder: &Path) -> io::Result<Self> {
        let found = statvfs(folder)?;
        // A file system that makes its inodes as it needs them says 0 of 0 (btrfs).
        let free_inodes = (found.files() > 0).then(|| found.files_available());
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        Ok(Self { flags: found.flags(), free, free_inodes })
    }

    /// Nothing can be written.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.flags.contains(FsFlags::ST_RDONLY)
    }

    /// The kernel runs no program from it.
    #[must_use]
    pub fn noexec(&self) -> bool {
        self.flags.contains(FsFlags::ST_NOEXEC)
    }

    /// The kernel ignores setuid, setgid and file capabilities on it.
    #[must_use]
    pub fn nosuid(&self) -> bool {
        self.flags.contains(FsFlags::ST_NOSUID)
    }

    /// Whether `bytes` in `files` new files would go onto it now. An estimate: only writing them tells.
    #[must_use]
    pub fn has_room(&self, bytes: u64, files: u64) -> bool {
        bytes <= self.free && self.free_inodes.is_none_or(|free| files <= free)
    }
}

/// Whether something is mounted at just this path (absolute, without symlinks), as container engines mount single files.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(mount_points(&table).any(|point| point == path))
}

/// The fifth field of each line (proc_pid_mountinfo(5)).
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    table.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4)).map(unescaped)
}

/// A blank, a tab, a newline and a backslash stand as `\ooo`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn mount_points_are_read_with_their_odd_bytes() {
        let table = b"22 1 0:20 / /proc rw - proc proc rw\n31 22 8:1 /a /b\\040c\\134\xff rw - ext4 /dev/x rw\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points[0], Path::new("/proc"));
        assert_eq!(points[1].as_os_str().as_bytes(), b"/b c\\\xff");
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(Path::new("/proc/self")).unwrap());
    }

    #[test]
    fn room_is_bytes_and_files() {
        let mount = Mount { flags: FsFlags::empty(), free: 10, free_inodes: Some(1) };
        assert!(mount.has_room(10, 1));
        assert!(!mount.has_room(11, 1) && !mount.has_room(10, 2));
        assert!(Mount { free_inodes: None, ..mount }.has_room(10, 9));
    }
}
