//! The header of a GGUF file, read with bounds: nothing is allocated because the file says so, only because
//! the file is long enough to hold it.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little endian:
//! magic, version, tensor count, key count, key–value pairs, tensor entries, padding, data. candle's own
//! reader is not used because it reserves memory for whatever counts a file claims.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::error::{LoadError, shown};
use super::weight::{TensorInfo, WeightType};

/// Where tensor data start unless `general.alignment` says otherwise.
const DEFAULT_ALIGNMENT: usize = 32;
/// The specification's limit for keys; also kept for tensor names (ggml itself stops at 63).
const MAX_NAME: usize = 65_535;
/// `GGML_MAX_DIMS`.
const MAX_DIMS: usize = 4;
/// Arrays of arrays are allowed by the format and used by nobody; the limit keeps recursion off the stack's
/// end.
const MAX_DEPTH: usize = 4;

/// The key–value pairs of a GGUF file, with getters that name the key when it is missing or has another type.
#[derive(Debug, Clone)]
pub struct Metadata {
    values: BTreeMap<String, Value>,
    path: Box<Path>,
}

/// One value of the header.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer type.
    Unsigned(u64),
    /// Any signed integer type.
    Signed(i64),
    /// `f32`.
    F32(f32),
    /// `f64`.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// UTF-8 text.
    Str(String),
    /// A list of one type.
    Array(Array),
}

/// A list of values, stored at the width that the file uses so that a file cannot make it many times its own
/// size.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is the element type that it names")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Str(Vec<String>),
    Nested(Vec<Array>),
}

impl Value {
    /// The type's name, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned(_) => "an unsigned integer",
            Self::Signed(_) => "a signed integer",
            Self::F32(_) => "an f32",
            Self::F64(_) => "an f64",
            Self::Bool(_) => "a bool",
            Self::Str(_) => "a string",
            Self::Array(array) => array.kind(),
        }
    }
}

impl Array {
    /// The type's name, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::U8(_) => "an array of u8",
            Self::I8(_) => "an array of i8",
            Self::U16(_) => "an array of u16",
            Self::I16(_) => "an array of i16",
            Self::U32(_) => "an array of u32",
            Self::I32(_) => "an array of i32",
            Self::U64(_) => "an array of u64",
            Self::I64(_) => "an array of i64",
            Self::F32(_) => "an array of f32",
            Self::F64(_) => "an array of f64",
            Self::Bool(_) => "an array of bool",
            Self::Str(_) => "an array of strings",
            Self::Nested(_) => "an array of arrays",
        }
    }
}

impl Metadata {
    /// Drops some keys.
    pub(super) fn forget(&mut self, keys: &[String]) {
        self.values.retain(|key, _| !keys.contains(key));
    }

    /// Whether the key is there, with any type.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A value of any type.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// `general.architecture`, the prefix of the model's own keys.
    pub fn architecture(&self) -> Result<&str, LoadError> {
        self.str("general.architecture")
    }

    /// A string.
    pub fn str(&self, key: &str) -> Result<&str, LoadError> {
        match self.need(key)? {
            Value::Str(text) => Ok(text),
            other => Err(self.wrong(key, "a string", other)),
        }
    }

