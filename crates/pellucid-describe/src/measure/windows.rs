//! On which windows a score was measured, as a hash: two scores with one hash were measured on the same text.

use crate::example::Example;
use sha2::{Digest, Sha256};

/// SHA-256 over document, window, first token and length of each example, in the order of these; examples that stand
/// there twice count once.
pub fn windows_hash<'a>(examples: impl IntoIterator<Item = &'a Example>) -> [u8; 32] {
    let key = |e: &Example| (e.document, e.window, e.start, e.tokens.len() as u64);
    let mut all: Vec<_> = examples.into_iter().map(key).collect();
    all.sort_unstable();
    all.dedup();
    let mut hash = Sha256::new();
    hash.update(b"pellucid-windows-1");
    for (document, window, start, length) in all {
        hash.update(document.0);
        hash.update(window.to_le_bytes());
        hash.update(start.to_le_bytes());
        hash.update(length.to_le_bytes());
    }
    hash.finalize().into()
}
