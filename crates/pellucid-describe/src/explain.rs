//! Describing one unit and polarity without a language model: candidates from training examples, the choice on
//! validation, the reported score on test.

use crate::example::{Evidence, Example};
use crate::measure::{
    Bootstrap, Correlation, MeasureError, Score, Sums, Weighting, score_predictions, shifted_null, whole,
};
use crate::pattern::{self, Trie};
use crate::phrase::{self, Surface, of_proxy, of_trie};
use crate::proxy::{Proxy, Row, Test, propose};
use crate::reading::{Lexicon, Reading, fold};
use crate::simulate::Simulator;
use pellucid_core::{Seed, Split};
use pellucid_store::Kind;
use std::fmt;

/// What decides a description.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Seed of the null and of the interval.
    pub seed: Seed,
    /// Most proxies to try.
    pub proxies: usize,
    /// Draws of the null that a description must beat on validation (the largest of them).
    pub null_draws: usize,
    /// The least signed r on validation: below it words mislead more than they help.
    pub least: f64,
    /// A simpler description is preferred to one that is better by less than this.
    pub simpler: f64,
    /// Resamples of the test score's interval.
    pub resamples: usize,
    /// How examples weigh in the test score.
    pub weighting: Weighting,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: Seed(0),
            proxies: 6,
            null_draws: 8,
            least: 0.1,
            simpler: 0.02,
            resamples: 200,
            weighting: Weighting::Even,
        }
    }
}

/// Where a candidate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A predicate over texts and places.
    Proxy,
    /// The token-pattern trie.
    Pattern,
    /// The tokens that the unit makes likelier, simulated by what the text goes on with.
    Output,
}

/// A description that might be.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Candidate {
    /// The description.
    pub phrase: String,
    /// Who made it.
    pub source: Source,
    /// What it predicts.
    pub simulator: Simulator,
    /// Signed r on the validation examples.
    pub validation: Correlation,
    /// Whether it speaks of punctuation, white space or position alone.
    pub only_form: bool,
}

/// Why there is no description.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// It never fired.
    Inactive,
    /// It fired, but in no training example.
    InactiveInTrain,
    /// Nothing to choose on: no validation example in which it fires.
    InactiveInValidation,
    /// No candidate could be made.
    NoCandidate,
    /// The best candidate is no better than chance.
    NotAboveNull {
        /// Its signed r on validation.
        best: f64,
        /// What it had to beat.
        bar: f64,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Inactive => f.write_str("inactive: no activation in the corpus"),
            Missing::InactiveInTrain => f.write_str("inactive in the training documents"),
            Missing::InactiveInValidation => f.write_str("inactive in the validation documents"),
            Missing::NoCandidate => f.write_str("no pattern found in the training examples"),
            Missing::NotAboveNull { best, bar } => {
                write!(f, "no pattern beats the null on validation (best {best:.2}, needed {bar:.2})")
            }
        }
    }
}

/// What came of describing a unit.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// All candidates, the best on validation first.
    pub candidates: Vec<Candidate>,
    /// Which one was chosen.
    pub chosen: Option<usize>,
    /// Why none was; present exactly when `chosen` is not.
    pub reason_none: Option<Missing>,
    /// The chosen one's score on test. None where nothing was chosen.
    pub test: Option<Score>,
    /// What the unit makes the model say, where that is coherent; a note beside the description.
    pub says: Option<String>,
}

impl Outcome {
    fn none(reason: Missing, says: Option<String>) -> Self {
        Outcome { candidates: Vec::new(), chosen: None, reason_none: Some(reason), test: None, says }
    }

    /// The chosen candidate.
    pub fn description(&self) -> Option<&Candidate> {
        self.candidates.get(self.chosen?)
    }
}

/// Describes a unit.
///
/// # Errors
/// [`MeasureError`] if a document stands in two splits, or an example's parts differ in length or hold what is no
/// number.
pub fn explain(evidence: &Evidence, settings: &Settings) -> Result<Outcome, MeasureError> {
    explain_with(evidence, settings, &mut Lexicon::new())
}

