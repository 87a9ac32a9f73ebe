//! What can go wrong between text and token ids: every variant says what was expected and what was found.

/// An error of the tokeniser or of a chat template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A vocabulary (from GGUF metadata or `tokenizer.json`) contradicts itself or lacks something.
    #[error("the tokenizer's vocabulary is unusable: {0}")]
    Vocabulary(String),
    /// `tokenizer.ggml.model` names a kind of tokenizer that is not implemented.
    #[error(
        "tokenizer.ggml.model is {found:?}; known are \"gpt2\" (byte-level BPE) and \"llama\" (SentencePiece BPE)"
    )]
    UnknownModel {
        /// The name in the file.
        found: String,
    },
    /// `tokenizer.ggml.pre` is absent or names a pre-tokenizer that is not implemented. Guessing one would give
    /// wrong ids without a sign of it.
    #[error("tokenizer.ggml.pre is {found}; known are: {known}")]
    UnknownPre {
        /// The quoted name in the file, or `absent`.
        found: String,
        /// The supported names, separated by commas.
        known: String,
    },
    /// A JSON document is not what a tokenizer needs.
    #[error("{document}: {message}")]
    Json {
        /// Which document, e.g. `tokenizer.json`.
        document: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The tokeniser failed on a text.
    #[error("the text could not be tokenised: {0}")]
    Encode(String),
    /// A token id lies outside the vocabulary, or in a hole of it.
    #[error("token id {id} is not in the vocabulary of {size} ids")]
    IdOutOfRange {
        /// The id asked for.
        id: u32,
        /// One more than the largest id.
        size: usize,
    },
    /// A text that had to be exactly one token is none or several.
    #[error("{text:?} is {count} tokens, not one: {pieces}{hint}")]
    NotOneToken {
        /// The text.
        text: String,
        /// How many tokens it is.
        count: usize,
        /// Its pieces with their ids.
        pieces: String,
        /// A suggestion that begins with `;`, or nothing.
        hint: String,
    },
    /// The model comes without a chat template, and guessing one would put words in its mouth.
    #[error(
        "this model has no chat template, so a conversation cannot be written for it: \
         give a plain prompt instead, or pass a template file"
    )]
    NoTemplate,
    /// A chat template does not compile, refuses the messages, or exceeds a bound on time or memory.
    #[error("chat template: {0}")]
    Template(String),
    /// A message holds the text of a control token and the template rewrites the message, so that the two cannot be
    /// kept apart; or a role is not a plain word.
    #[error("message {message}: {reason}")]
    UnsafeMessage {
        /// Index of the message.
        message: usize,
        /// What is unsafe about it.
        reason: String,
    },
}

/// Runs `f`, turning a panic of a third-party parser into an error. `tokenizers` and `minijinja` are fed files from
/// strangers; both have had panics on malformed input, and a bad file must not end a long run.
pub(crate) fn contained<T>(
    f: impl FnOnce() -> Result<T, TokenError>,
    wrap: impl FnOnce(String) -> TokenError,
) -> Result<T, TokenError> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(payload) => {
            let message = payload
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned());
            Err(wrap(message.unwrap_or_else(|| "the parser panicked".to_owned())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_errors_stay_small() {
        let caught = contained(|| -> Result<(), _> { panic!("inner") }, TokenError::Encode);
        assert_eq!(caught, Err(TokenError::Encode("inner".into())));
        assert!(size_of::<TokenError>() <= 88);
    }
}
