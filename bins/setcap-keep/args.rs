//! The command line of setcap-keep(8).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Parser};
use upswap::report::{Common, VERSION};

/// The examples of --help and of the man page.
pub const EXAMPLES: &str = "\
Examples:
  Install a build by hand without losing its capability:
    setcap-keep /usr/local/bin/runed -- \\
      install -m 0755 ./runed /usr/local/bin/runed
  The same around a package upgrade; the service restarts after it:
    setcap-keep /usr/bin/runed --try-restart runed.service -- \\
      dpkg -i runed.deb
  Save now, put back later:
    setcap-keep --save /usr/local/bin/runed >runed.caps
    setcap-keep --restore runed.caps
  See what a service holds, and what it would lose if it were restarted now:
    setcap-keep --explain runed";

/// Keep file capabilities across whatever COMMAND does to the files
///
/// A capability is an extended attribute of one inode: cp, install and most package managers put a new inode in place,
/// and it is gone. setcap-keep reads the raw attribute of each PATH, writes it to disk, runs COMMAND, and puts
/// back what is missing afterwards, whether COMMAND succeeded or not. Symlinks are followed.
///
/// When COMMAND fails, its exit status is passed on. When setcap-keep itself is killed, setcap-keep --restore finishes its work.
/// setcap-keep --explain computes what the process of UNIT will hold when it is started with the files and settings that systemd has loaded
/// by now (systemctl daemon-reload): from the capabilities of its program, nosuid mounts, and the unit's user, ambient and bounding set, no-new-privileges and
/// what implies it, drop-ins included. It compares that with the process that runs: what differs stands as NOW -> NEXT. A capability
/// that would be lost is told with its reason and the way out.
///
/// To replace a file with no moment in which it has no capability, use swapbin(8).
#[derive(Parser, Debug)]
#[command(name = "setcap-keep", version = VERSION, after_help = EXAMPLES, disable_help_flag = true, disable_version_flag = true)]
#[command(
    override_usage = "setcap-keep [OPTIONS] PATH… -- COMMAND…\n       setcap-keep --save PATH…\n       setcap-keep --restore [FILE]\n       setcap-keep --explain UNIT"
)]
#[command(group = ArgGroup::new("mode").required(true).args(["command", "save", "restore", "explain"]))]
pub struct Args {
    /// The files whose capabilities are kept
    #[arg(value_name = "PATH", required_unless_present_any = ["restore", "explain"], conflicts_with_all = ["restore", "explain"])]
    pub paths: Vec<PathBuf>,
    /// The command to run
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<OsString>,
    /// Restart this unit after COMMAND and the capabilities, if it is active
    #[arg(long, value_name = "UNIT", requires = "command", conflicts_with_all = ["save", "restore"])]
    pub try_restart: Option<String>,
    /// Print the capabilities of every PATH, in the form of getfattr --dump
    #[arg(long)]
    pub save: bool,
    /// Put back the capabilities of a save [default: those that an interrupted run left]
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[allow(clippy::option_option)] // Given without a value, given with one, or not given.
    pub restore: Option<Option<PathBuf>>,
    /// Say what the process of UNIT holds, what it will hold at its next start, and what it would lose
    #[arg(long, value_name = "UNIT", conflicts_with_all = ["try_restart", "dry_run"])]
    pub explain: Option<String>,
    /// Say what would be kept, run nothing
    #[arg(short = 'n', long, requires = "command", conflicts_with_all = ["save", "restore"])]
    pub dry_run: bool,
    #[command(flatten)]
    pub common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
