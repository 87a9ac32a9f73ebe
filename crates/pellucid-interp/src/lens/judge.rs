//! How far a lens is from what the model says in the end, on text that it was not fitted on.

use super::file::Fitted;
use super::logit::{Final, LOGITS, rows_of};
use crate::error::tensor;
use crate::stream::site_at;
use crate::sweep::next_batch;
use crate::{Interval, Result};
use pellucid_core::Site;
use pellucid_model::sample::{Mass, top_k};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Tensor};
use pellucid_store::Window;
use rayon::prelude::*;
use serde::Serialize;

/// One depth, read in two ways.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Where.
    pub site: Site,
    /// Mean KL divergence from the final distribution to the logit lens's, in nats.
    pub logit_kl: Interval,
    /// The same for the fitted lens.
    pub fitted_kl: Interval,
    /// Share of tokens at which the logit lens's likeliest token is the final one.
    pub logit_agrees: f64,
    /// The same for the fitted lens.
    pub fitted_agrees: f64,
}

/// Sums of one way of reading one depth.
#[derive(Clone, Default)]
struct Sums {
    kl: Vec<f64>,
    agrees: usize,
}

/// Judges a lens on every token but the first of each window. `progress` is told windows done.
///
/// # Errors
/// If the lens does not belong to the model, or a window does not fit it.
pub fn judge(
    model: &Model,
    fitted: &Fitted,
    mut windows: &[Window],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Judged>> {
    fitted.check_final(model)?;
    let layers = model.spec().n_layers;
    let sites: Vec<Site> = fitted.sites().collect();
    let mut sums = vec![[Sums::default(), Sums::default()]; sites.len()];
    let (mut done, most) = (0, (LOGITS / model.spec().vocabulary).max(1));
    while !windows.is_empty() {
        let batch = next_batch(windows, most.min(1024));
        windows = &windows[batch.len()..];
        done += batch.len();
        let Some(rows) = super::fit::counted(batch) else { continue };
        let last = site_at(layers);
        let mut record = Record::new(sites.iter().copied().chain([last]));
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        model.run(&Batch::new(batch.iter().map(|w| w.tokens.clone())), &plan, None, &mut record)?;
        let picked = |site: Site| tensor(record.value(site)?.index_select(&rows, 0));
        let ends = picked(last)?;
        let picked: Vec<Tensor> = sites.iter().map(|s| picked(*s)).collect::<Result<_>>()?;
        let count = tensor(ends.dim(0))?;
        for from in (0..count).step_by(most) {
            let size = most.min(count - from);
            let part = |x: &Tensor| tensor(x.narrow(0, from, size));
            let ends = rows_of(&model.unembed(&part(&ends)?)?)?;
            let ends: Vec<(Final, usize)> = ends.par_iter().map(|l| (Final::of(l), first(l))).collect();
            for ((site, x), sums) in sites.iter().zip(&picked).zip(&mut sums) {
                let x = part(x)?;
                for (x, sums) in [x.clone(), fitted.through(*site, &x)?].iter().zip(sums) {
                    add(model, x, &ends, sums)?;
                }
            }
        }
        progress(done);
    }
    let judged = |(site, [logit, tuned]): (Site, [Sums; 2])| {
        let share = |s: &Sums| s.agrees as f64 / s.kl.len().max(1) as f64;
        Judged {
            site,
            logit_kl: Interval::mean(&logit.kl),
            fitted_kl: Interval::mean(&tuned.kl),
            logit_agrees: share(&logit),
            fitted_agrees: share(&tuned),
        }
    };
    Ok(sites.into_iter().zip(sums).map(judged).collect())
}

fn first(logits: &[f32]) -> usize {
    top_k(logits, 1).first().map_or(0, |t| t.0)
}

fn add(model: &Model, x: &Tensor, ends: &[(Final, usize)], sums: &mut Sums) -> Result<()> {
    let logits = rows_of(&model.unembed(x)?)?;
    let one = |(logits, (last, top)): (&Vec<f32>, &(Final, usize))| {
        (last.kl_to(logits, Mass::of(logits).log_total), first(logits) == *top)
    };
    let all: Vec<(f64, bool)> = logits.par_iter().zip(ends.par_iter()).map(one).collect();
    sums.kl.extend(all.iter().map(|a| a.0));
    sums.agrees += all.iter().filter(|a| a.1).count();
    Ok(())
}
