//! A crate of the registry that cargo knows, built here: its programs are the assets.
//!
//! cargo itself says which version is meant, fetches and proves the sources, and builds them as their published `Cargo.lock` has
//! it. What it built stays in a folder of the crate's version, where cargo finds it again the next time.

use std::env;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::unistd::geteuid;
use serde_json::Value;

use super::{Asset, Place, Release, SourceError};
use crate::sys::builder::{self, Built, Unbuilt};
use crate::sys::net::{Net, Policy};
use crate::sys::say::Say;
use crate::sys::{durable, intake};
use crate::words::exit::{Coded, Exit};
use crate::words::release::{Channel, Selector, Tag};
use crate::words::target::Target;

/// The longest name of a crate, in bytes.
const NAME_MAX: usize = 64;
/// How many of cargo's last lines are shown of a failed build.
const SHOWN: usize = 12;

/// A crate, and which of its versions is wanted.
#[derive(Clone, Debug)]
pub struct Cargo {
    name: String,
    selector: Selector,
}

/// Why cargo built nothing.
#[derive(Debug, thiserror::Error)]
pub enum CargoError {
    /// There is no cargo.
    #[error("{spelling}: cargo is not there to build it: not in PATH, and CARGO names none; install Rust")]
    Missing {
        /// The source.
        spelling: String,
    },
    /// A policy says which hosts may be asked.
    #[error(
        "{spelling}: cargo asks whom it likes, and the policy has HOSTS; build it where no policy binds, and take it from there"
    )]
    Hosts {
        /// The source.
        spelling: String,
    },
    /// It has no programs.
    #[error("{spelling}: the crate has no programs, it is a library")]
    NoPrograms {
        /// The source.
        spelling: String,
    },
    /// The registry can't be reached.
    #[error("{spelling}: cargo can't reach its registry: {why}; try again later")]
    Unreachable {
        /// The source.
        spelling: String,
        /// What cargo said.
        why: String,
    },
    /// Another fetch builds the same.
    #[error("{spelling}: another fetch is building it; try again later")]
    Busy {
        /// The source.
        spelling: String,
    },
    /// It took too long.
    #[error("{spelling}: not built within {}; see --timeout", humantime::format_duration(*time))]
    Deadline {
        /// The source.
        spelling: String,
        /// How long it was given.
        time: Duration,
    },
    /// This process was asked to end.
    #[error("{spelling}: ended by a signal; cargo was ended too")]
    Ended {
        /// The source.
        spelling: String,
    },
    /// The lock file that upstream published is not that of the crate.
    #[error(
        "{spelling}: the Cargo.lock that was published with it does not fit it, and without one nobody could say what is built; \
         tell its author, or name another version"
    )]
    Lock {
        /// The source.
        spelling: String,
    },
    /// The machine that is built for is not known to this Rust.
    #[error("{spelling}: this Rust can't build for {target}; add it, with rustup: 'rustup target add {target}'")]
    Target {
        /// The source.
        spelling: String,
        /// The target triple.
        target: String,
    },
    /// cargo failed for a reason of its own.
    #[error("{spelling}: cargo failed: {why}")]
    Failed {
        /// The source.
        spelling: String,
        /// Its last lines, joined.
        why: String,
    },
    /// What it left is not what it should have.
    #[error("{path}: cargo left no record of what it installed: {why}", path = .path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A folder or cargo itself could not be used.
    #[error("{path}: {why}", path = .path.display())]
    Io {
        /// The folder, or cargo.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl Coded for CargoError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoPrograms { .. } | Self::Hosts { .. } => Exit::No,
            Self::Unreachable { .. } | Self::Busy { .. } | Self::Deadline { .. } => Exit::NotNow,
            _ => Exit::CouldNot,
        }
    }
}

