//! What this machine is, as far as its files tell.

use super::Host;
use crate::words::target::{Libc, Target};

impl Host {
    /// The target that binaries for this host are built for. musl where only musl's loader is installed.
    #[must_use]
    pub fn target(&self) -> Target {
        let has = |dir: &str, prefix: &str| {
            let entries = self.path(dir).read_dir().into_iter().flatten().flatten();
            entries.into_iter().any(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
        };
        let glibc = ["/lib", "/lib64"].iter().any(|dir| has(dir, "ld-linux")) || has("/lib64", "ld64.so");
        Target::native(if has("/lib", "ld-musl-") && !glibc { Libc::Musl } else { Libc::Gnu })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    #[test]
    fn the_loaders_tell_the_c_library() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        assert_eq!(host.target().libc(), Libc::Gnu);
        fs::create_dir(root.path().join("lib")).unwrap();
        fs::write(root.path().join("lib/ld-musl-x86_64.so.1"), "").unwrap();
        assert_eq!(host.target().libc(), Libc::Musl);
        fs::write(root.path().join("lib/ld-linux-aarch64.so.1"), "").unwrap();
        assert_eq!(host.target().libc(), Libc::Gnu);
    }
}
