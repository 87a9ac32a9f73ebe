//! What is kept of a model: texts to run it on ([`corpus`]), statistics and exemplars of every unit
//! ([`collect`]), and the file that holds them ([`atlas`]). Nothing here knows how activations are made.

pub mod atlas;
pub mod collect;
pub mod corpus;
mod harvest;
mod sweep;
mod window;

pub use harvest::{ACTIVE, Exemplar, Kind, SiteHarvest, Sketch, Statistics, TAIL, UnitHarvest};
pub use sweep::{Sweep, SweepError};
pub use window::{Document, Window};