impl Cargo {
    /// Reads `CRATE[@VERSION]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, selector) = super::split_selector(text)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.len() > NAME_MAX || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
            return Err("cargo:CRATE or cargo:CRATE@VERSION is the form; a VERSION is latest, 1, 1.2 or 1.2.3".into());
        }
        if let Selector::Exact(version) = &selector
            && semver::Version::parse(version.trim_start_matches('v')).is_err()
        {
            return Err(format!("'{version}' is no version of a crate; 1.2.3 is one, and 1 or 1.2 its newest so far"));
        }
        Ok(Self { name: name.to_owned(), selector })
    }

    /// Where what is built of it is kept.
    pub fn folder(&self) -> Vec<String> {
        vec!["crates".to_owned(), self.name.clone()]
    }

    /// The version that is wanted, as cargo resolves it; nothing is built yet.
    pub fn release(&self, spelling: &str, channel: Channel, net: &Net, say: &Say) -> Result<Release, SourceError> {
        if net.policy().hosts.is_some() {
            return Err(CargoError::Hosts { spelling: spelling.to_owned() }.into());
        }
        let version = match &self.selector {
            Selector::Exact(version) => version.trim_start_matches('v').to_owned(),
            _ if channel == Channel::WithPre => {
                let why = "cargo picks no pre-releases by itself; name the version".to_owned();
                return Err(SourceError::Spelling { spelling: spelling.to_owned(), why });
            }
            selector => self.newest(spelling, selector, net, say)?,
        };
        Ok(Release { tag: Some(Tag::new(version)), ..Release::default() })
    }

    /// The newest version that `selector` admits, by `cargo info`.
    fn newest(&self, spelling: &str, selector: &Selector, net: &Net, say: &Say) -> Result<String, SourceError> {
        let spec = match selector {
            Selector::Prefix(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                format!("{}@{}", self.name, numbers.join("."))
            }
            _ => self.name.clone(),
        };
        let job = Job { spelling, policy: net.policy(), until: net.deadline(), cross: None };
        let built = job.run(&["info", "--quiet", "--color=never", "--registry=crates-io", &spec], &[], say)?;
        if !built.status.success() {
            return Err(job.failure(&built));
        }
        let text = String::from_utf8_lossy(&built.stdout).into_owned();
        let version = text.lines().find_map(|line| line.strip_prefix("version: ")?.split(' ').next());
        // What cargo prints becomes part of a command line and of a path.
        let version = version.and_then(|version| semver::Version::parse(version).ok());
        version.map(|version| version.to_string()).ok_or_else(|| {
            let why = "'cargo info' names no version".to_owned();
            CargoError::Failed { spelling: spelling.to_owned(), why }.into()
        })
    }

    /// Builds the version of `tag` in a folder below `folder` and gives its programs.
    pub fn build(
        &self,
        spelling: &str,
        folder: &Path,
        tag: Option<&Tag>,
        cross: Option<&Target>,
        net: &Net,
        say: &Say,
    ) -> Result<Vec<Asset>, SourceError> {
        let version = tag.map(Tag::as_str).unwrap_or_default();
        let place = match cross {
            Some(target) => format!(".build-{version}-{}", super::plain(target.triple())),
            None => format!(".build-{version}"),
        };
        let root = folder.join(place);
        let at = |why| CargoError::Io { path: root.clone(), why };
        durable::make_dirs(&root, 0o755).map_err(at)?;
        let lock = File::create(root.join(".lock")).map_err(at)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CargoError::Busy { spelling: spelling.to_owned() }.into()),
            Err(TryLockError::Error(why)) => return Err(at(why).into()),
        }
        let job = Job { spelling, policy: net.policy(), until: net.deadline(), cross };
        let work = root.join("target");
        let exact = format!("--version=={version}");
        let root_of = OsString::from_iter(["--root=".as_ref(), root.as_os_str()]);
        let mut arguments: Vec<OsString> = vec!["install".into(), "--locked".into(), "--color=never".into()];
        arguments.extend([root_of, exact.into(), "--registry=crates-io".into()]);
        if let Some(target) = cross {
            arguments.push(format!("--target={}", target.triple()).into());
        }
        arguments.push(self.name.clone().into());
        let who = if geteuid().is_root() {
            "as root, and those of all it depends on; better build it as another user (--into) and verify it as root"
        } else {
            "as you"
        };
        say.note(format_args!("{spelling}: cargo builds {} {version}; its build scripts run {who}", self.name));
        let built = job.run(&arguments, &[("CARGO_TARGET_DIR", Some(work.clone().into()))], say);
        // Some hundred megabytes that only the build needed.
        let _ = fs::remove_dir_all(&work);
        let built = built?;
        if built.lines.iter().any(|line| line.starts_with("warning: no Cargo.lock file published")) {
            say.note(format_args!(
                "{spelling}: no Cargo.lock was published with it: what it depends on was chosen now"
            ));
        }
        if !built.status.success() {
            return Err(job.failure(&built));
        }
        self.programs(&root, version)
    }

    /// What cargo's record says of the programs in `root`.
    fn programs(&self, root: &Path, version: &str) -> Result<Vec<Asset>, SourceError> {
        let record = root.join(".crates2.json");
        let wrong = |why: String| CargoError::Record { path: record.clone(), why };
        let text = intake::read_small(&record).map_err(|e| wrong(e.to_string()))?;
        let text: Value = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        let installs = text.get("installs").and_then(Value::as_object);
        let key = format!("{} {version} ", self.name);
        let install = installs.and_then(|all| all.iter().find(|(name, _)| name.starts_with(&key)));
        let install = install.ok_or_else(|| wrong(format!("{} is not in it", key.trim_end())))?;
        let names = install.1.get("bins").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let program = |name: &str| Asset {
            name: name.to_owned(),
            size: None,
            digest: None,
            ready: true,
            place: Place::File(root.join("bin").join(name)),
        };
        Ok(names.filter(|name| !name.contains('/')).map(program).collect())
    }
}

