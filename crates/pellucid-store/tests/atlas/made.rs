//! Small atlases, and what goes into them.

use pellucid_core::{Polarity, Seed, Site, Split};
use pellucid_store::atlas::{
    Atlas, Description, Explainer, Precision, Provenance, Score, ScoreKind, Written,
};
use pellucid_store::{Document, Exemplar, Kind, SiteHarvest, Sketch, Statistics, UnitHarvest, Window};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.atlas");
    (folder, path)
}

pub(crate) fn provenance(precision: Precision) -> Provenance {
    Provenance {
        model_hash: "aa".to_owned(),
        model_name: "small".to_owned(),
        tokenizer_hash: "bb".to_owned(),
        corpus: "speeches".to_owned(),
        seed: u64::MAX,
        code: "0.1.0".to_owned(),
        settings: "{\"k\":20}".to_owned(),
        precision,
    }
}

pub(crate) fn windows(count: usize, seed: Seed) -> Vec<Window> {
    let mut seed = seed.for_purpose("windows");
    let window = |at: usize| {
        let mut document = [0u8; 16];
        document[..8].copy_from_slice(&(at as u64 / 4).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        document[15] = document[0];
        let length = 40 + seed.below(200);
        Window {
            document: Document(document),
            split: Split::of(&document),
            index: at as u32 % 4,
            tokens: (0..length).map(|_| seed.below(49_152) as u32).collect(),
            counted: (0..length).map(|at| at > 0).collect(),
        }
    };
    (0..count).map(window).collect()
}

/// Half precision bits.
pub(crate) fn half(value: f64) -> u16 {
    half::f16::from_f64(value).to_bits()
}

pub(crate) fn exemplar(
    windows: &[Window],
    seed: &mut Seed,
    kind: Kind,
    polarity: Option<Polarity>,
) -> Exemplar {
    let window = &windows[seed.below(windows.len())];
    let length = window.tokens.len().min(64);
    let start = seed.below(window.tokens.len() - length + 1);
    let peak = seed.below(length);
    let sign = if polarity == Some(Polarity::Negative) { -1.0 } else { 1.0 };
    let value = sign * (3.0 + seed.uniform() * 5.0);
    let mut activations: Vec<u16> = (0..length).map(|_| half(seed.normal() * 0.3)).collect();
    activations[peak] = half(value);
    Exemplar {
        kind,
        polarity,
        split: window.split,
        document: window.document,
        window: window.index,
        start: start as u32,
        peak: (start + peak) as u32,
        value: value as f32,
        activations,
    }
}

pub(crate) fn unit(windows: &[Window], seed: &mut Seed, exemplars: usize) -> UnitHarvest {
    let mut rows = Vec::new();
    for at in 0..exemplars {
        let side = [Polarity::Positive, Polarity::Negative][at % 2];
        let (kind, polarity) = match at * 4 / exemplars.max(1) {
            0 | 1 => (Kind::Top, Some(side)),
            2 => (Kind::Band(seed.below(6) as i8 - 3), Some(side)),
            _ => (Kind::Random, None),
        };
        rows.push(exemplar(windows, seed, kind, polarity));
    }
    let mut sketch = || {
        let first = 900 + seed.below(20) as u16;
        Sketch { bins: (0..60).map(|bin| (first + bin, 1 + seed.below(90_000) as u32)).collect() }
    };
    let sketches = [sketch(), sketch()];
    let statistics = Statistics {
        count: 5_000_000,
        mean: seed.normal(),
        variance: seed.uniform(),
        max: 8.5 + seed.uniform() as f32,
        min: -8.5,
    };
    UnitHarvest { statistics, sketches, exemplars: rows }
}

pub(crate) fn harvest(site: &str, width: usize, exemplars: usize, windows: &[Window]) -> SiteHarvest {
    let mut seed = Seed(7).for_purpose(site);
    let units = (0..width).map(|_| unit(windows, &mut seed, exemplars)).collect();
    SiteHarvest { site: site.parse().unwrap(), units }
}

pub(crate) const SITES: [&str; 3] = ["mlp_act.0", "mlp_act.1", "resid_post.1"];

pub(crate) fn small(path: &Path) -> (Atlas, Vec<Window>) {
    let windows = windows(60, Seed(1));
    let mut atlas = Atlas::create(path, &provenance(Precision::Exact)).unwrap();
    atlas.put_windows(&windows).unwrap();
    atlas.put_tokens([(5, &b" May"[..]), (6, b"\xff")]).unwrap();
    for site in SITES {
        atlas.put_site(&harvest(site, 12, 10, &windows)).unwrap();
    }
    (atlas, windows)
}

pub(crate) fn site(at: usize) -> Site {
    SITES[at].parse().unwrap()
}

pub(crate) fn words(at: usize, index: u32, polarity: Polarity, text: &str) -> Description {
    Description {
        site: site(at),
        index,
        polarity,
        explainer: Explainer { name: "trie".to_owned(), version: "1".to_owned(), ..Explainer::default() },
        candidate: 0,
        written: Written::Text { text: text.to_owned(), short: None },
        chosen: true,
    }
}

pub(crate) fn judged(value: f64, split: Split) -> Score {
    Score {
        kind: ScoreKind::Simulation,
        value,
        interval: Some((value - 0.1, value + 0.1)),
        null: Some(0.01),
        split: Some(split),
        n: Some(640),
        seed: Some(u64::MAX),
        windows: Some([7; 32]),
        scorer: String::new(),
    }
}

pub(crate) fn searched(path: &Path) -> Atlas {
    let (mut atlas, _) = small(path);
    let texts = ["months and dates", "the word \"May\"", "decimal points", "names of months"];
    for (at, text) in texts.iter().enumerate() {
        let polarity = if at == 2 { Polarity::Negative } else { Polarity::Positive };
        let id = atlas.add_description(&words(at % 3, at as u32, polarity, text)).unwrap();
        let angle = at as f32 * 0.4;
        atlas.put_embedding("mini", id, &[3.0 * angle.cos(), 3.0 * angle.sin(), 0.0]).unwrap();
        atlas.add_score(id, &judged(0.1 * at as f64, Split::Test)).unwrap();
    }
    atlas
}
