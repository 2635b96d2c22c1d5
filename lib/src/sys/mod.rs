//! Every effect on the machine. A function here takes the [`Host`] it acts on, or a descriptor or path that came from one.
//!
//! Knows bytes, paths, descriptors and processes; knows no release, no generation and no verdict.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub mod attrs;
pub mod builder;
pub mod child;
pub mod clock;
pub mod confine;
pub mod credentials;
pub mod durable;
pub mod intake;
pub mod landing;
pub mod libraries;
pub mod lock;
pub mod machine;
pub mod mounts;
pub mod net;
pub mod packages;
mod part;
pub mod process;
pub mod say;
pub mod scope;
pub mod signals;
pub mod sockets;
pub mod systemd;
mod terminal;
pub mod tool;
pub mod trust;
pub mod users;

/// The machine: where its state, its locks and its tools are.
///
/// Paths that a user names (FILE, DEST) are taken as given; only the host's own places lie below its root.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    state: PathBuf,
    cache: PathBuf,
    run: PathBuf,
    user_manager: bool,
}

impl Host {
    /// This machine, as the environment describes it.
    ///
    /// Root gets `/var/lib/upswap`, `/var/cache/upswap` and `/run/upswap`; another user the folders of the XDG Base
    /// Directory Specification. `UPSWAP_STATE_DIR` and `UPSWAP_CACHE_DIR`, then an `upswap` of systemd's `$STATE_DIRECTORY`
    /// and `$CACHE_DIRECTORY`, move them. `UPSWAP_ROOT` puts everything below a folder: for tests and for disk images.
    #[must_use]
    pub fn from_env() -> Self {
        let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut host = match var("UPSWAP_ROOT") {
            Some(root) => Self::below(&root),
            None if nix::unistd::geteuid().is_root() => Self::below(Path::new("/")),
            None => {
                let home = var("HOME").unwrap_or_else(|| PathBuf::from("/nonexistent"));
                let state = var("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("upswap");
                Self {
                    root: PathBuf::from("/"),
                    cache: var("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("upswap"),
                    // Not $XDG_RUNTIME_DIR: cron, su and the user's manager don't agree whether there is one, and a chain
                    // that has its lock elsewhere than the timer would be taken back while it works.
                    run: state.join(".locks"),
                    state,
                    user_manager: false,
                }
            }
        };
        let of_systemd = |name: &str| env::var_os(name).and_then(|folders| named_for_us(&folders));
        if let Some(dir) = var("UPSWAP_STATE_DIR").or_else(|| of_systemd("STATE_DIRECTORY")) {
            host.state = dir;
        }
        if let Some(dir) = var("UPSWAP_CACHE_DIR").or_else(|| of_systemd("CACHE_DIRECTORY")) {
            host.cache = dir;
        }
        host
    }

    /// A host whose own places all lie below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            state: root.join("var/lib/upswap"),
            cache: root.join("var/cache/upswap"),
            run: root.join("run/upswap"),
            user_manager: false,
        }
    }

    /// The state folder: history, open trials. Must survive a reboot.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The same host with its state elsewhere (`--state-dir`).
    #[must_use]
    pub fn with_state(mut self, state: Option<PathBuf>) -> Self {
        if let Some(state) = state {
            self.state = state;
        }
        self
    }

    /// The cache folder: downloads and the store. May be deleted at any time.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The folder of the locks. Emptied by a reboot.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The same host with the units of the calling user's own service manager instead of the system's (`--user`).
    #[must_use]
    pub fn with_user_manager(mut self, user: bool) -> Self {
        self.user_manager = user;
        self
    }

    /// Whether units are those of the calling user's service manager.
    #[must_use]
    pub fn is_user_manager(&self) -> bool {
        self.user_manager
    }

    /// An absolute path of the host itself (`/proc/1/exe`, `/sys/fs/cgroup`) below its root.
    #[must_use]
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.root.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }
}

/// The one of `folders`, several with colons between them (systemd.exec(5), `StateDirectory=`), that is called `upswap`. A
/// service that upgrades itself has such variables too, and they name what is its own.
fn named_for_us(folders: &OsStr) -> Option<PathBuf> {
    let mut each = folders.as_bytes().split(|byte| *byte == b':').map(|path| PathBuf::from(OsStr::from_bytes(path)));
    each.find(|path| path.is_absolute() && path.file_name() == Some(OsStr::new("upswap")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_s_own_folder_is_not_taken_for_ours() {
        let named = |folders: &str| named_for_us(OsStr::new(folders));
        assert_eq!(named("/var/lib/rune:/var/lib/private/upswap"), Some("/var/lib/private/upswap".into()));
        for other in ["", "/var/lib/rune", "/var/lib/upswap/rune", "upswap", ":"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
