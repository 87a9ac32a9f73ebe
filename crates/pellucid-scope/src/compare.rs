//! One text read twice, plain and with the edits truly applied: what became likelier, and which neurons changed.
//!
//! Both readings are rows of one batch, so that a layer's neurons are seen side by side and none need be kept.

use crate::error::{bad, tensor};
use crate::rows::RowEdits;
use crate::shelf::{Opened, relative};
use crate::wire::Placed;
use crate::words::{self, Words};
use crate::{Loaded, Result, Text};
use pellucid_core::{Edit, Index, Point, Polarity, Site, Target, UnitId};
use pellucid_model::{Batch, Logits, Place, Plan, Tap, Tensor, sample, with_numbers};
use serde::Serialize;
use std::collections::HashSet;
use std::ops::Range;
use utoipa::ToSchema;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparing {
    /// Only neurons that changed at these positions, from the first to before the second.
    pub positions: Option<(usize, usize)>,
    /// How many units at most, the largest changes first.
    pub top: usize,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CompareReply {
    /// The text.
    pub prompt: Vec<Placed>,
    /// Log-probability of each token in the plain run; none for the first.
    pub plain: Vec<Option<f32>>,
    /// The same in the edited run.
    pub edited: Vec<Option<f32>>,
    /// KL divergence of the edited next-token distribution from the plain one after each position, in nats:
    /// Σ plain · ln(plain / edited).
    pub kl: Vec<f64>,
    /// The neurons that changed most.
    pub units: Vec<ChangedUnit>,
}

/// A neuron in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ChangedUnit {
    /// The neuron, with the side of zero it was on where it changed most (the stronger of the two runs).
    pub unit: String,
    /// Its layer.
    pub layer: u32,
    /// Where it changed most.
    pub peak: usize,
    /// Signed activation at each position of the plain run, by typical strength (raw without an atlas).
    pub plain: Vec<f32>,
    /// The same in the edited run.
    pub edited: Vec<f32>,
    /// The change at the peak.
    pub change: f32,
    /// Whether an edit names this neuron.
    pub edited_directly: bool,
    /// What it responds to.
    pub words: Option<Words>,
}

/// Reads a text twice.
///
/// # Errors
/// If there are no edits, or they or the positions do not fit.
pub fn compare(
    loaded: &Loaded,
    opened: Option<&Opened>,
    text: Text,
    edits: &[Edit],
    asked: &Comparing,
) -> Result<CompareReply> {
    let Some(apply) = text.edits(loaded, edits)? else {
        return bad("there are no edits: the two runs would be the same");
    };
    let mut beside = Beside {
        opened,
        named: named(edits),
        rows: RowEdits(vec![None, Some(apply)]),
        positions: text.range(asked.positions)?,
        top: asked.top,
        kept: Vec::new(),
    };
    let batch = Batch { rows: vec![text.row.clone(), text.row.clone()] };
    let at_end = [Point::FinalNorm, Point::LmHead].into_iter().any(|p| beside.rows.wants(Site::new(p, 0)));
    let logits = if at_end { Logits::All } else { Logits::None };
    let output =
        loaded.model.run(&batch, &Plan { logits, start: None, stop_after: None }, None, &mut beside)?;
    let ends = Ends { loaded, resid: output.resid, logits: output.logits, n: text.tokens.len() };
    let (plain, edited, kl) = ends.read(&text)?;
    let units = beside.kept.into_iter().map(|c| worded(opened, c)).collect::<Result<_>>()?;
    Ok(CompareReply { prompt: text.tokens, plain, edited, kl, units })
}

/// Neurons that edits name one by one.
fn named(edits: &[Edit]) -> HashSet<(Site, u32)> {
    let of = |e: &Edit| match &e.target {
        Target::Units(list) => list.iter().map(|&i| (e.site, i)).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    edits.iter().flat_map(of).collect()
}

struct Changed {
    site: Site,
    index: u32,
    peak: usize,
    plain: Vec<f32>,
    edited: Vec<f32>,
    change: f32,
    named: bool,
}

/// Two equal rows, of which the second is edited: compares the neurons of both.
struct Beside<'a> {
    opened: Option<&'a Opened>,
    named: HashSet<(Site, u32)>,
    rows: RowEdits,
    positions: Range<usize>,
    top: usize,
    kept: Vec<Changed>,
}

