//! The study's numbers beside the paper's, in one file of JSON, one of Markdown, and a page.

use super::automata::{Automaton, Named, Split};
use super::measure::{Detector, Kind, Matches, Measured};
use super::{DictionaryCard, ModelCard, page, write};
use crate::show::{Out, Table};
use anyhow::Result;
use pellucid::store::atlas::Judgement;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// What the stages found.
pub(super) struct Facts {
    pub(super) models: Vec<ModelCard>,
    pub(super) dictionaries: Vec<(String, DictionaryCard)>,
    pub(super) neurons: Vec<Judgement>,
    pub(super) latents: Vec<Judgement>,
    pub(super) shuffled: Vec<Judgement>,
    pub(super) measured: Measured,
}

/// A figure of the paper beside this run's.
#[derive(Serialize)]
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) paper: String,
    pub(super) here: String,
    /// Why they differ, or are not the same measure.
    pub(super) note: String,
}

impl Figure {
    fn new(what: impl Into<String>, paper: impl Into<String>, here: String, note: &str) -> Self {
        Figure { what: what.into(), paper: paper.into(), here, note: note.to_owned() }
    }
}

/// How well words do that were found on other text.
#[derive(Serialize)]
pub(super) struct Words {
    pub(super) units: usize,
    pub(super) mean: f64,
    pub(super) median: f64,
    /// Share of units whose activation is mostly on one token.
    pub(super) single_token: f64,
    /// The median of the others alone.
    pub(super) median_of_others: f64,
    pub(super) scores: Vec<f64>,
}

/// A difference of means with its 95% interval (Welch).
#[derive(Clone, Copy, Serialize)]
pub(super) struct Difference {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A dictionary, in short.
#[derive(Serialize)]
pub(super) struct Trained {
    pub(super) name: String,
    pub(super) latents: usize,
    pub(super) vectors: u64,
    pub(super) explained_variance: Option<f64>,
    pub(super) l0: f64,
    pub(super) recovered_from_zero: Option<f64>,
    pub(super) recovered_from_mean: Option<f64>,
}

/// All of it.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) study: &'static str,
    pub(super) code: &'static str,
    pub(super) seconds: f64,
    pub(super) figures: Vec<Figure>,
    pub(super) models: Vec<ModelCard>,
    pub(super) dictionaries: Vec<Trained>,
    pub(super) neurons: Words,
    pub(super) latents: Words,
    pub(super) shuffled: Words,
    pub(super) latents_above_neurons: Difference,
    /// Universality of the latents of each dictionary above neurons'.
    pub(super) twins_above_neurons: Vec<Universality>,
    pub(super) measured: Measured,
}

/// How far latents go beyond neurons in having a twin in the other seed.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Universality {
    pub(super) latents: usize,
    /// Of all that were ever active.
    pub(super) all: Difference,
    /// Of those that were active often enough for a correlation to mean something.
    pub(super) often: Difference,
}

impl Universality {
    fn new(measured: &Measured, latents: &Matches) -> Self {
        let above = |least| difference(&latents.of(least, u64::MAX), &measured.neurons.of(least, u64::MAX));
        Universality { latents: latents.units, all: above(0), often: above(OFTEN) }
    }
}

/// Test tokens in which a unit must have been active for its best correlation to be told apart from chance: with fewer, a few documents
/// decide.
pub(super) const OFTEN: u64 = 100;

/// Activation that is this share on one token makes a unit one of single tokens.
const MOSTLY: f64 = 0.5;
/// Test tokens in which units were active, for the table of universality.
const BANDS: [u64; 9] = [1, 10, 30, 100, 300, 1000, 3000, 10_000, u64::MAX];
/// How many automata of a length and how many splits are shown, and the most parts of one.
const SHOWN: usize = 8;
const READ: usize = 8;
/// Rarer than this is ultra-low.
const RARE: f64 = 1e-6;

