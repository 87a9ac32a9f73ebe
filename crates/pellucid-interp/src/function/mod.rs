//! Function vectors (Todd et al. 2023, arXiv 2310.15213): what a few examples tell a model, as one vector.
//!
//! A [`Task`] is a list of pairs. After some examples of it (`Q: x`, `A: y`), the mean of what each head adds to the stream at
//! the last token is taken; a head's causal effect is what its mean does to the right answer's probability behind examples
//! whose answers are shuffled; the heads with the largest sum to the function vector. Added to the stream of a bare question
//! it should bring the answer about.

mod prompts;
mod tasks;
mod vector;

pub use prompts::{Asked, Pairs};
pub use tasks::{TASKS, Task};
pub use vector::{FunctionVector, HeadEffect, Settings, Tried, find, measure};
