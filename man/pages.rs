//! What each tool's man page says besides its options: those come from the same clap definition as `--help`.
//!
//! Shared by the generator (`make man`) and by `tests/cli/docs.rs`, which compares the committed pages with it.

use clap::{Command, CommandFactory};
use roff::{Roff, bold, italic, roman};
use upswap::words::exit::Exit;
use upswap::words::verdict::Name;

use places::{BACKUPS, BAK, CACHE_DIR, COLOUR, GUARDED, KEPT, LOCKS, STAGED, STATE, STATE_DIR, STORE};

#[path = "pages/answers.rs"]
mod answers;
#[path = "pages/places.rs"]
mod places;

/// The date in every page: when the text last changed in more than spelling.
const DATE: &str = "2026-11-22";

macro_rules! definition_of {
    ($module:ident, $path:literal) => {
        // Only the definition is used here; the tool's main uses the rest.
        #[allow(dead_code)]
        #[path = $path]
        mod $module;
    };
}
definition_of!(fetch, "../bins/fetch/args.rs");
definition_of!(verify, "../bins/verify/args.rs");
definition_of!(swapbin, "../bins/swapbin/args.rs");
definition_of!(setcap_keep, "../bins/setcap-keep/args.rs");
definition_of!(unit_render, "../bins/unit-render/args.rs");
definition_of!(unit_diff, "../bins/unit-diff/args.rs");
definition_of!(svc_wait, "../bins/svc-wait/args.rs");
definition_of!(rollback, "../bins/rollback/args.rs");

/// A term and what is said of it.
type Entry = (&'static str, &'static str);

/// Members of a `--json` object: when they are there, and what each holds.
type Members = &'static [(&'static str, &'static [Entry])];

/// One tool's page.
pub struct Page {
    /// The tool.
    pub tool: &'static str,
    /// 1 for a filter that anybody runs, 8 for a tool that changes the host.
    pub section: u8,
    /// The tool's command line.
    pub command: fn() -> Command,
    /// The `Examples:` of its `--help`.
    pub examples: &'static str,
    /// The names of its verdicts, and what each says.
    pub verdicts: &'static [(Name, &'static str)],
    /// The members of its `--json` object besides those that upswap(7) tells of.
    pub json: Members,
    /// The exit codes it uses, and what each says here.
    pub exits: &'static [(Exit, &'static str)],
    /// What is said of COMMAND's exit status, for a tool that runs one.
    passes_on: Option<&'static str>,
    files: &'static [Entry],
    environment: &'static [Entry],
    see_also: &'static [(&'static str, u8)],
}

const USAGE: (Exit, &str) = (Exit::Usage, "The command line is wrong.");

