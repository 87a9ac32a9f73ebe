//! Patchscopes (Ghandeharioun et al. 2024, arXiv 2401.06102): the model itself says what a value of its stream means.
//!
//! A value of one text (the source: position and depth) is put into another text (the target: position and depth), and the run
//! goes on. With a target that repeats what it is given ([`IDENTITY`]) the model says the next token that the value holds; with
//! one that describes ([`DESCRIPTION`]) it writes what it is about. With the target the source itself and the last depth this
//! is the logit lens; with an earlier depth it is *back-patching* (Biran et al. 2024, arXiv 2406.12775): a value that was
//! ready too late gets the layers it missed.
//!
//! A depth is a stream between blocks ([`crate::stream`]). [`Target`] runs many values at once, from the depth at which they
//! are put; [`ladder`] sets lens, fitted lens, patchscope and back-patching side by side; [`grid`] asks a behaviour for every
//! pair of depths, and [`back_grid`] the same of back-patching.

mod back;
mod behaviour;
mod ladder;
mod target;

pub use back::{BackCell, BackGrid, back_grid};
pub(crate) use behaviour::strangers;
pub use behaviour::{Ask, At, Cell, Grid, grid};
pub use ladder::{Ladder, Rung, Said, ladder};
pub use target::{DESCRIPTION, IDENTITY, Placed, Target};
