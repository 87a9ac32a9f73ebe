//! Edits: plain data that says where, at which positions and how to change a run.
//!
//! The same list comes from the command line, a file, HTTP and Python, and is kept with the result. A run
//! never changes the model; it applies edits to the tensors that pass by.

use crate::{NameError, Shape, Site, UnitId, unit::Index};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::str::FromStr;

/// Who wrote a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The system prompt.
    System,
    /// A user's turn.
    User,
    /// An earlier answer of the model that stands in the prompt.
    Assistant,
    /// What the model wrote in this run.
    Generated,
}

impl FromStr for Role {
    type Err = EditError;
    fn from_str(text: &str) -> Result<Self, EditError> {
        Ok(match text {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "generated" => Role::Generated,
            _ => return Err(EditError::Positions { found: text.to_owned() }),
        })
    }
}

/// At which token positions an edit applies. Positions count from the start of the whole text, prompt and
/// generated tokens together; negative ones count from the end of the *prompt* (−1 is its last token), so
/// that they mean the same at every step of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Every position.
    #[default]
    All,
    /// The listed positions.
    At(Vec<i64>),
    /// From the first (inclusive) to the second (exclusive); an open end is none.
    Range(i64, Option<i64>),
    /// Every token written in that role.
    Role(Role),
}

impl FromStr for Positions {
    type Err = EditError;

    /// Reads `all`, `5`, `-1`, `1,4,7`, `3..8`, `3..`, or a role.
    fn from_str(text: &str) -> Result<Self, EditError> {
        let bad = || EditError::Positions { found: text.to_owned() };
        if text == "all" {
            return Ok(Positions::All);
        }
        if let Some((start, end)) = text.split_once("..") {
            let start = if start.is_empty() { 0 } else { start.parse().map_err(|_| bad())? };
            let end = if end.is_empty() { None } else { Some(end.parse().map_err(|_| bad())?) };
            return Ok(Positions::Range(start, end));
        }
        match text.split(',').map(str::parse).collect::<Result<Vec<i64>, _>>() {
            Ok(list) => Ok(Positions::At(list)),
            Err(_) => text.parse().map(Positions::Role),
        }
    }
}

/// Which part of a site an edit changes.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The whole vector (or, at an attention point, every head).
    #[default]
    Whole,
    /// Single coordinates of the flattened vector.
    Units(Vec<u32>),
    /// Whole heads.
    Heads(Vec<u32>),
    /// Latents of a dictionary of the site. What the dictionary does not explain stays as it is.
    Latents {
        /// Its name.
        dictionary: String,
        /// Which latents.
        indices: Vec<u32>,
    },
    /// What a dictionary of the site does not explain. Zeroed, its reconstruction stands alone: the control run for edits
    /// of its latents.
    Error {
        /// Its name.
        dictionary: String,
    },
}

/// What an edit does. Where it takes numbers, there is one for each coordinate that the target covers, in
/// the target's order; a single number stands for all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Put 0 there.
    Zero,
    /// Put these mean values there; `of` says what the mean was taken over.
    Mean {
        /// The means, one for each coordinate of the target.
        #[serde(deserialize_with = "finite")]
        values: Vec<f32>,
        /// What the mean was taken over, for the reader.
        of: String,
    },
    /// Put these values there.
    Set(#[serde(deserialize_with = "finite")] Vec<f32>),
    /// Multiply by this.
    Scale(#[serde(deserialize_with = "finite")] f32),
    /// Add this vector.
    Add(#[serde(deserialize_with = "finite")] Vec<f32>),
    /// Keep the value between these bounds; an absent bound does not bind.
    Clamp {
        /// Lower bound.
        #[serde(default, deserialize_with = "finite")]
        min: Option<f32>,
        /// Upper bound.
        #[serde(default, deserialize_with = "finite")]
        max: Option<f32>,
    },
    /// Take out the component along `direction`: `x − ((x − centre)·d̂) d̂`, where d̂ has length 1. Without a
    /// centre this is the raw projection; with one, the affine: the component becomes the centre's.
    ProjectOut {
        /// The direction; its length does not matter.
        #[serde(deserialize_with = "finite")]
        direction: Vec<f32>,
        /// Mean activation, for the affine form.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "finite")]
        centre: Option<Vec<f32>>,
    },
    /// Put another run's values there: row `i` goes to the `i`-th position that the edit covers.
    Patch {
        /// One row of values for each covered position.
        #[serde(deserialize_with = "finite")]
        rows: Vec<Vec<f32>>,
    },
    /// As [`Op::Patch`], with the values still to be taken from a plain run of the model on `tokens`, at the
    /// positions `from` of that run.
    PatchFrom {
        /// The other run's tokens.
        tokens: Vec<u32>,
        /// Positions in that run.
        from: Positions,
    },
}

/// Numbers of an edit. JSON may state one that is infinite in 32 bits, which JSON could not state again.
trait Numbers {
    fn are_finite(&self) -> bool;
}

impl Numbers for f32 {
    fn are_finite(&self) -> bool {
        self.is_finite()
    }
}

impl<T: Numbers> Numbers for Option<T> {
    fn are_finite(&self) -> bool {
        self.iter().all(Numbers::are_finite)
    }
}

impl<T: Numbers> Numbers for Vec<T> {
    fn are_finite(&self) -> bool {
        self.iter().all(Numbers::are_finite)
    }
}

fn finite<'de, D: Deserializer<'de>, T: Deserialize<'de> + Numbers>(from: D) -> Result<T, D::Error> {
    let read = T::deserialize(from)?;
    match read.are_finite() {
        true => Ok(read),
        false => Err(D::Error::custom("expected a number that 32 bits can hold, found a larger one")),
    }
}

/// One change to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Where.
    pub site: Site,
    /// Which part of the site.
    #[serde(default)]
    pub target: Target,
    /// At which token positions.
    #[serde(default)]
    pub positions: Positions,
    /// What to do there.
    pub op: Op,
}

