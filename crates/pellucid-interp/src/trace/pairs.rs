//! Clean and corrupted runs of a behaviour's items, position by position, and runs of the one with values of the other.

use crate::behaviour::{Prepared, Ready, last_rows, odds_of};
use crate::error::tensor;
use crate::patch::Put;
use crate::{Error, Interval, Result};
use pellucid_core::{Point, Seed, Site};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row, Tap, Tensor, with_numbers};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Which run is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Clean values go into the corrupted run.
    Denoise,
    /// Corrupted values go into the clean run.
    Noise,
}

/// How the answer is taken away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Corruption {
    /// The item's counterfactual prompt, of as many tokens.
    Counterfactual,
    /// Gaussian noise on the embeddings of the tokens in which the counterfactual differs.
    Gaussian {
        /// Its standard deviation, in standard deviations of those embeddings' coordinates; 3 in Meng et al.
        factor: f64,
        /// Draws of each item; 10 in Meng et al.
        samples: usize,
        /// Of the draws.
        seed: Seed,
    },
}

/// A place whose value is taken from the other run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Where.
    pub site: Site,
    /// One head of it, or the whole vector.
    pub head: Option<usize>,
    /// One position, or all.
    pub position: Option<usize>,
}

/// Where a patch's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The other run of the same item.
    Other,
    /// Another item's run of the same side as the one that is changed: the control.
    Stranger,
}

/// Items that run together.
pub(super) struct Part {
    pub(super) items: Vec<Prepared>,
    range: Range<usize>,
    /// Values of the run that is changed, and of the other.
    pub(super) base: Record,
    other: Record,
    odds: Vec<f64>,
    /// For each row, another item's row.
    stranger: Vec<Option<usize>>,
}

/// A behaviour's clean and corrupted runs on a model.
pub struct Pairs<'a> {
    pub(super) model: &'a Model,
    pub(super) parts: Vec<Part>,
    items: Vec<Prepared>,
    copies: usize,
    direction: Direction,
    clean: Vec<f64>,
    corrupted: Vec<f64>,
    differing: Vec<usize>,
    left_out: usize,
}

/// Tokens of one side of a part: what is kept of them is every layer.
const PART_TOKENS: usize = 1024;
/// Most draws of noise for an item.
const SAMPLES: usize = 1000;
/// Tokens that run together.
pub(super) const BATCH_TOKENS: usize = 2048;

/// Positions at which an item differs from its counterfactual.
fn changed(item: &Prepared) -> Vec<usize> {
    let other = item.counterfactual.as_ref().map_or(&[][..], |c| &c.tokens);
    let pairs = item.row.tokens.iter().zip(other).enumerate();
    pairs.filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect()
}

/// Items of the commonest length that differ from a counterfactual of as many tokens.
fn aligned(ready: &Ready) -> Result<Vec<Prepared>> {
    let usable = |i: &&Prepared| !changed(i).is_empty();
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    for item in ready.items.iter().filter(usable) {
        *lengths.entry(item.row.tokens.len()).or_default() += 1;
    }
    let Some((&length, _)) = lengths.iter().max_by_key(|(length, count)| (**count, **length)) else {
        return Err(Error::Request(format!(
            "no item of {} has a counterfactual of as many tokens that differs from it; tracing compares the two",
            ready.name
        )));
    };
    let fits = |i: &&Prepared| i.row.tokens.len() == length;
    Ok(ready.items.iter().filter(usable).filter(fits).cloned().collect())
}

