//! The machine that an asset is for: its names in releases, and which of a release's assets fits it.

use std::env::consts;
use std::fmt;
use std::str::FromStr;

/// A C library that binaries are linked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// The GNU C library.
    Gnu,
    /// musl.
    Musl,
}

impl Libc {
    /// `gnu` or `musl`, as target triples have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gnu => "gnu",
            Self::Musl => "musl",
        }
    }
}

/// An operating system, a machine and a C library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    triple: String,
    machine: &'static Machine,
    os: &'static str,
    libc: Libc,
}

/// A target triple that is not known here.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a known target; one such as x86_64-unknown-linux-gnu or aarch64-unknown-linux-musl is")]
pub struct NotATarget(String);

/// One kind of machine and how it is called.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    /// As `uname -m` prints it.
    name: &'static str,
    /// The first part of a target triple, most usual first.
    triples: &'static [&'static str],
    /// As Go calls it (GOARCH).
    goarch: &'static str,
    /// What stands in asset names, beside the names above.
    words: &'static [&'static str],
}

#[rustfmt::skip]
const MACHINES: &[Machine] = &[
    Machine { name: "x86_64", triples: &["x86_64"], goarch: "amd64", words: &["x86-64", "x64", "64bit", "linux64"] },
    Machine { name: "aarch64", triples: &["aarch64"], goarch: "arm64", words: &["armv8", "arm64v8", "linuxarm64"] },
    Machine { name: "armv7l", triples: &["armv7"], goarch: "arm", words: &["armhf", "armv7hf", "armv7a", "gnueabihf", "musleabihf"] },
    Machine { name: "armv6l", triples: &["arm", "armv6"], goarch: "arm", words: &["armel", "armv5", "armv5te", "gnueabi", "musleabi"] },
    Machine { name: "i686", triples: &["i686", "i586", "i386"], goarch: "386", words: &["x86", "32bit", "linux32", "ia32"] },
    Machine { name: "ppc64le", triples: &["powerpc64le"], goarch: "ppc64le", words: &[] },
    Machine { name: "ppc64", triples: &["powerpc64"], goarch: "ppc64", words: &[] },
    Machine { name: "s390x", triples: &["s390x"], goarch: "s390x", words: &[] },
    Machine { name: "riscv64", triples: &["riscv64gc", "riscv64"], goarch: "riscv64", words: &[] },
    Machine { name: "loongarch64", triples: &["loongarch64"], goarch: "loong64", words: &[] },
    Machine { name: "mips64", triples: &["mips64el", "mips64"], goarch: "mips64le", words: &["mips64el"] },
    Machine { name: "mips", triples: &["mipsel", "mips"], goarch: "mipsle", words: &["mipsle"] },
];

/// A machine that no release knows; only its triple speaks for it.
const UNKNOWN: Machine = Machine { name: consts::ARCH, triples: &[consts::ARCH], goarch: consts::ARCH, words: &[] };

/// What other systems than Linux are called in asset names.
const FOREIGN: &[&str] = &[
    "darwin",
    "macos",
    "osx",
    "mac",
    "apple",
    "universal",
    "universal2",
    "windows",
    "win",
    "win32",
    "win64",
    "mingw",
    "msvc",
    "freebsd",
    "openbsd",
    "netbsd",
    "dragonfly",
    "android",
    "illumos",
    "solaris",
    "sunos",
    "aix",
    "plan9",
    "wasm",
    "wasm32",
    "wasi",
    "js",
    "ios",
    "haiku",
];

/// What is not the program: sources, debug files.
const NO_PROGRAM: &[&str] =
    &["src", "source", "sources", "vendor", "vendored", "debug", "dbg", "dbgsym", "debuginfo", "symbols"];

/// The archives that verify can extract from.
const ARCHIVES: &[&str] = &[".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip"];

