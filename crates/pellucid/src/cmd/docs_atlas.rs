//! `pellucid docs atlas`: what building, describing and scoring an atlas came to, as a page. It measures nothing anew: it
//! reads the atlas, the reports that builds left beside their atlases, and the result of the blind check.

use super::atlas::deciles;
use super::docs::AtlasArgs;
use super::docs_blind::{BlindResult, said};
use crate::atlas::describe::{INTERESTING, explainer};
use crate::atlas::open;
use crate::atlas::score::{median, summary};
use crate::models::read;
use crate::show::{Out, percent};
use anyhow::{Context, Result};
use indicatif::HumanBytes;
use pellucid::core::Split;
use pellucid::store::atlas::{Atlas, DescriptionId, Score, ScoreKind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

pub(crate) fn run(args: &AtlasArgs, out: &mut Out) -> Result<()> {
    let loaded = args.model.load()?;
    let atlas = open(&loaded, args.atlas.as_deref())?;
    let mut page = String::from(
        "# Atlases, measured\n\nWritten by `cargo xtask docs atlas` from an atlas, from what `pellucid atlas build` noted \
         beside it (`.built.json`), and from the blind check's files in [docs/atlas](atlas). Scores are signed correlations \
         on the test split, which no explainer has seen; a *null* is the same measurement with another unit's \
         description.\n",
    );
    built(&args.built, &mut page)?;
    patterns(&atlas, &loaded.name, &mut page)?;
    models(&atlas, &mut page)?;
    if let Some(file) = &args.blind {
        blind(file, &mut page)?;
    }
    page.push_str(LIMITS);
    out.raw(&page)
}

/// A report of a build: what `atlas build --json` prints, or what it leaves beside the atlas.
fn report(file: &Path) -> Result<(String, Value)> {
    let value: Value =
        serde_json::from_str(&read(file)?).with_context(|| format!("in {}", file.display()))?;
    let name = value["model"]["name"].as_str().or_else(|| value["model"].as_str()).unwrap_or_default();
    let inner = if value["result"].is_object() { value["result"].clone() } else { value.clone() };
    let expected = "expected what `pellucid atlas build --json` prints";
    anyhow::ensure!(inner["built"].is_object(), "{}: {expected}", file.display());
    Ok((name.to_owned(), inner))
}

fn built(files: &[std::path::PathBuf], page: &mut String) -> Result<()> {
    page.push_str(
        "\n## Building\n\nOne command, `pellucid atlas build --model NAME`: a corpus through the model once, every neuron of \
         every layer collected, then described without a language model, scored and embedded. *Overhead* is time in \
         collectors by time in the model.\n\n| model | tokens | neurons | sweep | tokens/s | overhead | sides described | \
         in | file | threads |\n| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
    );
    for file in files {
        let (model, r) = report(file)?;
        let (b, d) = (&r["built"], &r["described"]);
        let number = |v: &Value| v.as_f64().unwrap_or(0.0);
        let seconds = |v: &Value| v.as_f64().map_or("–".to_owned(), |s| format!("{s:.0} s"));
        writeln!(
            page,
            "| {model} | {} | {} | {} | {:.0} | {} | {} | {} | {} | {} |",
            b["tokens"],
            b["units"],
            seconds(&b["sweep_seconds"]),
            number(&b["tokens_per_second"]),
            percent(number(&b["overhead"])),
            d["with_words"].as_u64().map_or("–".to_owned(), |n| format!("{n} of {}", d["units"])),
            seconds(&d["seconds"]),
            HumanBytes(r["bytes"].as_u64().unwrap_or(0)),
            b["threads"].as_u64().map_or("–".to_owned(), |n| n.to_string()),
        )?;
    }
    Ok(())
}

/// The whole atlas as patterns describe it.
fn patterns(atlas: &Atlas, model: &str, page: &mut String) -> Result<()> {
    let all = atlas.scores_by("", Split::Test)?;
    let simulated: Vec<&Score> =
        all.iter().map(|(_, s)| s).filter(|s| s.kind == ScoreKind::Simulation).collect();
    write!(page, "\n## Descriptions without a language model: {model}\n\n")?;
    let Some(found) = summary("simulation", &simulated) else {
        page.push_str("No description of this atlas has a score.\n");
        return Ok(());
    };
    let interesting =
        atlas.judgements(INTERESTING)?.iter().filter(|j| j.other.is_some_and(|o| o > 0.5)).count();
    writeln!(
        page,
        "{} sides of neurons have words found by patterns; {} of their scores lie above their null; {interesting} sides \
         pass the rule for what is worth a person's time.\n\n{}",
        found.scores,
        percent(found.above_null.unwrap_or(0.0)),
        distribution_head()
    )?;
    let nulls = simulated.iter().filter_map(|s| s.null).collect();
    page.push_str(&distribution("description", simulated.iter().map(|s| s.value).collect())?);
    page.push_str(&distribution("another unit's description", nulls)?);
    page.push_str("\nSides without words, by reason:\n\n| reason | sides |\n| --- | --: |\n");
    for (reason, sides) in reasons(atlas)? {
        writeln!(page, "| {reason} | {sides} |")?;
    }
    Ok(())
}

/// Reasons without their numbers.
fn reasons(atlas: &Atlas) -> Result<Vec<(String, u64)>> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (reason, sides) in atlas.reasons(&explainer().name)? {
        let short = reason.split(" (").next().unwrap_or(&reason).to_owned();
        *counts.entry(short).or_default() += sides;
    }
    let mut all: Vec<(String, u64)> = counts.into_iter().collect();
    all.sort_by_key(|(_, sides)| std::cmp::Reverse(*sides));
    Ok(all)
}

