//! A direction taken out of a model for good: weights that can no longer write it (Arditi et al. 2024, arXiv 2406.11717, §4.1).
//!
//! W ← (1 − r̂ r̂ᵀ) W for everything that writes to the stream: embeddings, attention's and the MLP's output weights and biases. What the model
//! then computes is what ablating r̂ raw at every write makes of it. An unembedding that is tied to the embeddings keeps its own numbers.

use crate::{Error, Result};
use pellucid_model::load::{Checkpoint, TensorInfo};
use std::path::Path;

/// Writes a GGUF model to another file without what it writes along `direction`; how many tensors changed. They are in F32, whatever they were.
///
/// # Errors
/// If the model is no GGUF file, is of a family in which the weights alone do not decide what is written, the direction does not fit,
/// or the file cannot be written.
pub fn orthogonalise(model: &Path, direction: &[f32], to: &Path) -> Result<usize> {
    let checkpoint = Checkpoint::open(model).map_err(pellucid_model::Error::from)?;
    let refused =
        |why: String| Error::Request(format!("{} cannot be orthogonalised: {why}", model.display()));
    let family = checkpoint.gguf().and_then(|keys| keys.architecture().ok()).unwrap_or_default().to_owned();
    // Gemma 1 has no such norms, but programs take its unembedding from the embeddings whatever the file holds
    if family.starts_with("gemma") || checkpoint.names().any(norms_a_write) {
        return Err(refused(format!(
            "in {} what attention and MLP write is normed before it is added, or the unembedding is tied for good; edit it while it runs (`project`)",
            if family.is_empty() { "this family" } else { &family }
        )));
    }
    let norm = direction.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if !(norm.is_finite() && norm > 0.0) {
        return Err(refused("the direction is zero or not finite".to_owned()));
    }
    let unit: Vec<f64> = direction.iter().map(|v| f64::from(*v) / norm).collect();
    if let Some(info) =
        checkpoint.tensors().iter().find(|info| width(info) != Some(unit.len()) && writes(&info.name))
    {
        return Err(refused(format!(
            "{} is {:?}, and the direction has {} numbers",
            info.name,
            info.shape,
            unit.len()
        )));
    }
    let tied = checkpoint.info("output.weight").is_none();
    let copies: &[(&str, &str)] = if tied { &[("output.weight", "token_embd.weight")] } else { &[] };
    let mut changed = 0;
    let mut change = |info: &TensorInfo, numbers: &mut [f32]| {
        changed += 1;
        if by_rows(&info.name) { rows(numbers, &unit) } else { columns(numbers, &unit) }
    };
    checkpoint.rewrite(to, &writes, copies, &mut change).map_err(pellucid_model::Error::from)?;
    Ok(changed)
}

/// Tensors whose rows are vectors of the stream; of others that write to it, columns are.
fn by_rows(name: &str) -> bool {
    matches!(name, "token_embd.weight" | "position_embd.weight")
}

fn writes(name: &str) -> bool {
    let of_block = [".attn_output.weight", ".attn_output.bias", ".ffn_down.weight", ".ffn_down.bias"];
    by_rows(name) || name.starts_with("blk.") && of_block.iter().any(|end| name.ends_with(end))
}

fn norms_a_write(name: &str) -> bool {
    [".post_attention_norm.weight", ".post_ffw_norm.weight"].iter().any(|end| name.ends_with(end))
}

/// Coordinates of the stream in a tensor that writes to it.
fn width(info: &TensorInfo) -> Option<usize> {
    if by_rows(&info.name) { info.shape.last().copied() } else { info.shape.first().copied() }
}

/// x ← x − (x·r̂) r̂ for each row.
fn rows(numbers: &mut [f32], unit: &[f64]) {
    for row in numbers.chunks_exact_mut(unit.len()) {
        let along: f64 = row.iter().zip(unit).map(|(x, r)| f64::from(*x) * r).sum();
        row.iter_mut().zip(unit).for_each(|(x, r)| *x = (f64::from(*x) - along * r) as f32);
    }
}

/// The same for each column of (stream, inputs); a bias is one column.
fn columns(numbers: &mut [f32], unit: &[f64]) {
    let inputs = numbers.len() / unit.len();
    let mut along = vec![0f64; inputs];
    for (row, r) in numbers.chunks_exact(inputs).zip(unit) {
        along.iter_mut().zip(row).for_each(|(sum, x)| *sum += r * f64::from(*x));
    }
    for (row, r) in numbers.chunks_exact_mut(inputs).zip(unit) {
        row.iter_mut().zip(&along).for_each(|(x, along)| *x = (f64::from(*x) - along * r) as f32);
    }
}
