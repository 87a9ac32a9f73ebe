//! `pellucid dict`: sparse autoencoders of a site, from text to a folder that SAELens reads, and how good one is.

mod eval;
pub(crate) mod judge;
pub(crate) mod kinds;
mod probe;
pub(crate) mod recipe;
mod rows;
mod steer;
mod store;
pub(crate) mod text;
pub(crate) mod train;

use crate::show::Out;
use anyhow::Result;
use clap::{Args, Subcommand};
use eval::EvalArgs;
use probe::ProbeArgs;
use steer::SteerArgs;
use train::TrainArgs;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Train a dictionary or a transcoder of a site on a corpus, by one of seven recipes; the same command goes on where it was stopped.
    Train(Box<TrainArgs>),
    /// Judge a dictionary of any published format on text that it was not trained on.
    Eval(Box<EvalArgs>),
    /// How well a few latents tell kinds of text, beside as few coordinates.
    Probe(Box<ProbeArgs>),
    /// Switch latents on, and see whether the model then writes what they stand for; beside no edit and other latents.
    Steer(Box<SteerArgs>),
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        match &self.action {
            Action::Train(a) => a.run(out),
            Action::Eval(a) => a.run(out),
            Action::Probe(a) => a.run(out),
            Action::Steer(a) => a.run(out),
        }
    }
}