impl<'a> Pairs<'a> {
    /// Runs both sides, keeping what is asked for at `points` in every layer. Items of another length than the commonest are
    /// left out, so that a position means the same in all.
    ///
    /// # Errors
    /// If no item has a usable counterfactual, the model lacks a point, or the corruption does not take the answer away.
    pub fn new(
        model: &'a Model,
        ready: &Ready,
        corruption: Corruption,
        direction: Direction,
        points: &[Point],
    ) -> Result<Self> {
        let items = aligned(ready)?;
        let copies = match corruption {
            Corruption::Counterfactual => 1,
            Corruption::Gaussian { samples, .. } if samples == 0 || samples > SAMPLES => {
                return Err(Error::Request(format!(
                    "noise is drawn {samples} times; take 1 to {SAMPLES} samples of each item"
                )));
            }
            Corruption::Gaussian { samples, .. } => samples,
        };
        let sites = sites(model, points)?;
        let length = items[0].row.tokens.len();
        let sigma = match corruption {
            Corruption::Counterfactual => 0.0,
            Corruption::Gaussian { factor, .. } => factor * subject_spread(model, &items)?,
        };
        let (mut parts, mut clean, mut corrupted) = (Vec::new(), Vec::new(), Vec::new());
        let size = (PART_TOKENS / (length * copies)).max(1);
        for from in (0..items.len()).step_by(size) {
            let range = from..(from + size).min(items.len());
            let side = Sides { model, items: &items[range.clone()], first: from, copies, sites: &sites };
            let (bright, c) = side.clean()?;
            let (dark, d) = side.corrupted(corruption, sigma)?;
            let (base, other, odds) = match direction {
                Direction::Denoise => (dark, bright, d.clone()),
                Direction::Noise => (bright, dark, c.clone()),
            };
            clean.extend(means(&c, copies));
            corrupted.extend(means(&d, copies));
            let stranger = strangers(&items[range.clone()], copies, direction);
            let repeated = items[range.clone()].iter().flat_map(|i| vec![i.clone(); copies]).collect();
            parts.push(Part { items: repeated, range, base, other, odds, stranger });
        }
        let differing: BTreeSet<usize> = items.iter().flat_map(changed).collect();
        let left_out = ready.left_out + ready.items.len() - items.len();
        let differing = differing.into_iter().collect();
        let pairs = Pairs { model, parts, items, copies, direction, clean, corrupted, differing, left_out };
        pairs.check_answer_is_lost()?;
        Ok(pairs)
    }

    fn check_answer_is_lost(&self) -> Result<()> {
        let lost: Vec<f64> = self.clean.iter().zip(&self.corrupted).map(|(a, b)| a - b).collect();
        let Interval { value, low, .. } = Interval::mean(&lost);
        if low > 0.0 && value.is_finite() {
            return Ok(());
        }
        Err(Error::Request(format!(
            "the corruption does not take the answer away: log-odds fall by {value:.3} on average (95% interval from {low:.3}); there is nothing to restore"
        )))
    }

    /// The items that are compared.
    pub fn items(&self) -> &[Prepared] {
        &self.items
    }

    /// Items that are not: they fit no tokenizer, have another length, or no counterfactual.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Log-odds of each item, clean.
    pub fn clean(&self) -> &[f64] {
        &self.clean
    }

    /// Log-odds of each item, corrupted (mean over draws of noise).
    pub fn corrupted(&self) -> &[f64] {
        &self.corrupted
    }

    /// Positions at which some item differs from its counterfactual. Before the first of them both runs are the same.
    pub fn differing(&self) -> &[usize] {
        &self.differing
    }

    /// Tokens of each item.
    pub fn length(&self) -> usize {
        self.items[0].row.tokens.len()
    }

    /// Which run is changed.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Log-odds of each item (mean over draws of noise) under each of several sets of patches, whose first layer must be one;
    /// none for an item that has no stranger.
    ///
    /// # Errors
    /// If a patch names no place of the model that was recorded, or a run fails.
    pub fn odds(&self, cells: &[Vec<Patch>], side: Side) -> Result<Vec<Vec<Option<f64>>>> {
        let mut out = vec![Vec::new(); cells.len()];
        let Some(first) = cells.iter().flatten().map(|p| p.site.layer as usize).min() else {
            return Err(Error::Request("no place was named to patch".to_owned()));
        };
        for part in &self.parts {
            let rows = part.items.len();
            let at_once = (BATCH_TOKENS / (rows * self.length())).max(1);
            for (cells, out) in cells.chunks(at_once).zip(out.chunks_mut(at_once)) {
                let odds = self.run(part, first, cells, side)?;
                for (odds, out) in odds.chunks(rows).zip(out) {
                    out.extend(self.known(part, odds.to_vec(), side));
                }
            }
        }
        Ok(out)
    }

