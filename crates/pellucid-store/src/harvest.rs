//! What a sweep leaves of a unit: plain data, the same whatever way the corpus was split and joined.

use crate::collect::bins;
use crate::window::Document;
use pellucid_core::{Polarity, Site, Split};

/// The tail quantile that is a unit's typical strength: it is beyond it on one token in ten thousand, or where the
/// corpus has fewer tokens, on the rarest that can be told.
pub const TAIL: f64 = 1.0 - 1e-4;

/// A unit is called active where it is beyond this share of its typical strength.
pub const ACTIVE: f32 = 0.5;

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

impl UnitHarvest {
    /// The sizes on one side of zero.
    pub fn sketch(&self, polarity: Polarity) -> &Sketch {
        &self.sketches[usize::from(polarity == Polarity::Negative)]
    }

    /// The typical strength on one side of zero ([`TAIL`]); 0 if the unit was never there.
    pub fn scale(&self, polarity: Polarity) -> f32 {
        self.sketch(polarity).scale(self.statistics.count)
    }

    /// The share of counted tokens on which the unit is active on one side of zero ([`ACTIVE`]).
    pub fn firing_density(&self, polarity: Polarity) -> f64 {
        self.sketch(polarity).firing_density(self.statistics.count)
    }
}

impl Sketch {
    /// The size that is exceeded on one of ten thousand of all `count` tokens ([`TAIL`]); 0 if there is none.
    pub fn scale(&self, count: u64) -> f32 {
        bins::quantile(self, count, TAIL).unwrap_or(0.0)
    }

    /// The share of all `count` tokens beyond [`ACTIVE`] of the typical strength. Not the share on this side of zero,
    /// which is about one half for any gated neuron.
    pub fn firing_density(&self, count: u64) -> f64 {
        let scale = self.scale(count);
        let density = bins::density(self, count, ACTIVE * scale);
        density.filter(|_| scale > 0.0).unwrap_or(0.0)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firing_is_being_beyond_half_of_the_typical_strength_not_being_on_a_side() {
        // a thousand faint tokens and ten strong ones out of 2,010: the strongest in ten thousand is a strong one
        let sketch = Sketch { bins: vec![(bins::bin(0.01), 1000), (bins::bin(4.0), 10)] };
        assert!((sketch.scale(2010) / 4.0 - 1.0).abs() < 0.13);
        assert!((sketch.firing_density(2010) - 10.0 / 2010.0).abs() < 1e-9);
        assert_eq!(bins::density(&sketch, 2010, 0.0), Some(1010.0 / 2010.0));
        assert_eq!(Sketch::default().firing_density(2010), 0.0);
        assert_eq!(Sketch::default().firing_density(0), 0.0);
    }
}
