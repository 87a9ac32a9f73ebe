//! A document before it is tokens.

use crate::window::Document;
use sha2::{Digest, Sha256};

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Running text.
    Plain(String),
    /// A conversation: (role, what was said), all turns in order.
    Chat(Vec<(String, String)>),
}

/// One document and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it says.
    pub content: Content,
    /// The source that it is counted under: the record's own `source` field, else the source as it was opened.
    pub from: String,
    /// The exact place, for messages: `FILE` or `FILE, line N`.
    pub place: String,
}

impl Content {
    /// The document's name: the first half of the SHA-256 of a plain text's bytes, or of a conversation's roles and
    /// contents, each preceded by its length (8 bytes, little endian) after the five bytes `\0chat`, which begin no
    /// other text in practice.
    pub fn document(&self) -> Document {
        let mut hash = Sha256::new();
        match self {
            Content::Plain(text) => hash.update(text.as_bytes()),
            Content::Chat(messages) => {
                hash.update(b"\0chat");
                for part in messages.iter().flat_map(|(role, content)| [role, content]) {
                    hash.update((part.len() as u64).to_le_bytes());
                    hash.update(part.as_bytes());
                }
            }
        }
        let digest = hash.finalize();
        let mut name = [0; 16];
        name.copy_from_slice(&digest[..16]);
        Document(name)
    }

    /// Whether nobody says anything.
    pub fn is_empty(&self) -> bool {
        match self {
            Content::Plain(text) => text.is_empty(),
            Content::Chat(messages) => messages.iter().all(|(_, content)| content.is_empty()),
        }
    }

    /// Bytes of what is said.
    pub fn bytes(&self) -> usize {
        match self {
            Content::Plain(text) => text.len(),
            Content::Chat(messages) => messages.iter().map(|(_, content)| content.len()).sum(),
        }
    }

    /// Cuts at `most` bytes, or just before if that is inside a character. Whether anything was cut.
    pub(crate) fn shorten(&mut self, most: usize) -> bool {
        if self.bytes() <= most {
            return false;
        }
        match self {
            Content::Plain(text) => text.truncate(boundary(text, most)),
            Content::Chat(messages) => {
                let mut left = most;
                for (_, content) in messages.iter_mut() {
                    content.truncate(boundary(content, left));
                    left -= content.len();
                }
                // Turns after the cut said something once; an empty turn would be a different conversation.
                while messages.last().is_some_and(|(_, content)| content.is_empty()) {
                    messages.pop();
                }
            }
        }
        true
    }
}

/// The last place between characters at or before `most`.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
