//! All that is known of one unit, and what it does on a text of the user's own.

use crate::error::{Result, bad};
use crate::shape::PolarityShape;
use crate::shelf::Opened;
use crate::wire::{self, Placed};
use crate::words::{INTERESTING, SINGLE_TOKEN, author};
use crate::{ENCODER, Error, Found, Loaded, Text};
use half::f16;
use pellucid_core::{Edit, Index, Point, Polarity, Site, UnitId};
use pellucid_describe::evidence::ACTIVE;
use pellucid_interp::{Promoted, leads_to_stream, promoted_latents, promoted_of};
use pellucid_model::{Batch, Plan, Record};
use pellucid_store::atlas::{Atlas, Query, ScoreKind, Written};
use pellucid_store::collect::bins;
use pellucid_store::{Document, Kind, UnitHarvest, Window};
use serde::Serialize;
use std::collections::HashMap;
use utoipa::ToSchema;

/// All that is known of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UnitReply {
    /// The unit, without a side.
    pub unit: String,
    /// Its site.
    pub site: String,
    /// Its layer.
    pub layer: u32,
    /// Its number at the site.
    pub index: u32,
    /// Numbers over all counted tokens; none without an atlas.
    pub statistics: Option<Statistics>,
    /// Output tokens that a positive activation makes likelier, by weights alone, and by how much.
    pub promoted: Vec<(String, f32)>,
    /// Output tokens that it makes less likely.
    pub suppressed: Vec<(String, f32)>,
    /// The two sides of zero; none without an atlas.
    pub sides: Vec<Side>,
}

/// Numbers over all counted tokens.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Statistics {
    /// Counted tokens.
    pub count: u64,
    /// Mean activation.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Least activation.
    pub min: f32,
    /// Largest activation.
    pub max: f32,
}

/// One side of zero.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Side {
    /// `+` or `-`.
    #[schema(value_type = PolarityShape)]
    pub polarity: String,
    /// Typical strength: the size that it exceeds on one token in ten thousand.
    pub scale: f32,
    /// How often it is active: the share of tokens beyond half of its typical strength.
    pub density: f64,
    /// How often it had which size.
    pub histogram: Vec<Bin>,
    /// Descriptions, the chosen one first.
    pub descriptions: Vec<Judged>,
    /// Texts in which it was active (and random ones).
    pub exemplars: Vec<Exemplar>,
    /// Units whose descriptions are nearest in meaning.
    pub nearest: Vec<Found>,
}

/// A bin of a histogram.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Bin {
    /// Lower end of the size.
    pub low: f32,
    /// Upper end.
    pub high: f32,
    /// Tokens.
    pub count: u64,
}

/// A description with its scores.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Judged {
    /// Its key in the atlas.
    pub id: i64,
    /// The words, or none.
    pub text: Option<String>,
    /// Why there are none.
    pub reason: Option<String>,
    /// Who wrote it.
    pub explainer: String,
    /// Whether it is the unit's description.
    pub chosen: bool,
    /// Correlation of simulated with real activations on held-out text.
    pub score: Option<f64>,
    /// Its 95% interval.
    pub interval: Option<(f64, f64)>,
    /// The same with another unit's words.
    pub null: Option<f64>,
    /// Whether the unit is worth a person's time.
    pub interesting: Option<bool>,
    /// Share of active mass on one token.
    pub single_token: Option<f64>,
    /// All scores.
    pub scores: Vec<KindScore>,
    /// Votes for it.
    pub up: u64,
    /// Votes against it.
    pub down: u64,
}

/// A score of a description.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct KindScore {
    /// How it was judged.
    pub kind: String,
    /// The score.
    pub value: f64,
}

/// A text in which a unit was active.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Exemplar {
    /// `top`, `band A-B` (of sizes) or `random`.
    pub kind: String,
    /// The split of its document.
    pub split: String,
    /// Activation at its peak.
    pub value: f32,
    /// The tokens.
    pub tokens: Vec<ExemplarToken>,
}