fn distribution_head() -> String {
    format!("| | sides | least | 10% | 20% | median | 80% | 90% | largest |\n| --- |{}", " --: |".repeat(8))
}

fn distribution(name: &str, values: Vec<f64>) -> Result<String> {
    let mut row = format!("| {name} | {} |", values.len());
    let d = deciles(values);
    for at in [0, 1, 2, 5, 8, 9, 10] {
        match d.get(at) {
            Some(value) => write!(row, " {value:.2} |")?,
            None => row.push_str(" – |"),
        }
    }
    Ok(row + "\n")
}

/// What language models wrote and judged, on samples: a section for each model and way to it.
fn models(atlas: &Atlas, page: &mut String) -> Result<()> {
    page.push_str("\n## With a language model, on a sample\n");
    let writers = atlas.explainers()?.into_iter().map(|(who, _)| who.model);
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in atlas.scorers()?.into_iter().chain(writers).filter(|name| !name.is_empty()) {
        sections.entry(shown_name(&name)).or_default().insert(name);
    }
    if sections.is_empty() {
        page.push_str("\nNo language model has been asked about this atlas.\n");
    }
    for (title, names) in &sections {
        write!(page, "\n### {title}\n\n")?;
        wrote(atlas, names, page)?;
        judged(atlas, names, page)?;
    }
    Ok(())
}

/// A model's name without the hash that tells its weights apart.
fn shown_name(scorer: &str) -> String {
    match scorer.rsplit_once('@') {
        Some((name, hash)) if hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit()) => {
            format!("{name}, in this process")
        }
        Some((name, _)) => format!("{name}, over HTTP"),
        None => scorer.to_owned(),
    }
}

/// Its own descriptions against those of patterns, on validation.
fn wrote(atlas: &Atlas, names: &BTreeSet<String>, page: &mut String) -> Result<()> {
    for (who, [texts, chosen, none]) in atlas.explainers()? {
        if names.contains(&who.model) {
            writeln!(
                page,
                "As an explainer (prompt `{}`): {texts} descriptions, {chosen} of which stand as their side's words; nothing \
                 usable on {none} sides.",
                who.prompt
            )?;
        }
    }
    let own = best_by_side(atlas, &scores_of(atlas, names, Split::Validation)?)?;
    let patterns = best_by_side(atlas, &atlas.scores_by("", Split::Validation)?)?;
    let both: Vec<(f64, f64)> = own.iter().filter_map(|(side, r)| Some((*r, *patterns.get(side)?))).collect();
    if let (Some(ours), Some(theirs)) =
        (median(both.iter().map(|b| b.0).collect()), median(both.iter().map(|b| b.1).collect()))
    {
        let better = both.iter().filter(|(ours, theirs)| ours > theirs).count();
        writeln!(
            page,
            "On the validation examples that both were simulated on ({} sides): median r of its best candidate {ours:.2}, \
             of the patterns' description {theirs:.2}; its candidate is ahead on {better}.",
            both.len()
        )?;
    }
    Ok(())
}

