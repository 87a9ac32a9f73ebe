//! From a corpus to an atlas: tokenise, sweep, write. Stopped at any moment, the same command goes on.
//!
//! The sweep's state lies beside the atlas (`.sweep`) until every site is written. What the sweep was made of stands
//! in its first line, so that a command with other options is refused instead of mixed in.

use super::check_model;
use super::texts::{Texts, vocabulary};
use crate::models::Loaded;
use crate::show::bar;
use anyhow::{Context, Result, bail, ensure};
use indicatif::HumanBytes;
use pellucid::core::{Point, Seed, Site};
use pellucid::interp::{Swept, sweep, sweep_latents, sweep_sites};
use pellucid::model::load::available_memory;
use pellucid::model::{Attached, Precision as Arithmetic, fast_is_quicker};
use pellucid::store::atlas::{Atlas, AtlasError, Precision, Provenance};
use pellucid::store::collect::Keep;
use pellucid::store::corpus::{Corpus, Cut, Options, Recipe, Slice, Source};
use pellucid::store::{Sweep, Window};
use serde::Serialize;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What to build.
pub(crate) struct Plan {
    pub(crate) sources: Vec<String>,
    pub(crate) reading: Options,
    pub(crate) tokens: Option<u64>,
    pub(crate) window: usize,
    pub(crate) overlap: usize,
    pub(crate) sites: Vec<Site>,
    /// The dictionary whose latents are swept instead of its site's coordinates.
    pub(crate) latents: Option<String>,
    pub(crate) slice: Slice,
    pub(crate) seed: u64,
    pub(crate) atlas: PathBuf,
    /// How often the sweep's state is saved.
    pub(crate) checkpoint: Duration,
}

/// The setting that marks a fast sweep.
const ARITHMETIC: &str = "arithmetic";

/// Tokens that go through the model together.
const BATCH: usize = 2048;

/// What was done, for the user.
#[derive(Debug, Serialize)]
pub(crate) struct Built {
    pub(crate) atlas: PathBuf,
    /// The sweep's state, where a slice was swept: `pellucid atlas merge` joins them.
    pub(crate) sweep: Option<PathBuf>,
    pub(crate) documents: u64,
    pub(crate) windows: usize,
    pub(crate) tokens: u64,
    pub(crate) units: usize,
    /// Of this call; a sweep that was gone on with has more behind it.
    pub(crate) sweep_seconds: f64,
    pub(crate) tokens_per_second: f64,
    /// Time in collectors by time in the model alone.
    pub(crate) overhead: f64,
    /// Threads that computed.
    pub(crate) threads: usize,
    /// Whether the atlas stood there already.
    pub(crate) found: bool,
}

/// All sites' neurons.
pub(crate) fn all_neurons(loaded: &Loaded) -> Vec<Site> {
    (0..loaded.model.spec().n_layers).map(|layer| Site::new(Point::MlpAct, layer)).collect()
}

/// Where a sweep's state lies.
pub(crate) fn state_path(atlas: &Path) -> PathBuf {
    let mut path = atlas.as_os_str().to_owned();
    path.push(".sweep");
    PathBuf::from(path)
}

impl Plan {
    fn dictionary<'a>(&self, loaded: &'a Loaded) -> Result<Option<&'a Attached>> {
        Ok(self.latents.as_ref().map(|name| loaded.model.dictionary(name)).transpose()?)
    }

    fn widths(&self, loaded: &Loaded) -> Result<Vec<(Site, usize)>> {
        match self.dictionary(loaded)? {
            Some(dictionary) => Ok(vec![sweep_latents(dictionary)]),
            None => Ok(sweep_sites(&loaded.model, &self.sites)?),
        }
    }
}

