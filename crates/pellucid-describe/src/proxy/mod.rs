//! Proxies: predicates over texts and positions that a person would think of, each its own simulator. A unit that
//! fires on Hebrew is described by "Hebrew letters", and how well is a matter of counting. After the activation
//! specificity proxies of Bricken et al. 2023 (Towards Monosemanticity), with indicators instead of likelihoods.

mod bits;
mod classes;
mod kinds;
mod lists;
mod places;
mod predicate;

pub use bits::Bits;
pub use classes::{Class, classes, classes_of};
pub(crate) use classes::{class, is_list, is_telling, number_of};
pub(crate) use places::{Form, places_of};
pub use predicate::{Proxy, Test};
pub(crate) use predicate::{Row, propose};
