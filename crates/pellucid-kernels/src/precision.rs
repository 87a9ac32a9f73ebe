//! In what numbers a large product is computed: a choice that a result names.

use serde::{Deserialize, Serialize};

use crate::kernel::pairs_are_quick;
use crate::tiles::tiles_are_here;

/// How the large products are computed; whoever multiplies says which those are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// In f32: the definition.
    #[default]
    Exact,
    /// Both operands rounded to bf16, sums in f32, where the processor does that quicker ([`fast_is_quicker`]); elsewhere as
    /// [`Precision::Exact`].
    Fast,
}

impl Precision {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Exact => "exact",
            Precision::Fast => "fast",
        }
    }

    /// Whether operands are rounded on this processor.
    pub fn rounds(self) -> bool {
        self == Precision::Fast && fast_is_quicker()
    }
}

/// Whether [`Precision::Fast`] differs from [`Precision::Exact`] on this processor.
pub fn fast_is_quicker() -> bool {
    tiles_are_here() || pairs_are_quick()
}