    fn run(&self, part: &Part, first: usize, cells: &[Vec<Patch>], side: Side) -> Result<Vec<f64>> {
        let rows = part.items.len();
        let mut put = Put::default();
        for (c, patches) in cells.iter().enumerate() {
            for patch in patches {
                self.fill(part, *patch, side, &mut |row| c * rows + row, &mut put)?;
            }
        }
        self.rerun(part, first, cells.len(), &mut put)
    }

    /// One number an item: the mean over its draws; none where the value was to come from a stranger and there is none.
    pub(super) fn known(&self, part: &Part, odds: Vec<f64>, side: Side) -> Vec<Option<f64>> {
        let rows = odds.chunks(self.copies).zip(part.stranger.chunks(self.copies));
        rows.map(|(odds, stranger)| {
            let known = side == Side::Other || stranger.iter().all(Option::is_some);
            known.then(|| odds.iter().sum::<f64>() / odds.len() as f64)
        })
        .collect()
    }

    /// The part's base run from a layer on, several times over, under a tap.
    pub(super) fn rerun(
        &self,
        part: &Part,
        first: usize,
        times: usize,
        tap: &mut dyn Tap,
    ) -> Result<Vec<f64>> {
        let items: Vec<Prepared> = (0..times).flat_map(|_| part.items.iter().cloned()).collect();
        let batch = Batch { rows: items.iter().map(|i| i.row.clone()).collect() };
        let start = self.start(part, first, times)?;
        let plan = Plan { logits: Logits::None, start: Some((first, start)), stop_after: None };
        let resid = self.model.run(&batch, &plan, None, tap)?.resid;
        odds_of(self.model, &items, &last_rows(&batch, &resid)?)
    }

    pub(super) fn start(&self, part: &Part, layer: usize, times: usize) -> Result<Tensor> {
        let x = part.base.value(Site::new(Point::ResidPre, layer))?;
        tensor(Tensor::cat(&vec![x; times], 0))
    }

    /// Adds a patch's values for every row of a part, at the batch's row that `to` says.
    pub(super) fn fill(
        &self,
        part: &Part,
        patch: Patch,
        side: Side,
        to: &mut dyn FnMut(usize) -> usize,
        put: &mut Put,
    ) -> Result<()> {
        let length = self.length();
        let coordinates = self.coordinates(patch)?;
        let positions = patch.position.map_or(0..length, |p| p..p + 1);
        if positions.end > length {
            let p = positions.start;
            return Err(Error::Request(format!("position {p} is beyond the items' {length} tokens")));
        }
        let values = match side {
            Side::Other => &part.other,
            Side::Stranger => &part.base,
        };
        let tensor = values.value(patch.site)?;
        with_numbers(&tensor, |numbers| {
            let width = numbers.len() / (part.items.len() * length).max(1);
            for row in 0..part.items.len() {
                let from = match side {
                    Side::Other => Some(row),
                    Side::Stranger => part.stranger[row],
                };
                let Some(from) = from else { continue };
                for position in positions.clone() {
                    let token = (from * length + position) * width;
                    let value = numbers[token..token + width][coordinates.clone()].to_vec();
                    put.add(patch.site, (to(row), position), coordinates.start, value);
                }
            }
        })?;
        Ok(())
    }

