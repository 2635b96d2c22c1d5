//! `blklog MOUNTPOINT IMAGE LOG`: a disk that remembers the order of what was written to it.
//!
//! A FUSE file system with the one file `disk`, whose bytes are IMAGE's. Mounted from there by a loop device, every write and
//! every flush of the file system above comes here (the block layer makes a write and a flush of what it calls FUA), and is
//! added to LOG as it comes: one byte `W` or `F`, the offset and the length as little-endian u64, then the bytes written.
//! It ends when it is unmounted.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

const DISK: INodeNo = INodeNo(2);
/// Nothing but us changes what is cached.
const FOREVER: Duration = Duration::from_secs(3600);

struct Logged {
    image: File,
    size: u64,
    /// Locked over a write and its record, so that the log's order is the image's.
    log: Mutex<File>,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [mount, image, log] = &arguments[..] else {
        eprintln!("usage: blklog MOUNTPOINT IMAGE LOG");
        return ExitCode::from(2);
    };
    let serve = || -> io::Result<()> {
        let image = File::options().read(true).write(true).open(image)?;
        let log = Mutex::new(File::create_new(log)?);
        let size = image.metadata()?.size();
        let mut config = fuser::Config::default();
        config.mount_options = vec![fuser::MountOption::FSName("blklog".into())];
        fuser::mount(Logged { image, size, log }, mount, &config)
    };
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("blklog: {}: {e}", mount.display());
            ExitCode::from(3)
        }
    }
}

impl Logged {
    fn attr(&self, ino: INodeNo) -> FileAttr {
        let (kind, perm, size) = match ino {
            DISK => (FileType::RegularFile, 0o600, self.size),
            _ => (FileType::Directory, 0o700, 0),
        };
        let time = UNIX_EPOCH;
        FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn record(&self, kind: u8, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if kind == b'W' {
            self.image.write_all_at(data, offset)?;
        }
        let mut record = vec![kind];
        record.extend(offset.to_le_bytes());
        record.extend((data.len() as u64).to_le_bytes());
        record.extend(data);
        log.write_all(&record)
    }
}

impl Filesystem for Logged {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "disk" {
            reply.entry(&FOREVER, &self.attr(DISK), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attr(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the page cache: what the loop device writes is here when its write returns.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut data = vec![0; size as usize];
        match self.image.read_at(&mut data, offset) {
            Ok(n) => reply.data(&data[..n]),
            Err(e) => reply.error(e.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match (self.record(b'W', offset, data), u32::try_from(data.len())) {
            (Ok(()), Ok(written)) => reply.written(written),
            (Ok(()), Err(_)) => reply.error(Errno::EFBIG),
            (Err(e), _) => reply.error(e.into()),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.record(b'F', 0, &[]) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(e.into()),
        }
    }
}
