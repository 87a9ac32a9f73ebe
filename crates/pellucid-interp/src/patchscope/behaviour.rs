//! A behaviour through a patchscope: from which depth, into which depth, does the target say the right answer?
//!
//! Precision@1 is the share of items whose right answer is the likeliest of all tokens. Beside each cell stands its control:
//! the value of another item (of another group, or with other answers) in the same place.

use super::ladder::likeliest;
use super::target::{Placed, Target};
use crate::behaviour::{Prepared, Ready};
use crate::lens::Fitted;
use crate::stream::{Streams, matrix, site_at};
use crate::{Counted, Error, Interval, Result};
use pellucid_core::Site;
use pellucid_model::{Model, with_numbers};
use serde::Serialize;

/// Which token of an item gives the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// The last one.
    Last,
    /// The last one in which the item differs from its counterfactual.
    Subject,
}

/// What a grid asks.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The target; `{}` marks the place.
    pub target: String,
    /// Where values come from.
    pub at: At,
    /// Every how manieth depth, on both sides.
    pub every: usize,
}

/// One pair of depths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Where values come from.
    pub source: Site,
    /// Where they go.
    pub target: Site,
    /// Share of items whose right answer is then the likeliest of all tokens.
    pub right: Interval,
    /// The same with another item's value.
    pub control: f64,
}

/// A behaviour at every pair of depths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grid {
    /// Items that were asked.
    pub items: usize,
    /// Share that the model answers at the end of its own prompt.
    pub plain: Interval,
    /// Share that the target answers with the subject's words in the place; none where values come from the last token.
    pub direct: Option<Interval>,
    /// Share that the target answers as it is.
    pub unpatched: Interval,
    /// All pairs.
    pub cells: Vec<Cell>,
}

impl At {
    /// The position in an item.
    ///
    /// # Errors
    /// If the item has no counterfactual of its length that differs.
    pub(super) fn position(self, item: &Prepared) -> Result<usize> {
        let last = item.row.tokens.len() - 1;
        if self == At::Last {
            return Ok(last);
        }
        let other = item.counterfactual.as_ref().map_or(&[][..], |c| &c.tokens);
        let differs = |p: &usize| other.get(*p).is_some_and(|o| *o != item.row.tokens[*p]);
        (0..=last).rev().find(differs).ok_or_else(|| {
            let prompt = &item.item.prompt;
            Error::Request(format!(
                "the item {prompt:?} has no counterfactual of as many tokens, so its subject is not known"
            ))
        })
    }

    /// The subject's words: the tokens that differ.
    fn words(item: &Prepared, model: &Model) -> Result<String> {
        let other = item.counterfactual.as_ref().map_or(&[][..], |c| &c.tokens);
        let pairs = item.row.tokens.iter().zip(other);
        let ids: Vec<u32> = pairs.filter(|(a, b)| a != b).map(|(a, _)| *a).collect();
        let text = model.tokenizer().decode(&ids).map_err(|e| Error::Model(e.into()))?;
        Ok(text.trim().to_owned())
    }
}

/// For each item another one with other answers.
pub(crate) fn strangers(items: &[Prepared]) -> Vec<usize> {
    let n = items.len();
    let other = |i: usize| {
        let differs = |j: &usize| !items[*j].right.iter().any(|r| items[i].right.contains(r));
        (1..n).map(|step| (i + step) % n).find(differs).unwrap_or(i)
    };
    (0..n).map(other).collect()
}

/// Depths from 0 to the last, every so many, and the last.
pub(super) fn depths(layers: usize, every: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..=layers).step_by(every.max(1)).collect();
    if all.last() != Some(&layers) {
        all.push(layers);
    }
    all
}

fn share(items: &[Prepared], said: &[u32]) -> Interval {
    let right = items.iter().zip(said).filter(|(i, s)| i.right.contains(s)).count();
    Interval::share(right, items.len())
}

/// Asks every pair of depths. Where a fitted map is given, values of its sites are mapped first, and go to the depth that it
/// leads to alone. `progress` is told cells done and cells in all.
///
/// # Errors
/// If the target has no place, an item no subject, or a run fails or is stopped.
pub fn grid(
    model: &Model,
    ready: &Ready,
    ask: &Ask,
    fitted: Option<&Fitted>,
    progress: Counted<'_>,
) -> Result<Grid> {
    let items = &ready.items;
    let rows: Vec<_> = items.iter().map(|i| i.row.clone()).collect();
    let streams = Streams::new(model, &rows)?;
    let layers = model.spec().n_layers;
    let target = Target::new(model, Placed::new(model, &ask.target)?)?;
    let positions: Vec<usize> = items.iter().map(|i| ask.at.position(i)).collect::<Result<_>>()?;
    let ends: Vec<Vec<f32>> = items
        .iter()
        .enumerate()
        .map(|(i, item)| streams.at(layers, i, item.row.tokens.len() - 1))
        .collect::<Result<_>>()?;
    let plain = share(items, &likeliest(model, &matrix(ends)?)?);
    let unpatched = likeliest(model, &target.run(0, &[target.own(0)?])?)?;
    let unpatched = share(items, &vec![unpatched.first().copied().unwrap_or(0); items.len()]);
    let direct = direct(model, items, ask)?;
    let strangers = strangers(items);
    let mut pairs = Vec::new();
    for &source in &depths(layers, ask.every) {
        match fitted {
            None => pairs.extend(depths(layers, ask.every).into_iter().map(|target| (source, target))),
            Some(f) if f.map(site_at(source)).is_some() => {
                pairs.extend(crate::stream::depth_of(f.card.to).map(|target| (source, target)));
            }
            Some(_) => {}
        }
    }
    let mut cells = Vec::new();
    for &(from, to) in &pairs {
        let mut values = Vec::new();
        for (i, &position) in positions.iter().enumerate() {
            values.push(streams.at(from, i, position)?);
        }
        if let Some(fitted) = fitted {
            let d = model.spec().d_model;
            let mapped = fitted.through(site_at(from), &matrix(values)?)?;
            values = with_numbers(&mapped, |v| v.chunks_exact(d).map(<[f32]>::to_vec).collect())?;
        }
        // another item's value gives another item's answer: one run serves both
        let said = likeliest(model, &target.run(to, &values)?)?;
        let foreign: Vec<u32> = strangers.iter().map(|&j| said[j]).collect();
        let (right, control) = (share(items, &said), share(items, &foreign).value);
        cells.push(Cell { source: site_at(from), target: site_at(to), right, control });
        progress(cells.len(), pairs.len())?;
    }
    Ok(Grid { items: items.len(), plain, direct, unpatched, cells })
}

/// What the target says with each subject's own words.
fn direct(model: &Model, items: &[Prepared], ask: &Ask) -> Result<Option<Interval>> {
    if ask.at == At::Last || !ask.target.contains("{}") {
        return Ok(None);
    }
    let mut said = Vec::new();
    for item in items {
        let text = Placed::with(model, &ask.target, &At::words(item, model)?)?;
        let logits = model.next_logits(&text.row, &mut ())?;
        said.push(pellucid_model::sample::top_k(&logits, 1).first().map_or(0, |t| t.0 as u32));
    }
    Ok(Some(share(items, &said)))
}