/// An edit that cannot be read or does not fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EditError {
    /// A name in it is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The short form is malformed.
    #[error(
        "{found:?} is not an edit; write PLACE=OP[@POSITIONS], e.g. mlp_act.3/1054=0, z.5/h2=zero@-1, \
         mlp_act.3/7,9=x0.5@user, mlp_act.3/7=4.2@3..8, mlp_act.3/7=clamp(-1,1), mlp_act.3/7=+2, sae:NAME/7=0"
    )]
    Spec {
        /// What was written.
        found: String,
    },
    /// No dictionary of this name is loaded.
    #[error("no dictionary is named {found:?}; load it with --dictionary {found}=PATH")]
    Dictionary {
        /// Its name.
        found: String,
    },
    /// Positions are malformed.
    #[error(
        "{found:?} are no positions; write all, a position (5, or -1 for the prompt's last), a list (1,4,7), \
         a range (3..8) or a role (system, user, assistant, generated)"
    )]
    Positions {
        /// What was written.
        found: String,
    },
}

impl Edit {
    /// An edit of one unit at all positions. A polarity in the name is not looked at.
    pub fn unit(unit: &UnitId, op: Op) -> Option<Self> {
        match unit {
            UnitId::Site { site, index: Index::Coordinate(i), .. } => {
                Some(Edit { site: *site, target: Target::Units(vec![*i]), positions: Positions::All, op })
            }
            UnitId::Site { site, index: Index::Head(h), .. } => {
                Some(Edit { site: *site, target: Target::Heads(vec![*h]), positions: Positions::All, op })
            }
            UnitId::Latent { .. } => None,
        }
    }

    /// Reads the short form `PLACE=OP[@POSITIONS]`: the place is a site, a site with unit indices or heads, or
    /// `sae:NAME` with latents or `error`; the op is `zero`, a number (set; `set(-2)` for a negative one), `x0.5` (scale),
    /// `+2`/`-2` (add) or `clamp(a,b)`. `site_of` says where a dictionary belongs.
    ///
    /// # Errors
    /// If it is malformed, or names a dictionary that `site_of` does not know.
    pub fn read(text: &str, site_of: &dyn Fn(&str) -> Option<Site>) -> Result<Self, EditError> {
        let bad = || EditError::Spec { found: text.to_owned() };
        let (place, rest) = text.split_once('=').ok_or_else(bad)?;
        let (op, positions) = match rest.split_once('@') {
            Some((op, positions)) => (op, positions.parse()?),
            None => (rest, Positions::All),
        };
        let (site, target) = if let Some(place) = place.strip_prefix("sae:") {
            let (dictionary, list) = place.rsplit_once('/').ok_or_else(bad)?;
            let absent = || EditError::Dictionary { found: dictionary.to_owned() };
            (site_of(dictionary).ok_or_else(absent)?, latents_from(dictionary, list).ok_or_else(bad)?)
        } else if let Some((site, list)) = place.split_once('/') {
            let site: Site = site.parse()?;
            (site, target_from(site, list).ok_or_else(bad)?)
        } else {
            (place.parse()?, Target::Whole)
        };
        Ok(Edit { site, target, positions, op: op_from(op).ok_or_else(bad)? })
    }
}

