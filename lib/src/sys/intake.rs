//! Taking bytes in: files that others name are opened so that nothing but a regular file is ever read, and nothing hangs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;

use tempfile::TempPath;

use super::Host;
use super::durable;
use crate::words::digest::{Digest, Hashing};

/// The most that a list, a signature, a key or a list of file names may hold, in bytes.
pub const SMALL: u64 = 1 << 20;

/// Opens a regular file for reading. A symbolic link is followed; a FIFO, a device or a folder is refused and never waited for.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// All of a regular file that holds at most [`SMALL`] bytes.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(open_regular(path)?, SMALL)
}

/// All that `reader` gives, refused when that is more than `most` bytes.
pub fn read_at_most(reader: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large(most));
    }
    Ok(bytes)
}

/// The same file when it holds at most `most` bytes now; what grows meanwhile is for whoever reads it.
pub fn at_most(file: File, most: u64) -> io::Result<File> {
    if file.metadata()?.len() > most { Err(too_large(most)) } else { Ok(file) }
}

fn too_large(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes"))
}

/// A file of its own in the cache that has no name: nobody else can open it, and it is gone when this process is.
pub fn unnamed(host: &Host) -> io::Result<File> {
    durable::make_dirs(host.cache(), 0o755)?;
    tempfile::tempfile_in(host.cache())
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", host.cache().display())))
}

/// Gives the [`unnamed`] file a name of its own in `folder`, `prefix` in front; removed when dropped.
///
/// `None` where that can't be: on another file system, or one without `O_TMPFILE`, or without `/proc` (open(2)).
pub fn named(file: &File, folder: &Path, prefix: &str) -> io::Result<Option<TempPath>> {
    use rustix::fs::{AtFlags, CWD, linkat};
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let made = tempfile::Builder::new()
        .prefix(prefix)
        .make_in(folder, |name| linkat(CWD, &link, CWD, name, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from));
    match made {
        Ok(named) => Ok(Some(named.into_temp_path())),
        Err(e) if e.kind() == io::ErrorKind::StorageFull => Err(e),
        Err(_) => Ok(None),
    }
}

/// Copies what `reader` gives into `copy`, which is empty, refused when that is more than `most` bytes, while `read` reads the
/// copy back as far as it is there. Gives what `read` gives; why the copy is not whole comes before that.
///
/// `read` sees an error where the copy ends too early, and no end of the file.
pub fn copy_and_read<T>(
    mut reader: impl Read + Send,
    copy: &File,
    most: u64,
    read: impl FnOnce(Growing<'_>) -> T,
) -> io::Result<T> {
    /// How much is copied before it may be read back, in bytes.
    const PIECE: u64 = 2 << 20;
    thread::scope(|scope| {
        let (told, there) = channel();
        let fill = move || {
            let (mut to, mut len) = (copy, 0);
            loop {
                let copied = io::copy(&mut reader.by_ref().take(PIECE.min(most + 1 - len)), &mut to)?;
                len += copied;
                if len > most {
                    return Err(too_large(most));
                }
                let end = copied == 0;
                // Nobody may want the rest, once they know enough.
                if told.send((len, end)).is_err() || end {
                    return Ok(());
                }
            }
        };
        let filling = thread::Builder::new().name("copy".to_owned()).spawn_scoped(scope, fill)?;
        let given = read(Growing { copy, there, until: 0, at: 0, whole: false });
        filling.join().unwrap_or_else(|_| Err(io::Error::other("the thread that copies is gone")))?;
        Ok(given)
    })
}

/// A file that another thread appends to, from its start: waits for what is not there yet.
pub struct Growing<'f> {
    copy: &'f File,
    there: Receiver<(u64, bool)>,
    until: u64,
    at: u64,
    whole: bool,
}

impl Read for Growing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "it is not all there");
        while self.at == self.until && !self.whole {
            (self.until, self.whole) = self.there.recv().map_err(|_| short())?;
        }
        let left = usize::try_from(self.until - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.copy.read_at(buffer.get_mut(..left).unwrap_or_default(), self.at)?;
        self.at += n as u64;
        if n == 0 && left > 0 { Err(short()) } else { Ok(n) }
    }
}

