//! A unit with a known rule, strong on names of animals, and models that know the rule, its opposite or nothing.

use pellucid_core::{Answer, Ask, Chat, Seed, ServiceError};
use pellucid_describe::{Evidence, Example};
use pellucid_store::{Document, Kind};
use std::sync::Arc;

pub(crate) const ANIMALS: [&str; 5] = ["cat", "horse", "otter", "heron", "bee"];
const OTHERS: [&str; 10] = ["the", "stone", "of", "green", "walked", "slowly", "to", "river", "and", "lamp"];

/// An example of given tokens and activations, all counted.
pub(crate) fn example(kind: Kind, document: u16, tokens: &[(&str, f32)]) -> Example {
    let mut hash = [0; 16];
    hash[..2].copy_from_slice(&document.to_le_bytes());
    Example {
        tokens: vec![0; tokens.len()],
        texts: tokens.iter().map(|(text, _)| Arc::from(*text)).collect(),
        activations: tokens.iter().map(|(_, a)| *a).collect(),
        counted: vec![true; tokens.len()],
        document: Document(hash),
        window: 0,
        start: 0,
        kind,
    }
}

/// Thirty top and thirty random examples a split; each of its own document.
pub(crate) fn evidence(seed: u64) -> Evidence {
    let mut seed = Seed(seed);
    let mut document = 0;
    let mut split = || -> Vec<Example> {
        let one = |i: usize| {
            document += 1;
            let top = i < 30;
            let tokens: Vec<(String, f32)> = (0..24)
                .map(|_| {
                    if top && seed.uniform() < 0.12 {
                        (format!(" {}", ANIMALS[seed.below(5)]), 1.0 + 2.0 * seed.uniform() as f32)
                    } else {
                        (format!(" {}", OTHERS[seed.below(10)]), 0.05 * seed.uniform() as f32)
                    }
                })
                .chain(top.then(|| (" otter".to_owned(), 2.5)))
                .collect();
            let tokens: Vec<(&str, f32)> = tokens.iter().map(|(t, a)| (t.as_str(), *a)).collect();
            example(if top { Kind::Top } else { Kind::Random }, document, &tokens)
        };
        (0..60).map(one).collect()
    };
    Evidence {
        unit: "mlp_act.3/7+".parse().unwrap(),
        scale: 1.0,
        density: 0.01,
        train: split(),
        validation: split(),
        test: split(),
        promoted: vec![],
        suppressed: vec![],
    }
}

/// What a model goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Right,
    Opposite,
    Chance,
}

/// A model that answers the scorers' questions by a rule, with log-probabilities if asked for.
pub(crate) struct Speaker(pub(crate) Rule);

fn animal(text: &str) -> bool {
    ANIMALS.iter().any(|a| text.contains(a))
}

impl Speaker {
    fn believes(&self, fact: bool, salt: &str) -> bool {
        match self.0 {
            Rule::Right => fact,
            Rule::Opposite => !fact,
            Rule::Chance => Seed(1).for_purpose(salt).uniform() < 0.5,
        }
    }
}

impl Chat for Speaker {
    fn name(&self) -> &str {
        "speaker"
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, ServiceError> {
        let question = &ask.messages.last().unwrap().content;
        let digit = |fact, salt: &str| if self.believes(fact, salt) { '8' } else { '1' };
        let inside = |text: &str| {
            text.split("{{").skip(1).map(|p| p.split("}}").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let text = if ask.messages[0].role == "system" {
            let line = |line: &str| {
                let (number, token) = line.split_once(": ").unwrap();
                format!("{number}: {}\n", digit(animal(token), line))
            };
            question.lines().map(line).collect()
        } else if question.contains("one digit") {
            digit(inside(question).iter().any(|t| animal(t)), question).to_string()
        } else {
            let passage = question.lines().find_map(|l| l.strip_prefix("Text: ")).unwrap();
            let marked = inside(passage);
            let fact = if marked.is_empty() { animal(passage) } else { marked.iter().all(|m| animal(m)) };
            if self.believes(fact, passage) { "Yes.".to_owned() } else { "no".to_owned() }
        };
        let top = if ask.top_log_probs == 0 { vec![] } else { alternatives(&text) };
        Ok(Answer { answer_tokens: text.len(), prompt_tokens: question.len() / 4, top_log_probs: top, text })
    }
}

/// One token a character for digits, one for the whole of a word; the said one has 0.75, another digit or word 0.2.
fn alternatives(text: &str) -> Vec<Vec<(String, f32)>> {
    let pair = |said: String, other: &str| vec![(other.to_owned(), 0.2_f32.ln()), (said, 0.75_f32.ln())];
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.chars().map(|c| pair(c.to_string(), "5")).collect()
    } else {
        vec![pair(text.trim_end_matches('.').to_owned(), if text.starts_with('Y') { " No" } else { "YES" })]
    }
}
