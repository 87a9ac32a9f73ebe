//! The commands, one file each.

mod attribute;
mod check;
mod demo;
mod docs;
mod docs_attribution;
mod docs_parity;
mod docs_points;
mod fetch;
mod info;
mod lens;
mod points;
mod run;
mod verify;
mod watch;

use crate::show::Out;
use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

/// What the program can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a prompt: the likeliest next tokens, a chat, generated text; plain and with edits; look inside.
    Run(run::Arguments),
    /// Which neurons, heads, layers or input tokens made the model say a token.
    Attribute(attribute::Arguments),
    /// What the model would say if it stopped at each layer (logit lens).
    Lens(lens::Arguments),
    /// What can be looked at in a model, with the names other tools use.
    Points(points::Arguments),
    /// What a model file holds.
    Info(info::Arguments),
    /// Test that what Pellucid shows of a model adds up to what the model computes.
    Check(check::Arguments),
    /// Fetch models into the cache and print where they are.
    Fetch(fetch::Arguments),
    /// A tour: ask SmolLM2 for a capital, see which neurons say it, and turn them off.
    Demo(demo::Arguments),
    /// Write a page of measurements as markdown.
    #[command(hide = true)]
    Docs(docs::Arguments),
}

impl Command {
    pub(crate) fn run(&self, out: &mut Out) -> Result<ExitCode> {
        match self {
            Command::Run(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Attribute(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Lens(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Points(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Info(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Check(a) => a.run(out),
            Command::Fetch(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Demo(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Docs(a) => a.run(out).map(|()| ExitCode::SUCCESS),
        }
    }
}