/// Writes what `reader` gives into `file`, refused when that is more than `most` bytes, and gives the digest of what was
/// written and its length.
///
/// Hashing and writing are a thread's work each: `reader` may be busy too, with inflating say.
pub fn copy_hashed(mut reader: impl Read, file: &mut File, most: u64) -> io::Result<(Digest, u64)> {
    /// How much is handed over at once, in bytes: a processor's own cache holds what is under way.
    const PIECE: usize = 128 * 1024;
    /// How many pieces are under way.
    const PIECES: usize = 4;
    let mut hashing = Hashing::new(io::sink());
    let mut left = most;
    let mut next = |mut piece: Vec<u8>| {
        piece.clear();
        reader.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        match left.checked_sub(piece.len() as u64) {
            Some(fewer) => left = fewer,
            None => return Err(too_large(most)),
        }
        Ok(piece)
    };
    let first = next(Vec::with_capacity(PIECE))?;
    if first.len() < PIECE {
        file.write_all(&first)?;
        hashing.write_all(&first)?;
        return Ok(hashing.finish()).map(|(digest, len, _)| (digest, len));
    }
    thread::scope(|scope| {
        let (full, filled) = sync_channel::<Vec<u8>>(PIECES);
        let (counted, ready) = channel::<Vec<u8>>();
        let (done, free) = channel();
        let hash = move || {
            for piece in filled {
                hashing.write_all(&piece)?;
                // A writer that is gone has failed, and says why.
                if counted.send(piece).is_err() {
                    break;
                }
            }
            Ok(hashing.finish()).map(|(digest, len, _)| (digest, len))
        };
        let write = move || {
            for piece in ready {
                file.write_all(&piece)?;
                // The reader is at its end when nobody takes it.
                let _ = done.send(piece);
            }
            Ok(())
        };
        let hashing = thread::Builder::new().name("hash".to_owned()).spawn_scoped(scope, hash)?;
        let writing = thread::Builder::new().name("write".to_owned()).spawn_scoped(scope, write)?;
        let mut piece = first;
        let mut spare = PIECES;
        let read = loop {
            let ends = piece.len() < PIECE;
            // Who hashes is gone when the writer is, which has failed and says why below.
            if full.send(mem::take(&mut piece)).is_err() || ends {
                break Ok(());
            }
            let empty = match spare.checked_sub(1) {
                Some(fewer) => {
                    spare = fewer;
                    Vec::with_capacity(PIECE)
                }
                None => match free.recv() {
                    Ok(empty) => empty,
                    Err(_) => break Ok(()),
                },
            };
            match next(empty) {
                Ok(filled) => piece = filled,
                Err(e) => break Err(e),
            }
        };
        drop(full);
        let hashed = hashing.join().unwrap_or_else(|_| Err(io::Error::other("the thread that hashes is gone")));
        let written = writing.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes is gone")));
        read.and(written).and(hashed)
    })
}

