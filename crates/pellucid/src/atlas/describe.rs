//! Words for every unit of an atlas without a language model, each with its score, its null and its vector.

use super::sides::{POLARITIES, Side};
use super::texts::vocabulary;
use super::{ENCODER, check_model};
use crate::models::Loaded;
use crate::show::bar;
use anyhow::{Context, Result};
use pellucid::core::{Embed, Point, Polarity, Seed, Site, Split};
use pellucid::describe::evidence::{Outputs, evidence};
use pellucid::describe::measure::{Facts, Rule, Weighting, interesting, null, single_token, windows_hash};
use pellucid::describe::{Evidence, Lexicon, Outcome, Settings, Simulate, explain_with};
use pellucid::interp::{Promoted, leads_to_stream, promoted, promoted_latents};
use pellucid::store::atlas::{Atlas, Description, Explainer, Judged, Score, ScoreKind, Written};
use pellucid::store::{Document, Window};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The explainer's name and version. A change of what it writes is a new version.
const EXPLAINER: (&str, &str) = ("patterns", "1");

/// The kind of score that says whether a unit is worth a person's time, 1 or 0.
pub(crate) const INTERESTING: &str = "interesting";

/// The kind of score that is the share of active mass on one token.
pub(crate) const SINGLE_TOKEN: &str = "single_token";

/// Promoted and suppressed tokens that an explainer sees.
const OUTPUTS: usize = 12;

/// Neighbouring units that one task describes; a null's other description comes from the same group, so a group is
/// always looked at whole, whichever of its units are written.
const GROUP: usize = 48;

/// How much was described.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Described {
    pub(crate) units: u64,
    pub(crate) with_words: u64,
    pub(crate) without: u64,
    pub(crate) seconds: f64,
}

pub(crate) fn explainer() -> Explainer {
    Explainer { name: EXPLAINER.0.to_owned(), version: EXPLAINER.1.to_owned(), ..Explainer::default() }
}

/// Describes what this explainer has not yet described, of all units or of the sides in `only`, site by site; a site is
/// written whole or not at all.
pub(crate) fn describe(
    loaded: &Loaded,
    path: &Path,
    seed: u64,
    only: Option<&[Side]>,
    embedder: Option<&dyn Embed>,
) -> Result<Described> {
    let begun = std::time::Instant::now();
    let mut atlas = Atlas::open_write(path)?;
    check_model(&atlas, loaded)?;
    let side =
        |m: pellucid::store::atlas::Missing| Side { site: m.site, index: m.index, polarity: m.polarity };
    let mut lacking: BTreeSet<Side> = atlas.lacking(Some(&explainer()))?.into_iter().map(side).collect();
    if let Some(only) = only {
        let only: BTreeSet<Side> = only.iter().copied().collect();
        lacking.retain(|side| only.contains(side));
    }
    let dictionary = atlas.dictionary()?;
    if dictionary.is_some() {
        // a latent has one side
        lacking.retain(|side| side.polarity == Polarity::Positive);
    }
    let sites = atlas.sites()?;
    let texts = vocabulary(loaded)?;
    let shown = bar("describing: units", lacking.len());
    let mut done = Described::default();
    for row in sites {
        let here = |index| POLARITIES.map(|polarity| Side { site: row.site, index, polarity });
        let wanted = |index: &u32| here(*index).iter().any(|side| lacking.contains(side));
        let all: Vec<u32> = (0..row.width).collect();
        let groups: Vec<&[u32]> = all.chunks(GROUP).filter(|group| group.iter().any(wanted)).collect();
        if groups.is_empty() {
            continue;
        }
        let outputs = outputs(loaded, row.site, dictionary.as_deref())?;
        let sight = Sight { site: row.site, texts: &texts, outputs: &outputs };
        let work = Work { path, sight, seed };
        let count = |worded: &Worded| lacking.contains(&worded.side());
        let described: Vec<Vec<Worded>> = groups
            .par_iter()
            .map(|group| Ok(work.group(group)?.into_iter().filter(count).collect()))
            .inspect(|group: &Result<Vec<Worded>>| shown.inc(group.as_ref().map_or(0, Vec::len) as u64))
            .collect::<Result<_>>()?;
        let judged: Vec<Worded> = described.into_iter().flatten().collect();
        write(&mut atlas, &judged, embedder)?;
        done.units += judged.len() as u64;
        done.with_words += judged.iter().filter(|w| w.words().is_some()).count() as u64;
    }
    shown.finish_and_clear();
    done.without = done.units - done.with_words;
    done.seconds = begun.elapsed().as_secs_f64();
    Ok(done)
}

