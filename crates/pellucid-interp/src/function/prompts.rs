//! A task in a model's tokens: examples before a question, right ones, shuffled ones, or none.

use super::Task;
use crate::{Error, Result};
use pellucid_core::Seed;
use pellucid_model::{Model, Row};

/// A task's pairs, those whose answer is one token, in two parts.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// The task's name.
    pub name: String,
    /// Examples come from here, and what the vector is found with.
    pub shown: Vec<(String, String)>,
    /// Questions that it is tried on.
    pub asked: Vec<(String, String)>,
    /// Pairs whose answer is more than one token.
    pub left_out: usize,
}

/// A prompt and its answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The prompt.
    pub row: Row,
    /// The answer's token.
    pub answer: u32,
}

/// Share of the pairs that are shown.
const SHOWN: f64 = 0.7;

impl Pairs {
    /// Splits a task with the seed.
    ///
    /// # Errors
    /// If fewer than `shots` + 1 pairs can be shown, or fewer than four asked.
    pub fn of(model: &Model, task: &Task, shots: usize, seed: Seed) -> Result<Self> {
        let one = |y: &str| model.tokenizer().single_token(&format!(" {y}")).is_ok();
        let fit: Vec<(String, String)> = task.pairs.iter().filter(|(_, y)| one(y)).cloned().collect();
        let left_out = task.pairs.len() - fit.len();
        let order = seed.for_purpose("pairs").choose(fit.len(), fit.len());
        let cut = (SHOWN * fit.len() as f64).round() as usize;
        let part = |range: &[usize]| range.iter().map(|&i| fit[i].clone()).collect::<Vec<_>>();
        let (shown, asked) = (part(&order[..cut]), part(&order[cut..]));
        if shown.len() <= shots || asked.len() < 4 {
            let (name, n) = (&task.name, fit.len());
            return Err(Error::Request(format!(
                "{name} has {n} pairs whose answer is one token of this model; {} are shown, which is too few for {shots} \
                 examples and a question; use fewer --shots or more pairs",
                shown.len()
            )));
        }
        Ok(Pairs { name: task.name.clone(), shown, asked, left_out })
    }

    /// `count` questions from what is shown, each behind `shots` other examples; `shuffled` gives the examples each other's
    /// answers.
    ///
    /// # Errors
    /// If a text cannot be tokenised.
    pub fn examples(
        &self,
        model: &Model,
        shots: usize,
        count: usize,
        shuffled: bool,
        seed: Seed,
    ) -> Result<Vec<Asked>> {
        let mut seed = seed.for_purpose("examples");
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            let drawn = seed.choose(self.shown.len(), shots + 1);
            let (question, examples) = (&self.shown[drawn[0]], &drawn[1..]);
            out.push(self.asked_behind(model, examples, question, shuffled)?);
        }
        Ok(out)
    }

    /// Every question that was held out, behind `shots` examples from what is shown (none for a bare question).
    ///
    /// # Errors
    /// If a text cannot be tokenised.
    pub fn questions(&self, model: &Model, shots: usize, shuffled: bool, seed: Seed) -> Result<Vec<Asked>> {
        let mut seed = seed.for_purpose("questions");
        let one = |question: &(String, String)| {
            let examples = seed.choose(self.shown.len(), shots);
            self.asked_behind(model, &examples, question, shuffled)
        };
        self.asked.iter().map(one).collect()
    }

    fn asked_behind(
        &self,
        model: &Model,
        examples: &[usize],
        (x, y): &(String, String),
        shuffled: bool,
    ) -> Result<Asked> {
        let mut text = String::new();
        for (i, &example) in examples.iter().enumerate() {
            // everyone gets the next one's answer: no example is right, unless there is one alone
            let answer = if shuffled { examples[(i + 1) % examples.len()] } else { example };
            text.push_str(&format!("Q: {}\nA: {}\n\n", self.shown[example].0, self.shown[answer].1));
        }
        text.push_str(&format!("Q: {x}\nA:"));
        let tokenizer = model.tokenizer();
        let token = |e: pellucid_model::tokens::TokenError| Error::Model(e.into());
        let row = Row::new(tokenizer.encode_plain(&text, true).map_err(token)?.ids);
        Ok(Asked { row, answer: tokenizer.single_token(&format!(" {y}")).map_err(token)? })
    }
}