/// Why a list of file names gives none.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The list could not be read.
    #[error("{from}: the list of files can't be read: {source}")]
    Read {
        /// The list.
        from: String,
        /// Why.
        source: io::Error,
    },
    /// It holds nothing.
    #[error("{from}: no files to work on: the stage before gave nothing")]
    Empty {
        /// The list.
        from: String,
    },
    /// It holds an empty name, or `-` for standard input.
    #[error("{from}: name {number} is {what}")]
    Name {
        /// The list.
        from: String,
        /// The name's number, from 1.
        number: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl crate::words::exit::Coded for NamesError {
    fn exit(&self) -> crate::words::exit::Exit {
        match self {
            Self::Read { .. } => crate::words::exit::Exit::CouldNot,
            Self::Empty { .. } | Self::Name { .. } => crate::words::exit::Exit::Usage,
        }
    }
}

/// The file names in the list `from` (`-`: standard input), each ended by `end`, as `--files-from` and `--files0-from` take them.
pub fn names_from(from: &Path, end: u8) -> Result<Vec<PathBuf>, NamesError> {
    let stdin = from.as_os_str() == "-";
    let shown = if stdin { "standard input".to_owned() } else { from.display().to_string() };
    // A list may well come by a FIFO (`--files-from <(…)`), so it is opened as it is.
    let read = if stdin {
        read_at_most(io::stdin().lock(), SMALL)
    } else {
        File::open(from).and_then(|file| read_at_most(file, SMALL))
    };
    let bytes = read.map_err(|source| NamesError::Read { from: shown.clone(), source })?;
    let bytes = bytes.strip_suffix(&[end]).unwrap_or(&bytes);
    if bytes.is_empty() {
        return Err(NamesError::Empty { from: shown });
    }
    let checked = |(index, name): (usize, &[u8])| {
        let what = match name {
            b"" => "empty",
            b"-" => "'-': standard input can't be named in a list",
            name if name.contains(&0) => "not a path: it holds a NUL byte (was --files0-from meant?)",
            name => return Ok(PathBuf::from(OsString::from_vec(name.to_vec()))),
        };
        Err(NamesError::Name { from: shown.clone(), number: index + 1, what })
    };
    bytes.split(|b| *b == end).enumerate().map(checked).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    #[test]
    fn a_fifo_a_folder_and_a_device_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for odd in [fifo.as_path(), dir.path(), Path::new("/dev/zero")] {
            assert_eq!(open_regular(odd).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{}", odd.display());
        }
    }

    #[test]
    fn more_than_the_cap_is_refused() {
        assert_eq!(read_at_most(io::repeat(7), 100).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_at_most(&[7; 100][..], 100).unwrap().len(), 100);
        let file = tempfile::tempfile().unwrap();
        let refused =
            copy_and_read(io::repeat(7), &file, 100, |mut copy| io::copy(&mut copy, &mut io::sink()).is_err());
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_copy_is_read_back_while_it_grows_and_never_ends_early() {
        const PIECE: usize = 2 << 20;
        let bytes: Vec<u8> = (0..=2 * PIECE).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 1] {
            let (file, bytes) = (tempfile::tempfile().unwrap(), &bytes[..len]);
            let back = copy_and_read(bytes, &file, len as u64, |copy| read_at_most(copy, len as u64)).unwrap();
            assert!(back.unwrap() == bytes, "{len}");
        }
        let file = tempfile::tempfile().unwrap();
        let broken = (&bytes[..=PIECE]).chain(Broken);
        let mut short = None;
        let error = copy_and_read(broken, &file, u64::MAX - 1, |mut copy| {
            short = Some(io::copy(&mut copy, &mut io::sink()).unwrap_err().kind());
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(short, Some(io::ErrorKind::UnexpectedEof));
        // Who reads may stop.
        let all = copy_and_read(io::repeat(7), &tempfile::tempfile().unwrap(), u64::MAX - 1, |_| "enough");
        assert_eq!(all.unwrap(), "enough");
    }

    #[test]
    fn an_unnamed_file_gets_a_name_only_where_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = tempfile::tempfile_in(dir.path()).unwrap();
        file.write_all(b"bytes").unwrap();
        let name = named(&file, dir.path(), "a-").unwrap().unwrap();
        assert_eq!(fs_err::read(&name).unwrap(), b"bytes");
        let kept = dir.path().join("kept");
        name.persist(&kept).unwrap();
        drop(named(&file, dir.path(), "a-").unwrap().unwrap());
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
        // Removed, and so without a way back to a name; and in a folder of another file system.
        fs_err::remove_file(&kept).unwrap();
        assert!(named(&file, dir.path(), "a-").unwrap().is_none());
        let elsewhere = tempfile::tempfile_in(dir.path()).unwrap();
        assert!(named(&elsewhere, Path::new("/proc"), "a-").unwrap().is_none());
    }

    #[test]
    fn a_hashed_copy_is_the_whole_of_it_and_its_digest() {
        const PIECE: usize = 128 * 1024;
        let bytes: Vec<u8> = (0..=9 * PIECE).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 5 * PIECE, 9 * PIECE + 1] {
            let mut file = tempfile::tempfile().unwrap();
            let most = len as u64;
            let bytes = &bytes[..len];
            assert_eq!(copy_hashed(bytes, &mut file, most).unwrap(), (Digest::of(bytes), most), "{len}");
            file.rewind().unwrap();
            assert_eq!(read_at_most(file, most).unwrap(), bytes, "{len}");
        }
        let mut file = tempfile::tempfile().unwrap();
        let too_large = copy_hashed(&bytes[..], &mut file, 9 * PIECE as u64).unwrap_err();
        assert_eq!(too_large.kind(), io::ErrorKind::FileTooLarge);
        // The end of the reader, early or late, and the end of the disk.
        let broken = (&bytes[..3 * PIECE]).chain(Broken);
        assert_eq!(copy_hashed(broken, &mut file, u64::MAX).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(copy_hashed(Broken, &mut file, u64::MAX).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = copy_hashed(io::repeat(7), &mut full, u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    /// A reader that fails.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn lists_of_names_are_read_byte_by_byte() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        let names = |text: &[u8], end| {
            fs_err::write(&list, text).unwrap();
            names_from(&list, end)
        };
        assert_eq!(names(b"a\nb c\n", b'\n').unwrap(), [Path::new("a"), Path::new("b c")]);
        assert_eq!(names(b"a\nb\0\xff\0", 0).unwrap().len(), 2);
        assert_eq!(names(b"a", b'\n').unwrap().len(), 1);
        assert!(matches!(names(b"", b'\n'), Err(NamesError::Empty { .. })));
        assert!(matches!(names(b"\n", b'\n'), Err(NamesError::Empty { .. })));
        assert!(matches!(names(b"a\n\nb\n", b'\n'), Err(NamesError::Name { number: 2, .. })));
        assert!(matches!(names(b"-\n", b'\n'), Err(NamesError::Name { number: 1, .. })));
        assert!(matches!(names(b"a\0b\0", b'\n'), Err(NamesError::Name { number: 1, .. })));
    }
}
