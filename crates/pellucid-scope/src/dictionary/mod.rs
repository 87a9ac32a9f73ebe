//! A dictionary as a whole: what its files say, what its atlas counted, a few numbers of every latent, and a map of their
//! directions. What one latent is stands in `unit`.

mod card;
mod map;

pub use card::{DictionaryCard, DictionaryFiles};
pub use map::{LatentMap, MOST_MAPPED, kept_map, make_map, map_file};

use crate::error::bad;
use crate::words::{Words, chosen};
use crate::{Error, Loaded, Opened, Result};
use pellucid_core::Polarity;
use pellucid_model::Attached;
use pellucid_store::atlas::Glance;
use serde::Serialize;
use utoipa::ToSchema;

/// What is known of a dictionary as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DictionaryReply {
    /// Its name, as in `sae:NAME/7`.
    pub name: String,
    /// Where it reads and writes.
    pub site: String,
    /// How many latents it has.
    pub latents: usize,
    /// Coordinates of a row.
    pub width: usize,
    /// What tells its numbers from any other dictionary's.
    pub hash: String,
    /// The format of its files; none where it came from none.
    pub format: Option<String>,
    /// Where they are.
    pub path: Option<String>,
    /// What makes latents active.
    pub activation: Option<String>,
    /// What it was trained on and what it is worth; none where its files have no card.
    pub card: Option<DictionaryCard>,
    /// Why the card cannot be read.
    pub card_fault: Option<String>,
    /// Whether the card is of this server's model; none where it does not say.
    pub card_of_model: Option<bool>,
    /// What its atlas holds; none where it has none yet.
    pub atlas: Option<DictionaryAtlas>,
    /// Why the atlas cannot be used.
    pub atlas_fault: Option<String>,
    /// The command that makes its atlas.
    pub build: String,
    /// The command that judges it on text.
    pub judge: String,
}

/// What an atlas of latents was made of, and what stands out in it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DictionaryAtlas {
    /// The file.
    pub path: String,
    /// Tokens that it counted.
    pub tokens: u64,
    /// Hash of the corpus.
    pub corpus: String,
    /// The seed of everything random.
    pub seed: u64,
    /// The program's version.
    pub code: String,
    /// Latents with words.
    pub described: u64,
    /// Latents whose words were scored on held-out text.
    pub scored: u64,
    /// How many of them score above their null.
    pub above_null: u64,
    /// The score in the middle, and that of another latent's words.
    pub median: Option<f64>,
    /// The null in the middle.
    pub median_null: Option<f64>,
    /// Latents that were never active.
    pub dead: u64,
    /// Latents that were, on fewer tokens than this share.
    pub ultra_low: u64,
    /// The share.
    pub ultra_low_share: f64,
    /// Latents that were active on more than a tenth of tokens.
    pub dense: u64,
    /// Search by meaning works.
    pub embeddings: bool,
}

/// A few numbers of every latent, by index: a column each.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LatentsReply {
    /// Tokens that were counted.
    pub tokens: u64,
    /// On how many of them each latent was active: above zero.
    pub active: Vec<u64>,
    /// Its largest activation.
    pub most: Vec<f32>,
    /// How well its words tell its activations on held-out text (r); none where it has no words or no score.
    pub score: Vec<Option<f32>>,
    /// The same of another latent's words.
    pub null: Vec<Option<f32>>,
}

/// Active, but on fewer than one token in a hundred thousand: rarer than a corpus of the usual size can describe. (Bricken et
/// al. 2023 saw a cluster of such latents at 10⁻⁶ and below, in a corpus a hundred times as large.)
pub const ULTRA_LOW: f64 = 1e-5;
const DENSE: f64 = 0.1;

