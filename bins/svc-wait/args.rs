//! The command line of svc-wait.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Parser;
use upswap::report::{Common, VERSION};
use upswap::sys::net::Header;
use upswap::words::duration::Span;
use upswap::words::exit::{Exit, Stop};
use upswap::words::proof::{Exe, Http, Probe, Proof};

/// The examples of --help and of the man page.
pub const EXAMPLES: &str = "\
Examples:
  Restart runed and be sure that the new version stays up and answers:
    svc-wait runed --stable 10s --http http://127.0.0.1:7861/health -- \\
      systemctl restart runed
  Ask whether a running service is healthy, with more than one probe:
    svc-wait runed --stable 3s --tcp 127.0.0.1:7861 --exec 'rune status'
  Prove as well that the version is the right one, and measure the pause:
    svc-wait runed --measure --http http://127.0.0.1:7861/health --body '^ok' \\
      --version-from http://127.0.0.1/version --expect-version v1.0.0 -- \\
      systemctl restart runed
  A service that is started by a wrapper script:
    svc-wait app --exe /opt/app/bin/app -- systemctl restart app";

/// Prove that a unit is healthy, or say why it is not
///
/// Runs COMMAND, if there is one, then watches the unit. Healthy means: it is active, its main process runs the file that
/// ExecStart= names, no process of it runs the file that was there before, every probe is answered, and all of this holds
/// for the whole hold-down without a restart. Anything else is unhealthy, has a name (crashed, start-limit, never-ready,
/// wrong-binary …), and comes with the last journal lines of this run.
///
/// Probes are asked at the same time, all of them again and again, each for at most 3 seconds. Of one on this host also the
/// socket that listens must be the unit's own (wrong-listener; --via-proxy where another one is meant to). A loopback
/// address, localhost and @NAME mean the network of the service where it has one of its own (PrivateNetwork=).
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
    /// URL that must answer a GET, redirects not followed; http://unix:PATH:/… asks by a Unix socket
    #[arg(long, value_name = "URL")]
    pub http: Vec<Url>,
    /// The one status that each --http must answer; any of 200 to 299 when not given
    #[arg(long, value_name = "CODE", requires = "http", value_parser = clap::value_parser!(u16).range(100..=599))]
    pub status: Option<u16>,
    /// Regular expression that must match somewhere in the body of each --http, of which 1 MiB is looked at
    #[arg(long, value_name = "REGEX", requires = "http")]
    pub body: Option<String>,
    /// Header to send with each GET, such as 'Host: app.example.com'
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Header that each --http must answer, with a value that the regular expression matches
    #[arg(long, value_name = "NAME: REGEX", requires = "http")]
    pub expect_header: Vec<String>,
    /// The only certificates to trust, in PEM, instead of this host's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub cacert: Option<PathBuf>,
    /// Take any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Address that must accept a connection
    #[arg(long, value_name = "HOST:PORT")]
    pub tcp: Vec<Address>,
    /// Unix socket that must accept a connection; @NAME is an abstract one
    #[arg(long, value_name = "PATH")]
    pub unix: Vec<Socket>,
    /// Command line for /bin/sh, run in / with MAINPID set, that must end with status 0
    #[arg(long, value_name = "COMMAND-LINE")]
    pub exec: Vec<String>,
    /// What to ask for the version that runs: a command line, as for --exec, or a URL
    #[arg(long, value_name = "COMMAND-LINE|URL", requires = "expect_version")]
    pub version_from: Vec<String>,
    /// The version that each --version-from must say, with or without a v in front
    #[arg(long, value_name = "VERSION", requires = "version_from")]
    pub expect_version: Option<String>,
    /// One of the probes again, by its URL, address or command line: its failure is told and makes nothing unhealthy
    #[arg(long, value_name = "PROBE")]
    pub advisory: Vec<String>,
    /// A proxy listens where the probes ask, so nothing is proven about who does
    #[arg(long)]
    pub via_proxy: bool,
    /// Ask the first probe all the time while COMMAND runs, and report the longest time without an answer
    #[arg(long, requires = "command")]
    pub measure: bool,
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
    pub fn proof(&self) -> Result<Proof, Stop> {
        let usage = |message: String| Stop::new(Exit::Usage, message);
        for line in &self.header {
            Header::line(line).map_err(|e| usage(format!("--header: {e}")))?;
        }
        let http = self.http.iter().map(|url| {
            Probe::Http(Http {
                status: self.status,
                pattern: self.body.clone(),
                expect_headers: self.expect_header.clone(),
                ..self.get(&url.0)
            })
        });
        let tcp = self.tcp.iter().map(|address| Probe::Tcp(address.0.clone()));
        let unix = self.unix.iter().map(|socket| Probe::Unix(socket.0.clone()));
        let exec = self.exec.iter().cloned().map(Probe::Exec);
        let expected = self.expect_version.clone().unwrap_or_default();
        let version = self.version_from.iter().map(|from| {
            let is_url = ["http://", "https://"].iter().any(|scheme| from.starts_with(scheme));
            let asked = if is_url { Probe::Http(self.get(from)) } else { Probe::Exec(from.clone()) };
            Probe::Version { asked: Box::new(asked), expected: expected.clone() }
        });
        let proof = Proof {
            unit: upswap::sys::systemd::unit_name(&self.unit),
            timeout: self.timeout.into(),
            stable: self.stable.into(),
            probes: http.chain(tcp).chain(unix).chain(exec).chain(version).collect(),
            exe: match &self.exe {
                None => Exe::ExecStart,
                Some(any) if any.as_os_str() == "any" => Exe::Any,
                Some(path) => Exe::Path(kept(path)),
            },
            advisory: self.advisory.clone(),
            via_proxy: self.via_proxy,
            measure: self.measure,
        };
        proof.check().map_err(usage)?;
        Ok(proof)
    }

    fn get(&self, url: &str) -> Http {
        Http {
            url: url.to_owned(),
            headers: self.header.clone(),
            cacert: self.cacert.as_deref().map(kept),
            insecure: self.insecure,
            ..Http::default()
        }
    }
}

/// A path that is kept for a later rollback, which may run elsewhere.
fn kept(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A Unix socket: an absolute path, or the name of an abstract one.
#[derive(Clone, Debug)]
pub struct Socket(String);

impl FromStr for Socket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(['/', '@']) {
            Some(name) if !name.is_empty() => Ok(Self(text.to_owned())),
            _ => Err("an absolute path is needed, or @NAME".into()),
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
            Some(rest) if rest.starts_with("unix:") && (!rest.starts_with("unix:/") || text.starts_with("https")) => {
                Err("by a Unix socket it must begin with http://unix:/PATH:/".into())
            }
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
