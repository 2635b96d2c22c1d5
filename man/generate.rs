//! Writes the man pages of the tools into `man/`; with `--check` only says which are stale (exit status 1).

use std::path::Path;
use std::process::ExitCode;

use fs_err as fs;

mod pages;

fn main() -> std::io::Result<ExitCode> {
    let check = std::env::args().nth(1).is_some_and(|argument| argument == "--check");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut stale = Vec::new();
    for page in pages::PAGES {
        let (path, text) = (folder.join(page.file()), page.render());
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        if check {
            stale.push(page.file());
        } else {
            fs::write(&path, text)?;
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(std::io::Error::other(format!("stale: {}; run 'make man' and commit them", stale.join(" "))))
}
