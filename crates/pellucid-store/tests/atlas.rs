//! The atlas file as its users meet it: written, killed, resumed, searched, exchanged, damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use pellucid_core::{Polarity, Seed, Site, Split};
use pellucid_store::atlas::{
    Atlas, AtlasError, Description, Explainer, Export, Precision, Provenance, Query, Score, ScoreKind, Sort,
    Written, rounded,
};
use pellucid_store::{Document, Exemplar, Kind, SiteHarvest, Sketch, Statistics, UnitHarvest, Window};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.atlas");
    (folder, path)
}

fn provenance(precision: Precision) -> Provenance {
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

fn windows(count: usize, seed: Seed) -> Vec<Window> {
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
fn half(value: f64) -> u16 {
    half::f16::from_f64(value).to_bits()
}

fn exemplar(windows: &[Window], seed: &mut Seed, kind: Kind, polarity: Option<Polarity>) -> Exemplar {
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

fn unit(windows: &[Window], seed: &mut Seed, exemplars: usize) -> UnitHarvest {
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

fn harvest(site: &str, width: usize, exemplars: usize, windows: &[Window]) -> SiteHarvest {
    let mut seed = Seed(7).for_purpose(site);
    let units = (0..width).map(|_| unit(windows, &mut seed, exemplars)).collect();
    SiteHarvest { site: site.parse().unwrap(), units }
}

const SITES: [&str; 3] = ["mlp_act.0", "mlp_act.1", "resid_post.1"];

fn small(path: &Path) -> (Atlas, Vec<Window>) {
    let windows = windows(60, Seed(1));
    let mut atlas = Atlas::create(path, &provenance(Precision::Exact)).unwrap();
    atlas.put_windows(&windows).unwrap();
    atlas.put_tokens([(5, &b" May"[..]), (6, b"\xff")]).unwrap();
    for site in SITES {
        atlas.put_site(&harvest(site, 12, 10, &windows)).unwrap();
    }
    (atlas, windows)
}

fn site(at: usize) -> Site {
    SITES[at].parse().unwrap()
}

fn words(at: usize, index: u32, polarity: Polarity, text: &str) -> Description {
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

fn judged(value: f64, split: Split) -> Score {
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

#[test]
fn what_is_put_in_comes_out() {
    let (_folder, path) = folder();
    let (atlas, windows) = small(&path);
    for name in SITES {
        let harvest = harvest(name, 12, 10, &windows);
        for (index, unit) in harvest.units.iter().enumerate() {
            assert_eq!(atlas.unit(harvest.site, index as u32).unwrap().as_ref(), Some(unit));
        }
    }
    let unit = atlas.unit(site(0), 3).unwrap().unwrap();
    let of = atlas.windows_of(site(0), 3).unwrap();
    for exemplar in &unit.exemplars {
        let window = of.iter().find(|w| (w.document, w.index) == (exemplar.document, exemplar.window));
        assert!(windows.contains(window.unwrap()));
    }
    assert_eq!(atlas.unit(site(0), 12).unwrap(), None);
    assert_eq!(atlas.unit("mlp_act.9".parse().unwrap(), 0).unwrap(), None);
    assert_eq!(atlas.token(6).unwrap(), Some(vec![0xff]));
    assert_eq!(atlas.provenance().unwrap(), [provenance(Precision::Exact)]);
    let summary = atlas.summary().unwrap();
    assert_eq!((summary.sites, summary.units, summary.windows), (3, 36, 60));
}

#[test]
fn rounded_activations_keep_the_peak_exact() {
    let (_folder, path) = folder();
    let windows = windows(20, Seed(2));
    let mut atlas = Atlas::create(&path, &provenance(Precision::Rounded)).unwrap();
    atlas.put_windows(&windows).unwrap();
    let mut harvest = harvest("mlp_act.0", 4, 12, &windows);
    // Statistics that are no numbers, and an activation beyond half precision, must survive too.
    harvest.units[0].statistics.variance = f64::INFINITY;
    harvest.units[0].exemplars[0].activations[0] = 0x7c00;
    atlas.put_site(&harvest).unwrap();
    for unit in &mut harvest.units {
        for exemplar in &mut unit.exemplars {
            exemplar.activations = rounded(&exemplar.activations, Precision::Rounded);
        }
    }
    for (index, unit) in harvest.units.iter().enumerate() {
        assert_eq!(atlas.unit(harvest.site, index as u32).unwrap().as_ref(), Some(unit));
    }
    harvest.units[1].statistics.mean = f64::NAN;
    atlas.put_site(&harvest).unwrap();
    assert!(atlas.unit(harvest.site, 1).unwrap().unwrap().statistics.mean.is_nan());
}

#[test]
fn writing_again_and_in_another_order_gives_the_same_rows() {
    let (_folder, path) = folder();
    let (mut atlas, windows) = small(&path);
    atlas.add_description(&words(0, 1, Polarity::Positive, "months")).unwrap();
    let before = atlas.content_hash().unwrap();
    atlas.put_windows(&windows).unwrap();
    atlas.put_site(&harvest(SITES[1], 12, 10, &windows)).unwrap();
    atlas.add_description(&words(0, 1, Polarity::Positive, "months")).unwrap();
    atlas.add_provenance(&provenance(Precision::Exact)).unwrap();
    assert_eq!(atlas.content_hash().unwrap(), before);

    let other = path.with_extension("other");
    let mut other = Atlas::create(&other, &provenance(Precision::Exact)).unwrap();
    other.put_windows(windows.iter().rev()).unwrap();
    for site in SITES.iter().rev() {
        other.put_site(&harvest(site, 12, 10, &windows)).unwrap();
    }
    other.put_tokens([(6, &b"\xff"[..]), (5, b" May")]).unwrap();
    assert_ne!(other.content_hash().unwrap(), before);
    other.add_description(&words(0, 1, Polarity::Positive, "months")).unwrap();
    assert_eq!(other.content_hash().unwrap(), before);
}

#[test]
fn a_file_that_is_no_atlas_is_a_clear_error() {
    let (folder, path) = folder();
    let wrong = provenance(Precision::Exact);
    assert!(matches!(Atlas::open_read(&path), Err(AtlasError::Missing { .. })));
    assert!(matches!(Atlas::open_write(&path), Err(AtlasError::Missing { .. })));
    assert!(!path.exists());

    fs::write(&path, "no database, but a text of some length that is not one").unwrap();
    assert!(matches!(Atlas::open_read(&path), Err(AtlasError::Foreign { .. })));
    assert!(matches!(Atlas::open_write(&path), Err(AtlasError::Foreign { .. })));
    assert!(matches!(Atlas::create(&path, &wrong), Err(AtlasError::Exists { .. })));

    let foreign = folder.path().join("foreign.db");
    let db = rusqlite::Connection::open(&foreign).unwrap();
    db.execute_batch("CREATE TABLE notes (text)").unwrap();
    assert!(matches!(Atlas::open_read(&foreign), Err(AtlasError::Foreign { .. })));
    assert!(matches!(Atlas::create(&foreign, &wrong), Err(AtlasError::Exists { .. })));

    let newer = folder.path().join("newer.atlas");
    drop(small(&newer));
    let db = rusqlite::Connection::open(&newer).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(db);
    for opened in [Atlas::open_read(&newer), Atlas::open_write(&newer)] {
        assert!(matches!(opened, Err(AtlasError::Newer { found: 99, .. })));
    }
    let nowhere = folder.path().join("missing folder").join("x.atlas");
    let error = Atlas::create(&nowhere, &wrong).err().unwrap();
    assert!(matches!(error, AtlasError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("missing folder"), "{error}");
}

#[test]
fn an_interrupted_creation_is_taken_over() {
    let (_folder, path) = folder();
    fs::write(&path, "").unwrap();
    let error = Atlas::open_read(&path).err().unwrap().to_string();
    assert!(error.contains("cut short"), "{error}");
    drop(Atlas::create(&path, &provenance(Precision::Exact)).unwrap());
    assert!(matches!(Atlas::create(&path, &provenance(Precision::Exact)), Err(AtlasError::Exists { .. })));
}

#[test]
fn a_writer_killed_in_the_middle_of_a_step_leaves_an_atlas_to_read() {
    let (_folder, path) = folder();
    let (atlas, _) = small(&path);
    let before = atlas.summary().unwrap();
    drop(atlas);
    // as a kill leaves it: pages of the step stand in the file, what they were in the journal
    let killed = path.with_file_name("killed.atlas");
    let journal = |path: &Path| PathBuf::from(format!("{}-journal", path.display()));
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE tokens SET bytes = x'00'; DELETE FROM windows;")
        .unwrap();
    fs::copy(&path, &killed).unwrap();
    fs::copy(journal(&path), journal(&killed)).unwrap();
    assert!(fs::read(journal(&killed)).unwrap().iter().any(|byte| *byte != 0));

    let read = Atlas::open_read(&killed).unwrap();
    read.check().unwrap();
    assert_eq!(read.summary().unwrap(), before);
    assert!(!journal(&killed).exists());
}

#[test]
fn one_writes_and_many_read() {
    let (folder, path) = folder();
    let (mut writer, windows) = small(&path);
    assert!(matches!(Atlas::open_write(&path), Err(AtlasError::Busy { .. })));
    let readers: Vec<Atlas> = (0..4).map(|_| Atlas::open_read(&path).unwrap()).collect();
    writer.put_site(&harvest("mlp_act.2", 5, 4, &windows)).unwrap();
    for mut reader in readers {
        assert_eq!(reader.summary().unwrap().sites, 4);
        let refused = reader.put_windows(&windows);
        assert!(matches!(refused, Err(AtlasError::ReadOnly { .. })));
    }
    drop(writer);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["small.atlas"], "a closed atlas is one file");
    drop(Atlas::open_write(&path).unwrap());
}

#[test]
fn an_exemplar_needs_its_window_and_a_failed_site_leaves_nothing() {
    let (_folder, path) = folder();
    let (mut atlas, windows) = small(&path);
    let before = atlas.content_hash().unwrap();
    let mut wrong = harvest("mlp_act.2", 5, 4, &windows);
    wrong.units[4].exemplars[0].window = 77;
    let error = atlas.put_site(&wrong).unwrap_err();
    assert!(matches!(error, AtlasError::NoWindow { unit: 4, window: 77, .. }), "{error}");
    wrong.units.truncate(3);
    atlas.put_site(&wrong).unwrap();
    let narrower = SiteHarvest { site: wrong.site, units: wrong.units[..2].to_vec() };
    assert!(matches!(atlas.put_site(&narrower), Err(AtlasError::Invalid { .. })));
    assert_ne!(atlas.content_hash().unwrap(), before);
}

#[test]
fn a_full_disk_loses_nothing_that_was_written() {
    let (_folder, path) = folder();
    let (mut atlas, windows) = small(&path);
    let before = atlas.content_hash().unwrap();
    atlas.limit_size(atlas.summary().unwrap().bytes + 8192).unwrap();
    let error = atlas.put_site(&harvest("mlp_act.2", 400, 20, &windows)).unwrap_err();
    assert!(matches!(error, AtlasError::Full { .. }), "{error}");
    assert!(error.to_string().contains("small.atlas") && error.to_string().contains("make room"), "{error}");
    assert_eq!(atlas.content_hash().unwrap(), before);
    atlas.check().unwrap();
    atlas.limit_size(u64::MAX).unwrap();
    atlas.put_site(&harvest("mlp_act.2", 400, 20, &windows)).unwrap();
}

#[test]
fn damaged_blobs_name_the_table_and_the_unit() {
    let (_folder, path) = folder();
    drop(small(&path));
    let db = rusqlite::Connection::open(&path).unwrap();
    let whole: Vec<u8> =
        db.query_row("SELECT rows FROM exemplars WHERE unit = (1 << 32) | 3", [], |r| r.get(0)).unwrap();
    let mut seed = Seed(3);
    let mut refused = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        let at = seed.below(bytes.len());
        bytes[at] ^= 1 << seed.below(8);
        db.execute("UPDATE exemplars SET rows = ?1 WHERE unit = (1 << 32) | 3", [&bytes]).unwrap();
        match Atlas::open_read(&path).unwrap().unit(site(0), 3) {
            Err(error @ AtlasError::Corrupt { table: "exemplars", .. }) => {
                assert!(error.to_string().contains("mlp_act.0/3"), "{error}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
            Ok(_) => {}
        }
    }
    assert!(refused >= 55, "only {refused} of 60 found");
    for (table, column) in [("sketches", "positive"), ("windows", "tokens")] {
        db.execute(&format!("UPDATE {table} SET {column} = x'01ffffffffffffffff7f'"), []).unwrap();
        let atlas = Atlas::open_read(&path).unwrap();
        let error = if table == "windows" {
            atlas.windows_of(site(1), 2).unwrap_err()
        } else {
            atlas.unit(site(1), 2).unwrap_err()
        };
        assert!(matches!(&error, AtlasError::Corrupt { table: t, .. } if *t == table), "{error}");
    }
}

#[test]
fn descriptions_are_chosen_scored_and_voted_on() {
    let (_folder, path) = folder();
    let (mut atlas, _) = small(&path);
    let first = atlas.add_description(&words(0, 1, Polarity::Positive, "months")).unwrap();
    let mut second = words(0, 1, Polarity::Positive, "the word May");
    second.candidate = 1;
    let second_id = atlas.add_description(&second).unwrap();
    let texts = |atlas: &Atlas| -> Vec<(Written, bool)> {
        let rows = atlas.descriptions(site(0), 1, Polarity::Positive).unwrap();
        rows.into_iter().map(|(_, d)| (d.written, d.chosen)).collect()
    };
    assert_eq!(texts(&atlas)[0], (second.written.clone(), true));
    assert!(!texts(&atlas)[1].1);
    atlas.choose_description(first).unwrap();
    assert!(atlas.description(first).unwrap().chosen && !atlas.description(second_id).unwrap().chosen);
    assert!(atlas.descriptions(site(0), 1, Polarity::Negative).unwrap().is_empty());

    let score = judged(0.6, Split::Test);
    atlas.add_scores(&[(first, judged(0.5, Split::Validation)), (first, score.clone())]).unwrap();
    atlas.add_score(first, &score).unwrap();
    assert_eq!(atlas.scores(first).unwrap(), [judged(0.5, Split::Validation), score.clone()]);
    // a language model's judgement stands beside the description's own, which goes before it
    let other = Score { scorer: "a model".to_owned(), value: 0.9, ..score.clone() };
    atlas.add_score(first, &other).unwrap();
    assert_eq!(atlas.scores(first).unwrap()[1..], [score.clone(), other.clone()]);
    assert_eq!(atlas.judgements("none").unwrap()[0].score, 0.6);
    assert_eq!(atlas.find(&Query::all(1)).unwrap()[0].score, Some(0.6));
    assert_eq!(atlas.scorers().unwrap(), ["", "a model"]);
    assert_eq!(atlas.scores_by("a model", Split::Test).unwrap(), [(first, other)]);
    let trie = Explainer { name: "trie".to_owned(), version: "1".to_owned(), ..Explainer::default() };
    assert_eq!(atlas.explainers().unwrap(), [(trie, [2, 1, 0])]);
    assert!(atlas.add_score(first, &Score { value: f64::NAN, ..score }).is_err());
    atlas.vote(first, "a", true).unwrap();
    atlas.vote(first, "a", false).unwrap();
    atlas.vote(first, "b", true).unwrap();
    assert_eq!(atlas.votes(first).unwrap(), (1, 1));
}

#[test]
fn no_description_is_a_reason_and_never_a_text() {
    let (_folder, path) = folder();
    let (mut atlas, _) = small(&path);
    let mut none = words(0, 1, Polarity::Positive, " ");
    assert!(atlas.add_description(&none).is_err());
    none.written = Written::None { reason: "no window is strong enough".to_owned() };
    assert!(atlas.add_description(&none).is_err(), "none cannot be chosen");
    none.chosen = false;
    let id = atlas.add_description(&none).unwrap();
    assert!(atlas.choose_description(id).is_err());
    assert!(matches!(
        atlas.add_description(&words(0, 99, Polarity::Positive, "x")),
        Err(AtlasError::Absent { .. })
    ));
    let summary = atlas.summary().unwrap();
    assert_eq!((summary.descriptions, summary.missing), (0, 1));
    assert!(atlas.find(&Query { chosen: false, ..Query::all(9) }).unwrap().is_empty());

    // What is left to do: everybody's, and this explainer's.
    assert_eq!(atlas.lacking(None).unwrap().len(), 71);
    assert_eq!(atlas.lacking(Some(&none.explainer)).unwrap().len(), 71);
    assert_eq!(atlas.lacking(Some(&Explainer::default())).unwrap().len(), 72);
    let first = atlas.lacking(None).unwrap()[0];
    assert_eq!((first.site, first.index, first.polarity), (site(0), 0, Polarity::Positive));
}

fn searched(path: &Path) -> Atlas {
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

#[test]
fn search_by_meaning_is_exact() {
    let (_folder, path) = folder();
    let atlas = searched(&path);
    let query = Query { vector: Some(("mini".to_owned(), vec![0.0, 2.0, 0.0])), ..Query::all(3) };
    let hits = atlas.find(&query).unwrap();
    let indices: Vec<u32> = hits.iter().map(|hit| hit.index).collect();
    assert_eq!(indices, [3, 2, 1]);
    for hit in &hits {
        let expected = (hit.index as f32 * 0.4).sin();
        assert!((hit.cosine.unwrap() - expected).abs() < 1e-3, "{hit:?}");
    }
    let negative = Query { polarity: Some(Polarity::Negative), ..query.clone() };
    assert_eq!(atlas.find(&negative).unwrap().iter().map(|h| h.index).collect::<Vec<_>>(), [2]);
    let by_score = Query { sort: Sort::Score, ..query.clone() };
    assert_eq!(atlas.find(&by_score).unwrap()[0].index, 3);
    let wrong = Query { vector: Some(("mini".to_owned(), vec![1.0])), ..query.clone() };
    assert!(matches!(atlas.find(&wrong), Err(AtlasError::Invalid { .. })));
    let unknown = Query { vector: Some(("other".to_owned(), vec![1.0])), ..query };
    assert!(matches!(atlas.find(&unknown), Err(AtlasError::Absent { .. })));
}

#[test]
fn new_embeddings_are_seen_by_open_readers() {
    let (_folder, path) = folder();
    let mut atlas = searched(&path);
    let reader = Atlas::open_read(&path).unwrap();
    assert_eq!(reader.vectors("mini").unwrap().len(), 4);
    let id = atlas.add_description(&words(2, 9, Polarity::Positive, "new")).unwrap();
    atlas.put_embedding("mini", id, &[1.0, 0.0, 0.0]).unwrap();
    assert_eq!(atlas.vectors("mini").unwrap().len(), 5);
    assert_eq!(reader.vectors("mini").unwrap().len(), 5);
    assert!(atlas.put_embedding("mini", id, &[1.0]).is_err());
    assert!(atlas.put_embedding("mini", id, &[0.0, 0.0, 0.0]).is_err());
}

#[test]
fn search_by_words_and_columns() {
    let (_folder, path) = folder();
    let mut atlas = searched(&path);
    let text = |text: &str| Query { text: Some(text.to_owned()), ..Query::all(10) };
    let found = |query: &Query| -> Vec<u32> {
        let mut hits: Vec<u32> = atlas.find(query).unwrap().iter().map(|hit| hit.index).collect();
        hits.sort_unstable();
        hits
    };
    assert_eq!(found(&text("months")), [0, 3]);
    assert_eq!(found(&text("month date")), [0]);
    assert_eq!(found(&text("\"may\"")), [1]);
    assert_eq!(found(&Query { score: Some((ScoreKind::Simulation, 0.15)), ..Query::all(10) }), [2, 3]);
    assert_eq!(found(&Query { layers: Some(1..=1), ..Query::all(10) }), [1, 2]);
    assert_eq!(found(&Query { site: Some(site(0)), ..Query::all(10) }), [0, 3]);
    assert_eq!(found(&Query { site: Some(site(0)), index: Some(3), ..Query::all(10) }), [3]);
    assert_eq!(found(&Query { layers: Some(7..=9), ..Query::all(10) }), [] as [u32; 0]);
    let density = atlas.find(&Query::all(10)).unwrap()[0].density;
    assert_eq!(found(&Query { density: Some(density..=density), ..Query::all(10) }).len(), 1);
    let hits = atlas.find(&Query { sort: Sort::Score, ..Query::all(2) }).unwrap();
    assert_eq!(hits.iter().map(|hit| hit.index).collect::<Vec<_>>(), [3, 2]);

    // The index follows what is written over.
    let changed = words(0, 0, Polarity::Positive, "weekdays");
    atlas.add_description(&changed).unwrap();
    let found = |query: &Query| atlas.find(query).unwrap().len();
    assert_eq!((found(&text("dates")), found(&text("weekday"))), (0, 1));
}

#[test]
fn a_site_at_a_glance_says_of_each_unit_what_it_says_alone() {
    let (_folder, path) = folder();
    let mut atlas = searched(&path);
    let id = atlas.add_description(&words(0, 7, Polarity::Negative, "the other side")).unwrap();
    atlas.add_score(id, &judged(0.6, Split::Validation)).unwrap();
    atlas.add_score(id, &judged(0.2, Split::Test)).unwrap();
    for polarity in [Polarity::Positive, Polarity::Negative] {
        let all = atlas.glances(site(0), polarity).unwrap();
        assert_eq!(all.iter().map(|g| g.index).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
        for glance in &all {
            let unit = atlas.unit(site(0), glance.index).unwrap().unwrap();
            let bins = &unit.sketch(polarity).bins;
            assert_eq!(glance.active, bins.iter().map(|b| u64::from(b.1)).sum::<u64>());
            let most =
                if polarity == Polarity::Positive { unit.statistics.max } else { -unit.statistics.min };
            assert_eq!((glance.count, glance.most), (unit.statistics.count, most));
            let chosen = atlas.descriptions(site(0), glance.index, polarity).unwrap();
            assert_eq!(glance.described, chosen.iter().any(|(_, d)| d.chosen));
        }
        let scored: Vec<(u32, Option<f64>, Option<f64>)> =
            all.iter().filter(|g| g.score.is_some()).map(|g| (g.index, g.score, g.null)).collect();
        match polarity {
            Polarity::Positive => assert_eq!(scored[0], (0, Some(0.0), Some(0.01))),
            // what it scores on test goes before validation
            Polarity::Negative => assert_eq!(scored, [(7, Some(0.2), Some(0.01))]),
        }
    }
    assert_eq!(atlas.glances("resid_post.7".parse().unwrap(), Polarity::Positive).unwrap(), []);
    assert_eq!(atlas.dictionary_hash().unwrap(), None);
}

#[test]
fn no_words_are_an_error() {
    let (_folder, path) = folder();
    let atlas = searched(&path);
    let mut seed = Seed(5);
    let parts = [
        "\"", "*", "(", ")", "AND", "OR", "NOT", "NEAR(", "^", "-", "+", ":", "text:", "{", "'", ";", "\0",
        "é", "%",
    ];
    for _ in 0..300 {
        let text: Vec<&str> = (0..1 + seed.below(6)).map(|_| parts[seed.below(parts.len())]).collect();
        for joined in [text.concat(), text.join(" ")] {
            let query = Query { text: Some(joined.clone()), ..Query::all(5) };
            atlas.find(&query).unwrap_or_else(|error| panic!("{joined:?}: {error}"));
        }
    }
}

#[test]
fn descriptions_move_between_files_of_one_model() {
    let (_folder, path) = folder();
    let mut from = searched(&path);
    let id = from.find(&Query::all(1)).unwrap()[0].id;
    from.vote(id, "a", true).unwrap();
    let target = path.with_extension("to");
    let (mut to, _) = small(&target);
    let kept = to.add_description(&Description {
        explainer: Explainer::default(),
        ..words(0, 0, Polarity::Positive, "kept")
    });
    let done = to.attach_descriptions_from(&from).unwrap();
    assert_eq!((done.descriptions, done.scores, done.embeddings, done.votes, done.skipped), (4, 4, 4, 1, 0));
    assert!(to.description(kept.unwrap()).unwrap().chosen, "a choice stays");
    let before = to.content_hash().unwrap();
    to.attach_descriptions_from(&from).unwrap();
    assert_eq!(to.content_hash().unwrap(), before);

    let other = path.with_extension("other");
    let mut other_model = provenance(Precision::Exact);
    other_model.model_hash = "cc".to_owned();
    let mut other = Atlas::create(&other, &other_model).unwrap();
    assert!(matches!(other.attach_descriptions_from(&from), Err(AtlasError::OtherModel { .. })));
    assert!(matches!(to.add_provenance(&other_model), Err(AtlasError::OtherModel { .. })));
}

#[test]
fn features_go_out_and_explanations_come_in() {
    let (_folder, path) = folder();
    let mut atlas = searched(&path);
    let bin = |bin: u16| (f32::from(bin), f32::from(bin) + 1.0);
    let options = Export { model: "small", polarities: &[Polarity::Positive], exemplars: 3, bin: &bin };
    let mut out = Vec::new();
    assert_eq!(atlas.export_neuronpedia(&options, &mut out).unwrap(), 36);
    let lines: Vec<serde_json::Value> = out
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let first = &lines[0];
    assert_eq!(first["layer"], "0-mlp_act");
    assert_eq!(first["description"], "months and dates");
    let heights = first["freq_hist_data_bar_heights"].as_array().unwrap().len();
    assert_eq!(first["freq_hist_data_bar_values"].as_array().unwrap().len(), heights);
    let top = &first["activations"][0];
    assert_eq!(top["tokens"].as_array().unwrap().len(), top["values"].as_array().unwrap().len());

    let lines = [
        r#"{"modelId":"small","layer":"0","index":"5","description":"dogs","typeName":"oai","scores":[{"value":0.4,"explanationScoreTypeName":"recall"}]}"#,
        r#"{"modelId":"small","layer":"0-mlp_act","index":5,"description":"cats","typeName":"oai"}"#,
        r#"{"modelId":"gpt2","layer":"0","index":5,"description":"x"}"#,
        "not json",
        r#"{"modelId":"small","layer":"0","index":5,"description":null}"#,
        "",
        r#"{"modelId":"small","layer":"6-res-jb","index":5,"description":"x"}"#,
        r#"{"layer":1,"index":4000,"description":"x"}"#,
        r#"{"layer":1,"index":-4,"description":"x"}"#,
        r#"{"layer":1,"index":4,"description":"no model named"}"#,
    ];
    let done = atlas.import_neuronpedia("small", lines.join("\n").as_bytes()).unwrap();
    assert_eq!((done.descriptions, done.scores, done.other_model, done.unknown), (3, 1, 1, 2));
    assert_eq!(done.errors.iter().map(|error| error.line).collect::<Vec<_>>(), [4, 5, 9]);
    assert!(done.errors[1].to_string().contains("description"), "{}", done.errors[1]);
    let rows = atlas.descriptions(site(0), 5, Polarity::Positive).unwrap();
    assert_eq!(rows.iter().map(|row| row.1.candidate).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(atlas.scores(rows[0].0).unwrap()[0].split, None);
}

/// Writes in another process, which is killed while it does; see [`a_kill_loses_no_site`].
#[test]
fn a_writer_to_be_killed() {
    let Ok(path) = std::env::var("PELLUCID_TEST_ATLAS") else { return };
    write_all(Path::new(&path));
}

fn write_all(path: &Path) {
    let windows = windows(60, Seed(1));
    let mut atlas = match Atlas::open_write(path) {
        Err(AtlasError::Missing { .. } | AtlasError::Foreign { .. }) => {
            Atlas::create(path, &provenance(Precision::Exact)).unwrap()
        }
        other => other.unwrap(),
    };
    if atlas.provenance().unwrap().is_empty() {
        atlas.add_provenance(&provenance(Precision::Exact)).unwrap();
    }
    atlas.put_windows(&windows).unwrap();
    for layer in 0..12 {
        let site = format!("mlp_act.{layer}");
        atlas.put_site(&harvest(&site, 60, 20, &windows)).unwrap();
        for index in 0..20 {
            let mut row = words(0, index, Polarity::Positive, &format!("unit {index}"));
            row.site = site.parse().unwrap();
            atlas.add_description(&row).unwrap();
        }
    }
}

#[test]
fn a_kill_loses_no_site() {
    let (_folder, path) = folder();
    let plain = path.with_extension("plain");
    write_all(&plain);
    let expected = Atlas::open_read(&plain).unwrap().content_hash().unwrap();
    let mut seed = Seed(11);
    for _ in 0..10 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_writer_to_be_killed", "--nocapture"])
            .env("PELLUCID_TEST_ATLAS", &path)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5 + seed.below(140) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        if let Ok(atlas) = Atlas::open_read(&path) {
            atlas.check().unwrap();
            atlas.content_hash().unwrap();
        }
    }
    write_all(&path);
    let atlas = Atlas::open_read(&path).unwrap();
    atlas.check().unwrap();
    assert_eq!(atlas.content_hash().unwrap(), expected);
}

#[cfg(feature = "parquet")]
#[test]
fn tables_go_out_as_parquet() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let (folder, path) = folder();
    let atlas = searched(&path);
    let units = folder.path().join("units.parquet");
    assert_eq!(atlas.export_units_parquet(fs::File::create(&units).unwrap()).unwrap(), 36);
    let reader = SerializedFileReader::new(fs::File::open(&units).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 36);
    assert!(rows[0].to_string().contains("mlp_act.0"), "{}", rows[0]);
    let words = folder.path().join("words.parquet");
    assert_eq!(atlas.export_descriptions_parquet(fs::File::create(&words).unwrap()).unwrap(), 4);
    let reader = SerializedFileReader::new(fs::File::open(&words).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert!(rows[0].to_string().contains("months and dates"), "{}", rows[0]);
}

/// Sizes and times of an atlas like SmolLM2's, printed: 30 × 1,536 units, 70 exemplars of up to 64 tokens, 92,160
/// descriptions with 384 numbers each. `cargo test --release -p pellucid-store --test atlas -- --ignored --nocapture
/// sizes_and_times`.
#[test]
#[ignore = "a measurement: it writes some hundred megabytes"]
fn sizes_and_times() {
    use std::time::Instant;
    let windows = windows(20_000, Seed(1));
    let layers: usize = std::env::var("PELLUCID_LAYERS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    for precision in [Precision::Exact, Precision::Rounded] {
        let (_folder, path) = folder();
        let mut atlas = Atlas::create(&path, &provenance(precision)).unwrap();
        atlas.put_windows(&windows).unwrap();
        let before = atlas.summary().unwrap().bytes;
        let mut writing = 0.0;
        for layer in 0..layers {
            let harvest = harvest(&format!("mlp_act.{layer}"), 1536, 70, &windows);
            let start = Instant::now();
            atlas.put_site(&harvest).unwrap();
            writing += start.elapsed().as_secs_f64();
        }
        let summary = atlas.summary().unwrap();
        let units = (layers * 1536) as f64;
        println!(
            "{precision:?}: {:.0} bytes a unit, {:.0} MB in all, windows {:.1} MB, {:.2} s to write a site",
            (summary.bytes - before) as f64 / units,
            summary.bytes as f64 / 1e6,
            before as f64 / 1e6,
            writing / layers as f64
        );
        let mut seed = Seed(9);
        let start = Instant::now();
        for _ in 0..200 {
            let site: Site = format!("mlp_act.{}", seed.below(layers)).parse().unwrap();
            let index = seed.below(1536) as u32;
            assert!(atlas.unit(site, index).unwrap().is_some());
            assert!(!atlas.windows_of(site, index).unwrap().is_empty());
        }
        println!("  {:.3} ms to read a unit and its windows", start.elapsed().as_secs_f64() * 1e3 / 200.0);
        if precision == Precision::Rounded {
            search_times(&mut atlas, layers);
        }
    }
}

fn search_times(atlas: &mut Atlas, layers: usize) {
    use std::time::Instant;
    let mut seed = Seed(4);
    let start = Instant::now();
    for layer in 0..layers {
        let mut rows = Vec::new();
        for index in 0..1536 {
            for polarity in [Polarity::Positive, Polarity::Negative] {
                let text = format!("the {}th word after number {index}{polarity}", seed.below(50));
                let mut row = words(0, index, polarity, &text);
                row.site = format!("mlp_act.{layer}").parse().unwrap();
                rows.push(row);
            }
        }
        let ids = atlas.add_descriptions(&rows).unwrap();
        let vectors: Vec<Vec<f32>> =
            ids.iter().map(|_| (0..384).map(|_| seed.normal() as f32).collect()).collect();
        let rows: Vec<_> = ids.iter().zip(&vectors).map(|(&id, row)| (id, row.as_slice())).collect();
        atlas.put_embeddings("mini", &rows).unwrap();
        let scores: Vec<_> = ids.iter().map(|&id| (id, judged(seed.uniform(), Split::Test))).collect();
        atlas.add_scores(&scores).unwrap();
    }
    println!("  {:.1} s to write descriptions, vectors and scores", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let vectors = atlas.vectors("mini").unwrap();
    println!("  {} rows, loaded in {:.0} ms", vectors.len(), start.elapsed().as_secs_f64() * 1e3);
    let vector: Vec<f32> = (0..384).map(|_| seed.normal() as f32).collect();
    let time = |name: &str, work: &mut dyn FnMut()| {
        let mut times: Vec<f64> = (0..21)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("  {name}: median {:.1} ms, slowest {:.1} ms", times[10], times[20]);
    };
    time("cosines alone", &mut || assert!(vectors.cosines(&vector).unwrap().len() == vectors.len()));
    let near = Query { vector: Some(("mini".to_owned(), vector.clone())), ..Query::all(50) };
    time("find by meaning", &mut || assert_eq!(atlas.find(&near).unwrap().len(), 50));
    let narrow = Query { layers: Some(3..=9), polarity: Some(Polarity::Positive), ..near.clone() };
    time("find by meaning, layers and polarity", &mut || assert!(!atlas.find(&narrow).unwrap().is_empty()));
    let scored = Query { score: Some((ScoreKind::Simulation, 0.5)), ..near };
    time("find by meaning and score", &mut || assert!(!atlas.find(&scored).unwrap().is_empty()));
    let text = Query { text: Some("7th number".to_owned()), ..Query::all(50) };
    time("find by words", &mut || assert!(!atlas.find(&text).unwrap().is_empty()));
    println!("  {:.0} MB with descriptions", atlas.summary().unwrap().bytes as f64 / 1e6);
}