    /// Puts the base run's own values at a site, for every row: the site is held.
    pub(super) fn hold(&self, part: &Part, site: Site, put: &mut Put) -> Result<()> {
        let tensor = part.base.value(site)?;
        let length = self.length();
        with_numbers(&tensor, |numbers| {
            let width = numbers.len() / (part.items.len() * length).max(1);
            for (token, value) in numbers.chunks_exact(width.max(1)).enumerate() {
                put.add(site, (token / length, token % length), 0, value.to_vec());
            }
        })?;
        Ok(())
    }

    fn coordinates(&self, patch: Patch) -> Result<Range<usize>> {
        let spec = self.model.spec();
        let bad = |why: String| Err(Error::Request(format!("{} cannot be patched: {why}", patch.site)));
        let Some(width) = spec.width_at(patch.site.point) else {
            return bad("it has no value of a token".to_owned());
        };
        match (patch.head, spec.heads_at(patch.site.point)) {
            (None, _) => Ok(0..width),
            (Some(h), Some(heads)) if h < heads => Ok(h * (width / heads)..(h + 1) * (width / heads)),
            (Some(h), Some(heads)) => bad(format!("there is no head {h}; heads are 0 to {}", heads - 1)),
            (Some(_), None) => bad("it has no heads".to_owned()),
        }
    }

    /// What log-odds come to on the scale from corrupted (0) to clean (1). The interval is that of the change which the
    /// patch makes, over items; the scale is held.
    pub fn recovered(&self, odds: &[Option<f64>]) -> Option<Interval> {
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len().max(1) as f64;
        let scale = mean(&self.clean) - mean(&self.corrupted);
        let (base, from) = match self.direction {
            Direction::Denoise => (&self.corrupted, 0.0),
            Direction::Noise => (&self.clean, 1.0),
        };
        let change = |(o, b): (&Option<f64>, &f64)| o.map(|o| from + (o - b) / scale);
        let changes: Vec<f64> = odds.iter().zip(base).filter_map(change).collect();
        (!changes.is_empty()).then(|| Interval::mean(&changes))
    }

    /// The log-odds of the run that is changed, before it is.
    pub fn base(&self) -> Vec<f64> {
        let mut all = Vec::new();
        for part in &self.parts {
            debug_assert_eq!(part.range.len() * self.copies, part.odds.len());
            all.extend(means(&part.odds, self.copies));
        }
        all
    }
}

fn means(odds: &[f64], copies: usize) -> Vec<f64> {
    odds.chunks(copies.max(1)).map(|o| o.iter().sum::<f64>() / o.len() as f64).collect()
}

/// Each layer's sites of these points, with every layer's `resid_pre`, where runs start.
fn sites(model: &Model, points: &[Point]) -> Result<Vec<Site>> {
    let all: BTreeSet<Point> = points.iter().copied().chain([Point::ResidPre]).collect();
    let mut out = Vec::new();
    for layer in 0..model.spec().n_layers {
        for &point in &all {
            let site = Site::new(point, layer);
            if !point.per_layer() {
                return Err(Error::Request(format!("{point} cannot be patched: it is not inside a layer")));
            }
            model.check_site(site)?;
            out.push(site);
        }
    }
    Ok(out)
}

/// For each row, the same draw of another item of its class. Where its tokens would bring the very value that is asked
/// about (the same subject), the next one is taken.
fn strangers(items: &[Prepared], copies: usize, direction: Direction) -> Vec<Option<usize>> {
    let side = |i: &Prepared, clean: bool| -> Vec<u32> {
        let row = if clean { Some(&i.row) } else { i.counterfactual.as_ref() };
        row.map_or_else(Vec::new, |r| r.tokens.clone())
    };
    let changed_is_clean = direction == Direction::Noise;
    let n = items.len();
    let partner = |i: usize| {
        let wanted = side(&items[i], !changed_is_clean);
        (1..n).map(|step| (i + step) % n).find(|&j| {
            let brings = side(&items[j], changed_is_clean);
            let same = changed(&items[i]).iter().any(|&p| wanted.get(p) == brings.get(p));
            items[j].item.class == items[i].item.class && !same && brings != side(&items[i], changed_is_clean)
        })
    };
    let partners: Vec<Option<usize>> = (0..n).map(partner).collect();
    let row = |i: usize, copy: usize| partners[i].map(|j| j * copies + copy);
    (0..n).flat_map(|i| (0..copies).map(move |c| (i, c))).map(|(i, c)| row(i, c)).collect()
}

