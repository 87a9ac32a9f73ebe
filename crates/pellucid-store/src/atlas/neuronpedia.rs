//! Neuronpedia's jsonl: features with their exemplars out, explanations in.
//!
//! A *source* there is a layer and the name of a set, `3-mlp_act`; plain numbers are a model's own neurons, that
//! is `mlp_act`. A feature has no polarity: a unit's negative side is exported with its values turned over, and
//! what comes in is of the positive side unless a line says otherwise. Bar values and heights of a histogram
//! are parallel arrays of one length.

use super::descriptions::{Description, Explainer, Score, ScoreKind, Written};
use super::units::known_unit;
use super::{Atlas, AtlasError};
use crate::harvest::{Exemplar, Kind, UnitHarvest};
use half::f16;
use pellucid_core::{Point, Polarity, Site};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{BufRead, Write};

/// What is exported, and under which names.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    /// The model's name at Neuronpedia.
    pub model: &'a str,
    /// Sides of zero.
    pub polarities: &'a [Polarity],
    /// Exemplars a feature, the strongest first.
    pub exemplars: usize,
    /// Where a sketch's bin begins and ends, as sizes of activation.
    pub bin: &'a dyn Fn(u16) -> (f32, f32),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct LineError {
    /// Counted from 1.
    pub line: usize,
    /// What was expected and what was found.
    pub fault: String,
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Descriptions that were written.
    pub descriptions: u64,
    /// Scores that were written with them.
    pub scores: u64,
    /// Lines of another model.
    pub other_model: u64,
    /// Lines of sources or units that this atlas does not hold.
    pub unknown: u64,
    /// Lines that could not be read; the others were.
    pub errors: Vec<LineError>,
}

/// A site's name as a source of Neuronpedia.
pub fn neuronpedia_layer(site: Site) -> String {
    format!("{}-{}", site.layer, site.point)
}

/// The site of a source: `3` (neurons), `3-mlp_act`, or this program's own `mlp_act.3`.
pub fn neuronpedia_site(layer: &str) -> Option<Site> {
    if let Ok(number) = layer.parse::<u32>() {
        return Some(Site { layer: number, point: Point::MlpAct });
    }
    if let Some((number, point)) = layer.split_once('-')
        && let (Ok(layer), Ok(point)) = (number.parse::<u32>(), point.parse::<Point>())
    {
        return Some(Site { layer: if point.per_layer() { layer } else { 0 }, point });
    }
    layer.parse().ok()
}

impl Atlas {
    /// Writes a line for each unit and polarity: identity, description, histogram and top activations. Gives
    /// the number of lines.
    ///
    /// # Errors
    /// If the file cannot be read, a row is damaged, or `to` cannot be written.
    pub fn export_neuronpedia(&self, options: &Export<'_>, to: &mut dyn Write) -> Result<u64, AtlasError> {
        let mut vocabulary = HashMap::new();
        let mut lines = 0;
        for row in self.sites()? {
            for index in 0..row.width {
                let Some(unit) = self.unit(row.site, index)? else { continue };
                let windows = self.windows_of(row.site, index)?;
                let windows: HashMap<_, _> =
                    windows.iter().map(|w| ((w.document, w.index), w.tokens.as_slice())).collect();
                for &polarity in options.polarities {
                    let mut feature = feature(options, row.site, index, polarity, &unit);
                    let words = self.descriptions(row.site, index, polarity)?.into_iter().next();
                    describe(&mut feature, words.map(|row| row.1));
                    let mut activations = Vec::new();
                    for exemplar in top(&unit, polarity, options.exemplars) {
                        let tokens = windows.get(&(exemplar.document, exemplar.window)).copied();
                        activations.push(self.activation(
                            exemplar,
                            tokens.unwrap_or(&[]),
                            polarity,
                            &mut vocabulary,
                        )?);
                    }
                    feature.insert("activations".to_owned(), Value::Array(activations));
                    writeln!(to, "{}", Value::Object(feature))?;
                    lines += 1;
                }
            }
        }
        Ok(lines)
    }

