//! The site and the text that a dictionary learns from and is judged by.

use crate::atlas::build::corpus_of;
use crate::default_corpus;
use crate::models::{Loaded, ModelArgs};
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::core::{Seed, Site, Split};
use pellucid::interp::sweep_sites;
use pellucid::store::Window;

/// A site of a model, and text.
#[derive(Args)]
pub(super) struct OfArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// Where: resid_post.15, mlp_out.7, mlp_act.3, …
    #[arg(long, value_name = "SITE")]
    pub(super) site: Site,
    /// Files or folders of text; by default the corpus of docs/corpus.md, fetched once.
    #[arg(long, value_name = "PATH")]
    pub(super) corpus: Vec<String>,
    /// Tokens of the corpus, drawn over all of it.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub(super) tokens: u64,
    /// Tokens of a window.
    #[arg(long, default_value_t = 128, value_name = "N")]
    pub(super) window: usize,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// Windows of the test split on which losses are measured.
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub(super) test_windows: usize,
}

/// A site with its windows.
pub(crate) struct Text {
    /// Coordinates of a row.
    pub(crate) width: usize,
    /// The corpus's name and hash.
    pub(crate) corpus: String,
    /// What is learned from, in this order.
    pub(crate) train: Vec<Window>,
    /// What is judged on.
    pub(crate) test: Vec<Window>,
}

impl OfArgs {
    pub(super) fn text(&self, loaded: &Loaded) -> Result<Text> {
        ensure!(
            self.window >= 2,
            "--window {}: a window has at least 2 tokens, as its first is left out",
            self.window
        );
        let (_, width) = sweep_sites(&loaded.model, &[self.site])?[0];
        let sources = default_corpus::or_these(&self.corpus)?;
        let corpus = corpus_of(loaded, &sources, self.window, self.tokens, self.seed)?;
        let (mut train, mut test): (Vec<Window>, Vec<Window>) = (Vec::new(), Vec::new());
        for window in corpus.windows().filter(|w| w.tokens.len() >= 2) {
            match window.split {
                Split::Train => train.push(window),
                Split::Test => test.push(window),
                Split::Validation => {}
            }
        }
        ensure!(
            !test.is_empty(),
            "none of the corpus's documents belongs to the test split; take more text, or more tokens"
        );
        let seed = Seed(self.seed);
        let drawn = |all: &[Window], n: usize, purpose: &str| -> Vec<Window> {
            seed.for_purpose(purpose)
                .choose(all.len(), n.min(all.len()))
                .into_iter()
                .map(|i| all[i].clone())
                .collect()
        };
        let test = drawn(&test, self.test_windows.max(1), "dictionary test windows");
        let train = drawn(&train, train.len(), "dictionary windows");
        Ok(Text { width, corpus: corpus.id().to_string(), train, test })
    }
}
