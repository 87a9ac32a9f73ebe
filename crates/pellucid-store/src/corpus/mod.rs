//! What a model is run on: texts from files, cut into windows of tokens, the same on every machine.
//!
//! [`Source`] reads files into [`Text`]s, [`Corpus::assemble`] hashes, de-duplicates, orders, limits and
//! tokenises them, and [`Cut`] says how a document becomes [`Window`](crate::Window)s. [`generate`] makes special
//! text from a seed. Tokenizers belong to models, which this crate does not know: they come as [`Tokenize`].

mod assemble;
mod cache;
mod cut;
mod error;
pub mod generate;
mod source;
mod text;

pub use assemble::{Corpus, CorpusId, Part, Progress, Recipe, Report, Slice};
pub use cache::TokenCache;
pub use cut::{Cut, Tokens};
pub use error::CorpusError;
pub use source::{Counts, InvalidUtf8, Options, Source, Texts};
pub use text::{Content, Text};

/// Text to tokens, as the model does it.
pub trait Tokenize: Sync {
    /// The tokens of a plain text, without beginning-of-text or other added tokens ([`Cut::prefix`] adds those).
    ///
    /// # Errors
    /// What the tokenizer says, for the user.
    fn plain(&self, text: &str) -> Result<Vec<u32>, String>;

    /// The tokens of a conversation of (role, content) through the model's template, all turns; and which of them
    /// are to be counted: `false` for tokens of the template, `true` for tokens of what somebody said. Equally long.
    ///
    /// # Errors
    /// What the tokenizer says, for the user; also if the model has no chat template.
    fn chat(&self, messages: &[(String, String)]) -> Result<(Vec<u32>, Vec<bool>), String>;

    /// A hash of everything that decides the two answers: vocabulary, rules and template.
    fn hash(&self) -> [u8; 32];
}
