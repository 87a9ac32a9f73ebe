//! `pellucid check`: does what Pellucid shows of this checkpoint add up to what the model computes?

use crate::json::Token;
use crate::models::{Loaded, StorageArgs, load};
use crate::show::{BAD, BOLD, GOOD, Out, Table};
use anyhow::{Result, ensure};
use clap::Args;
use indicatif::ProgressBar;
use pellucid::model::check::{Finding, check};
use pellucid::model::fidelity::{LARGEST, Reading};
use pellucid::model::{Precision, fast_is_quicker};
use serde::Serialize;
use std::process::ExitCode;

/// Long enough for windows and rotary positions to matter, short enough to be quick.
const TOKENS: usize = 24;
const SENTENCE: &str = "The quick brown fox jumps over the lazy dog, while 27 small cats watch from \
                        the old stone wall and wonder what the fox will do next.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// A built-in name, a path or a hub id.
    model: String,
    /// The text to check on, instead of 24 tokens of a built-in sentence.
    #[arg(long)]
    text: Option<String>,
    #[command(flatten)]
    storage: StorageArgs,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    tokens: Vec<Token>,
    holds: bool,
    claims: Vec<Claim>,
    /// What `--precision fast` changes on these tokens; none where it is the same as `exact`.
    fast: Option<Fast>,
}

/// How far the fast precision is from the exact one.
#[derive(Serialize)]
struct Fast {
    kl: f64,
    worst_kl: f64,
    same_word: f64,
    same_neurons: f64,
    worst_layer: f64,
    neuron_error: f64,
}

#[derive(Serialize)]
struct Claim {
    claim: String,
    holds: bool,
    error: f32,
    tolerance: f32,
    at: String,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<ExitCode> {
        let mut loaded = load(&self.model, self.storage)?;
        // the claims are about the definition, whatever was asked for
        loaded.model.set_precision(Precision::Exact);
        let tokens = match &self.text {
            Some(text) => loaded.model.tokenizer().encode(text, true)?.ids,
            None => default_tokens(&loaded),
        };
        ensure!(!tokens.is_empty(), "the text to check on has no tokens");
        let findings = findings(&loaded, &tokens)?;
        let fast = fast(&mut loaded, &tokens)?;
        let report = Report {
            fast,
            tokens: tokens.iter().map(|&id| loaded.token(id)).collect(),
            holds: findings.iter().all(Finding::holds),
            claims: findings.into_iter().map(claim).collect(),
        };
        if !out.json("check", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(if report.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Runs the tokens in both precisions; the model is left exact.
fn fast(loaded: &mut Loaded, tokens: &[u32]) -> Result<Option<Fast>> {
    if !fast_is_quicker() {
        return Ok(None);
    }
    let exact = Reading::of(&loaded.model, tokens)?;
    loaded.model.set_precision(Precision::Fast);
    let found = Reading::of(&loaded.model, tokens);
    loaded.model.set_precision(Precision::Exact);
    let d = exact.distance(&found?);
    Ok(Some(Fast {
        kl: d.kl,
        worst_kl: d.worst_kl,
        same_word: d.same_word,
        same_neurons: d.same_neurons,
        worst_layer: d.worst_layer,
        neuron_error: d.neuron_error,
    }))
}

/// Measures every claim, saying on stderr which.
pub(crate) fn findings(loaded: &Loaded, tokens: &[u32]) -> Result<Vec<Finding>> {
    let spinner = ProgressBar::new_spinner();
    let found = check(&loaded.model, tokens, &mut |claim| {
        spinner.set_message(format!("checking: {claim}"));
        spinner.tick();
    })?;
    spinner.finish_and_clear();
    Ok(found)
}

/// The built-in sentence, or for a tokenizer that cannot write it the first ids of the vocabulary.
pub(crate) fn default_tokens(loaded: &Loaded) -> Vec<u32> {
    let spec = loaded.model.spec();
    let most = TOKENS.min(spec.context);
    match loaded.model.tokenizer().encode(SENTENCE, true) {
        Ok(encoding) if !encoding.ids.is_empty() => encoding.ids.into_iter().take(most).collect(),
        _ => (0..spec.vocabulary.min(most) as u32).collect(),
    }
}

fn claim(f: Finding) -> Claim {
    let holds = f.holds();
    Claim { claim: f.claim, holds, error: f.error, tolerance: f.tolerance, at: f.at }
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    let mut table = Table::new(&["", "claim", ">error", ">may be", "worst at"]);
    for c in &report.claims {
        let mark = if c.holds { "✓" } else { "✗" };
        let numbers =
            [c.error, c.tolerance].map(|x| if x == 0.0 { "0".to_owned() } else { format!("{x:.1e}") });
        let [error, tolerance] = numbers;
        table.row(vec![mark.to_owned(), c.claim.clone(), error, tolerance, c.at.clone()]);
    }
    out.table(table)?;
    match &report.fast {
        None => out.line("--precision fast computes the same as exact on this processor")?,
        Some(f) => out.line(format!(
            "--precision fast: KL of the next token {:.1e} nats (worst {:.1e}), the same word first at {:.0} % of tokens; \
             {:.1} % of each layer's {LARGEST} largest neurons are the same ({:.1} % in the worst layer), neurons off by {:.2} %",
            f.kl, f.worst_kl, 100.0 * f.same_word, 100.0 * f.same_neurons, 100.0 * f.worst_layer, 100.0 * f.neuron_error
        ))?,
    }
    let failed = report.claims.iter().filter(|c| !c.holds).count();
    out.line(match failed {
        0 => format!("{GOOD}all {} claims hold{GOOD:#}", report.claims.len()),
        n => format!("{BAD}{BOLD}{n} of {} claims do not hold{BOLD:#}{BAD:#}", report.claims.len()),
    })
}
