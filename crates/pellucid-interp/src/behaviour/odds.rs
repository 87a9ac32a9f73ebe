//! A behaviour in a model's tokens, and the log-odds of right against wrong under any tap.

use super::{Behaviour, Item};
use crate::error::tensor;
use crate::{Error, Result};
use pellucid_model::tokens::Message;
use pellucid_model::{Batch, Logits, Model, Plan, Row, Rules, Tap, Tensor};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

/// Tokens that run together.
pub(crate) const BATCH_TOKENS: usize = 1024;

/// An item in tokens.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The item.
    pub item: Item,
    /// Its prompt.
    pub row: Row,
    /// Its counterfactual, where it has one of as many tokens.
    pub counterfactual: Option<Row>,
    /// Ids of the right answers.
    pub right: Vec<u32>,
    /// Ids of the wrong answers.
    pub wrong: Vec<u32>,
}

/// A behaviour ready for one model.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The behaviour's name.
    pub name: String,
    /// Items whose answers are single tokens.
    pub items: Vec<Prepared>,
    /// How many were left out: an answer is no single token here, or the counterfactual has another length.
    pub left_out: usize,
}

impl Behaviour {
    /// Tokenises at most `count` items. A built-in behaviour leaves out what does not fit the tokenizer.
    ///
    /// # Errors
    /// If a file's answer is no single token (naming the line), or nothing fits.
    pub fn prepare(&self, model: &Model, count: usize) -> Result<Ready> {
        if self.items.iter().any(|i| i.chat) && model.tokenizer().chat_template().is_none() {
            let name = &self.name;
            return Err(Error::Request(format!(
                "{name} speaks to the model in a chat, and this model has no chat template; use one that was taught to answer"
            )));
        }
        let (mut items, mut left_out) = (Vec::new(), 0);
        for (i, item) in self.items.iter().enumerate() {
            if items.len() == count {
                break;
            }
            match prepared(model, item) {
                Ok(p) if self.lenient && item.counterfactual.is_some() && p.counterfactual.is_none() => {
                    left_out += 1;
                }
                Ok(p) => items.push(p),
                Err(_) if self.lenient => left_out += 1,
                Err(e) => {
                    return Err(match self.lines.get(i) {
                        Some(&line) => Error::Line { line, why: e.to_string() },
                        None => e,
                    });
                }
            }
        }
        if items.is_empty() {
            let name = &self.name;
            return Err(Error::Request(format!("no item of {name} has answers of one token in this model")));
        }
        Ok(Ready { name: self.name.clone(), items, left_out })
    }
}

impl Ready {
    /// The items in two halves, one to fit on and one to test on; items of one group stay together, and of items without one
    /// each class is halved.
    ///
    /// # Errors
    /// If there are not two groups.
    pub fn halves(&self) -> Result<[Ready; 2]> {
        let mut halves = [Vec::new(), Vec::new()];
        let mut side: BTreeMap<&str, usize> = BTreeMap::new();
        for item in &self.items {
            let smaller = usize::from(halves[1].len() < halves[0].len());
            let to = match item.item.group.as_deref() {
                Some(group) => *side.entry(group).or_insert(smaller),
                // classes that alternate would else come one to each half
                None => {
                    let of = |half: &Vec<Prepared>| {
                        half.iter().filter(|i| i.item.class == item.item.class).count()
                    };
                    match of(&halves[0]).cmp(&of(&halves[1])) {
                        Ordering::Less => 0,
                        Ordering::Equal => smaller,
                        Ordering::Greater => 1,
                    }
                }
            };
            halves[to].push(item.clone());
        }
        if halves.iter().any(Vec::is_empty) {
            let n = self.items.len();
            return Err(Error::Request(format!(
                "{n} items of one group cannot be split into some to fit on and others to test on"
            )));
        }
        Ok(halves.map(|items| Ready { name: self.name.clone(), items, left_out: 0 }))
    }
}

fn prepared(model: &Model, item: &Item) -> Result<Prepared> {
    let tokenizer = model.tokenizer();
    let said = |text: &str| {
        let message = Message { role: "user".to_owned(), content: text.to_owned() };
        tokenizer.encode_chat(&[message], true).map(|e| e.ids)
    };
    let tokens = |text: &str| {
        let ids = if item.chat { said(text) } else { tokenizer.encode_plain(text, true).map(|e| e.ids) };
        ids.map(Row::new).map_err(token)
    };
    let ids = |list: &[String]| {
        list.iter().map(|t| tokenizer.single_token(t).map_err(token)).collect::<Result<Vec<u32>>>()
    };
    let (row, right, wrong) = (tokens(&item.prompt)?, ids(&item.right)?, ids(&item.wrong)?);
    if row.tokens.is_empty() {
        return Err(Error::Request("the prompt has no tokens".to_owned()));
    }
    if right.iter().any(|r| wrong.contains(r)) {
        return Err(Error::Request("an answer is both right and wrong in this model's tokens".to_owned()));
    }
    let counterfactual = item.counterfactual.as_deref().map(tokens).transpose()?;
    let counterfactual = counterfactual.filter(|c| c.tokens.len() == row.tokens.len());
    Ok(Prepared { item: item.clone(), row, counterfactual, right, wrong })
}

fn token(e: pellucid_model::tokens::TokenError) -> Error {
    Error::Model(e.into())
}

/// Items in order, as ranges of at most [`BATCH_TOKENS`] tokens, and at least one item.
pub(crate) fn batches(items: &[Prepared]) -> Vec<Range<usize>> {
    batches_of(items, BATCH_TOKENS)
}

