//! Files and variables that more than one page tells of.

use super::Entry;

pub const STORE: Entry = (
    "/var/cache/upswap/store/SHA256/NAME",
    "The store: verified files, each in a folder named after its digest. May be deleted at any time.",
);
pub const STATE: Entry =
    ("/var/lib/upswap/NAME/state.json", "What is known of NAME: its generations, its units, and an open trial.");
pub const LOCKS: Entry = ("/run/upswap/NAME.lock", "The lock of NAME.");
pub const BACKUPS: Entry = (
    ".FILE.upswap-GENERATION",
    "Beside each managed file: hard links to its earlier files, named after the generation that each came in with.",
);
pub const BAK: Entry = (
    ".FILE.bak",
    "Beside each managed file: one more hard link, to the file of the last proven generation before this one. While none was proven: to the file that was replaced last.",
);
pub const STAGED: Entry = (".FILE.upswap-new", "Beside a managed file: the next one, while it waits for its rename.");
pub const KEPT: Entry = (
    ".FILE.upswap-kept-TIME",
    "Beside a managed file: what somebody else had put there, kept when its name was needed. Yours to look at and remove.",
);

pub const STATE_DIR: Entry = (
    "UPSWAP_STATE_DIR",
    "The state folder, instead of /var/lib/upswap. When it is not set, the folder called upswap of systemd's STATE_DIRECTORY is used.",
);
pub const CACHE_DIR: Entry = (
    "UPSWAP_CACHE_DIR",
    "The cache folder, instead of /var/cache/upswap. When it is not set, the folder called upswap of systemd's CACHE_DIRECTORY is used.",
);
pub const GUARDED: Entry = (
    "UPSWAP_NAME, UPSWAP_LOCK_FD",
    "Set by rollback --guard for its COMMAND: the NAME whose trial this call joins, and the descriptor of its lock. See upswap(7).",
);
pub const COLOUR: Entry = ("NO_COLOR", "When it is set and not empty, nothing is coloured.");
