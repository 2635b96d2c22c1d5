//! The fault catalogue of verify, rows 28 to 43: each has a test whose doc comment names it, and here they are counted.
//!
//! | row | what goes wrong |
//! |---|---|
//! | 28 | a bit of file, list or signature |
//! | 29-34 | the list: no entry, two, nearly this name, garbage, other forms, weak digests |
//! | 35-37 | the signature: none, another key's, another file's, another version's; no keys |
//! | 38, 39 | the floor: below it, far above it, no floor that could be read |
//! | 40 | the file is another one by the time it is put in place |
//! | 41 | a disk that lies |
//! | 42, 43 | names: opened twice, read by a shell, taken for options |

use std::collections::BTreeSet;

use crate::fetch::rows::rows;

const TESTS: [&str; 7] = [
    include_str!("../verify.rs"),
    include_str!("demands.rs"),
    include_str!("lying.rs"),
    include_str!("signatures.rs"),
    include_str!("../tuf.rs"),
    include_str!("../../crash/refusals.rs"),
    include_str!("../../../lib/src/words/sums.rs"),
];

#[test]
fn every_row_of_the_catalogue_has_a_test() {
    let named: BTreeSet<_> = TESTS.iter().flat_map(|source| rows(source)).filter(|row| *row >= 28).collect();
    assert_eq!(named, (28..=43).collect());
}
