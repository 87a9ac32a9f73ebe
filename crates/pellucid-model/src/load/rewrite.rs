//! A GGUF file again, with some of its tensors in other numbers: keys and every other tensor stay byte for byte.

use super::gguf::Header;
use super::{Checkpoint, Format, LoadError, TensorInfo, WeightType};
use candle_core::DType;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Where a tensor of the new file is from.
struct Entry<'a> {
    name: &'a str,
    info: &'a TensorInfo,
    changed: bool,
}

impl Entry<'_> {
    fn dtype(&self) -> WeightType {
        if self.changed { WeightType::F32 } else { self.info.dtype }
    }

    fn bytes(&self) -> u64 {
        if self.changed { 4 * self.info.elements() as u64 } else { self.info.bytes }
    }
}

impl Checkpoint {
    /// Writes this GGUF file to another place, whole or not at all. Tensors that `changes` names are written in F32, after `change` was
    /// given their numbers, row-major in their [`TensorInfo::shape`]; for each (new name, name) of `copies` a tensor is also written,
    /// unchanged, under a new name.
    ///
    /// # Errors
    /// If this is no GGUF file, a tensor that should change cannot be read as floats, or the file cannot be written.
    pub fn rewrite(
        &self,
        to: &Path,
        changes: &dyn Fn(&str) -> bool,
        copies: &[(&str, &str)],
        change: &mut dyn FnMut(&TensorInfo, &mut [f32]),
    ) -> Result<(), LoadError> {
        let file = match (self.format, self.files.as_slice()) {
            (Format::Gguf, [file]) => file,
            _ => {
                let found = "safetensors; convert it first (llama.cpp's convert_hf_to_gguf.py)";
                return Err(LoadError::malformed(0, "a GGUF file", found, &self.path));
            }
        };
        let header = Header::parse(&file.map, &file.path)?;
        let mut entries: Vec<Entry<'_>> = header
            .tensors
            .iter()
            .map(|(info, _)| Entry { name: &info.name, info, changed: changes(&info.name) })
            .collect();
        for (name, of) in copies {
            let info = self.info(of).ok_or_else(|| {
                LoadError::tensor(of, "a tensor of the file, to be copied", "none of that name", &self.path)
            })?;
            entries.push(Entry { name, info, changed: false });
        }
        let part = to.with_extension("part");
        let written = self
            .write_entries(&part, &file.map, &header, &entries, change)
            .and_then(|()| fs::rename(&part, to).map_err(LoadError::io("move the file into place", to)));
        if written.is_err() {
            // half of it is of no use, and its room may be what is missing
            let _ = fs::remove_file(&part);
        }
        written
    }

    fn write_entries(
        &self,
        part: &Path,
        bytes: &[u8],
        header: &Header,
        entries: &[Entry<'_>],
        change: &mut dyn FnMut(&TensorInfo, &mut [f32]),
    ) -> Result<(), LoadError> {
        let fault = || LoadError::io("write the weights", part);
        let file = File::create(part).map_err(fault())?;
        let mut to = Counted { to: BufWriter::new(file), at: 0 };
        to.head(bytes, header, entries).map_err(fault())?;
        for entry in entries {
            to.pad(header.alignment).map_err(fault())?;
            if entry.changed {
                let read = self.tensor(&entry.info.name, DType::F32)?;
                let numbers = read.flatten_all().and_then(|all| all.to_vec1::<f32>());
                let mut numbers = numbers.map_err(|error| {
                    LoadError::tensor(&entry.info.name, "numbers", error.to_string(), &self.path)
                })?;
                change(entry.info, &mut numbers);
                numbers.iter().try_for_each(|v| to.put(&v.to_le_bytes())).map_err(fault())?;
            } else {
                to.put(self.raw(&entry.info.name)?).map_err(fault())?;
            }
        }
        to.to.into_inner().map_err(io::IntoInnerError::into_error).and_then(|f| f.sync_all()).map_err(fault())
    }
}

/// A file that knows how long it is.
struct Counted {
    to: BufWriter<File>,
    at: usize,
}

impl Counted {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len();
        self.to.write_all(bytes)
    }

    fn pad(&mut self, alignment: usize) -> io::Result<()> {
        self.put(&vec![0; self.at.next_multiple_of(alignment) - self.at])
    }

    /// All that stands before the data: the old file's keys, and an entry for each tensor.
    fn head(&mut self, old: &[u8], header: &Header, entries: &[Entry<'_>]) -> io::Result<()> {
        // magic and version, then the count of tensors, then that of keys
        let [before, keys] = [old.get(..8), old.get(16..header.entries)].map(Option::unwrap_or_default);
        self.put(before)?;
        self.put(&(entries.len() as u64).to_le_bytes())?;
        self.put(keys)?;
        let mut offset = 0;
        for entry in entries {
            self.put(&(entry.name.len() as u64).to_le_bytes())?;
            self.put(entry.name.as_bytes())?;
            self.put(&(entry.info.shape.len() as u32).to_le_bytes())?;
            for size in entry.info.shape.iter().rev() {
                self.put(&(*size as u64).to_le_bytes())?;
            }
            let id =
                entry.dtype().ggml().ok_or_else(|| io::Error::other("a type that GGUF does not have"))?;
            self.put(&id.to_le_bytes())?;
            self.put(&u64::to_le_bytes(offset))?;
            offset = (offset + entry.bytes()).next_multiple_of(header.alignment as u64);
        }
        Ok(())
    }
}
