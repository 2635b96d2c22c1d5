//! The time of day, for records that people read. Deadlines use `Instant`, which no clock change moves.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `time` (seconds since 1970-01-01 UTC) as RFC 3339 writes it, which ends with the year 9999.
#[must_use]
pub fn rfc3339(time: u64) -> String {
    let time = UNIX_EPOCH + std::time::Duration::from_secs(time.min(253_402_300_799));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_time_of_a_damaged_record_is_too_late() {
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
