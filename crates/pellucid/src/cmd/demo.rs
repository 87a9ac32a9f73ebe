//! `pellucid demo`: the whole program in one story, with its controls.

use super::attribute::{DEFAULT_METHOD, Entry, effects_table, entry};
use crate::edits;
use crate::models::{Loaded, ModelArgs};
use crate::show::{BOLD, Out, Table, percent, quoted};
use crate::text::Text;
use anyhow::Result;
use clap::Args;
use pellucid::core::{Edit, Index, Op, Positions, Seed, Site, Target, UnitId};
use pellucid::interp::{By, Metric, attribute};
use pellucid::model::{Generating, Generation, Row, sample};
use pellucid::scope::Message;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const QUESTION: &str = "What is the capital of Poland?";
const WORD: &str = "Warsaw";
/// Another question, to see whether the same neurons are needed for anything else.
const OTHER: &str = "What is the opposite of hot?";
const SHOWN: usize = 12;
const LADDER: [usize; 5] = [5, 10, 20, 40, 80];
const TOKENS: usize = 48;
const STEPS: usize = 16;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
    /// Chooses the random neurons.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    question: &'static str,
    answer: String,
    word: &'static str,
    says_it: bool,
    neurons: Vec<Entry>,
    changed_at: Option<usize>,
    cases: Vec<Case>,
}

/// The two questions with some neurons set to zero.
#[derive(Serialize)]
struct Case {
    name: String,
    neurons_off: usize,
    probability: f64,
    answer: String,
    other_answer: String,
    edits: Vec<Edit>,
}

/// The question, and the beginning of the answer after which the word was said.
struct Scene<'a> {
    loaded: &'a Loaded,
    question: Text,
    other: Text,
    before_word: Row,
    word: u32,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let loaded = self.model.load()?;
        let ask = |content: &str| {
            let message = Message { role: "user".to_owned(), content: content.to_owned() };
            Text::chat(&loaded, &[message], None)
        };
        let (question, other) = (ask(QUESTION)?, ask(OTHER)?);
        out.line(format!("{BOLD}Asked{BOLD:#}     {QUESTION}"))?;
        let said = generate(&loaded, &question.row, &[])?;
        out.line(format!("{BOLD}Answered{BOLD:#}  {}", crate::show::tame(&said.text)))?;
        let mut report = Report {
            question: QUESTION,
            answer: said.text.clone(),
            word: WORD,
            says_it: false,
            neurons: Vec::new(),
            changed_at: None,
            cases: Vec::new(),
        };
        match word_at(&loaded, &said) {
            None => {
                out.line(format!("\nThe model does not say {WORD:?}, so there is nothing here to explain."))?
            }
            Some((at, word)) => {
                report.says_it = true;
                let ids = question.row.tokens.iter().copied().chain(said.ids().into_iter().take(at));
                // the prompt stays what it was, so that edits by position mean the same
                let mut before_word = question.row.clone();
                before_word.tokens = ids.collect();
                before_word.horizon = question.row.tokens.len() + TOKENS;
                let scene = Scene { loaded: &loaded, question, other, before_word, word };
                scene.explain(&mut report, Seed(self.seed), out)?;
            }
        }
        out.json("demo", Some(&loaded), &report)?;
        Ok(())
    }
}

fn generate(loaded: &Loaded, row: &Row, list: &[Edit]) -> Result<Generation> {
    let apply = edits::ready(loaded, row, list)?;
    let how = Generating::greedy(TOKENS);
    Ok(loaded.model.generate(
        row,
        &how,
        &mut *edits::tap(Some(&apply)),
        &mut |_| ControlFlow::Continue(()),
    )?)
}

/// The step that says the word (or its first piece).
fn word_at(loaded: &Loaded, said: &Generation) -> Option<(usize, u32)> {
    let is_word = |id: u32| {
        let text = loaded.token(id).text;
        text.trim().len() > 1 && WORD.starts_with(text.trim())
    };
    said.steps.iter().enumerate().find(|(_, s)| is_word(s.id)).map(|(at, s)| (at, s.id))
}

