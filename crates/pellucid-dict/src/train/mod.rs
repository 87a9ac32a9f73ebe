//! Training a dictionary on rows of activations.
//!
//! The encoder's product is dense, once, in register tiles that are chosen from before they leave the nearest cache (`tiles.rs`).
//! Everything after it touches only active latents: x̂ is k rows of D a vector, and the gradients of a latent's row of E and D are
//! sums over the vectors in which it was active. They are gathered latent by latent (`update.rs`), so threads never write to one
//! place and no sum depends on how many there are. Room is kept from step to step. Adam is the other dense part: with batches of
//! practical size every latent that lives is touched in every step, and a lazy Adam is another optimiser.
//!
//! Sources: TopK with AuxK: Gao et al. 2024 (arXiv 2406.04093) §2.3, A.2; BatchTopK: Bussmann et al. 2024 (2412.06410); Matryoshka:
//! Bussmann et al. 2025 (2503.17547); ReLU with L1, unit-norm decoder, resampling: Bricken et al. 2023; L1 by decoder norms: Anthropic's
//! "Circuits Updates" of April 2024; gated: Rajamanoharan et al. 2024 (2404.16014); JumpReLU: Rajamanoharan et al. 2024 (2407.14435);
//! transcoders with a skip connection: Paulo et al. 2025 (2501.18823). What the last four add to a pass is in `rules.rs`.

mod checkpoint;
mod config;
mod init;
mod pass;
mod resample;
mod rules;
mod trainer;
mod update;

pub use config::{Adam, Auxiliary, Config, ErrorScale, Recipe, Sparsity, automatic_rate, haste};
pub use init::geometric_median;
pub use trainer::{Step, Trainer};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod variants_tests;
