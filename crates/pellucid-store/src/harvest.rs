//! What a sweep leaves of a unit: plain data, the same whatever way the corpus was split and joined.

use crate::window::Document;
use pellucid_core::{Polarity, Site, Split};

/// All that is kept of one site.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteHarvest {
    /// Where.
    pub site: Site,
    /// One for each unit, in order.
    pub units: Vec<UnitHarvest>,
}

/// All that is kept of one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitHarvest {
    /// Over all counted tokens.
    pub statistics: Statistics,
    /// Sizes of the positive and of the negative activations.
    pub sketches: [Sketch; 2],
    /// Windows to look at, in a fixed order: kind, polarity, split, then the strongest first.
    pub exemplars: Vec<Exemplar>,
}

/// Numbers over all counted tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Counted tokens.
    pub count: u64,
    /// Mean activation.
    pub mean: f64,
    /// Mean squared distance from the mean.
    pub variance: f64,
    /// Largest activation, and smallest.
    pub max: f32,
    /// Smallest activation.
    pub min: f32,
}

/// How often a unit's activations had which size, on one side of zero: logarithmic bins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Bin and count, bins ascending, counts above zero. What a bin means is in `collect::bins`.
    pub bins: Vec<(u16, u32)>,
}

/// Why a window was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Among the strongest of its polarity and split.
    Top,
    /// Drawn from windows whose peak lies in this octave: `2^octave ≤ |peak| < 2^(octave + 1)`.
    Band(i8),
    /// Drawn uniformly from all windows.
    Random,
}

/// A stretch of a window with the unit's activation at each token.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Why it was kept.
    pub kind: Kind,
    /// The side of zero that its peak is on; none for random ones, whose peak is the largest in size.
    pub polarity: Option<Polarity>,
    /// Its document's split.
    pub split: Split,
    /// Its document.
    pub document: Document,
    /// Which window of the document.
    pub window: u32,
    /// First token of the stretch in the window.
    pub start: u32,
    /// The peak's token in the window.
    pub peak: u32,
    /// Activation at the peak.
    pub value: f32,
    /// Activation at each token of the stretch, as IEEE half precision bits.
    pub activations: Vec<u16>,
}
