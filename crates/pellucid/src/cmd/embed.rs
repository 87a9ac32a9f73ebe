//! `pellucid embed`: makes the archive of the model that comes with the program (`cargo xtask embed` calls it).
//!
//! Everything is made from text in the public domain, generated text, and seeds. Weights are rounded to bf16 before anything is measured
//! on them, so what the atlas says is of the very model that is shipped.

use super::dict::judge::judge;
use super::dict::recipe::Recipe;
use super::dict::text::Text;
use super::dict::train::{Card, Settings, train};
use super::train::Plan as ModelPlan;
use crate::atlas::build::{Plan as AtlasPlan, all_neurons, build, corpus_of};
use crate::atlas::describe::describe;
use crate::default_corpus;
use crate::embedded::{DICTIONARY, FOLDERS};
use crate::models::{Dtype, Loaded, StorageArgs};
use crate::show::Out;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use half::bf16;
use indicatif::HumanBytes;
use pellucid::core::{Point, Seed, Site, Split};
use pellucid::scope::{default_path, latents_path};
use pellucid::store::Window;
use pellucid::store::corpus::{Options, Slice};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The archive to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A folder for what is made on the way; the same command goes on from there.
    #[arg(long, value_name = "FOLDER")]
    work: PathBuf,
    /// Files of text that may be given away; by default those of the default corpus that may.
    #[arg(long, value_name = "PATH")]
    corpus: Vec<String>,
    #[command(flatten)]
    model: ModelPlan,
    /// Latents for each neuron.
    #[arg(long, default_value_t = 4, value_name = "N")]
    expansion: usize,
    /// Active latents of a token.
    #[arg(long, default_value_t = 16)]
    k: usize,
    /// Rows of a step of the dictionary's training.
    #[arg(long, default_value_t = 2048, value_name = "N")]
    rows: usize,
    /// Tokens that the atlases are built on.
    #[arg(long, default_value_t = 600_000, value_name = "N")]
    atlas_tokens: u64,
}

/// Sources of the default corpus that nobody holds rights in; what is generated comes with them.
const FREE: [&str; 2] = ["sotu", "moby-dick"];

const SITE: Site = Site { point: Point::MlpAct, layer: 0 };

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let sources = self.sources()?;
        let [learned, model, wide, dictionary, atlases] =
            ["learned", FOLDERS[0], "wide", FOLDERS[1], FOLDERS[2]].map(|name| self.work.join(name));
        let card = self.model.train(&sources, 0, &learned)?;
        round(
            &learned,
            &model,
            "model.safetensors",
            &["tokenizer.json", "tokenizer_config.json", "config.json"],
        )?;
        let mut loaded = load(&model)?;
        let text = self.text(&loaded, &sources)?;
        let settings = Settings {
            site: SITE,
            to: None,
            skip: false,
            window: self.model.context,
            batch: self.rows,
            latents: self.expansion * self.model.neurons,
            recipe: Recipe::TopK { k: self.k },
            rate: None,
            activations: None,
            seed: 0,
            checkpoint: Duration::from_secs(60),
        };
        let mut trained = train(&mut loaded, &text, &settings, &wide)?;
        round(&wide, &dictionary, "sae_weights.safetensors", &["cfg.json"])?;
        let rounded = pellucid::dict::open(&dictionary)?.dictionary;
        trained.judged = judge(&loaded, SITE, &text, &rounded)?;
        write_card(&trained, &dictionary.join("card.json"))?;
        std::fs::create_dir_all(&atlases).with_context(|| format!("cannot make {}", atlases.display()))?;
        self.atlas(&loaded, &sources, &atlases.join(name(&default_path(&loaded))?), None)?;
        crate::dictionaries::attach(&mut loaded, &format!("{DICTIONARY}={}@{SITE}", dictionary.display()))?;
        let path = latents_path(&loaded, loaded.model.dictionary(DICTIONARY)?);
        self.atlas(&loaded, &sources, &atlases.join(name(&path)?), Some(DICTIONARY))?;
        let bytes = pack(&[model, dictionary, atlases], &self.out)?;
        let made = serde_json::json!({ "model": card, "dictionary": trained, "bytes": bytes });
        if !out.json("embed", None, &made)? {
            out.line(format!("{} ({})", self.out.display(), HumanBytes(bytes)))?;
        }
        Ok(())
    }

    fn sources(&self) -> Result<Vec<String>> {
        if !self.corpus.is_empty() {
            return Ok(self.corpus.clone());
        }
        let mut found = Vec::new();
        for folder in default_corpus::or_these(&[])? {
            let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
            for entry in entries {
                let path = entry?.path();
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                if FREE.contains(&stem) || stem.starts_with("generated-") {
                    found.push(path.display().to_string());
                }
            }
        }
        found.sort();
        ensure!(
            found.len() > FREE.len(),
            "the default corpus has no files of {} and generated text",
            FREE.join(", ")
        );
        Ok(found)
    }

    fn text(&self, loaded: &Loaded, sources: &[String]) -> Result<Text> {
        let corpus = corpus_of(loaded, sources, self.model.context, u64::MAX, 0)?;
        let mut text = Text {
            width: self.model.neurons,
            corpus: corpus.id().to_string(),
            train: Vec::new(),
            test: Vec::new(),
        };
        for window in corpus.windows().filter(|w| w.tokens.len() >= 2) {
            match window.split {
                Split::Train => text.train.push(window),
                Split::Test => text.test.push(window),
                Split::Validation => {}
            }
        }
        ensure!(!text.train.is_empty() && !text.test.is_empty(), "there is too little text for a dictionary");
        let drawn = |all: &[Window], n: usize, purpose: &str| -> Vec<Window> {
            Seed(0).for_purpose(purpose).choose(all.len(), n).into_iter().map(|i| all[i].clone()).collect()
        };
        text.train = drawn(&text.train, text.train.len(), "embedded dictionary");
        text.test = drawn(&text.test, 64, "embedded dictionary, test");
        Ok(text)
    }

    fn atlas(&self, loaded: &Loaded, sources: &[String], path: &Path, latents: Option<&str>) -> Result<()> {
        let plan = AtlasPlan {
            sources: sources.to_vec(),
            reading: Options::default(),
            tokens: Some(self.atlas_tokens),
            window: self.model.context.min(64),
            overlap: self.model.context.min(64) / 8,
            sites: all_neurons(loaded),
            latents: latents.map(str::to_owned),
            slice: Slice::ALL,
            seed: 0,
            atlas: path.to_owned(),
            checkpoint: Duration::from_secs(300),
        };
        build(loaded, &plan)?;
        let encoder = crate::atlas::encoder()?;
        describe(loaded, path, 0, None, Some(&encoder))?;
        Ok(())
    }
}

