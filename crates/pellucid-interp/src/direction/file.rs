//! Directions as files: llama.cpp's control vectors (GGUF with `general.architecture` "controlvector"), which repeng writes too.
//!
//! The file has the keys `controlvector.model_hint` and `controlvector.layer_count` and one F32 tensor `direction.N` of `d_model`
//! numbers for each layer; llama.cpp adds it to the output of block N, our `resid_post.N`. There is no `direction.0` in the format.

use super::Directions;
use crate::{Error, Result};
use pellucid_model::Model;
use pellucid_model::load::gguf::Header;
use std::collections::BTreeMap;
use std::path::Path;

/// Directions by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlVector {
    /// The architecture it was made for.
    pub model_hint: String,
    /// Vectors of equal length; layer 0 cannot be stored.
    pub directions: BTreeMap<usize, Vec<f32>>,
}

const ALIGNMENT: usize = 32;
/// GGUF's numbers for the kinds of values that are written.
const U32: u32 = 4;
const STRING: u32 = 8;
const F32: u32 = 0;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl Directions {
    /// The last position's directions, as llama.cpp adds them; layer 0 has no place in the format and is left out.
    pub fn control_vector(&self, model: &Model) -> ControlVector {
        let last = self.vectors.iter().filter(|((position, layer), _)| *position == -1 && *layer > 0);
        let directions = last.map(|((_, layer), v)| (*layer, v.clone())).collect();
        ControlVector { model_hint: model.spec().architecture.clone(), directions }
    }

    /// Puts a file's directions in the place of those that were found.
    ///
    /// # Errors
    /// If one is of a layer that the model does not have, or of another width.
    pub fn replace(&mut self, model: &Model, by: &ControlVector) -> Result<()> {
        let (layers, d) = (model.spec().n_layers, model.spec().d_model);
        for (layer, vector) in &by.directions {
            if *layer >= layers || vector.len() != d {
                return Err(Error::Request(format!(
                    "direction.{layer} has {} numbers; this model has layers 0 to {} of {d}",
                    vector.len(),
                    layers - 1
                )));
            }
            if vector.iter().any(|v| !v.is_finite()) || vector.iter().all(|v| *v == 0.0) {
                return Err(Error::Request(format!("direction.{layer} is zero or not finite")));
            }
        }
        self.positions = vec![-1];
        self.vectors = by.directions.iter().map(|(layer, v)| ((-1, *layer), v.clone())).collect();
        Ok(())
    }
}

impl ControlVector {
    /// The file's bytes.
    ///
    /// # Errors
    /// If there is no direction, one is of layer 0, or their lengths differ.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let bad = |why: &str| Err(Error::Request(format!("these directions make no control vector: {why}")));
        let Some(width) = self.directions.values().next().map(Vec::len) else {
            return bad("there are none");
        };
        if self.directions.contains_key(&0) {
            return bad("the format has no layer 0");
        }
        if width == 0 || self.directions.values().any(|v| v.len() != width) {
            return bad("they have no common length");
        }
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.directions.len() as u64).to_le_bytes());
        out.extend(3u64.to_le_bytes());
        for (key, value) in
            [("general.architecture", "controlvector"), ("controlvector.model_hint", &self.model_hint)]
        {
            text(&mut out, key);
            out.extend(STRING.to_le_bytes());
            text(&mut out, value);
        }
        text(&mut out, "controlvector.layer_count");
        out.extend(U32.to_le_bytes());
        out.extend((self.directions.len() as u32).to_le_bytes());
        let stride = (width * 4).next_multiple_of(ALIGNMENT);
        for (i, layer) in self.directions.keys().enumerate() {
            text(&mut out, &format!("direction.{layer}"));
            out.extend(1u32.to_le_bytes());
            out.extend((width as u64).to_le_bytes());
            out.extend(F32.to_le_bytes());
            out.extend(((i * stride) as u64).to_le_bytes());
        }
        for vector in self.directions.values() {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(vector.iter().flat_map(|v| v.to_le_bytes()));
        }
        Ok(out)
    }

    /// Reads a file's bytes; `path` is for messages only.
    ///
    /// # Errors
    /// If it is no control vector, or a tensor in it is no direction in F32.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let header = Header::parse(bytes, path).map_err(pellucid_model::Error::from)?;
        let bad = |why: String| Error::Request(format!("{why}, in {}", path.display()));
        let key = |name: &str| header.metadata.str(name).map_err(pellucid_model::Error::from);
        let architecture = key("general.architecture")?;
        if architecture != "controlvector" {
            return Err(bad(format!("expected a control vector, found {architecture:?}")));
        }
        let mut directions = BTreeMap::new();
        for (info, range) in &header.tensors {
            let layer = info.name.strip_prefix("direction.").and_then(|n| n.parse::<usize>().ok());
            let Some(layer) = layer.filter(|l| *l > 0 && info.dtype.name() == "F32") else {
                let (name, dtype) = (&info.name, info.dtype.name());
                return Err(bad(format!(
                    "expected F32 tensors direction.1, direction.2, …, found {dtype} {name:?}"
                )));
            };
            let data =
                bytes.get(range.clone()).ok_or_else(|| bad("a tensor lies outside the file".to_owned()))?;
            let numbers = data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            directions.insert(layer, numbers);
        }
        Ok(ControlVector { model_hint: key("controlvector.model_hint")?.to_owned(), directions })
    }
}
