//! What a sweep runs over: windows of tokens cut out of documents.

use pellucid_core::Split;

/// A document's name: the first 16 bytes of the SHA-256 of its content. It decides the split, and it breaks
/// ties between exemplars, so that neither depends on the order in which files were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Document(pub [u8; 16]);

/// A run of tokens that the model sees at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The document it was cut from.
    pub document: Document,
    /// The split that the document belongs to.
    pub split: Split,
    /// Which window of the document, from 0.
    pub index: u32,
    /// Token ids as the model sees them, beginning-of-text and template tokens included.
    pub tokens: Vec<u32>,
    /// Which tokens statistics count, as long as `tokens`. Not counted are tokens that the document does not hold
    /// (beginning of text, chat template) and those that an earlier window has counted already (overlap).
    pub counted: Vec<bool>,
}
