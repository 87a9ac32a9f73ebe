//! The behaviour gate: does the model do this at all? Without it every method would draw a picture of nothing.

use super::Ready;
use super::odds::all_odds;
use crate::{Error, Interval, Result};
use pellucid_model::Model;
use serde::Serialize;

/// How well a model shows a behaviour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gate {
    /// The behaviour.
    pub behaviour: String,
    /// Share of items whose right answer stands above the wrong one, with Wilson's interval.
    pub accuracy: Interval,
    /// What guessing reaches.
    pub chance: f64,
    /// Mean log-odds of right against wrong, with its interval.
    pub log_odds: Interval,
    /// Whether the accuracy's interval lies above chance.
    pub shown: bool,
    /// Items that were left out because they do not fit the tokenizer.
    pub left_out: usize,
    /// Log-odds item by item.
    #[serde(skip)]
    pub items: Vec<f64>,
}

impl Gate {
    /// Runs every item once.
    ///
    /// # Errors
    /// If the run fails.
    pub fn measure(model: &Model, ready: &Ready) -> Result<Self> {
        let items = all_odds(model, &ready.items, |_| Ok(()))?;
        let accuracy = accuracy(&items);
        let chance = 0.5;
        Ok(Gate {
            behaviour: ready.name.clone(),
            accuracy,
            chance,
            log_odds: Interval::mean(&items),
            shown: accuracy.low > chance,
            left_out: ready.left_out,
            items,
        })
    }

    /// The verdict in a sentence.
    pub fn sentence(&self) -> String {
        let Interval { value, low, high, n } = self.accuracy;
        let does = if self.shown { "shows" } else { "does not show" };
        format!(
            "this model {does} {}: the right answer is above the wrong one in {value:.2} of {n} items (95% interval {low:.2} to {high:.2}; chance {:.2})",
            self.behaviour, self.chance
        )
    }

    /// Lets a method pass where the behaviour is there, or where it is to run anyway.
    ///
    /// # Errors
    /// The verdict, where it is no.
    pub fn pass(&self, anyway: bool) -> Result<()> {
        if self.shown || anyway { Ok(()) } else { Err(Error::NotShown(self.sentence())) }
    }
}

/// The share of positive log-odds.
pub(crate) fn accuracy(odds: &[f64]) -> Interval {
    Interval::share(odds.iter().filter(|o| **o > 0.0).count(), odds.len())
}
