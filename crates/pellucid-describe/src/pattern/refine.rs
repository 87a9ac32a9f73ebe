//! Neuron2Graph's own steps (Foote et al. 2023), for units that are worth runs of the model: the shortest suffix
//! that keeps half of the activation, then for each of its tokens the saliency `1 − act(masked)/act`; a token
//! below the threshold does not matter and becomes a wildcard.

use pellucid_core::ServiceError;

/// Runs the model: the unit's activation (on the side of zero asked for, never below 0) at each token of each row.
pub trait Probe {
    /// As many rows back as were given, each as long.
    ///
    /// # Errors
    /// If the model cannot be run.
    fn activations(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ServiceError>;
}

/// Numbers that decide a refinement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefineSettings {
    /// A suffix must keep this share of the whole text's activation.
    pub keep: f32,
    /// A token that matters less than this becomes a wildcard.
    pub saliency: f32,
    /// What stands in for a masked token.
    pub mask: u32,
    /// Longest suffix tried.
    pub longest: usize,
}

/// What a token of a refined suffix is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// It must be this token.
    Needed(u32),
    /// Any token will do.
    Any,
}

/// A refined pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Refined {
    /// From the active token backwards. Wildcards at the far end are cut off.
    pub roles: Vec<Role>,
    /// The saliency of each token of the suffix, from the active token backwards.
    pub saliency: Vec<f32>,
    /// Activation on the whole text, and on the suffix alone.
    pub activation: f32,
    /// Activation on the suffix alone.
    pub suffix_activation: f32,
}

/// A refinement that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RefineError {
    /// The model could not be run.
    #[error("the model could not be run on altered texts: {0}")]
    Service(#[source] ServiceError),
    /// The probe gave back something of another shape.
    #[error(
        "the probe answered {found} values for row {row}, expected {expected}, one for each token; mend the probe"
    )]
    Shape {
        /// Which row.
        row: usize,
        /// Tokens asked for.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// Nothing to refine.
    #[error(
        "token {position} of {length} is not active when the model is run on this text; choose an active token"
    )]
    Inactive {
        /// Which token.
        position: usize,
        /// Tokens of the text.
        length: usize,
    },
}

/// Refines the pattern behind the activation at one token. None if no suffix within the settings' length keeps
/// enough of it.
///
/// # Errors
/// If the model cannot be run, answers in another shape, or the token is not active.
pub fn refine(
    probe: &dyn Probe,
    tokens: &[u32],
    position: usize,
    settings: &RefineSettings,
) -> Result<Option<Refined>, RefineError> {
    let inactive = RefineError::Inactive { position, length: tokens.len() };
    let Some(text) = tokens.get(..position.saturating_add(1)) else { return Err(inactive) };
    let activation = run(probe, std::slice::from_ref(&text.to_vec()))?.first().copied().unwrap_or(0.0);
    if activation <= 0.0 {
        return Err(inactive);
    }
    let suffixes: Vec<Vec<u32>> =
        (1..=text.len().min(settings.longest)).map(|n| text[text.len() - n..].to_vec()).collect();
    let kept = run(probe, &suffixes)?;
    let found = kept.iter().zip(suffixes).find(|(a, _)| **a >= settings.keep * activation);
    let Some((&suffix_activation, suffix)) = found else { return Ok(None) };
    // Each token of the suffix masked in turn, from the active token backwards.
    let masked: Vec<Vec<u32>> = (0..suffix.len())
        .rev()
        .map(|i| {
            let mut row = suffix.clone();
            row[i] = settings.mask;
            row
        })
        .collect();
    let base = suffix_activation.max(f32::MIN_POSITIVE);
    let saliency: Vec<f32> = run(probe, &masked)?.into_iter().map(|a| 1.0 - a / base).collect();
    let role =
        |(&token, &s): (&u32, &f32)| if s < settings.saliency { Role::Any } else { Role::Needed(token) };
    let mut roles: Vec<Role> = suffix.iter().rev().zip(&saliency).map(role).collect();
    while roles.last() == Some(&Role::Any) {
        roles.pop();
    }
    Ok(Some(Refined { roles, saliency, activation, suffix_activation }))
}

/// The activation at the last token of each row.
fn run(probe: &dyn Probe, rows: &[Vec<u32>]) -> Result<Vec<f32>, RefineError> {
    let answers = probe.activations(rows).map_err(RefineError::Service)?;
    let at = |(row, tokens): (usize, &Vec<u32>)| {
        let values = answers.get(row).map_or(&[][..], Vec::as_slice);
        match values.last() {
            Some(&last) if values.len() == tokens.len() => Ok(last),
            _ => Err(RefineError::Shape { row, expected: tokens.len(), found: values.len() }),
        }
    };
    rows.iter().enumerate().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fires on 7 when 3 stands two tokens before, whatever lies between.
    struct Rule;
    impl Probe for Rule {
        fn activations(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ServiceError> {
            let at = |row: &[u32], i: usize| {
                if row[i] == 7 && i >= 2 && row[i - 2] == 3 {
                    2.0
                } else {
                    0.1 * f32::from(u8::from(row[i] == 7))
                }
            };
            Ok(rows.iter().map(|row| (0..row.len()).map(|i| at(row, i)).collect()).collect())
        }
    }

    const SETTINGS: RefineSettings = RefineSettings { keep: 0.5, saliency: 0.5, mask: 0, longest: 8 };

    #[test]
    fn the_known_rule_is_found_with_its_wildcard() {
        let got = refine(&Rule, &[9, 9, 9, 3, 4, 7, 1], 5, &SETTINGS).unwrap().unwrap();
        assert_eq!(got.roles, [Role::Needed(7), Role::Any, Role::Needed(3)]);
        assert!((got.activation - 2.0).abs() < 1e-6 && got.saliency[1].abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_refined_is_said() {
        assert!(matches!(refine(&Rule, &[9, 9], 1, &SETTINGS), Err(RefineError::Inactive { .. })));
        assert!(matches!(refine(&Rule, &[9], 5, &SETTINGS), Err(RefineError::Inactive { .. })));
        let short = RefineSettings { longest: 2, ..SETTINGS };
        assert_eq!(refine(&Rule, &[3, 4, 7], 2, &short).unwrap(), None);
        struct Rubbish;
        impl Probe for Rubbish {
            fn activations(&self, _: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ServiceError> {
                Ok(vec![vec![1.0]])
            }
        }
        assert!(matches!(refine(&Rubbish, &[3, 4, 7], 2, &SETTINGS), Err(RefineError::Shape { .. })));
    }
}
