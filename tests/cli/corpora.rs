//! What the fuzzer keeps (`fuzz/corpus`) and what ever crashed a parser (`fuzz/crashes`), given to the parsers again.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::parsers::PARSERS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Every input that is kept for the parser `name`, with what it is called.
fn kept(name: &str) -> Vec<(String, Vec<u8>)> {
    let corpus = fs::File::open(fuzz().join(format!("corpus/{name}.tar.gz"))).unwrap();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(corpus));
    let mut kept = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            kept.push((entry.path().unwrap().display().to_string(), bytes));
        }
    }
    assert!(!kept.is_empty(), "the corpus of {name} holds nothing");
    if let Ok(crashes) = fs::read_dir(fuzz().join("crashes").join(name)) {
        kept.extend(crashes.map(|file| {
            let path = file.unwrap().path();
            (path.display().to_string(), fs::read(path).unwrap())
        }));
    }
    kept
}

/// The inputs that make `entry` panic.
fn crashing(entry: impl Fn(&[u8]), inputs: &[(String, Vec<u8>)]) -> Vec<&str> {
    let crashes = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| entry(bytes))).is_err();
    inputs.iter().filter(|(_, bytes)| crashes(bytes)).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn no_parser_panics_on_what_the_fuzzer_kept() {
    let mut crashed = Vec::new();
    for (name, entry) in PARSERS {
        let inputs = kept(name);
        crashed.extend(crashing(entry, &inputs).iter().map(|input| format!("{name}: {input}")));
    }
    assert!(crashed.is_empty(), "a parser panics on:\n{}", crashed.join("\n"));
}

/// The same replay over a parser that is broken must name the input.
#[test]
fn a_parser_that_panics_is_found() {
    let inputs = kept("sums");
    let (name, culprit) = &inputs[0];
    assert_eq!(crashing(|bytes| assert!(bytes != culprit, "broken on purpose"), &inputs), [name]);
    assert_eq!(crashing(|_| panic!("broken on purpose"), &inputs).len(), inputs.len());
}

#[test]
fn every_corpus_has_its_parser() {
    let names: Vec<_> = PARSERS.iter().map(|(name, _)| *name).collect();
    assert!(names.is_sorted(), "in the order of the alphabet, each once: {names:?}");
    for folder in ["corpus", "crashes"] {
        let Ok(entries) = fs::read_dir(fuzz().join(folder)) else { continue };
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(names.contains(&name.trim_end_matches(".tar.gz")), "fuzz/{folder}/{name} belongs to no parser");
        }
    }
}

/// The libraries that `table` of a manifest names.
fn named_in<'t>(manifest: &'t str, table: &str) -> Vec<&'t str> {
    let lines = manifest.lines().skip_while(|line| *line != table).skip(1).take_while(|line| !line.starts_with('['));
    // What only a feature brings is not built there.
    let lines = lines.filter(|line| !line.contains("optional = true"));
    lines.filter_map(|line| line.split(['.', '=', ' ']).next()).filter(|name| !name.is_empty()).collect()
}

/// Those of `wanted` that a lock file does not name for upswap.
fn not_locked<'t>(lock: &str, wanted: &[&'t str]) -> Vec<&'t str> {
    let package = lock.split("[[package]]").find(|package| package.contains("\nname = \"upswap\"\n")).unwrap();
    wanted.iter().filter(|name| !package.contains(&format!("\n \"{name}"))).copied().collect()
}

/// fuzz/ is a workspace of its own, so nothing else notices when its lock file is behind; `make fuzz` then builds nothing.
#[test]
fn the_fuzzer_s_lock_file_knows_every_library() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/Cargo.toml")).unwrap();
    let wanted = named_in(&manifest, "[dependencies]");
    assert!(wanted.contains(&"base64") && wanted.contains(&"xattr"), "{wanted:?}");
    let lock = fs::read_to_string(fuzz().join("Cargo.lock")).unwrap();
    assert!(not_locked(&lock, &wanted).is_empty(), "run cargo metadata --manifest-path fuzz/Cargo.toml: {wanted:?}");
    let behind = lock.replace("\n \"base64\"", "");
    assert_eq!(not_locked(&behind, &wanted), ["base64"], "the same look at a lock file that is behind finds it");
}
