//! Maps of what is known: groups stay groups, chance decides nothing but the seed's own, and odd rows have a place.

use super::*;
use std::collections::HashSet;

const WIDTH: usize = 24;

/// Rows about so many centres, group by group.
fn groups(groups: usize, each: usize, spread: f64) -> Vec<f32> {
    let mut seed = Seed(7);
    let mut rows = Vec::new();
    for _ in 0..groups {
        let centre: Vec<f64> = (0..WIDTH).map(|_| seed.normal()).collect();
        for _ in 0..each {
            rows.extend(centre.iter().map(|c| (c + spread * seed.normal()) as f32));
        }
    }
    rows
}

fn mapped(rows: &[f32], settings: &MapSettings) -> Vec<[f32; 2]> {
    map(rows, WIDTH, settings, &mut |_, _, _| true).unwrap()
}

/// The k nearest of each by some distance.
fn nearest_by(count: usize, k: usize, distance: impl Fn(usize, usize) -> f64) -> Vec<Vec<usize>> {
    let of = |i: usize| {
        let mut others: Vec<usize> = (0..count).filter(|j| *j != i).collect();
        others.sort_by(|a, b| distance(i, *a).total_cmp(&distance(i, *b)));
        others.truncate(k);
        others
    };
    (0..count).map(of).collect()
}

fn on_plane(points: &[[f32; 2]]) -> impl Fn(usize, usize) -> f64 {
    |i, j| f64::from((points[i][0] - points[j][0]).hypot(points[i][1] - points[j][1]))
}

fn by_cosine(rows: &[f32]) -> impl Fn(usize, usize) -> f64 {
    let row = |i: usize| &rows[i * WIDTH..][..WIDTH];
    let inner =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    move |i, j| 1.0 - inner(row(i), row(j)) / (inner(row(i), row(i)) * inner(row(j), row(j))).sqrt()
}

/// Venna and Kaski 2001: 1 where every neighbour on the plane is a neighbour among the rows, about a half by chance.
fn trustworthiness(rows: &[f32], points: &[[f32; 2]], k: usize) -> f64 {
    let n = points.len();
    let ranked = nearest_by(n, n, by_cosine(rows));
    let mut penalty = 0.0;
    for (i, near) in nearest_by(n, k, on_plane(points)).into_iter().enumerate() {
        for j in near {
            let rank = ranked[i].iter().position(|r| *r == j).unwrap() + 1;
            penalty += rank.saturating_sub(k) as f64;
        }
    }
    let (n, k) = (n as f64, k as f64);
    1.0 - 2.0 * penalty / (n * k * (2.0 * n - 3.0 * k - 1.0))
}

#[test]
fn the_most_alike_row_is_found_and_a_row_without_a_direction_has_none() {
    let rows = [1.0, 0.0, 0.6, 0.8, 0.0, -2.0, 0.0, 0.0f32];
    let found = super::largest_cosines(&rows, 2);
    assert!((found[0].unwrap() - 0.6).abs() < 1e-6 && (found[1].unwrap() - 0.6).abs() < 1e-6);
    assert!(found[2].unwrap().abs() < 1e-6 && found[3].is_none());
    assert_eq!(super::largest_cosines(&rows[..2], 2), [None]);
}

#[test]
fn neighbours_are_the_nearest_by_definition() {
    let rows = groups(3, 230, 0.8);
    let directions = near::Directions::of(&rows, WIDTH);
    let found = near::nearest(&directions, 9, &mut |_, _, _| true).unwrap();
    for (found, wanted) in found.iter().zip(nearest_by(690, 9, by_cosine(&rows))) {
        let found: HashSet<usize> = found.iter().map(|near| near.index as usize).collect();
        assert_eq!(found, wanted.into_iter().collect());
    }
    assert!(found.iter().all(|near| near.windows(2).all(|two| two[0].distance <= two[1].distance)));
}

#[test]
fn an_edges_weight_is_agreed_by_both_ends_and_sums_are_those_asked_for() {
    let rows = groups(2, 60, 0.5);
    let neighbours = near::nearest(&near::Directions::of(&rows, WIDTH), 14, &mut |_, _, _| true).unwrap();
    let edges = fuzzy::edges(&neighbours);
    assert!(edges.iter().all(|e| e.ends[0] < e.ends[1] && e.weight > 0.0 && e.weight <= 1.0));
    assert!(edges.windows(2).all(|two| two[0].ends < two[1].ends), "each pair once");
    // p + q − pq is at least either and at most their sum, and each row's own weights sum to log₂ 15
    let total: f64 = edges.iter().map(|e| f64::from(e.weight)).sum();
    let asked = 120.0 * 15f64.log2();
    assert!(total > asked / 2.0 && total < asked, "{total} {asked}");
    // the nearest neighbour of each row weighs 1 from there, so 1 in all
    for (i, near) in neighbours.iter().enumerate() {
        let ends = [(i as u32).min(near[0].index), (i as u32).max(near[0].index)];
        assert_eq!(edges.iter().find(|e| e.ends == ends).unwrap().weight, 1.0);
    }
}

