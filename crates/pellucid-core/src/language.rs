//! Two services that text work needs, as traits: a language model that answers, and a model that embeds.
//! They may be a process on another machine or the runtime in this one; who uses them cannot tell.

use std::error::Error;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// What was said.
    pub content: String,
}

/// What is asked of a language model.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// A beginning of the answer that the model goes on from; empty for none.
    pub prefill: String,
    /// Longest answer, in tokens.
    pub max_tokens: usize,
    /// 0 is greedy.
    pub temperature: f32,
    /// Seed of the sampling.
    pub seed: u64,
    /// How many alternatives to report at each answered token, 0 for none.
    pub top_log_probs: usize,
}

/// What a language model answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text, without the prefill.
    pub text: String,
    /// At each answered token the likeliest tokens with their natural log-probabilities, if asked for.
    pub top_log_probs: Vec<Vec<(String, f32)>>,
    /// Tokens read.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub answer_tokens: usize,
}

/// A failure of a service, with the words to show.
pub type ServiceError = Box<dyn Error + Send + Sync>;

/// A language model that answers.
pub trait Chat: Send + Sync {
    /// The model's name, for provenance.
    fn name(&self) -> &str;

    /// One answer.
    ///
    /// # Errors
    /// If the service cannot be reached, refuses, or answers with something else; never as text of the answer.
    fn answer(&self, ask: &Ask) -> Result<Answer, ServiceError>;
}

/// A model that turns texts into vectors.
pub trait Embed: Send + Sync {
    /// The model's name, for provenance.
    fn name(&self) -> &str;

    /// Length of a vector.
    fn width(&self) -> usize;

    /// One vector of length 1 for each text, in order.
    ///
    /// # Errors
    /// If the service cannot be reached or a text cannot be embedded.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ServiceError>;
}
