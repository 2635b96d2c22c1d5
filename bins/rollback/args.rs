//! The command line of rollback(8).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Parser};
use upswap::report::{Common, VERSION};
use upswap::words::duration::Span;
use upswap::words::name::Name;

/// The examples of --help and of the man page.
pub const EXAMPLES: &str = "\
Examples:
  Go back to the files and units of before, restart, and prove that it runs:
    rollback runed
  See what there is to go back to, and go there:
    rollback --list runed
    rollback runed --to v2.0.0
  Recover a file by hand when nothing else is left, then restart its service:
    rollback /usr/local/bin/runed
  Run a chain that commits when it succeeds and goes back when it does not:
    rollback --guard runed -- sh -ec '
      swapbin --unverified --unit runed.service ./runed /usr/local/bin/runed
      svc-wait runed --stable 10s -- systemctl restart runed'
  Take back what killed chains left on trial (--list shows it):
    rollback --pending";

/// Go back to an earlier generation, and prove that it runs
///
/// rollback NAME brings the files and units of the generation before back by renames alone, makes systemd read changed
/// units again, restarts the services that were running, and proves them healthy with the probes that svc-wait was last asked for.
/// While a trial is open it ends the trial, and that is all it does.
///
/// rollback PATH lets PATH and the .FILE.bak beside it change places. It needs no state, says what else differs between the two
/// (owner, mode, capabilities), refuses a backup that is empty, cut off or somebody else's to write, and restarts nothing.
///
/// rollback --guard NAME runs COMMAND under the lock of NAME. When COMMAND succeeds, what swapbin changed in it is committed.
/// When it fails or the guard is told to end, everything is taken back, and the guard ends with 5. When swapbin changed
/// nothing in it, its exit status is passed on.
#[derive(Parser, Debug)]
#[command(name = "rollback", version = VERSION, after_help = EXAMPLES, disable_help_flag = true, disable_version_flag = true)]
#[command(
    override_usage = "rollback [OPTIONS] NAME [--to GENERATION|VERSION]\n       rollback [OPTIONS] PATH\n       rollback [OPTIONS] --guard NAME -- COMMAND…\n       rollback [OPTIONS] --list [NAME]\n       rollback [OPTIONS] --pending"
)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["target", "guard", "list", "pending"]))]
pub struct Args {
    /// The managed set, or with a slash in it a PATH, to bring back
    #[arg(value_name = "NAME|PATH", conflicts_with_all = ["guard", "pending"])]
    pub target: Option<PathBuf>,
    /// The generation to go to: its number or its version [default: the one before, if it was not found unhealthy]
    #[arg(long, value_name = "GENERATION|VERSION", requires = "target")]
    pub to: Option<String>,
    /// Bring the files back and leave services alone
    #[arg(long, conflicts_with_all = ["guard", "list"])]
    pub no_restart: bool,
    /// Run COMMAND under the lock of NAME; commit when it succeeds, take everything back when it fails
    #[arg(long, value_name = "NAME", requires = "command")]
    pub guard: Option<Name>,
    /// The command to guard
    #[arg(value_name = "COMMAND", last = true, requires = "guard", conflicts_with_all = ["target", "list", "pending"])]
    pub command: Vec<OsString>,
    /// List the generations of NAME, or of every name; * is in place, ? on trial
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with_all = ["guard", "pending"])]
    #[expect(clippy::option_option, reason = "absent, without a value, with one")]
    pub list: Option<Option<Name>>,
    /// Take back every open trial whose chain is gone
    #[arg(long, conflicts_with = "guard")]
    pub pending: bool,
    /// Say what would be done, do nothing
    #[arg(short = 'n', long, conflicts_with = "list")]
    pub dry_run: bool,
    /// Wait this long for the lock of NAME
    #[arg(long, value_name = "TIME", default_value = "0", conflicts_with_all = ["list", "pending"])]
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
