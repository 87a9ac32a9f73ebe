//! Text from a stream of token ids, never cut inside a character.

use super::pieces::Role;
use super::{TokenError, Tokenizer};

/// Turns ids into text one at a time. A character whose bytes are spread over several tokens is held back until it is
/// whole; bytes that can no longer become UTF-8 come out as U+FFFD. Control tokens give no text.
///
/// The concatenation of everything returned equals [`Tokenizer::decode`] of the same ids.
#[derive(Debug, Clone)]
pub struct StreamDecoder<'t> {
    tokenizer: &'t Tokenizer,
    /// Bytes of a character that is not whole yet: at most three.
    held: Vec<u8>,
    /// Whether a leading space that the encoder added is still to be dropped.
    drop_space: bool,
}

impl<'t> StreamDecoder<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer, held: Vec::new(), drop_space: tokenizer.pieces.drops_leading_space() }
    }

    /// Takes the next id; returns the text that is now complete, `None` if there is none yet.
    ///
    /// Errors: [`TokenError::IdOutOfRange`]; the stream stays usable.
    pub fn push(&mut self, id: u32) -> Result<Option<String>, TokenError> {
        let mut bytes = self.tokenizer.pieces.bytes(id)?;
        if self.tokenizer.pieces.role(id) == Role::Control {
            return Ok(None);
        }
        if self.drop_space && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            self.drop_space = false;
        }
        self.held.extend_from_slice(bytes);
        let mut ready = String::new();
        let mut kept = Vec::new();
        let mut chunks = self.held.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            ready.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            // Only a truncated character at the very end may still become whole.
            let truncated = std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
            if chunks.peek().is_none() && truncated {
                kept.extend_from_slice(invalid);
            } else {
                ready.push('\u{FFFD}');
            }
        }
        self.held = kept;
        Ok((!ready.is_empty()).then_some(ready))
    }

    /// Ends the stream: an incomplete last character comes out as U+FFFD.
    pub fn finish(self) -> Option<String> {
        (!self.held.is_empty()).then(|| String::from_utf8_lossy(&self.held).into_owned())
    }
}
