//! Sizes in bytes, as people write them: `512M`, `2G`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A text that is not a size.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a size: a number with K, M, G or T, in units of 1024 bytes, is")]
pub struct NotASize(String);

impl FromStr for Size {
    type Err = NotASize;

    /// Reads a number with an optional K, M, G or T; base 1024, as systemd.syntax(7) has it.
    fn from_str(text: &str) -> Result<Self, NotASize> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match text.strip_prefix(digits) {
            Some("" | "B") => 0,
            Some("K") => 10,
            Some("M") => 20,
            Some("G") => 30,
            Some("T") => 40,
            _ => return Err(NotASize(text.to_owned())),
        };
        let number: Option<u64> = digits.parse().ok();
        let bytes = number.and_then(|number| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0);
        bytes.map(Self).ok_or_else(|| NotASize(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_units_of_1024() {
        for (text, bytes) in [("1", 1), ("10B", 10), ("1K", 1024), ("512M", 512 << 20), ("2G", 2 << 30)] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes));
        }
        for bad in ["", "0", "K", "-1", "1.5G", "1 G", "99999999999999999999", "18014398509481984K"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!(Size(2 << 30).to_string(), "2G");
        assert_eq!(Size(1500).to_string(), "1500 bytes");
    }
}