/// Files beside a program: evidence, packages of other tools, texts, archives that verify does not read.
#[rustfmt::skip]
const SIDE_FILES: &[&str] = &[
    ".sha256", ".sha512", ".sha1", ".sha256sum", ".sha512sum", ".sha256sums", ".md5", ".sum", ".sums", ".sig", ".asc", ".gpg",
    ".minisig", ".pem", ".crt", ".cert", ".cer", ".pub", ".sbom", ".json", ".jsonl", ".spdx", ".cdx", ".bom", ".intoto", ".sigstore",
    ".bundle", ".att", ".provenance", ".txt", ".md", ".yml", ".yaml", ".xml", ".toml", ".html", ".pdf", ".1", ".patch", ".diff",
    ".deb", ".rpm", ".apk", ".pkg", ".dmg", ".msi", ".exe", ".appimage", ".snap", ".flatpak", ".whl", ".jar", ".war", ".gem",
    ".nupkg", ".vsix", ".crx", ".xpi", ".ipk", ".zsync", ".torrent", ".blockmap", ".iso", ".img", ".qcow2", ".oci", ".so", ".a",
    ".dll", ".dylib", ".debug", ".dbg", ".pdb", ".dwp", ".sh", ".ps1", ".py", ".service", ".bz2", ".tbz", ".7z", ".lz", ".lzma",
    ".gz", ".xz", ".zst", ".tar", ".log", ".sym",
];

impl Target {
    /// The machine this program was built for. The C library is the host's, which only its files can tell.
    #[must_use]
    pub fn native(libc: Libc) -> Self {
        let arch = match consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "powerpc64le",
            "x86" => "i686",
            "riscv64" => "riscv64gc",
            "arm" if cfg!(target_feature = "v7") => "armv7",
            arch => arch,
        };
        let abi = if matches!(arch, "arm" | "armv7") { "eabihf" } else { "" };
        let machine = machine(arch).unwrap_or(&UNKNOWN);
        Self { triple: format!("{arch}-unknown-linux-{}{abi}", libc.as_str()), machine, os: "linux", libc }
    }

    /// The operating system: `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        self.os
    }

    /// The machine as `uname -m` prints it: `x86_64`, `aarch64`.
    #[must_use]
    pub fn arch(&self) -> &str {
        self.machine.name
    }

    /// The machine as Go and Debian call it: `amd64`, `arm64`.
    #[must_use]
    pub fn goarch(&self) -> &str {
        self.machine.goarch
    }

    /// The target triple: `x86_64-unknown-linux-gnu`.
    #[must_use]
    pub fn triple(&self) -> &str {
        &self.triple
    }

    /// The C library.
    #[must_use]
    pub fn libc(&self) -> Libc {
        self.libc
    }

    /// Which of `names` fits this machine.
    #[must_use]
    pub fn choose<'n>(&self, names: &[&'n str]) -> Choice<'n> {
        let fits: Vec<(&str, Fit)> = names.iter().filter_map(|name| Some((*name, self.fit(name)?))).collect();
        let Some(best) = fits.iter().map(|(_, fit)| *fit).max() else { return Choice::None };
        let mut best_names = fits.iter().filter(|(_, fit)| *fit == best).map(|(name, _)| *name);
        match (best_names.next(), best_names.next()) {
            (Some(only), None) => Choice::One { name: only, why: self.why(best, fits.len()) },
            _ => Choice::Several(fits.iter().filter(|(_, fit)| *fit == best).map(|(name, _)| *name).collect()),
        }
    }

    fn why(&self, fit: Fit, fitting: usize) -> String {
        let named = match fit.naming {
            Naming::OsAndArch => format!("it names {} and {}", self.os, self.arch()),
            Naming::Arch => format!("it names {} and no other system", self.arch()),
            Naming::Os => format!("it names {} and no machine", self.os),
        };
        match fit.libc {
            _ if fitting == 1 => format!("{named}, and is the only one that fits"),
            LibcFit::Named => format!("{named}, and {} as this host has it", self.libc.as_str()),
            LibcFit::Unsaid | LibcFit::Other => named,
        }
    }

    /// How well `name` fits; `None` when it does not.
    fn fit(&self, name: &str) -> Option<Fit> {
        let name = name.to_ascii_lowercase();
        let stem = match ARCHIVES.iter().find_map(|suffix| name.strip_suffix(suffix)) {
            Some(stem) => stem,
            None if SIDE_FILES.iter().any(|suffix| name.ends_with(suffix)) => return None,
            None => &name,
        };
        let says = |words: &[&str]| words.iter().any(|word| has_word(stem, word));
        if says(FOREIGN) || says(NO_PROGRAM) || stem.contains("sha256sum") || stem.contains("checksum") {
            return None;
        }
        // The longest name counts, for `x86` is part of `x86_64`; machines that Go calls alike share the shorter ones.
        let mine = self.machine.precision(stem);
        let this_machine = mine > 0;
        let rivals = MACHINES.iter().filter(|m| m.name != self.machine.name);
        if rivals
            .map(|m| (m.precision(stem), m.goarch))
            .any(|(rival, goarch)| rival > mine || (this_machine && rival == mine && goarch != self.goarch()))
        {
            return None;
        }
        let os = has_word(stem, "linux") || ["linux64", "linux32", "linuxarm64"].iter().any(|w| has_word(stem, w));
        let naming = match (os, this_machine) {
            (true, true) => Naming::OsAndArch,
            (false, true) => Naming::Arch,
            (true, false) => Naming::Os,
            (false, false) => return None,
        };
        let says_libc = |text: &str| stem.split(['-', '_', '.']).any(|part| part.starts_with(text));
        let libc = match (self.libc, says_libc("gnu") || says_libc("glibc"), says_libc("musl")) {
            (Libc::Gnu, true, _) | (Libc::Musl, _, true) => LibcFit::Named,
            (Libc::Musl, true, _) => return None,
            (Libc::Gnu, false, true) => LibcFit::Other,
            (_, false, false) => LibcFit::Unsaid,
        };
        Some(Fit { naming, libc })
    }
}

