//! Named tensors of a file, whatever the container, and a JSON configuration beside them.
//!
//! A container ([safetensors](https://github.com/huggingface/safetensors), npz, torch's `.pt`) only says where in the bytes a
//! tensor lies. All of them become the same list, checked once against the bytes, and are read as f32 here.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What a number is kept as, little-endian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
}

impl Kind {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Kind::F64 | Kind::I64 => 8,
            Kind::F32 | Kind::I32 => 4,
            Kind::F16 | Kind::Bf16 | Kind::I16 => 2,
            Kind::I8 | Kind::U8 => 1,
        }
    }

    /// The number in these bytes, of which there are as many as [`Kind::bytes`] says.
    fn read(self, b: &[u8]) -> f32 {
        match self {
            Kind::F64 => f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32,
            Kind::I64 => i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32,
            Kind::F32 => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            Kind::I32 => i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32,
            Kind::F16 => f16::from_le_bytes([b[0], b[1]]).to_f32(),
            Kind::Bf16 => bf16::from_le_bytes([b[0], b[1]]).to_f32(),
            Kind::I16 => f32::from(i16::from_le_bytes([b[0], b[1]])),
            Kind::I8 => f32::from(b[0] as i8),
            Kind::U8 => f32::from(b[0]),
        }
    }
}

/// Where a tensor lies among the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
    /// Elements from one index of a dimension to the next.
    pub(crate) strides: Vec<usize>,
    /// The byte of its first element.
    pub(crate) at: usize,
}

impl Stored {
    /// One after the other, the last dimension fastest.
    pub(crate) fn in_rows(kind: Kind, shape: Vec<usize>, at: usize) -> Self {
        let mut strides = vec![1usize; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i].saturating_mul(shape[i]);
        }
        Stored { kind, shape, strides, at }
    }

    /// How many numbers it holds; none where that is more than memory could.
    pub(crate) fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
    }

    /// Whether it lies within so many bytes, and repeats none: a stride of 0 could make much of little.
    pub(crate) fn fits(&self, end: usize) -> bool {
        let count = self.count();
        if count == Some(0) {
            return self.at <= end;
        }
        let last = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(0usize, |at, (d, s)| at.checked_add((d - 1).checked_mul(*s)?));
        let bytes = last.and_then(|last| (last.checked_add(1)?).checked_mul(self.kind.bytes()));
        let within = bytes.and_then(|b| b.checked_add(self.at)).is_some_and(|b| b <= end);
        within && last.zip(count).is_some_and(|(last, count)| count <= last + 1)
    }

    fn values(&self, bytes: &[u8]) -> Vec<f32> {
        let (size, count) = (self.kind.bytes(), self.count().unwrap_or(0));
        let rows = Stored::in_rows(self.kind, self.shape.clone(), self.at);
        if self.strides == rows.strides || count == 0 {
            let data = &bytes[self.at..][..count * size];
            return data.chunks_exact(size).map(|b| self.kind.read(b)).collect();
        }
        let mut index = vec![0usize; self.shape.len()];
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let element: usize = index.iter().zip(&self.strides).map(|(i, s)| i * s).sum();
            all.push(self.kind.read(&bytes[self.at + element * size..][..size]));
            for (i, d) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *d {
                    break;
                }
                *i = 0;
            }
        }
        all
    }
}

/// A file's bytes with the tensors in them, and what to say of it in an error.
pub(crate) struct Tensors {
    bytes: Vec<u8>,
    entries: BTreeMap<String, Stored>,
    path: PathBuf,
    format: &'static str,
}

impl Tensors {
    /// A container's tensors, each of which must lie within the bytes.
    pub(crate) fn new(
        bytes: Vec<u8>,
        entries: BTreeMap<String, Stored>,
        path: &Path,
        format: &'static str,
    ) -> Result<Self> {
        match entries.iter().find(|(_, stored)| !stored.fits(bytes.len())) {
            Some((name, stored)) => {
                let why = format!("tensor `{name}` of shape {:?} does not lie within the file", stored.shape);
                Err(malformed(format, path, why))
            }
            None => Ok(Tensors { bytes, entries, path: path.to_owned(), format }),
        }
    }

