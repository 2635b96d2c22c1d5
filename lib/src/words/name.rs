//! NAME: what a managed set is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a managed set: `runed`. It names a folder and a lock file, so it is one plain path component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name(String);

/// A string that can't name a set.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' can't be a NAME: letters, digits and . _ - + @ are needed, a letter or digit first, 100 at most")]
pub struct NotAName(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) && text.len() <= 100 {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAName(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_path_component() {
        for good in ["runed", "app@8080", "3proxy", "a.b-c_d+e"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "é", &"a".repeat(101)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
