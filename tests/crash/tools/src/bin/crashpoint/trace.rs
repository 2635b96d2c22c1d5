//! The tracer: follows the whole tree, counts, and acts at the point.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use nix::libc;

use crate::tracee::{self, Call};
use crate::{Action, Order, calls, filter};

/// How far a process is between exec and main.
///
/// The loader makes its calls from its own mapping (`AT_BASE` in the auxiliary vector); the first call from anywhere else ends it,
/// but for the prlimit64(2) of glibc, which the loader has it make.
/// For a C program that is main. Rust's runtime begins with poll(2) of the three standard descriptors, without waiting, and its
/// last act that can fail is to install its stack for signals: the sigaltstack(2) that sets one.
#[derive(Clone, Debug)]
enum Stage {
    Loader(Range<u64>),
    Runtime,
    Main,
}

struct Tree<'a> {
    order: &'a Order,
    list: Option<File>,
    root: i32,
    /// The processes in the order of their birth; a parent dies before it can see its child die.
    born: Vec<i32>,
    stages: BTreeMap<i32, Stage>,
    /// Whether only some calls stop by themselves, by a filter.
    filtered: bool,
    begun: bool,
    count: u64,
    /// A write that lies is being made: what its third argument was.
    lying: Option<(i32, u64)>,
    /// No more can be asked for: the point is behind.
    done: bool,
}

/// Runs the order's command; its exit code.
pub fn run(order: &Order, list: Option<File>) -> Result<u8, String> {
    let filtered = may_filter();
    let root = spawn(order, filtered)?;
    let mut tree = Tree {
        order,
        list,
        root,
        born: vec![root],
        stages: BTreeMap::new(),
        filtered,
        begun: false,
        count: 0,
        lying: None,
        done: false,
    };
    let answer = tree.follow();
    tree.end();
    answer
}

/// A filter without `no_new_privs` is for a process with `CAP_SYS_ADMIN` alone, and with it set-uid programs and file
/// capabilities would not work for the victims.
fn may_filter() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    effective >> CAP_SYS_ADMIN & 1 == 1 && std::env::var_os("CP_NO_FILTER").is_none()
}

fn spawn(order: &Order, filtered: bool) -> Result<i32, String> {
    let words = order.command.iter().map(|w| CString::new(w.as_bytes())).collect::<Result<Vec<_>, _>>();
    let words = words.map_err(|e| e.to_string())?;
    let mut argv: Vec<_> = words.iter().map(|w| w.as_ptr()).collect();
    argv.push(std::ptr::null());
    let mut program = if filtered { filter::program(order.all) } else { Vec::new() };
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let (ready, go) = io::pipe().map_err(|e| e.to_string())?;
    let (ready_fd, go_fd) = (fd(&ready), fd(&go));
    // SAFETY: the child makes only calls that are safe after fork, over memory that was made before it.
    let child = unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::close(go_fd);
            let mut byte = 0_u8;
            if libc::read(ready_fd, (&raw mut byte).cast(), 1) != 1 {
                libc::_exit(125);
            }
            if filtered && libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) != 0 {
                libc::_exit(125);
            }
            libc::execvp(argv[0], argv.as_ptr());
            libc::_exit(if *libc::__errno_location() == libc::ENOENT { 127 } else { 126 });
        }
        child
    };
    if child < 0 {
        return Err(format!("fork: {}", io::Error::last_os_error()));
    }
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SEIZE, child, i64::from(options)).map_err(|e| format!("ptrace: {e}"))?;
    (&go).write_all(b"g").map_err(|e| e.to_string())?;
    // SAFETY: the handler does nothing; it is there so that waitpid(2) ends when the time is over.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = over as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        libc::alarm(order.timeout);
    }
    Ok(child)
}

extern "C" fn over(_: i32) {}

fn fd(file: &impl std::os::fd::AsRawFd) -> i32 {
    file.as_raw_fd()
}

