//! One traced process: what ptrace(2) and proc(5) know of it.

use std::ffi::c_void;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use nix::libc;

/// A call that a process is about to make.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub number: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Where the program makes it.
    pub from: u64,
}

/// The call before which `pid` stands; `None` when it stands after one.
pub fn call(pid: i32) -> Option<Call> {
    // SAFETY: the structure is plain numbers, and the kernel writes no more than its size.
    let info = unsafe {
        let mut info: libc::ptrace_syscall_info = std::mem::zeroed();
        let size = size_of::<libc::ptrace_syscall_info>() as *mut c_void;
        let got = libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, &raw mut info);
        (got > 0).then_some(info)?
    };
    // SAFETY: `op` says which member is filled in; number and arguments lie at the same place in both.
    let (number, arguments) = match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => unsafe { (info.u.entry.nr, info.u.entry.args) },
        libc::PTRACE_SYSCALL_INFO_SECCOMP => unsafe { (info.u.seccomp.nr, info.u.seccomp.args) },
        _ => return None,
    };
    Some(Call { number, arguments, from: info.instruction_pointer })
}

/// Makes the call before which `pid` stands not happen, and give `result`.
pub fn skip(pid: i32, result: i64) -> io::Result<()> {
    with_registers(pid, |registers| {
        registers.orig_rax = u64::MAX;
        registers.rax = result.cast_unsigned();
    })
}

/// Gives the call before which `pid` stands another third argument.
pub fn third_argument(pid: i32, value: u64) -> io::Result<()> {
    with_registers(pid, |registers| registers.rdx = value)
}

/// Gives the call that `pid` has just made another result, and its third argument back.
pub fn result(pid: i32, result: u64, third: u64) -> io::Result<()> {
    with_registers(pid, |registers| {
        registers.rax = result;
        registers.rdx = third;
    })
}

fn with_registers(pid: i32, change: impl FnOnce(&mut libc::user_regs_struct)) -> io::Result<()> {
    // SAFETY: both calls read or write exactly this structure.
    unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        if libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers) != 0 {
            return Err(io::Error::last_os_error());
        }
        change(&mut registers);
        match libc::ptrace(libc::PTRACE_SETREGS, pid, 0, &raw const registers) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The name of the program that `pid` runs.
pub fn program(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Whether `pid` is a zombie, or nothing (`proc_pid_stat(5)`).
pub fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which may hold parentheses itself.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// What a descriptor of `pid` is: a path, `pipe:[…]`, `socket:[…]`.
pub fn descriptor(pid: i32, fd: u64) -> String {
    let fd = fd as i32;
    let link = match fd {
        libc::AT_FDCWD => format!("/proc/{pid}/cwd"),
        _ => format!("/proc/{pid}/fd/{fd}"),
    };
    fs::read_link(link).map_or_else(|_| format!("fd {fd}"), |to| to.display().to_string())
}

/// The string at an address of `pid`.
pub fn string(pid: i32, address: u64) -> String {
    let bytes = bytes::<4096>(pid, address);
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The number at an address of `pid`.
pub fn word(pid: i32, address: u64) -> Option<u64> {
    bytes::<8>(pid, address).try_into().ok().map(u64::from_ne_bytes)
}

/// Where a socket address leads, when it is one of unix(7) with a path.
pub fn unix_address(pid: i32, address: u64, length: u64) -> Option<String> {
    let bytes = bytes::<110>(pid, address);
    let bytes = bytes.get(..usize::try_from(length).ok()?.min(bytes.len()))?;
    let (family, path) = bytes.split_first_chunk::<2>()?;
    let path = path.split(|b| *b == 0).next()?;
    (i32::from(u16::from_ne_bytes(*family)) == libc::AF_UNIX).then(|| String::from_utf8_lossy(path).into_owned())
}

fn bytes<const N: usize>(pid: i32, address: u64) -> Vec<u8> {
    let mut bytes = vec![0; N];
    // A string may end where its page does.
    let got = File::open(format!("/proc/{pid}/mem")).and_then(|mem| mem.read_at(&mut bytes, address)).unwrap_or(0);
    bytes.truncate(got);
    bytes
}

/// Where the dynamic loader of the program that `pid` has just begun lies; `None` when there is none.
pub fn loader(pid: i32) -> Option<std::ops::Range<u64>> {
    let auxv = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let (words, _) = auxv.as_chunks::<8>();
    let entries = words.chunks_exact(2).map(|pair| (u64::from_ne_bytes(pair[0]), u64::from_ne_bytes(pair[1])));
    let base = entries.into_iter().find(|(key, base)| *key == libc::AT_BASE && *base != 0)?.1;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let ranges = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let parse = |text| u64::from_str_radix(text, 16).ok();
        Some((parse(start)?, parse(end)?, rest.split_ascii_whitespace().nth(4)?.to_owned()))
    });
    let ranges: Vec<_> = ranges.collect();
    let file = &ranges.iter().find(|(start, ..)| *start == base)?.2;
    let end = ranges.iter().filter(|(.., f)| f == file).map(|(_, end, _)| *end).max()?;
    Some(base..end)
}