impl Report {
    pub(super) fn new(facts: Facts, spent: Duration) -> Self {
        let Facts { models, dictionaries, neurons, latents, shuffled, measured } = facts;
        let dictionaries = dictionaries.into_iter().map(trained).collect();
        let scores = |all: &[Judgement]| -> Vec<f64> { all.iter().map(|one| one.score).collect() };
        let latents_above_neurons = difference(&scores(&latents), &scores(&neurons));
        let twins_above_neurons =
            measured.latents.iter().map(|latents| Universality::new(&measured, latents)).collect();
        let [neurons, latents, shuffled] = [neurons, latents, shuffled].map(|all| words(&all));
        let mut report = Report {
            study: "Bricken et al. 2023, Towards Monosemanticity",
            code: env!("CARGO_PKG_VERSION"),
            seconds: spent.as_secs_f64(),
            figures: Vec::new(),
            models,
            dictionaries,
            neurons,
            latents,
            shuffled,
            latents_above_neurons,
            twins_above_neurons,
            measured,
        };
        report.figures = report.figures();
        report
    }

    /// The paper's figures with ours.
    fn figures(&self) -> Vec<Figure> {
        let losses: Vec<String> = self.models.iter().map(|m| format!("{:.2}", m.judged.loss)).collect();
        let mut all = vec![Figure::new(
            "tokens of training; test loss of both seeds",
            "100 billion; not told",
            format!("{:.1} million; {} nats", self.models[0].trained_tokens as f64 / 1e6, losses.join(", ")),
            "text and time of a laptop",
        )];
        let own = self.dictionaries.iter().filter(|d| d.name.starts_with("a-"));
        for d in own {
            let paper = match d.latents {
                4096 => "79 %, –",
                _ => "94.5 %, – (131,072 latents)",
            };
            all.push(Figure::new(
                format!("loss recovered by {} latents: against zeros, the mean", d.latents),
                paper,
                format!("{}, {}", percent(d.recovered_from_zero), percent(d.recovered_from_mean)),
                "TopK here, L1 there; zeros flatter",
            ));
        }
        all.extend(self.figures_of_the_last());
        all.extend(self.figures_of_twins());
        all.extend(self.figures_of_ways());
        for (name, paper) in KINDS {
            let kind = self.measured.kinds.iter().find(|kind| kind.name == name);
            all.extend(kind.into_iter().flat_map(|kind| {
                let name = name.trim_start_matches("generated-");
                let told = [
                    (
                        format!("{name}: correlation of the best latent, of the best neuron"),
                        correlations(kind),
                    ),
                    (
                        format!("{name}: share of the latent's tokens that are {name}, of its strong ones"),
                        purity(kind),
                    ),
                ];
                told.into_iter().zip(paper).filter(|(_, paper)| !paper.is_empty()).map(
                    |((what, here), paper)| {
                        Figure::new(
                            &what,
                            paper,
                            here,
                            "texts are known by their source here, by a likelihood ratio there",
                        )
                    },
                )
            }));
        }
        all
    }

