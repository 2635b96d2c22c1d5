//! The test material, built once a run: the programs of `tests/material`, the release shelf, the image of the test hosts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fs_err as fs;

/// What is on the shelf: a tag and its fault, as `make-releases` takes them.
const RELEASES: [&str; 11] = [
    "v0.0.1-dev.44,prerelease",
    "v0.0.1-dev.45,prerelease",
    "v1.0.0",
    "v2.0.0",
    "v3.0.0=crash-after",
    "v4.0.0=exit-at-once",
    "v5.0.0=never-ready",
    "v6.0.0=wrong-version",
    "v7.0.0=needs-newer-glibc",
    "v8.0.0=other-machine",
    "v9.0.0-rc.1,prerelease",
];

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo left the tools of this run, `target/debug` say.
pub fn tools() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_swapbin")).parent().unwrap()
}

/// A folder below `target/` for what may be kept between runs.
pub fn cache() -> PathBuf {
    let dir = tools().parent().unwrap().join("material");
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// One of the programs of `tests/material`, built when it is not fresh.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(project()).args(["build", "--quiet", "--package", "upswap-material", "--bins"]);
        cargo.arg("--target-dir").arg(tools().parent().unwrap());
        if tools().ends_with("release") {
            cargo.arg("--release");
        }
        // What cargo says of the running test would make build scripts that look at it run again, now and next time.
        for (name, _) in std::env::vars_os() {
            let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
            if told.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
                cargo.env_remove(name);
            }
        }
        assert!(cargo.status().unwrap().success(), "the test material does not build: {cargo:?}");
    });
    tools().join(name)
}

/// The shelf: `OWNER/REPO/TAG/…` folders, `minisign.pub`. Made anew when its programs changed.
pub fn releases() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let maker = program("make-releases");
        let shelf = cache().join("releases");
        let stamp = shelf.join("stamp");
        let wanted =
            [&maker, &program("runed"), &program("rune")].map(|p| fs::metadata(p).unwrap().modified().unwrap());
        let wanted = format!("{RELEASES:?} {wanted:?}");
        // Several test binaries may come here at once: one lock for all.
        let lock = fs::File::create(cache().join("lock")).unwrap();
        lock.file().lock().unwrap();
        if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
            return shelf;
        }
        let _ = fs::remove_dir_all(&shelf);
        let status = Command::new(&maker).arg("--dir").arg(&shelf).args(RELEASES).status().unwrap();
        assert!(status.success(), "the releases could not be made");
        fs::write(&stamp, wanted).unwrap();
        shelf
    })
    .clone()
}

/// This machine as the names of the release assets have it.
pub fn goarch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// syncthing in two versions: `bookworm/syncthing`, `trixie/syncthing`, and `version` beside each.
pub fn syncthing() -> PathBuf {
    static FETCHED: OnceLock<PathBuf> = OnceLock::new();
    let fetch = || image_script("syncthing", &[cache().join("syncthing").to_str().unwrap()]).into();
    FETCHED.get_or_init(fetch).clone()
}

/// Runs a script of `tests/image` and gives the last line it prints: the image's name, a folder.
pub fn image_script(script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(project().join("tests/image").join(script));
    command.args(arguments).stderr(std::process::Stdio::inherit());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap_or_default().to_owned()
}
