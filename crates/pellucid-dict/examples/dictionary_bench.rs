//! Ours in `cargo xtask bench --dictionaries`: makes the rows, trains on them as the peers do, and judges everybody's result.
//! The contract is in `xtask/peers/dictionaries.py`.
//!
//!     dictionary_bench rows  --file FILE --d N --count N
//!     dictionary_bench begin --file FILE --d N --latents N --seed N --out FILE
//!     dictionary_bench train --file FILE --d N --train N --latents N --k N --batch N --steps N --warm N --segments N --rate LR --seed N
//!                            --precision exact|fast --recipe unit|free --out FOLDER
//!     dictionary_bench judge --file FILE --d N --train N --folder FOLDER

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use pellucid_core::Seed;
use pellucid_dict::{
    Adam, Auxiliary, Config, Density, ErrorScale, Fidelity, Precision, Recipe, Shape, Trainer, read_saelens,
    write_saelens,
};

type Fault = Box<dyn std::error::Error>;

/// `--name value` after `--name value`.
struct Flags(BTreeMap<String, String>);

impl Flags {
    fn read(words: &[String]) -> Result<Self, Fault> {
        let mut all = BTreeMap::new();
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair[0]).into()) };
            let name = name.strip_prefix("--").ok_or_else(|| format!("{name} is no option"))?;
            all.insert(name.to_owned(), value.clone());
        }
        Ok(Flags(all))
    }

    /// With the settings of a run on which its first directions do not depend.
    fn for_directions(&self) -> Self {
        let more = [("steps", "1"), ("k", "1"), ("rate", "1"), ("precision", "exact")];
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Flags(self.0.clone().into_iter().chain(more).collect())
    }

    fn get<T: FromStr>(&self, name: &str) -> Result<T, Fault> {
        let text = self.0.get(name).ok_or_else(|| format!("--{name} is missing"))?;
        text.parse().map_err(|_| format!("--{name} does not take `{text}`").into())
    }
}

fn main() -> Result<(), Fault> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = words.split_first() else {
        return Err("rows, begin, train or judge?".into());
    };
    let flags = Flags::read(rest)?;
    let file: PathBuf = flags.get("file")?;
    match command.as_str() {
        "rows" => rows(&file, flags.get("d")?, flags.get("count")?),
        "train" => train(&file, &flags),
        "begin" => begin(&flags),
        "judge" => judge(&file, flags.get("d")?, flags.get("train")?, &flags.get::<PathBuf>("folder")?),
        other => Err(format!("there is no `{other}`, only rows, begin, train and judge").into()),
    }
}

/// Rows that are sums of 16 out of 2 d random directions, each 0.5 to 1.5 times, and a little noise; the file is whole or absent.
fn rows(file: &Path, d: usize, count: usize) -> Result<(), Fault> {
    let mut seed = Seed(1).for_purpose("rows of superposed directions");
    let truth: Vec<f32> = (0..2 * d * d).map(|_| (seed.normal() / (d as f64).sqrt()) as f32).collect();
    let part = file.with_extension("part");
    let mut to = BufWriter::new(File::create(&part)?);
    for _ in 0..count {
        let mut row: Vec<f32> = (0..d).map(|_| (0.01 * seed.normal()) as f32).collect();
        for _ in 0..16 {
            let (at, strength) = (seed.below(2 * d), 0.5 + seed.uniform() as f32);
            row.iter_mut().zip(&truth[at * d..]).for_each(|(v, t)| *v += strength * t);
        }
        row.iter().try_for_each(|v| to.write_all(&v.to_le_bytes()))?;
    }
    to.flush()?;
    Ok(std::fs::rename(part, file)?)
}

