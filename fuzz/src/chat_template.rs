//! A chat template that a stranger wrote, over messages that another stranger wrote.

use super::tokenizer;
use pellucid_model::tokens::{ChatTemplate, Date, Message};

/// Parts are separated by the byte 0x1E: the template, then role and content of each message.
pub fn chat_template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\u{1e}');
    let source = parts.next().unwrap_or_default();
    let mut messages = Vec::new();
    while let (Some(role), Some(content)) = (parts.next(), parts.next()) {
        messages.push(Message { role: role.to_owned(), content: content.to_owned() });
    }
    let Ok(template) = ChatTemplate::new(source, "<|bos|>", "<|eos|>") else { return };
    let date = Date { year: 2024, month: 7, day: 26, hour: 9, minute: 5, second: 0 };
    let template = template.with_date(date);
    let answer_is_next = messages.last().is_none_or(|message| message.role != "assistant");
    if let Ok(rendered) = template.render(&messages, answer_is_next) {
        for span in &rendered.roles {
            assert!(rendered.text.get(span.bytes.clone()).is_some(), "{span:?} of {:?}", rendered.text);
        }
    }
    let tokenizer = tokenizer::fresh().with_chat_template(template);
    if let Ok(encoding) = tokenizer.encode_chat(&messages, answer_is_next) {
        assert_eq!(encoding.ids.len(), encoding.roles.len());
        for (token, role) in encoding.tokens.iter().zip(&encoding.roles) {
            assert!(encoding.rendered.text.len() >= token.span.end);
            assert!(!token.special || role.is_none(), "a message controls something: {token:?} in {role:?}");
        }
    }
}
