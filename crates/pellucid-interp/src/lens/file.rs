//! A fitted lens: for each depth of the stream an affine map to a later one, and the file it is kept in.
//!
//! The file is safetensors: `SITE.weight` `(d_model, d_model)`, rows of outputs, and `SITE.bias` `(d_model)`, f32; the header's
//! metadata holds the [`Card`] as JSON under `card`. Files are untrusted: names, shapes, numbers and the card are checked.

use crate::error::tensor;
use crate::stream::{depth_of, matrix};
use crate::{Error, Result};
use pellucid_core::Site;
use pellucid_model::{Model, Tensor, with_numbers};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// How the maps were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Ridge regression of the later stream.
    Tuned,
    /// The later stream's mean derivative.
    Jacobian,
}

/// What a lens was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// How.
    pub kind: Kind,
    /// SHA-256 of the model's weights.
    pub model: String,
    /// Where the maps lead.
    pub to: Site,
    /// Id of the corpus slice.
    pub corpus: String,
    /// Tokens that were fitted on: those of the train split, first tokens of windows left out.
    pub tokens: usize,
    /// Tokens of a window.
    pub window: usize,
    /// What is added to the covariance's diagonal, relative to it; none for a Jacobian.
    pub ridge: Option<f64>,
    /// Of the choice of text and of probes.
    pub seed: u64,
    /// Version of the program.
    pub code: String,
}

/// An affine map of the stream: `x ↦ W x + b`.
#[derive(Clone, Debug)]
pub struct Map {
    /// Where it begins.
    pub from: Site,
    /// `W`, `(d_model, d_model)`, rows of outputs.
    pub weight: Tensor,
    /// `b`.
    pub bias: Vec<f32>,
}

/// Maps of several depths to one later one.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// What it was made from.
    pub card: Card,
    maps: BTreeMap<usize, Map>,
}

impl Fitted {
    /// From maps of the stream between blocks.
    pub fn new(card: Card, maps: Vec<Map>) -> Self {
        let maps = maps.into_iter().filter_map(|m| Some((depth_of(m.from)?, m))).collect();
        Fitted { card, maps }
    }

