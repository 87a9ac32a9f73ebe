//! From what a user says (`--model X`) to an opened, checked, memory-mapped checkpoint.
//!
//! [`Checkpoint::resolve`] finds or fetches the files; [`Checkpoint::open`] checks every header before
//! anything is read from it; [`Checkpoint::tensor`] converts one tensor at a time. Nothing here knows which
//! tensors a model needs.
//!
//! Files are untrusted: a hostile one yields a [`LoadError`], never a panic, a read outside the file, or an
//! allocation that its own length does not justify (about 12 bytes per byte, for 2-bit blocks read as `F32`).

mod cache;
mod decode;
mod directory;
mod error;
pub mod gguf;
#[cfg(feature = "hub")]
mod hub;
mod map;
mod memory;
pub mod named;
mod rewrite;
pub mod safetensors;
mod source;
mod weight;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use serde_json::Value;

pub use cache::cache_dir;
pub use error::LoadError;
pub use memory::available_memory;
pub use source::{Progress, Stage};
pub use weight::{TensorInfo, WeightType};

use directory::SideFiles;
use map::Map;

/// The two families of weight files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// llama.cpp's single file: hyperparameters, vocabulary and weights.
    Gguf,
    /// Hugging Face's weights, with `config.json` and `tokenizer.json` beside them.
    Safetensors,
}

/// An opened checkpoint. Immutable; holds the maps of its weight files.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    format: Format,
    files: Vec<WeightFile>,
    tensors: Vec<TensorInfo>,
    /// For each of `tensors`, its file and byte range.
    places: Vec<(usize, Range<usize>)>,
    index: HashMap<String, usize>,
    gguf: Option<gguf::Metadata>,
    side: SideFiles,
    hash: OnceLock<String>,
}

#[derive(Debug)]
struct WeightFile {
    path: PathBuf,
    map: Map,
}

