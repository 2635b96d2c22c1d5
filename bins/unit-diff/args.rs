//! unit-diff's command line.

use clap::Parser;
use upswap::report::Common;
use upswap::steps::unit::Operand;

/// Examples that work as printed.
pub const EXAMPLES: &str = "\
Examples:
  What would a refresh change in the unit that is loaded, drop-ins included?
    unit-render --like runed.service -- ./runed print-systemd |
      unit-diff runed.service -
  Compare two files:
    unit-diff /etc/systemd/system/runed.service ./runed.service
  Only what would be lost:
    unit-diff runed.service ./runed.service | grep '^LOSES'
  Carry what was changed by hand over a new unit (base is the old as it came):
    unit-diff --drop-in --base ./base.service runed.service ./runed.service
  Refuse a new unit that loses a setting, and show all the rest:
    unit-diff --refuse-loss runed.service ./runed.service
  What would weaken the sandbox, lost settings included:
    unit-diff runed.service ./runed.service | grep weakens
";

/// Say what would change if NEW took the place of OLD, in systemd's meaning
///
/// Compares what systemd reads: comments, blank lines, the order of sections, the spelling of booleans, time spans and paths
/// and a default that is spelled out don't count; the order of commands and files does. A list is compared by element, Environment= by variable, a command by
/// prefix, program and flag. Each line of the answer begins with what NEW does: it adds, changes or LOSES something; of
/// what it adds or changes and is about the sandbox, that it hardens or weakens it. A lost setting is LOSES first, with
/// (weakens) or (hardens) at the end of its line. Sections and keys that systemd does not know are compared too, as other
/// programs may read them.
///
/// Notes on standard error say what follows: the unit that systemd has loaded is another file, or its files have
/// changed; drop-ins go on applying; another user must own the data; the data would be looked for elsewhere; a program
/// would be without its file capabilities.
///
/// A unit is a unit's name such as runed.service: the fragment that systemd has loaded, with its drop-ins; or a file: a path
/// with '/', or a file here whose name is not like a unit's; or '-' for standard input. So a file here that is called
/// runed.service is ./runed.service.
///
/// With --drop-in it prints a drop-in that is to stand first, as UNIT.d/00-upswap.conf: NEW with it is what OLD is, but for
/// what NEW changes of BASE. The other drop-ins of OLD stay where they are and are not repeated; an older 00-upswap.conf is
/// taken over. What OLD and NEW changed differently, and what no drop-in can say, is a conflict: each is listed, and nothing
/// is printed. Nothing is printed either when there is nothing to carry.
#[derive(Debug, Parser)]
#[command(
    name = "unit-diff",
    version = upswap::report::VERSION,
    after_help = EXAMPLES,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub struct Args {
    /// Answer 1 only when something is lost
    #[arg(long, conflicts_with = "drop_in")]
    pub refuse_loss: bool,
    /// The unit as it is: a file, '-', or a unit's name
    #[arg(value_name = "OLD")]
    pub old: Operand,
    /// The unit as it would be: a file, '-', or a unit's name
    #[arg(value_name = "NEW")]
    pub new: Operand,
    /// Print a drop-in that carries OLD's changes over NEW; 1 when there are conflicts
    #[arg(long)]
    pub drop_in: bool,
    /// What the old release brought: a file, '-', or a unit's name; else all that OLD differs from NEW is carried
    #[arg(long, value_name = "BASE", requires = "drop_in")]
    pub base: Option<Operand>,
    #[command(flatten)]
    pub common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
