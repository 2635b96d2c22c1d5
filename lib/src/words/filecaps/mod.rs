//! File capabilities, as capabilities(7) describes them.