/// Every tool's page, in the order of the chain.
pub const PAGES: [Page; 8] = [
    Page {
        tool: "fetch",
        section: 1,
        command: fetch::Args::command,
        examples: fetch::EXAMPLES,
        verdicts: &[],
        json: answers::FETCH,
        exits: &[
            (Exit::Done, "All files are there; their paths are on standard output."),
            (
                Exit::No,
                "There is no such release; it has no asset of that name or for this host, or more than one; or nothing is newer.",
            ),
            (
                Exit::Usage,
                "The command line is wrong; so also an address without its version or --index, and http:// without --allow-http.",
            ),
            (
                Exit::CouldNot,
                "A file could not be read or written; the server's answer made no sense; the bytes are not those that the release announces; or a crate does not build.",
            ),
            (
                Exit::NotNow,
                "Not now: the network is down or too slow, a rate limit is reached, or the release is still being published. What a server asks for with Retry-After is waited for up to a minute in all; of longer waits the end is said.",
            ),
        ],
        passes_on: None,
        files: &[
            (
                "/var/cache/upswap/fetch",
                "Where the files go without --into, a folder for each release: HOST/OWNER/REPO/TAG of GitHub, HOST/ID/VERSION of an address, crates/CRATE/VERSION of a crate, local/NAME-ID/VERSION of a folder. May be deleted at any time. A copy of the folder above TAG or VERSION is a SOURCE for hosts without a network.",
            ),
            (
                "ASSET.origin.json",
                "Beside each asset: where it came from, which version it is, its digest, and when it was fetched.",
            ),
            (
                "/var/cache/upswap/fetch/crates/CRATE/.build-VERSION",
                "What cargo built, where it finds it again; its work is removed after each build.",
            ),
            (
                ".upswap-part-*",
                "A file that is still being received, and the record of what it is a part of. The next fetch of the same asset into the folder goes on with what a killed one left, if the server says that it is still the same file; one that nobody comes back for is removed after a week.",
            ),
        ],
        environment: &[
            (
                "GITHUB_API_URL",
                "The base of the releases API, for GitHub Enterprise: https://HOST/api/v3. The web address for downloads without the API follows from it.",
            ),
            (
                "GITHUB_SERVER_URL",
                "The web address of GitHub, as GitHub Actions names it; the API's follows from it. Where both are set this one counts only when it is the same server's.",
            ),
            (
                "GITHUB_TOKEN, GH_TOKEN",
                "The token that is sent to that API, and to no other host. The first that is set counts; without any, the file github-token of CREDENTIALS_DIRECTORY.",
            ),
            (
                "CREDENTIALS_DIRECTORY",
                "Set by systemd for a service with LoadCredential=. Its files github-token (a token) and fetch-header (lines as for --header, used when no --header is given) are read.",
            ),
            (
                "OCI_USERNAME, OCI_PASSWORD",
                "The log-in for an oci:// registry. It is shown to that registry, and to the place it names for tokens when that is on the registry's own site; never over plain http, but to this host.",
            ),
            (
                "OCI_TOKEN_HOST",
                "The host that may see the log-in too: where the registry gets its tokens from another site.",
            ),
            (
                "CREDENTIALS_DIRECTORY",
                "systemd's folder of credentials. The one called oci-login, USER:PASSWORD, is the log-in when the variables are not set.",
            ),
            (
                "CARGO",
                "The cargo that builds; the first in PATH when it is not set. It reads its own variables, such as CARGO_HOME.",
            ),
            (
                "http_proxy, https_proxy, all_proxy, no_proxy",
                "The proxies, as curl(1) reads them; in upper case too, but for HTTP_PROXY. A name and a password may stand in their addresses. no_proxy takes names, domains, addresses and networks (10.0.0.0/8), each also with a port.",
            ),
            ("SSL_CERT_FILE, SSL_CERT_DIR", "The trusted certificates, instead of the host's own."),
            CACHE_DIR,
            COLOUR,
        ],
        see_also: &[("verify", 1), ("upswap", 7)],
    },
    Page {
        tool: "verify",
        section: 1,
        command: verify::Args::command,
        examples: verify::EXAMPLES,
        verdicts: &[],
        json: answers::VERIFY,
        exits: &[
            (Exit::Done, "Every file is proven; the paths are on standard output."),
            (
                Exit::No,
                "A file is not what the evidence says, the evidence is missing, the archive has no such member or a bad one, or a program can't run on this host, failed when it was run, or is another version. Nothing was put in the store.",
            ),
            (
                Exit::Usage,
                "The command line is wrong; so also when no evidence is given, or Sigstore's to a verify without it.",
            ),
            (
                Exit::CouldNot,
                "A file, a key, a list or a signature could not be read or makes no sense; or the store could not be written, or others could write to it; or this host gives no namespaces to run a program in.",
            ),
        ],
        passes_on: None,
        files: &[
            STORE,
            ("ASSET.origin.json", "Beside FILE, as fetch left it: read, and kept in the store with what was proven."),
        ],
        environment: &[CACHE_DIR, COLOUR],
        see_also: &[("fetch", 1), ("swapbin", 8), ("minisign", 1), ("upswap", 7)],
    },
    Page {
        tool: "unit-render",
        section: 1,
        command: unit_render::Args::command,
        examples: unit_render::EXAMPLES,
        verdicts: &[],
        json: answers::UNIT_RENDER,
        exits: &[
            (Exit::Done, "The unit is on standard output."),
            (Exit::No, "--check: systemd finds fault with the text; what it says is on standard error."),
            (
                Exit::Usage,
                "The command line is wrong; so also a value that has no placeholder or no place in the built-in unit, or that does not fit where it would go, and a placeholder without a value.",
            ),
            (
                Exit::CouldNot,
                "The template, the unit or BIN gave no unit, this host gives no namespaces to run BIN in, systemd could not be asked, or systemd-analyze is missing or does not work here; nothing was printed.",
            ),
        ],
        passes_on: None,
        files: &[],
        environment: &[
            ("PATH", "Where a BIN without a slash is looked for. BIN itself gets a fixed environment."),
            COLOUR,
        ],
        see_also: &[
            ("unit-diff", 1),
            ("swapbin", 8),
            ("systemd-analyze", 1),
            ("systemd.unit", 5),
            ("systemd.exec", 5),
            ("capabilities", 7),
            ("upswap", 7),
        ],
    },
    Page {
        tool: "unit-diff",
        section: 1,
        command: unit_diff::Args::command,
        examples: unit_diff::EXAMPLES,
        verdicts: &[],
        json: answers::UNIT_DIFF,
        exits: &[
            (
                Exit::Done,
                "The units mean the same; with --refuse-loss: nothing is lost; with --drop-in: all is carried, by the drop-in on standard output.",
            ),
            (
                Exit::No,
                "They differ; with --refuse-loss: something is lost. The differences are on standard output. With --drop-in: there are conflicts, and they are on standard error.",
            ),
            USAGE,
            (
                Exit::CouldNot,
                "A unit could not be read or is none, systemd has no unit of that name, or it could not be asked.",
            ),
        ],
        passes_on: None,
        files: &[],
        environment: &[COLOUR],
        see_also: &[("unit-render", 1), ("systemd.unit", 5), ("systemd.syntax", 7), ("upswap", 7)],
    },
    Page {
        tool: "svc-wait",
        section: 1,
        command: svc_wait::Args::command,
        examples: svc_wait::EXAMPLES,
        verdicts: &answers::VERDICTS,
        json: answers::SVC_WAIT,
        exits: &[
            (Exit::Done, "The unit is healthy, and stayed so."),
            (
                Exit::No,
                "It is not, or COMMAND failed; the verdict and the last lines of its journal are on standard error.",
            ),
            (Exit::Usage, "The command line is wrong, UNIT is a pattern or a template, or there is no such COMMAND."),
            (
                Exit::CouldNot,
                "systemd could not be asked, and COMMAND was not run; or under a guard the trial could not be read or written.",
            ),
            (Exit::Deadline, "systemd or /proc never let us judge before the deadline."),
        ],
        passes_on: Some(
            "The exit status of COMMAND is not passed on: when COMMAND fails, the unit is not healthy, and svc-wait exits with 1.",
        ),
        files: &[],
        environment: &[
            GUARDED,
            ("TMPDIR", "Where the output of --exec is kept meanwhile; /tmp when it is not set."),
            COLOUR,
        ],
        see_also: &[("rollback", 8), ("systemctl", 1), ("systemd.time", 7), ("upswap", 7)],
    },
    Page {
        tool: "swapbin",
        section: 8,
        command: swapbin::Args::command,
        examples: swapbin::EXAMPLES,
        verdicts: &[],
        json: answers::SWAPBIN,
        exits: &[
            (Exit::Done, "The files are in place, durably. The changed ones are on standard output."),
            (
                Exit::No,
                "Refused: a file or a destination can't be taken, a file of the store was altered, a trial is open, or there is none to commit. Nothing was changed.",
            ),
            (Exit::Usage, "The command line is wrong; so also under a guard whose lock did not come down."),
            (
                Exit::CouldNot,
                "Could not: a file, its metadata or the record could not be read or written, or systemd could not be asked. Nothing was changed.",
            ),
            (Exit::Changed, "Could not, and something was changed: the message ends with the command that mends it."),
            (Exit::NotNow, "Another change of this NAME holds the lock; it is named."),
        ],
        passes_on: None,
        files: &[BACKUPS, BAK, STAGED, KEPT, STATE, LOCKS, STORE],
        environment: &[GUARDED, STATE_DIR, CACHE_DIR, COLOUR],
        see_also: &[("verify", 1), ("setcap-keep", 8), ("rollback", 8), ("install", 1), ("upswap", 7)],
    },
    Page {
        tool: "setcap-keep",
        section: 8,
        command: setcap_keep::Args::command,
        examples: setcap_keep::EXAMPLES,
        verdicts: &[],
        json: answers::SETCAP_KEEP,
        exits: &[
            (
                Exit::Done,
                "COMMAND succeeded and every PATH has the capabilities it had; or they are saved, or put back; or the next start of UNIT loses nothing.",
            ),
            (
                Exit::No,
                "A PATH is not a regular file, and COMMAND was not run; there is no save of an interrupted run to restore, or a file of the save is gone or could be somebody else's, and nothing of it was put back; or the next start of UNIT loses a capability or fails, or there is no such unit.",
            ),
            (Exit::Usage, "The command line is wrong; so also when UNIT is not one service."),
            (
                Exit::CouldNot,
                "The capabilities or the save could not be read, the save could not be written, or COMMAND could not be started; or systemd could not be asked, or UNIT can't be explained.",
            ),
            (
                Exit::Changed,
                "COMMAND ran, and the capabilities could not be put back or UNIT could not be restarted: the message ends with the command that mends it.",
            ),
        ],
        passes_on: Some(
            "When COMMAND fails, its exit status is passed on, 128 + N when signal N ended it; the capabilities are put back all the same, and --try-restart is left out.",
        ),
        files: &[(
            "/var/lib/upswap/.setcap-keep/PID-TIME.save",
            "What a run has to put back. It is gone when that is done; --restore without FILE takes those that killed runs left.",
        )],
        environment: &[STATE_DIR, COLOUR],
        see_also: &[
            ("swapbin", 8),
            ("setcap", 8),
            ("getfattr", 1),
            ("systemd.exec", 5),
            ("capabilities", 7),
            ("upswap", 7),
        ],
    },
    Page {
        tool: "rollback",
        section: 8,
        command: rollback::Args::command,
        examples: rollback::EXAMPLES,
        verdicts: &[],
        json: answers::ROLLBACK,
        exits: &[
            (
                Exit::Done,
                "Done: the files of before are in place and, unless --no-restart said otherwise, proven to run; or the guarded COMMAND succeeded and its change is committed; or no trial was left to take back.",
            ),
            (
                Exit::No,
                "There is nothing to go back to, no such generation, or its backup is not good: empty, cut off, or somebody else's to write. Nothing was changed.",
            ),
            USAGE,
            (Exit::CouldNot, "Could not; nothing was changed. Under --guard: COMMAND could not be started."),
            (
                Exit::Changed,
                "Could not go all the way back, or what is back is not healthy: the message ends with the command that mends it.",
            ),
            (
                Exit::TakenBack,
                "The guarded COMMAND failed, or the guard was told to end, and its change was taken back: the old generation is proven to run. Units that did not run before are left stopped.",
            ),
            (Exit::NotNow, "Another change of this NAME holds the lock; it is named."),
        ],
        passes_on: Some(
            "When the guarded COMMAND ends and has changed nothing, its exit status is passed on, 128 + N when signal N ended it.",
        ),
        files: &[BACKUPS, BAK, KEPT, STATE, LOCKS],
        environment: &[
            (
                "UPSWAP_NAME, UPSWAP_LOCK_FD, UPSWAP_STATE_DIR",
                "Set by --guard for COMMAND: the NAME, the descriptor of its lock, and the state folder. See upswap(7).",
            ),
            STATE_DIR,
            COLOUR,
        ],
        see_also: &[("swapbin", 8), ("svc-wait", 1), ("upswap", 7)],
    },
];

