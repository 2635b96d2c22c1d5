//! `make-releases`: puts releases on a shelf that `release-server` serves and that `fetch DIR/OWNER/REPO` reads.
#![allow(clippy::print_stderr)] // A command line program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use upswap_material::marker::Fault;
use upswap_material::releases::{Notes, Programs, REPO, Shelf, archive};

const USAGE: &str = "\
Usage: make-releases --dir DIR TAG[=FAULT][,prerelease][,draft]...
           releases of runestack/rune, of the runed and rune beside this program
       make-releases --dir DIR --repo OWNER/REPO --asset NAME.tar.gz TAG=PATH...
           releases of any executable: an archive with the file PATH under its own name";

fn main() -> ExitCode {
    match make(env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("make-releases: {e}");
            ExitCode::FAILURE
        }
    }
}

fn make(mut words: impl Iterator<Item = String>) -> io::Result<()> {
    let (mut dir, mut repo, mut asset, mut releases) = (None, REPO.to_owned(), None, Vec::new());
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| io::Error::other(format!("{word} needs a value\n{USAGE}")));
        match word.as_str() {
            "--dir" => dir = Some(PathBuf::from(value()?)),
            "--repo" => repo = value()?,
            "--asset" => asset = Some(value()?),
            option if option.starts_with('-') => return Err(io::Error::other(USAGE)),
            _ => releases.push(word),
        }
    }
    let (Some(dir), false) = (dir, releases.is_empty()) else { return Err(io::Error::other(USAGE)) };
    let shelf = Shelf::open(&dir, &repo)?;
    if let Some(asset) = asset {
        for release in releases {
            let (tag, path) = release.split_once('=').ok_or_else(|| io::Error::other(USAGE))?;
            add_executable(&shelf, tag, &asset, Path::new(path))?;
        }
        return Ok(());
    }
    let beside = env::current_exe()?;
    let programs = Programs::compiled_in(beside.parent().unwrap_or(Path::new(".")))?;
    for release in releases {
        let mut words = release.split(',');
        let first = words.next().unwrap_or_default();
        let (tag, fault) = first.split_once('=').unwrap_or((first, "none"));
        let fault: Fault = fault.parse().map_err(io::Error::other)?;
        let mut notes = Notes::default();
        for word in words {
            match word {
                "prerelease" => notes.prerelease = true,
                "draft" => notes.draft = true,
                other => return Err(io::Error::other(format!("'{other}' is neither prerelease nor draft"))),
            }
        }
        shelf.add_rune(&programs, tag, fault, notes)?;
    }
    Ok(())
}

fn add_executable(shelf: &Shelf, tag: &str, asset: &str, path: &Path) -> io::Result<()> {
    let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| io::Error::other("PATH has no plain name"))?;
    let content = fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    shelf.add(tag, &[(asset.to_owned(), archive(&[(name, &content)])?)], Notes::default())
}
