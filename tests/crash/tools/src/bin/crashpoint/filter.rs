//! Which calls stop: a seccomp(2) filter, so that the others run at full speed.

use nix::libc;

use crate::calls;

/// Calls that change the host, or that ask another process to.
const MUTATING: &str = "\
    write pwrite64 writev pwritev pwritev2 copy_file_range sendfile splice truncate ftruncate fallocate \
    open openat openat2 creat mknod mknodat mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 \
    link linkat symlink symlinkat chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat \
    setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat \
    fsync fdatasync sync syncfs sync_file_range ioctl flock mount umount2 \
    kill tkill tgkill pidfd_send_signal connect sendto sendmsg sendmmsg";

/// The flags of open(2) that are not for reading alone.
pub const FOR_WRITING: u32 =
    (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

// Offsets in struct seccomp_data (seccomp(2)).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// The filter: what is to stop traps to the tracer, the rest is let through.
pub fn program(all: bool) -> Vec<libc::sock_filter> {
    let allow = op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0);
    let trap = op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_TRACE, 0, 0);
    // Calls of another architecture have other numbers; no program of the tests makes any.
    let mut program = vec![load(ARCHITECTURE), equal(AUDIT_ARCH_X86_64, 1), allow];
    if all {
        program.push(trap);
        return program;
    }
    program.push(load(NUMBER));
    for name in MUTATING.split_ascii_whitespace() {
        let Some(number) = calls::number(name) else { continue };
        // Most calls of open are for reading: they are not worth a stop.
        match name {
            "open" => program.extend(flagged(number, 1, trap, allow)),
            "openat" => program.extend(flagged(number, 2, trap, allow)),
            _ => program.extend([op(JUMP_EQUAL, number, 0, 1), trap]),
        }
    }
    program.push(allow);
    program
}

/// What the filter lets through is told apart here, for a tracer that has no filter.
pub fn mutating(name: &str) -> bool {
    MUTATING.split_ascii_whitespace().any(|n| n == name)
}

const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JUMP_SET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;

fn flagged(number: u32, argument: u32, trap: libc::sock_filter, allow: libc::sock_filter) -> [libc::sock_filter; 5] {
    [op(JUMP_EQUAL, number, 0, 4), load(ARGUMENTS + 8 * argument), op(JUMP_SET, FOR_WRITING, 0, 1), trap, allow]
}

fn load(offset: u32) -> libc::sock_filter {
    op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn equal(value: u32, skip: u8) -> libc::sock_filter {
    op(JUMP_EQUAL, value, skip, 0)
}

fn op(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}