impl Page {
    /// The page's file name: `swapbin.8`.
    pub fn file(&self) -> String {
        format!("{}.{}", self.tool, self.section)
    }

    /// The page, in the man(7) language.
    pub fn render(&self) -> String {
        // What a build leaves out of --help, the page tells of all the same: there is one page for all builds.
        let command = (self.command)().after_help(None).mut_args(|arg| arg.hide(false));
        let man = clap_mangen::Man::new(command)
            .title(self.tool.to_uppercase())
            .section(self.section.to_string())
            .date(DATE)
            .source(concat!("upswap ", env!("CARGO_PKG_VERSION")))
            .manual("upswap");
        let mut page = Vec::new();
        man.render_title(&mut page)
            .and_then(|()| man.render_name_section(&mut page))
            .and_then(|()| self.synopsis().to_writer(&mut page))
            .and_then(|()| man.render_description_section(&mut page))
            .and_then(|()| man.render_options_section(&mut page))
            .and_then(|()| self.verdict_section().to_writer(&mut page))
            .and_then(|()| self.json_section().to_writer(&mut page))
            .and_then(|()| entries("ENVIRONMENT", self.environment).to_writer(&mut page))
            .and_then(|()| entries("FILES", self.files).to_writer(&mut page))
            .and_then(|()| self.exit_status().to_writer(&mut page))
            .and_then(|()| self.example_section().to_writer(&mut page))
            .and_then(|()| self.see_also().to_writer(&mut page))
            .expect("memory takes every write");
        tidy(&String::from_utf8(page).expect("clap's and our own texts are UTF-8"))
    }