    /// Where maps begin, first layer first.
    pub fn sites(&self) -> impl Iterator<Item = Site> + '_ {
        self.maps.values().map(|m| m.from)
    }

    /// The map from a site; none where there is none.
    pub fn map(&self, from: Site) -> Option<&Map> {
        self.maps.get(&depth_of(from)?)
    }

    /// Stream values `(n, d_model)` of a site, mapped; those of a site without a map as they are.
    ///
    /// # Errors
    /// If the width is another.
    pub fn through(&self, from: Site, x: &Tensor) -> Result<Tensor> {
        let Some(map) = self.map(from) else { return Ok(x.clone()) };
        let bias = matrix(vec![map.bias.clone()])?;
        tensor(map.weight.t().and_then(|w| x.contiguous()?.matmul(&w)).and_then(|y| y.broadcast_add(&bias)))
    }

    /// One vector of a site, mapped.
    ///
    /// # Errors
    /// As [`Fitted::through`].
    pub fn vector(&self, from: Site, x: Vec<f32>) -> Result<Vec<f32>> {
        let mapped = self.through(from, &matrix(vec![x])?)?;
        Ok(with_numbers(&mapped, <[f32]>::to_vec)?)
    }

    /// Refuses a lens of another model.
    ///
    /// # Errors
    /// If the hash of the weights is another.
    pub fn check(&self, model: &Model) -> Result<()> {
        if self.card.model == model.sha256() {
            return Ok(());
        }
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        Err(Error::Request(format!(
            "the lens was made for the model {}…, and this one is {}…; fit another with `pellucid lens --fit FILE`",
            short(&self.card.model),
            short(model.sha256())
        )))
    }

    /// As [`Fitted::check`]; also that the maps lead to the final stream, so that the unembedding can read them.
    ///
    /// # Errors
    /// If one is not so.
    pub fn check_final(&self, model: &Model) -> Result<()> {
        self.check(model)?;
        let last = model.spec().n_layers;
        if depth_of(self.card.to) == Some(last) {
            return Ok(());
        }
        let (found, want) = (self.card.to, crate::stream::site_at(last));
        Err(Error::Request(format!("the lens leads to {found}, and only one to {want} can be read as words")))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let fault =
            |e: &dyn std::fmt::Display| Error::Request(format!("cannot write {}: {e}", path.display()));
        let mut parts: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for map in self.maps.values() {
            let bytes = |v: &[f32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
            let d = map.bias.len();
            let weight = with_numbers(&map.weight, bytes)?;
            parts.push((format!("{}.weight", map.from), vec![d, d], weight));
            parts.push((format!("{}.bias", map.from), vec![d], bytes(&map.bias)));
        }
        let mut views = Vec::new();
        for (name, shape, bytes) in &parts {
            views.push((name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|e| fault(&e))?));
        }
        let card = serde_json::to_string(&self.card).map_err(|e| fault(&e))?;
        let header = HashMap::from([("card".to_owned(), card)]);
        let all = safetensors::serialize(views, Some(header)).map_err(|e| fault(&e))?;
        let beside = path.with_extension("part");
        std::fs::write(&beside, all).map_err(|e| fault(&e))?;
        std::fs::rename(&beside, path).map_err(|e| fault(&e))
    }

    /// Reads a file and checks it against the model.
    ///
    /// # Errors
    /// If it is no lens, or one of another model.
    pub fn load(path: &Path, model: &Model) -> Result<Self> {
        let fault = |why: &str| Error::Request(format!("{} is no lens: {why}", path.display()));
        let bytes = std::fs::read(path)
            .map_err(|e| Error::Request(format!("cannot read {}: {e}", path.display())))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| fault(&e.to_string()))?;
        let card = header.metadata().as_ref().and_then(|m| m.get("card"));
        let card =
            card.ok_or_else(|| fault("its header has no card; `pellucid lens --fit FILE` writes one"))?;
        let card: Card = serde_json::from_str(card).map_err(|e| fault(&e.to_string()))?;
        let empty = Fitted { card, maps: BTreeMap::new() };
        empty.check(model)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| fault(&e.to_string()))?;
        let mut maps = BTreeMap::new();
        for name in file.names() {
            let Some(from) = name.strip_suffix(".weight") else { continue };
            let from: Site = from.parse().map_err(|e: pellucid_core::NameError| fault(&e.to_string()))?;
            let end = depth_of(empty.card.to).unwrap_or(0).min(model.spec().n_layers);
            let depth = depth_of(from).filter(|d| *d < end);
            let depth =
                depth.ok_or_else(|| fault(&format!("{from} is no place before {}", empty.card.to)))?;
            let d = model.spec().d_model;
            let numbers = |name: &str, shape: &[usize]| floats(&file, name, shape).map_err(|e| fault(&e));
            let weight = numbers(name, &[d, d])?;
            let weight = tensor(Tensor::from_vec(weight, (d, d), &pellucid_model::CPU))?;
            let bias = numbers(&format!("{from}.bias"), &[d])?;
            maps.insert(depth, Map { from, weight, bias });
        }
        if maps.is_empty() {
            return Err(fault("it holds no map"));
        }
        Ok(Fitted { maps, ..empty })
    }
}

/// A tensor of this shape, of finite numbers.
fn floats(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> std::result::Result<Vec<f32>, String> {
    let view = file.tensor(name).map_err(|_| format!("it has no tensor `{name}`"))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        let (found, kind) = (view.shape(), view.dtype());
        return Err(format!("`{name}` is {found:?} of {kind:?}, expected {shape:?} of F32"));
    }
    let values: Vec<f32> =
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if values.iter().any(|v| !v.is_finite()) {
        return Err(format!("`{name}` holds a number that is not finite"));
    }
    Ok(values)
}
