//! The command line of swapbin(8).

use std::path::PathBuf;

use clap::{ArgGroup, Parser};
use upswap::report::{Common, ListArgs, VERSION};
use upswap::steps::generation::refuse::Allow;
use upswap::steps::generation::stage::parse_mode;
use upswap::words::duration::Span;
use upswap::words::filecaps::FileCaps;
use upswap::words::name::Name;

/// The examples of --help and of the man page.
pub const EXAMPLES: &str = "\
Examples:
  Put a build in place by hand; owner, mode and capabilities stay as they were:
    swapbin ./runed /usr/local/bin/runed
  Put what verify printed into a folder, as one change, inside a guarded chain:
    verify --sums checksums.txt --extract rune,runed rune_linux_amd64.tar.gz |
      rollback --guard runed -- sh -ec '
        swapbin --unit runed.service -t /usr/local/bin --files-from -
        svc-wait runed -- systemctl restart runed'
  Show what would change:
    swapbin -n ./runed /usr/local/bin/runed
  Keep a trial that was opened with --trial:
    swapbin --commit runed";

/// Put files into place, several as one change, and keep the old ones for the way back
///
/// Each FILE is first copied beside its destination with the owner, mode, ACL, extended attributes and capabilities of
/// the file it replaces, and made durable. Then the old files get a second name, .FILE.upswap-GENERATION, and all renames follow
/// one another. At no moment is a destination missing, short, or without its capability; a service that runs
/// the old file keeps running it until it is restarted.
///
/// Under a guard (rollback --guard) the change stays on trial until the guard commits it or takes it back. Alone, it is
/// settled as soon as it is durable. Prints the destinations that changed; nothing when none did.
///
/// Refused, for every FILE before the first byte is written: a destination that is no regular file, belongs to a package
/// or to another NAME, is immutable or append-only, or has something mounted on it; a program on a noexec mount;
/// capabilities or set-ID bits on a nosuid mount or where there are no extended attributes; a folder that other users can write
/// to, itself or one above it (a group without other members may, and above it a sticky folder); no room. Attributes that
/// are bound to the old bytes (security.ima, security.evm) stay behind, and that is said; the time of modification is
/// that of FILE.
#[derive(Parser, Debug)]
#[command(name = "swapbin", version = VERSION, after_help = EXAMPLES, disable_help_flag = true, disable_version_flag = true)]
#[command(
    override_usage = "swapbin [OPTIONS] FILE DEST\n       swapbin [OPTIONS] FILE… DIR\n       swapbin [OPTIONS] -t DIR FILE…\n       swapbin [OPTIONS] --commit NAME"
)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["commit", "files", "files_from", "files0_from"]))]
pub struct Args {
    /// The files to put in place, and the destination or folder last (as install(1) and cp(1) take them)
    #[arg(value_name = "FILE", conflicts_with = "commit")]
    pub files: Vec<PathBuf>,
    /// Put every FILE into this folder
    #[arg(short, long, value_name = "DIR")]
    pub target_directory: Option<PathBuf>,
    /// Take DEST as a file even if it is a folder
    #[arg(short = 'T', long, conflicts_with = "target_directory")]
    pub no_target_directory: bool,
    #[command(flatten)]
    pub list: ListArgs,
    /// The managed set the files belong to [default: the set that has DEST, else DEST's basename]
    #[arg(long)]
    pub name: Option<Name>,
    /// A unit that belongs to NAME (repeatable)
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// Permission bits of the new files, in octal [default: as before; a new file 0755 if it can be run, else 0644]
    #[arg(short, long, value_name = "MODE", value_parser = parse_mode)]
    pub mode: Option<u32>,
    /// Owner of the new files, a name or number [default: as before; you, for a new file]
    #[arg(short, long)]
    pub owner: Option<String>,
    /// Group of the new files, a name or number [default: as before; yours, for a new file]
    #[arg(short, long)]
    pub group: Option<String>,
    /// Capabilities of the new files, such as cap_net_bind_service=ep [default: as before, byte for byte]
    #[expect(clippy::doc_markdown, reason = "the words of --help")]
    #[arg(long, value_name = "TEXT", conflicts_with = "no_caps")]
    pub cap: Option<FileCaps>,
    /// Give the new files no capabilities
    #[arg(long)]
    pub no_caps: bool,
    /// Generations to keep, the one in place included [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: Option<u16>,
    /// Take a version that was found unhealthy before once more
    #[arg(long)]
    pub retry_failed: bool,
    /// Leave the change on trial: --commit keeps it, rollback NAME takes it back
    #[arg(long)]
    pub trial: bool,
    /// Under a guard, take files that verify did not put into the store
    #[arg(long)]
    pub unverified: bool,
    /// Take what is refused otherwise (repeatable)
    #[arg(long, value_name = "WHAT")]
    pub allow: Vec<Allow>,
    /// End the trial of NAME with the new files in place
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "trial", "target_directory", "unit", "retry_failed", "allow", "dry_run"])]
    pub commit: Option<Name>,
    /// Say what would change, change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Wait this long for the lock of NAME
    #[arg(long, value_name = "TIME", default_value = "0")]
    pub lock_wait: Span,
    /// Keep state in this folder [default: /var/lib/upswap]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
