//! Comparing a model with a reference dump: every point, the logits, and gradients.
//!
//! A dump is a safetensors file with `tokens`, a tensor for each site under its name, and gradients under
//! `grad/SITE` for the metric `logits[last, y] − mean(logits[last])` and `grad_foil/SITE` for
//! `logits[p, y] − logits[p, foil]`; `fixtures/README.md` defines each key. The error of a tensor is its
//! largest absolute difference over the largest absolute expected value, so a wrong scale shows.

use crate::ops::with_slice;
use crate::{Batch, Error, Logits, Model, Plan, Record, Result, Row, Rules, Tensor};
use candle_core::{DType, Device};
use pellucid_core::Site;
use std::collections::BTreeMap;
use std::path::Path;

/// A reference to compare with.
#[derive(Debug)]
pub struct Dump {
    tensors: BTreeMap<String, Tensor>,
    target: u32,
    foil: u32,
    foil_position: usize,
}

/// How far one tensor is from its reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// The dump's key: a site, or a gradient of one.
    pub key: String,
    /// Largest absolute difference over the largest absolute expected value.
    pub error: f32,
}

impl Dump {
    /// Reads `dump.safetensors` and `dump.json` of a folder.
    ///
    /// # Errors
    /// If a file is missing or malformed.
    pub fn read(folder: &Path) -> Result<Self> {
        let tensors: BTreeMap<String, Tensor> =
            candle_core::safetensors::load(folder.join("dump.safetensors"), &Device::Cpu)?
                .into_iter()
                .collect();
        let bad = |what: &str| Error::Request(format!("the dump in {} has no {what}", folder.display()));
        let text = std::fs::read_to_string(folder.join("dump.json")).map_err(|_| bad("dump.json"))?;
        let notes: serde_json::Value = serde_json::from_str(&text).map_err(|_| bad("valid dump.json"))?;
        let number = |key: &str| notes.get(key).and_then(serde_json::Value::as_u64).ok_or_else(|| bad(key));
        Ok(Dump {
            tensors,
            target: number("y")? as u32,
            foil: number("foil")? as u32,
            foil_position: number("foil_position")? as usize,
        })
    }

    fn tokens(&self) -> Result<Vec<u32>> {
        let missing = || Error::Request("the dump has no tokens".to_owned());
        let tokens = self.tensors.get("tokens").ok_or_else(missing)?;
        Ok(tokens.to_dtype(DType::I64)?.to_vec1::<i64>()?.into_iter().map(|t| t as u32).collect())
    }

    /// Runs `model` on the dump's tokens and compares everything the dump holds.
    ///
    /// # Errors
    /// If the model lacks a site of the dump, or the dump lacks a site of the model.
    pub fn compare(&self, model: &Model) -> Result<Vec<Gap>> {
        let batch = Batch::one(Row::new(self.tokens()?));
        let sites = model.spec().sites();
        for site in &sites {
            if !self.tensors.contains_key(&site.to_string()) {
                return Err(Error::Request(format!("the dump has no {site}")));
            }
        }
        let mut record = Record::new(sites.iter().copied());
        model.forward(&batch, &mut record)?;
        let mut gaps = Vec::new();
        for site in &sites {
            gaps.push(self.gap(&site.to_string(), &masked(&record.value(*site)?, &record, *site, model)?)?);
        }
        gaps.extend(self.gradients(model, &batch)?);
        Ok(gaps)
    }

    fn gap(&self, key: &str, found: &Tensor) -> Result<Gap> {
        let missing = || Error::Request(format!("the dump has no {key}"));
        let expected = self.tensors.get(key).ok_or_else(missing)?;
        Ok(Gap { key: key.to_owned(), error: relative_error(found, expected)? })
    }

    fn gradients(&self, model: &Model, batch: &Batch) -> Result<Vec<Gap>> {
        let last = batch.tokens() - 1;
        let vocabulary = model.spec().vocabulary;
        let mut mean = vec![-1.0 / vocabulary as f32; vocabulary];
        mean[self.target as usize] += 1.0;
        let mut foil = vec![0.0; vocabulary];
        foil[self.target as usize] += 1.0;
        foil[self.foil as usize] -= 1.0;
        let mut gaps = Vec::new();
        for (kind, token, seed) in [("grad", last, mean), ("grad_foil", self.foil_position, foil)] {
            let keys: Vec<&String> =
                self.tensors.keys().filter(|k| k.starts_with(&format!("{kind}/"))).collect();
            let sites: Vec<Site> =
                keys.iter().map(|k| k[kind.len() + 1..].parse()).collect::<Result<_, _>>()?;
            let mut record = Record::with_gradients(sites.iter().copied());
            let plan = Plan { logits: Logits::At(vec![token]), start: None, stop_after: None };
            let (_, trace) = model.trace(batch, &plan, &mut record)?;
            let seed = Tensor::from_vec(seed, (1, vocabulary), &Device::Cpu)?;
            model.backward(trace, &seed, Rules::EXACT, &mut record)?;
            for (key, site) in keys.iter().zip(sites) {
                gaps.push(self.gap(key, &record.gradient(site)?)?);
            }
        }
        Ok(gaps)
    }
}

/// Scores with the entries that the mask forbids set to 0, as dumps hold them; other points unchanged.
fn masked(x: &Tensor, record: &Record, site: Site, model: &Model) -> Result<Tensor> {
    if site.point != pellucid_core::Point::AttnScores {
        return Ok(x.clone());
    }
    // probabilities are positive exactly where a query may look (up to underflow, where scores matter little)
    let window = model.spec().attention[site.layer as usize].window;
    let (heads, queries, keys) = record.parts(site)[0].dims3()?;
    let may_see = (0..heads * queries).flat_map(|row| {
        let query = row % queries;
        (0..keys).map(move |key| f32::from(key <= query && window.is_none_or(|w| query - key < w)))
    });
    let mask = Tensor::from_vec(may_see.collect::<Vec<f32>>(), (heads, queries, keys), &Device::Cpu)?;
    Ok((x * mask)?)
}

/// Largest absolute difference over the largest absolute expected value.
///
/// # Errors
/// If the shapes differ.
pub fn relative_error(found: &Tensor, expected: &Tensor) -> Result<f32> {
    if found.dims() != expected.dims() {
        let (f, e) = (found.dims(), expected.dims());
        return Err(Error::Request(format!("shape {f:?} was found and {e:?} expected")));
    }
    let expected = expected.to_dtype(DType::F32)?;
    with_slice(found, |found| {
        with_slice(&expected, |expected| {
            let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            let worst = found.iter().zip(expected).fold(0f32, |m, (a, b)| {
                let gap = (a - b).abs();
                if gap.is_nan() { f32::INFINITY } else { m.max(gap) }
            });
            if scale == 0.0 { worst } else { worst / scale }
        })
    })?
}