    /// The usage lines of `--help`; `clap_mangen`'s own synopsis names every flag and no value.
    fn synopsis(&self) -> Roff {
        let mut roff = Roff::new();
        roff.control("SH", ["SYNOPSIS"]);
        let usage = (self.command)().render_usage().to_string();
        for (i, form) in usage.trim_start_matches("Usage:").lines().map(str::trim).enumerate() {
            if i > 0 {
                roff.control("br", []);
            }
            roff.text([bold(self.tool), roman(form.strip_prefix(self.tool).unwrap_or(form))]);
        }
        roff
    }

    fn verdict_section(&self) -> Roff {
        let mut roff = Roff::new();
        if !self.verdicts.is_empty() {
            roff.control("SH", ["VERDICTS"]);
        }
        for (name, said) in self.verdicts {
            roff.control("TP", []).text([bold(name.to_string())]).text([roman(*said)]);
        }
        roff
    }

    fn json_section(&self) -> Roff {
        let mut roff = Roff::new();
        roff.control("SH", ["JSON"]);
        roff.text([
            roman("With"),
            bold(" --json "),
            roman("one object is printed: with the members schema, tool and exit, see upswap(7); with error when there is no answer, and otherwise with these."),
        ]);
        for (when, members) in self.json {
            if !when.is_empty() {
                roff.control("PP", []).text([roman(*when)]);
            }
            for (term, said) in *members {
                roff.control("TP", []).text([italic(*term)]).text([roman(*said)]);
            }
        }
        roff
    }

