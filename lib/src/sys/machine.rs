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

/// The x86-64 level that this processor has (psABI, "Micro-Architecture Levels"); no other machine has levels, and gets the highest.
#[must_use]
pub fn level() -> u8 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let second = has!("sse3") && has!("ssse3") && has!("sse4.1") && has!("sse4.2") && has!("popcnt");
        let third = has!("avx") && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c") && has!("fma");
        let third = third && has!("lzcnt") && has!("movbe");
        let fourth = has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
        match (second, third, fourth) {
            (false, ..) => 1,
            (_, false, _) => 2,
            (.., false) => 3,
            _ => 4,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    u8::MAX
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
