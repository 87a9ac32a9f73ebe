//! Which neurons were active: each held against its own typical strength, so that neurons can be compared.

use crate::find::side;
use crate::shelf::{Opened, relative};
use crate::wire::{self, Placed};
use crate::words::{self, Words};
use crate::{Loaded, Result, Text};
use pellucid_core::{Edit, Index, Point, Polarity, Site, UnitId};
use pellucid_model::{Batch, Place, Plan, Tap, Tensor, with_numbers};
use pellucid_store::atlas::Query;
use serde::Serialize;
use std::collections::HashSet;
use std::ops::Range;
use utoipa::ToSchema;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Looking {
    /// Only activations at these positions, from the first to before the second.
    pub positions: Option<(usize, usize)>,
    /// Only these layers, from the first to the last.
    pub layers: Option<(u32, u32)>,
    /// Only one side of zero: `+` or `-`.
    pub polarity: Option<String>,
    /// The description must hold these words.
    pub words: Option<String>,
    /// The least activation by typical strength; not looked at without an atlas.
    pub least: f32,
    /// How many units at most, the strongest first.
    pub top: usize,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ActivationsReply {
    /// The text.
    pub prompt: Vec<Placed>,
    /// At each position the sum over all units that fit of their activation by typical strength.
    pub heat: Vec<f64>,
    /// How many units fit.
    pub found: usize,
    /// The strongest of them.
    pub units: Vec<ActiveUnit>,
}

/// A neuron that was active.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ActiveUnit {
    /// The neuron with its side of zero.
    pub unit: String,
    /// Its layer.
    pub layer: u32,
    /// Where it was strongest.
    pub peak: usize,
    /// Its activation there.
    pub activation: f32,
    /// The activation by the unit's typical strength; none without an atlas.
    pub relative: Option<f32>,
    /// The size at each position, by typical strength (raw without an atlas); 0 on the other side of zero.
    pub by_position: Vec<f32>,
    /// What it responds to.
    pub words: Option<Words>,
}

/// A neuron's side with its values, before it has words.
struct Active {
    site: Site,
    index: u32,
    side: Polarity,
    peak: usize,
    activation: f32,
    size: f32,
    by_position: Vec<f32>,
}

/// Looks at each layer's neurons as they pass, and keeps the strongest.
struct Look<'a> {
    opened: Option<&'a Opened>,
    asked: &'a Looking,
    side: Option<Polarity>,
    positions: Range<usize>,
    /// Units whose description holds the words asked for.
    named: Option<HashSet<(Site, u32, Polarity)>>,
    kept: Vec<Active>,
    heat: Vec<f64>,
    found: usize,
}

impl Tap for Look<'_> {
    fn wants(&self, site: Site) -> bool {
        let layers = self.asked.layers.is_none_or(|(from, to)| (from..=to).contains(&site.layer));
        site.point == Point::MlpAct && layers
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let width = x.dim(1)?;
        with_numbers(&x, |values| self.layer(at.site, values, width))?;
        Ok(x)
    }
}