impl FromStr for Edit {
    type Err = EditError;

    /// As [`Edit::read`], where no dictionary is loaded.
    fn from_str(text: &str) -> Result<Self, EditError> {
        Edit::read(text, &|_| None)
    }
}

fn latents_from(dictionary: &str, list: &str) -> Option<Target> {
    let dictionary = dictionary.to_owned();
    if list == "error" {
        return Some(Target::Error { dictionary });
    }
    let indices = list.split(',').map(|i| i.parse().ok()).collect::<Option<_>>()?;
    Some(Target::Latents { dictionary, indices })
}

fn target_from(site: Site, list: &str) -> Option<Target> {
    let heads = matches!(site.point.shape(), Shape::Heads | Shape::KvHeads | Shape::Attention);
    let parts: Vec<&str> = list.split(',').collect();
    if parts.iter().all(|p| p.starts_with('h')) && heads {
        parts.iter().map(|p| p[1..].parse().ok()).collect::<Option<_>>().map(Target::Heads)
    } else {
        parts.iter().map(|p| p.parse().ok()).collect::<Option<_>>().map(Target::Units)
    }
}

fn op_from(text: &str) -> Option<Op> {
    let number = |t: &str| t.parse::<f32>().ok().filter(|v| v.is_finite());
    if text == "zero" {
        return Some(Op::Zero);
    }
    if let Some(bounds) = text.strip_prefix("clamp(").and_then(|t| t.strip_suffix(')')) {
        let (min, max) = bounds.split_once(',')?;
        let bound = |t: &str| if t.is_empty() { Some(None) } else { number(t).map(Some) };
        return Some(Op::Clamp { min: bound(min)?, max: bound(max)? });
    }
    if let Some(value) = text.strip_prefix("set(").and_then(|t| t.strip_suffix(')')) {
        return number(value).map(|v| Op::Set(vec![v]));
    }
    match text.as_bytes().first()? {
        b'x' => number(&text[1..]).map(Op::Scale),
        b'+' => number(&text[1..]).map(|v| Op::Add(vec![v])),
        b'-' => number(text).map(|v| Op::Add(vec![v])),
        _ => number(text).map(|v| if v == 0.0 { Op::Zero } else { Op::Set(vec![v]) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_forms_are_read() {
        let edit: Edit = "mlp_act.3/7,9=x0.5@user".parse().unwrap();
        assert_eq!(edit.target, Target::Units(vec![7, 9]));
        assert_eq!(edit.positions, Positions::Role(Role::User));
        assert_eq!(edit.op, Op::Scale(0.5));
        let edit: Edit = "z.5/h2=zero@-1".parse().unwrap();
        assert_eq!(edit.target, Target::Heads(vec![2]));
        assert_eq!(edit.positions, Positions::At(vec![-1]));
        let edit: Edit = "mlp_act.0/1=clamp(-1,)@3..8".parse().unwrap();
        assert_eq!(edit.op, Op::Clamp { min: Some(-1.0), max: None });
        assert_eq!(edit.positions, Positions::Range(3, Some(8)));
        assert_eq!("mlp_act.0/1=-2".parse::<Edit>().unwrap().op, Op::Add(vec![-2.0]));
    }

    #[test]
    fn latents_are_found_by_their_dictionarys_name() {
        let site: Site = "resid_post.5".parse().unwrap();
        let read = |text: &str| Edit::read(text, &|name| (name == "a/b").then_some(site));
        let edit = read("sae:a/b/7,9=x2@-1").unwrap();
        let dictionary = "a/b".to_owned();
        assert_eq!((edit.site, edit.op), (site, Op::Scale(2.0)));
        assert_eq!(edit.target, Target::Latents { dictionary: dictionary.clone(), indices: vec![7, 9] });
        assert_eq!(read("sae:a/b/error=0").unwrap().target, Target::Error { dictionary });
        let absent = read("sae:other/7=0").unwrap_err();
        assert_eq!(absent, EditError::Dictionary { found: "other".to_owned() });
        assert!(absent.to_string().contains("--dictionary other=PATH"));
        for text in ["sae:a/b=0", "sae:a/b/x=0", "sae:a/b/1,=0", "sae:=0"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "mlp_act.3", "mlp_act.3/7", "mlp_act.3/7=", "mlp_act.3/h1=0", "a=b", "mlp_act.3/7=nan"]
        {
            assert!(text.parse::<Edit>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_edit_or_an_error(text in ".*") {
            let _ = text.parse::<Edit>();
        }
    }
}
