//! Searches, by meaning and by words.

use crate::made::{folder, judged, searched, site, words};
use pellucid_core::{Polarity, Split};
use pellucid_store::atlas::{Atlas, AtlasError, Query, ScoreKind, Sort};

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
