//! What a dictionary's files say of themselves: their format, and the card that `pellucid dict train` writes beside them. A card
//! is anyone's file, so each of its numbers may be missing.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

/// What is known of a dictionary besides its numbers, by who opened its files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DictionaryFiles {
    /// Where they are.
    pub path: PathBuf,
    /// Their format, in its makers' name.
    pub format: String,
    /// What makes latents active, in words.
    pub activation: String,
    /// The card in the folder, or why it cannot be read; none where there is no card.
    pub card: Option<Result<DictionaryCard, String>>,
}

/// What a dictionary was trained on, and what it is worth on text that training did not see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct DictionaryCard {
    /// The model, as whoever trained it named it.
    pub model: Option<String>,
    /// Hash of the model's weights.
    pub model_hash: Option<String>,
    /// Hash of the corpus.
    pub corpus: Option<String>,
    /// Tokens in a window.
    pub window: Option<u64>,
    /// Rows that it was trained on.
    pub trained_rows: Option<u64>,
    /// The program's version.
    pub code: Option<String>,
    /// Rows of the test split that the rest is of.
    pub rows: Option<u64>,
    /// 1 − FVU, with each coordinate's mean removed from the total.
    pub explained_variance: Option<f64>,
    /// Mean number of active latents in a row.
    pub l0: Option<f64>,
    /// Share of latents silent on these rows.
    pub silent: Option<f64>,
    /// Loss of the next token in nats: as the model is.
    pub loss: Option<f64>,
    /// With the reconstruction in the value's place.
    pub loss_spliced: Option<f64>,
    /// With zeros there.
    pub loss_zero: Option<f64>,
    /// With the site's mean there.
    pub loss_mean: Option<f64>,
    /// Share of what zeros cost that the reconstruction does not.
    pub recovered_from_zero: Option<f64>,
    /// The same of what the mean costs.
    pub recovered_from_mean: Option<f64>,
}

/// A card as it is written: the training, and the judgement of its result.
#[derive(Deserialize)]
struct Written {
    model: Option<String>,
    run: Option<Run>,
    trained_rows: Option<u64>,
    judged: Option<Judged>,
}

#[derive(Deserialize, Default)]
struct Run {
    model_hash: Option<String>,
    corpus: Option<String>,
    window: Option<u64>,
    code: Option<String>,
}

#[derive(Deserialize, Default)]
struct Judged {
    rows: Option<u64>,
    explained_variance: Option<f64>,
    l0: Option<f64>,
    silent: Option<f64>,
    loss: Option<f64>,
    loss_spliced: Option<f64>,
    loss_zero: Option<f64>,
    loss_mean: Option<f64>,
    recovered_from_zero: Option<f64>,
    recovered_from_mean: Option<f64>,
}

/// A card is some kilobytes; what is longer is something else.
const LONGEST: u64 = 1 << 20;

impl DictionaryCard {
    /// The card of a dictionary's folder, or of the folder that its one file is in; none where there is none.
    pub fn beside(path: &Path) -> Option<Result<DictionaryCard, String>> {
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        let file = folder?.join("card.json");
        let meta = std::fs::metadata(&file).ok()?;
        let fault = |why: String| format!("{why}: {}", file.display());
        if meta.len() > LONGEST {
            return Some(Err(fault(format!("the card has {} bytes, at most {LONGEST}", meta.len()))));
        }
        let text =
            std::fs::read_to_string(&file).map_err(|e| fault(format!("the card cannot be read ({e})")));
        Some(text.and_then(|text| Self::read(&text).map_err(fault)))
    }

    /// A card from its text.
    ///
    /// # Errors
    /// With the words to show, where it is none.
    pub fn read(text: &str) -> Result<DictionaryCard, String> {
        let Written { model, run, trained_rows, judged } =
            serde_json::from_str(text).map_err(|e| format!("the card is none ({e})"))?;
        let (run, judged) = (run.unwrap_or_default(), judged.unwrap_or_default());
        Ok(DictionaryCard {
            model,
            model_hash: run.model_hash,
            corpus: run.corpus,
            window: run.window,
            trained_rows,
            code: run.code,
            rows: judged.rows,
            explained_variance: judged.explained_variance,
            l0: judged.l0,
            silent: judged.silent,
            loss: judged.loss,
            loss_spliced: judged.loss_spliced,
            loss_zero: judged.loss_zero,
            loss_mean: judged.loss_mean,
            recovered_from_zero: judged.recovered_from_zero,
            recovered_from_mean: judged.recovered_from_mean,
        })
    }
}
