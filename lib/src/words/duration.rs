//! Lengths of time as people write them to systemd.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time, read as systemd.time(7) has it: `10s`, `500ms`, `1min 30s`, `1.5h`; a bare number is seconds.
///
/// `infinity` is refused: whoever waits here restarts a service and wants an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// The longest span that is taken: a year. Anything longer is a slip of the hand.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A text that is not a length of time.
#[derive(Debug, thiserror::Error)]
pub enum NotASpan {
    /// `infinity`.
    #[error("an end is needed: '{0}' would wait for ever; say '1h' for example")]
    Endless(String),
    /// Longer than a year.
    #[error("'{0}' is longer than a year")]
    TooLong(String),
    /// Not a number with a unit.
    #[error("'{text}' is no length of time ({reason}); '10s', '500ms', '1min 30s' or a number of seconds is")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Span {
    /// The span as the standard library has it.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let given = text.trim();
        if given == "infinity" {
            return Err(NotASpan::Endless(given.to_owned()));
        }
        let bare = !given.is_empty() && given.chars().all(|c| c.is_ascii_digit() || c == '.');
        let with_unit = if bare { format!("{given}s") } else { given.to_owned() };
        let duration = humantime::parse_duration(&with_unit)
            .map_err(|e| NotASpan::Malformed { text: text.to_owned(), reason: e.to_string() })?;
        if duration > LONGEST {
            return Err(NotASpan::TooLong(given.to_owned()));
        }
        Ok(Self(duration))
    }
}

impl fmt::Display for Span {
    /// The shortest form that reads back as the same span: `1m 30s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_systemd_time_documents() {
        for (text, millis) in [
            ("0", 0),
            ("15", 15_000),
            ("1.5", 1_500),
            ("10s", 10_000),
            ("500ms", 500),
            ("500 msec", 500),
            ("1min 30s", 90_000),
            ("1min30s", 90_000),
            ("2 h", 7_200_000),
            ("5 minutes", 300_000),
            (" 3s ", 3_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().duration(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_end_or_no_meaning() {
        for text in
            ["", " ", "infinity", "-1", "-1s", "s", "10 parsecs", "1..5", ".", "99999999999999999999", "2y", "１s"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for millis in [0, 1, 1_500, 15_000, 90_000, 7_200_000] {
            let span = Span::from(Duration::from_millis(millis));
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }
}
