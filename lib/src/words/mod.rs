//! The words of the trade, pure: no file, no process, no clock.

pub mod acl;
pub mod allowed_signers;
pub mod digest;
pub mod duration;
pub mod elf;
pub mod exit;
pub mod filecaps;
pub mod gpgv;
pub mod identity;
pub mod member;
pub mod minisign;
pub mod name;
pub mod named_version;
pub mod pattern;
pub mod policy;
pub mod privileges;
pub mod proof;
pub mod release;
pub mod sha512;
pub mod size;
pub mod sshsig;
pub mod statement;
pub mod sums;
pub mod target;
pub mod unit;
pub mod verdict;
