//! Who is compared, how each is started, and the one line of JSON that each prints.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::machine::Usage;
use super::options::Options;
use super::report::median;
use crate::paths;
use crate::python;
use crate::shell::{program, step};

/// A program that fulfils the contract of `peers/harness.py`.
pub(super) struct Peer {
    pub(super) name: String,
    /// Computes in bf16: compared with ours in the fast precision, and to bf16's tolerance.
    pub(super) rounds: bool,
    program: PathBuf,
    /// Before the case: a script, for an interpreter.
    script: Option<PathBuf>,
    model: PathBuf,
    /// After everything: what only this peer takes.
    extra: Vec<String>,
}

/// One process: several runs of one case.
pub(super) struct Sample {
    pub(super) seconds: Vec<f64>,
    pub(super) peak: f64,
    /// After the libraries are loaded, before the model; a compiled program need not say.
    pub(super) idle: Option<f64>,
    pub(super) check: Vec<f64>,
    pub(super) versions: BTreeMap<String, String>,
    /// The share of the processors that other programs took meanwhile, where the system tells.
    pub(super) others: Option<f64>,
}

impl Peer {
    pub(super) fn ours(program: PathBuf, model: &Path) -> Self {
        Self {
            name: "pellucid".into(),
            rounds: false,
            program,
            script: None,
            model: model.into(),
            extra: Vec::new(),
        }
    }

    /// The same in bf16.
    fn rounded(&self, name: &str, extra: &[&str]) -> Self {
        let more = extra.iter().map(ToString::to_string);
        Self {
            name: name.into(),
            rounds: true,
            program: self.program.clone(),
            script: self.script.clone(),
            model: self.model.clone(),
            extra: self.extra.iter().cloned().chain(more).collect(),
        }
    }

    /// Ours as it is fastest: weights in bf16, the fast precision.
    pub(super) fn fast(&self) -> Self {
        self.rounded("pellucid fast", &["--dtype", "bf16", "--precision", "fast"])
    }

    fn script(name: &str, python: &Path, file: &str, model: &Path, extra: &[&str]) -> Self {
        let extra = extra.iter().map(ToString::to_string).collect();
        Self {
            name: name.into(),
            rounds: false,
            program: python.into(),
            script: Some(folder().join(file)),
            model: model.into(),
            extra,
        }
    }

    fn command(&self, case: &str, runs: usize, threads: usize) -> Command {
        let mut command = program(&self.program);
        command.args(&self.script).arg(case).arg("--model").arg(&self.model);
        command.arg("--tokens").arg(folder().join("tokens.json"));
        command.args(["--runs", &runs.to_string(), "--threads", &threads.to_string()]).args(&self.extra);
        // Thread pools that are sized by the environment must not be larger than what was asked for.
        command.env("RAYON_NUM_THREADS", threads.to_string()).env("OMP_NUM_THREADS", threads.to_string());
        command
    }

    /// Runs one case in a process of its own.
    pub(super) fn sample(&self, case: &str, runs: usize, threads: usize) -> Result<Sample> {
        let before = Usage::now();
        let start = Instant::now();
        let output =
            self.command(case, runs, threads).output().with_context(|| format!("starting {}", self.name))?;
        let others = Usage::others(before, Usage::now(), start.elapsed());
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{} failed at `{case}` ({}): {}", self.name, output.status, last_line(&said));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
        let sample = Sample::parse(line, others)
            .with_context(|| format!("{} at `{case}` printed {line:?}", self.name))?;
        if sample.seconds.len() != runs {
            bail!("{} at `{case}` reported {} runs, asked for {runs}", self.name, sample.seconds.len());
        }
        Ok(sample)
    }
}

impl Sample {
    fn parse(line: &str, others: Option<f64>) -> Result<Self> {
        let json: Value = serde_json::from_str(line)?;
        let numbers = |key: &str| -> Result<Vec<f64>> {
            let list = json[key].as_array().with_context(|| format!("no list `{key}`"))?;
            list.iter()
                .map(|x| x.as_f64().with_context(|| format!("`{key}` holds {x}, not a number")))
                .collect()
        };
        let versions = json["versions"].as_object().context("no `versions`")?;
        Ok(Self {
            seconds: numbers("seconds")?,
            peak: json["peak_rss_bytes"].as_f64().context("no `peak_rss_bytes`")?,
            idle: json["idle_rss_bytes"].as_f64(),
            check: numbers("check")?,
            versions: versions
                .iter()
                .map(|(name, v)| (name.clone(), v.as_str().unwrap_or("?").to_owned()))
                .collect(),
            others,
        })
    }

