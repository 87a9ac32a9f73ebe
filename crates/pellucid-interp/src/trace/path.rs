//! Path patching (Wang et al. 2022, arXiv 2211.00593; Goldowsky-Dill et al. 2023, arXiv 2304.05969): what a sender does to a
//! receiver along the direct path, everything between them held.
//!
//! 1. The base run goes on from the sender's layer with the sender's value taken from the other run, and with what every
//!    later attention and MLP adds held at the base run's value. What arrives at the receiver, by the stream alone, is kept.
//! 2. The base run goes on with only the receiver's input replaced by that: a head's queries, keys or values, of that head
//!    alone even where heads share keys and values. For the logits as receiver the first step is all.
//!
//! With `through_mlps` the MLPs between are not held but computed, as in Wang et al.; otherwise they are, as in
//! Goldowsky-Dill et al.

use super::pairs::{Pairs, Part, Patch, Side};
use crate::behaviour::{last_rows, odds_of};
use crate::patch::Put;
use crate::{Error, Interval, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Batch, Logits, Model, Place, Plan, Record, Tap, Tensor, with_numbers};
use serde::Serialize;
use std::collections::BTreeMap;

/// What of a head reads the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Its queries.
    Query,
    /// Its keys.
    Key,
    /// Its values.
    Value,
}

/// Where a path ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiver {
    /// The logits.
    Logits,
    /// An input of a head.
    Head {
        /// Its layer.
        layer: usize,
        /// Which head.
        head: usize,
        /// Which input.
        input: Input,
    },
}

/// What one sender does to the receivers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathEffect {
    /// The sender.
    pub site: Site,
    /// Its head; none is the whole vector.
    pub head: Option<usize>,
    /// 0 is the corrupted run's log-odds, 1 the clean run's; with nothing patched, the base run's end of that scale.
    pub recovered: Interval,
    /// The same with a stranger's value at the sender.
    pub control: Option<Interval>,
}

/// Points whose values a path holds; [`Pairs::new`] must be given them.
const HELD: [Point; 2] = [Point::AttnOutPost, Point::MlpOutPost];

impl Receiver {
    /// Points that [`Pairs::new`] must record for paths from `sender`.
    pub fn points(sender: Point) -> Vec<Point> {
        HELD.into_iter().chain([sender]).collect()
    }
}

/// The effect of a sender along its direct path to the receivers, which may be several and are replaced together.
///
/// # Errors
/// If sender or receiver are not there, a receiver does not stand behind the sender, or a run fails.
pub fn path(
    pairs: &Pairs<'_>,
    sender: Patch,
    receivers: &[Receiver],
    through_mlps: bool,
) -> Result<PathEffect> {
    let spec = pairs.model.spec();
    if !matches!(sender.site.point, Point::Z | Point::AttnOutPost | Point::MlpOutPost) {
        let what = sender.site;
        return Err(Error::Request(format!(
            "a path cannot begin at {what}; it begins at a head (z), attn_out_post or mlp_out_post"
        )));
    }
    for receiver in receivers {
        if let Receiver::Head { layer, head, .. } = receiver
            && (*layer <= sender.site.layer as usize || *layer >= spec.n_layers || *head >= spec.n_heads)
        {
            return Err(Error::Request(format!(
                "z.{layer}/h{head} cannot receive from {}; a receiver stands in a later layer, at most {}, with heads 0 to {}",
                sender.site,
                spec.n_layers - 1,
                spec.n_heads - 1
            )));
        }
    }
    let logits = receivers.contains(&Receiver::Logits);
    if receivers.is_empty() || (logits && receivers.len() > 1) {
        return Err(Error::Request(
            "name the logits, or one or more inputs of heads, as receivers".to_owned(),
        ));
    }
    let odds = |side| -> Result<Vec<Option<f64>>> {
        let mut all = Vec::new();
        for part in &pairs.parts {
            let along = Along { pairs, part, sender, receivers, through_mlps };
            all.extend(pairs.known(part, along.odds(side)?, side));
        }
        Ok(all)
    };
    let missing = || Error::Request("no item was left to patch".to_owned());
    Ok(PathEffect {
        site: sender.site,
        head: sender.head,
        recovered: pairs.recovered(&odds(Side::Other)?).ok_or_else(missing)?,
        control: pairs.recovered(&odds(Side::Stranger)?),
    })
}

