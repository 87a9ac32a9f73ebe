//! A training run in a file: safetensors with the configuration in its header. A run that is loaded goes on to the same bytes.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Result, expect_finite, expect_length};
use crate::files::put;
use crate::train::config::Config;
use crate::train::trainer::{Parameters, Room, Trainer};

const FORMAT: &str = "training checkpoint";

impl Trainer {
    /// Writes all of the run's state. The file is complete or the old one: it is written beside and renamed.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors: Vec<(String, Dtype, Vec<u8>)> = Vec::new();
        for (name, part) in [("at", &self.at), ("first", &self.first), ("second", &self.second)] {
            // what a recipe does not have is not written, so its files are what they were before others had it
            for (field, values) in part.fields().into_iter().filter(|(_, values)| !values.is_empty()) {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                tensors.push((format!("{name}.{field}"), Dtype::F32, bytes));
            }
        }
        let idle = self.idle.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensors.push(("idle".to_owned(), Dtype::U64, idle));
        tensors.push(("step".to_owned(), Dtype::U64, self.step.to_le_bytes().to_vec()));
        tensors.push(("threshold".to_owned(), Dtype::F32, self.threshold.to_le_bytes().to_vec()));
        let malformed = |why: String| Error::Malformed { format: FORMAT, why, path: path.to_owned() };
        let config = serde_json::to_string(&self.config).map_err(|e| malformed(e.to_string()))?;
        let mut views = Vec::new();
        for (name, kind, bytes) in &tensors {
            let length = bytes.len() * 8 / kind.bitsize();
            let view = TensorView::new(*kind, vec![length], bytes).map_err(|e| malformed(e.to_string()))?;
            views.push((name.as_str(), view));
        }
        let header = HashMap::from([("config".to_owned(), config)]);
        let bytes = safetensors::serialize(views, Some(header)).map_err(|e| malformed(e.to_string()))?;
        put(path, &bytes)
    }

    /// Reads a run back.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes =
            fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })?;
        let malformed = |why: String| Error::Malformed { format: FORMAT, why, path: path.to_owned() };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| malformed(e.to_string()))?;
        let config = header.metadata().as_ref().and_then(|all| all.get("config"));
        let config = config.ok_or_else(|| malformed("its header has no `config`".to_owned()))?;
        let config: Config = serde_json::from_str(config).map_err(|e| malformed(e.to_string()))?;
        config.check()?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
        let tensor = |name: &str, kind: Dtype| {
            let tensor = file.tensor(name).map_err(|e| malformed(e.to_string()))?;
            match tensor.dtype() == kind {
                true => Ok(tensor.data().to_vec()),
                false => {
                    Err(malformed(format!("tensor `{name}` is {:?} and must be {kind:?}", tensor.dtype())))
                }
            }
        };
        let floats = |name: &str| -> Result<Vec<f32>> { Ok(narrow(&tensor(name, Dtype::F32)?)) };
        let lengths = Parameters::lengths(&config);
        let part = |name: &str| -> Result<Parameters> {
            let mut part = Parameters::default();
            for ((field, values), length) in part.fields_mut().into_iter().zip(lengths) {
                if length > 0 {
                    *values = floats(&format!("{name}.{field}"))?;
                }
            }
            Ok(part)
        };
        let (at, first, second) = (part("at")?, part("first")?, part("second")?);
        let (idle, step) = (wide(&tensor("idle", Dtype::U64)?), wide(&tensor("step", Dtype::U64)?));
        let threshold = floats("threshold")?;
        expect_length("the checkpoint's step", 1, step.len())?;
        expect_length("the checkpoint's threshold", 1, threshold.len())?;
        let (step, threshold, room) = (step[0], threshold[0], Room::default());
        let trainer = Trainer { config, at, first, second, step, idle, threshold, room };
        trainer.check()?;
        Ok(trainer)
    }

    fn check(&self) -> Result<()> {
        let shape = self.config.shape;
        let lengths = Parameters::lengths(&self.config);
        for part in [&self.at, &self.first, &self.second] {
            for ((name, values), length) in part.fields().into_iter().zip(lengths) {
                expect_length(&format!("the checkpoint's {name}"), length, values.len())?;
                expect_finite(&format!("the checkpoint's {name}"), values)?;
            }
        }
        expect_length("the checkpoint's idle", shape.latents, self.idle.len())
    }
}

fn narrow(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn wide(bytes: &[u8]) -> Vec<u64> {
    let eight = |b: &[u8]| b.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    bytes.chunks_exact(8).map(eight).collect()
}