/// What is known of a dictionary as a whole. An atlas that cannot be used is said in the answer: the rest stands without it.
///
/// # Errors
/// If the atlas cannot be read.
pub fn dictionary(
    loaded: &Loaded,
    of: &Attached,
    opened: Result<Option<&Opened>>,
) -> Result<DictionaryReply> {
    let opened = opened.and_then(|opened| match opened {
        Some(opened) => check_dictionary(opened, of).map(|()| Some(opened)),
        None => Ok(None),
    });
    let (atlas, atlas_fault) = match opened {
        Ok(Some(opened)) => (Some(atlas(opened, of)?), None),
        Ok(None) => (None, None),
        Err(fault) => (None, Some(fault.to_string())),
    };
    let files = loaded.files(&of.name);
    let said = files.and_then(|f| f.card.clone());
    let (card, card_fault) = match said {
        Some(Ok(card)) => (Some(card), None),
        Some(Err(fault)) => (None, Some(fault)),
        None => (None, None),
    };
    let hash = card.as_ref().and_then(|c| c.model_hash.as_deref());
    Ok(DictionaryReply {
        name: of.name.clone(),
        site: of.site.to_string(),
        latents: of.latents.count(),
        width: of.latents.width(),
        hash: of.hash.clone(),
        format: files.map(|f| f.format.clone()),
        path: files.map(|f| f.path.display().to_string()),
        activation: files.map(|f| f.activation.clone()),
        card_of_model: hash.map(|hash| hash == loaded.model.sha256()),
        card,
        card_fault,
        atlas,
        atlas_fault,
        build: build_command(loaded, of),
        judge: format!(
            "pellucid dict eval {} --model {} --site {}",
            path(files),
            quoted(&loaded.name),
            of.site
        ),
    })
}

/// The command that makes the atlas of a dictionary's latents.
pub fn build_command(loaded: &Loaded, of: &Attached) -> String {
    let (model, path) = (quoted(&loaded.name), path(loaded.files(&of.name)));
    let Attached { name, site, .. } = of;
    format!("pellucid atlas build --model {model} --dictionary {name}={path}@{site} --latents {name}")
}

fn path(files: Option<&DictionaryFiles>) -> String {
    files.map_or_else(|| "PATH".to_owned(), |f| quoted(&f.path.display().to_string()))
}

/// A word of a command line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Refuses an atlas of something else than this dictionary: its latents would mean something else.
///
/// # Errors
/// If it is one.
pub fn check_dictionary(opened: &Opened, of: &Attached) -> Result<()> {
    let atlas = opened.atlas();
    let found = atlas.dictionary_hash()?;
    if found.as_ref() == Some(&of.hash) {
        return Ok(());
    }
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let is = match found {
        Some(hash) => format!(
            "the atlas of another dictionary ({}, sha256 {}…)",
            atlas.dictionary()?.unwrap_or_default(),
            short(&hash)
        ),
        None => "an atlas of the model's own units".to_owned(),
    };
    bad(format!(
        "{} is {is}; expected that of {} (sha256 {}…)",
        atlas.path().display(),
        of.name,
        short(&of.hash)
    ))
}

fn glances(opened: &Opened, of: &Attached) -> Result<Vec<Glance>> {
    check_dictionary(opened, of)?;
    let all = opened.atlas().glances(of.site, Polarity::Positive)?;
    let (found, expected) = (all.len(), of.latents.count());
    match found == expected {
        true => Ok(all),
        false => Err(Error::Absent(format!(
            "the atlas holds {found} of the {expected} latents of {}; it is still being built, or was stopped early",
            of.name
        ))),
    }
}