/// One part's runs along a path.
struct Along<'a, 'b> {
    pairs: &'a Pairs<'b>,
    part: &'a Part,
    sender: Patch,
    receivers: &'a [Receiver],
    through_mlps: bool,
}

impl Along<'_, '_> {
    fn odds(&self, side: Side) -> Result<Vec<f64>> {
        let (pairs, part) = (self.pairs, self.part);
        let first = self.sender.site.layer as usize;
        let batch = Batch { rows: part.items.iter().map(|i| i.row.clone()).collect() };
        let mut inputs: BTreeMap<usize, Vec<(usize, Input)>> = BTreeMap::new();
        for receiver in self.receivers {
            if let Receiver::Head { layer, head, input } = *receiver {
                inputs.entry(layer).or_default().push((head, input));
            }
        }
        let last = inputs.keys().max().copied();
        let mut put = self.held(last.unwrap_or(pairs.model.spec().n_layers - 1))?;
        pairs.fill(part, self.sender, side, &mut |row| row, &mut put)?;
        let mut record = Record::new(inputs.keys().map(|&l| Site::new(Point::AttnIn, l)));
        let start = Some((first, pairs.start(part, first, 1)?));
        let plan = Plan { logits: Logits::None, start, stop_after: last };
        let resid = pairs.model.run(&batch, &plan, None, &mut (&mut put, &mut record))?.resid;
        let Some(&nearest) = inputs.keys().min() else {
            return odds_of(pairs.model, &part.items, &last_rows(&batch, &resid)?);
        };
        let arrived = |&l: &usize| Ok((l, record.value(Site::new(Point::AttnIn, l))?));
        let arrived = inputs.keys().map(arrived).collect::<Result<_>>()?;
        let mut receive = Receive { model: pairs.model, inputs, arrived, now: None };
        pairs.rerun(part, nearest, 1, &mut receive)
    }

    /// Everything that is held between the sender and a last layer.
    fn held(&self, last: usize) -> Result<Put> {
        let mut put = Put::default();
        let first = self.sender.site.layer as usize;
        for layer in first..=last {
            // the sender's own layer: its attention is what changes; its MLP reads the change, unless it is the sender
            let attention = layer > first;
            let mlp = !self.through_mlps && (attention || self.sender.site.point != Point::MlpOutPost);
            for (point, hold) in HELD.into_iter().zip([attention, mlp]) {
                if hold {
                    self.pairs.hold(self.part, Site::new(point, layer), &mut put)?;
                }
            }
        }
        Ok(put)
    }
}

/// Lets some inputs of some heads read what arrived, and everything else what the run has.
struct Receive<'a> {
    model: &'a Model,
    inputs: BTreeMap<usize, Vec<(usize, Input)>>,
    arrived: BTreeMap<usize, Tensor>,
    /// What the layer's attention reads in this run.
    now: Option<Tensor>,
}

impl Tap for Receive<'_> {
    fn wants(&self, site: Site) -> bool {
        matches!(site.point, Point::AttnIn | Point::Z) && self.inputs.contains_key(&(site.layer as usize))
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let layer = at.site.layer as usize;
        if at.site.point == Point::AttnIn {
            self.now = Some(x.clone());
            return Ok(x);
        }
        let (Some(now), Some(arrived), Some(heads)) =
            (&self.now, self.arrived.get(&layer), self.inputs.get(&layer))
        else {
            return Ok(x);
        };
        let dim = self.model.spec().head_dim;
        let width = self.model.spec().n_heads * dim;
        let mut by_head: BTreeMap<usize, [bool; 3]> = BTreeMap::new();
        for (head, input) in heads {
            by_head.entry(*head).or_default()[*input as usize] = true;
        }
        let mut values = with_numbers(&x, <[f32]>::to_vec)?;
        for (head, changed) in by_head {
            let reads = |i: usize| if changed[i] { arrived } else { now };
            let z = self.model.heads_reading(layer, at.rows, [reads(0), reads(1), reads(2)])?;
            with_numbers(&z, |z| {
                for (to, from) in values.chunks_exact_mut(width).zip(z.chunks_exact(width)) {
                    to[head * dim..][..dim].copy_from_slice(&from[head * dim..][..dim]);
                }
            })?;
        }
        Ok(Tensor::from_vec(values, x.shape(), x.device())?)
    }

    fn expects(&self) -> Vec<Site> {
        self.inputs.keys().map(|&l| Site::new(Point::Z, l)).collect()
    }
}
