//! The atlas file as its users meet it: written, killed, resumed, searched, exchanged, damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod exchange;
mod file;
mod made;
mod search;
mod sizes;
mod words;