pub(crate) fn build(loaded: &Loaded, plan: &Plan) -> Result<Built> {
    let path = plan.atlas.clone();
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let corpus = corpus(loaded, plan)?;
    let sites = plan.widths(loaded)?;
    let keep = Keep::for_sweep(Seed(plan.seed));
    let provenance = provenance(loaded, plan, &corpus, &keep);
    let described = describe(&provenance, &sites);
    let state = state_path(&path);
    let begun = Sweep::load(&state, Some(&described), &sites, &keep)?;
    if begun.is_none() && path.exists() {
        // a complete atlas: its state was removed after the last site
        return already(loaded, &path, &provenance);
    }
    say_memory(&sites, &keep)?;
    let windows: Vec<Window> = corpus.windows().collect();
    ensure!(
        !windows.is_empty(),
        "slice {} of the corpus has no windows; take fewer slices or more text",
        plan.slice
    );
    let mut state_of = match begun {
        Some(sweep) => sweep,
        None => Sweep::new(&described, &sites, &keep)?,
    };
    let report = run(loaded, plan, &windows, &mut state_of, &state)?;
    let mut built = Built {
        atlas: path.clone(),
        sweep: None,
        documents: corpus.report().taken.documents,
        windows: windows.len(),
        tokens: state_of.counted(),
        units: sites.iter().map(|s| s.1).sum(),
        sweep_seconds: report.seconds,
        tokens_per_second: report.tokens_per_second,
        overhead: report.overhead,
        threads: rayon::current_num_threads(),
        found: false,
    };
    if plan.slice == Slice::ALL {
        write(loaded, &path, &provenance, state_of)?;
        std::fs::remove_file(&state).with_context(|| format!("cannot remove {}", state.display()))?;
    } else {
        built.sweep = Some(state);
    }
    Ok(built)
}

/// Joins sweeps of slices and writes their atlas.
pub(crate) fn merge(
    loaded: &Loaded,
    path: &Path,
    sites: &[Site],
    seed: u64,
    parts: &[PathBuf],
) -> Result<()> {
    ensure!(!path.exists(), "{} is there already; name another file with --atlas", path.display());
    let sites = sweep_sites(&loaded.model, sites)?;
    let keep = Keep::for_sweep(Seed(seed));
    let mut whole: Option<Sweep> = None;
    for part in parts {
        let sweep = Sweep::load(part, None, &sites, &keep)?
            .with_context(|| format!("there is no file {}", part.display()))?;
        match &mut whole {
            None => whole = Some(sweep),
            Some(whole) => whole.merge(sweep, part)?,
        }
    }
    let whole = whole.context("name the .sweep files to join")?;
    let mut provenance: Provenance = stated(whole.described())?;
    let hash = loaded.model.sha256();
    ensure!(
        provenance.model_hash == hash,
        "these sweeps are of another model ({}), expected {}",
        provenance.model_name,
        loaded.name
    );
    provenance.model_name.clone_from(&loaded.name);
    write(loaded, path, &provenance, whole)
}

/// Settings without the mark of a fast sweep: an exact atlas serves whoever asks for a fast one.
fn exact(settings: &str) -> String {
    let Ok(serde_json::Value::Object(mut all)) = serde_json::from_str(settings) else {
        return settings.to_owned();
    };
    all.remove(ARITHMETIC);
    serde_json::Value::Object(all).to_string()
}

fn already(loaded: &Loaded, path: &Path, provenance: &Provenance) -> Result<Built> {
    let atlas = Atlas::open_read(path)?;
    check_model(&atlas, loaded)?;
    let made =
        atlas.provenance()?.into_iter().next().context("the atlas does not say what it was made of")?;
    if made.corpus != provenance.corpus
        || !(made.settings == provenance.settings || made.settings == exact(&provenance.settings))
        || made.seed != provenance.seed
    {
        bail!(
            "{} holds an atlas of this model made otherwise (corpus {}, settings {}); name another file with --atlas, \
             or remove it",
            path.display(),
            made.corpus,
            made.settings
        );
    }
    let summary = atlas.summary()?;
    Ok(Built {
        atlas: path.to_owned(),
        sweep: None,
        documents: 0,
        windows: summary.windows as usize,
        tokens: 0,
        units: summary.units as usize,
        sweep_seconds: 0.0,
        tokens_per_second: 0.0,
        overhead: 0.0,
        threads: rayon::current_num_threads(),
        found: true,
    })
}

