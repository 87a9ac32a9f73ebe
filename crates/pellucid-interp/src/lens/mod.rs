//! Lenses: what the stream at a layer says already, read by the model's own final norm and unembedding.
//!
//! - The *logit lens* ([`lens`], [`lens_grid`]; nostalgebraist 2020) reads the stream as it is.
//! - A *tuned lens* ([`fit_tuned`]; Belrose et al. 2023, arXiv 2303.08112) first maps it to the final layer's stream, affinely.
//!   Theirs is trained on the KL divergence; this one is ridge regression in closed form, the "mapping" of Patchscopes'
//!   baseline (Ghandeharioun et al. 2024).
//! - A *Jacobian lens* ([`fit_jacobian`]) maps it by the mean derivative of the final stream, as far as the model itself is
//!   linear there; nothing is fitted to what the final stream is.
//!
//! Fitted maps are kept in a [`Fitted`] and judged on other documents ([`judge`]). [`compare`] sets two texts side by side, and
//! [`wins`] says at which layer a behaviour's right answers win.

mod compare;
mod file;
mod fit;
mod jacobian;
mod judge;
mod logit;
mod solve;
mod wins;

pub use compare::{Compared, compare};
pub use file::{Card, Fitted, Kind, Map};
pub use fit::{Texts, fit_tuned};
pub use jacobian::{exact_jacobian, fit_jacobian};
pub use judge::{Judged, judge};
pub use logit::{LensRow, LensToken, lens, lens_grid, lens_through};
pub use wins::{Wins, WinsAt, wins, wins_at};
