//! An atlas file that a stranger wrote, opened to read and asked for everything: an answer or an error.

use pellucid_core::{Polarity, Site, Split};
use pellucid_store::atlas::{
    Atlas, Description, Explainer, Precision, Provenance, Query, Score, ScoreKind, Sort, Written,
};
use pellucid_store::{Document, Exemplar, Kind, SiteHarvest, Sketch, Statistics, UnitHarvest, Window};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// If the first byte is even, the rest is the file. Else the rest changes a sound atlas: again and again three bytes of
/// offset, one of length and so many bytes to put there.
pub fn atlas(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let path = folder().join(format!("{:?}.atlas", std::thread::current().id()));
    if kind % 2 == 0 {
        fs::write(&path, rest).expect("a file");
    } else {
        let mut file = sound().to_vec();
        let mut rest = rest;
        while let [a, b, c, length, more @ ..] = rest {
            let at = u32::from_le_bytes([*a, *b, *c, 0]) as usize % file.len();
            let (new, after) = more.split_at(usize::from(*length).min(more.len()));
            file.iter_mut().skip(at).zip(new).for_each(|(old, new)| *old = *new);
            rest = after;
        }
        fs::write(&path, file).expect("a file");
    }
    if let Ok(atlas) = Atlas::open_read(&path) {
        ask(&atlas);
    }
}

/// Everything that a reader may ask.
fn ask(atlas: &Atlas) {
    let _ = (atlas.provenance(), atlas.summary(), atlas.described(), atlas.explainers(), atlas.scorers());
    let _ = (atlas.token(5), atlas.reasons("patterns"), atlas.lacking(None), atlas.judgements("patterns"));
    let mut sites: Vec<Site> = atlas.sites().into_iter().flatten().map(|row| row.site).take(4).collect();
    sites.push(Site::new(pellucid_core::Point::MlpAct, 0));
    for site in sites {
        let _ = atlas.sketches(site);
        for index in 0..3 {
            if let Ok(Some(unit)) = atlas.unit(site, index) {
                for polarity in [Polarity::Positive, Polarity::Negative] {
                    let _ = (unit.scale(polarity), unit.firing_density(polarity));
                }
            }
            let _ = atlas.windows_of(site, index);
            let described = atlas.descriptions(site, index, Polarity::Positive);
            for (id, _) in described.into_iter().flatten().take(4) {
                let _ = (atlas.description(id), atlas.scores(id), atlas.votes(id));
            }
        }
    }
    let vectors = atlas.vectors("minilm");
    let width = vectors.as_ref().map_or(4, |vectors| vectors.width()).min(64);
    if let Ok(vectors) = vectors {
        let _ = vectors.cosines(&vec![0.5; width]);
        vectors.ids().iter().take(4).for_each(|id| drop(vectors.row(*id)));
    }
    for sort in [Sort::Nearest, Sort::Score, Sort::Density, Sort::Unit] {
        let query = Query { sort, ..Query::all(5) };
        let _ = atlas.find(&query);
        let _ = atlas.find(&Query { text: Some("months \"and\" days".to_owned()), ..query.clone() });
        let _ = atlas.find(&Query { vector: Some(("minilm".to_owned(), vec![0.5; width])), ..query });
    }
    let _ = (atlas.content_hash(), atlas.check());
}

/// A folder of this process.
fn folder() -> &'static PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("pellucid-fuzz-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        path
    })
}

/// The bytes of a small atlas with a row in every table.
fn sound() -> &'static [u8] {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = folder().join("sound.atlas");
        make(&path);
        let bytes = fs::read(&path).expect("the atlas");
        fs::remove_file(&path).expect("the atlas");
        bytes
    })
}

fn make(path: &std::path::Path) {
    let word = |text: &str| text.to_owned();
    let mut atlas = Atlas::create(
        path,
        &Provenance {
            model_hash: word("aa"),
            model_name: word("tiny"),
            tokenizer_hash: word("bb"),
            corpus: word("speeches"),
            seed: 7,
            code: word("0.1.0"),
            settings: word("{}"),
            precision: Precision::Rounded,
        },
    )
    .expect("an atlas");
    let window = Window {
        document: Document([3; 16]),
        split: Split::Train,
        index: 0,
        tokens: (0..12).collect(),
        counted: (0..12).map(|at| at > 0).collect(),
    };
    atlas.put_windows([&window]).expect("a window");
    atlas.put_tokens([(5, &b" May"[..]), (6, b"\xff")]).expect("tokens");
    let exemplar = |kind, polarity| Exemplar {
        kind,
        polarity,
        split: window.split,
        document: window.document,
        window: 0,
        start: 2,
        peak: 4,
        value: 3.0,
        activations: vec![0, 0x3c00, 0x4200, 0, 0],
    };
    let unit = UnitHarvest {
        statistics: Statistics { count: 5000, mean: 0.1, variance: 0.5, max: 4.0, min: -2.0 },
        sketches: [0, 1]
            .map(|at| Sketch { bins: (0..5).map(|bin| (900 + bin + at, 10 + u32::from(bin))).collect() }),
        exemplars: vec![
            exemplar(Kind::Top, Some(Polarity::Positive)),
            exemplar(Kind::Band(1), Some(Polarity::Positive)),
            exemplar(Kind::Random, None),
        ],
    };
    let site: Site = "mlp_act.0".parse().expect("a site");
    atlas.put_site(&SiteHarvest { site, units: vec![unit.clone(), unit] }).expect("a site");
    let description = |index: u32, written: Written, chosen| Description {
        site,
        index,
        polarity: Polarity::Positive,
        explainer: Explainer { name: word("patterns"), version: word("1"), ..Explainer::default() },
        candidate: 0,
        written,
        chosen,
    };
    let text = Written::Text { text: word("months and days"), short: Some(word("months")) };
    let id = atlas.add_description(&description(0, text, true)).expect("a description");
    atlas
        .add_description(&description(1, Written::None { reason: word("never active") }, false))
        .expect("a reason");
    let score = Score { split: Some(Split::Test), n: Some(12), ..Score::plain(ScoreKind::Simulation, 0.5) };
    atlas.add_score(id, &score).expect("a score");
    atlas.put_embedding("minilm", id, &[0.5, 0.5, 0.5, 0.5]).expect("a vector");
    atlas.vote(id, "me", true).expect("a vote");
}
