//! The commands, one file each.

mod ablate;
mod atlas;
mod attribute;
mod behaviour;
mod check;
mod circuit;
mod corpus;
mod demo;
mod dict;
mod direction;
mod docs;
mod docs_atlas;
mod docs_attribution;
mod docs_blind;
mod docs_parity;
mod docs_points;
mod embed;
mod fetch;
mod find;
mod flow;
mod function;
mod graph;
mod info;
mod knockout;
mod lens;
mod lens_fit;
mod lens_wins;
mod lint;
mod patchscope;
mod points;
mod reproduce;
mod run;
mod serve;
mod trace;
mod train;
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
    /// What the model would say if it stopped at each layer: logit lens, fitted lenses, and where answers win.
    Lens(Box<lens::Arguments>),
    /// A value of one text put into another, where the model itself says what it means.
    Patchscope(Box<patchscope::Arguments>),
    /// Does the model do this at all? Accuracy and log-odds on a behaviour's items, with intervals.
    Behaviour(behaviour::Arguments),
    /// Every neuron's predicted effect on a behaviour, and what removing the foremost truly does.
    Ablate(ablate::Arguments),
    /// The edges between heads and MLPs that carry a behaviour: scored, cut, and measured beside controls.
    Circuit(circuit::Arguments),
    /// The neurons behind a word as a graph: what each adds to each, pruned, and the foremost truly zeroed.
    Graph(Box<graph::Arguments>),
    /// Of which heads, tokens and MLPs a token's vector is made, layer by layer, and the ways back.
    Flow(flow::Arguments),
    /// The direction between two classes of a behaviour's items: found, chosen by the published rule, added and ablated.
    Direction(direction::Arguments),
    /// What a few examples tell a model, as one vector: found by its heads' causal effects, added to bare questions.
    FunctionVector(function::Arguments),
    /// Where an answer is decided: values of a clean run put into a corrupted one, place by place or along a path.
    Trace(Box<trace::Arguments>),
    /// Attention edges cut, layer by layer, and what the answer loses by it.
    Knockout(knockout::Arguments),
    /// Sparse autoencoders of a site: train one on text, judge one.
    Dict(dict::Arguments),
    /// A one-layer transformer from text, small enough to be understood: a model for every other command.
    Train(train::Arguments),
    /// A published study done again, from the text on, with this run's numbers beside the paper's.
    Reproduce(reproduce::Arguments),
    /// What can be looked at in a model, with the names other tools use.
    Points(points::Arguments),
    /// What a model file holds.
    Info(info::Arguments),
    /// Every neuron watched over a corpus, described and scored: one file that can be searched.
    Atlas(atlas::Arguments),
    /// Units by what they are about, in plain words.
    Find(find::Arguments),
    /// The neurons behind a word, in clusters of what they are about.
    Lint(lint::Arguments),
    /// The live page: chat, see which neurons made the model say a word, switch them off, compare.
    Serve(serve::Arguments),
    /// Test that what Pellucid shows of a model adds up to what the model computes.
    Check(check::Arguments),
    /// Fetch models into the cache and print where they are.
    Fetch(fetch::Arguments),
    /// Assemble the default corpus in the cache and print where it is.
    Corpus(corpus::Arguments),
    /// A tour: ask SmolLM2 for a capital, see which neurons say it, and turn them off.
    Demo(demo::Arguments),
    /// Make the model that comes with the program, from text and seeds.
    #[command(hide = true)]
    Embed(Box<embed::Arguments>),
    /// Write a page of measurements as markdown.
    #[command(hide = true)]
    Docs(Box<docs::Arguments>),
}

impl Command {
    /// Whether the thread that runs it only waits for others.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Command::Serve(_))
    }

    pub(crate) fn run(&self, out: &mut Out) -> Result<ExitCode> {
        match self {
            Command::Run(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Attribute(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Lens(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Patchscope(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Behaviour(a) => a.run(out),
            Command::Ablate(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Circuit(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Graph(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Flow(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Direction(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::FunctionVector(a) => a.run(out),
            Command::Trace(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Knockout(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Dict(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Train(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Reproduce(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Points(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Info(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Atlas(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Find(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Lint(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Serve(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Check(a) => a.run(out),
            Command::Fetch(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Corpus(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Demo(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Embed(a) => a.run(out).map(|()| ExitCode::SUCCESS),
            Command::Docs(a) => a.run(out).map(|()| ExitCode::SUCCESS),
        }
    }
}