/// The same with a lexicon that is kept from unit to unit, which is faster and changes no result.
///
/// # Errors
/// As [`explain`].
pub fn explain_with(
    evidence: &Evidence,
    settings: &Settings,
    lexicon: &mut Lexicon,
) -> Result<Outcome, MeasureError> {
    check(evidence)?;
    let says = phrase::says(lexicon, &evidence.promoted);
    if let Some(missing) = inactive(evidence) {
        return Ok(Outcome::none(missing, says));
    }
    let mut made = candidates(evidence, settings, lexicon, says.as_deref());
    let readings: Vec<Reading> = evidence.validation.iter().map(|e| lexicon.read_example(e)).collect();
    for candidate in &mut made {
        let rows = candidate.simulator.predict_readings(lexicon, &readings);
        candidate.validation = Sums::over(&evidence.validation, &rows).correlation();
    }
    let candidates = ranked(made);
    let Some(best) = preferred(&candidates, settings) else {
        return Ok(Outcome::none(Missing::NoCandidate, says));
    };
    let rows = candidates[best].simulator.predict_readings(lexicon, &readings);
    let bar =
        settings.least.max(shifted_null(&evidence.validation, &rows, settings.seed, settings.null_draws));
    let r = candidates[best].validation.r;
    if r <= bar {
        let reason_none = Some(Missing::NotAboveNull { best: r, bar });
        return Ok(Outcome { candidates, chosen: None, reason_none, test: None, says });
    }
    let readings: Vec<Reading> = evidence.test.iter().map(|e| lexicon.read_example(e)).collect();
    let rows = candidates[best].simulator.predict_readings(lexicon, &readings);
    let bootstrap = Bootstrap { seed: settings.seed, resamples: settings.resamples };
    let test = score_predictions(evidence, Split::Test, &rows, settings.weighting, &bootstrap)?;
    Ok(Outcome { candidates, chosen: Some(best), reason_none: None, test: Some(test), says })
}

/// The splits must not share a document, and every example must be whole.
fn check(evidence: &Evidence) -> Result<(), MeasureError> {
    evidence.disjoint()?;
    for split in Split::ALL {
        let examples = evidence.split(split);
        let texts: Vec<Vec<f32>> = examples.iter().map(|e| vec![0.0; e.texts.len()]).collect();
        whole(examples, &texts)?;
    }
    Ok(())
}

fn inactive(evidence: &Evidence) -> Option<Missing> {
    let fires = |examples: &[Example]| examples.iter().any(|e| e.peak().is_some());
    match (fires(&evidence.train), fires(&evidence.validation), fires(&evidence.test)) {
        (false, false, false) => Some(Missing::Inactive),
        (false, _, _) => Some(Missing::InactiveInTrain),
        (true, false, _) => Some(Missing::InactiveInValidation),
        (true, true, _) => None,
    }
}

/// The typical strength, or where that is unusable (none, or so small that activations in it would overflow) the
/// largest activation.
fn scale(evidence: &Evidence) -> f32 {
    let peak = evidence.train.iter().filter_map(Example::peak).map(|(_, a)| a).fold(0.0, f32::max);
    let usable = evidence.scale.is_finite() && evidence.scale > 1e-6 * peak;
    if usable { evidence.scale } else { peak }
}

fn candidates(
    evidence: &Evidence,
    settings: &Settings,
    lexicon: &mut Lexicon,
    says: Option<&str>,
) -> Vec<Candidate> {
    let scale = scale(evidence);
    let readings: Vec<Reading> = evidence.train.iter().map(|e| lexicon.read_example(e)).collect();
    let values: Vec<Vec<f32>> =
        evidence.train.iter().map(|e| e.activations.iter().map(|a| a / scale).collect()).collect();
    let rows: Vec<Row<'_>> = evidence
        .train
        .iter()
        .zip(readings.iter().zip(&values))
        .map(|(e, (reading, activations))| Row { reading, activations, counted: &e.counted })
        .collect();
    let exemplary: Vec<bool> = evidence.train.iter().map(|e| e.kind != Kind::Random).collect();
    let promoted: Vec<String> = if says.is_some() {
        evidence.promoted.iter().take(12).map(|(t, _)| fold(t)).collect()
    } else {
        Vec::new()
    };
    let trie = pattern::learn(lexicon, &rows, &exemplary);
    let proxies = propose(lexicon, &rows, &promoted, settings.proxies);
    named(lexicon, &rows, &exemplary, trie, proxies, says.map(|s| (s, promoted.as_slice())))
}