/// The dictionary's card, but for how long it took: the same training makes the same card.
fn write_card(card: &Card, path: &Path) -> Result<()> {
    let mut card = serde_json::to_value(card)?;
    if let Some(fields) = card.as_object_mut() {
        fields.retain(|name, _| !["seconds", "vectors_per_second"].contains(&name.as_str()));
    }
    let text = serde_json::to_string_pretty(&card)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn load(folder: &Path) -> Result<Loaded> {
    let mut loaded =
        crate::models::load(&folder.display().to_string(), StorageArgs::from(Dtype::F32).for_sweep())?;
    // what an atlas says of where it is from is no place of the machine that made it
    loaded.name = crate::embedded::NAME.to_owned();
    Ok(loaded)
}

fn name(path: &Path) -> Result<&str> {
    path.file_name().and_then(|name| name.to_str()).context("an atlas without a name")
}

/// Copies a folder's files, `weights` rounded to bf16.
fn round(from: &Path, to: &Path, weights: &str, beside: &[&str]) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let read = |name: &str| {
        let path = from.join(name);
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = to.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    write(
        weights,
        &rounded(&read(weights)?).with_context(|| format!("in {}", from.join(weights).display()))?,
    )?;
    beside.iter().try_for_each(|name| write(name, &read(name)?))
}

/// A safetensors file of f32 as one of bf16, each number rounded to the nearest, ties to even.
fn rounded(file: &[u8]) -> Result<Vec<u8>> {
    let Some((length, rest)) = file.split_first_chunk::<8>() else { bail!("the file is cut off") };
    let length = u64::from_le_bytes(*length) as usize;
    let (header, numbers) = rest.split_at_checked(length).context("the header is cut off")?;
    let mut header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header)?;
    for (name, tensor) in header.iter_mut().filter(|(name, _)| *name != "__metadata__") {
        ensure!(tensor["dtype"] == "F32", "tensor {name} is {} and not F32", tensor["dtype"]);
        tensor["dtype"] = "BF16".into();
        for i in 0..2 {
            // every tensor before it is half as long as well
            let at =
                tensor["data_offsets"][i].as_u64().with_context(|| format!("tensor {name} has no place"))?;
            tensor["data_offsets"][i] = (at / 2).into();
        }
    }
    let mut text = serde_json::to_vec(&header)?;
    // numbers begin at a multiple of eight
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut made = (text.len() as u64).to_le_bytes().to_vec();
    made.extend(text);
    for four in numbers.as_chunks::<4>().0 {
        made.extend(bf16::from_f32(f32::from_le_bytes(*four)).to_le_bytes());
    }
    Ok(made)
}

/// Writes the folders' files into an archive, under the folders' names; its size.
fn pack(folders: &[PathBuf], to: &Path) -> Result<u64> {
    let file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    let mut archive = ZipWriter::new(file);
    // no times: the same files make the same archive
    let options =
        SimpleFileOptions::default().compression_level(Some(9)).last_modified_time(zip::DateTime::default());
    for folder in folders {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        for path in files {
            archive.start_file(format!("{}/{}", name(folder)?, name(&path)?), options)?;
            archive.write_all(
                &std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?,
            )?;
        }
    }
    Ok(archive.finish()?.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest_and_tensors_keep_their_places() {
        let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header);
        // 1 + 2⁻⁸ lies between two bf16, and the even one is 1; above it, the next one is nearer
        for value in [1.0f32 + 2f32.powi(-8), 1.0 + 1.5 * 2f32.powi(-8), -3.0] {
            file.extend(value.to_le_bytes());
        }
        let made = rounded(&file).unwrap();
        let length = u64::from_le_bytes(made[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&made[8..8 + length]).unwrap();
        assert_eq!(header["b"], serde_json::json!({ "dtype": "BF16", "shape": [1], "data_offsets": [4, 6] }));
        let values: Vec<f32> = made[8 + length..]
            .as_chunks::<2>()
            .0
            .iter()
            .map(|two| f32::from_bits(u32::from(u16::from_le_bytes(*two)) << 16))
            .collect();
        assert_eq!(values, [1.0, 1.0 + 2f32.powi(-7), -3.0]);
        assert!(rounded(&file[..20]).is_err());
    }
}
