//! A training run in a file: safetensors with the configuration in its header. A run that is loaded goes on to the same bytes.

use crate::error::{Error, Result};
use crate::trainer::{Config, Trainer};
use pellucid_kernels::rows::finite;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

impl Trainer {
    /// Writes all of the run's state. The file is complete or the old one: it is written beside and renamed.
    pub fn save(&self, path: &Path) -> Result<()> {
        let malformed = |why: String| Error::Malformed { why, path: path.to_owned() };
        let tensors: Vec<(&str, Dtype, Vec<u8>)> = vec![
            ("at", Dtype::F32, bytes(&self.at)),
            ("first", Dtype::F32, bytes(&self.first)),
            ("second", Dtype::F32, bytes(&self.second)),
            ("step", Dtype::U64, self.step.to_le_bytes().to_vec()),
        ];
        let views: std::result::Result<Vec<_>, _> = tensors
            .iter()
            .map(|(name, kind, bytes)| {
                let length = bytes.len() * 8 / kind.bitsize();
                Ok((*name, TensorView::new(*kind, vec![length], bytes)?))
            })
            .collect();
        let views = views.map_err(|e: safetensors::SafeTensorError| malformed(e.to_string()))?;
        let config = serde_json::to_string(&self.config).map_err(|e| malformed(e.to_string()))?;
        let header = HashMap::from([("config".to_owned(), config)]);
        let bytes = safetensors::serialize(views, Some(header)).map_err(|e| malformed(e.to_string()))?;
        put(path, &bytes)
    }

    /// Reads a run back.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes =
            fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })?;
        let malformed = |why: String| Error::Malformed { why, path: path.to_owned() };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| malformed(e.to_string()))?;
        let config = header.metadata().as_ref().and_then(|all| all.get("config"));
        let config = config.ok_or_else(|| malformed("its header has no `config`".to_owned()))?;
        let config: Config = serde_json::from_str(config).map_err(|e| malformed(e.to_string()))?;
        config.check()?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
        let tensor = |name: &str, kind: Dtype, length: usize| {
            let tensor = file.tensor(name).map_err(|e| malformed(e.to_string()))?;
            match tensor.dtype() == kind && tensor.shape() == [length] {
                true => Ok(tensor.data().to_vec()),
                false => Err(malformed(format!(
                    "`{name}` is {:?} {:?} and must be {kind:?} [{length}]",
                    tensor.dtype(),
                    tensor.shape()
                ))),
            }
        };
        let floats = |name: &str| -> Result<Vec<f32>> {
            let bytes = tensor(name, Dtype::F32, config.shape.parameters())?;
            let values: Vec<f32> =
                bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
            match finite(&values) {
                true => Ok(values),
                false => Err(malformed(format!("`{name}` holds a number that is not finite"))),
            }
        };
        let (at, first, second) = (floats("at")?, floats("first")?, floats("second")?);
        let step = tensor("step", Dtype::U64, 1)?;
        let step = step.first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight));
        Ok(Trainer { config, at, first, second, step })
    }
}

/// Little endian.
pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Writes a file whole, or leaves what was there.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let fault = |action, source| Error::File { action, path: path.to_owned(), source };
    let beside = path.with_extension("part");
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // half of it is of no use, and its room may be what is missing
        let _ = fs::remove_file(&beside);
        return Err(fault("write", error));
    }
    fs::rename(&beside, path).map_err(|e| fault("put in place", e))
}
