//! `cargo xtask bench --dictionaries`: training of TopK autoencoders, ours beside dictionary_learning and SAELens.
//!
//! Everybody trains on the same rows in the same order, from the same first directions, at the same rate, in a fresh process, by turns; one
//! program judges all results on rows that nobody trained on. The libraries differ in what they do to a decoder row (norm 1, or nothing), so
//! ours runs both recipes and each library stands beside its own. Numbers count only where the results agree.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::machine::{Machine, Usage};
use super::options::Options;
use super::peer::folder;
use super::report::{BUSY, header, line, median};
use crate::shell::{cargo, program, read, step};
use crate::{docs, paths, python};

/// Active latents of a row, rows of a step, rows to train on and to be judged on.
const K: usize = 32;
const BATCH: usize = 2048;
const TRAIN: usize = 32 * BATCH;
const HELD: usize = 4096;

/// The learning rate, constant from the first step.
const RATE: &str = "1e-3";

/// Results may differ by three times what seeds differ by, or by this share of the FVU: bf16 and orders of sums.
const TOLERANCE: f64 = 2e-3;

/// A shape, and how many steps a segment has: enough to be timed, few enough for the slowest.
struct Shape {
    d: usize,
    latents: usize,
    segment: usize,
}

const SHAPES: [Shape; 2] =
    [Shape { d: 512, latents: 4096, segment: 10 }, Shape { d: 576, latents: 16_384, segment: 2 }];

/// The first steps, in which memory is first touched, are not timed.
const WARM: usize = 2;

/// Who trains: a recipe (`unit` is dictionary_learning's, `free` SAELens's), whose program, and in what numbers.
struct Trainee {
    recipe: &'static str,
    peer: Option<&'static str>,
    precision: &'static str,
}

const TRAINEES: [Trainee; 8] = [
    Trainee { recipe: "unit", peer: None, precision: "fast" },
    Trainee { recipe: "unit", peer: None, precision: "exact" },
    Trainee { recipe: "unit", peer: Some("dictionary-learning"), precision: "exact" },
    Trainee { recipe: "unit", peer: Some("dictionary-learning"), precision: "fast" },
    Trainee { recipe: "free", peer: None, precision: "fast" },
    Trainee { recipe: "free", peer: None, precision: "exact" },
    Trainee { recipe: "free", peer: Some("sae-lens"), precision: "exact" },
    Trainee { recipe: "free", peer: Some("sae-lens"), precision: "fast" },
];

impl Trainee {
    fn name(&self) -> String {
        match (self.peer, self.precision) {
            (Some(peer), "exact") => peer.to_owned(),
            (Some(peer), _) => format!("{peer}, bf16 autocast"),
            (None, precision) => format!("pellucid {precision}"),
        }
    }
}

/// One training in one process.
struct Sample {
    /// Of each segment.
    seconds: Vec<f64>,
    peak: f64,
    idle: f64,
    fvu: f64,
    l0: f64,
    versions: BTreeMap<String, String>,
    others: Option<f64>,
}

/// By place of the shape and of the trainee.
type Samples = BTreeMap<(usize, usize), Vec<Sample>>;

/// Where things are.
struct Place {
    ours: PathBuf,
    python: PathBuf,
    folder: PathBuf,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let build = ["build", "--release", "-p", "pellucid-dict", "--example", "dictionary_bench"];
    step("build", &mut cargo(&build))?;
    let requirements = fs::read_to_string(folder().join("dictionaries.txt")).context("the requirements")?;
    let place = Place {
        ours: paths::executable("release/examples", "dictionary_bench")?,
        python: python::environment("dictionaries", &requirements)?,
        folder: paths::cache()?.join("bench").join("dictionaries"),
    };
    fs::create_dir_all(&place.folder).context("making the cache's folder for rows")?;
    let mut samples = Samples::new();
    for round in 0..options.rounds {
        for (at, shape) in SHAPES.iter().enumerate() {
            let mut turn: Vec<usize> = (0..TRAINEES.len()).collect();
            if round % 2 == 1 {
                turn.reverse();
            }
            for who in turn {
                let sample = place.sample(shape, &TRAINEES[who], round, options)?;
                println!(
                    "   round {} d={} {:<36} {}",
                    round + 1,
                    shape.d,
                    TRAINEES[who].name(),
                    sample.line(shape)
                );
                samples.entry((at, who)).or_default().push(sample);
            }
        }
    }
    let wrong = disagreements(&samples);
    let page = page(&Machine::here(options.threads), options, &samples, &wrong);
    println!("\n{page}");
    if !wrong.is_empty() {
        bail!("RESULTS DISAGREE, so the times mean nothing:\n  {}", wrong.join("\n  "));
    }
    docs::write("dictionary-speed.md", &page)
}