    /// An integer of any stored width that fits `u32`.
    pub fn u32(&self, key: &str) -> Result<u32, LoadError> {
        let value = self.need(key)?;
        let fits = match value {
            Value::Unsigned(number) => u32::try_from(*number).ok(),
            Value::Signed(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        fits.ok_or_else(|| self.wrong(key, "an integer from 0 to 2^32 - 1", value))
    }

    /// An integer of any stored width that fits `usize`.
    pub fn usize(&self, key: &str) -> Result<usize, LoadError> {
        self.u32(key).map(|number| number as usize)
    }

    /// A float; an `f64` is rounded.
    pub fn f32(&self, key: &str) -> Result<f32, LoadError> {
        match self.need(key)? {
            Value::F32(number) => Ok(*number),
            #[expect(clippy::cast_possible_truncation, reason = "hyperparameters are used as f32")]
            Value::F64(number) => Ok(*number as f32),
            other => Err(self.wrong(key, "a float", other)),
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Result<bool, LoadError> {
        match self.need(key)? {
            Value::Bool(truth) => Ok(*truth),
            other => Err(self.wrong(key, "a bool", other)),
        }
    }

    /// An array of `f32`.
    pub fn array_f32(&self, key: &str) -> Result<&[f32], LoadError> {
        match self.need(key)? {
            Value::Array(Array::F32(list)) => Ok(list),
            other => Err(self.wrong(key, "an array of f32", other)),
        }
    }

    /// An array of strings.
    pub fn array_str(&self, key: &str) -> Result<&[String], LoadError> {
        match self.need(key)? {
            Value::Array(Array::Str(list)) => Ok(list),
            other => Err(self.wrong(key, "an array of strings", other)),
        }
    }

    /// An array of truth values.
    pub fn array_bool(&self, key: &str) -> Result<&[bool], LoadError> {
        match self.need(key)? {
            Value::Array(Array::Bool(list)) => Ok(list),
            other => Err(self.wrong(key, "an array of bool", other)),
        }
    }

    /// An array of integers of any stored width that all fit `i32`.
    pub fn array_i32(&self, key: &str) -> Result<Vec<i32>, LoadError> {
        let value = self.need(key)?;
        let fits = match value {
            Value::Array(Array::I32(list)) => Some(list.clone()),
            Value::Array(Array::U8(list)) => Some(list.iter().map(|&n| i32::from(n)).collect()),
            Value::Array(Array::I8(list)) => Some(list.iter().map(|&n| i32::from(n)).collect()),
            Value::Array(Array::U16(list)) => Some(list.iter().map(|&n| i32::from(n)).collect()),
            Value::Array(Array::I16(list)) => Some(list.iter().map(|&n| i32::from(n)).collect()),
            Value::Array(Array::U32(list)) => list.iter().map(|&n| i32::try_from(n).ok()).collect(),
            Value::Array(Array::U64(list)) => list.iter().map(|&n| i32::try_from(n).ok()).collect(),
            Value::Array(Array::I64(list)) => list.iter().map(|&n| i32::try_from(n).ok()).collect(),
            _ => None,
        };
        fits.ok_or_else(|| self.wrong(key, "an array of integers that fit 32 bits", value))
    }

    fn need(&self, key: &str) -> Result<&Value, LoadError> {
        let missing = || LoadError::MissingKey { key: key.into(), path: self.path.clone() };
        self.values.get(key).ok_or_else(missing)
    }

    fn wrong(&self, key: &str, expected: &'static str, value: &Value) -> LoadError {
        let found = match value {
            Value::Unsigned(number) => number.to_string(),
            Value::Signed(number) => number.to_string(),
            other => other.kind().to_owned(),
        };
        LoadError::WrongKey { key: key.into(), expected, found: found.into(), path: self.path.clone() }
    }
}

/// A parsed header: the keys, and each tensor with the range of its data in the file.
#[derive(Debug, Clone)]
pub struct Header {
    /// The key–value pairs.
    pub metadata: Metadata,
    /// Tensors in the order of the file's entries, with their byte ranges from the start of the file.
    pub tensors: Vec<(TensorInfo, Range<usize>)>,
    /// Where the entries of tensors begin, behind the keys.
    pub(super) entries: usize,
    /// What every tensor's offset is a multiple of.
    pub(super) alignment: usize,
}

impl Header {
    /// Parses and checks the header of a whole file's bytes; `path` is for messages only.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, LoadError> {
        let mut cursor = Cursor { bytes, at: 0, path };
        let (tensor_count, key_count) = cursor.preamble()?;
        let metadata = Metadata { values: cursor.pairs(key_count)?, path: path.into() };
        let alignment = cursor.alignment(&metadata)?;
        let behind_keys = cursor.at;
        let entries = cursor.entries(tensor_count, alignment)?;
        let data = cursor.at.checked_next_multiple_of(alignment).unwrap_or(usize::MAX);
        let mut tensors = Vec::with_capacity(entries.len());
        for (info, offset) in entries {
            let range = place(&info, offset, data, bytes.len(), path)?;
            tensors.push((info, range));
        }
        refuse_overlaps(&tensors, path)?;
        Ok(Self { metadata, tensors, entries: behind_keys, alignment })
    }
}

/// Turns an offset into the data section into a checked range of the file.
fn place(
    info: &TensorInfo,
    offset: u64,
    data: usize,
    len: usize,
    path: &Path,
) -> Result<Range<usize>, LoadError> {
    let start = usize::try_from(offset).ok().and_then(|offset| data.checked_add(offset));
    let size = usize::try_from(info.bytes).ok();
    let end = start.zip(size).and_then(|(start, size)| start.checked_add(size));
    match (start, end) {
        (Some(start), Some(end)) if end <= len => Ok(start..end),
        _ => {
            let found = format!("{} bytes at {offset} after byte {data} of {len}", info.bytes);
            Err(LoadError::tensor(&info.name, "data inside the file (is it cut short?)", found, path))
        }
    }
}

fn refuse_overlaps(tensors: &[(TensorInfo, Range<usize>)], path: &Path) -> Result<(), LoadError> {
    let mut order: Vec<_> = tensors.iter().map(|(info, range)| (range, &info.name)).collect();
    order.sort_by_key(|(range, _)| (range.start, range.end));
    for (before, after) in order.iter().zip(order.iter().skip(1)) {
        if after.0.start < before.0.end {
            let found = format!("bytes shared with {:?}", shown(before.1));
            return Err(LoadError::tensor(after.1, "data of its own", found, path));
        }
    }
    Ok(())
}

/// A position in the file that never moves past its end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> Cursor<'a> {
    fn error(&self, at: usize, expected: impl Into<Box<str>>, found: impl Into<Box<str>>) -> LoadError {
        LoadError::malformed(at, expected, found, self.path)
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], LoadError> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => {
                let found = format!("{} bytes before the end of the file", self.left());
                Err(self.error(self.at, format!("{count} bytes of {what}"), found))
            }
        }
    }

