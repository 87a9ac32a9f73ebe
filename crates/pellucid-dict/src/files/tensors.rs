//! A safetensors file as named lists of f32, and a JSON configuration beside it.

use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The bytes of a safetensors file, with what to say of it in an error.
pub(crate) struct Tensors {
    bytes: Vec<u8>,
    path: PathBuf,
    format: &'static str,
}

impl Tensors {
    pub(crate) fn open(path: PathBuf, format: &'static str) -> Result<Self> {
        let bytes = read(&path)?;
        let file = Tensors { bytes, path, format };
        file.parsed()?;
        Ok(file)
    }

    fn parsed(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes).map_err(|e| malformed(self.format, &self.path, e))
    }

    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.parsed()?.tensor(name).is_ok())
    }

    /// A tensor's shape; it must have this many dimensions.
    pub(crate) fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let file = self.parsed()?;
        let tensor = file.tensor(name).map_err(|_| self.missing(name, &file))?;
        <[usize; N]>::try_from(tensor.shape()).map_err(|_| Error::Malformed {
            format: self.format,
            why: format!("tensor `{name}` has shape {:?} and must have {N} dimensions", tensor.shape()),
            path: self.path.clone(),
        })
    }

    /// A tensor of this shape, as f32.
    pub(crate) fn get(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        let file = self.parsed()?;
        let tensor = file.tensor(name).map_err(|_| self.missing(name, &file))?;
        if tensor.shape() != expected {
            return Err(Error::Extents {
                name: name.to_owned(),
                expected: expected.to_vec(),
                found: tensor.shape().to_vec(),
                path: self.path.clone(),
            });
        }
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => {
                Ok(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
            }
            Dtype::F16 => {
                Ok(data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
            }
            Dtype::BF16 => {
                Ok(data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
            }
            other => Err(Error::Unsupported {
                what: format!("tensor `{name}` of type {other:?}"),
                instead: "F32, F16 or BF16 is read".to_owned(),
                path: self.path.clone(),
            }),
        }
    }

    fn missing(&self, name: &str, file: &SafeTensors<'_>) -> Error {
        let mut found = file.names();
        found.sort_unstable();
        Error::Missing {
            name: name.to_owned(),
            format: self.format,
            found: found.join(", "),
            path: self.path.clone(),
        }
    }
}

/// Writes named f32 tensors; the file is complete or the old one.
pub(crate) fn write(path: &Path, format: &'static str, tensors: &[(&str, Vec<usize>, &[f32])]) -> Result<()> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let mut views = Vec::new();
    for ((name, shape, _), bytes) in tensors.iter().zip(&bytes) {
        let view =
            TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|e| malformed(format, path, e))?;
        views.push((*name, view));
    }
    let all = safetensors::serialize(views, None).map_err(|e| malformed(format, path, e))?;
    put(path, &all)
}

/// Writes beside and renames.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let fault = |action, source| Error::File { action, path: path.to_owned(), source };
    let beside = path.with_extension("part");
    fs::write(&beside, bytes).map_err(|e| fault("write", e))?;
    fs::rename(&beside, path).map_err(|e| fault("put in place", e))
}

pub(crate) fn make_folder(path: &Path) -> Result<()> {
    let fault = |source| Error::File { action: "make the folder", path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(fault)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })
}

pub(crate) fn malformed(format: &'static str, path: &Path, why: impl ToString) -> Error {
    Error::Malformed { format, why: why.to_string(), path: path.to_owned() }
}

/// A configuration's fields.
pub(crate) struct Fields {
    map: Map<String, Value>,
    path: PathBuf,
    format: &'static str,
}

impl Fields {
    pub(crate) fn open(path: PathBuf, format: &'static str) -> Result<Self> {
        let value: Value = serde_json::from_slice(&read(&path)?).map_err(|e| malformed(format, &path, e))?;
        match value {
            Value::Object(map) => Ok(Fields { map, path, format }),
            _ => Err(malformed(format, &path, "the configuration must be a JSON object")),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// k, wherever it stands: a number or an error that says what was there.
    pub(crate) fn count(&self, name: &str, value: Option<&Value>) -> Result<usize> {
        let number = value.and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let found = value.map_or("nothing".to_owned(), Value::to_string);
        number.ok_or_else(|| {
            malformed(self.format, &self.path, format!("`{name}` must be a whole number, found {found}"))
        })
    }

    /// Where the configuration states a number that the tensors also have, they must agree.
    pub(crate) fn agree(&self, name: &str, tensors: usize) -> Result<()> {
        match self.get(name).and_then(Value::as_u64) {
            Some(stated) if stated != tensors as u64 => {
                let why = format!("`{name}` is {stated}, but the tensors say {tensors}");
                Err(malformed(self.format, &self.path, why))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn unsupported(&self, what: String, instead: &str) -> Error {
        Error::Unsupported { what, instead: instead.to_owned(), path: self.path.clone() }
    }
}

/// (rows, columns) to (columns, rows).
pub(crate) fn turned(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|j| (0..rows).map(move |i| values[i * columns + j])).collect()
}
