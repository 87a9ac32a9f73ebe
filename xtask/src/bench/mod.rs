//! `cargo xtask bench`: ours beside what people use today, on the same weights, tokens, threads and machine.
//!
//! Each case runs in a fresh process of each peer (its peak memory is its own), peers take turns, and every second turn
//! goes backwards, so that a machine that slows down slows all alike. Numbers are compared only after their results are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::docs;
use crate::paths;
use crate::shell::{cargo, fetch, step};

mod agree;
mod asked;
mod circuits;
mod dictionaries;
mod kernels;
mod lineup;
mod machine;
mod options;
mod peer;
mod quality;
pub(crate) mod report;
mod subject;
mod table;

use agree::Verdict;
use machine::Machine;
use options::Options;
use peer::{Peer, Sample};
use subject::Subject;

/// The cases: `peers/harness.py` defines them, and our own program `sweep`, which no peer has.
const CASES: [&str; 8] = ["load", "start", "forward", "capture", "sweep", "row", "attribute", "decode"];

/// What every peer measured in one case, in the order in which peers were given.
type Samples = BTreeMap<(&'static str, String), Vec<Sample>>;

/// All about one model.
struct Section {
    subject: &'static Subject,
    /// The size of the GGUF.
    file: f64,
    peers: Vec<Peer>,
    samples: Samples,
    verdicts: Vec<Verdict>,
    notes: Vec<String>,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    if options.dictionaries {
        return dictionaries::run(&options);
    }
    if options.quality {
        return quality::run(&options);
    }
    if options.kernels {
        return kernels::run(&options);
    }
    if let Some(checkout) = &options.circuits {
        return circuits::run(&options, checkout);
    }
    // With a program and the models at hand nothing of ours needs to be built, not even to fetch.
    if options.ours.is_none() || options.models.iter().any(|subject| subject.gguf().is_err()) {
        fetch(&options.models.iter().map(|subject| subject.name).collect::<Vec<_>>())?;
    }
    let program = ours(&options)?;
    let sections: Vec<Section> =
        options.models.iter().map(|subject| section(&program, subject, &options)).collect::<Result<_>>()?;
    let machine = Machine::here(options.threads);
    let page = report::page(&machine, &options, &sections);
    println!("\n{page}");
    // A page with only some cases or without the peers would replace a whole one.
    if options.whole() {
        docs::write(machine.page(), &page)?;
    }
    let verdicts = || sections.iter().flat_map(|section| &section.verdicts);
    let wrong: Vec<String> = verdicts().filter(|v| !v.holds).map(ToString::to_string).collect();
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

fn section(program: &Path, subject: &'static Subject, options: &Options) -> Result<Section> {
    println!("── {}", subject.title);
    let mut peers = Vec::from(Peer::ours(program, subject)?);
    let mut notes = Vec::new();
    if options.peers {
        peers.extend(lineup::others(subject, options, &mut notes)?);
    }
    let samples = measure(&peers, options, &mut notes)?;
    let verdicts = agree::compare(&peers, &samples);
    let file = subject::size(&subject.gguf()?)?;
    Ok(Section { subject, file, peers, samples, verdicts, notes })
}

/// Every case of every peer. What a peer cannot do is a note, and is not tried again; ours must do all.
fn measure(peers: &[Peer], options: &Options, notes: &mut Vec<String>) -> Result<Samples> {
    let mut samples = Samples::new();
    let mut failed = BTreeSet::new();
    for round in 0..options.rounds {
        for (at, case) in options.cases.iter().enumerate() {
            let mut turn: Vec<&Peer> = peers.iter().filter(|peer| peer.cases.contains(case)).collect();
            if (round + at) % 2 == 1 {
                turn.reverse();
            }
            for peer in turn {
                let key = (*case, peer.name.clone());
                if failed.contains(&key) {
                    continue;
                }
                let sample = match peer.sample(case, options.runs, options.threads) {
                    Err(error) if !peer.is_ours() => {
                        let note =
                            format!("No `{case}` of {}: {}.", peer.name, lineup::without_places(&error)?);
                        println!("   {note}");
                        notes.push(note);
                        failed.insert(key);
                        continue;
                    }
                    sample => sample?,
                };
                println!("   round {} {case:>9} {:<17} {}", round + 1, peer.name, sample.line());
                samples.entry(key).or_default().push(sample);
            }
        }
    }
    Ok(samples)
}
