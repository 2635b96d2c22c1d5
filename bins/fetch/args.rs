//! The command line of fetch.

// The doc comments are help texts, which are no markdown; the bools are flags.
#![allow(clippy::doc_markdown)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use upswap::report::Common;
use upswap::words::duration::Span;
use upswap::words::pattern::Pattern;
use upswap::words::release::Version;
use upswap::words::size::Size;
use upswap::words::target::Target;

/// Each works as printed.
pub const EXAMPLES: &str = "\
Examples:
  The newest release's asset for this host, below the cache:
    fetch gh:runestack/rune
  One asset of one release with its checksum list, to a folder:
    fetch --asset 'rune_linux_{goarch}.tar.gz' --sums checksums.txt \\
      --into /tmp/new gh:runestack/rune@v2.0.0
  Only if there is something newer (exit 1 when there is not):
    fetch --newer-than v1.0.0 gh:runestack/rune@v2
  An address with a version:
    fetch 'https://dl.example.com/{tag}/rune_{os}_{goarch}.tar.gz@v2.0.0'
  The newest of the versions that an index beside it lists:
    fetch --index versions.txt 'https://dl.example.com/{tag}/rune.tar.gz'
  A mirror for hosts without a network: what fetch left, copied:
    fetch /mnt/mirror/github.com/runestack/rune@v2
  A file of an artifact in a container registry, with a list for verify:
    fetch --asset runed --sums SHA256SUMS oci://registry.example.com/rune@v2
  A file out of an image, for another machine:
    fetch --asset /usr/local/bin/runed --target aarch64-unknown-linux-gnu \\
      oci://registry.example.com/rune:v2.0.0
  The programs of a crate, built here:
    fetch --sums SHA256SUMS cargo:tenement-cli@0.2.1
  What a repository has:
    fetch --list --pre gh:runestack/rune";

/// Fetch a release's assets to a folder and print their paths
///
/// SOURCE is gh:OWNER/REPO[@SELECTOR] (GITHUB_API_URL for GitHub Enterprise; GITHUB_TOKEN or GH_TOKEN), a container registry's
/// oci://HOST/REPO[@SELECTOR], oci://HOST/REPO:TAG or oci://HOST/REPO@sha256:DIGEST, cargo:CRATE[@VERSION], an https:// address
/// with placeholders and @VERSION behind it (with --index also @SELECTOR), a folder DIR[@SELECTOR] that holds releases as
/// DIR/VERSION/ or as fetch left them, or a file; file:///PATH is a path.
///
/// A SELECTOR is latest (the default), a prefix such as v1 or v1.2, or a tag. latest and prefixes pick the highest version, and
/// pre-releases only with --pre; of a GitHub repository, latest without --pre is what GitHub marks so. The order is semver's.
/// v1.2.3-20241213-152430-a1b2c3d4 is a build of v1.2.3, not a pre-release: builds stand below the version's own tag, the newest
/// first, and v1.2.3 picks the newest where there is no such tag. Times (20241213-152430) come below versions, other names last.
///
/// Without a token GitHub's API answers 60 times an hour. It is not asked for latest or a tag when --asset names each asset
/// without *; digests and dates are then not known.
///
/// In a registry the tags are the versions. An artifact's assets are its layers with a title; a file of an image is named by
/// its path, as in --asset /usr/bin/NAME. A crate is built by cargo, as its Cargo.lock has it, and its build scripts run as
/// you; its assets are its programs, all of them without --asset. Both can bring no list of digests: there --sums SHA256SUMS is
/// written from the manifest or from what was built, which proves integrity and not who made it.
///
/// Nothing is printed, and no file has its name, before everything is whole and on disk. Exit 1: no such release, no asset
/// for this host or several, nothing newer. Exit 75: still being published, rate limit, network down; try again later.
#[derive(Parser, Debug)]
#[command(
    name = "fetch",
    version = upswap::report::VERSION,
    after_help = EXAMPLES,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub struct Args {
    /// Where from, and which release
    #[arg(value_name = "SOURCE")]
    pub source: OsString,
    /// Fetch the one asset of this name; * and {version} {tag} {os} {arch} {goarch} {target} {libc} may stand in it; repeatable [default: the one that fits]
    #[arg(long = "asset", value_name = "PATTERN")]
    pub assets: Vec<Pattern>,
    /// Fetch this checksum list too, a PATTERN as for --asset, and leave it beside the assets; repeatable
    #[arg(long, value_name = "NAME")]
    pub sums: Vec<Pattern>,
    /// Fetch this signature too, likewise; {asset} stands for the name of each asset
    #[arg(long, value_name = "NAME")]
    pub sig: Vec<Pattern>,
    /// Folder for the files [default: one for the release, below the cache]
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// Machine to fetch for, such as aarch64-unknown-linux-musl [default: this one]
    #[arg(long, value_name = "TRIPLE")]
    pub target: Option<Target>,
    /// Let latest and prefixes pick pre-releases
    #[arg(long)]
    pub pre: bool,
    /// Print the releases that SOURCE has, the highest version first, and fetch nothing: a table on a terminal, else a tag a
    /// line, - for none
    #[arg(long, conflicts_with_all = ["assets", "sums", "sig", "into", "max_size"])]
    pub list: bool,
    /// With --list: a line a release, of tag, time, bytes of the asset that fits, pre or final, and notes' address, with TABs between; - is unknown
    #[arg(short, long, requires = "list")]
    pub long: bool,
    /// What tells the versions behind an https:// SOURCE, an address or a name beside its part without version: a text with a version a line, a checksum list, or JSON (strings, or objects with tag_name or version)
    #[arg(long, value_name = "URL")]
    pub index: Option<String>,
    /// Answer 1 unless the release is newer than this version; with --list, print what is
    #[arg(long, value_name = "VERSION")]
    pub newer_than: Option<Version>,
    /// Print NUL instead of newline behind each path
    #[arg(short = '0', long = "null")]
    pub null: bool,
    /// Send this header to SOURCE's own host, or with @FILE each line of FILE, which keeps secrets off the command line
    #[arg(long = "header", value_name = "NAME: VALUE", help_heading = "Network options")]
    pub headers: Vec<String>,
    /// Ask no other hosts than the HOSTS of this policy, see upswap.policy(5)
    #[arg(long, value_name = "FILE", help_heading = "Network options")]
    pub policy: Option<PathBuf>,
    /// Trust the CA certificates in this PEM file instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Network options")]
    pub cacert: Option<PathBuf>,
    /// Allow http:// addresses, and ask an oci:// registry by http; a redirect from https to http is refused all the same
    #[arg(long, help_heading = "Network options")]
    pub allow_http: bool,
    /// Most bytes of one file; K, M, G or T may follow
    #[arg(long, value_name = "SIZE", default_value = "2G", help_heading = "Network options")]
    pub max_size: Size,
    /// Time for everything; a server that is silent for 30 s, or sends less than 1 KiB a second, is given up before
    #[arg(long, value_name = "TIME", default_value = "30min", help_heading = "Network options")]
    pub timeout: Span,
    /// How often a request that met a busy server or a broken connection is tried again, going on where it broke; waits no more than a minute in all
    #[arg(long, value_name = "NUMBER", default_value_t = 3, help_heading = "Network options")]
    pub retry: u32,
    #[command(flatten)]
    pub common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