/// What the units of a site make likelier, if they are neurons, or latents of a dictionary in the stream; nothing otherwise.
pub(crate) fn outputs(loaded: &Loaded, site: Site, dictionary: Option<&str>) -> Result<Vec<Promoted>> {
    if let Some(name) = dictionary {
        // an atlas can be read without its dictionary
        let Some(found) = loaded.model.dictionary(name).ok().filter(|d| leads_to_stream(d.site.point)) else {
            return Ok(Vec::new());
        };
        Ok(promoted_latents(&loaded.model, found, 0..found.latents.count(), OUTPUTS, &mut |_| ())?)
    } else if site.point == Point::MlpAct {
        Ok(promoted(&loaded.model, site.layer as usize, OUTPUTS, &mut |_| ())?)
    } else {
        Ok(Vec::new())
    }
}

/// A description and its judgement, before it has a vector.
struct Worded {
    description: Description,
    scores: Vec<Score>,
}

impl Worded {
    fn side(&self) -> Side {
        let Description { site, index, polarity, .. } = self.description;
        Side { site, index, polarity }
    }

    fn words(&self) -> Option<&str> {
        match &self.description.written {
            Written::Text { text, .. } => Some(text),
            Written::None { .. } => None,
        }
    }
}

fn write(atlas: &mut Atlas, all: &[Worded], embedder: Option<&dyn Embed>) -> Result<()> {
    let vectors = embedded(all.iter().filter_map(Worded::words), embedder)?;
    let judged: Vec<Judged<'_>> = all
        .iter()
        .map(|w| Judged {
            description: w.description.clone(),
            scores: w.scores.clone(),
            embedding: w.words().and_then(|text| vectors.get(text)).map(Vec::as_slice),
        })
        .collect();
    Ok(atlas.add_judged(ENCODER, &judged, &[])?)
}

/// The vectors of texts; none without an embedder.
pub(crate) fn embedded<'a>(
    texts: impl Iterator<Item = &'a str>,
    embedder: Option<&dyn Embed>,
) -> Result<HashMap<&'a str, Vec<f32>>> {
    let Some(embedder) = embedder else { return Ok(HashMap::new()) };
    let texts: Vec<&str> = texts.collect::<BTreeSet<_>>().into_iter().collect();
    let found = embedder.embed(&texts).map_err(|e| anyhow::anyhow!("cannot embed descriptions: {e}"))?;
    Ok(texts.into_iter().zip(found).collect())
}

/// What reading the units of a site takes.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) site: Site,
    pub(crate) texts: &'a [Arc<str>],
    /// What each unit makes likelier; empty if nobody asks.
    pub(crate) outputs: &'a [Promoted],
}

impl Sight<'_> {
    /// All that is known of both sides of a unit.
    pub(crate) fn sides(&self, atlas: &Atlas, index: u32) -> Result<[(Polarity, Evidence); 2]> {
        let unit = atlas
            .unit(self.site, index)?
            .with_context(|| format!("{}/{index} is not in the atlas", self.site))?;
        let windows: HashMap<(Document, u32), Window> =
            atlas.windows_of(self.site, index)?.into_iter().map(|w| ((w.document, w.index), w)).collect();
        let named = |list: &[(u32, f32)]| -> Outputs {
            list.iter().filter_map(|(id, w)| Some((self.texts.get(*id as usize)?.clone(), *w))).collect()
        };
        Ok(POLARITIES.map(|polarity| {
            let outputs = self.outputs.get(index as usize);
            let outputs = outputs.map_or([Vec::new(), Vec::new()], |p| [named(&p.up), named(&p.down)]);
            (polarity, evidence(self.site, index, polarity, &unit, &windows, self.texts, outputs))
        }))
    }
}