/// A token of an exemplar.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ExemplarToken {
    /// Its text.
    pub text: String,
    /// The unit's activation.
    pub activation: f32,
    /// Whether statistics count it (not: beginning of text, overlap with the window before).
    pub counted: bool,
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Showing {
    /// Exemplars of each kind and side.
    pub examples: usize,
    /// Promoted and suppressed tokens.
    pub outputs: usize,
    /// Nearest units of each side.
    pub nearest: usize,
}

/// What a unit does on a text.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TestReply {
    /// The text.
    pub prompt: Vec<Placed>,
    /// The unit's activation at each position (a head's is its length).
    pub values: Vec<f32>,
    /// Typical strengths on the positive and the negative side; none without an atlas.
    pub scales: Option<[f32; 2]>,
}

/// Where one unit stands, and which of its sides are meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Spot {
    /// Its site; a latent's is its dictionary's.
    pub site: Site,
    /// Its number.
    pub index: u32,
    /// The sides of zero: a latent has one, another unit two unless its name says which.
    pub sides: Vec<Polarity>,
}

/// Finds one unit of the model or of a dictionary that it was given.
///
/// # Errors
/// If it is a head, or does not exist.
pub fn place(loaded: &Loaded, unit: &UnitId) -> Result<Spot> {
    let absent = |what: String| Err(Error::Absent(format!("{unit} does not exist: {what}, counted from 0")));
    let (site, index, sides) = match unit {
        UnitId::Latent { dictionary, index, .. } => {
            let found = loaded.model.dictionary(dictionary)?;
            if let Some(why) = found.lacks(*index) {
                return Err(Error::Absent(why));
            }
            (found.site, *index, vec![Polarity::Positive])
        }
        UnitId::Site { site, index: Index::Coordinate(index), polarity } => {
            loaded.model.check_site(*site)?;
            match loaded.model.spec().width_at(site.point) {
                Some(width) if (*index as usize) < width => {}
                Some(width) => return absent(format!("{site} has {width} units")),
                None => return bad(format!("{unit} is no value of a token")),
            }
            let sides = [Polarity::Positive, Polarity::Negative].into_iter();
            (*site, *index, sides.filter(|p| polarity.is_none_or(|o| o == *p)).collect())
        }
        UnitId::Site { .. } => {
            return bad(format!("{unit}: expected one unit of a site, such as mlp_act.3/1054"));
        }
    };
    Ok(Spot { site, index, sides })
}

/// All that is known of a unit (of one side, if its name has one).
///
/// # Errors
/// If it does not exist, or the atlas cannot be read.
pub fn unit(loaded: &Loaded, opened: Option<&Opened>, unit: &UnitId, how: Showing) -> Result<UnitReply> {
    let Spot { site, index, sides } = place(loaded, unit)?;
    let named = |list: Vec<(u32, f32)>| list.into_iter().map(|(id, w)| (loaded.token(id).text, w)).collect();
    let (mut promoted, mut suppressed) = (Vec::new(), Vec::new());
    if let Some(found) = outputs(loaded, unit, how.outputs)? {
        (promoted, suppressed) = (named(found.up), named(found.down));
    }
    let mut reply = UnitReply {
        unit: without_side(unit).to_string(),
        site: site.to_string(),
        layer: site.layer,
        index,
        statistics: None,
        promoted,
        suppressed,
        sides: Vec::new(),
    };
    let Some(opened) = opened else { return Ok(reply) };
    let atlas = opened.atlas();
    let Some(harvest) = atlas.unit(site, index)? else { return Ok(reply) };
    let s = harvest.statistics;
    reply.statistics = Some(Statistics {
        count: s.count,
        mean: s.mean,
        deviation: s.variance.sqrt(),
        min: s.min,
        max: s.max,
    });
    let windows: HashMap<(Document, u32), Window> =
        atlas.windows_of(site, index)?.into_iter().map(|w| ((w.document, w.index), w)).collect();
    let of = Of { loaded, atlas: &atlas, site, index, harvest: &harvest, windows: &windows, how };
    let scale = |p| opened.scale(site, index, p);
    reply.sides = sides.into_iter().map(|p| of.side(p, scale(p))).collect::<Result<_>>()?;
    Ok(reply)
}

