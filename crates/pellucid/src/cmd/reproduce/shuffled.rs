//! The control of Bricken et al. 2023: a model whose every weight matrix holds the same numbers in another order. It has learned
//! nothing, and its neurons are still functions of tokens.

use anyhow::{Context, Result, bail};
use pellucid::core::Seed;
use std::path::Path;

/// Writes the model of a folder with each tensor's numbers shuffled within it; its vocabulary stays. A folder that is whole is left.
pub(super) fn write(from: &Path, to: &Path) -> Result<()> {
    if to.join("config.json").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let path = from.join("model.safetensors");
    let mut bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for (name, place) in places(&bytes).with_context(|| format!("in {}", path.display()))? {
        let Some((numbers, [])) = bytes.get_mut(place).map(<[u8]>::as_chunks_mut::<4>) else {
            bail!("tensor {name} does not lie in its file");
        };
        let mut seed = Seed(0).for_purpose(&name);
        // Fisher and Yates
        for i in (1..numbers.len()).rev() {
            numbers.swap(i, seed.below(i + 1));
        }
    }
    let write = |name: &str, bytes: &[u8]| {
        let path = to.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    write("model.safetensors", &bytes)?;
    // config.json last: a folder without it is no model
    for name in ["tokenizer.json", "tokenizer_config.json", "config.json"] {
        let path = from.join(name);
        write(name, &std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?)?;
    }
    Ok(())
}

/// Each f32 tensor of a safetensors file, and where its numbers lie.
fn places(bytes: &[u8]) -> Result<Vec<(String, std::ops::Range<usize>)>> {
    let length = bytes.first_chunk::<8>().map(|eight| u64::from_le_bytes(*eight) as usize);
    let header = length.and_then(|length| bytes.get(8..8 + length)).context("the header is cut off")?;
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header)?;
    let mut found = Vec::new();
    for (name, tensor) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let at = |i: usize| tensor["data_offsets"][i].as_u64().map(|v| v as usize);
        let (Some("F32"), Some(start), Some(end)) = (tensor["dtype"].as_str(), at(0), at(1)) else {
            bail!("tensor {name} is not in f32");
        };
        let from = 8 + length.unwrap_or(0);
        found.push((name, from + start..from + end));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_tensor_and_move() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(&from).unwrap();
        let header = br#"{"a":{"dtype":"F32","shape":[50],"data_offsets":[0,200]},"b":{"dtype":"F32","shape":[2],"data_offsets":[200,208]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header);
        let numbers: Vec<f32> = (0..52).map(|i| i as f32).collect();
        file.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
        std::fs::write(from.join("model.safetensors"), &file).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json", "config.json"] {
            std::fs::write(from.join(name), name).unwrap();
        }
        write(&from, &to).unwrap();
        let made = std::fs::read(to.join("model.safetensors")).unwrap();
        assert_eq!(made[..8 + header.len()], file[..8 + header.len()]);
        let found: Vec<f32> =
            made[8 + header.len()..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let mut sorted = found[..50].to_vec();
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, numbers[..50]);
        assert_ne!(found[..50], numbers[..50]);
        assert!(places(b"short").is_err());
    }
}