/// The requests of ptrace(2) that are named here as constants have two C types.
fn request(what: u32, pid: i32, data: i64) -> io::Result<()> {
    // SAFETY: these requests take a number for `data` and write nothing.
    match unsafe { libc::ptrace(what, pid, std::ptr::null_mut::<c_void>(), data as *mut c_void) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The next process of ours that stopped or ended, and how; `Err` when the time is over or nobody is left.
fn wait() -> io::Result<(i32, i32)> {
    let mut status = 0;
    // SAFETY: waitpid writes one number.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) } {
        pid if pid > 0 => Ok((pid, status)),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Tree<'_> {
    fn follow(&mut self) -> Result<u8, String> {
        loop {
            let (pid, status) = wait().map_err(|e| match e.raw_os_error() {
                Some(libc::EINTR) => format!("CMD was not done after {} s", self.order.timeout),
                _ => format!("wait: {e}"),
            })?;
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                self.born.retain(|p| *p != pid);
                self.stages.remove(&pid);
                if pid == self.root {
                    let signal = || 128 + libc::WTERMSIG(status);
                    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { signal() };
                    return if self.begun { Ok(code as u8) } else { Err(not_begun(code, self.order)) };
                }
            } else {
                self.stopped(pid, status)?;
            }
        }
    }

    fn stopped(&mut self, pid: i32, status: i32) -> Result<(), String> {
        if !self.born.contains(&pid) {
            self.born.push(pid);
        }
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            0 if signal == libc::SIGTRAP | 0x80 => return self.at_call(pid),
            0 => self.resume(pid, signal),
            libc::PTRACE_EVENT_SECCOMP => return self.at_call(pid),
            libc::PTRACE_EVENT_EXEC => {
                self.executed(pid);
                self.resume(pid, 0);
            }
            libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => {
                // A stopped job stays stopped until SIGCONT.
                let _ = request(libc::PTRACE_LISTEN, pid, 0);
            }
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let mut child: libc::c_ulong = 0;
                // SAFETY: this request writes one number.
                unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut child) };
                let child = child as i32;
                // The child may have been seen before this, and have executed its program meanwhile, or have ended: its number
                // is its parent's to give away, who stands here.
                if !tracee::has_ended(child) {
                    let stage = self.stages.get(&pid).cloned().unwrap_or(Stage::Main);
                    self.stages.entry(child).or_insert(stage);
                    if !self.born.contains(&child) {
                        self.born.push(child);
                    }
                }
                self.resume(pid, 0);
            }
            _ => self.resume(pid, 0),
        }
        Ok(())
    }

    /// A process that was killed meanwhile can't be resumed, and need not be.
    fn resume(&self, pid: i32, signal: i32) {
        let lies = self.lying.is_some_and(|(liar, _)| liar == pid);
        let how = if (self.filtered || self.done) && !lies { libc::PTRACE_CONT } else { libc::PTRACE_SYSCALL };
        let _ = request(how, pid, i64::from(signal));
    }

    fn executed(&mut self, pid: i32) {
        self.begun = true;
        let stage = tracee::loader(pid).map_or(Stage::Runtime, Stage::Loader);
        self.stages.insert(pid, stage);
    }

    fn at_call(&mut self, pid: i32) -> Result<(), String> {
        if let Some((liar, asked)) = self.lying
            && liar == pid
        {
            self.lying = None;
            let _ = tracee::result(pid, asked, asked);
            self.resume(pid, 0);
            return Ok(());
        }
        let Some(call) = tracee::call(pid).filter(|_| self.begun) else {
            self.resume(pid, 0);
            return Ok(());
        };
        let name = calls::name(call.number).unwrap_or("unknown");
        if !self.counts(pid, &call, name) {
            self.resume(pid, 0);
            return Ok(());
        }
        self.count += 1;
        let here = self.count == self.order.point;
        if here || self.list.is_some() {
            let line = format!("{}\t{pid}\t{}\t{name}\t{}", self.count, tracee::program(pid), target(pid, name, &call));
            if let Some(list) = &mut self.list {
                writeln!(list, "{line}").map_err(|e| format!("list: {e}"))?;
            }
            if here && let Some(path) = &self.order.reached {
                std::fs::write(path, line + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
            }
        }
        if here {
            self.act(pid, &call)?;
        }
        self.resume(pid, 0);
        Ok(())
    }

    /// Whether a call is one of those that are asked for.
    fn counts(&mut self, pid: i32, call: &Call, name: &str) -> bool {
        if !self.order.all {
            return filter::mutating(name) && changes(pid, name, call);
        }
        if !self.order.after_main {
            return true;
        }
        let stage = self.stages.entry(pid).or_insert(Stage::Main);
        if let Stage::Loader(mapped) = stage
            && !mapped.contains(&call.from)
            && name != "prlimit64"
        {
            let [_, count, timeout, ..] = call.arguments;
            *stage = if name == "poll" && count == 3 && timeout == 0 { Stage::Runtime } else { Stage::Main };
        }
        let counts = matches!(stage, Stage::Main);
        if matches!(stage, Stage::Runtime) && name == "sigaltstack" && call.arguments[0] != 0 {
            *stage = Stage::Main;
        }
        counts
    }

    fn act(&mut self, pid: i32, call: &Call) -> Result<(), String> {
        let failed = |e: io::Error| format!("the call can't be changed: {e}");
        match &self.order.action {
            Action::Count => {}
            Action::Kill => self.kill(),
            Action::Fail(errno) => tracee::skip(pid, -i64::from(*errno as i32)).map_err(failed)?,
            Action::Short(bytes) => {
                let asked = call.arguments[2];
                if *bytes == 0 {
                    tracee::skip(pid, asked.cast_signed()).map_err(failed)?;
                } else if *bytes < asked {
                    tracee::third_argument(pid, *bytes).map_err(failed)?;
                    self.lying = Some((pid, asked));
                }
            }
            Action::Hook(script) => {
                let mut shell = Command::new("/bin/sh");
                let status = shell.arg("-c").arg(script).stdin(Stdio::null()).status();
                self.kill();
                match status {
                    Ok(status) if status.success() => {}
                    Ok(status) => return Err(format!("the hook failed: {status}")),
                    Err(e) => return Err(format!("the hook can't be run: {e}")),
                }
            }
        }
        self.done = self.list.is_none() && !matches!(self.order.action, Action::Count);
        Ok(())
    }

    /// Kills whatever is left, and waits until it is gone: a dying process still holds its locks.
    fn end(&mut self) {
        // SAFETY: the time that is over is that of CMD.
        unsafe { libc::alarm(0) };
        self.kill();
        while let Ok((pid, status)) = wait() {
            if libc::WIFSTOPPED(status) {
                self.born = vec![pid];
                self.kill();
            }
        }
    }

    fn kill(&self) {
        for pid in &self.born {
            // SAFETY: a signal to a process that we trace; its number is not given away before we have waited for it.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
    }
}

fn not_begun(code: i32, order: &Order) -> String {
    let what = order.command.first().map(|w| w.display().to_string()).unwrap_or_default();
    match code {
        127 => format!("{what}: command not found"),
        126 => format!("{what}: it can't be run"),
        _ => "the filter or the exec of CMD failed".to_owned(),
    }
}

/// Whether a call that may change the host does.
fn changes(pid: i32, name: &str, call: &Call) -> bool {
    const FICLONE: u64 = 0x4004_9409;
    const FICLONERANGE: u64 = 0x4020_940d;
    const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
    const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
    let [first, second, third, ..] = call.arguments;
    let for_writing = |flags: u64| flags as u32 & filter::FOR_WRITING != 0;
    match name {
        "open" => for_writing(second),
        "openat" => for_writing(third),
        "openat2" => tracee::word(pid, third).is_some_and(for_writing),
        "ioctl" => [FICLONE, FICLONERANGE, FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR].contains(&(second & 0xffff_ffff)),
        // What is said to a person or through a pipe is not on the host's disk.
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
            let to = tracee::descriptor(pid, first);
            to.starts_with("/dev/shm/")
                || !["pipe:", "anon_inode:", "/dev/", "fd "].iter().any(|prefix| to.starts_with(prefix))
        }
        "connect" => tracee::unix_address(pid, second, third).is_some(),
        // Signal 0 is a question.
        "kill" | "tkill" | "pidfd_send_signal" => second != 0,
        "tgkill" => third != 0,
        _ => true,
    }
}

