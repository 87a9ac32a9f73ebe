//! `pellucid lens --fit`: an affine lens fitted on text, judged on other documents, kept in a file.

use crate::atlas::build::corpus_of;
use crate::default_corpus;
use crate::models::{Loaded, ModelArgs};
use crate::show::{DIM, Out, Table, bar};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::{Seed, Site, Split};
use pellucid::interp::lens::{Card, Fitted, Judged, Kind, Texts, fit_jacobian, fit_tuned, judge};
use pellucid::interp::stream::site_at;
use pellucid::store::Window;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct FitArgs {
    /// Fit a lens on text and write it here, instead of reading a prompt.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "through", "versus", "behaviour"])]
    pub(super) fit: Option<PathBuf>,
    /// With --fit: ridge regression of the final stream, or the mean derivative of it.
    #[arg(long, value_enum, default_value_t = Which::Tuned, requires = "fit")]
    kind: Which,
    /// With --fit: where maps lead; the last resid_post by default. Another one serves patchscopes.
    #[arg(long, value_name = "SITE", requires = "fit")]
    to: Option<Site>,
    /// With --fit: what is added to the covariance's diagonal, relative to it.
    #[arg(long, default_value_t = 0.003, value_name = "X", requires = "fit", allow_hyphen_values = true)]
    ridge: f64,
    /// With --fit: files or folders of text; by default the corpus of docs/corpus.md, fetched once.
    #[arg(long, value_name = "PATH", requires = "fit")]
    corpus: Vec<String>,
    /// With --fit: tokens of the corpus, drawn over all of it.
    #[arg(long, default_value_t = 40_000, value_name = "N", requires = "fit")]
    tokens: u64,
    /// With --fit: tokens of a window.
    #[arg(long, default_value_t = 128, value_name = "N", requires = "fit")]
    window: usize,
    /// With --fit: windows of the test split on which the lens is judged.
    #[arg(long, default_value_t = 8, value_name = "N", requires = "fit")]
    test_windows: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Tuned,
    Jacobian,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    card: &'a Card,
    test_windows: usize,
    test_tokens: usize,
    /// Empty where the maps do not lead to the final stream.
    judged: Vec<Judged>,
}

struct Windows {
    corpus: String,
    train: Vec<Window>,
    test: Vec<Window>,
}

impl FitArgs {
    pub(super) fn run(&self, file: &Path, model: &ModelArgs, seed: u64, out: &mut Out) -> Result<()> {
        ensure!(
            self.window >= 2,
            "--window {}: a window has at least 2 tokens, its first is left out",
            self.window
        );
        ensure!(self.ridge.is_finite() && self.ridge > 0.0, "--ridge must be a positive number");
        let loaded = model.load()?;
        let windows = self.windows(&loaded, seed)?;
        let last = site_at(loaded.model.spec().n_layers);
        let texts = Texts { windows: &windows.train, to: self.to.unwrap_or(last) };
        let kind = match self.kind {
            Which::Tuned => Kind::Tuned,
            Which::Jacobian => Kind::Jacobian,
        };
        let all: usize = windows.train.iter().map(|w| w.tokens.len()).sum();
        let progress = bar("fitting: tokens", all);
        let mut tell = |done: usize| progress.set_position(done as u64);
        let maps = match kind {
            Kind::Tuned => fit_tuned(&loaded.model, texts, self.ridge, &mut tell)?,
            Kind::Jacobian => fit_jacobian(&loaded.model, texts, Seed(seed), &mut tell)?,
        };
        progress.finish_and_clear();
        let card = Card {
            kind,
            model: loaded.model.sha256().to_owned(),
            to: texts.to,
            corpus: windows.corpus,
            tokens: texts.tokens(),
            window: self.window,
            ridge: (kind == Kind::Tuned).then_some(self.ridge),
            seed,
            code: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let fitted = Fitted::new(card, maps);
        fitted.save(file)?;
        let progress = bar("judging: windows", windows.test.len());
        let mut judged = Vec::new();
        if texts.to == last {
            judged =
                judge(&loaded.model, &fitted, &windows.test, &mut |done| progress.set_position(done as u64))?;
        }
        progress.finish_and_clear();
        let report = Report {
            file: file.display().to_string(),
            card: &fitted.card,
            test_windows: windows.test.len(),
            test_tokens: windows.test.iter().map(|w| w.tokens.len().saturating_sub(1)).sum(),
            judged,
        };
        if !out.json("lens", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }

    /// Fitted on the train split, judged on some windows of the test split: a document belongs to one of them.
    fn windows(&self, loaded: &Loaded, seed: u64) -> Result<Windows> {
        let sources = default_corpus::or_these(&self.corpus)?;
        let corpus = corpus_of(loaded, &sources, self.window, self.tokens, seed)?;
        let of = |split: Split| -> Vec<Window> {
            corpus.windows().filter(|w| w.split == split && w.tokens.len() >= 2).collect()
        };
        let (train, test) = (of(Split::Train), of(Split::Test));
        ensure!(
            !train.is_empty() && !test.is_empty(),
            "the corpus gives {} windows to fit on and {} to judge on; take more text, or more --tokens",
            train.len(),
            test.len()
        );
        let chosen = Seed(seed)
            .for_purpose("lens test windows")
            .choose(test.len(), self.test_windows.clamp(1, test.len()));
        let test = chosen.into_iter().map(|i| test[i].clone()).collect();
        Ok(Windows { corpus: corpus.id().to_string(), train, test })
    }
}

fn show(report: &Report<'_>, out: &mut Out) -> Result<()> {
    let Report { file, card, test_windows, test_tokens, judged } = report;
    if !judged.is_empty() {
        let header =
            ["site", ">KL logit lens", ">KL fitted", ">from", ">to", ">top-1 logit", ">top-1 fitted"];
        let mut table = Table::new(&header);
        for j in judged {
            let f = j.fitted_kl;
            let mut row = vec![j.site.to_string(), format!("{:.3}", j.logit_kl.value)];
            row.extend([f.value, f.low, f.high].map(|v| format!("{v:.3}")));
            row.extend([j.logit_agrees, j.fitted_agrees].map(|v| format!("{v:.2}")));
            table.row(row);
        }
        out.table(table)?;
    }
    out.line(format!(
        "{DIM}fitted on {} tokens, judged on {test_tokens} tokens of {test_windows} windows of other documents; KL from the final distribution, nats; {file}{DIM:#}",
        card.tokens
    ))
}
