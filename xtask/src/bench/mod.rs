//! `cargo xtask bench`: ours beside what people use today, on the same weights, tokens, threads and machine.
//!
//! Each case runs in a fresh process of each peer (its peak memory is its own), peers take turns, and every second round
//! goes backwards, so that a machine that slows down slows all alike. Numbers are compared only after their results are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::docs;
use crate::paths;
use crate::shell::{cargo, fetch, step};

mod agree;
mod circuits;
mod dictionaries;
mod machine;
mod options;
mod peer;
pub(crate) mod report;

use machine::Machine;
use options::Options;
use peer::{Peer, Sample};

/// The cases of `peers/harness.py`, which defines them.
const CASES: [&str; 5] = ["load", "forward", "capture", "attribute", "decode"];

/// What every peer measured in one case, in the order in which peers were given.
type Samples = BTreeMap<(&'static str, String), Vec<Sample>>;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    if options.dictionaries {
        return dictionaries::run(&options);
    }
    if let Some(checkout) = &options.circuits {
        return circuits::run(&options, checkout);
    }
    // With a program and a model at hand nothing of ours needs to be built, not even to fetch.
    if options.ours.is_none() || paths::gguf("smollm2").is_err() {
        fetch(&["smollm2"])?;
    }
    let gguf = paths::gguf("smollm2")?;
    let exact = Peer::ours(ours(&options)?, &gguf);
    let fast = exact.fast();
    let mut peers = vec![exact, fast];
    let mut notes = Vec::new();
    if options.peers {
        peer::others(&gguf, &options, &mut peers, &mut notes)?;
    }
    let samples = measure(&peers, &options)?;
    let verdicts = agree::compare(&peers, &samples);
    let machine = Machine::here(options.threads);
    let page = report::page(&machine, &options, &peers, &samples, &verdicts, &notes);
    println!("\n{page}");
    // A page with only some cases or without the peers would replace a whole one.
    if options.peers && options.cases.len() == CASES.len() {
        docs::write("benchmarks.md", &page)?;
    }
    let wrong: Vec<String> = verdicts.iter().filter(|v| !v.holds).map(ToString::to_string).collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("RESULTS DISAGREE, so the times mean nothing:\n  {}", wrong.join("\n  "))
    }
}

/// The program to time: the workspace's, built now, or one that the user built before.
fn ours(options: &Options) -> Result<PathBuf> {
    if let Some(program) = &options.ours {
        return Ok(program.clone());
    }
    step("build", &mut cargo(&["build", "--release", "-p", "pellucid", "--example", "bench"]))?;
    paths::executable("release/examples", "bench")
}

fn measure(peers: &[Peer], options: &Options) -> Result<Samples> {
    let mut samples = Samples::new();
    for round in 0..options.rounds {
        for case in &options.cases {
            let mut turn: Vec<&Peer> = peers.iter().collect();
            if round % 2 == 1 {
                turn.reverse();
            }
            for peer in turn {
                let sample = peer.sample(case, options.runs, options.threads)?;
                println!("   round {} {case:>9} {:<16} {}", round + 1, peer.name, sample.line());
                samples.entry((case, peer.name.clone())).or_default().push(sample);
            }
        }
    }
    Ok(samples)
}
