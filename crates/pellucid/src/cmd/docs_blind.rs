//! `pellucid docs blind`: can a reader tell a unit's description from another unit's? A sheet with test passages of
//! random described sides, two descriptions each; a key apart; and `docs blind-result`, which reads a reader's answers.

use super::docs::AtlasArgs;
use crate::atlas::describe::{Sight, explainer, outputs, settings};
use crate::atlas::open;
use crate::atlas::sides::{Side, described};
use crate::atlas::texts::vocabulary;
use crate::models::{Loaded, read};
use crate::show::{Out, bar};
use anyhow::{Context, Result, bail, ensure};
use pellucid::core::{Seed, Site, Split};
use pellucid::describe::evidence::ACTIVE;
use pellucid::describe::llm::highlighted;
use pellucid::describe::measure::{Bootstrap, Weighting, score};
use pellucid::describe::{Evidence, Example, Lexicon, Simulator, explain_with};
use pellucid::interp::{Promoted, wilson};
use pellucid::store::Kind;
use pellucid::store::atlas::{Atlas, Written};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// Passages shown of a side.
const PASSAGES: usize = 5;
/// Tokens shown before and after a passage's peak.
const CONTEXT: (usize, usize) = (14, 6);

const SHEET: &str = "blind-sheet.md";
const KEY: &str = "blind-key.json";
const RESULT: &str = "blind-result.json";

/// What is right, beside the sheet.
#[derive(Serialize, Deserialize)]
struct Key {
    model: String,
    seed: u64,
    items: Vec<KeyItem>,
    /// Described sides that were drawn and had too few active test passages.
    skipped: usize,
}

#[derive(Serialize, Deserialize)]
struct KeyItem {
    item: usize,
    unit: String,
    other: String,
    right: Pick,
    /// Which of the two the descriptions' own simulators prefer on the passages shown.
    scorer: Pick,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pick {
    A,
    B,
    Unsure,
}

/// How often the right one was preferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Preferred {
    pub(crate) right: usize,
    pub(crate) wrong: usize,
    pub(crate) unsure: usize,
    /// Of those that were sure.
    pub(crate) share: f64,
    /// Its 95% interval (Wilson).
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// What came of a blind check.
#[derive(Serialize, Deserialize)]
pub(crate) struct BlindResult {
    pub(crate) model: String,
    pub(crate) items: usize,
    pub(crate) seed: u64,
    pub(crate) skipped: usize,
    pub(crate) reader: Preferred,
    pub(crate) scorer: Preferred,
    /// Items on which both were sure and agreed.
    pub(crate) agree: usize,
}

/// A side with its words and what simulates them.
struct Known {
    side: Side,
    text: String,
    simulator: Simulator,
    evidence: Evidence,
}

/// Reads sides of an atlas with the descriptions that patterns gave them.
struct Reader<'a> {
    loaded: &'a Loaded,
    atlas: &'a Atlas,
    texts: Vec<Arc<str>>,
    outputs: HashMap<Site, Vec<Promoted>>,
    lexicon: Lexicon,
    seed: u64,
}

impl Reader<'_> {
    /// None where the chosen description is not the pattern explainer's under the atlas's seed.
    fn read(&mut self, side: Side) -> Result<Option<Known>> {
        let all = self.atlas.descriptions(side.site, side.index, side.polarity)?;
        let chosen = all.into_iter().map(|(_, d)| d).find(|d| d.chosen && d.explainer == explainer());
        let Some(Written::Text { text, .. }) = chosen.map(|d| d.written) else { return Ok(None) };
        if !self.outputs.contains_key(&side.site) {
            self.outputs.insert(side.site, outputs(self.loaded, side.site, None)?);
        }
        let outputs = self.outputs.get(&side.site).map_or(&[][..], Vec::as_slice);
        let sight = Sight { site: side.site, texts: &self.texts, outputs };
        for (polarity, evidence) in sight.sides(self.atlas, side.index)? {
            if polarity != side.polarity {
                continue;
            }
            let outcome = explain_with(&evidence, &settings(self.seed), &mut self.lexicon)?;
            let found = outcome.description().filter(|found| found.phrase == text);
            let simulator = found.map(|found| found.simulator.clone());
            return Ok(simulator.map(|simulator| Known { side, text, simulator, evidence }));
        }
        Ok(None)
    }
}

