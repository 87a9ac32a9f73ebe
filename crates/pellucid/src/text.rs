//! The text that a command works on: a plain prompt, or a conversation in the model's own template.

use crate::models::{Loaded, in_file, read, with_template};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use pellucid::scope::Message;
use std::io::Read;
use std::path::PathBuf;

/// What to run on.
#[derive(Args)]
pub(crate) struct TextArgs {
    /// The text; `-` reads it from stdin.
    pub(crate) prompt: Option<String>,
    /// The text is a user's message: write it in the model's chat template.
    #[arg(long)]
    pub(crate) chat: bool,
    /// A system prompt for the chat, in place of the model's own.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// A whole chat: a JSON list of {"role", "content"}. A prompt follows it as the user's next message.
    #[arg(long, value_name = "FILE")]
    pub(crate) messages: Option<PathBuf>,
    /// A jinja chat template in place of the model's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
    /// Begin the chat's answer with this.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prefill: Option<String>,
}

pub(crate) use pellucid::scope::Text;

impl TextArgs {
    /// Whether the text is a conversation.
    pub(crate) fn is_chat(&self) -> bool {
        self.chat || self.messages.is_some()
    }

    /// Loads the model with the template that was asked for, and tokenises the text.
    pub(crate) fn read(&self, model: &crate::models::ModelArgs) -> Result<(Loaded, Text)> {
        // what is wrong with the arguments is said before a model is fetched
        let prompt = self.prompt()?;
        let messages = if self.is_chat() { Some(self.messages(prompt.as_deref())?) } else { None };
        let loaded = with_template(model.load()?, self.template.as_ref())?;
        let text = match (messages, prompt) {
            (Some(messages), _) => Text::chat(&loaded, &messages, self.prefill.as_deref())?,
            (None, Some(prompt)) => Text::plain(&loaded, &prompt)?,
            (None, None) => bail!("there is no prompt; write one, or - to read it from stdin"),
        };
        Ok((loaded, text))
    }

    fn prompt(&self) -> Result<Option<String>> {
        if !self.is_chat() {
            ensure!(self.system.is_none(), "--system belongs to a chat; add --chat");
            ensure!(self.prefill.is_none(), "--prefill belongs to a chat; add --chat");
            ensure!(self.prompt.is_some(), "there is no prompt; write one, or - to read it from stdin");
        }
        match self.prompt.as_deref() {
            Some("-") => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read the prompt from stdin")?;
                // the line end belongs to the shell, not to the prompt
                Ok(Some(text.strip_suffix('\n').map_or(text.clone(), str::to_owned)))
            }
            prompt => Ok(prompt.map(str::to_owned)),
        }
    }

    fn messages(&self, prompt: Option<&str>) -> Result<Vec<Message>> {
        let message =
            |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
        let mut all: Vec<Message> = match &self.messages {
            Some(file) => serde_json::from_str(&read(file)?).with_context(|| in_file(file))?,
            None => Vec::new(),
        };
        if let Some(system) = &self.system {
            ensure!(all.iter().all(|m| m.role != "system"), "the messages have a system prompt already");
            all.insert(0, message("system", system));
        }
        all.extend(prompt.map(|p| message("user", p)));
        ensure!(all.iter().any(|m| m.role != "system"), "the chat has no message");
        Ok(all)
    }
}
