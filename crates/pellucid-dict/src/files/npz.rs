//! numpy's npz: a zip archive of npy files (numpy.lib.format, versions 1 to 3), each a short header in Python's notation and
//! the numbers. Objects (which numpy pickles) are refused.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files::tensors::{Kind, Stored, Tensors, malformed, put, read};
use crate::files::zip;

/// The arrays of an npz file, by name.
pub(crate) fn open(path: &Path, format: &'static str) -> Result<Tensors> {
    let fault = |why: String| malformed(format, path, why);
    let mut bytes = read(path)?;
    let mut files = zip::entries(&bytes).map_err(fault)?;
    zip::inflate(&mut bytes, &mut files).map_err(fault)?;
    let mut entries = BTreeMap::new();
    for file in &files {
        let name = file.name.strip_suffix(".npy").unwrap_or(&file.name);
        let data = &bytes[file.at..][..file.size];
        let (mut stored, described) =
            array(data).map_err(|why| malformed(format, path, format!("array `{name}` {why}")))?;
        let Some(kind) = described else {
            return Err(Error::Unsupported {
                what: format!("array `{name}`"),
                instead: "floats and integers, little-endian, are read; Python objects never are".to_owned(),
                path: path.to_owned(),
            });
        };
        stored.kind = kind;
        let length = stored.count().and_then(|n| n.checked_mul(kind.bytes()));
        if length.and_then(|n| n.checked_add(stored.at)) != Some(file.size) {
            return Err(fault(format!(
                "array `{name}` of shape {:?} has another number of bytes",
                stored.shape
            )));
        }
        stored.at += file.at;
        entries.insert(name.to_owned(), stored);
    }
    Tensors::new(bytes, entries, path, format)
}

/// Where an npy file's numbers are, and of which kind, where it is one that is read.
fn array(data: &[u8]) -> std::result::Result<(Stored, Option<Kind>), &'static str> {
    const BAD: &str = "is no npy file";
    if !data.starts_with(b"\x93NUMPY") {
        return Err(BAD);
    }
    let (begin, length) = match data[6..] {
        [1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
        [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return Err(BAD),
    };
    let header = data.get(begin..).and_then(|rest| rest.get(..length)).ok_or("ends within its header")?;
    let header = str::from_utf8(header).map_err(|_| "has a header that is no text")?;
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start_matches([' ', ':']));
    let shape = after("'shape'").and_then(|rest| rest.strip_prefix('(')?.split_once(')'));
    let shape = shape.ok_or("has a header without a shape")?.0;
    let shape: std::result::Result<Vec<usize>, _> =
        shape.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect();
    let shape = shape.map_err(|_| "has a header with a shape that is no list of numbers")?;
    let kind = after("'descr'").and_then(|rest| match rest.get(1..4)? {
        "<f8" => Some(Kind::F64),
        "<f4" => Some(Kind::F32),
        "<f2" => Some(Kind::F16),
        "<i8" => Some(Kind::I64),
        "<i4" => Some(Kind::I32),
        _ => None,
    });
    let mut stored = Stored::in_rows(Kind::F32, shape, begin + length);
    if after("'fortran_order'").is_some_and(|rest| rest.starts_with("True")) {
        let turned = stored.shape.iter().rev().copied().collect();
        stored.strides = Stored::in_rows(Kind::F32, turned, 0).strides;
        stored.strides.reverse();
    }
    Ok((stored, kind))
}

/// Writes named f32 arrays; the file is complete or the old one.
pub(crate) fn write(path: &Path, tensors: &[(&str, Vec<usize>, &[f32])]) -> Result<()> {
    let bytes: usize = tensors.iter().map(|(_, _, values)| 4 * values.len()).sum();
    if !zip::writable(bytes) {
        return Err(crate::error::setting(
            "the size of an npz file",
            "below 4 GiB; another format can hold more",
            bytes,
        ));
    }
    let files: Vec<(String, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, values)| {
            let sizes: String = shape.iter().map(|d| format!("{d}, ")).collect();
            let mut header =
                format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
            // the numbers begin at a multiple of 64 bytes
            while (10 + header.len() + 1) % 64 != 0 {
                header.push(' ');
            }
            header.push('\n');
            let mut data = b"\x93NUMPY\x01\x00".to_vec();
            data.extend((header.len() as u16).to_le_bytes());
            data.extend(header.as_bytes());
            data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            (format!("{name}.npy"), data)
        })
        .collect();
    put(path, &zip::archive(&files))
}
