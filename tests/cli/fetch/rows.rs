//! The fault catalogue of fetch, rows 1 to 27: each has a test whose doc comment names it, and here they are counted.
//!
//! | row | what goes wrong |
//! |---|---|
//! | 1-6, 19 | a body or an answer that breaks the rules of HTTP |
//! | 7, 8, 10 | without end: a body, what it would unpack to, headers |
//! | 9, 22 | silence: no connection, no head, no body; nobody there |
//! | 11-14 | redirects: in circles, to http, to other schemes, to another host |
//! | 15, 16 | 429, 503, 500, 404, a login page |
//! | 17, 18 | a part of another file, or of another state of it |
//! | 20, 21 | certificates, and a clock that is wrong |
//! | 23-25 | the disk: full, a kill at any call, something else by that name |
//! | 26 | an old release served for ever, which verify refuses: the floor and the ages of a policy |
//! | 27 | odd addresses |

use std::collections::BTreeSet;

const TESTS: [&str; 7] = [
    include_str!("faults.rs"),
    include_str!("../tuf.rs"),
    include_str!("resume.rs"),
    include_str!("places.rs"),
    include_str!("certificates.rs"),
    include_str!("../../crash/fetch.rs"),
    include_str!("../../../lib/src/sys/net/tests.rs"),
];

/// The rows that the doc comments of tests name: `/// Rows 1, 2 and 3: …`.
pub fn rows(source: &str) -> BTreeSet<u32> {
    let lines = source.lines().map(str::trim).filter_map(|line| {
        let line = line.strip_prefix("/// Row ").or_else(|| line.strip_prefix("/// Rows "))?;
        line.split_once(':').map(|(rows, _)| rows)
    });
    lines.flat_map(|rows| rows.split(|c: char| !c.is_ascii_digit())).filter_map(|row| row.parse().ok()).collect()
}

#[test]
fn every_row_of_the_catalogue_has_a_test() {
    let named: BTreeSet<_> = TESTS.iter().flat_map(|source| rows(source)).filter(|row| *row <= 27).collect();
    assert_eq!(named, (1..=27).collect());
    assert_eq!(
        rows("/// Rows 1, 2 and 30: x\n    /// Row 4: y\n// Row 5: no doc\n/// Row of: none"),
        [1, 2, 4, 30].into()
    );
}
