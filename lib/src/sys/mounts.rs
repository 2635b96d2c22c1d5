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

/// One mount of this process's namespace (`proc_pid_mountinfo(5)`).
#[derive(Clone, Debug)]
pub struct MountLine {
    id: u64,
    /// Where it is mounted.
    pub point: PathBuf,
    options: Vec<String>,
}

impl MountLine {
    /// Whether it is mounted with this option.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|given| given == option)
    }

    /// Nobody can write to it, and neither its set-user-ID bits nor its device nodes count.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        ["ro", "nosuid", "nodev"].iter().all(|option| self.has(option))
    }

    /// Whether its path leads to it: another mount may lie over it. One that root may not look at (FUSE) counts as visible.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        match statx(CWD, &self.point, flags, StatxFlags::MNT_ID) {
            Ok(found) if found.stx_mask & StatxFlags::MNT_ID.bits() != 0 => found.stx_mnt_id == self.id,
            Ok(_) => true,
            Err(rustix::io::Errno::ACCESS) => nix::unistd::geteuid().is_root(),
            Err(_) => false,
        }
    }
}

/// All mounts of this process's namespace.
pub fn table() -> io::Result<Vec<MountLine>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let read = |line: &[u8]| {
        let fields: Vec<_> = line.split(|b| *b == b' ').collect();
        let options = str::from_utf8(fields.get(5)?).ok()?.split(',').map(str::to_owned).collect();
        Some(MountLine {
            id: str::from_utf8(fields.first()?).ok()?.parse().ok()?,
            point: unescaped(fields.get(4)?),
            options,
        })
    };
    Ok(table.split(|b| *b == b'\n').filter_map(read).collect())
}

/// The fifth field of each line (`proc_pid_mountinfo(5)`).
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    table.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4)).map(unescaped)
}

/// A blank, a tab, a newline and a backslash stand as `\ooo`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(byte);
            rest = &after[3..];
        } else {
            out.push(*first);
            rest = after;
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

    #[test]
    fn every_mount_has_its_options_and_the_root_is_visible() {
        let table = table().unwrap();
        let root = table.iter().rfind(|mount| mount.point == Path::new("/")).unwrap();
        assert!(root.is_visible() && (root.has("rw") || root.has("ro")));
        assert!(table.iter().any(|mount| mount.point == Path::new("/proc")));
        let gone = MountLine { point: "/nowhere/at/all".into(), ..root.clone() };
        let other = MountLine { point: "/proc".into(), ..root.clone() };
        assert!(!gone.is_visible() && !other.is_visible());
        let harmless = MountLine { options: ["ro", "nosuid", "nodev"].map(str::to_owned).to_vec(), ..root.clone() };
        assert!(harmless.is_harmless() && !MountLine { options: vec!["ro".into()], ..harmless }.is_harmless());
    }
}