    fn activation(
        &self,
        exemplar: &Exemplar,
        window: &[u32],
        polarity: Polarity,
        vocabulary: &mut HashMap<u32, String>,
    ) -> Result<Value, AtlasError> {
        let start = exemplar.start as usize;
        let mut tokens = Vec::with_capacity(exemplar.activations.len());
        for &id in window.iter().skip(start).take(exemplar.activations.len()) {
            let text = match vocabulary.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(match self.token(id)? {
                    Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    None => format!("<{id}>"),
                }),
            };
            tokens.push(text.clone());
        }
        let values: Vec<f32> =
            exemplar.activations.iter().map(|&a| side(f16::from_bits(a).to_f32(), polarity)).collect();
        Ok(json!({
            "tokens": tokens,
            "values": values,
            "maxValue": side(exemplar.value, polarity),
            "maxValueTokenIndex": exemplar.peak.saturating_sub(exemplar.start),
            "split": exemplar.split.name(),
        }))
    }

    /// Reads explanations, one JSON object a line: `modelId`, `layer`, `index`, `description`, and where they are
    /// there `polarity`, `typeName`, `explanationModelName`, `authorId` or `authorName`, and `scores`. A line
    /// that cannot be read is reported and the others are written, all in one transaction.
    ///
    /// `model` is the model's name there; lines of another are counted and left out. Several descriptions of
    /// one explainer for one unit become its candidates in the order of the lines.
    ///
    /// # Errors
    /// If the stream cannot be read or writing fails.
    pub fn import_neuronpedia(&mut self, model: &str, from: impl BufRead) -> Result<Imported, AtlasError> {
        let mut done = Imported::default();
        let mut rows: Vec<(Description, Vec<Score>)> = Vec::new();
        let mut candidates: HashMap<(Site, u32, Polarity, Explainer), u32> = HashMap::new();
        for (at, line) in from.split(b'\n').enumerate() {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let read = match explanation(&line, model) {
                Ok(Some(read)) => read,
                Ok(None) => {
                    done.other_model += 1;
                    continue;
                }
                Err(fault) => {
                    done.errors.push(LineError { line: at + 1, fault });
                    continue;
                }
            };
            let Some((mut description, scores)) = read else {
                done.unknown += 1;
                continue;
            };
            if self.reading(|db| known_unit(db, description.site, description.index)).is_err() {
                done.unknown += 1;
                continue;
            }
            let key =
                (description.site, description.index, description.polarity, description.explainer.clone());
            let next = candidates.entry(key).or_insert(0);
            description.candidate = *next;
            *next += 1;
            rows.push((description, scores));
        }
        let descriptions: Vec<Description> = rows.iter().map(|row| row.0.clone()).collect();
        let ids = self.add_descriptions(&descriptions)?;
        let scores: Vec<_> =
            ids.iter().zip(rows).flat_map(|(&id, row)| row.1.into_iter().map(move |s| (id, s))).collect();
        self.add_scores(&scores)?;
        (done.descriptions, done.scores) = (ids.len() as u64, scores.len() as u64);
        Ok(done)
    }
}

fn side(value: f32, polarity: Polarity) -> f32 {
    if polarity == Polarity::Positive { value } else { -value }
}

/// The strongest of a side over all splits; ties as they stand in the harvest.
fn top(unit: &UnitHarvest, polarity: Polarity, count: usize) -> Vec<&Exemplar> {
    let mut top: Vec<&Exemplar> =
        unit.exemplars.iter().filter(|e| e.kind == Kind::Top && e.polarity == Some(polarity)).collect();
    top.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
    top.truncate(count);
    top
}

