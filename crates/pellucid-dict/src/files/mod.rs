//! Dictionaries in files. A file is untrusted: every length is checked against its neighbours before anything is allocated by it,
//! and a pickle is read and never executed.
//!
//! | format | files | encoder | decoder |
//! | --- | --- | --- | --- |
//! | SAELens | `cfg.json`, `sae_weights.safetensors` | `W_enc` (d_in, n) | `W_dec` (n, d_out) |
//! | sparsify, multimodal-sae | `cfg.json`, `sae.safetensors` | `encoder.weight` (n, d_in) | `W_dec` (n, d_out) |
//! | Gemma Scope | `params.npz`, `params.safetensors` | `w_enc` (d_in, n) | `w_dec` (n, d_out) |
//! | Llama Scope | `hyperparams.json`, `checkpoints/final.safetensors` | `encoder.weight` (n, d) | `decoder.weight` (d, n) |
//! | dictionary_learning | `config.json`, `ae.pt` | `encoder.weight` (n, d) or `W_enc` (d, n) | `decoder.weight` (d, n) or `W_dec` (n, d) |
//! | OpenAI | one `.pt` | `encoder.weight` (n, d) | `decoder.weight` (d, n) |
//! | circuit-tracer | `layer_N.safetensors`, `config.yaml` | `W_enc` (n, d) | `W_dec` (n, d) |

mod circuit_tracer;
mod dictionary_learning;
mod gemma_scope;
mod llama_scope;
mod npz;
mod open;
mod openai;
mod pickle;
mod saelens;
mod sparsify;
mod tensors;
mod torch;
mod zip;

pub use circuit_tracer::{read_circuit_tracer, write_circuit_tracer};
pub use dictionary_learning::{read_dictionary_learning, write_dictionary_learning};
pub use gemma_scope::{read_gemma_scope, write_gemma_scope};
pub use llama_scope::{read_llama_scope, write_llama_scope};
pub use open::{Format, Opened, open};
pub use openai::read_openai;
pub(crate) use saelens::unit_decoder;
pub use saelens::{read_saelens, write_saelens, write_saelens_transcoder};
pub use sparsify::{read_sparsify, write_sparsify};
pub(crate) use tensors::put;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