fn atlas(opened: &Opened, of: &Attached) -> Result<DictionaryAtlas> {
    let all = opened.atlas().glances(of.site, Polarity::Positive)?;
    let summary = opened.summary()?;
    let made = opened.provenance.first();
    let number = |holds: &dyn Fn(&Glance) -> bool| all.iter().filter(|g| holds(g)).count() as u64;
    let share = |g: &Glance| g.active as f64 / g.count.max(1) as f64;
    Ok(DictionaryAtlas {
        path: opened.atlas().path().display().to_string(),
        tokens: opened.counted(),
        corpus: made.map(|p| p.corpus.clone()).unwrap_or_default(),
        seed: made.map_or(0, |p| p.seed),
        code: made.map(|p| p.code.clone()).unwrap_or_default(),
        described: number(&|g| g.described),
        scored: number(&|g| g.score.is_some()),
        above_null: number(&|g| g.score.zip(g.null).is_some_and(|(score, null)| score > null)),
        median: median(all.iter().filter_map(|g| g.score)),
        median_null: median(all.iter().filter_map(|g| g.null)),
        dead: number(&|g| g.active == 0),
        ultra_low: number(&|g| g.active > 0 && share(g) < ULTRA_LOW),
        ultra_low_share: ULTRA_LOW,
        dense: number(&|g| share(g) > DENSE),
        embeddings: summary.embeddings > 0,
    })
}

/// The value in the middle; of an even number the lower one of two.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    let middle = all.len().saturating_sub(1) / 2;
    all.get(middle).copied()
}

/// Four digits say all that a drawing shows, in half of the bytes.
fn rounded(value: f32) -> f32 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(3.0 - f64::from(value.abs()).log10().floor());
    ((f64::from(value) * scale).round() / scale) as f32
}

/// A few numbers of every latent.
///
/// # Errors
/// If the atlas is not this dictionary's, is not finished, or cannot be read.
pub fn latents(of: &Attached, opened: &Opened) -> Result<LatentsReply> {
    let all = glances(opened, of)?;
    let r = |value: Option<f64>| value.map(|r| rounded(r as f32));
    Ok(LatentsReply {
        tokens: opened.counted(),
        active: all.iter().map(|g| g.active).collect(),
        most: all.iter().map(|g| rounded(g.most)).collect(),
        score: all.iter().map(|g| r(g.score)).collect(),
        null: all.iter().map(|g| r(g.null)).collect(),
    })
}

/// The words of these latents; none for those that have none.
///
/// # Errors
/// If there is no such latent, or the atlas is not this dictionary's or cannot be read.
pub fn latent_words(of: &Attached, opened: &Opened, latents: &[u32]) -> Result<Vec<Option<Words>>> {
    check_dictionary(opened, of)?;
    if let Some(why) = latents.iter().find_map(|latent| of.lacks(*latent)) {
        return Err(Error::Absent(why));
    }
    let atlas = opened.atlas();
    let words = |&latent: &u32| chosen(&atlas, of.site, latent, Polarity::Positive);
    latents.iter().map(|latent| Ok(words(latent)?.map(|(_, words)| words))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        let kept = [0.0, 1234.567, -0.000_123_456, 9.999_96, f32::INFINITY].map(rounded);
        assert_eq!(kept, [0.0, 1235.0, -0.000_123_5, 10.0, 0.0]);
    }

    #[test]
    fn the_median_is_a_value_that_is_there() {
        assert_eq!(median([3.0, 1.0, 2.0, 10.0].into_iter()), Some(2.0));
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn a_card_is_read_as_far_as_it_goes() {
        let text = r#"{"model": "m", "run": {"model_hash": "ab", "scale": 0.1}, "judged": {"l0": 32.0, "silent": null}}"#;
        let card = DictionaryCard::read(text).unwrap();
        assert_eq!((card.model.as_deref(), card.model_hash.as_deref()), (Some("m"), Some("ab")));
        assert_eq!((card.l0, card.silent, card.explained_variance), (Some(32.0), None, None));
        assert_eq!(DictionaryCard::read("{}"), Ok(DictionaryCard::default()));
        assert!(DictionaryCard::read("[1]").is_err() && DictionaryCard::read(r#"{"judged": 3}"#).is_err());
    }

    #[test]
    fn a_path_with_a_space_is_one_word_of_a_command() {
        assert_eq!(quoted("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(quoted("/my own/it's"), "'/my own/it'\\''s'");
    }
}