/// The scores that any of some scorers gave.
fn scores_of(atlas: &Atlas, names: &BTreeSet<String>, split: Split) -> Result<Vec<(DescriptionId, Score)>> {
    let mut all = Vec::new();
    for name in names {
        all.extend(atlas.scores_by(name, split)?);
    }
    Ok(all)
}

type SideName = String;

fn best_by_side(atlas: &Atlas, scores: &[(DescriptionId, Score)]) -> Result<BTreeMap<SideName, f64>> {
    let mut best: BTreeMap<SideName, f64> = BTreeMap::new();
    for (id, score) in scores.iter().filter(|(_, s)| s.kind == ScoreKind::Simulation) {
        let d = atlas.description(*id)?;
        let entry = best.entry(format!("{}/{}{}", d.site, d.index, d.polarity)).or_insert(score.value);
        *entry = entry.max(score.value);
    }
    Ok(best)
}

/// What it judged, by kind of score and by whose words they were.
fn judged(atlas: &Atlas, names: &BTreeSet<String>, page: &mut String) -> Result<()> {
    let mut kinds: BTreeMap<(String, String), Vec<Score>> = BTreeMap::new();
    for (id, score) in scores_of(atlas, names, Split::Test)? {
        let who = atlas.description(id)?.explainer;
        let whose = if names.contains(&who.model) { "its own".to_owned() } else { who.name };
        kinds.entry((score.kind.name().to_owned(), whose)).or_default().push(score);
    }
    if kinds.is_empty() {
        return Ok(());
    }
    write!(
        page,
        "\n| judged by | words of | sides | 10% | median | 90% | null: 10% | median | 90% | above null |\n\
         | --- | --- |{}\n",
        " --: |".repeat(8)
    )?;
    for ((kind, whose), scores) in &kinds {
        let Some(s) = summary(kind, &scores.iter().collect::<Vec<_>>()) else { continue };
        let tenth = |values: Vec<f64>| {
            let all = deciles(values);
            [1, 5, 9].map(|i| all.get(i).map_or("–".to_owned(), |v| format!("{v:.2}"))).join(" | ")
        };
        writeln!(
            page,
            "| {kind} | {whose} | {} | {} | {} | {} |",
            s.scores,
            tenth(scores.iter().map(|s| s.value).collect()),
            tenth(scores.iter().filter_map(|s| s.null).collect()),
            s.above_null.map_or("–".to_owned(), |share| format!("{:.0}%", 100.0 * share))
        )?;
    }
    page.push_str(
        "\nSimulation is a correlation (chance 0), detection and fuzzing balanced accuracies (chance 0.5).\n",
    );
    Ok(())
}

fn blind(file: &Path, page: &mut String) -> Result<()> {
    let result: BlindResult =
        serde_json::from_str(&read(file)?).with_context(|| format!("in {}", file.display()))?;
    write!(
        page,
        "\n## Blind check: {}\n\n{} random described sides (seed {}), each with passages of the test split in which the \
         neuron was active beside its own description and another unit's, in random order (`cargo xtask docs blind`; {} \
         more were drawn and had fewer than two such passages). How often the right one was preferred:\n\n\
         - a reader who saw the sheet and nothing else: {};\n- the scorer, by which of the two descriptions' simulators \
         correlates better with the neuron on the same passages: {};\n- both were sure and picked the same on {} items.\n",
        result.model,
        result.items,
        result.seed,
        result.skipped,
        said(&result.reader),
        said(&result.scorer),
        result.agree
    )?;
    Ok(())
}

/// What patterns cannot do, which no number above says.
const LIMITS: &str = "
## What describing without a language model cannot do

- It names what it can see in the text: tokens, what stands before them, classes of characters, word lists, places. A theme
  that no word list holds (\"legal language\", \"somebody is disappointed\") comes out as the tokens that were seen with it.
- A pattern looks at a few tokens. What hangs on a sentence before, on the kind of document, or on what is being asked is out
  of its reach, and such sides score low or have no words.
- Its words are read by a machine first: a list of tokens can predict well and still tell a person little. The blind check
  above says how often a person could use them.
- What it says of output tokens is what the neuron writes directly; what later layers make of it is not followed.
- Scores are measured on strong examples beside random text (evenly weighted), not on running text.
";