impl Place {
    /// Our program, with what belongs to every call.
    fn ours(&self, command: &str, shape: &Shape) -> Result<Command> {
        let mut ours = program(&self.ours);
        ours.arg(command).arg("--file").arg(self.rows(shape)?).args(["--d", &shape.d.to_string()]);
        Ok(ours)
    }

    /// The rows of a width, made once.
    fn rows(&self, shape: &Shape) -> Result<PathBuf> {
        let file = self.folder.join(format!("rows-{}-{}.f32", shape.d, TRAIN + HELD));
        if !file.exists() {
            let mut make = program(&self.ours);
            make.arg("rows").arg("--file").arg(&file).args(["--d", &shape.d.to_string()]);
            step("rows to train on", make.args(["--count", &(TRAIN + HELD).to_string()]))?;
        }
        Ok(file)
    }

    /// The directions that everybody begins with, a seed for each round.
    fn begin(&self, shape: &Shape, seed: usize) -> Result<PathBuf> {
        let file = self.folder.join(format!("begin-{}-{}-{seed}.f32", shape.d, shape.latents));
        if !file.exists() {
            let mut make = self.ours("begin", shape)?;
            make.args(["--latents", &shape.latents.to_string(), "--seed", &seed.to_string()]);
            read(make.arg("--out").arg(&file))?;
        }
        Ok(file)
    }

    fn sample(&self, shape: &Shape, who: &Trainee, seed: usize, options: &Options) -> Result<Sample> {
        let out = self.folder.join("result");
        let mut command = match who.peer {
            None => self.ours("train", shape)?,
            Some(peer) => {
                let mut command = program(&self.python);
                command.arg(folder().join("dictionaries.py")).arg(peer).arg("--file").arg(self.rows(shape)?);
                command.args(["--d", &shape.d.to_string(), "--threads", &options.threads.to_string()]);
                command.arg("--begin").arg(self.begin(shape, seed)?);
                command
            }
        };
        let steps = WARM + options.runs * shape.segment;
        for (name, value) in [
            ("--train", TRAIN),
            ("--latents", shape.latents),
            ("--k", K),
            ("--batch", BATCH),
            ("--steps", steps),
            ("--warm", WARM),
            ("--segments", options.runs),
            ("--seed", seed),
        ] {
            command.args([name, &value.to_string()]);
        }
        command.args(["--rate", RATE, "--precision", who.precision, "--recipe", who.recipe]);
        command.arg("--out").arg(&out);
        command.env("RAYON_NUM_THREADS", options.threads.to_string());
        let (before, start) = (Usage::now(), Instant::now());
        let text = read(&mut command).with_context(|| format!("{} at d={}", who.name(), shape.d))?;
        let others = Usage::others(before, Usage::now(), start.elapsed());
        let judged = self.judge(shape, &out)?;
        let said = last_json(&text)?;
        let number = |json: &Value, key: &str| json[key].as_f64().with_context(|| format!("no `{key}`"));
        let seconds: Option<Vec<f64>> =
            said["seconds"].as_array().and_then(|all| all.iter().map(Value::as_f64).collect());
        let versions = said["versions"].as_object().context("no `versions`")?;
        Ok(Sample {
            seconds: seconds
                .filter(|all| all.len() == options.runs)
                .context("not a time for each segment")?,
            peak: number(&said, "peak_rss_bytes")?,
            idle: number(&said, "idle_rss_bytes")?,
            fvu: number(&judged, "fvu")?,
            l0: number(&judged, "l0")?,
            versions: versions
                .iter()
                .map(|(name, v)| (name.clone(), v.as_str().unwrap_or("?").to_owned()))
                .collect(),
            others,
        })
    }