    /// For the terminal while it runs.
    pub(super) fn line(&self) -> String {
        let others = self
            .others
            .map_or(String::new(), |share| format!(", others took {:.0} % of the CPU", share * 100.0));
        format!("{:.3} s, peak {:.0} MB{others}", median(&self.seconds), self.peak / 1e6)
    }
}

/// Adds the peers that can be run here; why one cannot is a note, not a failure.
pub(super) fn others(
    gguf: &Path,
    options: &Options,
    peers: &mut Vec<Peer>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let requirements =
        fs::read_to_string(folder().join("requirements.txt")).context("reading the peers' requirements")?;
    let python = python::environment("peers", &requirements)?;
    let exact = transformers(&python, gguf, options, notes)?;
    let rounded = exact.rounded("transformers bf16", &["--dtype", "bf16"]);
    peers.extend([exact, rounded]);

    let weights = paths::cache()?.join("bench").join("smollm2-f32");
    if !weights.exists() {
        let mut command = program(&python);
        command.arg(folder().join("dequantise.py")).arg(gguf).arg(&weights);
        step("dequantised weights for TransformerLens", &mut command)?;
    }
    let lens = Peer::script("transformer-lens", &python, "peer_lens.py", &weights, &[]);
    match lens.sample("load", 1, options.threads) {
        Ok(_) => peers.push(lens),
        Err(error) => {
            // The note goes into a committed page, which must not name this machine's folders.
            let cache = paths::cache()?.to_string_lossy().into_owned();
            let reason =
                format!("{error:#}").replace(&cache, "CACHE").replace(&*paths::root().to_string_lossy(), ".");
            println!("   TransformerLens is left out: {reason}\n");
            notes.push(format!("TransformerLens is left out, it does not load: {reason}"));
        }
    }
    Ok(())
}

/// transformers with the attention that serves it best in the plain forward pass.
fn transformers(python: &Path, gguf: &Path, options: &Options, notes: &mut Vec<String>) -> Result<Peer> {
    let mut tried = Vec::new();
    for attention in ["sdpa", "eager"] {
        let peer =
            Peer::script("transformers", python, "peer_transformers.py", gguf, &["--attention", attention]);
        // Single runs vary by more than the two differ, so the shortest of a few speaks for each.
        let seconds = peer.sample("forward", 3, options.threads)?.seconds;
        tried.push((seconds.into_iter().fold(f64::INFINITY, f64::min), attention, peer));
    }
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    let said: Vec<String> = tried.iter().map(|(seconds, name, _)| format!("{name} {seconds:.2} s")).collect();
    let (_, attention, peer) = tried.swap_remove(0);
    let note = format!(
        "transformers runs `{attention}` attention, the faster in the plain forward ({})",
        said.join(", ")
    );
    println!("   {note}\n");
    notes.push(note + ".");
    Ok(peer)
}

pub(super) fn folder() -> PathBuf {
    paths::root().join("xtask").join("peers")
}

/// A Python traceback says what went wrong in its last line.
fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it printed no reason")
}

#[cfg(test)]
mod tests {
    use super::Sample;

    const LINE: &str = r#"{"peer":"p","case":"load","seconds":[1.5,2],"peak_rss_bytes":1000,"check":[],"versions":{"p":"1"}}"#;

    #[test]
    fn a_line_is_read() {
        let sample = Sample::parse(LINE, None).unwrap();
        assert_eq!(sample.seconds, [1.5, 2.0]);
        assert_eq!((sample.peak, sample.idle), (1000.0, None));
        assert_eq!(sample.versions["p"], "1");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Sample::parse(&LINE.replace("seconds", "time"), None).err().unwrap();
        assert_eq!(error.to_string(), "no list `seconds`");
        assert!(Sample::parse("", None).is_err());
    }
}
