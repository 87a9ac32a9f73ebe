//! How a peer is started, and the one line of JSON that it prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::CASES;
use super::machine::Usage;
use super::report::median;
use super::subject::Subject;
use crate::paths;
use crate::shell::program;

/// Our names.
pub(super) const EXACT: &str = "pellucid";
pub(super) const FAST: &str = "pellucid fast";
pub(super) const FILE: &str = "pellucid file";

/// What a peer computes with, and so which of ours it stands beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// f32 throughout.
    Exact,
    /// Weights in bf16.
    Rounded,
    /// The blocks of the GGUF.
    File,
}

/// A program that fulfils the contract of `peers/harness.py`.
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What is timed of it.
    pub(super) cases: Vec<&'static str>,
    pub(super) program: PathBuf,
    /// Before the case: a script, for an interpreter.
    pub(super) script: Option<PathBuf>,
    pub(super) place: Place,
    /// After everything: what only this peer takes.
    pub(super) extra: Vec<String>,
}

/// The files that a peer is given.
#[derive(Clone)]
pub(super) struct Place {
    /// The weights in the container that it reads best.
    pub(super) model: PathBuf,
    pub(super) gguf: PathBuf,
    pub(super) tokens: PathBuf,
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
    /// Of the same without what the case is about, by turns with it; only our `sweep` says that.
    pub(super) bare: Vec<f64>,
}

impl Peer {
    /// Ours in its three ways: f32, as it is fastest (weights in bf16, the fast precision), and on the GGUF's own blocks,
    /// fast too.
    pub(super) fn ours(program: &Path, subject: &Subject) -> Result<[Self; 3]> {
        let gguf = subject.gguf()?;
        let place = Place { model: gguf.clone(), gguf, tokens: subject.tokens() };
        let one = |name: &str, kind, cases: &[&'static str], extra: &[&str]| Self {
            name: name.into(),
            kind,
            cases: cases.to_vec(),
            program: program.into(),
            script: None,
            place: place.clone(),
            extra: extra.iter().map(ToString::to_string).collect(),
        };
        Ok([
            one(EXACT, Kind::Exact, &CASES, &[]),
            one(FAST, Kind::Rounded, &CASES, &["--dtype", "bf16", "--precision", "fast"]),
            one(
                FILE,
                Kind::File,
                &["load", "start", "row", "decode"],
                &["--dtype", "file", "--precision", "fast"],
            ),
        ])
    }

    pub(super) fn is_ours(&self) -> bool {
        self.script.is_none()
    }

    fn command(&self, case: &str, runs: usize, threads: usize) -> Command {
        let mut command = program(&self.program);
        let Place { model, gguf, tokens } = &self.place;
        command.args(&self.script).arg(case).arg("--model").arg(model).arg("--tokens").arg(tokens);
        // Ours reads the GGUF in every case.
        if !self.is_ours() {
            command.arg("--gguf").arg(gguf);
        }
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
            bare: if json["bare_seconds"].is_null() { Vec::new() } else { numbers("bare_seconds")? },
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
        assert!(sample.bare.is_empty());
        let swept = LINE.replace(r#""check""#, r#""bare_seconds":[1],"check""#);
        assert_eq!(Sample::parse(&swept, None).unwrap().bare, [1.0]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Sample::parse(&LINE.replace("seconds", "time"), None).err().unwrap();
        assert_eq!(error.to_string(), "no list `seconds`");
        assert!(Sample::parse("", None).is_err());
    }
}
