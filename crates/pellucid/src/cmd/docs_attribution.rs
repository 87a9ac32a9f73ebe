//! `pellucid docs attribution`: which method's predictions come true. Each predicts the effect of units on a
//! contrast of two tokens; the units are then set to zero one by one, and ranks are compared.

use super::attribute::{DEFAULT_METHOD, MethodName};
use super::docs::REAL;
use super::verify;
use crate::models::{Dtype, Loaded, load};
use crate::show::{Out, bar, tame};
use crate::text::Text;
use anyhow::Result;
use pellucid::core::{Seed, Site, UnitId};
use pellucid::interp::{By, Effects, Metric, Replacement, attribute, random_units, rank_correlation};
use pellucid::model::sample::top_k;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write;

const TOP: usize = 50;
const RANDOM: usize = 200;
const STEPS: usize = 16;
const SEED: u64 = 0;

/// Prompt, target, foil: facts and agreement.
const PROMPTS: [(&str, &str, &str); 10] = [
    ("The capital of France is Paris. The capital of Poland is", " Warsaw", " Berlin"),
    ("The Eiffel Tower stands in the city of", " Paris", " London"),
    ("The capital of Japan is", " Tokyo", " London"),
    ("The opposite of hot is", " cold", " blue"),
    ("A water molecule is made of hydrogen and", " oxygen", " carbon"),
    ("The sun rises in the east and sets in the", " west", " north"),
    ("The keys to the cabinet", " are", " is"),
    ("The author of the books", " is", " are"),
    ("The pictures on the wall near the door", " were", " was"),
    ("The girl who saw the boys", " was", " were"),
];

/// The methods in the order of the columns; the last is the control.
const METHODS: [&str; 4] = ["RelP", "gradient × activation", "integrated gradients (16)", "random scores"];

/// Rank correlations of one method on one prompt.
#[derive(Clone, Copy, Default, Serialize)]
struct Ranks {
    top: f64,
    random: f64,
}

#[derive(Serialize)]
struct Row {
    prompt: &'static str,
    target: &'static str,
    foil: &'static str,
    metric: f64,
    /// In the order of the methods; none where the model does not prefer the target.
    ranks: Option<[Ranks; 4]>,
}

#[derive(Serialize)]
struct Measured {
    model: String,
    methods: [&'static str; 4],
    rows: Vec<Row>,
    mean: [Ranks; 4],
}

pub(crate) fn run(out: &mut Out) -> Result<()> {
    let mut all = Vec::new();
    for name in REAL {
        let loaded = load(name, Dtype::F32)?;
        let progress = bar(&format!("{name}: prompts"), PROMPTS.len());
        let mut rows = Vec::new();
        for prompt in PROMPTS {
            rows.push(measure(&loaded, prompt)?);
            progress.inc(1);
        }
        progress.finish_and_clear();
        all.push(Measured { model: name.to_owned(), methods: METHODS, mean: mean(&rows), rows });
    }
    if out.json("docs attribution", None, &all)? {
        return Ok(());
    }
    out.raw(&page(&all)?)
}

fn mean(rows: &[Row]) -> [Ranks; 4] {
    let counted: Vec<&[Ranks; 4]> = rows.iter().filter_map(|r| r.ranks.as_ref()).collect();
    let n = counted.len().max(1) as f64;
    std::array::from_fn(|m| Ranks {
        top: counted.iter().map(|r| r[m].top).sum::<f64>() / n,
        random: counted.iter().map(|r| r[m].random).sum::<f64>() / n,
    })
}

/// A method's scores: for any unit, and the units it puts on top.
struct Scores<'a> {
    of: Box<dyn Fn(&UnitId) -> f64 + 'a>,
    top: Vec<UnitId>,
}