    fn figures_of_the_last(&self) -> Vec<Figure> {
        let tokens = self.measured.tokens;
        let dead = self.measured.active.iter().filter(|count| **count == 0).count();
        let rare = self
            .measured
            .active
            .iter()
            .filter(|count| **count > 0 && (**count as f64) < RARE * tokens as f64);
        let (l, n, d) = (&self.latents, &self.neurons, self.latents_above_neurons);
        let by_neurons = median(&self.measured.latents_by_neurons.best);
        vec![
            Figure::new(
                "latents that are never active, and rarer than 1e-6",
                "168 and 292 of 4,096, on 100 million tokens",
                format!("{dead} and {} of {}, on {tokens} tokens", rare.count(), self.measured.active.len()),
                "fewer tokens see fewer rare latents; AuxK here, resampling there",
            ),
            Figure::new(
                "words: median score of latents, of neurons",
                "Spearman by a language model; higher for features",
                format!("{:.2}, {:.2} ({} and {} units)", l.median, n.median, l.units, n.units),
                "Pearson on held-out text of words found without a language model",
            ),
            Figure::new(
                "words: latents above neurons, 95 % interval",
                "above",
                format!("{:+.2} ({:+.2} to {:+.2})", d.value, d.low, d.high),
                "an interval without 0 is the claim",
            ),
            Figure::new(
                "units of a single token: latents, neurons, shuffled latents",
                "more in the randomised model, and they score higher",
                format!(
                    "{:.0} %, {:.0} %, {:.0} %; median score of the shuffled model's {:.2}",
                    100.0 * l.single_token,
                    100.0 * n.single_token,
                    100.0 * self.shuffled.single_token,
                    self.shuffled.median
                ),
                "the reason why single tokens are told apart",
            ),
            Figure::new(
                "words, without units of a single token: latents, neurons",
                "not told",
                format!("{:.2}, {:.2}", l.median_of_others, n.median_of_others),
                "",
            ),
            Figure::new(
                "median best correlation of a latent with a neuron",
                "low",
                format!("{by_neurons:.2}"),
                "",
            ),
        ]
    }

    fn figures_of_twins(&self) -> Vec<Figure> {
        let of_one = |(latents, above): (&Matches, &Universality)| {
            [(0, above.all), (OFTEN, above.often)].map(|(least, above)| {
                let which = if least == 0 {
                    "ever active".to_owned()
                } else {
                    format!("active on {least} tokens or more")
                };
                let [ours, neurons] = [latents, &self.measured.neurons].map(|m| m.of(least, u64::MAX));
                Figure::new(
                    format!("universality, median of those {which}: {} latents, neurons", latents.units),
                    "0.72, 0.46 (4,096 latents)",
                    format!(
                        "{:.2}, {:.2} ({} and {} units); means {:+.2} ({:+.2} to {:+.2}) apart",
                        median(&ours),
                        median(&neurons),
                        ours.len(),
                        neurons.len(),
                        above.value,
                        above.low,
                        above.high
                    ),
                    "best correlation in the other seed, on held-out text",
                )
            })
        };
        self.measured.latents.iter().zip(&self.twins_above_neurons).flat_map(of_one).collect()
    }

    fn figures_of_ways(&self) -> [Figure; 2] {
        let Measured { automata, splits, .. } = &self.measured;
        let of = |states: usize| automata.iter().filter(|one| one.states.len() == states).count();
        let split = splits.iter().filter(|split| split.into.len() > 1).count();
        let most = splits.first().map_or(0, |split| split.into.len());
        let narrow = self.measured.latents.first().map_or(0, |set| set.units);
        [
            Figure::new(
                "finite-state automata: latents that lead to themselves; pairs; triples".to_owned(),
                "some shown, of one to four states",
                format!("{}; {}; {}", of(1), of(2), of(3)),
                "found from weights, held to what follows on held-out text",
            ),
            Figure::new(
                format!(
                    "feature splitting: of {narrow} latents, found again as one and as several of the widest"
                ),
                "many",
                format!("{} and {split}, into {most} at most", splits.len() - split),
                "by correlation on held-out text",
            ),
        ]
    }

    /// Best correlations in the other seed by how often units are active: the band, then number and median of neurons and of each
    /// dictionary's latents.
    pub(super) fn bands(&self) -> Vec<(String, Vec<String>)> {
        let sets = || std::iter::once(&self.measured.neurons).chain(&self.measured.latents);
        let cell = |band: &[u64], set: &Matches| {
            let here = set.of(band[0], band[1]);
            if here.is_empty() { "–".to_owned() } else { format!("{:.2} ({})", median(&here), here.len()) }
        };
        let name = |band: &[u64]| match band[1] {
            u64::MAX => format!("{} or more", band[0]),
            below => format!("{}–{}", band[0], below - 1),
        };
        BANDS.windows(2).map(|band| (name(band), sets().map(|set| cell(band, set)).collect())).collect()
    }

