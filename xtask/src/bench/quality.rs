//! `cargo xtask bench --quality`: what a dictionary of a real model is worth after a short training, ours beside dictionary_learning.
//!
//! Both learn from the same vectors in the same order, which our program writes once; both results are judged by the same program on the same
//! held-out text, each in the format that its own program wrote. Each runs as it comes, and at the other's learning rate, because in a short
//! run the rate decides.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::machine::Machine;
use super::options::Options;
use super::peer::folder;
use super::report::{header, line};
use crate::shell::{cargo, program, read, step};
use crate::{docs, paths, python};

/// The site and the text, as `dict train` and `dict eval` take them.
const SUBJECT: [&str; 6] = ["--model", "smollm2", "--site", "resid_post.15", "--tokens", "1500000"];
const LATENTS: &str = "8192";
const K: &str = "32";

/// A training that was judged.
struct Trained {
    name: &'static str,
    rate: f64,
    judged: Value,
}

/// Where things are.
struct Place {
    ours: PathBuf,
    python: PathBuf,
    folder: PathBuf,
    threads: String,
}

pub(super) fn run(options: &Options) -> Result<()> {
    step("build", &mut cargo(&["build", "--release", "-p", "pellucid", "--bin", "pellucid"]))?;
    let requirements = fs::read_to_string(folder().join("dictionaries.txt")).context("the requirements")?;
    let place = Place {
        ours: paths::executable("release", "pellucid")?,
        python: python::environment("dictionaries", &requirements)?,
        folder: paths::cache()?.join("bench").join("quality"),
        threads: options.threads.to_string(),
    };
    fs::create_dir_all(&place.folder).context("making the cache's folder for vectors")?;
    let rows = place.folder.join("rows.f32");
    if !rows.exists() {
        step("vectors to learn from", place.train().arg("--rows").arg(&rows))?;
    }
    let our_rate = place.ours("ours", None)?;
    let their_rate = place.theirs("theirs", None)?;
    place.ours("ours-slow", Some(their_rate))?;
    place.theirs("theirs-quick", Some(our_rate))?;
    let all = [
        ("pellucid", "ours", our_rate),
        ("dictionary_learning", "theirs", their_rate),
        ("pellucid, at that rate", "ours-slow", their_rate),
        ("dictionary_learning, at pellucid's rate", "theirs-quick", our_rate),
    ];
    let judge = |(name, at, rate)| Ok(Trained { name, rate, judged: place.judge(at)? });
    let all = all.map(judge).into_iter().collect::<Result<Vec<_>>>()?;
    let count = number(&json(&rows.with_extension("json"))?, "/rows")?;
    let page = page(&Machine::here(options.threads), count, &all)?;
    println!("\n{page}");
    docs::write("dictionary-quality.md", &page)
}

impl Place {
    fn program(&self, command: &str) -> Command {
        let mut ours = program(&self.ours);
        ours.args(["dict", command]).args(SUBJECT).env("RAYON_NUM_THREADS", &self.threads);
        ours
    }

    fn train(&self) -> Command {
        let mut train = self.program("train");
        train.args(["--latents", LATENTS, "--k", K, "--precision", "fast"]);
        train
    }

    /// Trains ours and says the learning rate. One that is there already is not trained again.
    fn ours(&self, name: &str, rate: Option<f64>) -> Result<f64> {
        let to = self.folder.join(name);
        let mut train = self.train();
        if let Some(rate) = rate {
            train.args(["--learning-rate", &rate.to_string()]);
        }
        step(name, train.arg("--out").arg(&to))?;
        number(&json(&to.join("run.json"))?, "/config/learning_rate")
    }

    /// Trains theirs, likewise.
    fn theirs(&self, name: &str, rate: Option<f64>) -> Result<f64> {
        let to = self.folder.join(name);
        let mut train = program(&self.python);
        train.arg(folder().join("dictionary_rows.py")).arg("--file").arg(self.folder.join("rows.f32"));
        train.args(["--latents", LATENTS, "--k", K, "--seed", "0", "--threads", &self.threads]);
        if let Some(rate) = rate {
            train.args(["--rate", &rate.to_string()]);
        }
        if !to.join("config.json").exists() {
            step(name, train.arg("--out").arg(&to))?;
        }
        number(&json(&to.join("config.json"))?, "/trainer/lr")
    }

