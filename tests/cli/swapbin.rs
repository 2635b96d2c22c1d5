//! swapbin: files into place.

mod metadata;
mod operands;
mod trials;
