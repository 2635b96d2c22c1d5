//! Deliberately broken swaps.