/// As [`batches`], of at most so many tokens.
pub(crate) fn batches_of(items: &[Prepared], most: usize) -> Vec<Range<usize>> {
    let rows: Vec<&Row> = items.iter().map(|i| &i.row).collect();
    packed(&rows, most)
}

/// Rows in order, as ranges of at most so many tokens, and at least one row.
pub(crate) fn packed(rows: &[&Row], most: usize) -> Vec<Range<usize>> {
    let (mut out, mut from, mut tokens) = (Vec::new(), 0, 0);
    for (i, row) in rows.iter().enumerate() {
        let n = row.tokens.len();
        if i > from && tokens + n > most {
            out.push(from..i);
            (from, tokens) = (i, 0);
        }
        tokens += n;
    }
    if from < rows.len() {
        out.push(from..rows.len());
    }
    out
}

impl Prepared {
    /// `log Σ exp(logits of right) − log Σ exp(logits of wrong)`: with one answer each, the difference of logits.
    fn odds(&self, union: &[u32], logits: &[f32]) -> f64 {
        let of = |ids: &[u32]| {
            let found = ids.iter().filter_map(|id| union.binary_search(id).ok());
            let values: Vec<f64> = found.map(|i| f64::from(logits[i])).collect();
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            most + values.iter().map(|v| (v - most).exp()).sum::<f64>().ln()
        };
        of(&self.right) - of(&self.wrong)
    }

    /// The derivative of [`Prepared::odds`] by each logit: softmax among the right less softmax among the wrong.
    fn odds_slope(&self, union: &[u32], logits: &[f32]) -> Vec<f32> {
        let mut slope = vec![0f32; logits.len()];
        for (ids, sign) in [(&self.right, 1.0), (&self.wrong, -1.0)] {
            let at: Vec<usize> = ids.iter().filter_map(|id| union.binary_search(id).ok()).collect();
            let most = at.iter().map(|&i| f64::from(logits[i])).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = at.iter().map(|&i| (f64::from(logits[i]) - most).exp()).sum();
            for i in at {
                slope[i] += sign * ((f64::from(logits[i]) - most).exp() / total) as f32;
            }
        }
        slope
    }

    /// The right and the wrong token that stand for all.
    pub fn contrast(&self) -> (u32, u32) {
        (self.right[0], self.wrong[0])
    }
}

/// Log-odds of one batch of items, from the tokens or from a layer's stream on.
pub(crate) fn batch_odds(
    model: &Model,
    items: &[Prepared],
    start: Option<(usize, Tensor)>,
    tap: &mut dyn Tap,
) -> Result<Vec<f64>> {
    let batch = Batch { rows: items.iter().map(|i| i.row.clone()).collect() };
    let resid = model.run(&batch, &Plan { logits: Logits::None, start, stop_after: None }, None, tap)?.resid;
    odds_of(model, items, &last_rows(&batch, &resid)?)
}

/// The stream at each row's last token.
pub(crate) fn last_rows(batch: &Batch, resid: &Tensor) -> Result<Tensor> {
    let last: Vec<u32> = batch.ranges().iter().map(|r| r.end as u32 - 1).collect();
    tensor(Tensor::new(last, resid.device()).and_then(|last| resid.index_select(&last, 0)))
}

/// Every answer of some items, in order, each once.
fn answers(items: &[Prepared]) -> Vec<u32> {
    let mut union: Vec<u32> = items.iter().flat_map(|i| i.right.iter().chain(&i.wrong).copied()).collect();
    union.sort_unstable();
    union.dedup();
    union
}

/// ∂(each item's log-odds)/∂(the final stream at its last token, `last`), placed at that token of `resid`'s shape and
/// zero at the others.
pub(crate) fn odds_gradient(
    model: &Model,
    batch: &Batch,
    items: &[Prepared],
    last: &Tensor,
    rules: Rules,
) -> Result<Tensor> {
    let union = answers(items);
    let logits = tensor(model.unembed_tokens(last, &union)?.to_vec2::<f32>())?;
    let slopes: Vec<f32> =
        items.iter().zip(&logits).flat_map(|(item, logits)| item.odds_slope(&union, logits)).collect();
    let slopes = tensor(Tensor::from_vec(slopes, (items.len(), union.len()), last.device()))?;
    let g = model.tokens_gradient(last, &union, &slopes, rules)?;
    let index: Vec<u32> = batch.ranges().iter().map(|r| r.end as u32 - 1).collect();
    let whole = Tensor::zeros((batch.tokens(), last.dim(1).unwrap_or(0)), last.dtype(), last.device())
        .and_then(|zero| zero.index_add(&Tensor::new(index, last.device())?, &g, 0));
    tensor(whole)
}

pub(crate) fn odds_of(model: &Model, items: &[Prepared], last: &Tensor) -> Result<Vec<f64>> {
    let union = answers(items);
    let logits = tensor(model.unembed_tokens(last, &union)?.to_vec2::<f32>())?;
    Ok(items.iter().zip(&logits).map(|(item, l)| item.odds(&union, l)).collect())
}

/// Log-odds of every item; `tap` makes the tap of a batch of them.
pub(crate) fn all_odds<T: Tap>(
    model: &Model,
    items: &[Prepared],
    mut tap: impl FnMut(&[Prepared]) -> Result<T>,
) -> Result<Vec<f64>> {
    let mut odds = Vec::with_capacity(items.len());
    for range in batches(items) {
        let part = &items[range];
        odds.extend(batch_odds(model, part, None, &mut tap(part)?)?);
    }
    Ok(odds)
}
