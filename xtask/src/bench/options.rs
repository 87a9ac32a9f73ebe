//! The command line of `bench`.

use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use anyhow::{Context, Result, bail};

use super::CASES;
use super::lineup::PEERS;
use super::subject::{SUBJECTS, Subject};

#[derive(Debug)]
pub(super) struct Options {
    /// Also run the peers, and write the page.
    pub(super) peers: bool,
    /// Time the training of dictionaries instead, always with its peers.
    pub(super) dictionaries: bool,
    /// Judge a dictionary of a real model instead, beside dictionary_learning's.
    pub(super) quality: bool,
    /// Time the tile linear instead, beside PyTorch's.
    pub(super) kernels: bool,
    /// Time the scoring of a circuit's edges instead, beside the code in this checkout of hannamw/EAP-IG.
    pub(super) circuits: Option<PathBuf>,
    pub(super) cases: Vec<&'static str>,
    pub(super) models: Vec<&'static Subject>,
    /// The peers to run, of those that there are.
    pub(super) with: Vec<&'static str>,
    /// Timed runs in each process, after one warm-up.
    pub(super) runs: usize,
    /// How often the whole set is gone through.
    pub(super) rounds: usize,
    /// The same for every peer.
    pub(super) threads: usize,
    /// A program with the contract of `peers/harness.py`, instead of building ours: to compare two versions.
    pub(super) ours: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            peers: false,
            dictionaries: false,
            quality: false,
            kernels: false,
            circuits: None,
            cases: CASES.to_vec(),
            models: SUBJECTS.iter().collect(),
            with: PEERS.to_vec(),
            runs: 5,
            rounds: 0,
            threads: cores,
            ours: None,
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{option} needs a value"));
            match option.as_str() {
                "--peers" => options.peers = true,
                "--dictionaries" => options.dictionaries = true,
                "--quality" => options.quality = true,
                "--kernels" => options.kernels = true,
                "--circuits" => options.circuits = Some(value()?.into()),
                "--only" => options.cases = chosen("case", &CASES, |case| case, value()?)?,
                "--models" => {
                    let all: Vec<&Subject> = SUBJECTS.iter().collect();
                    options.models = chosen("model", &all, |model| model.name, value()?)?;
                }
                "--with" => options.with = chosen("peer", &PEERS, |peer| peer, value()?)?,
                "--runs" => options.runs = positive(option, value()?)?,
                "--rounds" => options.rounds = positive(option, value()?)?,
                "--threads" => options.threads = positive(option, value()?)?,
                "--ours" => options.ours = Some(value()?.into()),
                _ => bail!("unknown option {option}; see `cargo xtask help`"),
            }
        }
        if options.rounds == 0 {
            // Starting PyTorch a hundred times more would take longer than what is measured.
            options.rounds = if options.dictionaries || options.circuits.is_some() { 2 } else { 1 };
        }
        Ok(options)
    }

    /// Whether nothing is left out, so that the page can be written.
    pub(super) fn whole(&self) -> bool {
        let (cases, models, peers) = (self.cases.len(), self.models.len(), self.with.len());
        self.peers && cases == CASES.len() && models == SUBJECTS.len() && peers == PEERS.len()
    }
}

/// What a list names, in the order in which things are defined, whatever order they were given in.
fn chosen<T: Copy>(what: &str, all: &[T], name: impl Fn(T) -> &'static str, list: &str) -> Result<Vec<T>> {
    let wanted: Vec<&str> = list.split(',').collect();
    let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !names.contains(wanted)) {
        bail!("there is no {what} `{unknown}`, only {}", names.join(", "));
    }
    Ok(all.iter().copied().filter(|one| wanted.contains(&name(*one))).collect())
}

fn positive(option: &str, text: &str) -> Result<usize> {
    match usize::from_str(text) {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{option} needs a whole number from 1, got `{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn cases_keep_their_order() {
        let options = parse("--peers --only decode,load --runs 3").unwrap();
        assert!(options.peers);
        assert_eq!(options.cases, ["load", "decode"]);
        assert_eq!((options.runs, options.rounds), (3, 1));
        assert_eq!(parse("--dictionaries").unwrap().rounds, 2);
    }

    #[test]
    fn a_page_needs_everything() {
        assert!(parse("--peers").unwrap().whole());
        assert!(!parse("").unwrap().whole());
        let one = parse("--peers --models gemma3-270m --with llama.cpp").unwrap();
        assert!(!one.whole());
        assert_eq!((one.models[0].name, one.models.len()), ("gemma3-270m", 1));
        assert_eq!(one.with, ["llama.cpp"]);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(parse("--models gpt2").unwrap_err().contains("no model `gpt2`"));
        assert!(parse("--with jax").unwrap_err().contains("no peer `jax`"));
        assert!(parse("--only load,sleep").unwrap_err().contains("`sleep`"));
        assert!(parse("--runs 0").unwrap_err().contains("--runs"));
        assert!(parse("--runs").unwrap_err().contains("needs a value"));
        assert!(parse("--fast").unwrap_err().contains("--fast"));
    }
}
