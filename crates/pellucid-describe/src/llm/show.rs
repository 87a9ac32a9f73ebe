//! A stretch of text as a language model is shown it: one line, the active tokens in double braces, neighbours in
//! one pair, spaces outside. Braces that the text has of its own, line ends and chat markers are made harmless.

use crate::{Evidence, Example};
use std::collections::BTreeSet;

/// Which tokens are marked. A token is marked if it counts and its activation is at least a level times the unit's
/// scale, or if it is its example's peak; the first level is used at which enough different strings are marked.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// Multiples of [`Evidence::scale`], from strict to lax.
    pub levels: Vec<f32>,
    /// How many different marked strings are enough.
    pub distinct: usize,
}

impl Levels {
    /// The strictest level that marks enough different strings over all examples; if none does, the strictest of
    /// those that mark the most.
    pub fn choose(&self, evidence: &Evidence, examples: &[&Example]) -> f32 {
        let mut best = (0, 1.0);
        for &level in &self.levels {
            let threshold = level * evidence.scale;
            let strings: BTreeSet<String> =
                examples.iter().flat_map(|e| marked_strings(e, &marks(e, threshold))).collect();
            if strings.len() > best.0 {
                best = (strings.len(), level);
            }
            if strings.len() >= self.distinct {
                break;
            }
        }
        best.1 * evidence.scale
    }
}

/// Which tokens are marked at a threshold.
pub(super) fn marks(example: &Example, threshold: f32) -> Vec<bool> {
    let peak = example.peak().map(|(i, _)| i);
    let above = |(i, (&a, &counted)): (usize, (&f32, &bool))| {
        Some(i) == peak || (counted && a > 0.0 && a >= threshold)
    };
    example.activations.iter().zip(&example.counted).enumerate().map(above).collect()
}

fn marked_strings(example: &Example, marks: &[bool]) -> Vec<String> {
    runs(marks)
        .into_iter()
        .filter(|run| run.2)
        .map(|(start, end, _)| example.texts[start..end].concat().trim().to_lowercase())
        .collect()
}

/// Stretches of equal marks: start, end, marked.
fn runs(marks: &[bool]) -> Vec<(usize, usize, bool)> {
    let mut runs: Vec<(usize, usize, bool)> = Vec::new();
    for (i, &mark) in marks.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.2 == mark => run.1 = i + 1,
            _ => runs.push((i, i + 1, mark)),
        }
    }
    runs
}

/// Where a mark begins and ends while a text is put together; no text has these, see [`harmless`].
const OPEN: char = '\u{2}';
const CLOSE: char = '\u{3}';

/// The tokens `from..to` of an example with the marked ones in double braces. `marks` is as long as the example;
/// what lies outside it is not marked.
pub fn highlighted(example: &Example, marks: &[bool], from: usize, to: usize) -> String {
    let to = to.min(example.texts.len());
    let from = from.min(to);
    let here: Vec<bool> = (from..to).map(|i| marks.get(i).copied().unwrap_or(false)).collect();
    let mut out = String::new();
    for (start, end, marked) in runs(&here) {
        let text = one_line(&example.texts[from + start..from + end].concat());
        let inner = text.trim();
        if !marked || inner.is_empty() {
            out.push_str(&text);
            continue;
        }
        let lead = text.len() - text.trim_start().len();
        out.extend([&text[..lead], OPEN.encode_utf8(&mut [0; 4]), inner, CLOSE.encode_utf8(&mut [0; 4])]);
        out.push_str(&text[lead + inner.len()..]);
    }
    defused(&out).trim().to_owned()
}

/// The example's text without marks.
pub fn plain(example: &Example) -> String {
    harmless(&example.texts.concat()).trim().to_owned()
}

/// One line; no double braces and no chat markers (`<|`) but ours. A line end is shown as ↵.
pub(super) fn harmless(text: &str) -> String {
    defused(&one_line(text))
}

fn one_line(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => '↵',
        c if c.is_control() => ' ',
        c => c,
    };
    text.chars().filter(|c| *c != '\r').map(shown).collect()
}

/// Puts a space wherever two characters would make a brace pair or a chat marker that is not ours, also where a
/// brace of the text meets one of ours, and then the braces for [`OPEN`] and [`CLOSE`].
fn defused(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        let (shown, clash) = match c {
            OPEN => ("{{", '{'),
            CLOSE => ("}}", '}'),
            '{' => ("{", '{'),
            '}' => ("}", '}'),
            '|' => ("|", '<'),
            other => {
                out.push(other);
                continue;
            }
        };
        if out.ends_with(clash) {
            out.push(' ');
        }
        out.push_str(shown);
    }
    out
}
