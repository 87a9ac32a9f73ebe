//! docs/benchmarks.md: what was run, on what, and the ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Samples;
use super::agree::Verdict;
use super::machine::Machine;
use super::options::Options;
use super::peer::{Peer, Sample};

/// SmolLM2-135M's weights in f32: 134,515,008 parameters.
const WEIGHTS: f64 = 538_060_032.0;

/// Above this share of the processors used by others, a reader must be warned.
pub(super) const BUSY: f64 = 0.05;

/// One sentence for each case; `peers/harness.py` has the exact contract.
const MEANING: [(&str, &str); 5] = [
    (
        "load",
        "the model from its file to the first moment it could run (without the tokenizer for the peers; TransformerLens reads f32 safetensors, the others the GGUF)",
    ),
    (
        "forward",
        "8 rows of 256 tokens, plain, logits of the last position only on every side (`logits_to_keep=1`)",
    ),
    ("capture", "the same, keeping `mlp_act` (the down projection's input) of all layers"),
    (
        "attribute",
        "256 tokens: `mlp_act` × d(logit[y] − mean(logits))/d(`mlp_act`) in all layers, no weight gradients",
    ),
    (
        "decode",
        "64 greedy tokens after 16, with a KV cache, while `mlp_act.15/100` is set to 0 at every step (the peers in a bare loop, which is faster than their `generate`)",
    ),
];

pub(super) fn page(
    machine: &Machine,
    options: &Options,
    peers: &[Peer],
    samples: &Samples,
    verdicts: &[Verdict],
    notes: &[String],
) -> String {
    let (rounded, exact): (Vec<&Peer>, Vec<&Peer>) = peers.iter().partition(|peer| peer.rounds);
    let table = Table { peers: &peers.iter().collect::<Vec<_>>(), samples, cases: &options.cases };
    let mut page = head(machine, options);
    let versions: Vec<String> =
        table.versions().iter().map(|(name, version)| format!("{name} {version}")).collect();
    let _ = writeln!(page, "Versions: {}.\n", versions.join(", "));
    for note in notes.iter().cloned().chain([table.quiet()]) {
        let _ = writeln!(page, "{note}\n");
    }
    let _ = writeln!(
        page,
        "## Time\n\nMedian seconds, with the fastest and the slowest run. The ratio is the peer's median divided by ours: above 1, ours is\nfaster. Its range is from the peer's fastest beside our slowest to its slowest beside our fastest.\n"
    );
    page += "### In f32\n\n";
    page += &Table { peers: &exact, ..table }.times();
    page += "\n### In bf16\n\nOurs with `--dtype bf16 --precision fast`; attention, norms and gradients are f32 there.\n\n";
    page += &Table { peers: &rounded, ..table }.times();
    let _ = writeln!(
        page,
        "\n## Peak memory\n\nThe process's high-water mark, as a multiple of the weights in f32 (538,060,032 bytes); \"idle\" is after the imports.\n`capture` keeps what was asked for, 30 × 2048 × 1536 f32: 0.70 × by itself.\n"
    );
    page += &table.memory();
    let _ = writeln!(page, "\n## Do they compute the same?\n");
    for verdict in verdicts {
        let _ = writeln!(page, "- {verdict}");
    }
    page
}

fn head(machine: &Machine, options: &Options) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench --peers`; do not edit. SmolLM2-135M-Instruct (Q4_1 GGUF).\n\n",
    );
    let Machine { cpu, features, cores, threads, system } = machine;
    let _ = writeln!(
        text,
        "Machine: {cpu}, {cores} cores, {system}, {features}. Threads: {threads} on every side."
    );
    let Options { rounds, runs, .. } = options;
    let _ = writeln!(
        text,
        "Each case ran in {rounds} fresh processes of each peer by turns, {runs} runs after one warm-up in each.\n"
    );
    for (case, meaning) in MEANING.iter().filter(|(case, _)| options.cases.contains(case)) {
        let _ = writeln!(text, "- `{case}`: {meaning}");
    }
    text.push('\n');
    text
}

/// All samples, with the orders in which to show them.
#[derive(Clone, Copy)]
struct Table<'a> {
    peers: &'a [&'a Peer],
    samples: &'a Samples,
    cases: &'a [&'static str],
}

impl Table<'_> {
    fn of(&self, case: &'static str, peer: &Peer) -> &[Sample] {
        self.samples.get(&(case, peer.name.clone())).map_or(&[], Vec::as_slice)
    }

    fn times(&self) -> String {
        let Some((ours, others)) = self.peers.split_first() else { return String::new() };
        let mut heads = vec!["case".to_owned(), ours.name.clone()];
        heads.extend(others.iter().flat_map(|peer| [peer.name.clone(), "ratio".to_owned()]));
        let mut text = header(&heads);
        for case in self.cases {
            let own = Spread::of(self.of(case, ours));
            let mut row = vec![format!("`{case}`"), own.to_string()];
            for peer in others {
                let spread = Spread::of(self.of(case, peer));
                row.extend([spread.to_string(), spread.over(&own)]);
            }
            text += &line(&row);
        }
        text
    }

    fn memory(&self) -> String {
        let mut heads = vec!["case".to_owned()];
        heads.extend(self.peers.iter().map(|peer| peer.name.clone()));
        let mut text = header(&heads);
        for case in self.cases {
            let peak = |peer: &Peer| self.of(case, peer).iter().map(|s| s.peak).fold(0.0, f64::max);
            let mut row = vec![format!("`{case}`")];
            row.extend(self.peers.iter().map(|peer| format!("{:.2} ×", peak(peer) / WEIGHTS)));
            text += &line(&row);
        }
        let idle = |peer: &Peer| {
            let all = self.cases.iter().flat_map(|case| self.of(case, peer)).filter_map(|s| s.idle);
            let most = all.fold(0.0, f64::max);
            if most > 0.0 { format!("{:.2} ×", most / WEIGHTS) } else { "–".to_owned() }
        };
        let mut row = vec!["idle".to_owned()];
        row.extend(self.peers.iter().map(|peer| idle(peer)));
        text + &line(&row)
    }

    fn versions(&self) -> BTreeMap<String, String> {
        let all = self.samples.values().flatten();
        all.flat_map(|sample| sample.versions.clone()).collect()
    }

    /// How much other programs disturbed, from the worst process.
    fn quiet(&self) -> String {
        let worst = self
            .samples
            .values()
            .flatten()
            .filter_map(|s| s.others)
            .fold(None, |most: Option<f64>, share| Some(most.map_or(share, |most| most.max(share))));
        match worst {
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
}

/// Median, least and most of all runs of all processes.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(samples: &[Sample]) -> Self {
        let all: Vec<f64> = samples.iter().flat_map(|s| s.seconds.iter().copied()).collect();
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        Self { median: median(&all), least, most: all.iter().copied().fold(0.0, f64::max) }
    }

    fn over(&self, ours: &Self) -> String {
        let (low, high) = (self.least / ours.most, self.most / ours.least);
        format!("**{:.2}** ({low:.2}–{high:.2})", self.median / ours.median)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3}–{:.3})", self.median, self.least, self.most)
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
