//! Who stands beside ours for a model: environments, weights in the container that a peer reads, and what each can do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::options::Options;
use super::peer::{Kind, Peer, Place, folder};
use super::report::median;
use super::subject::Subject;
use crate::paths;
use crate::python;
use crate::shell::{program, step};

/// What can be asked for with `--with`.
pub(super) const PEERS: [&str; 5] =
    ["transformers", "transformer-lens", "nnsight", "interp-engine", "llama.cpp"];

/// What is timed of each; of those on PyTorch in bf16 too, as far as [`Torch::rounded`] says. nnsight and interp-engine load and run plainly
/// what transformers does.
const TRANSFORMERS: &[&str] = &["load", "forward", "capture", "row", "attribute", "decode"];
const LENS: &[&str] = &["load", "forward", "capture", "attribute", "decode"];
const WRAPPERS: &[&str] = &["capture", "attribute", "decode"];
const LLAMA: &[&str] = &["load", "start", "row", "decode"];

/// So many times as long as in f32 is not worth waiting for.
const SEVERAL: f64 = 3.0;

/// llama.cpp is compiled from its package, which takes minutes; no longer than this.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// The neuron of the case `decode`, as in `peers/harness.py`.
const EDIT: [&str; 2] = ["15", "100"];

/// The peers that can be run here; why one cannot is a note, not a failure.
pub(super) fn others(subject: &Subject, options: &Options, notes: &mut Vec<String>) -> Result<Vec<Peer>> {
    let wanted = |name: &str| options.with.contains(&name);
    let mut peers = Vec::new();
    if PEERS[..4].iter().any(|name| wanted(name)) {
        let python = python::environment("peers", &requirements("requirements.txt")?)?;
        let on_torch = Torch {
            f32: place(subject, dequantised(&python, subject, "f32")?)?,
            bf16: place(subject, dequantised(&python, subject, "bf16")?)?,
            python,
        };
        on_torch.add(options, &mut peers, notes)?;
    }
    if wanted("llama.cpp") {
        match llama(subject, options, notes) {
            Ok(peer) => peers.push(peer),
            Err(error) => notes.push(format!("llama.cpp is left out: {}.", without_places(&error)?)),
        }
    }
    Ok(peers)
}

fn requirements(file: &str) -> Result<String> {
    fs::read_to_string(folder().join(file)).with_context(|| format!("reading {file}"))
}

fn place(subject: &Subject, model: PathBuf) -> Result<Place> {
    Ok(Place { model, gguf: subject.gguf()?, tokens: subject.tokens() })
}

/// A folder with the weights of the GGUF as safetensors.
fn dequantised(python: &Path, subject: &Subject, dtype: &str) -> Result<PathBuf> {
    let weights = subject.made(dtype)?;
    if !weights.exists() {
        let mut command = program(python);
        command.arg(folder().join("dequantise.py")).arg(subject.gguf()?).arg(&weights).arg(dtype);
        step(format!("{} as {dtype} safetensors", subject.name), &mut command)?;
    }
    Ok(weights)
}

/// The peers on PyTorch share an environment.
struct Torch {
    python: PathBuf,
    f32: Place,
    bf16: Place,
}

impl Torch {
    fn add(&self, options: &Options, peers: &mut Vec<Peer>, notes: &mut Vec<String>) -> Result<()> {
        let wanted = |name: &str| options.with.contains(&name);
        let rounded = self.rounded(options, notes)?;
        if wanted("transformers") {
            let attention = self.attention(options, notes)?;
            let extra = ["--attention", attention];
            peers.extend(self.both("transformers", "peer_transformers.py", [TRANSFORMERS, rounded], &extra));
        }
        let rest = [
            ("transformer-lens", "peer_lens.py", LENS),
            ("nnsight", "peer_nnsight.py", WRAPPERS),
            ("interp-engine", "peer_interp_engine.py", WRAPPERS),
        ];
        let rest = rest.into_iter().filter(|(name, ..)| wanted(name));
        peers.extend(rest.flat_map(|(name, file, cases)| self.both(name, file, [cases, rounded], &[])));
        Ok(())
    }