/// What describing a site takes.
struct Work<'a> {
    path: &'a Path,
    sight: Sight<'a>,
    seed: u64,
}

/// How patterns are found under a seed.
pub(crate) fn settings(seed: u64) -> Settings {
    Settings { seed: Seed(seed), ..Settings::default() }
}

impl Work<'_> {
    /// A few neighbouring units, in order: plus and minus of each.
    fn group(&self, indices: &[u32]) -> Result<Vec<Worded>> {
        let atlas = Atlas::open_read(self.path)?;
        let mut lexicon = Lexicon::new();
        let settings = settings(self.seed);
        let mut all = Vec::new();
        for &index in indices {
            for (polarity, evidence) in self.sight.sides(&atlas, index)? {
                let outcome = explain_with(&evidence, &settings, &mut lexicon)?;
                all.push((index, polarity, evidence, outcome));
            }
        }
        let worded = |i: usize| {
            let (index, polarity, evidence, outcome) = &all[i];
            self.worded(*index, *polarity, evidence, outcome, other(&all, i))
        };
        (0..all.len()).map(worded).collect()
    }

    fn worded(
        &self,
        index: u32,
        polarity: Polarity,
        evidence: &Evidence,
        outcome: &Outcome,
        other: Option<&dyn Simulate>,
    ) -> Result<Worded> {
        let chosen = outcome.description();
        let mut scores = Vec::new();
        let written = match (chosen, &outcome.reason_none) {
            (Some(candidate), _) => Written::Text { text: candidate.phrase.clone(), short: None },
            (None, Some(reason)) => Written::None { reason: reason.to_string() },
            (None, None) => Written::None { reason: "no description was chosen".to_owned() },
        };
        if let (Some(candidate), Some(test)) = (chosen, &outcome.test) {
            let others: Vec<&dyn Simulate> = other.into_iter().collect();
            let null = null(evidence, Split::Test, &others, Weighting::Even)?.first().copied();
            scores.push(Score {
                kind: ScoreKind::Simulation,
                value: test.pearson.r,
                interval: Some((test.low, test.high)),
                null,
                split: Some(Split::Test),
                n: Some(test.tokens as u64),
                seed: Some(self.seed),
                windows: Some(windows_hash(&evidence.test)),
                scorer: String::new(),
            });
            scores.extend(facts(evidence, test.low, null, candidate.only_form));
        }
        let description = Description {
            site: self.sight.site,
            index,
            polarity,
            explainer: explainer(),
            candidate: 0,
            written,
            chosen: chosen.is_some(),
        };
        Ok(Worded { description, scores })
    }
}

/// How much of its activation is on one token, and whether a description scored so is worth a person's time.
pub(crate) fn facts(evidence: &Evidence, low: f64, null: Option<f64>, only_form: bool) -> [Score; 2] {
    let single = single_token(&evidence.train).map_or(0.0, |s| s.share);
    let facts = Facts {
        density: evidence.density,
        single_token_share: single,
        score_low: Some(low),
        null: null.unwrap_or(0.0),
        only_form,
    };
    let worth = interesting(&facts, &Rule::default()).interesting();
    let fact = |name: &str, value| Score::plain(ScoreKind::Other(name.to_owned()), value);
    [fact(SINGLE_TOKEN, single), fact(INTERESTING, f64::from(u8::from(worth)))]
}

/// The nearest other unit's chosen description in the group, for the null.
fn other(all: &[(u32, Polarity, Evidence, Outcome)], i: usize) -> Option<&dyn Simulate> {
    let n = all.len();
    (1..n).map(|step| &all[(i + step) % n]).filter(|o| o.0 != all[i].0).find_map(|o| {
        let simulator: &dyn Simulate = &o.3.description()?.simulator;
        Some(simulator)
    })
}