    /// A safetensors file. Tensors of other types than those read here are left out until one is asked for.
    pub(crate) fn open(path: &Path, format: &'static str) -> Result<Self> {
        let bytes = read(path)?;
        SafeTensors::deserialize(&bytes).map_err(|e| malformed(format, path, e))?;
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| malformed(format, path, e))?;
        let place = |name: String, info: &safetensors::tensor::TensorInfo| {
            let kind = match info.dtype {
                Dtype::F64 => Kind::F64,
                Dtype::F32 => Kind::F32,
                Dtype::F16 => Kind::F16,
                Dtype::BF16 => Kind::Bf16,
                Dtype::I64 => Kind::I64,
                Dtype::I32 => Kind::I32,
                _ => return None,
            };
            Some((name, Stored::in_rows(kind, info.shape.clone(), 8 + header + info.data_offsets.0)))
        };
        let entries = metadata.tensors().into_iter().filter_map(|(name, info)| place(name, info)).collect();
        Tensors::new(bytes, entries, path, format)
    }

    /// The same tensors under other names; of two that would meet, the file is refused.
    pub(crate) fn renamed(mut self, name: impl Fn(&str) -> String) -> Result<Self> {
        let before = self.entries.len();
        self.entries = self.entries.into_iter().map(|(old, stored)| (name(&old), stored)).collect();
        match self.entries.len() == before {
            true => Ok(self),
            false => {
                Err(malformed(self.format, &self.path, "two of its tensors have names that mean the same"))
            }
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    fn entry(&self, name: &str) -> Result<&Stored> {
        self.entries.get(name).ok_or_else(|| Error::Missing {
            name: name.to_owned(),
            format: self.format,
            found: self.entries.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            path: self.path.clone(),
        })
    }

    /// A tensor's shape; it must have this many dimensions.
    pub(crate) fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let shape = &self.entry(name)?.shape;
        <[usize; N]>::try_from(&shape[..]).map_err(|_| {
            let why = format!("tensor `{name}` has shape {shape:?} and must have {N} dimensions");
            malformed(self.format, &self.path, why)
        })
    }

    /// A tensor of this shape, as f32.
    pub(crate) fn get(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        let stored = self.entry(name)?;
        if stored.shape != expected {
            return Err(Error::Extents {
                name: name.to_owned(),
                expected: expected.to_vec(),
                found: stored.shape.clone(),
                path: self.path.clone(),
            });
        }
        Ok(stored.values(&self.bytes))
    }

    /// A tensor of this shape if there is one of that name.
    pub(crate) fn maybe(&self, name: &str, expected: &[usize]) -> Result<Option<Vec<f32>>> {
        self.has(name).then(|| self.get(name, expected)).transpose()
    }

    /// One number, whether it is kept without dimensions or as a list of one.
    pub(crate) fn number(&self, name: &str) -> Result<f32> {
        match self.entry(name)?.shape[..] {
            [1] => Ok(self.get(name, &[1])?[0]),
            _ => Ok(self.get(name, &[])?[0]),
        }
    }

    pub(crate) fn unsupported(&self, what: impl ToString, instead: &str) -> Error {
        Error::Unsupported { what: what.to_string(), instead: instead.to_owned(), path: self.path.clone() }
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

pub(crate) fn make_folder(path: &Path) -> Result<()> {
    let fault = |source| Error::File { action: "make the folder", path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(fault)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
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
    pub(crate) fn new(map: Map<String, Value>, path: &Path, format: &'static str) -> Self {
        Fields { map, path: path.to_owned(), format }
    }

    pub(crate) fn open(path: &Path, format: &'static str) -> Result<Self> {
        let value: Value = serde_json::from_slice(&read(path)?).map_err(|e| malformed(format, path, e))?;
        match value {
            Value::Object(map) => Ok(Fields::new(map, path, format)),
            _ => Err(malformed(format, path, "the configuration must be a JSON object")),
        }
    }

    /// The fields of a field; none of them where it is not there.
    pub(crate) fn part(&self, name: &str) -> Fields {
        let map = self.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        Fields::new(map, &self.path, self.format)
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

    /// A number that must be there.
    pub(crate) fn number(&self, name: &str) -> Result<f32> {
        let value = self.get(name);
        value.and_then(Value::as_f64).map(|v| v as f32).ok_or_else(|| {
            let found = value.map_or("nothing".to_owned(), Value::to_string);
            malformed(self.format, &self.path, format!("`{name}` must be a number, found {found}"))
        })
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

    pub(crate) fn unsupported(&self, what: impl ToString, instead: &str) -> Error {
        Error::Unsupported { what: what.to_string(), instead: instead.to_owned(), path: self.path.clone() }
    }
}

/// (rows, columns) to (columns, rows).
pub(crate) fn turned(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|j| (0..rows).map(move |i| values[i * columns + j])).collect()
}
