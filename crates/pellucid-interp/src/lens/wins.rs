//! The layer at which a behaviour's right answer wins: above the wrong one, and in the whole vocabulary.

use super::file::Fitted;
use super::logit::{LOGITS, rows_of};
use crate::behaviour::{Prepared, Ready, batches};
use crate::error::tensor;
use crate::patchscope::strangers;
use crate::stream::{Streams, site_at};
use crate::{Counted, Interval, Result};
use pellucid_core::Site;
use pellucid_model::{Model, Tensor, sample::Mass};
use rayon::prelude::*;
use serde::Serialize;

/// What a lens makes of all items at one depth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wins {
    /// Where.
    pub site: Site,
    /// Share of items whose right answer stands above the wrong one.
    pub above_wrong: Interval,
    /// Share of items whose right answer is the likeliest of all tokens.
    pub top: Interval,
    /// Control: share of items at which another item's right answer is the likeliest; none where no item has other answers.
    pub stranger_top: Option<Interval>,
    /// Mean log-odds of right against wrong.
    pub log_odds: Interval,
    /// Mean entropy of what the lens says, in nats.
    pub entropy: Interval,
    /// Median rank of the best right answer among all tokens.
    pub median_rank: usize,
}

/// For one item: where its right answer becomes the likeliest token and stays it to the end; none if it is not at the end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WinsAt {
    /// The item's number.
    pub item: usize,
    /// Where it wins.
    pub site: Option<Site>,
}

/// One item at one depth.
#[derive(Clone, Copy)]
struct Seen {
    odds: f64,
    rank: usize,
    entropy: f64,
    stranger: Option<bool>,
}

/// Reads every item at its last token, at every depth: totals by depth, and where each item's answer wins.
///
/// # Errors
/// If the lens does not belong to the model, or a run fails or is stopped.
pub fn wins(
    model: &Model,
    ready: &Ready,
    fitted: Option<&Fitted>,
    progress: Counted<'_>,
) -> Result<(Vec<Wins>, Vec<WinsAt>)> {
    if let Some(fitted) = fitted {
        fitted.check_final(model)?;
    }
    let layers = model.spec().n_layers;
    // (depth, item)
    let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); layers + 1];
    let most = (LOGITS / model.spec().vocabulary).max(1);
    let other = strangers(&ready.items);
    // an item that has no stranger is its own
    let stranger = |i: usize| (other[i] != i).then(|| ready.items[other[i]].right.as_slice());
    let batches = batches(&ready.items);
    let all = batches.len() * (layers + 1);
    for (number, range) in batches.into_iter().enumerate() {
        let before = range.start;
        let items = &ready.items[range];
        let rows: Vec<_> = items.iter().map(|i| i.row.clone()).collect();
        let streams = Streams::new(model, &rows)?;
        for (depth, seen) in seen.iter_mut().enumerate() {
            for first in (0..items.len()).step_by(most) {
                let part = &items[first..(first + most).min(items.len())];
                let at = |(i, item): (usize, &Prepared)| {
                    streams.row_at(depth, first + i, item.row.tokens.len() - 1)
                };
                let rows: Vec<Tensor> = part.iter().enumerate().map(at).collect::<Result<_>>()?;
                let mut x = tensor(Tensor::cat(&rows, 0))?;
                if let Some(fitted) = fitted {
                    x = fitted.through(site_at(depth), &x)?;
                }
                let logits = rows_of(&model.unembed(&x)?)?;
                let one = |(i, l): (usize, &Vec<f32>)| look(&part[i], stranger(before + first + i), l);
                seen.par_extend(logits.par_iter().enumerate().map(one));
            }
            progress(number * (layers + 1) + depth + 1, all)?;
        }
    }
    let at = (0..ready.items.len())
        .map(|item| WinsAt { item, site: wins_at(seen.iter().map(|s| s[item].rank == 1)) });
    let at = at.collect();
    Ok((seen.iter().enumerate().map(|(depth, seen)| total(depth, seen)).collect(), at))
}

/// All items at one depth.
fn total(depth: usize, seen: &[Seen]) -> Wins {
    let count = |f: &dyn Fn(&Seen) -> bool| Interval::share(seen.iter().filter(|s| f(s)).count(), seen.len());
    let mean = |f: &dyn Fn(&Seen) -> f64| Interval::mean(&seen.iter().map(f).collect::<Vec<_>>());
    let strangers: Vec<bool> = seen.iter().filter_map(|s| s.stranger).collect();
    let mut ranks: Vec<usize> = seen.iter().map(|s| s.rank).collect();
    ranks.sort_unstable();
    Wins {
        site: site_at(depth),
        above_wrong: count(&|s| s.odds > 0.0),
        top: count(&|s| s.rank == 1),
        stranger_top: (!strangers.is_empty())
            .then(|| Interval::share(strangers.iter().filter(|s| **s).count(), strangers.len())),
        log_odds: mean(&|s| s.odds),
        entropy: mean(&|s| s.entropy),
        median_rank: ranks.get(ranks.len() / 2).copied().unwrap_or(0),
    }
}

/// The first depth from which on something holds to the end.
pub fn wins_at(holds: impl DoubleEndedIterator<Item = bool> + ExactSizeIterator) -> Option<Site> {
    let depths = holds.len();
    let stays = holds.rev().take_while(|h| *h).count();
    (stays > 0).then(|| site_at(depths - stays))
}

fn look(item: &Prepared, stranger: Option<&[u32]>, logits: &[f32]) -> Seen {
    let log_sum = |ids: &[u32]| {
        let most = ids.iter().map(|id| logits[*id as usize]).fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = ids.iter().map(|id| f64::from(logits[*id as usize] - most).exp()).sum();
        f64::from(most) + sum.ln()
    };
    let rank = |ids: &[u32]| {
        let best = ids.iter().map(|id| logits[*id as usize]).fold(f32::NEG_INFINITY, f32::max);
        1 + logits.iter().filter(|l| **l > best).count()
    };
    Seen {
        odds: log_sum(&item.right) - log_sum(&item.wrong),
        rank: rank(&item.right),
        entropy: Mass::of(logits).entropy,
        stranger: stranger.map(|ids| rank(ids) == 1),
    }
}
