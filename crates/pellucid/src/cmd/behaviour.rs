//! `pellucid behaviour`: does the model do this at all? The gate that every method passes first.

use crate::models::{Loaded, ModelArgs, in_file, read};
use crate::show::{BAD, DIM, GOOD, Out, Table, quoted};
use anyhow::{Context, Result, ensure};
use clap::Args;
use pellucid::core::Seed;
use pellucid::interp::behaviour::{Behaviour, Gate, Ready};
use pellucid::scope::lab::{BehaviourReport, Entry, Measured, OFF_TASK};
use std::path::Path;
use std::process::ExitCode;

/// Which behaviour, on which model.
#[derive(Args)]
pub(crate) struct BehaviourArgs {
    /// number, agreement, determiner, ioi, capitals, refusal, or a .jsonl file (docs/methods.md says what a line holds).
    pub(crate) behaviour: String,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// How many items.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(crate) items: usize,
    /// Chooses the items and the random controls.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: BehaviourArgs,
    /// Write the items as lines of JSON.
    #[arg(long, value_name = "FILE")]
    save: Option<std::path::PathBuf>,
}

impl BehaviourArgs {
    /// The items, in words.
    pub(crate) fn behaviour(&self) -> Result<Behaviour> {
        ensure!(self.items > 0, "a behaviour needs at least one item; say --items 64");
        named(&self.behaviour, Seed(self.seed), self.items)
    }

    /// The model, and the items in its tokens.
    pub(crate) fn ready(&self) -> Result<(Loaded, Ready)> {
        // what is wrong with the items is said before a model is fetched
        let behaviour = self.behaviour()?;
        let loaded = self.model.load()?;
        let ready = behaviour.prepare(&loaded.model, self.items).with_context(|| self.behaviour.clone())?;
        Ok((loaded, ready))
    }

    /// The model, with the items measured. A method that is given what the model does not show says so and stops.
    pub(crate) fn measured(&self) -> Result<(Loaded, Measured)> {
        let (loaded, ready) = self.ready()?;
        let measured = Measured::of(&loaded.model, ready, Seed(self.seed))?;
        Ok((loaded, measured))
    }

    /// The behaviour that `--off-task` names, if it does.
    pub(crate) fn off_task(&self, asked: Option<&str>) -> Result<Option<Behaviour>> {
        asked.map(|name| named(name, Seed(self.seed), OFF_TASK)).transpose()
    }
}

/// A built-in behaviour (with some to spare for what the tokenizer does not fit), or a file's.
fn named(name: &str, seed: Seed, items: usize) -> Result<Behaviour> {
    let path = Path::new(name);
    if path.is_file() || name.ends_with(".jsonl") {
        return Behaviour::read(name, &read(path)?).with_context(|| in_file(path));
    }
    Ok(Behaviour::built_in(name, seed, items.saturating_mul(2))?)
}

impl Arguments {
    /// Fails (without an error) where the model does not show the behaviour.
    pub(crate) fn run(&self, out: &mut Out) -> Result<ExitCode> {
        let (loaded, measured) = self.of.measured()?;
        if let Some(file) = &self.save {
            let mut kept = self.of.behaviour()?;
            kept.items = measured.ready.items.iter().map(|i| i.item.clone()).collect();
            std::fs::write(file, kept.write()?)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let report = measured.report();
        if !out.json("behaviour", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(if report.gate.shown { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn show(report: &BehaviourReport, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    let mut order: Vec<&Entry> = report.items.iter().collect();
    order.sort_by(|a, b| a.log_odds.total_cmp(&b.log_odds));
    out.heading("the items it does worst")?;
    let mut table = Table::new(&["prompt", "right", "wrong", ">log-odds"]);
    for e in order.iter().take(6) {
        let answers = |list: &[String]| list.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(" ");
        let odds = format!("{:+.2}", e.log_odds);
        table.row(vec![quoted(&e.item.prompt), answers(&e.item.right), answers(&e.item.wrong), odds]);
    }
    out.table(table)?;
    if report.gate.left_out > 0 {
        let n = report.gate.left_out;
        out.line(format!("{DIM}{n} drawn items do not fit this tokenizer and were left out{DIM:#}"))?;
    }
    Ok(())
}

/// The gate for a person.
pub(crate) fn verdict(gate: &Gate, out: &mut Out) -> Result<()> {
    let style = if gate.shown { GOOD } else { BAD };
    out.line(format!("{style}{}{style:#}", gate.sentence()))?;
    let o = gate.log_odds;
    out.line(format!(
        "mean log-odds of right against wrong {:+.3} ({:+.3} to {:+.3})",
        o.value, o.low, o.high
    ))
}
