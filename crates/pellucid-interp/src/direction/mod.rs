//! Directions: a vector between two classes of a behaviour's items, found on some items, chosen on others, tested on others.
//!
//! At each layer and position `r` leads in `resid_post` from the second class to the first. A direction that separates need not act, so
//! it is tried: added with the sign that should turn the answer, and ablated at every write to the stream, raw `x − (x·r̂)r̂`
//! at all tokens (Arditi et al. 2024), and affine `x − ((x − μ)·r̂)r̂` with each site's own mean μ at all tokens but the first,
//! since where a model has massive activations raw ablation of *any* direction destroys it.

mod file;
mod find;
mod select;
mod validate;
mod weights;

pub use file::ControlVector;
pub use find::{Directions, Method};
pub use select::{Candidate, MOST_KL, choose};
pub use validate::{Kind, On, Outcome, TRIALS, Tested, candidates, validate};
pub use weights::orthogonalise;

use pellucid_core::{Point, Site};
use pellucid_model::Model;

/// Every place where the model writes to its stream.
fn writes(model: &Model) -> Vec<Site> {
    let layers = 0..model.spec().n_layers;
    let both = layers.flat_map(|l| [Site::new(Point::AttnOutPost, l), Site::new(Point::MlpOutPost, l)]);
    // what stands before the first block: learned positions, too, where there are some
    std::iter::once(Site::new(Point::ResidPre, 0)).chain(both).collect()
}
