//! Architectures as data: from a configuration (Hugging Face `config.json` or GGUF metadata) to a
//! [`Spec`], the names of its tensors and what must be undone when they are read.
//!
//! To add a family: write a file beside this one that fills a `Spec`, add its row to [`FAMILIES`], and add a
//! tiny checkpoint to `fixtures/`.

mod config;
mod gemma;
mod gpt2;
mod llama;
mod names;
mod neox;
mod olmo2;
mod phi3;
mod qwen;

pub(crate) use names::Names;

use crate::load::{Checkpoint, Format};
use crate::spec::Spec;
use crate::{Error, Result};
use config::Config;

/// How a file lays out what the runtime wants plain.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Layout {
    /// Added to the norms' weights (Gemma's checkpoints hold `w − 1`).
    pub(crate) norm_offset: f32,
    /// Linear weights are stored as `(in, out)`.
    pub(crate) transposed: bool,
    /// Query and key rows are permuted for interleaved rotary positions.
    pub(crate) permuted_qk: bool,
    /// The fused projection holds query, key and value head by head.
    pub(crate) qkv_by_head: bool,
}

/// What a family makes of a configuration.
pub(crate) struct Design {
    pub(crate) spec: Spec,
    pub(crate) names: Names,
    pub(crate) layout: Layout,
}

struct Family {
    /// `model_type` values in `config.json`.
    hf: &'static [&'static str],
    /// `general.architecture` values in GGUF files.
    gguf: &'static [&'static str],
    design: fn(&Config<'_>) -> Result<Design>,
}

const FAMILIES: &[Family] = &[
    Family { hf: &["llama"], gguf: &[], design: llama::llama },
    Family { hf: &["mistral"], gguf: &["llama"], design: llama::mistral },
    Family { hf: &["smollm3"], gguf: &["smollm3"], design: llama::smollm3 },
    Family { hf: &["qwen2"], gguf: &["qwen2"], design: qwen::qwen2 },
    Family { hf: &["qwen3"], gguf: &["qwen3"], design: qwen::qwen3 },
    Family { hf: &["gemma"], gguf: &["gemma"], design: gemma::gemma },
    Family { hf: &["gemma2"], gguf: &["gemma2"], design: gemma::gemma2 },
    Family { hf: &["gemma3_text", "gemma3"], gguf: &["gemma3"], design: gemma::gemma3 },
    Family { hf: &["gpt2"], gguf: &["gpt2"], design: gpt2::gpt2 },
    Family { hf: &["gpt_neox"], gguf: &["gptneox"], design: neox::neox },
    Family { hf: &["phi3"], gguf: &["phi3"], design: phi3::phi3 },
    Family { hf: &["olmo2"], gguf: &["olmo2"], design: olmo2::olmo2 },
];

/// The families this build can run, as `config.json` and GGUF files name them.
pub fn supported() -> String {
    let mut names: Vec<&str> = FAMILIES.iter().flat_map(|f| f.hf.iter().chain(f.gguf)).copied().collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// Reads a checkpoint's configuration.
pub(crate) fn design(checkpoint: &Checkpoint) -> Result<Design> {
    let config = Config::of(checkpoint)?;
    let found = config.architecture()?;
    let family = FAMILIES.iter().find(|f| match checkpoint.format() {
        Format::Gguf => f.gguf.contains(&found.as_str()),
        Format::Safetensors => f.hf.contains(&found.as_str()),
    });
    let family = family.ok_or_else(|| Error::Architecture { found: found.clone(), known: supported() })?;
    let design = (family.design)(&config)?;
    plausible(&design.spec)?;
    Ok(design)
}

/// Refuses numbers that no model has, before anything is allocated by them.
fn plausible(spec: &Spec) -> Result<()> {
    let bad = |what: String| Err(Error::Config { what });
    for (name, value, most) in [
        ("number of layers", spec.n_layers, 10_000),
        ("model width", spec.d_model, 1 << 20),
        ("number of heads", spec.n_heads, 1 << 16),
        ("number of key heads", spec.n_kv_heads, 1 << 16),
        ("head width", spec.head_dim, 1 << 16),
        ("MLP width", spec.d_mlp, 1 << 24),
        ("context", spec.context, 1 << 30),
    ] {
        if value == 0 || value > most {
            return bad(format!("{name} is {value}, expected 1 to {most}"));
        }
    }
    if !spec.n_heads.is_multiple_of(spec.n_kv_heads) {
        return bad(format!("{} heads cannot share {} key heads evenly", spec.n_heads, spec.n_kv_heads));
    }
    for rope in &spec.ropes {
        if rope.dim > spec.head_dim || rope.inv_freq.len() * 2 != rope.dim {
            return bad(format!("rotary width {} does not fit head width {}", rope.dim, spec.head_dim));
        }
        if rope.long.as_ref().is_some_and(|(_, long)| long.len() * 2 != rope.dim) {
            return bad("long rope's factors do not fit the rotary width".to_owned());
        }
    }
    if spec.attention.len() != spec.n_layers {
        return bad(format!("{} layers are described and there are {}", spec.attention.len(), spec.n_layers));
    }
    if spec.attention.iter().any(|a| a.window == Some(0)) {
        return bad("a sliding window of 0 sees nothing".to_owned());
    }
    if ![spec.attn_scale, spec.embed_scale, spec.norm_eps as f32].iter().all(|v| v.is_finite()) {
        return bad("a scale is not a finite number".to_owned());
    }
    Ok(())
}
