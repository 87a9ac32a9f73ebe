//! Causal tracing and activation patching: where in a run the answer is decided.
//!
//! Two runs are compared: the clean one, and one that was corrupted so that the answer is lost, by the item's counterfactual
//! prompt (Vig et al. 2020; Wang et al. 2022) or by Gaussian noise on what differs (Meng et al. 2022, arXiv 2202.05262). A
//! value of the one is put into the other, and the log-odds of right against wrong are read:
//!
//! - *denoising* puts clean values into the corrupted run: what is enough to restore the answer;
//! - *noising* puts corrupted values into the clean run: what is needed to keep it.
//!
//! Both are reported as `(LD − LD corrupted) / (LD clean − LD corrupted)`: 1 is the clean answer, 0 the corrupted one. Beside
//! every number stands its control, the same place filled from another item on the side of the run that is changed: a
//! foreign value that carries no answer.
//!
//! [`Pairs`] holds the runs, [`grid`] asks place by place, [`path`] asks along one path, and [`knockout`] cuts attention.

mod grid;
mod knockout;
mod pairs;
mod path;

pub use grid::{Cell, Grid, grid};
pub use knockout::{Cutting, KnockedOut, knockout};
pub use pairs::{Corruption, Direction, Pairs, Patch, Side};
pub use path::{Input, PathEffect, Receiver, path};