/// What a call is about: the first path, or what the descriptor is.
fn target(pid: i32, name: &str, call: &Call) -> String {
    let [first, second, third, fourth, fifth, _] = call.arguments;
    let at = |fd: u64, path: u64| {
        let path = tracee::string(pid, path);
        match path.as_str() {
            "" => tracee::descriptor(pid, fd),
            absolute if absolute.starts_with('/') => path,
            _ => format!("{}/{path}", tracee::descriptor(pid, fd)),
        }
    };
    let here = libc::AT_FDCWD as u64;
    match name {
        "rename" | "link" | "symlink" => format!("{} -> {}", at(here, first), at(here, second)),
        "renameat" | "renameat2" | "linkat" => format!("{} -> {}", at(first, second), at(third, fourth)),
        "symlinkat" => format!("{} -> {}", tracee::string(pid, first), at(second, third)),
        "open" | "creat" | "mknod" | "mkdir" | "rmdir" | "unlink" | "chmod" | "chown" | "lchown" | "utime"
        | "utimes" | "truncate" | "stat" | "lstat" | "access" | "readlink" | "chdir" | "statfs" | "execve"
        | "umount2" | "chroot" | "setxattr" | "lsetxattr" | "getxattr" | "lgetxattr" | "listxattr" | "llistxattr"
        | "removexattr" | "lremovexattr" => at(here, first),
        "openat" | "openat2" | "mknodat" | "mkdirat" | "unlinkat" | "fchmodat" | "fchmodat2" | "fchownat"
        | "futimesat" | "utimensat" | "newfstatat" | "statx" | "faccessat" | "faccessat2" | "readlinkat"
        | "execveat" | "name_to_handle_at" => at(first, second),
        "mount" => format!("{} on {}", tracee::string(pid, first), tracee::string(pid, second)),
        "connect" => tracee::unix_address(pid, second, third).unwrap_or_else(|| tracee::descriptor(pid, first)),
        "kill" | "tkill" | "tgkill" => format!("PID {}", first as i32),
        "copy_file_range" => format!("{} -> {}", tracee::descriptor(pid, first), tracee::descriptor(pid, third)),
        // What maps a file can fail as reading it can; what asks for memory is another thing.
        "mmap" if fifth & 0x8000_0000 == 0 => tracee::descriptor(pid, fifth),
        "mmap" | "mprotect" | "munmap" | "madvise" | "brk" | "poll" | "ppoll" | "futex" | "rt_sigaction"
        | "rt_sigprocmask" | "sigaltstack" | "getrandom" | "prctl" | "clone" | "clone3" | "wait4" | "waitid"
        | "exit" | "exit_group" | "pipe2" | "socket" | "socketpair" | "getpid" | "gettid" | "getppid" | "getuid"
        | "geteuid" | "getgid" | "getegid" | "sync" | "clock_nanosleep" | "nanosleep" | "clock_gettime"
        | "sched_yield" | "rt_sigreturn" => String::new(),
        _ => tracee::descriptor(pid, first),
    }
}