impl Tap for Beside<'_> {
    fn wants(&self, site: Site) -> bool {
        site.point == Point::MlpAct || self.rows.wants(site)
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let x = if self.rows.wants(at.site) { self.rows.visit(at, x)? } else { x };
        if at.site.point == Point::MlpAct {
            let width = x.dim(1)?;
            with_numbers(&x, |values| {
                let (plain, edited) = values.split_at(values.len() / 2);
                self.layer(at.site, plain, edited, width);
            })?;
        }
        Ok(x)
    }
}

impl Beside<'_> {
    /// `plain` and `edited`: `(tokens, width)`.
    fn layer(&mut self, site: Site, plain: &[f32], edited: &[f32], width: usize) {
        let scales = self.opened.and_then(|o| o.scales(site));
        let scale = |i: usize| match (self.opened, scales) {
            (None, _) => [1.0, 1.0],
            (Some(_), scales) => scales.and_then(|s| s.get(i)).copied().unwrap_or([0.0, 0.0]),
        };
        let both = |i: usize, p: usize| {
            let at = p * width + i;
            (relative(plain[at], scale(i)), relative(edited[at], scale(i)))
        };
        let mut here = Vec::new();
        for index in 0..width {
            let (mut peak, mut change) = (0, 0f32);
            for p in self.positions.clone() {
                let (a, b) = both(index, p);
                if (b - a).abs() > change.abs() {
                    (peak, change) = (p, b - a);
                }
            }
            if change != 0.0 {
                here.push((index, peak, change));
            }
        }
        here.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()).then(a.0.cmp(&b.0)));
        here.truncate(self.top);
        for (i, peak, change) in here {
            let n = plain.len() / width.max(1);
            let (plain, edited) = (0..n).map(|p| both(i, p)).unzip();
            let index = i as u32;
            let named = self.named.contains(&(site, index));
            self.kept.push(Changed { site, index, peak, plain, edited, change, named });
        }
        self.kept.sort_by(|a, b| {
            let by_size = b.change.abs().total_cmp(&a.change.abs());
            by_size.then_with(|| (a.site, a.index).cmp(&(b.site, b.index)))
        });
        self.kept.truncate(self.top);
    }
}

fn worded(opened: Option<&Opened>, c: Changed) -> Result<ChangedUnit> {
    let (a, b) = (c.plain[c.peak], c.edited[c.peak]);
    let stronger = if a.abs() >= b.abs() { a } else { b };
    let side = if stronger < 0.0 { Polarity::Negative } else { Polarity::Positive };
    let words = match opened {
        Some(opened) => words::chosen(&opened.atlas(), c.site, c.index, side)?.map(|f| f.1),
        None => None,
    };
    let unit = UnitId::Site { site: c.site, index: Index::Coordinate(c.index), polarity: Some(side) };
    Ok(ChangedUnit {
        unit: unit.to_string(),
        layer: c.site.layer,
        peak: c.peak,
        plain: c.plain,
        edited: c.edited,
        change: c.change,
        edited_directly: c.named,
        words,
    })
}

/// Where two rows of `n` tokens came out.
struct Ends<'a> {
    loaded: &'a Loaded,
    resid: Tensor,
    logits: Option<Tensor>,
    n: usize,
}

/// Positions whose distributions stand in memory together.
const ROWS: usize = 32;

type Read = (Vec<Option<f32>>, Vec<Option<f32>>, Vec<f64>);

impl Ends<'_> {
    fn read(&self, text: &Text) -> Result<Read> {
        let (mut plain, mut edited, mut kl) = (vec![None], vec![None], Vec::new());
        for from in (0..self.n).step_by(ROWS) {
            let count = ROWS.min(self.n - from);
            let (a, b) = (self.rows(from, count)?, self.rows(self.n + from, count)?);
            for (i, (a, b)) in a.iter().zip(&b).enumerate() {
                let (a, b) = (sample::log_softmax(a), sample::log_softmax(b));
                if let Some(&next) = text.row.tokens.get(from + i + 1) {
                    plain.push(a.get(next as usize).copied());
                    edited.push(b.get(next as usize).copied());
                }
                kl.push(divergence(&a, &b));
            }
        }
        Ok((plain, edited, kl))
    }

    fn rows(&self, from: usize, count: usize) -> Result<Vec<Vec<f32>>> {
        let logits = match &self.logits {
            Some(logits) => tensor(logits.narrow(0, from, count))?,
            None => self.loaded.model.unembed(&tensor(self.resid.narrow(0, from, count))?)?,
        };
        tensor(logits.to_vec2())
    }
}

fn divergence(a: &[f32], b: &[f32]) -> f64 {
    let terms = a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    terms.map(|(a, b)| if a == f64::NEG_INFINITY { 0.0 } else { a.exp() * (a - b) }).sum::<f64>().max(0.0)
}
