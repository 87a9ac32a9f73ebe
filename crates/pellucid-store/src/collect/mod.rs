//! Collectors: statistics over a stream of activations that can be split anywhere between windows and joined in
//! any order, and leave the same harvest, bit for bit.
//!
//! Four choices make that law hold. Sums are fixed-point integers, whose addition is associative (`exact.rs`).
//! Sizes are counted in logarithmic bins ([`bins`]), from which quantiles over *tokens* follow; keeping extreme
//! values of windows and counting tokens, as is often done, sets extreme thresholds too low. Ties between
//! windows are broken by (document, window), inside a window by the earlier token. And what is drawn at random
//! is what has the largest hash of (seed, unit, document, window), so that a draw does not depend on when it is
//! made.

pub mod bins;
mod chunk;
mod error;
mod exact;
mod file;
mod keep;
mod shelf;
mod site;

pub use chunk::PANEL;
pub use error::CollectError;
pub use keep::{Keep, PerSplit};
pub use site::{Parts, SiteCollector, memory};

use crate::window::Window;

/// Activations of one site for some windows.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// `(tokens, width)` row-major; each window's tokens follow one another, the windows lie below each other.
    pub values: &'a [f32],
    /// Units at the site.
    pub width: usize,
    /// What the rows are activations on. A window is collected once in a sweep, and whole.
    pub windows: &'a [Window],
}

/// A mergeable statistic over a stream of activations.
///
/// The law, tested as a property: cut a stream between windows in any way, collect the parts in any order, merge
/// them in any order, and the harvest is the same, bit for bit.
pub trait Collector: Send {
    /// What it leaves.
    type Harvest;

    /// Takes in one block. Only tokens that their window says are counted are counted, and only they can be
    /// peaks; an uncounted token's activation may stand in an exemplar's stretch.
    ///
    /// # Errors
    /// If the block does not have the collector's shape or holds a value that is no finite number. The collector
    /// is then as it was before.
    fn collect(&mut self, block: &Block<'_>) -> Result<(), CollectError>;

    /// Takes in what another collector of the same configuration has collected from other windows.
    ///
    /// # Errors
    /// If the configurations differ. The collector is then as it was before.
    fn merge(&mut self, other: Self) -> Result<(), CollectError>;

    /// What has been collected.
    fn harvest(self) -> Self::Harvest;
}

macro_rules! tuples {
    ($($name:ident $index:tt),*) => {
        /// Collectors side by side on one stream. If one of them fails, those before it have taken the block
        /// in: the tuple is then to be thrown away.
        impl<$($name: Collector),*> Collector for ($($name,)*) {
            type Harvest = ($($name::Harvest,)*);

            fn collect(&mut self, block: &Block<'_>) -> Result<(), CollectError> {
                $(self.$index.collect(block)?;)*
                Ok(())
            }

            fn merge(&mut self, other: Self) -> Result<(), CollectError> {
                $(self.$index.merge(other.$index)?;)*
                Ok(())
            }

            fn harvest(self) -> Self::Harvest {
                ($(self.$index.harvest(),)*)
            }
        }
    };
}

tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
