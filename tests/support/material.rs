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

/// Whether the long form of the sweeps is asked for (`make crash`).
#[allow(dead_code)] // The demo and the cli tests sweep nothing.
pub fn full_sweep() -> bool {
    std::env::var_os("UPSWAP_SWEEP").is_some_and(|form| form == "full")
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

/// One of the programs of `tests/material` or of `tests/crash/tools`, built when it is not fresh.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(project()).args(["build", "--quiet", "--bins"]);
        cargo.args(["--package", "upswap-material", "--package", "upswap-crash"]);
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

/// The shelf of `runestack/rune`: `OWNER/REPO/TAG/…` folders, `minisign.pub`.
pub fn releases() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| shelf("releases", &[program("runed"), program("rune")], &RELEASES)).clone()
}

/// A shelf of `runestack/rune` whose releases differ in their units: 1, 2 and 3 are good, 4 crashes, 5 is good.
#[allow(dead_code)] // Only the system tests refresh units.
pub fn releases_of_units() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let tags = ["v1.0.0", "v2.0.0", "v3.0.0", "v4.0.0=crash-after", "v5.0.0"];
    MADE.get_or_init(|| shelf("releases-of-units", &[program("runed"), program("rune")], &tags)).clone()
}

/// The shelf of `syncthing/syncthing`: Debian's two versions as releases, `v1.19.2-ds1` and `v1.29.5` say, with their tags in this order.
pub fn syncthing_releases() -> (PathBuf, [String; 2]) {
    static MADE: OnceLock<(PathBuf, [String; 2])> = OnceLock::new();
    let make = || {
        let programs = ["bookworm", "trixie"].map(|suite| syncthing().join(suite).join("syncthing"));
        let tags =
            programs.each_ref().map(|p| fs::read_to_string(p.with_file_name("version")).unwrap().trim().to_owned());
        let asset = format!("syncthing-linux-{}.tar.gz", goarch());
        let releases: Vec<String> = tags.iter().zip(&programs).map(|(t, p)| format!("{t}={}", p.display())).collect();
        let arguments = ["--repo", "syncthing/syncthing", "--asset", &asset, &releases[0], &releases[1]];
        (shelf("syncthing-releases", &programs, &arguments), tags)
    };
    MADE.get_or_init(make).clone()
}

/// A shelf that `make-releases` makes of `programs`; made anew when they or the arguments changed.
fn shelf(name: &str, programs: &[PathBuf], arguments: &[&str]) -> PathBuf {
    let maker = program("make-releases");
    let shelf = cache().join(name);
    let changed = |program: &PathBuf| fs::metadata(program).unwrap().modified().unwrap();
    let wanted = format!("{arguments:?} {:?} {:?}", changed(&maker), programs.iter().map(changed).collect::<Vec<_>>());
    // Several test binaries may come here at once: one lock for all.
    let lock = fs::File::create(cache().join("lock")).unwrap();
    lock.file().lock().unwrap();
    let stamp = cache().join(format!("{name}.stamp"));
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return shelf;
    }
    let _ = fs::remove_dir_all(&shelf);
    let status = Command::new(&maker).arg("--dir").arg(&shelf).args(arguments).status().unwrap();
    assert!(status.success(), "the releases could not be made");
    fs::write(&stamp, wanted).unwrap();
    shelf
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
