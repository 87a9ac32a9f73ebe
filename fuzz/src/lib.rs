//! What the fuzz targets do with their bytes, one function each. The targets in `fuzz_targets/` and the ordinary test
//! `crates/pellucid/tests/hostile.rs` (which compiles this file as a module of its own) call the same functions.
//!
//! A function returns for every input that was answered or refused, and panics where something that must hold does not.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code)]

mod atlas;
mod chat_template;
mod dictionary;
mod edits;
mod files;
mod http;
mod tokenizer;

pub use atlas::atlas;
pub use chat_template::chat_template;
pub use dictionary::dictionary;
pub use edits::edits;
pub use files::{checkpoint, gguf, safetensors};
pub use http::http;
pub use tokenizer::tokenizer;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A target's name, and what it does with its bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 9] = [
    ("gguf", gguf),
    ("safetensors", safetensors),
    ("checkpoint", checkpoint),
    ("tokenizer", tokenizer),
    ("chat_template", chat_template),
    ("edits", edits),
    ("atlas", atlas),
    ("http", http),
    ("dictionary", dictionary),
];

/// What the last panic said.
static SAID: Mutex<String> = Mutex::new(String::new());

/// libFuzzer ends the process at any panic. The library catches those of parsers that others wrote, so only a panic that
/// comes out of a target's function counts; [`run`] says it.
pub fn quiet() {
    std::panic::set_hook(Box::new(|info| {
        *SAID.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
}

/// Runs a target's function once.
pub fn run(target: fn(&[u8]), bytes: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
        eprintln!("{}", SAID.lock().unwrap_or_else(PoisonError::into_inner));
        resume_unwind(panic);
    }
}

/// The repository's folder of tiny models.
fn fixtures() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|above| above.join("fixtures/tiny")).find(|path| path.is_dir());
    found.expect("the repository's fixtures")
}
