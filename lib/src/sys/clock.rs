//! The time of day, for records that people read. Deadlines use `Instant`, which no clock change moves.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `time` (seconds since 1970-01-01 UTC) as RFC 3339 writes it.
#[must_use]
pub fn rfc3339(time: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + std::time::Duration::from_secs(time)).to_string()
}
