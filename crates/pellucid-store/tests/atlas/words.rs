//! Descriptions, their scores and votes.

use crate::made::{folder, judged, searched, site, small, words};
use pellucid_core::{Polarity, Seed, Split};
use pellucid_store::atlas::{Atlas, AtlasError, Explainer, Query, Score, Written};

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
