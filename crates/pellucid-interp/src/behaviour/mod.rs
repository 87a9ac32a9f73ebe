//! Behaviours: what a model is asked to do, as plain data, and whether it does it at all.
//!
//! A behaviour is a list of [`Item`]s: a prompt with right and wrong next tokens, and a counterfactual prompt whose right
//! answer is another. It comes from a file ([`Behaviour::read`]) or a generator ([`Behaviour::built_in`]). Before a method
//! explains it, [`Gate::measure`] asks whether the model shows it.

mod gate;
mod generate;
mod items;
mod odds;
mod words;

pub use gate::Gate;
pub use items::{Behaviour, Item};

pub(crate) use gate::accuracy;
pub use odds::{Prepared, Ready};
pub(crate) use odds::{all_odds, batch_odds, batches, batches_of, last_rows, odds_gradient, odds_of, packed};
pub(crate) use words::{capitals, nouns};

/// The built-in behaviours, with what each asks.
pub const BUILT_IN: [(&str, &str); 6] = [
    ("number", "subject-verb number: The old keys > are, not is"),
    ("agreement", "subject-verb number across a second noun: The keys near the cabinet > are, not is"),
    ("determiner", "a noun's number after this, that, these, those: Anna bought these > books, not book"),
    ("ioi", "the indirect object: When Mary and John went home, John gave a book to > Mary, not John"),
    ("capitals", "a country's capital, after one example"),
    ("refusal", "declining a harmful request in a chat: the answer begins with I, Sorry, As or No"),
];
