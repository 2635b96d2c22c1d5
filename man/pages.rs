//! What each tool's man page says besides its options: those come from the same clap definition as `--help`.
//!
//! Shared by the generator (`make man`) and by `tests/cli/docs.rs`, which compares the committed pages with it.

use clap::{Command, CommandFactory};
use roff::{Roff, bold, italic, roman};
use upswap::words::exit::Exit;

/// The date in every page: when the text last changed in more than spelling.
const DATE: &str = "2026-11-21";

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
    /// The exit codes it uses, and what each says here.
    pub exits: &'static [(Exit, &'static str)],
    /// What is said of COMMAND's exit status, for a tool that runs one.
    passes_on: Option<&'static str>,
    files: &'static [Entry],
    environment: &'static [Entry],
    see_also: &'static [(&'static str, u8)],
}

const USAGE: (Exit, &str) = (Exit::Usage, "The command line is wrong.");

const STORE: Entry = (
    "/var/cache/upswap/store/SHA256/NAME",
    "The store: verified files, each in a folder named after its digest. May be deleted at any time.",
);
const STATE: Entry = ("/var/lib/upswap", "What is known of each NAME: its generations, and an open trial.");
const LOCKS: Entry = ("/run/upswap", "The lock of each NAME.");
const BACKUPS: Entry = (".FILE.upswap-GENERATION", "Beside each managed file: hard links to its earlier generations.");

const STATE_DIR: Entry = (
    "UPSWAP_STATE_DIR",
    "The state folder, instead of /var/lib/upswap. systemd's STATE_DIRECTORY is used when it is not set.",
);
const CACHE_DIR: Entry = (
    "UPSWAP_CACHE_DIR",
    "The cache folder, instead of /var/cache/upswap. systemd's CACHE_DIRECTORY is used when it is not set.",
);
const GUARDED: Entry = ("UPSWAP_NAME", "Set by rollback --guard: the NAME whose trial this call joins.");
const COLOUR: Entry = ("NO_COLOR", "When it is set and not empty, nothing is coloured.");