/// Standard deviation of the embeddings' coordinates, over the tokens that differ.
fn subject_spread(model: &Model, items: &[Prepared]) -> Result<f64> {
    let site = Site::new(Point::Embeddings, 0);
    let mut record = Record::new([site]);
    let rows: Vec<Row> = items
        .iter()
        .map(|i| Row::new(changed(i).iter().map(|&p| i.row.tokens[p]).collect::<Vec<u32>>()))
        .collect();
    let plan = Plan { logits: Logits::None, start: None, stop_after: Some(0) };
    model.run(&Batch { rows }, &plan, None, &mut record)?;
    let spread = with_numbers(&record.value(site)?, |x| {
        let n = x.len().max(1) as f64;
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        (x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt()
    })?;
    Ok(spread)
}

/// Runs the sides of one part.
struct Sides<'a> {
    model: &'a Model,
    items: &'a [Prepared],
    /// Which item of all is the first.
    first: usize,
    copies: usize,
    sites: &'a [Site],
}

impl Sides<'_> {
    fn run(&self, rows: Vec<Row>, tap: &mut dyn Tap, answers: &[Prepared]) -> Result<(Record, Vec<f64>)> {
        let mut record = Record::new(self.sites.iter().copied());
        let batch = Batch { rows };
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        let resid = self.model.run(&batch, &plan, None, &mut (tap, &mut record))?.resid;
        let odds = odds_of(self.model, answers, &last_rows(&batch, &resid)?)?;
        Ok((record, odds))
    }

    fn repeated(&self) -> Vec<Prepared> {
        self.items.iter().flat_map(|i| vec![i.clone(); self.copies]).collect()
    }

    fn clean(&self) -> Result<(Record, Vec<f64>)> {
        let all = self.repeated();
        self.run(all.iter().map(|i| i.row.clone()).collect(), &mut (), &all)
    }

    fn corrupted(&self, corruption: Corruption, sigma: f64) -> Result<(Record, Vec<f64>)> {
        let all = self.repeated();
        match corruption {
            Corruption::Counterfactual => {
                let rows = all.iter().filter_map(|i| i.counterfactual.clone()).collect();
                self.run(rows, &mut (), &all)
            }
            Corruption::Gaussian { seed, .. } => {
                let mut put = self.noise(sigma, seed)?;
                self.run(all.iter().map(|i| i.row.clone()).collect(), &mut put, &all)
            }
        }
    }

    /// Embeddings of what differs, with noise; each item and draw has its own.
    fn noise(&self, sigma: f64, seed: Seed) -> Result<Put> {
        let site = Site::new(Point::Embeddings, 0);
        let mut record = Record::new([site]);
        let rows: Vec<Row> = self.items.iter().map(|i| i.row.clone()).collect();
        let plan = Plan { logits: Logits::None, start: None, stop_after: Some(0) };
        self.model.run(&Batch { rows }, &plan, None, &mut record)?;
        let mut put = Put::default();
        with_numbers(&record.value(site)?, |x| {
            let width = self.model.spec().d_model;
            let mut token = 0;
            for (i, item) in self.items.iter().enumerate() {
                for copy in 0..self.copies {
                    let mut draw = seed.for_purpose(&format!("noise {} {copy}", self.first + i));
                    for position in changed(item) {
                        let clean = &x[(token + position) * width..][..width];
                        let noised = clean.iter().map(|v| v + (sigma * draw.normal()) as f32).collect();
                        put.add(site, (i * self.copies + copy, position), 0, noised);
                    }
                }
                token += item.row.tokens.len();
            }
        })?;
        Ok(put)
    }
}