#[test]
fn the_curve_is_that_of_the_reference() {
    // umap-learn's find_ab_params(1, min_dist)
    for (min_dist, wanted) in [(0.1, [1.5769, 0.8951]), (0.5, [0.5830, 1.3342])] {
        let found = place::curve(min_dist);
        assert!(found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 2e-3), "{min_dist}: {found:?}");
    }
}

#[test]
fn groups_of_rows_are_groups_of_points() {
    let (count, each) = (6, 50);
    let rows = groups(count, each, 0.6);
    let points = mapped(&rows, &MapSettings::default());
    let near = nearest_by(points.len(), 10, on_plane(&points));
    let same = near.iter().enumerate().flat_map(|(i, near)| near.iter().map(move |j| i / each == j / each));
    let same: Vec<bool> = same.collect();
    let share = same.iter().filter(|s| **s).count() as f64 / same.len() as f64;
    assert!(share > 0.97, "{share} of neighbours are of the same group");
    let mut seed = Seed(1);
    let chance: Vec<[f32; 2]> = points.iter().map(|_| [0; 2].map(|_| seed.uniform() as f32)).collect();
    let [found, random] = [&points, &chance].map(|p| trustworthiness(&rows, p, 10));
    assert!(found > 0.9 && random < 0.6, "trustworthiness {found}, by chance {random}");
    // and one group is no point
    let width = |g: usize| {
        points[g * each..][..each]
            .iter()
            .map(|p| p[0])
            .fold([f32::MAX, f32::MIN], |[l, h], x| [l.min(x), h.max(x)])
    };
    assert!((0..count).all(|g| width(g)[1] - width(g)[0] > 0.2));
}

#[test]
fn one_seed_is_one_map_with_any_number_of_threads() {
    let rows = groups(4, 90, 0.7);
    let settings = MapSettings { epochs: Some(60), ..MapSettings::default() };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| mapped(&rows, &settings))
    };
    let one = with(1);
    assert_eq!(one, with(3));
    assert_ne!(one, mapped(&rows, &MapSettings { seed: Seed(1), ..settings }));
}

#[test]
fn few_rows_equal_rows_and_rows_without_direction_have_places() {
    let finite = |points: &[[f32; 2]]| points.iter().flatten().all(|v| v.is_finite());
    let all = groups(2, 20, 0.5);
    for n in [0, 1, 2, 3, 5, 15, 16, 17] {
        let points = mapped(&all[..n * WIDTH], &MapSettings::default());
        assert!(points.len() == n && finite(&points), "{n} rows: {points:?}");
    }
    // forty times one row among others, rows of zeros, and one that is no number
    let mut rows = groups(3, 30, 0.6);
    let one = rows[..WIDTH].to_vec();
    (0..40).for_each(|_| rows.extend(&one));
    rows.extend(vec![0.0; 5 * WIDTH]);
    rows.extend(vec![f32::NAN; WIDTH]);
    let points = mapped(&rows, &MapSettings::default());
    assert!(points.len() == 136 && finite(&points));
    let equal = &points[90..130];
    let far = equal.iter().map(|p| (p[0] - equal[0][0]).hypot(p[1] - equal[0][1])).fold(0.0, f32::max);
    let others = &points[30..90];
    let away = others.iter().map(|p| (p[0] - equal[0][0]).hypot(p[1] - equal[0][1])).fold(f32::MAX, f32::min);
    assert!(far < away, "equal rows lie within {far}, other groups from {away} on");
    // nothing but rows without direction
    assert!(finite(&mapped(&vec![0.0; 20 * WIDTH], &MapSettings::default())));
}

#[test]
fn a_map_tells_how_far_it_is_and_stops() {
    let rows = groups(2, 40, 0.5);
    let mut told = Vec::new();
    let settings = MapSettings { epochs: Some(10), ..MapSettings::default() };
    let whole = map(&rows, WIDTH, &settings, &mut |what, done, all| {
        told.push((what, done, all));
        true
    });
    assert!(whole.is_some());
    assert_eq!((told[0], *told.last().unwrap()), (("nearest neighbours", 0, 80), ("placing", 9, 10)));
    for stop in ["nearest neighbours", "placing"] {
        assert_eq!(map(&rows, WIDTH, &settings, &mut |what, _, _| what != stop), None);
    }
}
