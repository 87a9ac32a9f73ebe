//! What is asked about, and the gate: does the model do this at all?

use super::shape::{GateShape, ItemShape};
use crate::error::{Result, bad};
use pellucid_core::Seed;
use pellucid_interp::behaviour::{BUILT_IN, Behaviour, Gate, Item, Prepared, Ready};
use pellucid_model::Model;
use serde::Serialize;
use utoipa::ToSchema;

/// A behaviour, how many of its items, and the seed of what is random.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The items, in words.
    pub behaviour: Behaviour,
    /// How many at most.
    pub items: usize,
    /// Chooses random controls.
    pub seed: Seed,
}

/// A behaviour that was measured on a model.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The items in the model's tokens.
    pub ready: Ready,
    /// How well the model shows it.
    pub gate: Gate,
    /// Chooses random controls.
    pub seed: Seed,
}

/// A built-in behaviour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LabBehaviour)]
pub struct BuiltIn {
    /// Its name.
    #[schema(value_type = String)]
    pub name: &'static str,
    /// What it asks, in words.
    #[schema(value_type = String)]
    pub about: &'static str,
    /// Whether its items are of two classes, which a direction needs.
    pub classes: bool,
    /// An item of it.
    #[schema(value_type = ItemShape)]
    pub example: Item,
}

/// A measured behaviour as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct BehaviourReport {
    /// How well the model shows it.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// The verdict.
    pub sentence: String,
    /// Chose the items.
    pub seed: u64,
    /// Each item with its log-odds.
    pub items: Vec<Entry>,
}

/// An item and how the model answers it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = LabItem)]
pub struct Entry {
    /// The item.
    #[serde(flatten)]
    #[schema(value_type = ItemShape)]
    pub item: Item,
    /// Log-odds of right against wrong.
    pub log_odds: f64,
}

/// The built-in behaviours, each with an item.
///
/// # Errors
/// If one of them cannot be made, which would be a bug.
pub fn built_in() -> Result<Vec<BuiltIn>> {
    let of = |(name, about)| {
        let Some(example) = Behaviour::built_in(name, Seed(0), 1)?.items.into_iter().next() else {
            return bad(format!("{name} has no items"));
        };
        Ok(BuiltIn { name, about, classes: example.class.is_some(), example })
    };
    BUILT_IN.into_iter().map(of).collect()
}

impl Subject {
    /// A built-in behaviour, with some items to spare for what the tokenizer does not fit.
    ///
    /// # Errors
    /// If there is none of this name, or no items are asked for.
    pub fn built_in(name: &str, items: usize, seed: u64) -> Result<Self> {
        if items == 0 {
            return bad("a behaviour needs at least one item; 64 are usual");
        }
        let seed = Seed(seed);
        let behaviour = Behaviour::built_in(name, seed, items.saturating_mul(2))?;
        Ok(Subject { behaviour, items, seed })
    }

    /// The items in the model's tokens.
    ///
    /// # Errors
    /// If an answer is no single token, or nothing fits.
    pub fn ready(&self, model: &Model) -> Result<Ready> {
        Ok(self.behaviour.prepare(model, self.items)?)
    }

    /// Asks the model every item once.
    ///
    /// # Errors
    /// As [`Subject::ready`], or if a run fails.
    pub fn measure(&self, model: &Model) -> Result<Measured> {
        Measured::of(model, self.ready(model)?, self.seed)
    }
}

impl Measured {
    /// Asks the model every item once.
    ///
    /// # Errors
    /// If a run fails.
    pub fn of(model: &Model, ready: Ready, seed: Seed) -> Result<Self> {
        let gate = Gate::measure(model, &ready)?;
        Ok(Measured { ready, gate, seed })
    }

    /// As plain data.
    pub fn report(&self) -> BehaviourReport {
        let entry = |(i, odds): (&Prepared, &f64)| Entry { item: i.item.clone(), log_odds: *odds };
        BehaviourReport {
            gate: self.gate.clone(),
            sentence: self.gate.sentence(),
            seed: self.seed.0,
            items: self.ready.items.iter().zip(&self.gate.items).map(entry).collect(),
        }
    }

    /// The items of the behaviour that should be left alone: the one that was asked for, or capitals, or agreement where
    /// capitals are asked about.
    pub(super) fn off_task(&self, model: &Model, asked: Option<&Behaviour>) -> Result<Ready> {
        let of = &self.ready.name;
        let default = || {
            let name = if of == "capitals" { "agreement" } else { "capitals" };
            Behaviour::built_in(name, self.seed, 2 * OFF_TASK)
        };
        let other = asked.cloned().map_or_else(default, Ok)?;
        if other.name == *of {
            return bad(format!("the off-task behaviour must be another than {of}"));
        }
        Ok(other.prepare(model, OFF_TASK)?)
    }
}

/// Items of the behaviour that serves as a control; fewer do.
pub const OFF_TASK: usize = 16;