    fn judge(&self, shape: &Shape, result: &Path) -> Result<Value> {
        let mut judge = self.ours("judge", shape)?;
        judge.args(["--train", &TRAIN.to_string()]).arg("--folder").arg(result);
        last_json(&read(&mut judge)?)
    }
}

fn last_json(text: &str) -> Result<Value> {
    let line = text.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("expected a line of JSON, found {line:?}"))
}

impl Sample {
    fn line(&self, shape: &Shape) -> String {
        let others = self.others.map_or(String::new(), |o| format!(", others took {:.0} %", 100.0 * o));
        let speed = speed(shape, median(&self.seconds));
        format!("{speed:.0} vectors/s, peak {:.0} MB, FVU {:.5}{others}", self.peak / 1e6, self.fvu)
    }
}

/// Vectors a second, of a segment's seconds.
fn speed(shape: &Shape, seconds: f64) -> f64 {
    (shape.segment * BATCH) as f64 / seconds
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The standard deviation of a few values; 0 of fewer than two.
fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    if values.len() < 2 { 0.0 } else { (squares / (values.len() - 1) as f64).sqrt() }
}

/// Every trainee against ours of the same recipe in f32: FVU within the noise of seeds or bf16, and equally many active.
fn disagreements(samples: &Samples) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((at, who), theirs) in samples {
        let trainee = &TRAINEES[*who];
        let reference = TRAINEES
            .iter()
            .position(|t| t.recipe == trainee.recipe && t.peer.is_none() && t.precision == "exact");
        let Some(ours) = reference.and_then(|r| samples.get(&(*at, r))) else { continue };
        let of = |all: &[Sample]| -> Vec<f64> { all.iter().map(|s| s.fvu).collect() };
        if let Some(why) = apart(&of(ours), &of(theirs)) {
            wrong.push(format!("d={}, {}: {why}", SHAPES[*at].d, trainee.name()));
        }
        let l0 = |all: &[Sample]| mean(&all.iter().map(|s| s.l0).collect::<Vec<_>>());
        let difference = (l0(ours) - l0(theirs)).abs();
        if difference.is_nan() || difference > 0.05 {
            wrong.push(format!(
                "d={}, {}: L0 {} beside our {}",
                SHAPES[*at].d,
                trainee.name(),
                l0(theirs),
                l0(ours)
            ));
        }
    }
    wrong
}

/// Why two sets of FVU are not of the same training; none where they are.
fn apart(ours: &[f64], theirs: &[f64]) -> Option<String> {
    let noise = 3.0 * deviation(ours).max(deviation(theirs));
    let (a, b) = (mean(ours), mean(theirs));
    let most = noise.max(TOLERANCE * a);
    let difference = (a - b).abs();
    (difference.is_nan() || difference > most)
        .then(|| format!("FVU {b:.5} beside our {a:.5}, and at most {most:.5} may lie between"))
}

fn page(machine: &Machine, options: &Options, samples: &Samples, wrong: &[String]) -> String {
    let mut page = String::from(
        "# How fast dictionaries are trained\n\nWritten by `cargo xtask bench --dictionaries`; do not edit.\n\n",
    );
    let _ = writeln!(page, "{machine}");
    let all = samples.values().flatten();
    let versions: BTreeMap<_, _> = all.clone().flat_map(|s| s.versions.clone()).collect();
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let _ = writeln!(page, "Versions: {}.\n", versions.join(", "));
    let others: Vec<f64> = all.filter_map(|s| s.others).collect();
    let most = others.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(
        page,
        "TopK, k = {K}, batches of {BATCH}, Adam at {RATE}, gradients clipped to norm 1; {TRAIN} made-up rows (sums of 16 of 2 d random\ndirections, and noise) in the same order, and {HELD} others to judge on. Everybody begins with the same unit directions, encoder and decoder\nalike, a seed for each of {} rounds; each training is a process of its own, by turns; {} segments of {} and {} steps are timed in\neach. dictionary_learning keeps decoder rows at norm 1 and begins its bias at the geometric median, SAELens does neither (run without its\nrescaling by decoder norms): ours runs both recipes, and each library stands beside its own. No latent is dead so early, so nobody's auxiliary\nloss runs. Other programs took {:.0} % of the machine in the median training and {:.0} % in the worst.\n",
        options.rounds,
        options.runs,
        SHAPES[0].segment,
        SHAPES[1].segment,
        100.0 * median(&others),
        100.0 * most,
    );
    if median(&others) > BUSY {
        page += "**The machine was busy**: threads that spin while they wait for each other, as PyTorch's do, lose more by that than ours. The\nratios are of one run by turns, but those of an idle machine are the ones to quote. Measure again.\n\n";
    }
    for (at, shape) in SHAPES.iter().enumerate() {
        let _ = writeln!(page, "## d = {}, {} latents\n", shape.d, shape.latents);
        page += &table(at, shape, samples);
        page.push('\n');
    }
    page += "Speed is the median segment's, with the slowest's and the fastest's. The ratio is ours in the fast precision, of the same recipe, divided by this\none. Peak memory is the process's high-water mark, the rows among it; idle is after the imports. FVU and L0 are of the held-out rows, computed by\none program for all from the folders that each wrote; ± is the standard deviation over seeds.\n";
    for why in wrong {
        let _ = writeln!(page, "\n**DISAGREES**: {why}");
    }
    page
}