/// A corpus for something else than an atlas: all of these sources, without overlap.
pub(crate) fn corpus_of(
    loaded: &Loaded,
    sources: &[String],
    window: usize,
    tokens: u64,
    seed: u64,
) -> Result<Corpus> {
    let plan = Plan {
        sources: sources.to_vec(),
        reading: Options::default(),
        tokens: Some(tokens),
        window,
        overlap: 0,
        sites: Vec::new(),
        latents: None,
        slice: Slice::ALL,
        seed,
        atlas: PathBuf::new(),
        checkpoint: Duration::ZERO,
    };
    corpus(loaded, &plan)
}

fn corpus(loaded: &Loaded, plan: &Plan) -> Result<Corpus> {
    let tokenizer = loaded.model.tokenizer();
    // a text begins as the model expects it to
    let prefix = tokenizer.encode("", true)?.ids;
    let cut = Cut { length: plan.window, overlap: plan.overlap, prefix };
    let recipe = Recipe { cut, seed: Seed(plan.seed), tokens: plan.tokens, slice: plan.slice };
    let sources =
        plan.sources.iter().map(|s| Source::open(s, &plan.reading)).collect::<Result<Vec<_>, _>>()?;
    let shown = bar("reading: tokens", plan.tokens.unwrap_or(0) as usize);
    let corpus =
        Corpus::assemble(sources, &recipe, &Texts(tokenizer), None, &mut |p| shown.set_position(p.tokens))?;
    shown.finish_and_clear();
    let report = corpus.report();
    eprintln!(
        "corpus: {} tokens in {} documents and {} windows ({} duplicates left out); train {}, validation {}, test {}",
        report.taken.tokens,
        report.taken.documents,
        report.windows,
        report.duplicates,
        report.splits[0].tokens,
        report.splits[1].tokens,
        report.splits[2].tokens
    );
    Ok(corpus)
}

fn provenance(loaded: &Loaded, plan: &Plan, corpus: &Corpus, keep: &Keep) -> Provenance {
    let mut settings = serde_json::json!({
        "window": plan.window,
        "overlap": plan.overlap,
        "tokens": plan.tokens,
        "batch_tokens": BATCH,
        "weights": loaded.model.storage().name(),
        "keep": format!("{keep:?}"),
    });
    if let Ok(Some(Attached { name, hash, .. })) = plan.dictionary(loaded) {
        settings["dictionary"] = serde_json::json!({ "name": name, "sha256": hash });
    }
    // the one thing that the processor has a say in
    if loaded.model.precision() == Arithmetic::Fast && fast_is_quicker() {
        settings[ARITHMETIC] = "bf16".into();
    }
    Provenance {
        model_hash: loaded.model.sha256().to_owned(),
        model_name: loaded.name.clone(),
        tokenizer_hash: loaded.model.tokenizer().hash(),
        corpus: corpus.id().to_string(),
        seed: plan.seed,
        code: env!("CARGO_PKG_VERSION").to_owned(),
        settings: settings.to_string(),
        precision: Precision::Rounded,
    }
}

/// What a sweep is of, in one line that [`stated`] reads back. The model's name is left out: the same file may have two.
fn describe(p: &Provenance, sites: &[(Site, usize)]) -> String {
    let sites: Vec<String> = sites.iter().map(|(site, width)| format!("{site}×{width}")).collect();
    serde_json::json!({
        "model": p.model_hash, "tokenizer": p.tokenizer_hash, "corpus": p.corpus, "seed": p.seed, "code": p.code,
        "settings": p.settings, "sites": sites.join(" "),
    })
    .to_string()
}