/// Some of a file's rows, without a second copy in memory.
fn read(file: &Path, d: usize, from: usize, count: usize) -> Result<Vec<f32>, Fault> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(file)?);
    file.seek(SeekFrom::Start(4 * (from * d) as u64))?;
    let (mut all, mut row) = (Vec::with_capacity(count * d), vec![0u8; 4 * d]);
    for _ in 0..count {
        file.read_exact(&mut row)?;
        all.extend(row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    Ok(all)
}

/// Writes the directions with which training begins at a seed, (latents, d), for others to begin with the same.
fn begin(flags: &Flags) -> Result<(), Fault> {
    let zeros = vec![0f32; flags.get("d")?];
    let first = Trainer::new(config(&flags.for_directions(), "free")?, &zeros)?.dictionary();
    let bytes: Vec<u8> = first.decoder.iter().flat_map(|v| v.to_le_bytes()).collect();
    let out: PathBuf = flags.get("out")?;
    std::fs::write(out.with_extension("part"), bytes)?;
    Ok(std::fs::rename(out.with_extension("part"), out)?)
}

/// The settings of `dictionary_learning` ("unit": decoder rows keep norm 1, the bias begins at the geometric median of the first batch)
/// or of SAELens ("free": neither), both with the gradient's norm clipped to 1.
fn config(flags: &Flags, recipe: &str) -> Result<Config, Fault> {
    let (d, latents, steps) = (flags.get("d")?, flags.get("latents")?, flags.get("steps")?);
    let precision = match flags.get::<String>("precision")?.as_str() {
        "exact" => Precision::Exact,
        "fast" => Precision::Fast,
        other => return Err(format!("--precision does not take `{other}`").into()),
    };
    Ok(Config {
        shape: Shape { d_in: d, latents, d_out: d },
        recipe: Recipe::TopK { k: flags.get("k")? },
        error: ErrorScale::Rows,
        auxiliary: Some(Auxiliary { k: d / 2, coefficient: 1.0 / 32.0 }),
        dead_after: 10_000_000,
        subtract_bias: true,
        unit_norm: recipe == "unit",
        learning_rate: flags.get("rate")?,
        warm_up: 0,
        decay_from: steps,
        steps,
        adam: Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
        clip: Some(1.0),
        penalty_warm_up: 0,
        skip: false,
        seed: flags.get("seed")?,
        precision,
    })
}

/// Trains and prints seconds by segment; the first steps, in which memory is first touched, belong to no segment.
fn train(file: &Path, flags: &Flags) -> Result<(), Fault> {
    let recipe: String = flags.get("recipe")?;
    let config = config(flags, &recipe)?;
    let (d, batch, segments): (usize, usize, usize) =
        (config.shape.d_in, flags.get("batch")?, flags.get("segments")?);
    let idle = memory("VmRSS");
    let x = read(file, d, 0, flags.get("train")?)?;
    let steps = config.steps as usize;
    let zeros = vec![0f32; d];
    let sample = if recipe == "unit" { &x[..batch * d] } else { &zeros };
    let mut trainer = Trainer::new(config, sample)?;
    let batches: Vec<&[f32]> = x.chunks_exact(batch * d).collect();
    let warm: usize = flags.get("warm")?;
    let each = steps.saturating_sub(warm) / segments;
    for step in 0..warm {
        trainer.step(batches[step % batches.len()], None)?;
    }
    let mut seconds = Vec::new();
    for segment in 0..segments {
        let start = Instant::now();
        for step in 0..each {
            let step = warm + segment * each + step;
            trainer.step(batches[step % batches.len()], None)?;
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    let peak = memory("VmHWM");
    write_saelens(&trainer.dictionary(), None, &flags.get::<PathBuf>("out")?)?;
    println!(
        "{{\"seconds\":{seconds:?},\"peak_rss_bytes\":{peak},\"idle_rss_bytes\":{idle},\"versions\":{{\"pellucid\":\"{}\"}}}}",
        env!("CARGO_PKG_VERSION")
    );
    Ok(())
}

/// Bytes of one field of /proc/self/status; 0 where the system has no such file.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Fraction of variance unexplained and mean number of active latents on the rows after the first `train`.
fn judge(file: &Path, d: usize, train: usize, folder: &Path) -> Result<(), Fault> {
    let all = std::fs::metadata(file)?.len() as usize / (4 * d);
    let held = all.checked_sub(train).filter(|rows| *rows > 0).ok_or("no rows are left to judge on")?;
    let x = read(file, d, train, held)?;
    let dictionary = read_saelens(folder)?;
    let sparse = dictionary.encode(&x)?;
    let (mut fidelity, mut density) = (Fidelity::default(), Density::new(dictionary.shape.latents));
    fidelity.add(&x, &dictionary.decode(&sparse, Some(&x))?, d)?;
    density.add(&sparse);
    let unexplained = fidelity.unexplained().ok_or("the held-out rows do not vary")?;
    println!("{{\"fvu\":{unexplained},\"l0\":{},\"silent\":{}}}", density.l0(), density.dead());
    Ok(())
}
