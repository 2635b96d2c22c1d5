//! The command line of rollback(8).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Parser};
use upswap::report::{Common, VERSION};
use upswap::words::duration::Span;
use upswap::words::exit::{Exit, Stop};
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
    rollback --pending
  Keep only the generation in place and the one before it; first only told:
    rollback --prune runed --keep 2 -n";

/// Go back to an earlier generation, and prove that it runs
///
/// rollback NAME brings the files and units of the generation before back by renames alone, makes systemd read changed
/// units again, restarts the services that were running, and proves them healthy with the probes that svc-wait was last asked for.
/// While a trial is open it ends the trial, and that is all it does.
///
/// A version whose verdict was unhealthy is remembered: swapbin takes it again only with --retry-failed.
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
    override_usage = "rollback [OPTIONS] NAME [--to GENERATION|VERSION]\n       rollback [OPTIONS] PATH\n       rollback [OPTIONS] --guard NAME -- COMMAND…\n       rollback [OPTIONS] --list [NAME]\n       rollback [OPTIONS] --current NAME\n       rollback [OPTIONS] --pending\n       rollback [OPTIONS] --prune [NAME]\n       rollback [OPTIONS] --forget NAME"
)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["target", "guard", "list", "current", "pending", "prune", "forget"]))]
pub struct Args {
    /// The managed set, or with a slash in it a PATH, to bring back
    #[arg(value_name = "NAME|PATH", conflicts_with_all = ["guard", "pending"])]
    pub target: Option<PathBuf>,
    /// The generation to go to: its number or its version [default: the one before, if it was not found unhealthy]
    #[arg(long, value_name = "GENERATION|VERSION", requires = "target", conflicts_with_all = ["guard", "list", "current", "pending", "prune", "forget"])]
    pub to: Option<String>,
    /// Bring the files back and leave services alone
    #[arg(long, conflicts_with_all = ["guard", "list", "current", "prune", "forget"])]
    pub no_restart: bool,
    /// Run COMMAND under the lock of NAME; commit when it succeeds, take everything back when it fails
    #[arg(long, value_name = "NAME", requires = "command")]
    pub guard: Option<Name>,
    /// The command to guard
    #[arg(value_name = "COMMAND", last = true, requires = "guard", conflicts_with_all = ["target", "list", "pending"])]
    pub command: Vec<OsString>,
    /// List the generations of NAME, or of every name; * is in place, ? in place and on trial
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with_all = ["guard", "pending"])]
    #[expect(clippy::option_option, reason = "absent, without a value, with one")]
    pub list: Option<Option<Name>>,
    /// Print the generation of NAME that is in place: its number, version and verdict
    #[arg(long, value_name = "NAME", conflicts_with_all = ["target", "guard", "list", "pending"])]
    pub current: Option<Name>,
    /// Take back every open trial whose chain is gone
    #[arg(long, conflicts_with = "guard")]
    pub pending: bool,
    /// Remove what no kept generation of NAME, or of any name, needs, and what killed runs left beside its files
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with_all = ["target", "guard", "list", "current", "pending"])]
    #[expect(clippy::option_option, reason = "absent, without a value, with one")]
    pub prune: Option<Option<Name>>,
    /// With --prune, generations to keep from now on, the one in place included [default: as before]
    #[arg(long, value_name = "N", requires = "prune", value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(conflicts_with_all = ["target", "guard", "list", "current", "pending", "forget"])]
    pub keep: Option<u16>,
    /// Remove the history of NAME and every backup, and leave its files in place
    #[arg(long, value_name = "NAME", conflicts_with_all = ["target", "guard", "list", "current", "pending", "prune"])]
    pub forget: Option<Name>,
    /// With --pending, at boot: files and daemon-reload only, and trials that were opened by hand too
    #[arg(long, requires = "pending", conflicts_with_all = ["target", "guard", "list", "current", "prune", "forget"])]
    pub boot: bool,
    /// Say what would be done, do nothing
    #[arg(short = 'n', long, conflicts_with_all = ["list", "current"])]
    pub dry_run: bool,
    /// Wait this long for the lock of NAME
    #[arg(long, value_name = "TIME", default_value = "0", conflicts_with_all = ["list", "current", "pending"])]
    pub lock_wait: Span,
    /// Keep state in this folder [default: /var/lib/upswap]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// What is to be done, one of these.
#[derive(Debug)]
pub enum Deed<'a> {
    /// `--guard NAME`
    Guard(&'a Name),
    /// `--list [NAME]`
    List(Option<Name>),
    /// `--current NAME`
    Current(&'a Name),
    /// `--pending`
    Pending,
    /// `--prune [NAME]`
    Prune(Option<&'a Name>),
    /// `--forget NAME`
    Forget(&'a Name),
    /// `PATH`
    Path(&'a Path),
    /// `NAME`
    Name(Name),
}

impl Args {
    /// What is asked for.
    pub fn deed(&self) -> Result<Deed<'_>, Stop> {
        let name_of = |text: &Path| -> Result<Name, Stop> {
            text.to_string_lossy().parse().map_err(|e| Stop::new(Exit::Usage, format!("{e}")))
        };
        Ok(match (&self.target, &self.guard, &self.list, &self.current, &self.prune, &self.forget) {
            (_, Some(name), ..) => Deed::Guard(name),
            (target, _, Some(name), ..) => match (name, target) {
                (None, Some(target)) => Deed::List(Some(name_of(target)?)),
                (name, _) => Deed::List(name.clone()),
            },
            (.., Some(name), _, _) => Deed::Current(name),
            (.., Some(name), _) => Deed::Prune(name.as_ref()),
            (.., Some(name)) => Deed::Forget(name),
            (Some(target), ..) if target.as_os_str().as_bytes().contains(&b'/') => {
                if self.to.is_some() {
                    let why = "--to needs a NAME: a PATH has its .FILE.bak to go back to and nothing else";
                    return Err(Stop::new(Exit::Usage, format!("{}: {why}; see: rollback --list", target.display())));
                }
                Deed::Path(target)
            }
            (Some(target), ..) => Deed::Name(name_of(target)?),
            (None, ..) => Deed::Pending,
        })
    }
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