    /// What the columns of [`Self::bands`] are.
    pub(super) fn bands_of(&self) -> Vec<String> {
        let latents = self.measured.latents.iter().map(|set| format!("{} latents", set.units));
        std::iter::once("neurons".to_owned()).chain(latents).collect()
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        write(&folder.join("report.json"), &(serde_json::to_string_pretty(self)? + "\n"))?;
        write(&folder.join("report.md"), &self.markdown())?;
        write(&folder.join("index.html"), &page::page(self))
    }

    fn markdown(&self) -> String {
        let mut text =
            format!("# {}\n\n| figure | paper | this run | note |\n| --- | --- | --- | --- |\n", self.study);
        for Figure { what, paper, here, note } in &self.figures {
            let _ = writeln!(text, "| {what} | {paper} | {here} | {note} |");
        }
        let of = self.bands_of();
        let _ = writeln!(
            text,
            "\n## Universality by how often units are active: median (units)\n\n| test tokens | {} |\n| --- |{}",
            of.join(" | "),
            " --: |".repeat(of.len())
        );
        for (band, cells) in self.bands() {
            let _ = writeln!(text, "| {band} | {} |", cells.join(" | "));
        }
        let _ = writeln!(text, "\n## Automata\n\n| states, by their tokens | r |\n| --- | --: |");
        for Automaton { states, r } in self.automata() {
            let states: Vec<String> = states.iter().map(name).collect();
            let _ = writeln!(text, "| {} | {r:.2} |", escaped(&states.join(" → ")));
        }
        let _ = writeln!(text, "\n## Splits\n\n| latent | into |\n| --- | --- |");
        for Split { of, into } in self.splits() {
            let into: Vec<String> = into.iter().map(name).collect();
            let _ = writeln!(text, "| {} | {} |", escaped(&name(of)), escaped(&into.join("; ")));
        }
        let _ = writeln!(
            text,
            "\n## Kinds of text\n\n| kind | share of tokens | latent | neuron |\n| --- | --: | --- | --- |"
        );
        for kind in &self.measured.kinds {
            let detector = |d: Option<Detector>| {
                d.map_or_else(|| "–".to_owned(), |d| format!("{}: {}", d.unit, one(&d)))
            };
            let share = 100.0 * kind.share;
            let _ = writeln!(
                text,
                "| {} | {share:.2} % | {} | {} |",
                kind.name,
                detector(kind.latent),
                detector(kind.neuron)
            );
        }
        text
    }

    /// The best automata of each length: what several latents do is worth more than what one does alone.
    pub(super) fn automata(&self) -> impl Iterator<Item = &Automaton> {
        [3, 2, 1].into_iter().flat_map(|states| {
            let of = self.measured.automata.iter().filter(move |one| one.states.len() == states);
            of.take(SHOWN)
        })
    }

    /// The latents that are split into most, but not into more than can be read.
    pub(super) fn splits(&self) -> impl Iterator<Item = &Split> {
        self.measured.splits.iter().filter(|split| (2..=READ).contains(&split.into.len())).take(SHOWN)
    }

    pub(super) fn show(&self, out: &mut Out) -> Result<()> {
        let mut table = Table::new(&["", "paper", "here"]);
        for Figure { what, paper, here, .. } in &self.figures {
            table.row(vec![what.clone(), paper.clone(), here.clone()]);
        }
        out.table(table)
    }
}

/// The paper's detectors: correlation of the feature and, where told, of the best neuron; how specific it is.
const KINDS: [(&str, [&str; 2]); 4] = [
    ("generated-arabic", ["0.74", "81 %, 98 % (0.13 % of all tokens)"]),
    ("generated-dna", ["0.80", ""]),
    ("generated-base64", ["0.38, 0.18", ""]),
    ("generated-hebrew", ["0.55, 0.10", ""]),
];