/// Gives the candidates their phrases.
fn named(
    lexicon: &Lexicon,
    rows: &[Row<'_>],
    exemplary: &[bool],
    trie: Trie,
    proxies: Vec<Proxy>,
    says: Option<(&str, &[String])>,
) -> Vec<Candidate> {
    let (surface, words) = surface(lexicon, rows, exemplary);
    let validation = Correlation { r: 0.0, constant: true };
    let mut made = Vec::new();
    if let Some(phrase) = of_trie(&trie, &surface, lexicon) {
        let only_form = !phrase.chars().any(char::is_alphanumeric);
        let simulator = Simulator::Pattern(trie);
        made.push(Candidate { phrase, source: Source::Pattern, simulator, validation, only_form });
    }
    for proxy in proxies {
        let only_form = phrase::only_form(&proxy);
        let output = match (proxy.tests.as_slice(), says) {
            ([Test::BeforeWords(next)], Some((says, promoted)))
                if next.iter().all(|n| promoted.contains(n)) =>
            {
                Some(says)
            }
            _ => None,
        };
        let (phrase, source) = match output {
            Some(says) => (says.to_owned(), Source::Output),
            None => (of_proxy(&proxy, &words, |w, n| lexicon.classes(w).has(n)), Source::Proxy),
        };
        made.push(Candidate { phrase, source, simulator: Simulator::Proxy(proxy), validation, only_form });
    }
    made
}

/// How each folded text was mostly written where the unit was active, and the active ones by mass, folded and
/// shown; then the texts that follow them.
fn surface<'a>(
    lexicon: &'a Lexicon,
    rows: &[Row<'a>],
    exemplary: &[bool],
) -> (Surface<'a>, Vec<(String, String)>) {
    let mut surface = Surface::default();
    let mut mass: std::collections::BTreeMap<&str, f64> = std::collections::BTreeMap::new();
    for (row, &exemplary) in rows.iter().zip(exemplary) {
        let peak = row.activations.iter().copied().fold(0.0, f32::max);
        let bar = if exemplary { pattern::ACTIVE * peak } else { pattern::ACTIVE };
        for (i, &a) in row.activations.iter().enumerate() {
            if a < bar || a <= 0.0 {
                continue;
            }
            // The neighbours are shown too: contexts before, and what "tokens before" speaks of.
            for j in i.saturating_sub(3)..=(i + 1).min(row.reading.words.len() - 1) {
                let word = lexicon.word(row.reading.words[j]);
                surface.add(&word.folded, &word.text, f64::from(a));
                *mass.entry(&word.folded).or_default() += if i == j { f64::from(a) } else { 0.0 };
            }
        }
    }
    let mut words: Vec<(&str, f64)> = mass.into_iter().collect();
    words.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let shown = words.into_iter().map(|(w, _)| (w.to_owned(), surface.show(w))).collect();
    (surface, shown)
}

/// Most candidates reported.
const KEPT: usize = 8;

/// The best on validation first; of two with one phrase the better.
fn ranked(mut made: Vec<Candidate>) -> Vec<Candidate> {
    made.sort_by(|a, b| b.validation.r.total_cmp(&a.validation.r).then_with(|| a.phrase.cmp(&b.phrase)));
    let mut seen = std::collections::BTreeSet::new();
    made.retain(|c| seen.insert(c.phrase.clone()));
    let kept = made.iter().take(KEPT).take_while(|c| c.validation.r > 0.0).count().max(1);
    made.truncate(kept);
    made
}

/// The best candidate, or a simpler one that is nearly as good.
fn preferred(candidates: &[Candidate], settings: &Settings) -> Option<usize> {
    let best = candidates.first()?.validation.r;
    let complexity = |c: &Candidate| match &c.simulator {
        Simulator::Proxy(proxy) => proxy.tests.len(),
        Simulator::Pattern(_) => 3,
    };
    let near = candidates.iter().enumerate().filter(|(_, c)| c.validation.r >= best - settings.simpler);
    near.min_by_key(|(i, c)| (complexity(c), *i)).map(|(i, _)| i)
}