impl Checkpoint {
    /// Opens a `.gguf` file, a `.safetensors` file with `config.json` beside it, or a directory with
    /// `config.json` and `*.safetensors` (whole or in shards listed by `model.safetensors.index.json`), or
    /// with one `.gguf`.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        directory::open(path)
    }

    /// Turns what the user said into a path that [`Checkpoint::open`] takes: the name of a model in
    /// [`named::MODELS`], else an existing path, else a hub name `org/name`, `org/name@revision` or
    /// `org/name:file.gguf`. Fetches what is not yet in the cache and reports progress meanwhile.
    pub fn resolve(name_or_path: &str, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, LoadError> {
        source::resolve(name_or_path, progress)
    }

    /// The family of the weight files.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What was opened: a file or a directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.json`; `None` for GGUF.
    #[must_use]
    pub fn config(&self) -> Option<&Value> {
        self.side.config.as_ref()
    }

    /// The GGUF keys; `None` for safetensors.
    #[must_use]
    pub fn gguf(&self) -> Option<&gguf::Metadata> {
        self.gguf.as_ref()
    }

    /// The bytes of `tokenizer.json`, if there is one; always `None` for GGUF, which holds its own
    /// vocabulary.
    #[must_use]
    pub fn tokenizer_json(&self) -> Option<&[u8]> {
        self.side.tokenizer.as_deref()
    }

    /// `tokenizer_config.json`, with `chat_template.jinja` put in as its `chat_template`.
    #[must_use]
    pub fn tokenizer_config(&self) -> Option<&Value> {
        self.side.tokenizer_config.as_ref()
    }

    /// `generation_config.json`.
    #[must_use]
    pub fn generation_config(&self) -> Option<&Value> {
        self.side.generation_config.as_ref()
    }

    /// Tensor names in the order of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|info| info.name.as_str())
    }

    /// What the header says of every tensor, in the order of the files.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// What the header says of one tensor.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).and_then(|at| self.tensors.get(*at))
    }

    /// One tensor on the CPU, in its [`TensorInfo::shape`], dequantised or converted to `dtype` (`F32`, `F16`
    /// or `BF16`, rounded to nearest). Bit-exact when the file holds that type already.
    pub fn tensor(&self, name: &str, dtype: DType) -> Result<Tensor, LoadError> {
        let (info, bytes) = self.find(name)?;
        if !info.dtype.is_supported() {
            return Err(LoadError::UnsupportedType {
                name: name.into(),
                found: info.dtype.name().into(),
                path: self.path.as_path().into(),
            });
        }
        decode::tensor(name, info.dtype, bytes, &info.shape, dtype)
    }

    /// Some of a matrix's rows, `(rows, width)`; else as [`Checkpoint::tensor`]. None if it is no matrix, has fewer rows, or its
    /// rows do not begin with a block.
    pub(crate) fn rows(
        &self,
        name: &str,
        rows: Range<usize>,
        dtype: DType,
    ) -> Result<Option<Tensor>, LoadError> {
        let (info, bytes) = self.find(name)?;
        let &[all, width] = info.shape.as_slice() else { return Ok(None) };
        let (weights, size) = (info.dtype.block_len(), info.dtype.block_bytes());
        let row = width / weights.max(1) * size;
        let whole = info.dtype.is_supported() && width.is_multiple_of(weights) && rows.end <= all;
        match bytes.get(rows.start * row..rows.end * row) {
            Some(bytes) if whole => {
                decode::tensor(name, info.dtype, bytes, &[rows.len(), width], dtype).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The stored bytes of one tensor.
    pub fn raw(&self, name: &str) -> Result<&[u8], LoadError> {
        self.find(name).map(|(_, bytes)| bytes)
    }

    /// Drops the vocabulary of a GGUF's header, which a tokenizer holds once it is made.
    pub(crate) fn forget_vocabulary(&mut self) {
        if let Some(metadata) = &mut self.gguf {
            metadata
                .forget(&["tokens", "merges", "scores", "token_type"].map(|n| format!("tokenizer.ggml.{n}")));
        }
    }

    /// Lets the system take back the memory of what has been read of the files; what is read again is fetched again.
    pub(crate) fn forget(&self) {
        self.files.iter().for_each(|file| file.map.forget(&file.map));
    }

    /// Elements in all tensors. A tied output matrix is stored, and counted, once.
    #[must_use]
    pub fn parameter_count(&self) -> u64 {
        self.tensors.iter().map(|info| info.elements() as u64).sum()
    }

    /// Bytes that all tensors take once converted to `dtype`: the memory a load needs, known from the headers
    /// alone.
    #[must_use]
    pub fn bytes_as(&self, dtype: DType) -> u64 {
        self.parameter_count().saturating_mul(dtype.size_in_bytes() as u64)
    }

    /// The sha256 of the weight file; of several, the hash of their sorted `name hash` lines. Kept in
    /// [`cache_dir`].
    pub fn sha256(&self) -> Result<String, LoadError> {
        if let Some(known) = self.hash.get() {
            return Ok(known.clone());
        }
        let hash = self.hash_files(&cache_dir())?;
        Ok(self.hash.get_or_init(|| hash).clone())
    }

    fn hash_files(&self, cache: &Path) -> Result<String, LoadError> {
        let hash = |file: &WeightFile| cache::cached_sha256(&file.path, &file.map, cache);
        if let [file] = self.files.as_slice() {
            return hash(file);
        }
        let line = |file: &WeightFile| -> Result<String, LoadError> {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(format!("{name} {}\n", hash(file)?))
        };
        let mut lines = self.files.par_iter().map(line).collect::<Result<Vec<_>, _>>()?;
        lines.sort();
        Ok(cache::sha256(lines.concat().as_bytes()))
    }

    fn find(&self, name: &str) -> Result<(&TensorInfo, &[u8]), LoadError> {
        let found = self.index.get(name).and_then(|at| {
            let (file, range) = self.places.get(*at)?;
            Some((self.tensors.get(*at)?, self.files.get(*file)?.map.get(range.clone())?))
        });
        found.ok_or_else(|| LoadError::MissingTensor {
            name: name.into(),
            nearest: self.nearest(name).into(),
            path: self.path.as_path().into(),
        })
    }

    /// The stored name that shares the longest beginning and end with `name`.
    fn nearest(&self, name: &str) -> &str {
        let alike = |other: &str| {
            let head = name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
            let tail = name.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
            head + tail
        };
        self.names().max_by_key(|other| alike(other)).unwrap_or_default()
    }

    /// Puts the parsed headers of one or more files together; `files` and `headers` are parallel.
    fn assemble(
        path: &Path,
        format: Format,
        files: Vec<WeightFile>,
        headers: Vec<Vec<(TensorInfo, Range<usize>)>>,
    ) -> Result<Self, LoadError> {
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        let mut index = HashMap::new();
        for (file, header) in headers.into_iter().enumerate() {
            for (info, range) in header {
                if let Some(first) = index.insert(info.name.clone(), tensors.len()) {
                    let other: Option<&(usize, Range<usize>)> = places.get(first);
                    let other = other.and_then(|(file, _)| files.get(*file)).map(|file| file.path.display());
                    let found = other.map_or_else(String::new, |other| format!("another in {other}"));
                    let path = files.get(file).map_or(path, |file| &file.path);
                    return Err(LoadError::tensor(&info.name, "one tensor of that name", found, path));
                }
                tensors.push(info);
                places.push((file, range));
            }
        }
        let side = SideFiles::default();
        let path = path.to_owned();
        Ok(Self { path, format, files, tensors, places, index, gguf: None, side, hash: OnceLock::new() })
    }
}

#[cfg(test)]
mod tests;