/// One run of cargo, and what its failure means.
struct Job<'j> {
    spelling: &'j str,
    policy: &'j Policy,
    until: Instant,
    cross: Option<&'j Target>,
}

impl Job<'_> {
    fn run<S: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: &[S],
        more: &[(&str, Option<OsString>)],
        say: &Say,
    ) -> Result<Built, SourceError> {
        let spelling = || self.spelling.to_owned();
        let cargo =
            builder::find(env::var_os("CARGO"), "cargo").ok_or_else(|| CargoError::Missing { spelling: spelling() })?;
        let mut environment = vec![
            // They would put the programs elsewhere, or build them for another machine.
            ("CARGO_INSTALL_ROOT", None),
            ("CARGO_BUILD_TARGET", None),
            ("CARGO_TARGET_DIR", None),
            ("CARGO_TERM_PROGRESS_WHEN", Some("never".into())),
            ("CARGO_TERM_VERBOSE", None),
            ("CARGO_TERM_QUIET", None),
            ("CARGO_NET_RETRY", Some(self.policy.retries.to_string().into())),
        ];
        if let Some(cacert) = &self.policy.cacert {
            let whole = std::path::absolute(cacert).map_err(|why| CargoError::Io { path: cacert.clone(), why })?;
            environment.push(("CARGO_HTTP_CAINFO", Some(whole.into())));
        }
        environment.extend(more.iter().cloned());
        let built = builder::run(cargo.as_os_str(), arguments, &environment, self.until, say);
        built.map_err(|why| {
            match why {
                Unbuilt::Deadline => CargoError::Deadline { spelling: spelling(), time: self.policy.total },
                Unbuilt::Ended => CargoError::Ended { spelling: spelling() },
                Unbuilt::Io(e) if e.kind() == io::ErrorKind::NotFound => CargoError::Missing { spelling: spelling() },
                Unbuilt::Io(why) => CargoError::Io { path: cargo.clone(), why },
            }
            .into()
        })
    }

    /// What cargo's words mean; its exit status is 101 whatever happened.
    fn failure(&self, built: &Built) -> SourceError {
        let spelling = self.spelling.to_owned();
        let says = |words: &[&str]| built.lines.iter().any(|line| words.iter().any(|word| line.contains(word)));
        let last = |count: usize| {
            let telling = built.lines.iter().filter(|line| !line.trim().is_empty() && !is_progress(line));
            let telling: Vec<&str> = telling.map(|line| line.trim()).collect();
            telling.get(telling.len().saturating_sub(count)..).unwrap_or_default().join(" | ")
        };
        if says(&["error: could not find `"]) {
            let what = "cargo's registry has no such crate or version".to_owned();
            return SourceError::NoRelease { spelling, what };
        }
        if says(&["because it has no binaries"]) {
            return CargoError::NoPrograms { spelling }.into();
        }
        if let Some(target) =
            self.cross.filter(|_| says(&["target may not be installed", "could not find specification for target"]))
        {
            return CargoError::Target { spelling, target: target.triple().to_owned() }.into();
        }
        if says(&["but --locked was passed", "cannot update the lock file", "failed to parse lock file"]) {
            return CargoError::Lock { spelling }.into();
        }
        // A compiler's errors come before the network's words, which a build script may say too.
        let compiles = says(&["error: could not compile", "error: failed to compile"]) && says(&["   Compiling "]);
        if !compiles
            && says(&[
                "failed to download",
                "spurious network error",
                "Could not resolve host",
                "download of ",
                "--offline",
            ])
        {
            return CargoError::Unreachable { spelling, why: last(1) }.into();
        }
        let why = match last(SHOWN) {
            why if why.is_empty() => format!("{}", built.status),
            why => why,
        };
        CargoError::Failed { spelling, why }.into()
    }
}

/// Lines such as `   Compiling libc v0.2.1`, which say nothing of a failure.
fn is_progress(line: &str) -> bool {
    let word = line.trim_start().split(' ').next().unwrap_or_default();
    let known = ["Compiling", "Downloaded", "Downloading", "Updating", "Installing", "Locking", "Adding", "Finished"];
    line.starts_with(' ') && known.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_s_name_and_version_are_plain() {
        for good in ["x", "tenement-cli@0.2.1", "x_y@v1.2.3", "x@1", "x@1.2", "x@latest", "x@1.0.0-rc.1"] {
            assert!(Cargo::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "--git", "x@", "x@nightly", "x@1.2.3.4", "x y", "x/y", "1x", "x@^1", "é", &"x".repeat(65)]
        {
            assert!(Cargo::parse(bad).is_err(), "{bad}");
        }
    }
}