pub(crate) fn make(args: &AtlasArgs, out: &mut Out) -> Result<()> {
    let loaded = args.model.load()?;
    let atlas = open(&loaded, args.atlas.as_deref())?;
    let made = atlas.provenance()?.into_iter().next().map_or(0, |p| p.seed);
    let mut reader = Reader {
        loaded: &loaded,
        atlas: &atlas,
        texts: vocabulary(&loaded)?,
        outputs: HashMap::new(),
        lexicon: Lexicon::new(),
        seed: made,
    };
    let all = described(&atlas)?;
    let mut seed = Seed(args.seed).for_purpose("blind check");
    let mut order = seed.choose(all.len(), all.len()).into_iter().map(|i| all[i]);
    let mut key = Key { model: loaded.name.clone(), seed: args.seed, items: Vec::new(), skipped: 0 };
    let mut sheet = String::from(HEAD);
    let shown = bar("drawing: items", args.items);
    while key.items.len() < args.items {
        let Some(side) = order.next() else {
            bail!(
                "only {} described sides have active test passages, expected {}",
                key.items.len(),
                args.items
            );
        };
        let Some(known) = reader.read(side)? else { continue };
        let passages = passages(&known.evidence, seed.for_purpose(&side.to_string()));
        if passages.len() < 2 {
            key.skipped += 1;
            continue;
        }
        let other = loop {
            let drawn = all[seed.below(all.len())];
            if (drawn.site, drawn.index) == (side.site, side.index) {
                continue;
            }
            if let Some(other) = reader.read(drawn)?.filter(|other| other.text != known.text) {
                break other;
            }
        };
        let right = if seed.below(2) == 0 { Pick::A } else { Pick::B };
        let scorer = by_scorer(&known, &other, &passages, right)?;
        let item = key.items.len() + 1;
        sheet.push_str(&shown_item(item, &known, &other, &passages, right)?);
        key.items.push(KeyItem {
            item,
            unit: known.side.to_string(),
            other: other.side.to_string(),
            right,
            scorer,
        });
        shown.inc(1);
    }
    shown.finish_and_clear();
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    write(&args.out.join(SHEET), &sheet)?;
    write(&args.out.join(KEY), &(serde_json::to_string_pretty(&key)? + "\n"))?;
    out.raw(&format!(
        "{} items in {} (the key is in {KEY}; do not show it to the reader)\n",
        key.items.len(),
        args.out.join(SHEET).display()
    ))
}

const HEAD: &str = "# Which description fits?

Each item shows passages of text in which one neuron of a language model was active; the tokens on which it was active
stand in {{double braces}}. The model reads from left to right: the activation at a token depends on that token and on what
stands before it. One of the two descriptions was written for this neuron (from other texts), the other for another
neuron. Answer for each item with one line: its number and `a`, `b` or `unsure`, such as `7 b`. `↵` is a line end, `⇥` a
tab.
";

/// Test passages in which the side is active, drawn with the seed, in the order of the draw.
fn passages(evidence: &Evidence, mut seed: Seed) -> Vec<Example> {
    let active = |e: &&Example| {
        e.kind != Kind::Random && e.peak().is_some_and(|(_, peak)| peak >= ACTIVE * evidence.scale)
    };
    let pool: Vec<&Example> = evidence.test.iter().filter(active).collect();
    seed.choose(pool.len(), PASSAGES).into_iter().map(|i| pool[i].clone()).collect()
}

fn shown_item(
    item: usize,
    known: &Known,
    other: &Known,
    passages: &[Example],
    right: Pick,
) -> Result<String> {
    let mut text = format!("\n## {item}\n\n");
    for example in passages {
        let peak = example.peak().map_or(0, |(i, _)| i);
        let threshold = ACTIVE * known.evidence.scale;
        let marks: Vec<bool> =
            example.activations.iter().zip(&example.counted).map(|(a, c)| *c && *a >= threshold).collect();
        let (from, to) = (peak.saturating_sub(CONTEXT.0), peak + CONTEXT.1 + 1);
        let shown = highlighted(example, &marks, from, to).replace('\t', "⇥");
        writeln!(text, "- {}", shown.replace('<', "&lt;"))?;
    }
    let (a, b) = if right == Pick::A { (known, other) } else { (other, known) };
    writeln!(text, "\na) {}  \nb) {}", line(&a.text), line(&b.text))?;
    Ok(text)
}

/// A description on one line.
fn line(text: &str) -> String {
    text.replace('\n', "↵").replace('\t', "⇥").replace('<', "&lt;")
}

