//! The header of a safetensors file.
//!
//! The `safetensors` crate parses and checks it (types, sizes, no holes, no overlaps, 100 MB limit). Two
//! checks come first that it does not make: a name that appears twice (its map keeps the last), and offsets
//! past the end of the file (its sum `end + 8 + header` can wrap around, which panics in a debug build and
//! passes in a release build).

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use safetensors::SafeTensors;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::error::{LoadError, shown};
use super::weight::{TensorInfo, WeightType};

/// Header length field.
const PREFIX: usize = 8;

/// Parses and checks the header of a whole file's bytes: tensors in the order of their data, with their
/// ranges from the start of the file. `path` is for messages only.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<(TensorInfo, Range<usize>)>, LoadError> {
    let data_len = prescan(bytes, path)?;
    let (header, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|error| LoadError::malformed(PREFIX, "a safetensors header", error.to_string(), path))?;
    let start = header + PREFIX;
    let mut tensors = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let (from, to) = info.data_offsets;
        if to < from || to > data_len {
            let found = format!("{from}..{to} of {data_len}");
            return Err(LoadError::tensor(&name, "data inside the file", found, path));
        }
        // An empty tensor may carry any other dimension; their product is used for strides, so it must not
        // overflow.
        if info.shape.iter().try_fold(1usize, |product, size| product.checked_mul((*size).max(1))).is_none() {
            let found = format!("{:?}", info.shape);
            return Err(LoadError::tensor(&name, "dimensions that fit the address space", found, path));
        }
        let dtype = WeightType::from_safetensors(info.dtype);
        let shape = info.shape.clone();
        tensors
            .push((TensorInfo { name, dtype, shape, bytes: (to - from) as u64 }, start + from..start + to));
    }
    Ok(tensors)
}

/// Checks the header's length, that names are unique, and that data end inside the file; returns the length
/// of the data.
fn prescan(bytes: &[u8], path: &Path) -> Result<usize, LoadError> {
    let length = bytes.first_chunk::<PREFIX>().map(|length| u64::from_le_bytes(*length));
    let header = length
        .and_then(|length| usize::try_from(length).ok())
        .and_then(|length| bytes.get(PREFIX..)?.get(..length));
    let Some(header) = header else {
        let found = match length {
            Some(length) => format!("a header of {length} bytes in a file of {}", bytes.len()),
            None => format!("a file of {} bytes", bytes.len()),
        };
        return Err(LoadError::malformed(0, "a header inside the file (is it cut short?)", found, path));
    };
    let data_len = bytes.len() - PREFIX - header.len();
    let mut json = serde_json::Deserializer::from_slice(header);
    json.deserialize_map(Names { data_len }).map_err(|error| {
        LoadError::malformed(
            PREFIX,
            "a JSON header with a type, shape and place for each tensor",
            error.to_string(),
            path,
        )
    })?;
    Ok(data_len)
}

#[derive(serde::Deserialize)]
struct Place {
    data_offsets: (u64, u64),
}

struct Names {
    data_len: usize,
}

impl<'de> Visitor<'de> for Names {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
            } else {
                let place: Place = map.next_value()?;
                if place.data_offsets.1 > self.data_len as u64 {
                    let (name, end) = (shown(&name), place.data_offsets.1);
                    return Err(A::Error::custom(format!("{name:?} ending at {end} of {}", self.data_len)));
                }
            }
            if let Some(name) = seen.replace(name) {
                return Err(A::Error::custom(format!("{:?} twice", shown(&name))));
            }
        }
        Ok(())
    }
}