/// Every tool's page, in the order of the chain.
pub const PAGES: [Page; 8] = [
    Page {
        tool: "fetch",
        section: 1,
        command: fetch::Args::command,
        examples: fetch::EXAMPLES,
        exits: &[
            (Exit::Done, "All files are there; their paths are on standard output."),
            (Exit::No, "There is no such release, or it has no such asset."),
            USAGE,
            (Exit::CouldNot, "A file could not be read or written, or the answer made no sense."),
            (
                Exit::NotNow,
                "Not now: the network is down, a rate limit is reached, or the release is still being published.",
            ),
        ],
        passes_on: None,
        files: &[("ASSET.origin.json", "Beside each asset: where it came from.")],
        environment: &[
            ("GITHUB_API_URL", "The base of the releases API, for GitHub Enterprise."),
            ("GITHUB_TOKEN, GH_TOKEN", "The token that is sent to that API, and to no other host."),
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
        exits: &[
            (Exit::Done, "Every file is proven; the paths are on standard output."),
            (
                Exit::No,
                "A file is not what the evidence says, or can't run on this host. Nothing was put in the store.",
            ),
            USAGE,
            (Exit::CouldNot, "A file or the evidence could not be read, or the store could not be written."),
        ],
        passes_on: None,
        files: &[STORE],
        environment: &[CACHE_DIR, COLOUR],
        see_also: &[("fetch", 1), ("swapbin", 8), ("upswap", 7)],
    },
    Page {
        tool: "unit-render",
        section: 1,
        command: unit_render::Args::command,
        examples: unit_render::EXAMPLES,
        exits: &[
            (Exit::Done, "The unit is on standard output."),
            USAGE,
            (Exit::CouldNot, "The template, the unit or BIN gave no unit; nothing was printed."),
        ],
        passes_on: None,
        files: &[],
        environment: &[COLOUR],
        see_also: &[("unit-diff", 1), ("swapbin", 8), ("systemd.unit", 5), ("upswap", 7)],
    },
    Page {
        tool: "unit-diff",
        section: 1,
        command: unit_diff::Args::command,
        examples: unit_diff::EXAMPLES,
        exits: &[
            (Exit::Done, "The units mean the same."),
            (Exit::No, "They differ; the differences are on standard output."),
            USAGE,
            (Exit::CouldNot, "A unit could not be read."),
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
        exits: &[
            (Exit::Done, "The unit is healthy, and stayed so."),
            (Exit::No, "It is not; the verdict and the last lines of its journal are on standard error."),
            USAGE,
            (Exit::CouldNot, "COMMAND could not be run, or systemd could not be asked."),
            (Exit::Deadline, "systemd or /proc never let us judge before the deadline."),
        ],
        passes_on: Some("When COMMAND fails and nothing worse was seen, its exit status is passed on."),
        files: &[],
        environment: &[GUARDED, COLOUR],
        see_also: &[("rollback", 8), ("systemctl", 1), ("upswap", 7)],
    },
    Page {
        tool: "swapbin",
        section: 8,
        command: swapbin::Args::command,
        examples: swapbin::EXAMPLES,
        exits: &[
            (Exit::Done, "The files are in place, durably. The changed ones are on standard output."),
            (Exit::No, "Refused; nothing was changed."),
            USAGE,
            (Exit::CouldNot, "Could not; nothing was changed."),
            (Exit::Changed, "Could not, and something was changed: the message ends with the command that mends it."),
            (Exit::NotNow, "Another change of this NAME holds the lock."),
        ],
        passes_on: None,
        files: &[
            BACKUPS,
            (".FILE.bak", "Beside each managed file: one more link, to the one before."),
            STATE,
            LOCKS,
            STORE,
        ],
        environment: &[GUARDED, STATE_DIR, CACHE_DIR, COLOUR],
        see_also: &[("verify", 1), ("setcap-keep", 8), ("rollback", 8), ("install", 1), ("upswap", 7)],
    },
    Page {
        tool: "setcap-keep",
        section: 8,
        command: setcap_keep::Args::command,
        examples: setcap_keep::EXAMPLES,
        exits: &[
            (Exit::Done, "COMMAND succeeded, and every PATH has the capabilities it had."),
            USAGE,
            (Exit::CouldNot, "The capabilities could not be read; COMMAND was not run."),
            (
                Exit::Changed,
                "COMMAND ran, and the capabilities could not be put back: the message ends with the command that mends it.",
            ),
        ],
        passes_on: Some(
            "When COMMAND fails, its exit status is passed on; the capabilities are put back all the same.",
        ),
        files: &[],
        environment: &[COLOUR],
        see_also: &[("swapbin", 8), ("setcap", 8), ("capabilities", 7), ("upswap", 7)],
    },
    Page {
        tool: "rollback",
        section: 8,
        command: rollback::Args::command,
        examples: rollback::EXAMPLES,
        exits: &[
            (
                Exit::Done,
                "Done: the files of before are in place, or the guarded COMMAND succeeded and its change is committed.",
            ),
            (Exit::No, "There is nothing to go back to; nothing was changed."),
            USAGE,
            (Exit::CouldNot, "Could not; nothing was changed."),
            (Exit::Changed, "Could not go all the way back: the message ends with the command that mends it."),
            (
                Exit::TakenBack,
                "The guarded COMMAND failed, and its change was taken back: the old generation is proven to run.",
            ),
            (Exit::NotNow, "Another change of this NAME holds the lock."),
        ],
        passes_on: Some("When the guarded COMMAND fails before it changed anything, its exit status is passed on."),
        files: &[BACKUPS, STATE, LOCKS],
        environment: &[STATE_DIR, COLOUR],
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
        let man = clap_mangen::Man::new((self.command)().after_help(None))
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
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
}
