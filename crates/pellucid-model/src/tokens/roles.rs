//! Where each message's content lies in a rendered conversation.
//!
//! Searching for the content would find "user" in a turn's header. Instead the template is rendered a second time with
//! a unique word in place of every content; what stands between those words is the template's own text, and the real
//! rendering must be that text with the real contents in the gaps.

use std::ops::Range;

use super::chat::Message;

/// A conversation as the text that a template made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The prompt.
    pub text: String,
    /// Where the contents lie, in the order of the text.
    pub roles: Vec<RoleSpan>,
    /// Messages whose content (not empty) was not found: the template left it out or rewrote it.
    pub unlocated: Vec<usize>,
    /// Whether the text is proven to be the template's own text with the contents in the gaps. If not, spans were
    /// found by searching and may be wrong.
    pub exact: bool,
}

/// One message's content in the rendered text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSpan {
    /// The message's role; `system` for a system prompt that the template adds by itself.
    pub role: String,
    /// Byte range in [`Rendered::text`], without white space at either end.
    pub bytes: Range<usize>,
    /// Index of the message; none for the template's own system prompt.
    pub message: Option<usize>,
}

/// Words that stand for contents: none of them occurs in what is rendered.
pub(super) struct Slots {
    stem: String,
}

impl Slots {
    /// `forbidden`: all texts in which the stem must not occur.
    pub(super) fn new(forbidden: &[&str]) -> Self {
        let mut n = 0_u64;
        loop {
            let stem = format!("Slot{n}x");
            if !forbidden.iter().any(|text| text.contains(&stem)) {
                return Self { stem };
            }
            n += 1;
        }
    }

    pub(super) fn word(&self, i: usize) -> String {
        format!("{}{i}z", self.stem)
    }

    /// The messages with a slot word for every content.
    pub(super) fn fill(&self, messages: &[Message]) -> Vec<Message> {
        let slotted = messages.iter().enumerate();
        slotted.map(|(i, m)| Message { role: m.role.clone(), content: self.word(i) }).collect()
    }

    /// Cuts a rendering at its slots: the text before each with the slot's number, and the text after the last.
    pub(super) fn cut<'t>(&self, text: &'t str) -> (Vec<(&'t str, usize)>, &'t str) {
        let mut cuts = Vec::new();
        let mut rest = text;
        // A stem without a number after it was mangled by the template; `align` then fails on it.
        while let Some((before, tail)) = rest.split_once(&self.stem) {
            let Some((digits, after)) = tail.split_once('z') else { break };
            let Ok(i) = digits.parse() else { break };
            cuts.push((before, i));
            rest = after;
        }
        (cuts, rest)
    }
}

/// Lays contents into the gaps of the template's own text. `None` if the real text is not that.
pub(super) fn align(
    text: &str,
    gaps: &[(&str, usize)],
    tail: &str,
    messages: &[Message],
) -> Option<Vec<(usize, Range<usize>)>> {
    let mut at = 0;
    let mut found = Vec::with_capacity(gaps.len());
    for (i, (literal, message)) in gaps.iter().enumerate() {
        at += text.get(at..)?.strip_prefix(literal).map(|_| literal.len())?;
        let content = messages.get(*message)?.content.as_str();
        let next = gaps.get(i + 1).map_or(tail, |(literal, _)| literal);
        let last = i + 1 == gaps.len();
        let fits = |variant: &&str| {
            let after = text.get(at..).and_then(|t| t.strip_prefix(*variant));
            after.is_some_and(|t| if last { t == next } else { t.starts_with(next) })
        };
        // Templates trim on one side, on both, or not at all.
        let variants = [content, content.trim(), content.trim_start(), content.trim_end()];
        let variant = variants.into_iter().find(fits)?;
        found.push((*message, at..at + variant.len()));
        at += variant.len();
    }
    (text.get(at..)? == tail).then_some(found)
}

/// Second best: the trimmed contents, searched in order.
pub(super) fn search(text: &str, messages: &[Message]) -> Vec<(usize, Range<usize>)> {
    let mut at = 0;
    let mut found = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let content = message.content.trim();
        if content.is_empty() {
            continue;
        }
        if let Some(offset) = text.get(at..).and_then(|t| t.find(content)) {
            found.push((i, at + offset..at + offset + content.len()));
            at += offset + content.len();
        }
    }
    found
}

/// A range without the white space at its ends; `None` if nothing is left.
pub(super) fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = text.get(range.clone())?;
    let start = range.start + (part.len() - part.trim_start().len());
    let len = part.trim().len();
    (len > 0).then_some(start..start + len)
}

/// The template's own system prompt: what stands in `opening` (the text before the first content) where, with a system
/// message, that message stood between `before` and `after`.
pub(super) fn own_system(opening: &str, before: &str, after: &str) -> Option<Range<usize>> {
    let inner = opening.len().checked_sub(before.len() + after.len()).filter(|_| !before.is_empty())?;
    (opening.starts_with(before) && opening.ends_with(after)).then_some(before.len()..before.len() + inner)
}