impl Machine {
    fn words(&self) -> impl Iterator<Item = &'static str> {
        let own = [self.name, self.goarch];
        own.into_iter().chain(self.triples.iter().copied()).chain(self.words.iter().copied())
    }

    /// The length of the longest of its names in `stem`; 0 when none stands there.
    fn precision(&self, stem: &str) -> usize {
        self.words().filter(|word| has_word(stem, word)).map(str::len).max().unwrap_or(0)
    }
}

/// True when `word` stands in `text` with no letter or digit beside it.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        ![before, after].into_iter().flatten().any(|c| c.is_ascii_alphanumeric())
    })
}

fn machine(arch: &str) -> Option<&'static Machine> {
    MACHINES.iter().find(|m| m.triples.contains(&arch))
}

impl FromStr for Target {
    type Err = NotATarget;

    /// Reads `ARCH-VENDOR-linux-LIBC` or `ARCH-linux-LIBC`; LIBC is gnu or musl, perhaps with an ABI (`gnueabihf`).
    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let parts: Vec<&str> = text.split('-').collect();
        let ([arch, _, os, env] | [arch, os, env]) = parts[..] else { return Err(NotATarget(text.to_owned())) };
        let libc = match env {
            _ if env.starts_with("gnu") => Libc::Gnu,
            _ if env.starts_with("musl") => Libc::Musl,
            _ => return Err(NotATarget(text.to_owned())),
        };
        match (machine(arch), os) {
            (Some(machine), "linux") => Ok(Self { triple: text.to_owned(), machine, os: "linux", libc }),
            _ => Err(NotATarget(text.to_owned())),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.triple)
    }
}

/// Which of a release's assets fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'n> {
    /// None does.
    None,
    /// This one does.
    One {
        /// Its name.
        name: &'n str,
        /// Why it was taken.
        why: String,
    },
    /// These fit equally well.
    Several(Vec<&'n str>),
}

