//! Words for every unit of an atlas without a language model, each with its score, its null and its vector.

use super::texts::vocabulary;
use super::{ENCODER, check_model};
use crate::models::Loaded;
use crate::show::bar;
use anyhow::{Context, Result};
use pellucid::core::{Embed, Point, Polarity, Seed, Site, Split};
use pellucid::describe::evidence::{Outputs, evidence};
use pellucid::describe::measure::{Facts, Rule, Weighting, interesting, null, single_token};
use pellucid::describe::{Evidence, Lexicon, Outcome, Settings, Simulate, explain_with};
use pellucid::interp::{Promoted, promoted};
use pellucid::store::atlas::{Atlas, Description, Explainer, Judged, Score, ScoreKind, Written};
use pellucid::store::{Document, UnitHarvest, Window};
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

/// Units that one task describes; a null's other description comes from the same group.
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

/// Describes what this explainer has not yet described, site by site; a site is written whole or not at all.
pub(crate) fn describe(
    loaded: &Loaded,
    path: &Path,
    seed: u64,
    embedder: Option<&dyn Embed>,
) -> Result<Described> {
    let begun = std::time::Instant::now();
    let mut atlas = Atlas::open_write(path)?;
    check_model(&atlas, loaded)?;
    let lacking: BTreeSet<(Site, u32, Polarity)> =
        atlas.lacking(Some(&explainer()))?.into_iter().map(|m| (m.site, m.index, m.polarity)).collect();
    let sites = atlas.sites()?;
    let texts = vocabulary(loaded)?;
    let shown = bar("describing: units", lacking.len());
    let mut done = Described::default();
    for row in sites {
        let missing: Vec<u32> = (0..row.width)
            .filter(|&i| {
                [Polarity::Positive, Polarity::Negative].iter().any(|&p| lacking.contains(&(row.site, i, p)))
            })
            .collect();
        if missing.is_empty() {
            continue;
        }
        let outputs = if row.site.point == Point::MlpAct {
            promoted(&loaded.model, row.site.layer as usize, OUTPUTS, &mut |_| ())?
        } else {
            Vec::new()
        };
        let work = Work { path, site: row.site, texts: &texts, outputs: &outputs, seed };
        let groups: Vec<Vec<Worded>> = missing
            .par_chunks(GROUP)
            .map(|group| work.group(group))
            .inspect(|_| shown.inc(2 * GROUP as u64))
            .collect::<Result<_>>()?;
        let judged: Vec<Worded> = groups.into_iter().flatten().collect();
        write(&mut atlas, &judged, embedder)?;
        done.units += judged.len() as u64;
        done.with_words += judged.iter().filter(|w| w.words().is_some()).count() as u64;
    }
    shown.finish_and_clear();
    done.without = done.units - done.with_words;
    done.seconds = begun.elapsed().as_secs_f64();
    Ok(done)
}

/// A description and its judgement, before it has a vector.
struct Worded {
    description: Description,
    scores: Vec<Score>,
}

impl Worded {
    fn words(&self) -> Option<&str> {
        match &self.description.written {
            Written::Text { text, .. } => Some(text),
            Written::None { .. } => None,
        }
    }
}

fn write(atlas: &mut Atlas, all: &[Worded], embedder: Option<&dyn Embed>) -> Result<()> {
    let mut vectors: HashMap<&str, Vec<f32>> = HashMap::new();
    if let Some(embedder) = embedder {
        let texts: Vec<&str> =
            all.iter().filter_map(Worded::words).collect::<BTreeSet<_>>().into_iter().collect();
        let found = embedder.embed(&texts).map_err(|e| anyhow::anyhow!("cannot embed descriptions: {e}"))?;
        vectors = texts.into_iter().zip(found).collect();
    }
    let judged: Vec<Judged<'_>> = all
        .iter()
        .map(|w| Judged {
            description: w.description.clone(),
            scores: w.scores.clone(),
            embedding: w.words().and_then(|text| vectors.get(text)).map(Vec::as_slice),
        })
        .collect();
    Ok(atlas.add_judged(ENCODER, &judged)?)
}

/// What describing a site takes.
struct Work<'a> {
    path: &'a Path,
    site: Site,
    texts: &'a [Arc<str>],
    outputs: &'a [Promoted],
    seed: u64,
}

impl Work<'_> {
    /// A few neighbouring units, in order: plus and minus of each.
    fn group(&self, indices: &[u32]) -> Result<Vec<Worded>> {
        let atlas = Atlas::open_read(self.path)?;
        let mut lexicon = Lexicon::new();
        let settings = Settings { seed: Seed(self.seed), ..Settings::default() };
        let mut all = Vec::new();
        for &index in indices {
            let unit = atlas
                .unit(self.site, index)?
                .with_context(|| format!("{}/{index} is not in the atlas", self.site))?;
            let windows: HashMap<(Document, u32), Window> =
                atlas.windows_of(self.site, index)?.into_iter().map(|w| ((w.document, w.index), w)).collect();
            for polarity in [Polarity::Positive, Polarity::Negative] {
                let evidence = self.evidence(index, polarity, &unit, &windows);
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

    fn evidence(
        &self,
        index: u32,
        polarity: Polarity,
        unit: &UnitHarvest,
        windows: &HashMap<(Document, u32), Window>,
    ) -> Evidence {
        let named = |list: &[(u32, f32)]| -> Outputs {
            list.iter().filter_map(|(id, w)| Some((self.texts.get(*id as usize)?.clone(), *w))).collect()
        };
        let outputs = self.outputs.get(index as usize);
        let outputs = outputs.map_or([Vec::new(), Vec::new()], |p| [named(&p.up), named(&p.down)]);
        evidence(self.site, index, polarity, unit, windows, self.texts, outputs)
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
                windows: None,
            });
            let single = single_token(&evidence.train).map_or(0.0, |s| s.share);
            let facts = Facts {
                density: evidence.density,
                single_token_share: single,
                score_low: Some(test.low),
                null: null.unwrap_or(0.0),
                only_form: candidate.only_form,
            };
            let worth = interesting(&facts, &Rule::default()).interesting();
            scores.push(fact(SINGLE_TOKEN, single));
            scores.push(fact(INTERESTING, f64::from(u8::from(worth))));
        }
        let description = Description {
            site: self.site,
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

fn fact(name: &str, value: f64) -> Score {
    let kind = ScoreKind::Other(name.to_owned());
    Score { kind, value, interval: None, null: None, split: None, n: None, seed: None, windows: None }
}

/// The nearest other unit's chosen description in the group, for the null.
fn other(all: &[(u32, Polarity, Evidence, Outcome)], i: usize) -> Option<&dyn Simulate> {
    let n = all.len();
    (1..n).map(|step| &all[(i + step) % n]).filter(|o| o.0 != all[i].0).find_map(|o| {
        let simulator: &dyn Simulate = &o.3.description()?.simulator;
        Some(simulator)
    })
}
