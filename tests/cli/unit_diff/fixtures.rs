//! The folders of `tests/fixtures/unit`: what is printed for each, and that nothing goes without a folder.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;
use upswap::words::unit::diff::{self, Change, Class};
use upswap::words::unit::file::File;
use upswap::words::unit::keys::{self, Kind};
use upswap::words::unit::notes::About;
use upswap::words::unit::reading::Reading;
use upswap::words::unit::sandbox::Effect;

use super::{stderr, stdout, unit_diff};

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/unit");
    let mut folders: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| !folder.join("expected.drop-in").exists());
    folders.sort();
    assert!(folders.len() >= 45, "{folders:?}");
    folders
}

fn blessing() -> bool {
    std::env::var_os("UPSWAP_BLESS").is_some()
}

fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).unwrap() + "\n"
}

/// `old` and `new` give `expected.txt`, in colour `expected.ansi`, and `expected.json`. `UPSWAP_BLESS=1` writes them, to be read
/// before they are committed.
#[test]
fn each_gives_what_its_folder_says() {
    for folder in folders() {
        for (name, option) in
            [("expected.txt", "--color=never"), ("expected.ansi", "--color=always"), ("expected.json", "--json")]
        {
            let ran = unit_diff().current_dir(&folder).args([option, "old", "new"]).assert();
            let mut given = stdout(&ran);
            if option == "--json" {
                let parsed: Value = serde_json::from_str(&given).unwrap();
                for note in parsed["notes"].as_array().unwrap() {
                    let line = format!("unit-diff: {}", note["text"].as_str().unwrap());
                    assert!(stderr(&ran).lines().any(|said| said == line), "{}: {line}", folder.display());
                }
                given = pretty(&parsed);
            }
            let expected = folder.join(name);
            if blessing() {
                fs::write(&expected, &given).unwrap();
            }
            assert_eq!(given, fs::read_to_string(&expected).unwrap(), "{}", expected.display());
            let same = fs::read(folder.join("expected.txt")).unwrap().is_empty();
            ran.code(i32::from(!same));
        }
    }
}

fn expected(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap()
}

/// The folders in which `compare` does not find the changes that are expected.
fn failing(compare: impl for<'a> Fn(&Reading<'a>, &Reading<'a>) -> Vec<Change<'a>>) -> usize {
    let file = |path: PathBuf| File::parse(fs::read(path).unwrap()).unwrap();
    let fails = |folder: &PathBuf| {
        let (old, new) = (file(folder.join("old")), file(folder.join("new")));
        let changes = compare(&Reading::of([&old]), &Reading::of([&new]));
        serde_json::to_value(changes).unwrap() != expected(folder)["changes"]
    };
    folders().iter().filter(|folder| fails(folder)).count()
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (_, kind) in keys::table() {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// Each way in which a comparison can be blind to one kind of key, or to one class or effect, is caught by some folder.
#[test]
fn a_comparison_that_is_blind_to_something_is_caught() {
    assert_eq!(failing(diff::compare), 0);
    let without = |blind: &dyn Fn(&Change) -> bool| {
        failing(|old, new| diff::compare(old, new).into_iter().filter(|change| !blind(change)).collect())
    };
    assert!(kinds().len() >= 12);
    for kind in kinds() {
        assert!(without(&|change| keys::kind(change.key) == kind) > 0, "no folder has a change of {kind:?}");
    }
    for class in [Class::Adds, Class::Changes, Class::Loses] {
        assert!(without(&|change| change.class == class) > 0, "{class:?}");
    }
    for effect in [Effect::Hardens, Effect::Weakens] {
        for class in [Class::Adds, Class::Changes, Class::Loses] {
            let deaf = |change: &mut Change| {
                change.effect = change.effect.filter(|told| *told != effect || change.class != class);
            };
            let caught = failing(|old, new| {
                let mut changes = diff::compare(old, new);
                changes.iter_mut().for_each(deaf);
                changes
            });
            assert!(caught > 0, "{class:?} {effect:?}");
        }
    }
    for section in ["Unit", "Service", "Socket", "Timer", "Path", "Slice", "Install", "X-Rune"] {
        assert!(without(&|change| change.section == section) > 0, "{section}");
    }
    for part in ["prefix", "program", "order"] {
        assert!(without(&|change| change.part.as_deref() == Some(part)) > 0, "{part}");
    }
}

/// What needs no host is noted in some folder; the others are told of by `notes.rs` and the system tests.
#[test]
fn every_note_about_the_units_alone_has_a_folder() {
    let noted: Vec<Value> =
        folders().iter().flat_map(|folder| expected(folder)["notes"].as_array().unwrap().clone()).collect();
    for about in About::ALL {
        let there = noted.iter().any(|note| note["about"] == serde_json::to_value(about).unwrap());
        assert_eq!(there, matches!(about, About::User | About::Data), "{about:?}");
    }
}
