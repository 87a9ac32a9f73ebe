//! Dictionaries in files. A file is untrusted: every length is checked against its neighbours before anything is allocated by it.
//!
//! | format | files | encoder | decoder |
//! | --- | --- | --- | --- |
//! | SAELens | `cfg.json`, `sae_weights.safetensors` | `W_enc` (d_in, n) | `W_dec` (n, d_out) |
//! | sparsify, multimodal-sae | `cfg.json`, `sae.safetensors` | `encoder.weight` (n, d_in) | `W_dec` (n, d_out) |

mod saelens;
mod sparsify;
mod tensors;

pub use saelens::{read_saelens, write_saelens};
pub use sparsify::{read_sparsify, write_sparsify};

#[cfg(test)]
mod tests;
