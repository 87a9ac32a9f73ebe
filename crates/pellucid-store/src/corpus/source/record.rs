//! A JSON value as a document.
//!
//! A string is a plain text; so is the string in an object's named field. Without that field an object with
//! `messages: [{role, content}]` (OpenAI's form) or `conversations: [{from, value}]` (ShareGPT's, whose `human` and
//! `gpt` become `user` and `assistant`) is a conversation. A message's content may be a list of parts of which those
//! with a `text` are joined; null says nothing. A string field `source` says where the document is from.

use crate::corpus::text::Content;
use serde_json::{Map, Value};

/// What was expected and what was found.
type Wrong = (String, String);

/// The document, and its own word on where it is from.
pub(super) fn content(value: &Value, field: &str) -> Result<(Content, Option<String>), Wrong> {
    let object = match value {
        Value::String(text) => return Ok((Content::Plain(text.clone()), None)),
        Value::Object(object) => object,
        other => return Err((expected(field), named(other).into())),
    };
    let source = object.get("source").and_then(Value::as_str).filter(|source| !source.is_empty());
    let chat = || object.get("messages").or_else(|| object.get("conversations"));
    let content = match (object.get(field), chat()) {
        (Some(Value::String(text)), _) => Content::Plain(text.clone()),
        (None, Some(Value::Array(messages))) => Content::Chat(conversation(messages)?),
        (Some(Value::Array(messages)), _) if field == "messages" || field == "conversations" => {
            Content::Chat(conversation(messages)?)
        }
        (Some(other), _) => return Err((format!("text in the field `{field}`"), named(other).into())),
        (None, Some(other)) => return Err(("a list of messages".into(), named(other).into())),
        (None, None) => return Err((expected(field), fields(object))),
    };
    Ok((content, source.map(str::to_owned)))
}

fn expected(field: &str) -> String {
    format!("an object with the field `{field}`, `messages` or `conversations`")
}

fn conversation(messages: &[Value]) -> Result<Vec<(String, String)>, Wrong> {
    messages.iter().enumerate().map(|(i, message)| turn(i + 1, message)).collect()
}

fn turn(number: usize, message: &Value) -> Result<(String, String), Wrong> {
    let wrong = |what: &str, value: Option<&Value>| {
        (format!("{what} in message {number}"), value.map_or("none", named).to_owned())
    };
    let object = message.as_object().ok_or_else(|| wrong("a role and a content", Some(message)))?;
    let role = object.get("role").or_else(|| object.get("from"));
    let role = match role.and_then(Value::as_str).ok_or_else(|| wrong("a `role`", role))? {
        "human" => "user",
        "gpt" => "assistant",
        other => other,
    };
    let said = object.get("content").or_else(|| object.get("value"));
    let said = match said {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) => String::new(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").unwrap_or(part).as_str()).collect::<String>()
        }
        other => return Err(wrong("a `content`", other)),
    };
    Ok((role.to_owned(), said))
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn fields(object: &Map<String, Value>) -> String {
    let names: Vec<_> = object.keys().take(8).map(|name| format!("`{}`", excerpt(name))).collect();
    if names.is_empty() { "an empty object".into() } else { format!("the fields {}", names.join(", ")) }
}

/// The beginning of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}