fn correlations(kind: &Kind) -> String {
    let r = |d: Option<Detector>| d.map_or_else(|| "–".to_owned(), |d| format!("{:.2}", d.r));
    format!("{}, {}", r(kind.latent), r(kind.neuron))
}

fn purity(kind: &Kind) -> String {
    let Some(latent) = kind.latent else { return "no latent goes with it".to_owned() };
    let share = 100.0 * kind.share;
    format!("{}, {} ({share:.2} % of all tokens)", percent(Some(latent.active)), percent(latent.strong))
}

/// A latent by the tokens on which it is active most.
pub(super) fn name(named: &Named) -> String {
    let tokens: Vec<String> = named.tokens.iter().map(|token| format!("{token:?}")).collect();
    format!("{} ({})", named.latent, tokens.join(", "))
}

/// Text in a cell of a table of Markdown.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('`', "\\`")
}

/// A detector in a few numbers.
pub(super) fn one(d: &Detector) -> String {
    format!(
        "r {:.2}, active {} there ({} strongly), covers {}",
        d.r,
        percent(Some(d.active)),
        percent(d.strong),
        percent(Some(d.covered))
    )
}

pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

fn trained((name, card): (String, DictionaryCard)) -> Trained {
    let judged = &card.judged;
    Trained {
        name,
        latents: judged.latents,
        vectors: card.trained_rows,
        explained_variance: judged.explained_variance,
        l0: judged.l0,
        recovered_from_zero: judged.recovered_from_zero,
        recovered_from_mean: judged.recovered_from_mean,
    }
}

fn words(all: &[Judgement]) -> Words {
    let scores: Vec<f64> = all.iter().map(|one| one.score).collect();
    let single = |one: &&Judgement| one.other.is_some_and(|share| share > MOSTLY);
    let others: Vec<f64> = all.iter().filter(|one| !single(one)).map(|one| one.score).collect();
    Words {
        units: all.len(),
        mean: mean(&scores),
        median: median(&scores),
        single_token: all.iter().filter(single).count() as f64 / all.len().max(1) as f64,
        median_of_others: median(&others),
        scores,
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (at(half.saturating_sub(1)) + at(half)) / 2.0 } else { at(half) }
}

/// mean(a) − mean(b) ± 1.96 √(s²ₐ/nₐ + s²ᵦ/nᵦ).
fn difference(a: &[f64], b: &[f64]) -> Difference {
    let variance = |values: &[f64]| {
        let mean = mean(values);
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        squares / (values.len().saturating_sub(1).max(1) * values.len().max(1)) as f64
    };
    let (value, half) = (mean(a) - mean(b), 1.959_963_984_540_054 * (variance(a) + variance(b)).sqrt());
    Difference { value, low: value - half, high: value + half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_differences_are_those_of_the_definition() {
        assert_eq!((median(&[]), median(&[3.0]), median(&[4.0, 1.0, 2.0, 9.0])), (0.0, 3.0, 3.0));
        // variances of means: 1/3 and 4/3
        let d = difference(&[1.0, 2.0, 3.0], &[0.0, 2.0, 4.0]);
        assert!(d.value.abs() < 1e-12 && (d.high - 1.96 * (5.0f64 / 3.0).sqrt()).abs() < 1e-3);
        assert!((d.low + d.high).abs() < 1e-12);
    }

    #[test]
    fn single_tokens_are_told_apart() {
        let judged = |score, other| Judgement { score, null: None, other };
        let all = [judged(0.9, Some(0.8)), judged(0.2, Some(0.1)), judged(0.4, None)];
        let found = words(&all);
        assert_eq!((found.units, found.median), (3, 0.4));
        assert!(
            (found.single_token - 1.0 / 3.0).abs() < 1e-12 && (found.median_of_others - 0.3).abs() < 1e-12
        );
    }
}