fn feature(
    options: &Export<'_>,
    site: Site,
    index: u32,
    polarity: Polarity,
    unit: &UnitHarvest,
) -> Map<String, Value> {
    let statistics = unit.statistics;
    let sketch = unit.sketch(polarity);
    let active: u64 = sketch.bins.iter().map(|bin| u64::from(bin.1)).sum();
    let middle = |bin| {
        let (low, high) = (options.bin)(bin);
        (low + high) / 2.0
    };
    let values: Vec<f32> = sketch.bins.iter().map(|bin| middle(bin.0)).collect();
    let heights: Vec<u32> = sketch.bins.iter().map(|bin| bin.1).collect();
    let largest = if polarity == Polarity::Positive { statistics.max } else { -statistics.min };
    let fields = [
        ("modelId", json!(options.model)),
        ("layer", json!(neuronpedia_layer(site))),
        ("index", json!(index.to_string())),
        ("polarity", json!(polarity.to_string())),
        ("maxActApprox", json!(largest)),
        ("frac_nonzero", json!(active as f64 / statistics.count.max(1) as f64)),
        ("firing_density", json!(unit.firing_density(polarity))),
        ("freq_hist_data_bar_values", json!(values)),
        ("freq_hist_data_bar_heights", json!(heights)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn describe(feature: &mut Map<String, Value>, description: Option<Description>) {
    let Some(Description { written: Written::Text { text, .. }, explainer, chosen: true, .. }) = description
    else {
        feature.insert("description".to_owned(), Value::Null);
        return;
    };
    feature.insert("description".to_owned(), text.into());
    feature.insert("typeName".to_owned(), explainer.name.into());
    let model = if explainer.model.is_empty() { Value::Null } else { explainer.model.into() };
    feature.insert("explanationModelName".to_owned(), model);
}

type Explanation = (Description, Vec<Score>);

/// A line's explanation: the outer `None` for another model's, the inner one for a source that is no site.
fn explanation(line: &[u8], model: &str) -> Result<Option<Option<Explanation>>, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(row) = value else { return Err("expected an object".to_owned()) };
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    if text("modelId").is_some_and(|found| found != model) {
        return Ok(None);
    }
    let number = |name: &str| match row.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(format!("expected a text or number {name:?}, found {}", found(row.get(name)))),
    };
    let (layer, index) = (number("layer")?, number("index")?);
    let index = index.parse().map_err(|_| format!("expected a whole number \"index\", found {index:?}"))?;
    let words = text("description").filter(|words| !words.trim().is_empty());
    let words = words
        .ok_or_else(|| format!("expected a text \"description\", found {}", found(row.get("description"))))?;
    let Some(site) = neuronpedia_site(&layer) else { return Ok(Some(None)) };
    let polarity = match text("polarity").as_deref() {
        Some("-" | "negative") => Polarity::Negative,
        _ => Polarity::Positive,
    };
    let author = text("typeName").or_else(|| text("authorName")).or_else(|| text("authorId"));
    let explainer = Explainer {
        name: author.unwrap_or_else(|| "neuronpedia".to_owned()),
        version: String::new(),
        model: text("explanationModelName").unwrap_or_default(),
        prompt: String::new(),
    };
    let written = Written::Text { text: words, short: None };
    let description = Description { site, index, polarity, explainer, candidate: 0, written, chosen: false };
    let scores = row.get("scores").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Ok(Some(Some((description, scores.iter().filter_map(score).collect()))))
}

/// A score there has a value and a kind; its split and interval are not known.
fn score(value: &Value) -> Option<Score> {
    let number = value.get("value").or_else(|| value.get("score"))?.as_f64()?;
    let kind = ["explanationScoreTypeName", "type", "kind"].iter().find_map(|name| value.get(name)?.as_str());
    let kind = ScoreKind::Other(format!("neuronpedia:{}", kind.unwrap_or("score")));
    Some(Score::plain(kind, number))
}

/// What stands in a field, in a few characters.
fn found(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), |value| value.to_string().chars().take(40).collect())
}