fn stated(described: &str) -> Result<Provenance> {
    let value: serde_json::Value =
        serde_json::from_str(described).context("the sweep does not say what it is of")?;
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Ok(Provenance {
        model_hash: text("model"),
        model_name: String::new(),
        tokenizer_hash: text("tokenizer"),
        corpus: text("corpus"),
        seed: value["seed"].as_u64().unwrap_or(0),
        code: text("code"),
        settings: text("settings"),
        precision: Precision::Rounded,
    })
}

/// States what the sweep will take, and refuses what is not there.
fn say_memory(sites: &[(Site, usize)], keep: &Keep) -> Result<()> {
    let needed = Sweep::memory(sites, keep);
    eprintln!("collectors of {} units take {}", sites.iter().map(|s| s.1).sum::<usize>(), HumanBytes(needed));
    if let Some(free) = available_memory().filter(|free| *free < needed) {
        bail!(
            "the collectors need {} and {} of memory are free; sweep fewer --sites at a time",
            HumanBytes(needed),
            HumanBytes(free)
        );
    }
    Ok(())
}

/// How fast it went.
struct Ran {
    seconds: f64,
    tokens_per_second: f64,
    overhead: f64,
}

/// What to do where the state cannot be written.
const UNSAVED: &str = "the sweep could not be saved; make room and run the same command again: it goes on from what was saved before";

fn run(loaded: &Loaded, plan: &Plan, windows: &[Window], state: &mut Sweep, path: &Path) -> Result<Ran> {
    let (before, begun) = (state.windows().len(), Instant::now());
    let shown = bar("sweep: windows", windows.len());
    shown.set_style(
        indicatif::ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left")
            .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
    );
    shown.set_position(before as u64);
    shown.reset_eta();
    let (mut last, mut saved, mut failed) = (None::<Swept>, Instant::now(), None);
    sweep(&loaded.model, plan.dictionary(loaded)?, windows, state, BATCH, &mut |swept, state| {
        shown.set_position(swept.windows as u64);
        last = Some(swept);
        if saved.elapsed() >= plan.checkpoint && swept.windows < windows.len() {
            if let Err(error) = state.save(path) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            saved = Instant::now();
        }
        ControlFlow::Continue(())
    })?;
    shown.finish_and_clear();
    if let Some(error) = failed {
        return Err(error).context(UNSAVED);
    }
    // complete: the atlas is written from here, however often that is begun
    state.save(path).context(UNSAVED)?;
    let seconds = begun.elapsed().as_secs_f64();
    let tokens: usize = windows[before..].iter().map(|w| w.tokens.len()).sum();
    let (collecting, spent) =
        last.map_or((0.0, 0.0), |s| (s.collecting.as_secs_f64(), s.spent.as_secs_f64()));
    Ok(Ran {
        seconds,
        tokens_per_second: if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 },
        overhead: if spent > collecting { collecting / (spent - collecting) } else { 0.0 },
    })
}

/// Writes everything; begun again after a kill it writes the same rows.
fn write(loaded: &Loaded, path: &Path, provenance: &Provenance, sweep: Sweep) -> Result<()> {
    let mut atlas = match Atlas::create(path, provenance) {
        // begun before; a file in which nothing stood yet was taken over
        Err(AtlasError::Exists { .. }) => Atlas::open_write(path)?,
        created => created?,
    };
    check_model(&atlas, loaded)?;
    let texts = vocabulary(loaded)?;
    atlas.put_tokens((0u32..).zip(texts.iter().map(|t| t.as_bytes())))?;
    let (windows, harvests) = sweep.harvest();
    let shown = bar("writing: sites", 0);
    let mut written = BTreeSet::new();
    for harvest in harvests {
        let used: BTreeSet<_> =
            harvest.units.iter().flat_map(|u| &u.exemplars).map(|e| (e.document, e.window)).collect();
        atlas.put_windows(
            windows
                .iter()
                .filter(|w| used.contains(&(w.document, w.index)) && written.insert((w.document, w.index))),
        )?;
        atlas.put_site(&harvest)?;
        shown.inc(1);
    }
    shown.finish_and_clear();
    Ok(())
}
