//! `pellucid function-vector`: what a few examples tell a model, as one vector, added to bare questions.

use crate::models::{ModelArgs, in_file, read};
use crate::show::{BAD, Bars, DIM, GOOD, Out, Table, signed};
use anyhow::{Context, Result, ensure};
use clap::Args;
use pellucid::core::Seed;
use pellucid::interp::Interval;
use pellucid::interp::function::Task;
use pellucid::scope::lab::{FunctionReport, Taught, Teaching};
use std::path::Path;
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct Arguments {
    /// past, plural, capital, antonym, or a .jsonl file of lines like {"x": "walk", "y": "walked"}.
    task: String,
    #[command(flatten)]
    model: ModelArgs,
    /// Examples before a question.
    #[arg(long, default_value_t = 10, value_name = "N")]
    shots: usize,
    /// Heads whose means are summed.
    #[arg(long, default_value_t = 10, value_name = "N")]
    heads: usize,
    /// Prompts that each head's mean is taken over.
    #[arg(long, default_value_t = 48, value_name = "N")]
    means: usize,
    /// Prompts with shuffled answers that each head's effect is taken over.
    #[arg(long, default_value_t = 24, value_name = "N")]
    trials: usize,
    /// How many times the vector is added: all are tried.
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 2.0, 4.0, 8.0], value_name = "X,…")]
    strengths: Vec<f32>,
    /// Chooses pairs, examples and controls.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Go on though examples do not help this model.
    #[arg(long)]
    anyway: bool,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<ExitCode> {
        ensure!(self.shots > 0, "--shots needs at least 1");
        ensure!(
            self.strengths.iter().all(|s| s.is_finite()) && !self.strengths.is_empty(),
            "--strengths are numbers"
        );
        let path = Path::new(&self.task);
        let task = if path.is_file() || self.task.ends_with(".jsonl") {
            Task::read(&self.task, &read(path)?).with_context(|| in_file(path))?
        } else {
            Task::built_in(&self.task)?
        };
        let loaded = self.model.load()?;
        let seed = Seed(self.seed);
        let pairs = Taught::pairs(&loaded.model, &task, self.shots, seed)?;
        let taught = Taught::measure(&loaded.model, pairs, self.shots, seed)?;
        if !taught.gate.learns && !self.anyway {
            if !out.json("function-vector", Some(&loaded), &taught.gate)? {
                out.line(format!("{BAD}{}{BAD:#}", taught.gate.sentence))?;
            }
            return Ok(ExitCode::FAILURE);
        }
        let asked = Teaching {
            means: self.means,
            trials: self.trials,
            heads: self.heads,
            strengths: self.strengths.clone(),
            anyway: self.anyway,
        };
        let mut bars = Bars::default();
        let report = taught.vector(&loaded.model, &asked, &mut |step| bars.show(step))?;
        bars.end();
        if !out.json("function-vector", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn interval(i: Interval) -> String {
    format!("{:.2} ({:.2} to {:.2})", i.value, i.low, i.high)
}

fn show(report: &FunctionReport, out: &mut Out) -> Result<()> {
    let gate = &report.gate;
    let style = if gate.learns { GOOD } else { BAD };
    let n = gate.asked;
    out.line(format!(
        "{style}{}: {} of {n} held-out questions are answered behind {} examples, {} behind shuffled ones, {} bare{style:#}",
        gate.task,
        interval(gate.with_examples),
        gate.shots,
        interval(gate.with_shuffled),
        interval(gate.bare)
    ))?;
    out.heading("heads by causal effect: what their mean does to the right answer's probability behind shuffled examples")?;
    let mut table = Table::new(&["head", ">effect"]);
    for h in report.heads.iter().take(report.settings.heads) {
        table.row(vec![format!("a{}.h{}", h.layer, h.head), signed(h.effect)]);
    }
    out.table(table)?;
    out.heading(format!(
        "bare questions with the vector added {} times after layer {} at the last token",
        report.strength, report.layer
    ))?;
    let mut table = Table::new(&["what is added", ">answered"]);
    for (what, share) in [
        ("nothing", gate.bare),
        ("the function vector", report.with_vector),
        ("as many random heads, at its length", report.with_random_heads),
        ("a random vector of its length", report.with_random),
    ] {
        table.row(vec![what.to_owned(), interval(share)]);
    }
    out.table(table)?;
    out.line(format!(
        "{DIM}answered: the likeliest next token is the answer; layer and strength were chosen on other pairs{DIM:#}"
    ))
}