    /// A peer in f32 and in bf16, and what is timed of it in f32; in bf16 it is what both lists have.
    fn both(&self, name: &str, file: &str, cases: [&[&'static str]; 2], extra: &[&str]) -> [Peer; 2] {
        let [cases, rounded] = cases;
        let exact = self.script(name, file, cases, extra);
        let in_both: Vec<&str> = cases.iter().copied().filter(|case| rounded.contains(case)).collect();
        let extra = [extra, &["--dtype", "bf16"]].concat();
        let rounded = self.script(&format!("{name} bf16"), file, &in_both, &extra);
        [exact, Peer { kind: Kind::Rounded, place: self.bf16.clone(), ..rounded }]
    }

    /// What is timed in bf16: all but `load`, which reads as in f32; and where the processor has nothing for bf16 and PyTorch takes
    /// several times as long as in f32, one token at a time alone, which is the memory's affair.
    fn rounded(&self, options: &Options, notes: &mut Vec<String>) -> Result<&'static [&'static str]> {
        let all = &TRANSFORMERS[1..];
        if !all.iter().any(|case| *case != "decode" && options.cases.contains(case)) {
            return Ok(all);
        }
        let seconds = |kind: &[&str], place: &Place| -> Result<f64> {
            let peer = self.script("transformers", "peer_transformers.py", TRANSFORMERS, kind);
            Ok(median(&Peer { place: place.clone(), ..peer }.sample("row", 1, options.threads)?.seconds))
        };
        let [exact, rounded] = [seconds(&[], &self.f32)?, seconds(&["--dtype", "bf16"], &self.bf16)?];
        if rounded <= SEVERAL * exact {
            return Ok(all);
        }
        let note = format!(
            "PyTorch in bf16 is timed in `decode` alone: on this processor `row` took transformers {rounded:.1} s in bf16, {exact:.2} s in f32."
        );
        println!("   {note}\n");
        notes.push(note);
        Ok(&["decode"])
    }

    fn script(&self, name: &str, file: &str, cases: &[&'static str], extra: &[&str]) -> Peer {
        Peer {
            name: name.into(),
            kind: Kind::Exact,
            cases: cases.to_vec(),
            program: self.python.clone(),
            script: Some(folder().join(file)),
            place: self.f32.clone(),
            extra: extra.iter().map(ToString::to_string).collect(),
        }
    }

    /// The attention that serves transformers best in the plain forward pass.
    fn attention(&self, options: &Options, notes: &mut Vec<String>) -> Result<&'static str> {
        let mut tried = Vec::new();
        for attention in ["sdpa", "eager"] {
            let extra = ["--attention", attention];
            let peer = self.script("transformers", "peer_transformers.py", TRANSFORMERS, &extra);
            // Single runs vary by more than the two differ, so the shortest of a few speaks for each.
            let seconds = peer.sample("forward", 2, options.threads)?.seconds;
            tried.push((seconds.into_iter().fold(f64::INFINITY, f64::min), attention));
        }
        tried.sort_by(|a, b| a.0.total_cmp(&b.0));
        let said: Vec<String> =
            tried.iter().map(|(seconds, name)| format!("{name} {seconds:.2} s")).collect();
        let best = tried[0].1;
        let note = format!(
            "transformers runs `{best}` attention, the faster in the plain forward ({}).",
            said.join(", ")
        );
        println!("   {note}\n");
        notes.push(note);
        Ok(best)
    }
}

/// llama.cpp on the GGUF itself, and on a copy in which the edited neuron is silent.
fn llama(subject: &Subject, options: &Options, notes: &mut Vec<String>) -> Result<Peer> {
    let python = python::compiled("llama", &requirements("llama.txt")?, BUILD_LIMIT)?;
    let gguf = subject.gguf()?;
    let edited = subject.made("edited.gguf")?;
    if !edited.exists() {
        let mut command = program(&python);
        command.arg(folder().join("edited.py")).arg(&gguf).arg(&edited).args(EDIT);
        step(format!("{} with a silent neuron", subject.name), &mut command)?;
    }
    let mut peer = Peer {
        name: "llama.cpp".into(),
        kind: Kind::File,
        cases: LLAMA.to_vec(),
        program: python,
        script: Some(folder().join("peer_llama.py")),
        place: place(subject, gguf)?,
        extra: vec!["--edited".into(), edited.to_string_lossy().into_owned()],
    };
    if let Err(error) = peer.sample("row", 1, options.threads) {
        peer.extra.push("--plain-buffers".into());
        peer.sample("row", 1, options.threads)?;
        let reason = without_places(&error)?;
        notes.push(format!(
            "llama.cpp runs on the file's blocks as they lie there: with weights rearranged for AMX it stops (ggml-org/llama.cpp issue 20824: {reason})."
        ));
    }
    Ok(peer)
}

/// An error in one line for a committed page, which must not name this machine's folders.
pub(super) fn without_places(error: &anyhow::Error) -> Result<String> {
    let cache = paths::cache()?.to_string_lossy().into_owned();
    Ok(format!("{error:#}").replace(&cache, "CACHE").replace(&*paths::root().to_string_lossy(), "."))
}