/// What a neuron, or a latent in the stream, makes likelier; none for other units.
fn outputs(loaded: &Loaded, unit: &UnitId, k: usize) -> Result<Option<Promoted>> {
    let (model, spot) = (&loaded.model, place(loaded, unit)?);
    let (layer, index) = (spot.site.layer as usize, spot.index as usize);
    Ok(match unit {
        _ if k == 0 => None,
        UnitId::Latent { dictionary, .. } if leads_to_stream(spot.site.point) => {
            let dictionary = model.dictionary(dictionary)?;
            promoted_latents(model, dictionary, index..index + 1, k, &mut |_| ())?.into_iter().next()
        }
        UnitId::Site { .. } if spot.site.point == Point::MlpAct => Some(promoted_of(model, layer, index, k)?),
        _ => None,
    })
}

fn without_side(unit: &UnitId) -> UnitId {
    let mut unit = unit.clone();
    match &mut unit {
        UnitId::Site { polarity, .. } | UnitId::Latent { polarity, .. } => *polarity = None,
    }
    unit
}

/// A unit of an atlas.
struct Of<'a> {
    loaded: &'a Loaded,
    atlas: &'a Atlas,
    site: Site,
    index: u32,
    harvest: &'a UnitHarvest,
    windows: &'a HashMap<(Document, u32), Window>,
    how: Showing,
}