impl Look<'_> {
    /// `values`: `(tokens, width)`.
    fn layer(&mut self, site: Site, values: &[f32], width: usize) {
        let raw = [1.0, 1.0];
        let scales = self.opened.and_then(|o| o.scales(site));
        // with an atlas, a unit that it does not hold has no scale to be held against
        let scale = |i: usize| match (self.opened, scales) {
            (None, _) => raw,
            (Some(_), scales) => scales.and_then(|s| s.get(i)).copied().unwrap_or([0.0, 0.0]),
        };
        let least = if self.opened.is_some() { self.asked.least } else { 0.0 };
        let mut here = Vec::new();
        for index in 0..width {
            let scales = scale(index);
            let mut peaks = [(0usize, 0f32); 2];
            for position in self.positions.clone() {
                let r = relative(values[position * width + index], scales);
                let peak = &mut peaks[usize::from(r < 0.0)];
                if r.abs() > peak.1 {
                    *peak = (position, r.abs());
                }
            }
            for (side, (peak, size)) in [Polarity::Positive, Polarity::Negative].into_iter().zip(peaks) {
                let wanted = self.side.is_none_or(|s| s == side) && size > 0.0 && size >= least;
                let key = (site, index as u32, side);
                if wanted && self.named.as_ref().is_none_or(|n| n.contains(&key)) {
                    here.push((index, side, peak, size));
                }
            }
        }
        self.found += here.len();
        let sizes = |index: usize, side: Polarity| -> Vec<f32> {
            let size = |position: usize| {
                let r = relative(values[position * width + index], scale(index));
                if (r < 0.0) == (side == Polarity::Negative) { r.abs() } else { 0.0 }
            };
            (0..values.len() / width.max(1)).map(size).collect()
        };
        here.sort_by(|a, b| b.3.total_cmp(&a.3).then(a.0.cmp(&b.0)));
        for (rank, &(index, side, peak, size)) in here.iter().enumerate() {
            let by_position = sizes(index, side);
            if self.opened.is_some() {
                let heat = by_position.iter().zip(&mut self.heat).filter(|(v, _)| **v >= least);
                heat.for_each(|(v, h)| *h += f64::from(*v));
            }
            if rank < self.asked.top {
                let (index, activation) = (index as u32, values[peak * width + index]);
                self.kept.push(Active { site, index, side, peak, activation, size, by_position });
            }
        }
        self.kept.sort_by(|a, b| {
            b.size.total_cmp(&a.size).then_with(|| (a.site, a.index, a.side).cmp(&(b.site, b.index, b.side)))
        });
        self.kept.truncate(self.asked.top);
    }
}

/// The neurons that were active, in the run with the edits applied.
///
/// # Errors
/// If positions or edits do not fit, or the atlas cannot be read.
pub fn activations(
    loaded: &Loaded,
    opened: Option<&Opened>,
    text: Text,
    edits: &[Edit],
    asked: &Looking,
) -> Result<ActivationsReply> {
    let apply = text.edits(loaded, edits)?;
    let named = match (opened, asked.words.as_deref().map(str::trim).filter(|w| !w.is_empty())) {
        (Some(opened), Some(words)) => {
            let query = Query { text: Some(words.to_owned()), ..Query::all(usize::MAX >> 1) };
            let hits = opened.atlas().find(&query)?;
            Some(hits.into_iter().map(|h| (h.site, h.index, h.polarity)).collect())
        }
        (None, Some(_)) => {
            return crate::error::bad("words are those of an atlas, and this model has none yet");
        }
        _ => None,
    };
    let mut look = Look {
        opened,
        asked,
        side: side(asked.polarity.as_deref())?,
        positions: text.range(asked.positions)?,
        named,
        kept: Vec::new(),
        heat: vec![0.0; text.tokens.len()],
        found: 0,
    };
    let mut tap = wire::tap(apply.as_ref());
    loaded.model.run(&Batch::one(text.row.clone()), &Plan::LAST, None, &mut (&mut *tap, &mut look))?;
    let (heat, found) = (look.heat, look.found);
    let units = look.kept.into_iter().map(|a| worded(opened, a)).collect::<Result<_>>()?;
    Ok(ActivationsReply { prompt: text.tokens, heat, found, units })
}

fn worded(opened: Option<&Opened>, a: Active) -> Result<ActiveUnit> {
    let words = match opened {
        Some(opened) => words::chosen(&opened.atlas(), a.site, a.index, a.side)?.map(|f| f.1),
        None => None,
    };
    let unit = UnitId::Site { site: a.site, index: Index::Coordinate(a.index), polarity: Some(a.side) };
    Ok(ActiveUnit {
        unit: unit.to_string(),
        layer: a.site.layer,
        peak: a.peak,
        activation: a.activation,
        relative: opened.map(|_| a.size),
        by_position: a.by_position,
        words,
    })
}