fn measure(
    loaded: &Loaded,
    (prompt, target, foil): (&'static str, &'static str, &'static str),
) -> Result<Row> {
    let text = Text::plain(loaded, prompt)?;
    let tokenizer = loaded.model.tokenizer();
    let metric =
        Metric::last(&text.row, tokenizer.single_token(target)?, Some(tokenizer.single_token(foil)?));
    let sites = By::Unit.sites(&loaded.model);
    let mut effects = Vec::new();
    for method in [MethodName::Relp, MethodName::GradAct, MethodName::Ig] {
        effects.push(attribute(&loaded.model, &text.row, metric, method.method(STEPS), &sites, &mut ())?);
    }
    let value = effects.first().map_or(0.0, |e| e.metric);
    let mut row = Row { prompt, target, foil, metric: value, ranks: None };
    // a behaviour that is not there is not explained
    if value > 0.0 {
        let mut methods: Vec<Scores> = effects.iter().map(|e| predicted(loaded, e)).collect();
        methods.push(control(loaded, &sites, prompt));
        row.ranks = Some(ranks(loaded, &text, metric, &sites, &methods)?);
    }
    Ok(row)
}

fn predicted<'a>(loaded: &'a Loaded, effects: &'a Effects) -> Scores<'a> {
    let top = effects.ranked(By::Unit, TOP).into_iter().filter_map(|e| e.unit).collect();
    Scores { of: Box::new(move |unit| verify::effect(loaded, effects, unit)), top }
}

/// Random scores for every unit, another draw for each prompt.
fn control<'a>(loaded: &Loaded, sites: &[Site], prompt: &str) -> Scores<'a> {
    let mut seed = Seed(SEED).for_purpose(prompt);
    let width = loaded.model.spec().d_mlp;
    let all = sites.iter().flat_map(|site| (0..width).map(|i| UnitId::coordinate(*site, i)));
    let scored: Vec<(UnitId, f32)> = all.map(|unit| (unit, seed.normal() as f32)).collect();
    let sizes: Vec<f32> = scored.iter().map(|(_, s)| s.abs()).collect();
    let top = top_k(&sizes, TOP).into_iter().map(|(i, _)| scored[i].0.clone()).collect();
    let table: HashMap<UnitId, f32> = scored.into_iter().collect();
    Scores { of: Box::new(move |unit| f64::from(table.get(unit).copied().unwrap_or(0.0))), top }
}

fn ranks(
    loaded: &Loaded,
    text: &Text,
    metric: Metric,
    sites: &[Site],
    methods: &[Scores<'_>],
) -> Result<[Ranks; 4]> {
    let random = random_units(&loaded.model, sites, RANDOM, Seed(SEED));
    // all units at once: they share batches, and a unit on two lists runs once
    let mut units: Vec<UnitId> = methods.iter().flat_map(|m| m.top.iter()).chain(&random).cloned().collect();
    units.sort();
    units.dedup();
    let changes = verify::ablate(loaded, text, metric, &units, Replacement::Zero, "units set to zero")?;
    let truth: HashMap<&UnitId, f64> = units.iter().zip(changes).collect();
    let rho = |scores: &Scores<'_>, list: &[UnitId]| {
        let predicted: Vec<f64> = list.iter().map(|u| -(scores.of)(u)).collect();
        let changed: Vec<f64> = list.iter().filter_map(|u| truth.get(u).copied()).collect();
        rank_correlation(&predicted, &changed).map_or(0.0, |c| c.rho)
    };
    let mut out = [Ranks::default(); 4];
    for (slot, method) in out.iter_mut().zip(methods) {
        *slot = Ranks { top: rho(method, &method.top), random: rho(method, &random) };
    }
    Ok(out)
}

fn page(all: &[Measured]) -> Result<String> {
    let mut page = format!(
        "# Which attribution comes true\n\nWritten by `cargo xtask docs attribution`. Each method predicts how much \
         every neuron contributes to `logit[target] − logit[foil]` after the prompt. Neurons are then set to zero one by \
         one, at every position, and the change is measured. A cell is Spearman's rank correlation of the predicted \
         with the true change: on the method's own top {TOP} neurons, and on {RANDOM} random neurons, the same for all \
         (seed {SEED}). Random scores are the control. A prompt counts where the model prefers the target.\n"
    );
    for measured in all {
        writeln!(page, "\n## {}\n\n{}", measured.model, header())?;
        for row in &measured.rows {
            let prompt = format!("{}**{}** / {}", tame(row.prompt), row.target, row.foil.trim());
            match &row.ranks {
                Some(ranks) => writeln!(page, "| {prompt} | {:+.2} | {} |", row.metric, cells(ranks))?,
                None => {
                    writeln!(page, "| {prompt} | {:+.2} |{}", row.metric, " not preferred | |".repeat(4))?
                }
            }
        }
        writeln!(page, "| **mean** | | {} |", cells(&measured.mean))?;
    }
    page.push('\n');
    page.push_str(&verdict(all)?);
    Ok(page)
}

fn header() -> String {
    let columns = METHODS.map(|m| format!("{m}: top {TOP} | random {RANDOM}")).join(" | ");
    format!("| prompt **target** / foil | metric | {columns} |\n| --- | --: |{}", " --: |".repeat(8))
}

fn cells(ranks: &[Ranks; 4]) -> String {
    ranks.map(|r| format!("{:+.2} | {:+.2}", r.top, r.random)).join(" | ")
}

/// The method with the highest mean over models and both sets of units.
fn verdict(all: &[Measured]) -> Result<String> {
    let score = |m: usize| {
        let sum: f64 = all.iter().map(|a| a.mean[m].top + a.mean[m].random).sum();
        sum / (2 * all.len().max(1)) as f64
    };
    let mut order: Vec<usize> = (0..METHODS.len()).collect();
    order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    let mut text = String::from("Mean over models and both sets: ");
    let listed: Vec<String> = order.iter().map(|&m| format!("{} {:+.3}", METHODS[m], score(m))).collect();
    write!(text, "{}.\n\n**{} wins.** ", listed.join(", "), METHODS[order[0]])?;
    let default = match DEFAULT_METHOD {
        MethodName::Relp => 0,
        MethodName::GradAct => 1,
        MethodName::Ig => 2,
    };
    let agrees = if order[0] == default {
        "which is the winner"
    } else {
        "which is not the winner and must be changed"
    };
    writeln!(text, "The program's default is {}, {agrees}.", METHODS[default])?;
    Ok(text)
}