/// How well a name fits; the greater, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    naming: Naming,
    libc: LibcFit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Naming {
    Os,
    Arch,
    OsAndArch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LibcFit {
    /// musl on a host of the GNU C library: such binaries are static as a rule.
    Other,
    Unsaid,
    Named,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose<'n>(triple: &str, names: &[&'n str]) -> Result<&'n str, Vec<&'n str>> {
        match triple.parse::<Target>().unwrap().choose(names) {
            Choice::One { name, .. } => Ok(name),
            Choice::None => Err(vec![]),
            Choice::Several(names) => Err(names),
        }
    }

    const AMD64: &str = "x86_64-unknown-linux-gnu";

    #[test]
    fn the_program_for_this_machine_is_found_among_many_files() {
        let names = [
            "rune_darwin_amd64.tar.gz",
            "rune_darwin_arm64.tar.gz",
            "rune_linux_386.tar.gz",
            "rune_linux_amd64.deb",
            "rune_linux_amd64.tar.gz",
            "rune_linux_amd64.tar.gz.sbom.json",
            "rune_linux_amd64.tar.gz.sha256",
            "rune_linux_arm64.tar.gz",
            "rune_linux_armv7.tar.gz",
            "rune_windows_amd64.zip",
            "checksums.txt",
            "checksums.txt.minisig",
        ];
        assert_eq!(choose(AMD64, &names), Ok("rune_linux_amd64.tar.gz"));
        assert_eq!(choose("aarch64-unknown-linux-gnu", &names), Ok("rune_linux_arm64.tar.gz"));
        assert_eq!(choose("i686-unknown-linux-gnu", &names), Ok("rune_linux_386.tar.gz"));
        assert_eq!(choose("armv7-unknown-linux-gnueabihf", &names), Ok("rune_linux_armv7.tar.gz"));
        assert_eq!(choose("s390x-unknown-linux-gnu", &names), Err(vec![]));
    }

    #[test]
    fn many_ways_to_spell_a_machine_are_known() {
        for name in [
            "tool-1.2.3-x86_64-unknown-linux-gnu.tar.xz",
            "tool_Linux_x86_64.tar.gz",
            "hugo_0.1_Linux-64bit.tar.gz",
            "jq-linux64",
            "tool-linux-x64.zip",
            "tool.linux-amd64",
            "tool-x86_64",
            "tool-v2.0-linux.tar.gz",
            "tool-linux-x86-64.tgz",
        ] {
            assert_eq!(choose(AMD64, &[name]), Ok(name));
        }
        for name in [
            "tool-x86.tar.gz",
            "tool-linux-i386.tar.gz",
            "tool-darwin-x86_64.zip",
            "tool.tar.gz",
            "tool-linux-arm64",
            "tool-linux-amd64.rpm",
            "tool-linux-amd64-debug.tar.gz",
            "tool-win64.zip",
        ] {
            assert_eq!(choose(AMD64, &[name]), Err(vec![]), "{name}");
        }
        assert_eq!(
            choose("i686-unknown-linux-gnu", &["tool-linux-x86_64.zip", "tool-linux-x86.zip"]),
            Ok("tool-linux-x86.zip")
        );
    }

    #[test]
    fn the_c_library_decides_between_two() {
        let names = ["t-x86_64-unknown-linux-gnu.tar.gz", "t-x86_64-unknown-linux-musl.tar.gz"];
        assert_eq!(choose(AMD64, &names), Ok(names[0]));
        assert_eq!(choose("x86_64-unknown-linux-musl", &names), Ok(names[1]));
        assert_eq!(choose("x86_64-unknown-linux-musl", &names[..1]), Err(vec![]));
        assert_eq!(choose(AMD64, &names[1..]), Ok(names[1]));
        assert_eq!(choose(AMD64, &["t-linux-amd64", "t-linux-amd64-musl"]), Ok("t-linux-amd64"));
    }

    #[test]
    fn two_that_fit_alike_are_both_named() {
        let names = ["t-linux-amd64.tar.gz", "t-linux-amd64.zip", "t-linux-arm64.zip"];
        assert_eq!(choose(AMD64, &names), Err(names[..2].to_vec()));
    }

    #[test]
    fn the_native_target_has_a_triple_that_is_known() {
        for libc in [Libc::Gnu, Libc::Musl] {
            let target = Target::native(libc);
            assert_eq!(target.triple().parse::<Target>().unwrap(), target);
        }
        for bad in ["", "x86_64", "x86_64-apple-darwin", "x86_64-pc-windows-msvc", "z80-unknown-linux-gnu", "a-b-c-d-e"]
        {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