impl Scene<'_> {
    fn explain(&self, report: &mut Report, seed: Seed, out: &mut Out) -> Result<()> {
        let model = &self.loaded.model;
        let metric = Metric::last(&self.before_word, self.word, None);
        let method = DEFAULT_METHOD.method(STEPS);
        let effects = attribute(model, &self.before_word, metric, method, &By::Unit.sites(model), &mut ())?;
        let text = Text::of(self.loaded, self.before_word.clone())?;
        let ranked = effects.ranked(By::Unit, usize::MAX);
        report.neurons = ranked.iter().take(SHOWN).map(|e| entry(e, &text, effects.metric)).collect();
        let all = model.spec().n_layers * model.spec().d_mlp;
        out.heading(format!(
            "The {SHOWN} of its {all} neurons that do most for {:?}",
            self.loaded.token(self.word).text
        ))?;
        out.table(effects_table(&report.neurons))?;
        out.line(
            "Effect: what the neuron adds to the word's logit over the mean logit, predicted from one forward and one\n\
             backward pass. Peak token: where in the text it does so. Neurons that act at the first token carry what\n\
             every text needs (its activations there are huge), so they are left on below.",
        )?;
        // Only those that speak for the word: without them it should become less likely. And none that act at the
        // first token: that is where models keep massive activations that every text needs.
        let speak = ranked.into_iter().filter(|e| e.effect > 0.0 && e.position > 0);
        let pushing: Vec<UnitId> = speak.filter_map(|e| e.unit).collect();
        report.cases.push(self.case("as it is", 0, Vec::new())?);
        let mut used = 0;
        for k in LADDER.into_iter().filter(|&k| k <= pushing.len()) {
            used = k;
            let case = self.case(&format!("the top {k} off"), k, zero(&pushing[..k]))?;
            let changed = !case.answer.contains(WORD);
            if changed || Some(&k) == LADDER.last() {
                report.changed_at = changed.then_some(k);
                report.cases.push(case);
                break;
            }
        }
        let random = random_like(self.loaded, &pushing[..used], seed);
        report.cases.push(self.case(&format!("{used} random off"), used, zero(&random))?);
        self.show(report, used, out)
    }

    /// Both questions with these neurons off, and the word's probability where the model first said it.
    fn case(&self, name: &str, neurons_off: usize, list: Vec<Edit>) -> Result<Case> {
        let apply = edits::ready(self.loaded, &self.question.row, &list)?;
        let logits = self.loaded.model.next_logits(&self.before_word, &mut *edits::tap(Some(&apply)))?;
        Ok(Case {
            name: name.to_owned(),
            neurons_off,
            probability: f64::from(sample::log_softmax(&logits)[self.word as usize]).exp(),
            answer: generate(self.loaded, &self.question.row, &list)?.text,
            other_answer: generate(self.loaded, &self.other.row, &list)?.text,
            edits: list,
        })
    }

    fn show(&self, report: &Report, used: usize, out: &mut Out) -> Result<()> {
        out.heading("The same questions with neurons set to zero at every token")?;
        let word = format!(">P({WORD})");
        let mut table = Table::new(&["", &word, QUESTION, OTHER]);
        for c in &report.cases {
            table.row(vec![c.name.clone(), percent(c.probability), short(&c.answer), short(&c.other_answer)]);
        }
        out.table(table)?;
        out.line("")?;
        out.line(match report.changed_at {
            Some(k) => {
                let fewer: Vec<String> = LADDER.iter().filter(|&&l| l < k).map(usize::to_string).collect();
                let fewer = if fewer.is_empty() { String::new() } else { format!(" ({} do not)", fewer.join(", ")) };
                format!(
                    "Setting {k} neurons to zero takes {WORD} out of the answer{fewer}. The random ones are as many in the\n\
                     same layers: what they change is what any {k} would. The second question shows what else was lost."
                )
            }
            None => format!("Even {used} neurons off did not take {WORD} out of the answer; the probability shows what they did."),
        })?;
        out.line(format!(
            "P({WORD}) is its probability after the same beginning of the answer in every row."
        ))?;
        out.heading("Try next")?;
        let unit = report.neurons.first().and_then(|n| n.unit()).map_or_else(String::new, UnitId::to_string);
        for line in [
            format!("pellucid run --chat {QUESTION:?} --edit {unit}=0"),
            format!("pellucid run \"The capital of Poland is\" --watch {unit}"),
            "pellucid attribute \"The capital of Poland is\" --verify 20".to_owned(),
            "pellucid lens --model gemma3-270m \"The capital of France is Paris. The capital of Poland is\""
                .to_owned(),
        ] {
            out.line(format!("  {line}"))?;
        }
        Ok(())
    }
}

/// An answer's beginning, on one line.
fn short(answer: &str) -> String {
    const MOST: usize = 70;
    let begin: String = answer.chars().take(MOST).collect();
    if begin.len() < answer.len() { quoted(&(begin + "…")) } else { quoted(answer) }
}

/// How many and which units in each layer.
fn by_layer(units: &[UnitId]) -> BTreeMap<Site, Vec<u32>> {
    let mut layers: BTreeMap<Site, Vec<u32>> = BTreeMap::new();
    for unit in units {
        if let UnitId::Site { site, index: Index::Coordinate(i), .. } = unit {
            layers.entry(*site).or_default().push(*i);
        }
    }
    layers
}

fn zero(units: &[UnitId]) -> Vec<Edit> {
    let edit =
        |(site, list)| Edit { site, target: Target::Units(list), positions: Positions::All, op: Op::Zero };
    by_layer(units).into_iter().map(edit).collect()
}

/// Other neurons of the same layers, as many in each.
fn random_like(loaded: &Loaded, units: &[UnitId], seed: Seed) -> Vec<UnitId> {
    let mut seed = seed.for_purpose("random neurons of the same layers");
    let width = loaded.model.spec().d_mlp;
    let mut random = Vec::new();
    for (site, taken) in by_layer(units) {
        let free: Vec<usize> = (0..width).filter(|&i| !taken.contains(&(i as u32))).collect();
        random.extend(
            seed.choose(free.len(), taken.len()).into_iter().map(|i| UnitId::coordinate(site, free[i])),
        );
    }
    random
}
