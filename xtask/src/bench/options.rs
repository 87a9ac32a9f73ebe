//! The command line of `bench`.

use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use anyhow::{Context, Result, bail};

use super::CASES;

#[derive(Debug)]
pub(super) struct Options {
    /// Also run the peers, and write the page.
    pub(super) peers: bool,
    /// Time the training of dictionaries instead, always with its peers.
    pub(super) dictionaries: bool,
    /// Time the scoring of a circuit's edges instead, beside the code in this checkout of hannamw/EAP-IG.
    pub(super) circuits: Option<PathBuf>,
    pub(super) cases: Vec<&'static str>,
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
            circuits: None,
            cases: CASES.to_vec(),
            runs: 5,
            rounds: 2,
            threads: cores,
            ours: None,
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{option} needs a value"));
            match option.as_str() {
                "--peers" => options.peers = true,
                "--dictionaries" => options.dictionaries = true,
                "--circuits" => options.circuits = Some(value()?.into()),
                "--only" => options.cases = cases(value()?)?,
                "--runs" => options.runs = positive(option, value()?)?,
                "--rounds" => options.rounds = positive(option, value()?)?,
                "--threads" => options.threads = positive(option, value()?)?,
                "--ours" => options.ours = Some(value()?.into()),
                _ => bail!("unknown option {option}; see `cargo xtask help`"),
            }
        }
        Ok(options)
    }
}

/// Cases in the order in which they are defined, whatever order they were given in.
fn cases(list: &str) -> Result<Vec<&'static str>> {
    let wanted: Vec<&str> = list.split(',').collect();
    if let Some(unknown) = wanted.iter().find(|name| !CASES.contains(name)) {
        bail!("there is no case `{unknown}`, only {}", CASES.join(", "));
    }
    Ok(CASES.into_iter().filter(|name| wanted.contains(name)).collect())
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
        assert_eq!((options.runs, options.rounds), (3, 2));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(parse("--only load,sleep").unwrap_err().contains("`sleep`"));
        assert!(parse("--runs 0").unwrap_err().contains("--runs"));
        assert!(parse("--runs").unwrap_err().contains("needs a value"));
        assert!(parse("--fast").unwrap_err().contains("--fast"));
    }
}
