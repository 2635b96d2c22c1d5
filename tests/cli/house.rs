//! The floor plan of `lib/src/lib.rs`, compared with what the sources really name.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use fs_err as fs;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The floors from the ground up. A module may name modules of its own floor and of those below it.
const FLOORS: [&str; 4] = ["words", "sys", "steps", "report"];
/// Steps that know nothing of one another. What joins them stands beside them, or in a script.
const APART: [&str; 4] = ["artifact", "generation", "service", "unit"];
/// What a pure module does not name: the machine. (`std::path`, `std::time::Duration`, `std::env::consts` and the traits of
/// `std::io` are pure.) Its tests may, to read a real file.
const MACHINE: [&str; 20] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "std::thread",
    "std::os::unix::fs",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "caps",
    "duct",
    "fs_err",
    "indicatif",
    "nix",
    "rustix",
    "tempfile",
    "ureq",
    "xattr",
];
/// Lines of the longest file. What is longer has two concerns.
const LONGEST: usize = 600;

#[test]
fn imports_go_down_only() {
    let mut found = Vec::new();
    for file in rust_files(&root().join("lib/src")) {
        let module = module_of(file.strip_prefix(root().join("lib/src")).unwrap());
        found.extend(climbs(&module, &fs::read_to_string(&file).unwrap()));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_file_has_grown_too_long() {
    let folders = ["lib", "bins", "tests", "man", "benches"].map(|folder| root().join(folder));
    let files: Vec<_> = folders.iter().filter(|f| f.is_dir()).flat_map(|folder| rust_files(folder)).collect();
    assert!(files.len() > 20, "the sources were not found: {files:?}");
    let too_long: Vec<_> = files
        .iter()
        .map(|file| (file, fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .collect();
    assert!(too_long.is_empty(), "longer than {LONGEST} lines: {too_long:?}");
}

#[test]
fn the_floor_plan_in_the_text_names_the_floors() {
    let plan = fs::read_to_string(root().join("lib/src/lib.rs")).unwrap();
    let named: Vec<_> = plan.lines().filter_map(|line| line.strip_prefix("//! - [`")?.split('`').next()).collect();
    assert_eq!(named, FLOORS.iter().rev().copied().collect::<Vec<_>>());
}

/// Every rule must bite on a sample that breaks it, however the path is written, and be quiet on one that does not.
#[test]
fn the_checker_finds_what_it_is_for() {
    for (module, source, expected) in [
        ("words::exit", "use crate::sys::Host;", 1),
        ("words::exit", "use crate::{words::digest::Digest, sys::Host};", 1),
        ("words::exit", "fn f() { crate::report::run(1); }", 1),
        ("words::exit", "fn f() { println!(\"{}\", crate::sys::say::printable(\"\")); }", 1),
        ("words::exit", "use super::super::sys::Host;", 1),
        ("words::unit::file", "mod tests { use super::super::super::super::steps; }", 1),
        ("words::exit", "use fs_err as fs;", 1),
        ("words::exit", "use std::fs;", 1),
        ("words::exit", "use std::{fmt, process::{Command, ExitCode}};", 2),
        ("words::exit", "use std::time::{Duration, Instant};", 1),
        ("words::exit", "fn f() { let _ = std::env::var(\"X\"); }", 1),
        ("sys::tool", "use crate::steps::artifact::store::Store;", 1),
        ("steps::generation::swap", "use crate::steps::artifact::origin::Origin;", 1),
        ("steps::generation::swap", "use super::super::service::watch;", 1),
        ("steps::artifact", "use super::unit;", 1),
        ("steps::artifact::store", "use crate::report::Answer;", 1),
        ("words::exit", "use std::{fmt, time::Duration, io::Read}; use super::digest::Digest;", 0),
        ("words::exit", "/// As `crate::sys` does; use crate::sys.\nfn f() { let _ = \"use std::fs;\"; }", 0),
        ("words::exit", "mod tests { use super::super::digest; use super::*; }", 0),
        ("words::exit", "use std::env::consts; fn f() -> &'static str { std::env::consts::ARCH }", 0),
        ("words::exit", "mod tests { fn f() { std::fs::read(\"x\"); } }", 0),
        ("words::exit", "fn f(fs: u8) { struct S { env: u8 } }", 0),
        ("sys::tool", "use super::Host; use crate::words::exit::Exit; use std::fs;", 0),
        ("steps::artifact::store", "use super::origin::Origin; use crate::{sys::Host, words};", 0),
        ("steps::back", "use super::{generation, service};", 0),
        ("report", "use crate::sys::say::Say; use crate::steps::back;", 0),
    ] {
        let module: Vec<_> = module.split("::").map(str::to_owned).collect();
        let found = climbs(&module, source);
        assert_eq!(found.len(), expected, "{module:?}: {source}\n{found:#?}");
    }
}

/// A path that a source names.
struct Named {
    line: usize,
    by_a_test: bool,
    path: Vec<String>,
}

/// What `source` names that a module at `module` must not name, one sentence each.
fn climbs(module: &[String], source: &str) -> Vec<String> {
    let tokens = TokenStream::from_str(source).unwrap_or_else(|e| panic!("{module:?}: {e}"));
    let mut paths = Vec::new();
    collect(tokens, &[], module, &mut paths);
    let Some(floor) = floor(module.first()) else { return Vec::new() };
    let step = (module[0] == "steps").then(|| module.get(1)).flatten();
    let mut found = Vec::new();
    for Named { line, by_a_test, path } in paths {
        let named = path.join("::");
        let mut wrong = |why: &str| found.push(format!("{} line {line}: {named}: {why}", module.join("::")));
        if path[0] == "crate" {
            if self::floor(path.get(1)).is_some_and(|other| other > floor) {
                wrong("imports go down only");
            }
            if path.get(1).is_some_and(|f| f == "steps")
                && let (Some(own), Some(other)) = (step, path.get(2))
                && own != other
                && APART.contains(&own.as_str())
                && APART.contains(&other.as_str())
            {
                wrong("these steps do not know one another");
            }
        } else if floor == 0
            && !by_a_test
            && path.get(..3).is_none_or(|start| start != ["std", "env", "consts"])
            && MACHINE.iter().any(|machine| named == *machine || named.starts_with(&format!("{machine}::")))
        {
            wrong("words do not touch the machine");
        }
    }
    found
}

fn floor(name: Option<&String>) -> Option<usize> {
    FLOORS.iter().position(|floor| name.is_some_and(|name| name == floor))
}

/// Adds every path that `tokens` name, with its line: `use` groups spread out, `super` and `self` resolved to `crate::…`
/// from the module at `module`. `prefix` is what stands before the group that is being read.
///
/// Tokens, not lines, so that comments and strings are no imports, and paths inside macros are.
fn collect(tokens: TokenStream, prefix: &[String], module: &[String], paths: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(keyword) if keyword == "mod" => {
                if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(at), tokens.get(at + 1))
                {
                    let inner: Vec<_> = module.iter().cloned().chain([name.to_string()]).collect();
                    collect(body.stream(), &[], &inner, paths);
                    at += 2;
                }
            }
            TokenTree::Ident(first) => {
                let mut path = prefix.to_vec();
                let line = first.span().start().line;
                step_into(&mut path, &first.to_string(), module);
                let mut whole = true;
                while is_colons(&tokens, at) {
                    match tokens.get(at + 2) {
                        Some(TokenTree::Ident(next)) => step_into(&mut path, &next.to_string(), module),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            collect(group.stream(), &path, module, paths);
                            whole = false;
                        }
                        // A glob, or the `::<…>` of a generic.
                        _ => {
                            at += 2;
                            break;
                        }
                    }
                    at += 3;
                }
                // A lone name is a variable or a field, except in a `use`: `use fs_err as fs;`.
                let imported = at >= 2 && matches!(&tokens[at - 2], TokenTree::Ident(before) if before == "use");
                if whole && (path.len() > 1 || imported) {
                    paths.push(Named { line, by_a_test: module.iter().any(|part| part == "tests"), path });
                }
            }
            TokenTree::Group(group) => collect(group.stream(), &[], module, paths),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn step_into(path: &mut Vec<String>, name: &str, module: &[String]) {
    let here = || std::iter::once("crate".to_owned()).chain(module.iter().cloned());
    match (name, path.is_empty()) {
        ("super", true) => {
            path.extend(here());
            path.pop();
        }
        ("super", false) => drop(path.pop()),
        ("self", true) => path.extend(here()),
        ("self", false) => {}
        _ => path.push(name.to_owned()),
    }
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    [at, at + 1].iter().all(|i| matches!(tokens.get(*i), Some(TokenTree::Punct(p)) if p.as_char() == ':'))
}

/// `words/exit.rs` is `words::exit`, and `sys/mod.rs` is `sys`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<_> = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
