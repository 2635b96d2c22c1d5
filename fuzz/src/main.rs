//! libFuzzer over one parser of `tests/support/parsers.rs`: the one that `UPSWAP_PARSER` names. Without it the names are
//! listed. Run by fuzz/run.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/parsers.rs"]
mod parsers;

static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: {
        let wanted = std::env::var("UPSWAP_PARSER").unwrap_or_default();
        let Some((_, entry)) = parsers::PARSERS.iter().find(|(name, _)| *name == wanted) else {
            parsers::PARSERS.iter().for_each(|(name, _)| println!("{name}"));
            std::process::exit(if wanted.is_empty() { 0 } else { 2 });
        };
        CHOSEN.get_or_init(|| *entry);
    },
    |bytes: &[u8]| {
        if let Some(entry) = CHOSEN.get() {
            entry(bytes);
        }
    }
);
