//! Prompts: text files whose name is their version (`explain-1`), cut into messages by lines such as `=== user`.
//! A result names the prompt that it was made with; a prompt that is changed gets a new name.

use pellucid_core::Message;
use thiserror::Error;

/// A prompt and its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The file's name, which is the version.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

/// A prompt's file that is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PromptError {
    /// Text before the first `=== role`, or no role at all.
    #[error("expected `=== system`, `=== user` or `=== assistant` on the first line (prompt {name})")]
    NoRole {
        /// The prompt.
        name: &'static str,
    },
    /// An unknown role.
    #[error("expected the role `system`, `user` or `assistant`, found `{found}` (prompt {name})")]
    Role {
        /// What stands there.
        found: String,
        /// The prompt.
        name: &'static str,
    },
    /// Nothing to put the given text in.
    #[error("expected the place `{{{place}}}` once, found it {found} times (prompt {name})")]
    Place {
        /// What should be there.
        place: &'static str,
        /// How often it is.
        found: usize,
        /// The prompt.
        name: &'static str,
    },
}

macro_rules! prompts {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        impl Prompt {
            $($(#[$doc])*
            pub const $constant: Prompt =
                Prompt { name: $name, text: include_str!(concat!("../../prompts/", $name, ".txt")) };)*

            /// All that come with the crate.
            pub const ALL: &'static [Prompt] = &[$(Prompt::$constant),*];
        }
    };
}

prompts! {
    /// For models that follow instructions: think briefly, then describe. Place: `examples`.
    EXPLAIN = "explain-1";
    /// For models of some hundred million parameters: three short examples and no instructions. Place: `examples`.
    EXPLAIN_SMALL = "explain-small-1";
    /// A digit for each numbered token, in one answer. Places: `description`, `numbered`.
    SIMULATE = "simulate-1";
    /// A digit for one token. The text comes last, so that the questions about its tokens begin alike. Places:
    /// `description`, `passage`.
    SIMULATE_TOKEN = "simulate-token-2";
    /// Whether a text fits. Places: `description`, `passage`.
    DETECT = "detect-1";
    /// Whether the marked tokens fit. Places: `description`, `passage`.
    FUZZ = "fuzz-1";
}

impl Prompt {
    /// The messages, with each `{place}` replaced by its text. What is put in is not searched for places again.
    ///
    /// # Errors
    /// If a role is unknown, or a place does not stand in the file exactly once.
    pub fn fill(self, places: &[(&'static str, &str)]) -> Result<Vec<Message>, PromptError> {
        for &(place, _) in places {
            let found = self.text.matches(&format!("{{{place}}}")).count();
            if found != 1 {
                return Err(PromptError::Place { place, found, name: self.name });
            }
        }
        let mut messages: Vec<Message> = Vec::new();
        for line in self.text.lines() {
            if let Some(role) = line.strip_prefix("=== ") {
                messages.push(Message { role: self.role(role)?, content: String::new() });
                continue;
            }
            let message = messages.last_mut().ok_or(PromptError::NoRole { name: self.name })?;
            if !message.content.is_empty() {
                message.content.push('\n');
            }
            message.content.push_str(&put_in(line, places));
        }
        if messages.is_empty() { Err(PromptError::NoRole { name: self.name }) } else { Ok(messages) }
    }

    fn role(self, found: &str) -> Result<&'static str, PromptError> {
        let known = ["system", "user", "assistant"].into_iter().find(|&role| role == found.trim());
        known.ok_or_else(|| PromptError::Role { found: found.to_owned(), name: self.name })
    }
}

/// One pass from left to right, so that a text with `{description}` in it stays as it is.
fn put_in(line: &str, places: &[(&'static str, &str)]) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let hit = places.iter().find_map(|&(place, text)| {
            let after = from.strip_prefix('{')?.strip_prefix(place)?.strip_prefix('}')?;
            Some((text, after))
        });
        match hit {
            Some((text, after)) => {
                out.push_str(text);
                rest = after;
            }
            None => {
                out.push('{');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
    out
}