    fn judge(&self, name: &str) -> Result<Value> {
        let mut judge = self.program("eval");
        // their file names no site of ours
        judge.arg(self.folder.join(name)).args(["--elsewhere", "--json"]);
        let said: Value = serde_json::from_str(&read(&mut judge)?).context("what `dict eval` printed")?;
        Ok(said["result"].clone())
    }
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))
}

fn number(value: &Value, at: &str) -> Result<f64> {
    value.pointer(at).and_then(Value::as_f64).with_context(|| format!("no number at {at}"))
}

fn page(machine: &Machine, rows: f64, all: &[Trained]) -> Result<String> {
    let mut page = String::from(
        "# What a dictionary is worth after a short training\n\nWritten by `cargo xtask bench --quality`; do not edit.\n\n",
    );
    let _ = writeln!(page, "{machine}\n");
    let judged = &all.first().context("nothing was trained")?.judged;
    let loss = |name: &str| Ok::<_, anyhow::Error>(format!("{:.3}", number(judged, name)?));
    let _ = writeln!(
        page,
        "SmolLM2-135M-Instruct, `resid_post.15`, {LATENTS} latents, TopK with k = {K}: {rows} vectors in the same order, batches of 2048. The rate rises over a\n\
         twentieth of the steps and falls over the last fifth on both sides. All are judged by `pellucid dict eval` on the same {} vectors of held-out text, whose next-token\n\
         loss is {} nats plainly, {} with the site's mean in its place and {} with zeros.\n",
        number(judged, "/rows")?,
        loss("/loss")?,
        loss("/loss_mean")?,
        loss("/loss_zero")?,
    );
    let heads = [
        "trained by",
        "learning rate",
        "explained variance",
        "L0",
        "silent",
        "spliced loss",
        "recovered against zeros",
        "against the mean",
    ];
    page += &header(&heads.map(str::to_owned));
    for Trained { name, rate, judged } in all {
        let get = |name: &str| number(judged, name);
        page += &line(&[
            (*name).to_owned(),
            format!("{rate:.2e}"),
            format!("{:.3}", get("/explained_variance")?),
            format!("{:.1}", get("/l0")?),
            format!("{:.1} %", 100.0 * get("/silent")?),
            format!("{:.3}", get("/loss_spliced")?),
            format!("{:.3}", get("/recovered_from_zero")?),
            format!("{:.3}", get("/recovered_from_mean")?),
        ]);
    }
    page += "\nThe first two run as they come. Published rates are those of runs of 10⁴ steps and more, and dictionary_learning takes them whatever the run's\n\
             length; ours is higher in a short run ([dictionaries.md](dictionaries.md), \"A short run\"). The other two show what the rate does and what\n\
             remains: dictionary_learning clips gradients to norm 1 and counts a latent as dead after 10 million vectors, which no short run reaches; ours does\n\
             not clip, and gives dead latents something to learn after a tenth of the run. Silent is the share of latents that are never active on the vectors judged.\n";
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_what_was_judged_and_nothing_that_is_missing() {
        let judged = serde_json::json!({
            "rows": 10, "loss": 3.0, "loss_mean": 9.0, "loss_zero": 16.0, "explained_variance": 0.8125, "l0": 32.0, "silent": 0.25,
            "loss_spliced": 3.5, "recovered_from_zero": 0.96, "recovered_from_mean": 0.9
        });
        let trained = |judged| [Trained { name: "pellucid", rate: 2.263e-3, judged }];
        let machine = Machine::here(2);
        let page = super::page(&machine, 645_120.0, &trained(judged)).unwrap();
        assert!(
            page.contains("| pellucid | 2.26e-3 | 0.812 | 32.0 | 25.0 % | 3.500 | 0.960 | 0.900 |"),
            "{page}"
        );
        assert!(super::page(&machine, 1.0, &trained(Value::Null)).is_err());
        assert!(super::page(&machine, 1.0, &[]).is_err());
    }
}
