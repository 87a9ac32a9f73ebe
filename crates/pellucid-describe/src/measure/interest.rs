//! Which units are worth a person's time. A rule of plain comparisons, each with its reason, so that nobody has to
//! guess why a unit is missing from a list. (The peer asks a language model; that can be neither repeated nor tested.)

use std::fmt;

/// What the rule looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Share of tokens on which the unit is active.
    pub density: f64,
    /// The share of active mass on its most frequent token ([`super::single_token`]); 0 if nothing is active.
    pub single_token_share: f64,
    /// The lower end of the test score's interval; none if it has no description.
    pub score_low: Option<f64>,
    /// The score of other units' descriptions on it (a high quantile of them, or the one that was tried).
    pub null: f64,
    /// Whether the description speaks of punctuation, white space or a position and of nothing else.
    pub only_form: bool,
}

/// The bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Rarer units have too few examples to be known.
    pub least_density: f64,
    /// Denser units are part of the machinery; a person sees "everything".
    pub most_density: f64,
    /// From this share on a unit is a detector of one token.
    pub single_token: f64,
    /// How far the interval's lower end must lie above the null.
    pub margin: f64,
}

impl Default for Rule {
    /// Density from 1e-6 to 0.1, one token below 0.9 of the mass, lower bound above the null.
    fn default() -> Self {
        Self { least_density: 1e-6, most_density: 0.1, single_token: 0.9, margin: 0.0 }
    }
}

/// Why a unit is left out.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// Active more rarely than the bound.
    TooRare,
    /// Active more often than the bound.
    TooDense,
    /// One token holds nearly all of its activation.
    SingleToken,
    /// It has no description.
    NotDescribed,
    /// Its description does no better than another unit's.
    NotAboveNull,
    /// It is about punctuation, white space or position alone.
    OnlyForm,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Exclusion::TooRare => "active too rarely to be known",
            Exclusion::TooDense => "active nearly everywhere",
            Exclusion::SingleToken => "fires on one token only",
            Exclusion::NotDescribed => "no description",
            Exclusion::NotAboveNull => "its description does no better than another unit's",
            Exclusion::OnlyForm => "punctuation, white space or position alone",
        })
    }
}

/// The rule's answer: interesting if nothing speaks against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// All that speaks against it, in the order of [`Exclusion`].
    pub against: Vec<Exclusion>,
}

impl Verdict {
    /// Whether the unit is worth a person's time.
    pub fn interesting(&self) -> bool {
        self.against.is_empty()
    }
}

/// Applies the rule. A number that is not one speaks against the unit.
pub fn interesting(facts: &Facts, rule: &Rule) -> Verdict {
    let above = |low: f64| low > facts.null + rule.margin;
    let checks = [
        (!facts.density.is_finite() || facts.density < rule.least_density, Exclusion::TooRare),
        (facts.density > rule.most_density, Exclusion::TooDense),
        (facts.single_token_share >= rule.single_token, Exclusion::SingleToken),
        (facts.score_low.is_none(), Exclusion::NotDescribed),
        (facts.score_low.is_some_and(|low| !above(low)), Exclusion::NotAboveNull),
        (facts.only_form, Exclusion::OnlyForm),
    ];
    Verdict { against: checks.into_iter().filter(|(holds, _)| *holds).map(|(_, why)| why).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Facts =
        Facts { density: 1e-3, single_token_share: 0.3, score_low: Some(0.4), null: 0.05, only_form: false };

    #[test]
    fn each_bound_has_its_reason() {
        let why = |facts: Facts| interesting(&facts, &Rule::default()).against;
        assert!(interesting(&GOOD, &Rule::default()).interesting());
        assert_eq!(why(Facts { density: 1e-9, ..GOOD }), [Exclusion::TooRare]);
        assert_eq!(why(Facts { density: f64::NAN, ..GOOD }), [Exclusion::TooRare]);
        assert_eq!(why(Facts { density: 0.5, ..GOOD }), [Exclusion::TooDense]);
        assert_eq!(why(Facts { single_token_share: 0.9, ..GOOD }), [Exclusion::SingleToken]);
        assert_eq!(why(Facts { score_low: None, ..GOOD }), [Exclusion::NotDescribed]);
        assert_eq!(why(Facts { score_low: Some(0.05), ..GOOD }), [Exclusion::NotAboveNull]);
        assert_eq!(why(Facts { score_low: Some(f64::NAN), ..GOOD }), [Exclusion::NotAboveNull]);
        assert_eq!(
            why(Facts { only_form: true, density: 0.5, ..GOOD }),
            [Exclusion::TooDense, Exclusion::OnlyForm]
        );
    }
}
