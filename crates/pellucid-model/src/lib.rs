//! Load, tokenise, run, tap, edit, differentiate and generate: a hooked transformer runtime.
//!
//! A [`Model`] never changes after it is loaded. A run takes a [`Batch`], a [`Plan`] and a [`Tap`]; edits are
//! plain data ([`pellucid_core::Edit`]) that [`Apply`] turns into a tap. [`Model::trace`] and
//! [`Model::backward`] give the gradient at any site, true or by RelP's rules.

mod apply;
mod arch;
mod backward;
mod batch;
mod block;
mod cache;
mod chat;
pub mod check;
mod device;
pub mod embed;
mod error;
pub mod fidelity;
mod frozen;
mod generate;
mod heads;
mod heap;
mod latents;
pub mod load;
mod model;
mod ops;
pub mod parity;
mod prefix;
mod readers;
mod rope;
mod run;
pub mod sample;
mod spec;
mod tap;
pub mod tokens;
mod weights;
mod writes;

pub use apply::Apply;
pub use arch::supported;
pub use batch::{Batch, Row};
pub use cache::Cache;
pub use candle_core::Tensor;
pub use chat::LocalChat;
/// The device that tensors live on.
pub const CPU: candle_core::Device = candle_core::Device::Cpu;
/// The type of every value in a run.
pub const F32: candle_core::DType = candle_core::DType::F32;
pub use device::Device;
pub use error::{Error, Result};
pub use frozen::{Frozen, Reader};
pub use generate::{Ended, Generating, Generation, Step};
pub use heap::keep_freed_memory;
pub use latents::Attached;
pub use model::{Loading, Model, Storage};
pub use ops::{Precision, Rules, fast_is_quicker, times, with_slice as with_numbers};
pub use prefix::Prefixes;
pub use rope::{Rope, Scaling};
pub use run::{Logits, Output, Plan, Trace};
pub use sample::Sampling;
pub use spec::{Activation, LayerAttention, NormKind, Placement, QkNorm, Spec};
pub use tap::{PANEL, Place, Readers, Record, Tap, Watch};
