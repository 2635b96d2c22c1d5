//! The command line of svc-wait.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use upswap::report::{Common, VERSION};
use upswap::words::duration::Span;
use upswap::words::proof::{Exe, Probe, Proof};

/// The examples of --help and of the man page.
pub const EXAMPLES: &str = "\
Examples:
  Restart runed and be sure that the new version stays up and answers:
    svc-wait runed --stable 10s --http http://127.0.0.1:7861/health -- \\
      systemctl restart runed
  Ask whether a running service is healthy, with more than one probe:
    svc-wait runed --stable 3s --tcp 127.0.0.1:7861 --exec 'rune status'
  A service that is started by a wrapper script:
    svc-wait app --exe /opt/app/bin/app -- systemctl restart app";

/// Prove that a unit is healthy, or say why it is not
///
/// Runs COMMAND, if there is one, then watches the unit. Healthy means: it is active, its main process runs the file that
/// ExecStart= names, no process of it runs the file that was there before, every probe is answered, and all of this holds
/// for the whole hold-down without a restart. Anything else is unhealthy, has a name (crashed, start-limit, never-ready,
/// wrong-binary …), and comes with the last journal lines of this run.
///
/// A COMMAND that fails is never healthy (job-failed); its own exit status is not passed on. Under a guard, see
/// rollback(8), UNIT, the probes, the times and the verdict are recorded, and every way back proves the same.
#[derive(Parser, Debug)]
#[command(
    name = "svc-wait",
    version = VERSION,
    after_help = EXAMPLES,
    disable_help_flag = true,
    disable_version_flag = true
)]
#[expect(clippy::doc_markdown, reason = "the comments are the help text, which is no Markdown")]
pub struct Args {
    /// The unit to judge; a name without a type is a service
    #[arg(value_name = "UNIT")]
    pub unit: String,
    /// Time from the end of COMMAND until first healthy, as in systemd.time(7); a bare number is seconds
    #[arg(long, value_name = "TIME", default_value = "15s")]
    pub timeout: Span,
    /// Time it must then stay healthy without a restart, on top of --timeout
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub stable: Span,
    /// URL that must answer a GET; redirects are not followed
    #[arg(long, value_name = "URL")]
    pub http: Vec<Url>,
    /// The one status that each --http must answer; any of 200 to 299 when not given
    #[arg(long, value_name = "CODE", requires = "http", value_parser = clap::value_parser!(u16).range(100..=599))]
    pub status: Option<u16>,
    /// Text that must stand in the body of each --http
    #[arg(long, value_name = "TEXT", requires = "http")]
    pub body: Option<String>,
    /// Address that must accept a connection
    #[arg(long, value_name = "HOST:PORT")]
    pub tcp: Vec<Address>,
    /// Command line for /bin/sh, run in /, that must end with status 0
    #[arg(long, value_name = "COMMAND-LINE")]
    pub exec: Vec<String>,
    /// Executable that the main process must run instead of the file in ExecStart=, or 'any'
    #[arg(long, value_name = "PATH")]
    pub exe: Option<PathBuf>,
    /// UNIT is one of the calling user's service manager
    #[arg(long, overrides_with = "system")]
    pub user: bool,
    /// UNIT is one of the system's service manager; the default
    #[arg(long, overrides_with = "user")]
    pub system: bool,
    /// What to run first: its failure is never healthy, its standard output goes to standard error
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// The options that every tool has
    #[command(flatten)]
    pub common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

impl Args {
    /// What is to be proven of the unit.
    #[must_use]
    pub fn proof(&self) -> Proof {
        let http = self.http.iter().map(|url| Probe::Http {
            url: url.0.clone(),
            status: self.status,
            body: self.body.clone(),
        });
        let tcp = self.tcp.iter().map(|address| Probe::Tcp(address.0.clone()));
        let exec = self.exec.iter().cloned().map(Probe::Exec);
        Proof {
            unit: upswap::sys::systemd::unit_name(&self.unit),
            timeout: self.timeout.into(),
            stable: self.stable.into(),
            probes: http.chain(tcp).chain(exec).collect(),
            exe: match &self.exe {
                None => Exe::ExecStart,
                Some(any) if any.as_os_str() == "any" => Exe::Any,
                // It is kept for a later rollback, which may run elsewhere.
                Some(path) => Exe::Path(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            },
        }
    }
}

/// An `http://` or `https://` URL.
#[derive(Clone, Debug)]
pub struct Url(String);

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(Self(text.to_owned())),
            _ => Err("it must begin with http://HOST or https://HOST".into()),
        }
    }
}

/// A host with a port.
#[derive(Clone, Debug)]
pub struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err("HOST:PORT is needed, such as 127.0.0.1:7861 or [::1]:7861".into()),
        }
    }
}