fn table(at: usize, shape: &Shape, samples: &Samples) -> String {
    let heads = ["trained by", "vectors/s", "ratio", "peak memory, MB (idle)", "FVU", "L0"];
    let mut text = header(&heads.map(str::to_owned));
    for (who, trainee) in TRAINEES.iter().enumerate() {
        let Some(all) = samples.get(&(at, who)) else { continue };
        let seconds =
            |all: &[Sample]| -> Vec<f64> { all.iter().flat_map(|s| s.seconds.iter().copied()).collect() };
        let own = seconds(all);
        let fast = TRAINEES.iter().position(|t| t.recipe == trainee.recipe && t.peer.is_none());
        let fast = fast.and_then(|fast| samples.get(&(at, fast))).map_or(f64::NAN, |s| median(&seconds(s)));
        let (least, most) = own.iter().fold((f64::INFINITY, 0f64), |(l, m), s| (l.min(*s), m.max(*s)));
        let fvu: Vec<f64> = all.iter().map(|s| s.fvu).collect();
        let top = |of: &dyn Fn(&Sample) -> f64| all.iter().map(of).fold(0.0, f64::max) / 1e6;
        let recipe =
            if trainee.peer.is_none() { format!(", {} decoder", trainee.recipe) } else { String::new() };
        text += &line(&[
            trainee.name() + &recipe,
            format!(
                "{:.0} ({:.0}–{:.0})",
                speed(shape, median(&own)),
                speed(shape, most),
                speed(shape, least)
            ),
            format!("**{:.2}**", median(&own) / fast),
            format!("{:.0} ({:.0})", top(&|s| s.peak), top(&|s| s.idle)),
            format!("{:.5} ± {:.5}", mean(&fvu), deviation(&fvu)),
            format!("{:.2}", mean(&all.iter().map(|s| s.l0).collect::<Vec<_>>())),
        ]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{TRAINEES, apart, deviation, last_json};

    #[test]
    fn only_what_lies_beyond_the_noise_of_seeds_disagrees() {
        assert_eq!(apart(&[0.5, 0.5], &[0.5005, 0.5005]), None);
        assert!(apart(&[0.5, 0.5], &[0.502, 0.502]).is_some());
        assert_eq!(apart(&[0.499, 0.501], &[0.502, 0.502]), None);
        assert!(apart(&[0.5], &[f64::NAN]).is_some());
        assert_eq!(deviation(&[3.0]), 0.0);
        assert!((deviation(&[1.0, 3.0]) - 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_first_of_ours_in_a_recipe_is_the_fast_one() {
        for recipe in ["unit", "free"] {
            let first = TRAINEES.iter().find(|t| t.recipe == recipe && t.peer.is_none()).unwrap();
            assert_eq!(first.precision, "fast");
        }
    }

    #[test]
    fn a_line_of_json_is_found_among_others() {
        assert_eq!(last_json("warning\n{\"fvu\":0.5}\n").unwrap()["fvu"], 0.5);
        assert!(last_json("nothing").is_err());
    }
}