    fn word<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], LoadError> {
        let bytes = self.take(N, what)?;
        let mut word = [0; N];
        word.copy_from_slice(bytes);
        Ok(word)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, LoadError> {
        self.word(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, LoadError> {
        self.word(what).map(u64::from_le_bytes)
    }

    /// A count of things that each take at least `least` bytes: refused if the file is too short to hold
    /// them.
    fn count(&mut self, least: usize, what: &'static str) -> Result<usize, LoadError> {
        let at = self.at;
        let count = self.u64(what)?;
        let most = self.left() / least;
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(self.error(
                at,
                format!("a {what} of at most {most}, what the file can hold"),
                count.to_string(),
            )),
        }
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, LoadError> {
        let at = self.at;
        let length = self.count(1, what)?;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes)
            .map_err(|error| self.error(at, format!("UTF-8 text as the {what}"), error.to_string()))
    }

    fn name(&mut self, what: &'static str) -> Result<&'a str, LoadError> {
        let at = self.at;
        let name = self.text(what)?;
        if name.is_empty() || name.len() > MAX_NAME {
            let found = format!("{} bytes", name.len());
            return Err(self.error(at, format!("a {what} of 1 to {MAX_NAME} bytes"), found));
        }
        Ok(name)
    }

    /// Magic, version and the two counts.
    fn preamble(&mut self) -> Result<(usize, usize), LoadError> {
        let magic: [u8; 4] = self.word("magic")?;
        if &magic != b"GGUF" {
            let found = format!("{:?}", String::from_utf8_lossy(&magic));
            return Err(self.error(0, "the letters GGUF", found));
        }
        let version = self.u32("version")?;
        if !(2..=3).contains(&version) {
            let found = match version {
                1 => "version 1; convert the model again with a current llama.cpp".to_owned(),
                other if (2..=3).contains(&other.swap_bytes()) => {
                    "a big-endian file; use the little-endian one".to_owned()
                }
                other => format!("version {other}"),
            };
            return Err(self.error(4, "GGUF version 2 or 3", found));
        }
        // The least a tensor entry takes: name length and a letter, dimension count, type, offset.
        let tensors = self.count(8 + 1 + 4 + 4 + 8, "tensor count")?;
        // The least a pair takes: key length and a letter, type, one byte of value.
        let pairs = self.count(8 + 1 + 4 + 1, "key count")?;
        Ok((tensors, pairs))
    }

    fn pairs(&mut self, count: usize) -> Result<BTreeMap<String, Value>, LoadError> {
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let at = self.at;
            let key = self.name("key")?;
            let kind = self.u32("value type")?;
            let value = self.value(kind)?;
            if values.insert(key.to_owned(), value).is_some() {
                return Err(self.error(at, "every key once", format!("{:?} again", shown(key))));
            }
        }
        Ok(values)
    }

    fn value(&mut self, kind: u32) -> Result<Value, LoadError> {
        const WHAT: &str = "value";
        Ok(match kind {
            0 => Value::Unsigned(self.word(WHAT).map(u8::from_le_bytes)?.into()),
            1 => Value::Signed(self.word(WHAT).map(i8::from_le_bytes)?.into()),
            2 => Value::Unsigned(self.word(WHAT).map(u16::from_le_bytes)?.into()),
            3 => Value::Signed(self.word(WHAT).map(i16::from_le_bytes)?.into()),
            4 => Value::Unsigned(self.u32(WHAT)?.into()),
            5 => Value::Signed(self.word(WHAT).map(i32::from_le_bytes)?.into()),
            6 => Value::F32(self.word(WHAT).map(f32::from_le_bytes)?),
            7 => Value::Bool(self.truth()?),
            8 => Value::Str(self.text("string")?.to_owned()),
            9 => Value::Array(self.array(0)?),
            10 => Value::Unsigned(self.u64(WHAT)?),
            11 => Value::Signed(self.word(WHAT).map(i64::from_le_bytes)?),
            12 => Value::F64(self.word(WHAT).map(f64::from_le_bytes)?),
            other => return Err(self.unknown_type(other)),
        })
    }

    fn unknown_type(&self, kind: u32) -> LoadError {
        self.error(self.at.saturating_sub(4), "a value type from 0 to 12", kind.to_string())
    }

    fn truth(&mut self) -> Result<bool, LoadError> {
        let at = self.at;
        match self.word("bool")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.error(at, "a bool of 0 or 1", other.to_string())),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Array, LoadError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(self.at, format!("arrays nested at most {MAX_DEPTH} deep"), "one more"));
        }
        let kind = self.u32("array type")?;
        Ok(match kind {
            0 => Array::U8(self.numbers(u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(f32::from_le_bytes)?),
            7 => Array::Bool(self.list(1, Self::truth)?),
            8 => Array::Str(self.list(8, |cursor| cursor.text("string").map(str::to_owned))?),
            9 => Array::Nested(self.list(12, |cursor| cursor.array(depth + 1))?),
            10 => Array::U64(self.numbers(u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(f64::from_le_bytes)?),
            other => return Err(self.unknown_type(other)),
        })
    }

    fn numbers<T, const N: usize>(&mut self, read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, LoadError> {
        let count = self.count(N, "array length")?;
        // `count` has checked that count * N bytes are there, so the product cannot overflow.
        let (words, _) = self.take(count * N, "array")?.as_chunks::<N>();
        Ok(words.iter().map(|word| read(*word)).collect())
    }

    fn list<T>(
        &mut self,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, LoadError>,
    ) -> Result<Vec<T>, LoadError> {
        let count = self.count(least, "array length")?;
        (0..count).map(|_| read(self)).collect()
    }

    fn alignment(&self, metadata: &Metadata) -> Result<usize, LoadError> {
        const KEY: &str = "general.alignment";
        if !metadata.has(KEY) {
            return Ok(DEFAULT_ALIGNMENT);
        }
        let alignment = metadata.usize(KEY)?;
        // The specification asks for a multiple of 8, llama.cpp for a power of two. The dequantiser relies on
        // the first.
        if alignment < 8 || !alignment.is_power_of_two() {
            let expected = "a power of two, at least 8";
            return Err(LoadError::WrongKey {
                key: KEY.into(),
                expected,
                found: alignment.to_string().into(),
                path: self.path.into(),
            });
        }
        Ok(alignment)
    }

    fn entries(&mut self, count: usize, alignment: usize) -> Result<Vec<(TensorInfo, u64)>, LoadError> {
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        for _ in 0..count {
            let at = self.at;
            let name = self.name("tensor name")?;
            if !seen.insert(name) {
                return Err(self.error(at, "every tensor once", format!("{:?} again", shown(name))));
            }
            entries.push(self.entry(name, alignment)?);
        }
        Ok(entries)
    }

    fn entry(&mut self, name: &str, alignment: usize) -> Result<(TensorInfo, u64), LoadError> {
        let dims = self.dims(name)?;
        let id = self.u32("tensor type")?;
        let dtype = WeightType::from_ggml(id).ok_or_else(|| {
            LoadError::tensor(name, "a known ggml type", format!("type number {id}"), self.path)
        })?;
        let bytes = stored_bytes(&dims, dtype).map_err(|found| {
            LoadError::tensor(name, "rows of whole blocks that fit the address space", found, self.path)
        })?;
        let offset = self.u64("tensor offset")?;
        if !offset.is_multiple_of(alignment as u64) {
            let found = format!("{offset}, alignment {alignment}");
            return Err(LoadError::tensor(name, "an aligned offset", found, self.path));
        }
        let shape = dims.into_iter().rev().collect();
        Ok((TensorInfo { name: name.to_owned(), dtype, shape, bytes }, offset))
    }

    /// The dimensions in file order, fastest first; none of them zero.
    fn dims(&mut self, name: &str) -> Result<Vec<usize>, LoadError> {
        let count = self.u32("dimension count")? as usize;
        if count > MAX_DIMS {
            return Err(LoadError::tensor(name, "at most 4 dimensions", count.to_string(), self.path));
        }
        (0..count)
            .map(|_| {
                let size = self.u64("dimension")?;
                usize::try_from(size).ok().filter(|size| *size > 0).ok_or_else(|| {
                    LoadError::tensor(name, "dimensions of at least 1", size.to_string(), self.path)
                })
            })
            .collect()
    }
}

/// Bytes of a tensor with the fastest dimension first, or what is wrong with it.
fn stored_bytes(dims: &[usize], dtype: WeightType) -> Result<u64, String> {
    let row = dims.first().copied().unwrap_or(1);
    if !row.is_multiple_of(dtype.block_len()) {
        return Err(format!("rows of {row} elements in {dtype} blocks of {}", dtype.block_len()));
    }
    let elements = dims.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    elements
        .map(|elements| elements / dtype.block_len())
        .and_then(|blocks| blocks.checked_mul(dtype.block_bytes()))
        .map(|bytes| bytes as u64)
        .ok_or_else(|| format!("dimensions {dims:?}"))
}