    fn exit_status(&self) -> Roff {
        let mut roff = Roff::new();
        roff.control("SH", ["EXIT STATUS"]);
        for (exit, said) in self.exits {
            roff.control("TP", []).text([bold(exit.code().to_string())]).text([roman(*said)]);
        }
        if let Some(said) = self.passes_on {
            roff.control("PP", []).text([roman(said)]);
        }
        roff
    }

    fn example_section(&self) -> Roff {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]);
        let (mut literal, mut first) = (false, true);
        for line in self.examples.lines().skip(1) {
            let command = line.starts_with("    ");
            if command != literal {
                if command {
                    roff.control("PP", []).control("RS", ["4"]).control("nf", []);
                } else {
                    roff.control("fi", []).control("RE", []);
                }
                literal = command;
            }
            if command {
                roff.text([roman(&line[4..])]);
            } else if !line.trim().is_empty() {
                if !std::mem::take(&mut first) {
                    roff.control("PP", []);
                }
                roff.text([roman(line.trim())]);
            }
        }
        if literal {
            roff.control("fi", []).control("RE", []);
        }
        roff
    }

    fn see_also(&self) -> Roff {
        let mut roff = Roff::new();
        roff.control("SH", ["SEE ALSO"]);
        for (i, (name, section)) in self.see_also.iter().enumerate() {
            let end = if i + 1 == self.see_also.len() { "" } else { "," };
            roff.text([bold(*name), roman(format!("({section}){end}"))]);
        }
        roff
    }
}

fn entries(title: &'static str, entries: &[Entry]) -> Roff {
    let mut roff = Roff::new();
    if !entries.is_empty() {
        roff.control("SH", [title]);
    }
    for (term, said) in entries {
        roff.control("TP", []).text([italic(*term)]).text([roman(*said)]);
    }
    roff
}

/// What mandoc's lint asks for: one preamble, no empty lines, no `.br` twice, and text lines that fit a terminal.
fn tidy(page: &str) -> String {
    const PREAMBLE: [&str; 2] = [r".ie \n(.g .ds Aq \(aq", ".el .ds Aq '"];
    let mut lines = vec![r#".\" Written by man/generate.rs from the tool's own --help; see `make man`."#.to_owned()];
    lines.extend(PREAMBLE.map(str::to_owned));
    let mut literal = false;
    for line in page.lines().map(str::trim_end).filter(|line| !line.is_empty() && !PREAMBLE.contains(line)) {
        let last = lines.last().map_or("", String::as_str);
        if line == ".br" && last == ".br" {
            continue;
        }
        match line {
            ".nf" => literal = true,
            ".fi" => literal = false,
            _ => {}
        }
        // The line after .TP is its term, and stays one line.
        if literal || line.starts_with('.') || last == ".TP" {
            lines.push(line.to_owned());
        } else {
            fill(line, &mut lines);
        }
    }
    lines.join("\n") + "\n"
}

/// Breaks `text` between words into lines of at most 78 bytes, none of which starts like a request.
fn fill(text: &str, lines: &mut Vec<String>) {
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + word.len() >= 78 && !word.starts_with(['.', '\'']) {
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    lines.push(line);
}
