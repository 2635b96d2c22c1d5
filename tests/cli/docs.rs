//! What is written down in two places, compared: the man pages, `--help`, the exit codes, the README, the profile's keys.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use upswap::sys::lock::{GUARD_FD, GUARD_NAME};
use upswap::words::exit::Exit;
use upswap::words::verdict::Name;

mod answers;
#[path = "../../man/pages.rs"]
mod pages;
mod shell;

use pages::{PAGES, Page};

#[test]
fn the_man_pages_are_fresh() {
    let stale: Vec<_> = PAGES
        .iter()
        .filter(|page| page.render() != fs::read_to_string(root().join("man").join(page.file())).unwrap_or_default())
        .map(Page::file)
        .collect();
    assert!(stale.is_empty(), "run `make man` and commit: {stale:?}");
}

#[test]
fn every_option_of_a_tools_help_stands_in_its_page() {
    for page in &PAGES {
        let help = assert_cmd::Command::new(tool(page.tool)).arg("--help").assert().success();
        let help = String::from_utf8(help.get_output().stdout.clone()).unwrap();
        let text = page_text(&page.file());
        let options: BTreeSet<_> = help.lines().filter_map(option_of).collect();
        assert!(options.contains("--help"), "{}: no options found in:\n{help}", page.tool);
        for option in options {
            assert!(text.contains(option), "{}: {option} is not in its man page", page.tool);
        }
    }
}