impl Of<'_> {
    fn side(&self, polarity: Polarity, scale: f32) -> Result<Side> {
        let sketch = &self.harvest.sketches[usize::from(polarity == Polarity::Negative)];
        let bin = |&(b, count): &(u16, u32)| Bin {
            low: bins::edge(b),
            high: bins::edge(b.saturating_add(1)),
            count: u64::from(count),
        };
        let active = bins::density(sketch, self.harvest.statistics.count, ACTIVE * scale);
        let mut descriptions = Vec::new();
        let mut nearest = Vec::new();
        for (id, d) in self.atlas.descriptions(self.site, self.index, polarity)? {
            if d.chosen && self.how.nearest > 0 {
                nearest = self.nearest(id, polarity)?;
            }
            descriptions.push(self.judged(id, d)?);
        }
        descriptions.sort_by_key(|d| !d.chosen);
        Ok(Side {
            polarity: polarity.to_string(),
            scale,
            density: active.filter(|_| scale > 0.0).unwrap_or(0.0),
            histogram: sketch.bins.iter().map(bin).collect(),
            descriptions,
            exemplars: self.exemplars(polarity),
            nearest,
        })
    }

    fn judged(
        &self,
        id: pellucid_store::atlas::DescriptionId,
        d: pellucid_store::atlas::Description,
    ) -> Result<Judged> {
        let scores = self.atlas.scores(id)?;
        let other = |name: &str| scores.iter().find(|s| s.kind.name() == name).map(|s| s.value);
        let simulation = scores.iter().find(|s| s.kind == ScoreKind::Simulation);
        let (text, reason) = match d.written {
            Written::Text { text, .. } => (Some(text), None),
            Written::None { reason } => (None, Some(reason)),
        };
        let (up, down) = self.atlas.votes(id)?;
        Ok(Judged {
            id: id.0,
            text,
            reason,
            explainer: author(&d.explainer),
            chosen: d.chosen,
            score: simulation.map(|s| s.value),
            interval: simulation.and_then(|s| s.interval),
            null: simulation.and_then(|s| s.null),
            interesting: other(INTERESTING).map(|v| v > 0.5),
            single_token: other(SINGLE_TOKEN),
            scores: scores
                .iter()
                .map(|s| KindScore { kind: s.kind.name().to_owned(), value: s.value })
                .collect(),
            up,
            down,
        })
    }

    /// Other units whose descriptions mean nearly the same; none where the atlas has no vectors.
    fn nearest(&self, id: pellucid_store::atlas::DescriptionId, polarity: Polarity) -> Result<Vec<Found>> {
        let Some(vector) = self.atlas.vectors(ENCODER).ok().and_then(|v| v.row(id)) else {
            return Ok(Vec::new());
        };
        let query = Query { vector: Some((ENCODER.to_owned(), vector)), ..Query::all(self.how.nearest + 1) };
        let ours = (self.site, self.index, polarity);
        let others = self.atlas.find(&query)?.into_iter().filter(|h| (h.site, h.index, h.polarity) != ours);
        Ok(others.take(self.how.nearest).map(|h| Found::of(&h)).collect())
    }

    fn exemplars(&self, polarity: Polarity) -> Vec<Exemplar> {
        let ours = self.harvest.exemplars.iter().filter(|e| e.polarity.is_none_or(|p| p == polarity));
        let mut ours: Vec<_> = ours.collect();
        // top first, then bands from the strongest, then random; within each the strongest first
        let rank = |k: &Kind| match k {
            Kind::Top => (0, 0),
            Kind::Band(octave) => (1, -i32::from(*octave)),
            Kind::Random => (2, 0),
        };
        ours.sort_by(|a, b| rank(&a.kind).cmp(&rank(&b.kind)).then(b.value.abs().total_cmp(&a.value.abs())));
        let mut taken: HashMap<Kind, usize> = HashMap::new();
        let mut shown = Vec::new();
        for e in ours {
            let count = taken.entry(e.kind).or_default();
            let Some(window) = self.windows.get(&(e.document, e.window)) else { continue };
            if *count >= self.how.examples {
                continue;
            }
            *count += 1;
            let token = |(i, bits): (usize, &u16)| {
                let at = e.start as usize + i;
                let text = window.tokens.get(at).map_or_else(String::new, |&id| self.loaded.token(id).text);
                let counted = window.counted.get(at).copied().unwrap_or(false);
                ExemplarToken { text, activation: f16::from_bits(*bits).to_f32(), counted }
            };
            shown.push(Exemplar {
                kind: kind(e.kind),
                split: e.split.name().to_owned(),
                value: e.value,
                tokens: e.activations.iter().enumerate().map(token).collect(),
            });
        }
        shown
    }
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Top => "top".to_owned(),
        Kind::Random => "random".to_owned(),
        Kind::Band(octave) => {
            let low = f64::from(octave).exp2();
            format!("band {low}-{}", 2.0 * low)
        }
    }
}

/// What a unit does on a text, in the run with the edits applied.
///
/// # Errors
/// If the unit does not exist or the edits do not fit.
pub fn test(
    loaded: &Loaded,
    opened: Option<&Opened>,
    unit: &UnitId,
    text: Text,
    edits: &[Edit],
) -> Result<TestReply> {
    let Spot { site, index, .. } = place(loaded, unit)?;
    let apply = text.edits(loaded, edits)?;
    let mut record = Record::new([site]);
    let mut tap = wire::tap(apply.as_ref());
    let plan = if site.point.per_layer() { Plan::LAST } else { Plan::ALL };
    loaded.model.run(&Batch::one(text.row.clone()), &plan, None, &mut (&mut *tap, &mut record))?;
    let rows: Vec<Vec<f32>> =
        crate::error::tensor(record.value(site)?.flatten_from(1).and_then(|x| x.to_vec2()))?;
    let values = match unit {
        UnitId::Latent { dictionary, .. } => {
            loaded.model.dictionary(dictionary)?.values(&rows.concat(), index)
        }
        UnitId::Site { .. } => {
            rows.iter().map(|row| row.get(index as usize).copied().unwrap_or(0.0)).collect()
        }
    };
    let scales = opened.and_then(|o| o.scales(site)).and_then(|s| s.get(index as usize)).copied();
    Ok(TestReply { prompt: text.tokens, values, scales })
}
