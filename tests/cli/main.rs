//! The cli tests.

mod unit_diff;
mod unit_render;
