//! unit-render's command line.
// The text of --help: what stands in it is printed as it is.
#![allow(clippy::doc_markdown)]

use std::ffi::OsString;

use clap::Parser;
use upswap::report::Common;
use upswap::steps::unit::{Operand, Printing};
use upswap::sys::confine::Walls;
use upswap::words::duration::Span;
use upswap::words::exit::{Exit, Stop};
use upswap::words::unit::builtin::{Builtin, Given, Start};
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
  For a program without a unit, hardened, on port 80; systemd must take it:
    unit-render --check --builtin service --binary /usr/local/bin/runed \\
      --user rune --ambient CAP_NET_BIND_SERVICE -- --listen 0.0.0.0:80
  A socket that starts it, and a timer that would:
    unit-render --builtin socket --name runed --listen 80
    unit-render --builtin timer --name runed --calendar 'Mon 03:00'
";

/// Print a unit's text, from the program it is for, from a template or a built-in one; nothing is written anywhere
///
/// A copy of BIN runs with the words that follow it, as nobody when root calls, else as you, in namespaces of its own: no network,
/// no other processes, every file system read-only, no capability and no new privileges. What it prints must be a unit.
///
/// In a template, {{NAME}} stands for a value, as in systemd's own build. A value stays within its place: one that would
/// begin a line, a word, a variable or a specifier there is refused, and so are values and placeholders without their partner.
///
/// A built-in service runs PATH with ARGs, which get to it as they are written here, as USER or as a dynamic user; it may write
/// to /var/lib/NAME alone, gain no privileges and use no capability but those of --ambient. File capabilities (setcap) and
/// NoNewPrivileges= don't go together: PATH must have none. It is started again on failure; one that updates itself and
/// ends with status 0 needs Restart=always. A drop-in is the place to loosen or tighten it (systemctl edit).
#[derive(Debug, Parser)]
#[command(
    name = "unit-render",
    version = upswap::report::VERSION,
    after_help = EXAMPLES,
    override_usage = "unit-render [--like UNIT] [OPTIONS] -- BIN print-systemd [ARG]...\n       unit-render --template FILE [--set NAME=VALUE]... [OPTIONS]\n       unit-render --builtin service --binary PATH [OPTIONS] [-- ARG...]\n       unit-render --builtin socket|timer --name NAME [OPTIONS]",
    disable_help_flag = true,
    disable_version_flag = true
)]
pub struct Args {
    /// Fill --user, --group, --binary and --config for BIN from this unit: a loaded one's name, a path with '/', or '-'. What it
    /// does not say for certain, as one that runs BIN through env or sh, is not passed; nor is what BIN's ARGs give
    #[arg(long, value_name = "UNIT", conflicts_with_all = ["template", "builtin"])]
    pub like: Option<Operand>,
    /// How long BIN may take before it and all it started is killed
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub run_timeout: Span,
    /// Run BIN without namespaces where this host gives none, and where it does: it sees the network and all processes and writes
    /// what its user may write
    #[arg(long, conflicts_with_all = ["template", "builtin"])]
    pub run_unconfined: bool,
    /// Fill this template instead of running a program; '-' is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["builtin", "command"])]
    pub template: Option<Operand>,
    /// The value of a placeholder of the template; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "template", conflicts_with = "command")]
    pub set: Vec<Value>,
    /// Print the text only when systemd, asked by systemd-analyze(1) verify, says nothing about it; what it says is the answer.
    /// A program that is not in its place yet is a fault; manual pages, other units and drop-ins are none
    #[arg(long)]
    pub check: bool,
    /// What the unit will be called, with or without .service [default: as UNIT, FILE without .in, PATH or BIN is called]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Print a unit of our own: service, socket or timer. The other two start the service NAME
    #[arg(long, value_name = "KIND", help_heading = "Built-in units")]
    pub builtin: Option<Builtin>,
    /// The program that the service runs
    #[arg(long, value_name = "PATH", help_heading = "Built-in units")]
    pub binary: Option<String>,
    /// The configuration file that the program is told with --config
    #[arg(long, value_name = "FILE", help_heading = "Built-in units")]
    pub config: Option<String>,
    /// Who the service runs as [default: a dynamic user], or whose the socket's file is [default: root]
    #[arg(long, value_name = "USER", help_heading = "Built-in units")]
    pub user: Option<String>,
    /// The group of that [default: the user's]
    #[arg(long, value_name = "GROUP", help_heading = "Built-in units")]
    pub group: Option<String>,
    /// The capabilities that the service needs, as capabilities(7) has them, such as CAP_NET_BIND_SERVICE for a port below
    /// 1024; several with commas between them
    #[arg(long, value_name = "CAP", value_delimiter = ',', help_heading = "Built-in units")]
    pub ambient: Vec<String>,
    /// When the service counts as started: exec, once it is executed; notify, when it says so by sd_notify(3); oneshot, when it has
    /// ended, and only what a timer or a socket starts [default: exec]
    #[arg(long = "type", value_name = "TYPE", help_heading = "Built-in units")]
    pub start: Option<Start>,
    /// What systemctl status shows of it [default: NAME]
    #[arg(long, value_name = "TEXT", help_heading = "Built-in units")]
    pub description: Option<String>,
    /// Where the socket listens: a port, ADDRESS:PORT, [ADDRESS]:PORT, /PATH (mode 0660) or @NAME; may be repeated
    #[arg(long, value_name = "PLACE", help_heading = "Built-in units")]
    pub listen: Vec<String>,
    /// When the timer elapses, as systemd.time(7) has it; made up for after a time of being off; may be repeated
    #[arg(long, value_name = "TIME", help_heading = "Built-in units")]
    pub calendar: Vec<String>,

    /// The program that prints the unit, and what to call it with; or the ARGs of a built-in service
    #[arg(value_names = ["BIN", "ARG"], last = true, num_args = 1.., required_unless_present_any = ["template", "builtin"])]
    pub command: Vec<OsString>,
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// The program, and how it is to be run.
    pub fn printing(&self) -> Printing<'_> {
        let walls = if self.run_unconfined { Walls::None } else { Walls::Namespaces };
        let (command, like) = (self.command.as_slice(), self.like.as_ref());
        Printing { command, like, walls, deadline: self.run_timeout.duration() }
    }

    /// The values of a built-in unit.
    pub fn given(&self) -> Result<Given, Stop> {
        let text = |word: &OsString| {
            let no = || Stop::new(Exit::Usage, format!("'{}': not UTF-8, which a unit must be", word.display()));
            word.clone().into_string().map_err(|_| no())
        };
        // The words of a BIN are its own, and any bytes.
        let words = self.command.iter().filter(|_| self.builtin.is_some());
        let arguments = words.map(text).collect::<Result<_, _>>()?;
        Ok(Given {
            name: self.name.clone(),
            binary: self.binary.clone(),
            config: self.config.clone(),
            arguments,
            user: self.user.clone(),
            group: self.group.clone(),
            description: self.description.clone(),
            ambient: self.ambient.clone(),
            start: self.start,
            listen: self.listen.clone(),
            calendar: self.calendar.clone(),
        })
    }
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
