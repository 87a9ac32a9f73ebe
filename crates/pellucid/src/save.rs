//! Activations as files: safetensors (any number of sites), or NumPy's npy (one).

use anyhow::{Context, Result, bail};
use pellucid::core::Site;
use pellucid::model::{Model, Tensor};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// Whether a file of this name can hold so many sites; asked before anything runs.
pub(crate) fn check(file: &Path, sites: usize) -> Result<()> {
    match file.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => Ok(()),
        Some("npy") if sites == 1 => Ok(()),
        Some("npy") => bail!("an npy file holds one site and {sites} are watched; save to .safetensors"),
        _ => bail!("activations are saved as .safetensors or .npy, not {}", file.display()),
    }
}

/// Saves values, f32, under the sites' names, with the model's hash in the file's metadata.
pub(crate) fn save(file: &Path, model: &Model, values: &[(Site, Tensor)]) -> Result<()> {
    let mut flat = Vec::new();
    for (site, x) in values {
        let numbers =
            x.flatten_all().and_then(|x| x.to_vec1::<f32>()).map_err(pellucid::model::Error::from)?;
        let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        flat.push((site.to_string(), x.dims().to_vec(), bytes));
    }
    let cannot = || format!("cannot write {}", file.display());
    if file.extension().is_some_and(|e| e == "npy") {
        let Some((_, shape, bytes)) = flat.first() else { bail!("there is nothing to save") };
        return std::fs::write(file, npy(shape, bytes)).with_context(cannot);
    }
    let views = flat
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    let about = HashMap::from([
        ("model_sha256".to_owned(), model.sha256().to_owned()),
        ("tokenizer_hash".to_owned(), model.tokenizer().hash()),
        ("pellucid".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    safetensors::serialize_to_file(views, Some(about), file).with_context(cannot)
}

/// NumPy's format 1.0: magic, version, length of the header, and a Python literal padded to 64 bytes.
fn npy(shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n},")).collect();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let unpadded = 10 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(bytes);
    out
}
