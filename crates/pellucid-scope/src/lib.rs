//! A model under the microscope, with its atlas where there is one: what the program, the server and the Python package
//! all do, once, on the same code, with the same results on the wire.
//!
//! [`Loaded`] is a model with its name, [`Text`] a text made ready to run on it, [`Shelf`] the atlas file with what is
//! kept of it in memory. Each question is one module and one function: [`explain`] (why this word, in clusters),
//! [`ablate`] (do it and look), [`activations`], [`compare`] (a text read plain and edited), [`steer`] (plain words to
//! edits), [`lens`], [`find`], [`unit()`], [`dictionary()`] (all latents at a glance). Answers are plain data with names that are part of the wire's schema
//! (`docs/json.md` and the server's OpenAPI document).

mod ablate;
mod activations;
mod compare;
mod concept;
mod dictionary;
mod encoder;
mod error;
mod explain;
mod find;
pub mod lab;
mod lens;
mod loaded;
mod rows;
mod shape;
mod shelf;
mod steer;
mod text;
mod unit;
mod wire;
mod words;

pub use ablate::{AblateReply, Ablating, Outcome, ablate};
pub use activations::{ActivationsReply, ActiveUnit, Looking, activations};
pub use compare::{ChangedUnit, CompareReply, Comparing, compare};
pub use concept::Concept;
pub use dictionary::{
    DictionaryAtlas, DictionaryCard, DictionaryFiles, DictionaryReply, LatentMap, LatentsReply, MOST_MAPPED,
    ULTRA_LOW, build_command, check_dictionary, dictionary, kept_map, latent_words, latents, make_map,
    map_file,
};
pub use encoder::{ENCODER, Meaning};
pub use error::{Error, Result};
pub use explain::{Cluster, ExplainReply, Explaining, Sum, UnitEffect, explain};
pub use find::{Finding, Found, Order, find, unit_name};
pub use lens::{Cell, LensGrid, LensGridRow, Ranked, lens};
pub use loaded::Loaded;
pub use shape::{
    EditShape, MessageRoleShape, OpShape, PolarityShape, PositionsShape, RoleShape, TargetShape,
};
pub use shelf::{Opened, Shelf, check_model, default_path, latents_path, open_current};
pub use steer::{Change, Steered, Steering, What, steer, steered_dictionary};
pub use text::{Text, TextSpec};
pub use unit::{
    Bin, Exemplar, ExemplarToken, Judged, KindScore, Showing, Side, Spot, Statistics, TestReply, UnitReply,
    place, test, unit,
};
pub use wire::{Explained, Explaining as Aim, Message, Placed, ReadToken, Scored, Token, read, tap};
pub use words::{INTERESTING, SINGLE_TOKEN, Words};
