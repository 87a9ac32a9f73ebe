//! Units: one coordinate at a site, one head, or one latent of a dictionary; with or without a polarity.

use crate::{NameError, Shape, Site};
use std::fmt;
use std::str::FromStr;

/// Which side of zero is meant; a gated neuron can mean one thing when positive and another when negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Polarity {
    /// Written `+`.
    Positive,
    /// Written `-`.
    Negative,
}

/// Which part of a site is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Index {
    /// One coordinate of the flattened last axes.
    Coordinate(u32),
    /// All coordinates of one head, written `h5`.
    Head(u32),
}

/// The name of a unit: `mlp_act.3/1054`, `mlp_act.3/1054+`, `z.3/h5`, or `sae:NAME/1054`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnitId {
    /// A coordinate or head at a site of the network.
    Site {
        /// Where.
        site: Site,
        /// Which coordinate or head.
        index: Index,
        /// Which side of zero, if it matters.
        polarity: Option<Polarity>,
    },
    /// A latent of a named dictionary.
    Latent {
        /// The dictionary's name.
        dictionary: String,
        /// Which latent.
        index: u32,
        /// Which side of zero, if it matters.
        polarity: Option<Polarity>,
    },
}

impl UnitId {
    /// A neuron or another single coordinate, without polarity.
    pub fn coordinate(site: Site, index: usize) -> Self {
        let index = Index::Coordinate(u32::try_from(index).unwrap_or(u32::MAX));
        UnitId::Site { site, index, polarity: None }
    }

    /// A whole head, without polarity.
    pub fn head(site: Site, head: usize) -> Self {
        UnitId::Site { site, index: Index::Head(u32::try_from(head).unwrap_or(u32::MAX)), polarity: None }
    }
}

impl fmt::Display for Polarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Polarity::Positive { "+" } else { "-" })
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let polarity = match self {
            UnitId::Site { site, index: Index::Coordinate(i), polarity } => {
                write!(f, "{site}/{i}")?;
                polarity
            }
            UnitId::Site { site, index: Index::Head(h), polarity } => {
                write!(f, "{site}/h{h}")?;
                polarity
            }
            UnitId::Latent { dictionary, index, polarity } => {
                write!(f, "sae:{dictionary}/{index}")?;
                polarity
            }
        };
        polarity.map_or(Ok(()), |p| p.fmt(f))
    }
}

impl FromStr for UnitId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::Unit { found: text.to_owned() };
        let (body, polarity) = match text.as_bytes().last() {
            Some(b'+') => (&text[..text.len() - 1], Some(Polarity::Positive)),
            Some(b'-') => (&text[..text.len() - 1], Some(Polarity::Negative)),
            _ => (text, None),
        };
        let (place, index) = body.rsplit_once('/').ok_or_else(bad)?;
        if let Some(dictionary) = place.strip_prefix("sae:") {
            let index = index.parse().map_err(|_| bad())?;
            return Ok(UnitId::Latent { dictionary: dictionary.to_owned(), index, polarity });
        }
        let site: Site = place.parse()?;
        let index = match index.strip_prefix('h') {
            Some(head) if matches!(site.point.shape(), Shape::Heads | Shape::KvHeads | Shape::Attention) => {
                Index::Head(head.parse().map_err(|_| bad())?)
            }
            Some(_) => return Err(bad()),
            None => Index::Coordinate(index.parse().map_err(|_| bad())?),
        };
        Ok(UnitId::Site { site, index, polarity })
    }
}

impl serde::Serialize for UnitId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for UnitId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_survive_their_own_spelling() {
        for text in
            ["mlp_act.3/1054", "mlp_act.3/1054+", "mlp_act.3/1054-", "z.3/h5", "sae:a/b/7", "lm_head/12"]
        {
            assert_eq!(text.parse::<UnitId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["mlp_act.3", "mlp_act.3/", "mlp_act.3/x", "mlp_act.3/h5", "/5", "", "+", "z.3/h"] {
            assert!(text.parse::<UnitId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_unit_or_an_error(text in ".*") {
            if let Ok(unit) = text.parse::<UnitId>() {
                prop_assert_eq!(unit.to_string().parse::<UnitId>(), Ok(unit));
            }
        }
    }
}
