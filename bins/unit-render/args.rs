//! unit-render's command line.

use std::ffi::OsString;

use clap::Parser;
use upswap::report::Common;
use upswap::steps::unit::Operand;
use upswap::words::unit::render::Value;

/// Examples that work as printed.
pub const EXAMPLES: &str = "\
Examples:
  The unit that a new release prints, filled in like the one that is loaded:
    unit-render --like runed.service -- ./runed print-systemd
  The same with a word of your own:
    unit-render --like runed.service -- \\
      ./runed print-systemd --config /etc/rune/test.yaml
  From a template with '{{BINARY}}' and '{{USER}}' in it:
    unit-render --template runed.service.in \\
      --set BINARY=/usr/local/bin/runed --set USER=rune
";

/// Print a unit's text, from the program it is for or from a template; nothing is written anywhere
///
/// BIN runs with the words that follow it, as nobody, without network, capabilities and new privileges, for at most 10 seconds,
/// when root calls; another user runs it as themselves, without new privileges. What it prints must be a unit.
///
/// In a template, {{NAME}} stands for a value, as in systemd's own build. A value stays within its place: one that would
/// begin a line, a word, a variable or a specifier there is refused, and so are values and placeholders without their partner.
#[derive(Debug, Parser)]
#[command(
    name = "unit-render",
    version = upswap::report::VERSION,
    after_help = EXAMPLES,
    override_usage = "unit-render [--like UNIT] [OPTIONS] -- BIN print-systemd [ARGS]...\n       unit-render --template FILE [--set NAME=VALUE]... [OPTIONS]",
    disable_help_flag = true,
    disable_version_flag = true
)]
pub struct Args {
    /// Fill --user, --group, --binary and --config for BIN from this unit: a loaded one's name, a path with '/', or '-'
    #[arg(long, value_name = "UNIT", conflicts_with = "template")]
    pub like: Option<Operand>,
    /// Fill this template instead of running a program; '-' is standard input
    #[arg(long, value_name = "FILE")]
    pub template: Option<Operand>,
    /// The value of a placeholder of the template; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "template", conflicts_with = "command")]
    pub set: Vec<Value>,
    /// The program that prints the unit, and what to call it with
    #[arg(value_names = ["BIN", "WORD"], last = true, num_args = 2.., required_unless_present = "template", conflicts_with = "template")]
    pub command: Vec<OsString>,
    #[command(flatten)]
    pub common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
