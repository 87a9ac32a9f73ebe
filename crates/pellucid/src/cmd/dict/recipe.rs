//! Which dictionary a training is asked for: what is active in it, and what is penalised.

/// A recipe with what its user decides. What depends on the run's length follows when that is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recipe {
    /// The k largest of each row.
    TopK { k: usize },
}