/// The description whose simulator correlates better with the unit on the passages shown.
fn by_scorer(known: &Known, other: &Known, passages: &[Example], right: Pick) -> Result<Pick> {
    let shown = Evidence { test: passages.to_vec(), ..known.evidence.clone() };
    let none = Bootstrap { seed: Seed(0), resamples: 0 };
    let r = |simulator| -> Result<f64> {
        Ok(score(&shown, Split::Test, simulator, Weighting::Even, &none)?.pearson.r)
    };
    let (ours, theirs) = (r(&known.simulator)?, r(&other.simulator)?);
    let wrong = if right == Pick::A { Pick::B } else { Pick::A };
    Ok(match ours.total_cmp(&theirs) {
        std::cmp::Ordering::Greater => right,
        std::cmp::Ordering::Less => wrong,
        std::cmp::Ordering::Equal => Pick::Unsure,
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn result(args: &AtlasArgs, out: &mut Out) -> Result<()> {
    let file = args.answers.as_deref().context("whose answers? give --answers FILE")?;
    let at = args.out.join(KEY);
    let key: Key = serde_json::from_str(&read(&at)?).with_context(|| format!("in {}", at.display()))?;
    let answers = answers(&read(file)?, key.items.len()).with_context(|| format!("in {}", file.display()))?;
    let picks: Vec<Pick> = key.items.iter().filter_map(|i| answers.get(&i.item).copied()).collect();
    let result = BlindResult {
        model: key.model.clone(),
        items: key.items.len(),
        seed: key.seed,
        skipped: key.skipped,
        reader: preferred(&key.items, &picks),
        scorer: preferred(&key.items, &key.items.iter().map(|i| i.scorer).collect::<Vec<_>>()),
        agree: key.items.iter().zip(&picks).filter(|(i, p)| i.scorer == **p && **p != Pick::Unsure).count(),
    };
    write(&args.out.join(RESULT), &(serde_json::to_string_pretty(&result)? + "\n"))?;
    if out.json("docs blind-result", None, &result)? {
        return Ok(());
    }
    out.raw(&format!("reader: {}\nscorer: {}\n", said(&result.reader), said(&result.scorer)))
}

/// In words.
pub(crate) fn said(p: &Preferred) -> String {
    format!(
        "{} of {} right ({:.0}%, 95% interval {:.0}% to {:.0}%), {} unsure",
        p.right,
        p.right + p.wrong,
        100.0 * p.share,
        100.0 * p.low,
        100.0 * p.high,
        p.unsure
    )
}

/// Lines of a number and `a`, `b` or `unsure`; every item must have exactly one.
fn answers(text: &str, items: usize) -> Result<BTreeMap<usize, Pick>> {
    let mut found = BTreeMap::new();
    for (at, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let form = || format!("line {at}: expected a number and a, b or unsure, found `{line}`");
        let (item, pick) = line.split_once([' ', '\t', ':', ',', '.']).with_context(form)?;
        let item: usize = item.trim().parse().ok().with_context(form)?;
        let pick = match pick.trim_matches(|c: char| !c.is_ascii_alphabetic()).to_ascii_lowercase().as_str() {
            "a" => Pick::A,
            "b" => Pick::B,
            "unsure" => Pick::Unsure,
            _ => bail!(form()),
        };
        ensure!((1..=items).contains(&item), "line {at}: there is no item {item}, expected 1 to {items}");
        ensure!(found.insert(item, pick).is_none(), "line {at}: item {item} is answered twice");
    }
    if let Some(missing) = (1..=items).find(|i| !found.contains_key(i)) {
        bail!("item {missing} has no answer; write `{missing} unsure` if there is none");
    }
    Ok(found)
}

fn preferred(items: &[KeyItem], picks: &[Pick]) -> Preferred {
    let count = |fits: &dyn Fn(&KeyItem, Pick) -> bool| {
        items.iter().zip(picks).filter(|(item, pick)| fits(item, **pick)).count()
    };
    let right = count(&|item, pick| pick == item.right);
    let unsure = count(&|_, pick| pick == Pick::Unsure);
    let wrong = items.len().min(picks.len()) - right - unsure;
    let (low, high) = wilson(right, right + wrong);
    let share = if right + wrong == 0 { 0.5 } else { right as f64 / (right + wrong) as f64 };
    Preferred { right, wrong, unsure, share, low, high }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // published: 45 of 60 gives 0.6277 to 0.8422
        let (low, high) = wilson(45, 60);
        assert!((low - 0.6277).abs() < 5e-4 && (high - 0.8422).abs() < 5e-4, "{low} {high}");
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        assert!(wilson(0, 10).0 < 1e-12 && wilson(10, 10).1 > 1.0 - 1e-12, "none and all reach the ends");
    }

    #[test]
    fn answers_are_read_and_each_item_needs_one() {
        let read = answers("# reader 1\n1 a\n3: B\n2, unsure\n", 3).unwrap();
        assert_eq!(read, BTreeMap::from([(1, Pick::A), (2, Pick::Unsure), (3, Pick::B)]));
        for (bad, why) in [
            ("1 a\n2 b", "item 3 has no answer"),
            ("1 a\n1 b", "answered twice"),
            ("4 a", "no item 4"),
            ("1 c", "expected a number"),
            ("one a", "expected a number"),
            ("1", "expected a number"),
        ] {
            let error = answers(bad, 3).unwrap_err().to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
    }

    #[test]
    fn unsure_answers_are_counted_apart() {
        let item = |item, right| KeyItem {
            item,
            unit: String::new(),
            other: String::new(),
            right,
            scorer: Pick::Unsure,
        };
        let items = [item(1, Pick::A), item(2, Pick::B), item(3, Pick::B), item(4, Pick::A)];
        let p = preferred(&items, &[Pick::A, Pick::A, Pick::B, Pick::Unsure]);
        assert_eq!((p.right, p.wrong, p.unsure), (2, 1, 1));
        assert!((p.share - 2.0 / 3.0).abs() < 1e-12 && p.low < p.share && p.share < p.high);
    }
}
