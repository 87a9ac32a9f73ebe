//! Groups of units: the same whatever the order, coherent, labelled, with their polarities.
#![allow(clippy::unwrap_used)]

use pellucid_core::{Seed, UnitId};
use pellucid_describe::cluster::{ClusterError, ClusterSettings, Item, cluster};
use proptest::prelude::*;

const SETTINGS: ClusterSettings =
    ClusterSettings { cut: 0.6, least: 3, most: 200, draws: 200, chance: 0.05, seed: Seed(0) };

fn item(number: usize, topic: usize, text: &str, effect: f32, seed: &mut Seed) -> Item {
    let mut vector: Vec<f32> = (0..16).map(|_| 0.15 * seed.normal() as f32).collect();
    vector[topic] += 1.0;
    let sign = if number.is_multiple_of(2) { '+' } else { '-' };
    Item { unit: format!("mlp_act.3/{number}{sign}").parse().unwrap(), vector, effect, text: text.to_owned() }
}

/// Two topics of several units, and units that have nothing in common.
fn items() -> Vec<Item> {
    let mut seed = Seed(9);
    let mut all: Vec<Item> = (0..6)
        .map(|i| {
            item(i, 0, ["months: May, June", "names of months", "dates and months"][i % 3], 0.5, &mut seed)
        })
        .collect();
    all.extend((6..10).map(|i| item(i, 1, &format!("religion: word {i}"), -1.0, &mut seed)));
    all.extend((10..20).map(|i| item(i, i - 6, &format!("thing {i}"), 0.1, &mut seed)));
    all
}

#[test]
fn the_two_topics_are_found_with_label_size_effect_and_polarity() {
    let got = cluster(&items(), &SETTINGS).unwrap();
    assert_eq!(got.len(), 2, "{got:?}");
    // The larger summed effect first, whatever its sign.
    assert_eq!((got[0].members.len(), got[0].label.as_str()), (4, "religion"));
    assert!((got[0].effect + 4.0).abs() < 1e-6 && (got[1].effect - 3.0).abs() < 1e-6);
    assert!(got[1].label.starts_with("months"), "{}", got[1].label);
    let names: Vec<String> = got[0].members.iter().map(UnitId::to_string).collect();
    assert_eq!(names, ["mlp_act.3/6+", "mlp_act.3/7-", "mlp_act.3/8+", "mlp_act.3/9-"]);
    assert!(
        got.iter().all(|c| c.coherence > 0.5 && c.chance.unwrap() <= 0.05 && c.members.contains(&c.medoid))
    );
}

#[test]
fn without_shared_words_the_medoid_speaks() {
    let mut all = items();
    for (i, it) in all.iter_mut().enumerate() {
        it.text = format!("q{i}");
    }
    let got = cluster(&all, &SETTINGS).unwrap();
    let medoid = all.iter().find(|i| i.unit == got[0].medoid).unwrap();
    assert_eq!(got[0].label, medoid.text);
}

#[test]
fn few_items_bad_vectors_and_too_many_are_answered() {
    assert_eq!(cluster(&[], &SETTINGS).unwrap(), []);
    assert_eq!(cluster(&items()[..1], &SETTINGS).unwrap(), []);
    let mut bad = items();
    bad[2].vector = vec![0.0; 16];
    assert!(matches!(cluster(&bad, &SETTINGS), Err(ClusterError::Vector { .. })));
    bad[2].vector = vec![1.0; 3];
    assert!(matches!(cluster(&bad, &SETTINGS), Err(ClusterError::Vector { expected: 16, found: 3, .. })));
    bad[2].vector = vec![f32::NAN; 16];
    assert!(cluster(&bad, &SETTINGS).is_err());
    let few = ClusterSettings { most: 5, ..SETTINGS };
    assert!(matches!(cluster(&items(), &few), Err(ClusterError::TooMany { found: 20, most: 5 })));
}

#[test]
fn one_topic_alone_is_a_group_and_chance_is_not_claimed() {
    let got = cluster(&items()[..6], &SETTINGS).unwrap();
    assert_eq!((got.len(), got[0].members.len(), got[0].chance), (1, 6, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_order_of_the_items_does_not_matter(shuffle in any::<u64>()) {
        let all = items();
        let expected = cluster(&all, &SETTINGS).unwrap();
        let order = Seed(shuffle).choose(all.len(), all.len());
        let shuffled: Vec<Item> = order.into_iter().map(|i| all[i].clone()).collect();
        prop_assert_eq!(cluster(&shuffled, &SETTINGS).unwrap(), expected);
    }

    #[test]
    fn any_vectors_give_disjoint_groups_the_same_each_time(
        vectors in proptest::collection::vec(proptest::collection::vec(-1.0f32..1.0, 4), 0..25),
    ) {
        let all: Vec<Item> = vectors
            .into_iter()
            .enumerate()
            .map(|(i, mut vector)| {
                vector[0] += 1.5;
                Item {
                    unit: format!("mlp_act.1/{i}+").parse().unwrap(), vector, effect: 1.0, text: format!("t{i}"),
                }
            })
            .collect();
        let got = cluster(&all, &SETTINGS).unwrap();
        prop_assert_eq!(&got, &cluster(&all, &SETTINGS).unwrap());
        let members: Vec<&UnitId> = got.iter().flat_map(|c| &c.members).collect();
        let unique: std::collections::BTreeSet<_> = members.iter().collect();
        prop_assert_eq!(unique.len(), members.len());
        prop_assert!(got.iter().all(|c| c.members.len() >= 3 && (-1.0..=1.0001).contains(&c.coherence)));
    }
}
