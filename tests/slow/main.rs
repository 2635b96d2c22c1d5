//! What needs the internet and minutes: crates from the real registry, built by the real cargo. Only `make slow` runs it.

use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;

fn tool(tool: &str, root: &Path) -> Command {
    let tool = Path::new(env!("CARGO_BIN_EXE_fetch")).with_file_name(tool);
    let mut command = Command::new(tool);
    // Not UPSWAP_ROOT: the loader that verify looks for is this host's.
    command.env_remove("UPSWAP_ROOT").env("UPSWAP_CACHE_DIR", root.join("cache")).current_dir(root);
    command
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

/// Fetches a crate and proves that its one program runs here and says `version`.
fn builds(source: &str, program: &str, version: &str) {
    let root = tempfile::tempdir().unwrap();
    let fetched = succeed(tool("fetch", root.path()).args(["--sums", "SHA256SUMS", source]));
    let path = String::from_utf8(fetched.stdout).unwrap();
    let path = Path::new(path.trim_end());
    assert_eq!(path.file_name(), Some(program.as_ref()));
    let record = fs::read_to_string(path.with_file_name(format!("{program}.origin.json"))).unwrap();
    assert!(record.contains(&format!("\"version\": \"{version}\"")), "{record}");
    // As whoever may read a temporary folder: nobody, for root.
    let store = succeed(tool("verify", root.path()).args(["--sums", "SHA256SUMS"]).arg(path));
    let stored = String::from_utf8(store.stdout).unwrap();
    let said = succeed(Command::new(stored.trim_end()).arg("--version"));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(version), "{said}");
}

#[test]
fn a_small_crate_is_built() {
    builds("cargo:hello-cli@0.2", "hello", "0.2.2");
}

#[test]
fn tenement_is_built() {
    builds("cargo:tenement-cli@0.2.1", "ten", "0.2.1");
}
