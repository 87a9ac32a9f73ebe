//! How far a description can be believed: simulated against real activations on text that its author never saw.
//! Scores are signed (the peer's are taken after a fit on the same data and so reward the opposite), come with an
//! interval, and are held against the same measurement with another unit's description.

mod accuracy;
mod correlate;
mod interest;
mod score;
mod windows;

pub use accuracy::{Balanced, Judgement, balanced_accuracy};
pub use correlate::{Correlation, pearson, spearman};
pub use interest::{Exclusion, Facts, Rule, Verdict, interesting};
pub use score::{
    Bootstrap, MeasureError, Score, SingleToken, Weighting, null, score, score_predictions, single_token,
};
pub(crate) use score::{Sums, shifted_null, whole};
pub use windows::windows_hash;