#[test]
fn the_exit_codes_of_the_overview_are_those_of_the_code() {
    let documented = definitions(&section(&read("man/upswap.7"), "EXIT STATUS"));
    let coded: Vec<_> = Exit::ALL.iter().map(|exit| (exit.code().to_string(), exit.meaning().to_owned())).collect();
    assert_eq!(documented, coded);
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let rows = rows.filter(|(code, _)| code.bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(rows.map(|(code, said)| (code.to_owned(), said.to_owned())).collect::<Vec<_>>(), coded);
}

#[test]
fn every_verdict_has_its_meaning_in_the_page() {
    // serde names all that it knows when it is asked for one that it does not know.
    let known = serde_json::from_str::<Name>("\"?\"").unwrap_err().to_string();
    let known: BTreeSet<_> = known.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(known.len() > 20, "{known:?}");
    let page = PAGES.iter().find(|page| page.tool == "svc-wait").unwrap();
    assert_eq!(page.verdicts.iter().map(|(name, _)| name.to_string()).collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_variable_that_the_code_reads_stands_in_the_overview() {
    let page = read("man/upswap.7");
    let documented = section(&page, "ENVIRONMENT").join(" ");
    let documented: BTreeSet<_> = documented.split([' ', ',']).collect();
    let mut found = BTreeSet::from([GUARD_NAME.to_owned(), GUARD_FD.to_owned()]);
    let mut folders = vec![root().join("lib/src"), root().join("bins")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for call in ["var(\"", "var_os(\"", " get(\""] {
                let names = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(names.filter(|name| is_variable(name)).map(str::to_owned));
            }
        }
    }
    assert!(["UPSWAP_ROOT", "NO_COLOR", "https_proxy"].iter().all(|name| found.contains(*name)), "{found:?}");
    let missing: Vec<_> = found.iter().filter(|name| !documented.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in the ENVIRONMENT of upswap(7): {missing:?}");
}

#[test]
fn every_example_of_a_help_is_a_command_line_that_the_tool_takes() {
    for page in &PAGES {
        // --help is wrapped to the terminal; a command that is wrapped can't be pasted, and a sentence loses its indent.
        let wide = page.examples.lines().find(|line| line.chars().count() >= 80);
        assert!(wide.is_none(), "{}: {wide:?} is too wide", page.tool);
        let commands = shell::commands(&indented(page.examples));
        assert!(commands.iter().any(|words| words[0] == page.tool), "{}: no example of its own", page.tool);
        for words in &commands {
            assert_parses(page.tool, words);
        }
        let help = assert_cmd::Command::new(tool(page.tool)).arg("--help").assert().success();
        let help = String::from_utf8_lossy(&help.get_output().stdout).into_owned();
        assert!(help.contains(page.examples.trim_end()), "{}: its --help does not show its examples", page.tool);
    }
}

#[test]
fn every_command_of_the_documents_exists() {
    let targets: BTreeSet<_> = words_after(&read("Makefile"), ".PHONY:");
    let listed = upswap_commands();
    for document in ["README.md", "CONTRIBUTING.md"] {
        let commands = shell::commands(&fenced(&read(document)));
        assert!(!commands.is_empty(), "{document}: no commands found");
        for words in commands {
            let second = words.get(1).map_or("", String::as_str);
            match words[0].as_str() {
                "make" => assert!(second.is_empty() || targets.contains(second), "{document}: make {second}"),
                "upswap" => assert!(listed.contains(second), "{document}: upswap {second}"),
                _ => assert_parses(document, &words),
            }
        }
    }
    let commands = shell::commands(&literal(&section(&read("man/upswap.7"), "THE CHAIN")));
    assert!(commands.iter().any(|words| words[0] == "svc-wait"), "the chain was not found: {commands:?}");
    for words in &commands {
        assert_parses("upswap.7", words);
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    for document in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        for link in read(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let outside = link.starts_with("https://");
            assert!(outside || file.is_empty() || root().join(file).exists(), "{document}: {link}");
        }
    }
}

#[test]
fn the_dispatcher_lists_the_tools_and_the_scripts_and_nothing_else() {
    let scripts = fs::read_dir(root().join("scripts")).unwrap().map(|entry| entry.unwrap().file_name());
    let scripts = scripts
        .map(|name| name.into_string().unwrap())
        .filter(|name| !["upswap", "deps", "chain.sh", "units.sh"].contains(&name.as_str()));
    let tools = PAGES.iter().map(|page| page.tool.to_owned());
    assert_eq!(upswap_commands(), scripts.chain(tools).collect());
}

#[test]
fn the_keys_of_a_profile_are_those_that_the_scripts_read() {
    let page = read("man/upswap.conf.5");
    let keys: BTreeSet<_> = definitions(&section(&page, "KEYS")).into_iter().map(|(key, _)| key).collect();
    assert!(keys.len() > 5, "the keys were not found: {keys:?}");
    let script = read("scripts/chain.sh");
    let known = script.lines().find_map(|line| line.strip_prefix("KEYS=\"")?.strip_suffix('"'));
    assert_eq!(keys, known.unwrap().split(' ').map(str::to_owned).collect());
    let samples = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let samples: Vec<_> = samples.filter(|path| path.extension().is_some_and(|e| e == "conf")).collect();
    assert!(!samples.is_empty());
    for sample in samples {
        let text = fs::read_to_string(&sample).unwrap();
        let settings = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (key, value) in settings.map(|line| line.split_once('=').unwrap()) {
            assert!(keys.contains(key), "{}: {key} is not documented", sample.display());
            assert!(!value.contains(['$', '`', '\\']), "{}: {key}: {value}", sample.display());
        }
    }
}

/// Fails when `words` call one of the tools in a way that it does not take. Other programs are not looked at.
fn assert_parses(place: &str, words: &[String]) {
    let Some(page) = PAGES.iter().find(|page| page.tool == words[0]) else { return };
    if let Err(e) = (page.command)().try_get_matches_from(words) {
        assert!(!e.use_stderr(), "{place}: {}\n{e}", words.join(" "));
    }
}

/// The first words of the indented lines of `upswap help`.
fn upswap_commands() -> BTreeSet<String> {
    let help = Command::new(root().join("scripts/upswap")).arg("help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).map(str::to_owned).collect()
}

/// Whether `name` is spelled like an environment variable: all in one case, no blank, no hyphen.
fn is_variable(name: &str) -> bool {
    let all = |case: fn(&u8) -> bool| name.bytes().all(|b| case(&b) || b == b'_');
    name.len() > 1 && (all(u8::is_ascii_uppercase) || name.ends_with("_proxy"))
}

/// The long option that a line of `--help` is about, if it is about one.
fn option_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let long = if line.starts_with("--") { line } else { line.strip_prefix('-')?.split_once(", ")?.1 };
    long.split([' ', '[', '=', '<', '.']).next().filter(|option| option.starts_with("--"))
}

/// A page as its reader gets it, as far as option names go.
fn page_text(file: &str) -> String {
    read(&format!("man/{file}")).replace("\\-", "-")
}

/// The lines of an mdoc page from `.Sh NAME` to the next section.
fn section(page: &str, name: &str) -> Vec<String> {
    let lines = page.lines().skip_while(|line| *line != format!(".Sh {name}")).skip(1);
    lines.take_while(|line| !line.starts_with(".Sh ")).map(str::to_owned).collect()
}

/// The `.It` entries of a section's first list: the term, and its text on one line.
fn definitions(section: &[String]) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in section.iter().take_while(|line| *line != ".El") {
        if let Some(term) = line.strip_prefix(".It ") {
            entries.push((term.trim_start_matches("Cm ").to_owned(), String::new()));
        } else if let Some((_, text)) = entries.last_mut() {
            text.push_str(if text.is_empty() { "" } else { " " });
            text.push_str(line);
        }
    }
    entries
}

/// The lines between `.Bd` and `.Ed`, as the reader sees them.
fn literal(section: &[String]) -> String {
    let lines = section.iter().skip_while(|line| !line.starts_with(".Bd")).skip(1);
    lines.take_while(|line| *line != ".Ed").map(|line| line.replace("\\e", "\\") + "\n").collect()
}

/// The command lines of an `Examples:` text: those with four blanks in front.
fn indented(examples: &str) -> String {
    examples.lines().filter_map(|line| line.strip_prefix("    ")).flat_map(|line| [line, "\n"]).collect()
}

/// The text inside a Markdown document's `sh` fences.
fn fenced(document: &str) -> String {
    document.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

fn words_after(text: &str, start: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix(start))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

fn tool(name: &str) -> &'static str {
    match name {
        "fetch" => env!("CARGO_BIN_EXE_fetch"),
        "verify" => env!("CARGO_BIN_EXE_verify"),
        "swapbin" => env!("CARGO_BIN_EXE_swapbin"),
        "setcap-keep" => env!("CARGO_BIN_EXE_setcap-keep"),
        "unit-render" => env!("CARGO_BIN_EXE_unit-render"),
        "unit-diff" => env!("CARGO_BIN_EXE_unit-diff"),
        "svc-wait" => env!("CARGO_BIN_EXE_svc-wait"),
        "rollback" => env!("CARGO_BIN_EXE_rollback"),
        _ => panic!("no tool {name}"),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
