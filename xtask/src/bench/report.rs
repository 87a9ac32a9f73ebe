//! docs/benchmarks.md, or for a processor without matrix tiles a page of its own: what was run, on what, and the ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::machine::Machine;
use super::options::Options;
use super::peer::{Kind, Peer};
use super::table::Table;
use super::{Section, asked};

/// Above this share of the processors used by others, a reader must be warned.
pub(super) const BUSY: f64 = 0.05;

/// One sentence for each case; `peers/harness.py` has the exact contract.
const MEANING: [(&str, &str); 8] = [
    (
        "load",
        "the model from its file to the first moment it could run (without the tokenizer for the peers; ours, transformers and llama.cpp read the GGUF, the others f32 safetensors of the same weights, which is less work; in the other cases transformers too reads safetensors)",
    ),
    ("start", "the same with the first token after a prompt of 16"),
    (
        "forward",
        "8 rows of 256 tokens, plain, logits of the last position only on every side (`logits_to_keep=1`)",
    ),
    ("capture", "the same, keeping `mlp_act` (the down projection's input) of all layers"),
    (
        "sweep",
        "8 windows of 256 tokens through all layers while an atlas's collectors take `mlp_act` of every layer (after 48 such batches: as many windows are then new finds for the lists of exemplars as in the mean over the 244 batches of an atlas of 500,000 tokens), and by turns with it the same without collectors; ours only",
    ),
    ("row", "one row of 256 tokens, plain"),
    (
        "attribute",
        "256 tokens: `mlp_act` × d(logit[y] − mean(logits))/d(`mlp_act`) in all layers, no weight gradients",
    ),
    (
        "decode",
        "64 greedy tokens after 16, with a KV cache, while `mlp_act.15/100` is set to 0 at every step (the peers in a bare loop, which is faster than their `generate`; llama.cpp, which cannot edit while it runs, on a copy of the file in which that neuron is silent)",
    ),
];

/// Ours and its peers in each kind of numbers: the heading, and what is said below it.
const KINDS: [(Kind, &str, &str); 3] = [
    (Kind::Exact, "In f32", ""),
    (
        Kind::Rounded,
        "In bf16",
        "Ours with `--dtype bf16 --precision fast`; norms and softmax are f32 there, and so is all else where the processor has no unit for bf16.\n\n",
    ),
    (
        Kind::File,
        "On the GGUF's own blocks",
        "Ours with `--dtype file --precision fast`: one token at a time on the file's blocks, its numbers rounded to 16 bits of the largest near them, many at once rounded to \
         bf16 where the processor has a unit for it; llama.cpp rounds what it multiplies with the blocks.\n\n",
    ),
];

pub(super) fn page(machine: &Machine, options: &Options, sections: &[Section]) -> String {
    let mut page = head(machine, options);
    let samples = sections.iter().flat_map(|section| section.samples.values().flatten());
    let versions: BTreeMap<String, String> = samples.flat_map(|sample| sample.versions.clone()).collect();
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let _ = writeln!(page, "Versions: {}.\n", versions.join(", "));
    page += "A ratio is the peer's median divided by ours: above 1, ours is faster. Its range is from the peer's fastest beside our slowest to its\nslowest beside our fastest. A dash: not done by that peer.\n";
    for section in sections {
        page += &about(section, options);
    }
    page
}

fn head(machine: &Machine, options: &Options) -> String {
    let mut text = String::from("# Benchmarks\n\nWritten by `cargo xtask bench --peers`; do not edit.\n\n");
    let _ = writeln!(text, "{machine}");
    let Options { rounds, runs, .. } = options;
    let _ = writeln!(
        text,
        "Each case ran in fresh processes of each peer by turns; processes: {rounds}, timed runs in each: {runs}, after one warm-up.\n"
    );
    for (case, meaning) in MEANING.iter().filter(|(case, _)| options.cases.contains(case)) {
        let _ = writeln!(text, "- `{case}`: {meaning}");
    }
    text.push('\n');
    text
}

/// One model.
fn about(section: &Section, options: &Options) -> String {
    let Section { subject, peers, samples, .. } = section;
    let mut text = format!("\n## {}\n\n", subject.title);
    for note in section.notes.iter().cloned().chain([quiet(section)]) {
        let _ = writeln!(text, "{note}\n");
    }
    text += &asked::table(section, options);
    let tables: Vec<(&str, &str, f64, Table<'_>)> = KINDS
        .iter()
        .map(|(kind, heading, said)| {
            let peers: Vec<&Peer> = peers.iter().filter(|peer| peer.kind == *kind).collect();
            let (_, weights) = unit(section, *kind);
            (*heading, *said, weights, Table { peers, samples, cases: &options.cases })
        })
        .collect();
    text += "\n### Time\n\nMedian seconds, with the fastest and the slowest run.\n";
    for (heading, said, _, table) in &tables {
        let _ = write!(text, "\n#### {heading}\n\n{said}{}", table.times());
    }
    let _ = writeln!(
        text,
        "\n### Peak memory\n\nThe process's high-water mark, as a multiple of what the heading says; \"idle\" is after the imports. `capture` keeps what was asked\nfor, {:.2} × the weights in f32 by itself; `sweep` holds its collectors.\n",
        subject.captured() / subject.weights(4)
    );
    for (kind, (_, _, weights, table)) in KINDS.iter().zip(&tables) {
        let _ = writeln!(text, "#### Of {}\n\n{}", unit(section, kind.0).0, table.memory(*weights));
    }
    let _ = writeln!(text, "### Do they compute the same?\n");
    for verdict in &section.verdicts {
        let _ = writeln!(text, "- {verdict}");
    }
    text
}

/// What memory is a multiple of: in words and bytes.
fn unit(section: &Section, kind: Kind) -> (String, f64) {
    let (words, bytes) = match kind {
        Kind::Exact => ("the weights in f32", section.subject.weights(4)),
        Kind::Rounded => ("the weights in bf16", section.subject.weights(2)),
        Kind::File => ("the file", section.file),
    };
    (format!("{words} ({:.0} MB)", bytes / 1e6), bytes)
}

/// How much other programs disturbed, from the worst process.
fn quiet(section: &Section) -> String {
    let shares = section.samples.values().flatten().filter_map(|sample| sample.others);
    match shares.fold(None, |most: Option<f64>, share| Some(most.map_or(share, |most| most.max(share)))) {
        None => "How busy the machine was with other programs is not known on this system.".to_owned(),
        Some(share) if share > BUSY => {
            let percent = share * 100.0;
            format!(
                "**The machine was busy**: other programs took up to {percent:.0} % of it during a measurement. Measure again."
            )
        }
        Some(share) => format!(
            "Other programs took at most {:.1} % of the machine during any measurement.",
            share * 100.0
        ),
    }
}

/// The middle value, or the mean of the two in the middle; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

pub(super) fn header(heads: &[String]) -> String {
    let rule: Vec<String> =
        heads.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "---:" }.to_owned()).collect();
    line(heads) + &line(&rule)
}

pub(super) fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::super::CASES;
    use super::{MEANING, median};

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn every_case_is_explained() {
        assert_eq!(MEANING.map(|(case, _)| case), CASES);
    }
}
