//! The inner loops of matrix products and sums, for whoever multiplies: register tiles, loops compiled for several widths of
//! registers, memory in large pages. Plain numbers in and out; nothing here knows a model or a dictionary.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod codes;
pub mod columns;
pub mod integers;
pub mod kernel;
pub mod matrix;
pub mod pages;
pub mod patches;
mod precision;
pub mod rows;
pub mod sheet;
pub mod simd;
pub mod tally;
pub mod team;
pub mod tiles;

pub use precision::{Precision, fast_is_quicker};
