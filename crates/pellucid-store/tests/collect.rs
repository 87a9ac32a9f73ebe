//! The collectors against their plain definition, and their law: split anywhere, merge in any order, the same
//! harvest.

#![allow(clippy::unwrap_used)]

use half::f16;
use pellucid_core::{Point, Polarity, Seed, Site, Split};
use pellucid_store::collect::{
    Block, CollectError, Collector, Keep, PANEL, PerSplit, SiteCollector, bins, memory,
};
use pellucid_store::{Document, Exemplar, Kind, SiteHarvest, Window};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A window with its activations.
type Piece = (Window, Vec<f32>);

fn site() -> Site {
    Site::new(Point::MlpAct, 3)
}

fn small(seed: u64) -> Keep {
    Keep {
        top: PerSplit { train: 3, validation: 1, test: 2 },
        random: PerSplit { train: 2, validation: 1, test: 0 },
        bands: 3,
        per_band: PerSplit { train: 1, validation: 0, test: 2 },
        stretch: 5,
        per_document: 1,
        seed: Seed(seed),
    }
}

fn collector(width: usize, keep: &Keep) -> SiteCollector {
    SiteCollector::new(site(), width, keep).unwrap()
}

fn feed(to: &mut impl Collector, width: usize, pieces: &[Piece]) {
    let windows: Vec<Window> = pieces.iter().map(|(window, _)| window.clone()).collect();
    let values: Vec<f32> = pieces.iter().flat_map(|(_, values)| values).copied().collect();
    to.collect(&Block { values: &values, width, windows: &windows }).unwrap();
}

fn harvest(width: usize, keep: &Keep, pieces: &[Piece]) -> SiteHarvest {
    let mut all = collector(width, keep);
    feed(&mut all, width, pieces);
    all.harvest()
}

/// Equality of every bit, so that a zero's sign would show.
fn bits(harvest: &SiteHarvest) -> String {
    format!("{harvest:?}")
}

// ---- random streams -------------------------------------------------------------------------------------------

/// Windows of few documents with many ties: a value is drawn from a handful or at random.
fn stream(seed: u64, windows: usize, width: usize) -> Vec<Piece> {
    let mut seed = Seed(seed);
    let mut indices: BTreeMap<u8, u32> = BTreeMap::new();
    (0..windows)
        .map(|_| {
            let name = seed.below(1 + windows / 2) as u8;
            let index = indices.entry(name).or_insert(0);
            *index += 1;
            let mut document = [9; 16];
            document[0] = name.wrapping_mul(77);
            document[15] = name;
            let tokens = 1 + seed.below(9);
            let window = Window {
                document: Document(document),
                split: Split::of(&document),
                index: *index - 1,
                tokens: vec![0; tokens],
                counted: (0..tokens).map(|_| seed.below(4) > 0).collect(),
            };
            let values = (0..tokens * width).map(|_| value(&mut seed)).collect();
            (window, values)
        })
        .collect()
}

fn value(seed: &mut Seed) -> f32 {
    const HANDFUL: [f32; 12] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        -f32::from_bits(3),
        70_000.0,
    ];
    match seed.below(12) {
        0 => HANDFUL[seed.below(HANDFUL.len())],
        1..4 => HANDFUL[seed.below(6)],
        _ => (seed.normal() * 2f64.powi(seed.below(12) as i32 - 6)) as f32,
    }
}

// ---- the plain definition -------------------------------------------------------------------------------------

/// A unit's peak in a window: the first counted token where `size` is largest.
fn peak(piece: &Piece, width: usize, unit: usize, size: impl Fn(f32) -> f32) -> Option<(usize, f32)> {
    let (window, values) = piece;
    let mut best: Option<(usize, f32)> = None;
    for t in (0..window.tokens.len()).filter(|&t| window.counted[t]) {
        let x = values[t * width + unit];
        if best.is_none_or(|(_, held)| size(x) > size(held)) {
            best = Some((t, x));
        }
    }
    best
}

fn exemplar(
    piece: &Piece,
    width: usize,
    unit: usize,
    keep: &Keep,
    of: (Kind, Option<Polarity>),
    (at, value): (usize, f32),
) -> Exemplar {
    let (window, values) = piece;
    let length = keep.stretch.min(window.tokens.len());
    let start = at.saturating_sub(keep.stretch * 3 / 4).min(window.tokens.len() - length);
    let half = |t: usize| f16::from_f32(values[t * width + unit].clamp(-65504.0, 65504.0)).to_bits();
    Exemplar {
        kind: of.0,
        polarity: of.1,
        split: window.split,
        document: window.document,
        window: window.index,
        start: start as u32,
        peak: at as u32,
        value,
        activations: (start..start + length).map(half).collect(),
    }
}

/// The exemplars that are defined without a hash: the strongest.
fn plain_top(pieces: &[Piece], width: usize, unit: usize, keep: &Keep) -> Vec<Exemplar> {
    let mut out = Vec::new();
    for (polarity, sign) in [(Polarity::Positive, 1.0f32), (Polarity::Negative, -1.0)] {
        for split in Split::ALL {
            let here = pieces.iter().filter(|(window, _)| window.split == split);
            let mut all: Vec<Exemplar> = here
                .filter_map(|p| Some((p, peak(p, width, unit, |x| sign * x)?)))
                .filter(|(_, (_, value))| sign * value > 0.0)
                .map(|(p, at)| exemplar(p, width, unit, keep, (Kind::Top, Some(polarity)), at))
                .collect();
            all.sort_by(|a, b| {
                (b.value.abs().total_cmp(&a.value.abs()))
                    .then((a.document, a.window).cmp(&(b.document, b.window)))
            });
            let mut of: BTreeMap<Document, usize> = BTreeMap::new();
            all.retain(|e| {
                let seen = of.entry(e.document).or_insert(0);
                *seen += 1;
                *seen <= keep.per_document
            });
            all.truncate(*keep.top.of(split));
            out.extend(all);
        }
    }
    out
}

/// How many windows each octave of a split has, of the octaves that are among the highest.
fn plain_bands(
    pieces: &[Piece],
    width: usize,
    unit: usize,
    sign: f32,
    keep: &Keep,
) -> BTreeMap<(i8, Split), usize> {
    let octave = |x: f32| if x < f32::MIN_POSITIVE { -127 } else { f64::from(x).log2().floor() as i8 };
    let peaks = pieces.iter().filter_map(|p| Some((p.0.split, sign * peak(p, width, unit, |x| sign * x)?.1)));
    let peaks: Vec<(Split, i8)> = peaks.filter(|(_, x)| *x > 0.0).map(|(s, x)| (s, octave(x))).collect();
    let highest = peaks.iter().map(|&(_, o)| i32::from(o)).max().unwrap_or(0);
    let mut counts = BTreeMap::new();
    for (split, o) in peaks {
        if i32::from(o) > highest - keep.bands as i32 && *keep.per_band.of(split) > 0 {
            *counts.entry((o, split)).or_insert(0) += 1;
        }
    }
    counts
}

/// Compares all that is defined without a hash, and of the drawn windows how many there are and what they hold.
fn check_unit(pieces: &[Piece], width: usize, unit: usize, keep: &Keep, found: &pellucid_store::UnitHarvest) {
    let counted: Vec<f32> = pieces
        .iter()
        .flat_map(|(window, values)| {
            (0..window.tokens.len()).filter(|&t| window.counted[t]).map(|t| values[t * width + unit])
        })
        .collect();
    let n = counted.len() as f64;
    let statistics = found.statistics;
    assert_eq!(statistics.count, counted.len() as u64);
    if counted.is_empty() {
        assert!(found.exemplars.is_empty());
        return;
    }
    let wide = |x: &f32| f64::from(*x);
    let mean = counted.iter().map(wide).sum::<f64>() / n;
    let squares = counted.iter().map(|x| wide(x) * wide(x)).sum::<f64>() / n;
    let scale = squares.sqrt();
    assert!((statistics.mean - mean).abs() <= 1e-12 * scale, "{} for {mean}", statistics.mean);
    assert!((statistics.variance - (squares - mean * mean).max(0.0)).abs() <= 1e-12 * squares);
    assert_eq!(statistics.max, counted.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    assert_eq!(statistics.min, counted.iter().copied().fold(f32::INFINITY, f32::min));

    for (side, sketch) in found.sketches.iter().enumerate() {
        let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
        for x in counted.iter().filter(|x| if side == 0 { **x > 0.0 } else { **x < 0.0 }) {
            *counts.entry(bins::bin(x.abs())).or_insert(0) += 1;
        }
        assert_eq!(sketch.bins, counts.into_iter().collect::<Vec<_>>());
    }

    let of = |kind: fn(Kind) -> bool| {
        found.exemplars.iter().filter(move |e| kind(e.kind)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of(|k| k == Kind::Top), plain_top(pieces, width, unit, keep));

    let source =
        |e: &Exemplar| pieces.iter().find(|(w, _)| (w.document, w.index) == (e.document, e.window)).unwrap();
    let random = of(|k| k == Kind::Random);
    for e in &random {
        let piece = source(e);
        let at = peak(piece, width, unit, f32::abs).unwrap();
        assert_eq!(*e, exemplar(piece, width, unit, keep, (Kind::Random, None), at));
    }
    for split in Split::ALL {
        let there = pieces.iter().filter(|(w, _)| w.split == split && w.counted.contains(&true)).count();
        let kept = random.iter().filter(|e| e.split == split).count();
        assert_eq!(kept, there.min(*keep.random.of(split)));
    }
    for (polarity, sign) in [(Polarity::Positive, 1.0f32), (Polarity::Negative, -1.0)] {
        let mut kept: BTreeMap<(i8, Split), usize> = BTreeMap::new();
        for e in found.exemplars.iter().filter(|e| e.polarity == Some(polarity)) {
            let Kind::Band(octave) = e.kind else { continue };
            let piece = source(e);
            let at = peak(piece, width, unit, |x| sign * x).unwrap();
            assert_eq!(*e, exemplar(piece, width, unit, keep, (e.kind, e.polarity), at));
            *kept.entry((octave, e.split)).or_insert(0) += 1;
        }
        let mut expected = plain_bands(pieces, width, unit, sign, keep);
        expected.iter_mut().for_each(|(&(_, split), n)| *n = (*n).min(*keep.per_band.of(split)));
        assert_eq!(kept, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_fast_form_equals_the_plain_definition(
        seed in any::<u64>(), windows in 0usize..24, width in prop::sample::select(vec![1usize, 3, 63, 64, 65, 130]),
        per_document in 1usize..3,
    ) {
        let keep = Keep { per_document, ..small(seed) };
        let pieces = stream(seed, windows, width);
        let found = harvest(width, &keep, &pieces);
        prop_assert_eq!(found.units.len(), width);
        for (unit, of) in found.units.iter().enumerate() {
            check_unit(&pieces, width, unit, &keep, of);
        }
    }

    #[test]
    fn split_anywhere_and_merged_in_any_order_it_is_the_same_harvest(
        seed in any::<u64>(), windows in 1usize..30, parts in 1usize..5, per_document in 1usize..3,
    ) {
        let width = 67;
        let keep = Keep { per_document, ..small(seed) };
        let mut pieces = stream(seed, windows, width);
        let whole = bits(&harvest(width, &keep, &pieces));

        let mut dice = Seed(seed).for_purpose("order");
        let order = dice.choose(pieces.len(), pieces.len());
        pieces = order.iter().map(|&i| pieces[i].clone()).collect();
        let mut collectors: Vec<SiteCollector> = (0..parts).map(|_| collector(width, &keep)).collect();
        let mut rest = &pieces[..];
        while !rest.is_empty() {
            let (some, below) = rest.split_at(1 + dice.below(rest.len()));
            feed(&mut collectors[dice.below(parts)], width, some);
            rest = below;
        }
        while collectors.len() > 1 {
            let one = collectors.swap_remove(dice.below(collectors.len()));
            let into = dice.below(collectors.len());
            collectors[into].merge(one).unwrap();
        }
        prop_assert_eq!(bits(&collectors.remove(0).harvest()), whole);
    }

    #[test]
    fn saved_and_loaded_it_goes_on_as_if_it_had_never_stopped(seed in any::<u64>(), windows in 1usize..20, cut in 0usize..20) {
        let width = 66;
        let keep = small(seed);
        let pieces = stream(seed, windows, width);
        let (before, after) = pieces.split_at(cut.min(windows));
        let mut first = collector(width, &keep);
        feed(&mut first, width, before);
        let mut file = Vec::new();
        first.save(&mut file).unwrap();
        let mut tail = file.clone();
        tail.extend(b"something else");
        let mut reader = tail.as_slice();
        let mut second = SiteCollector::load(&mut reader, site(), width, &keep).unwrap();
        prop_assert_eq!(reader, b"something else");
        let mut again = Vec::new();
        second.save(&mut again).unwrap();
        prop_assert_eq!(&again, &file);

        feed(&mut second, width, after);
        let mut never = collector(width, &keep);
        feed(&mut never, width, &pieces);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        second.save(&mut a).unwrap();
        never.save(&mut b).unwrap();
        prop_assert!(a == b, "equal harvests have equal files");
        prop_assert_eq!(bits(&second.harvest()), bits(&never.harvest()));
    }

    #[test]
    fn a_torn_or_changed_file_is_an_error_and_never_a_panic(seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let keep = small(1);
        let mut one = collector(5, &keep);
        feed(&mut one, 5, &stream(seed, 8, 5));
        let mut file = Vec::new();
        one.save(&mut file).unwrap();
        let at = at.index(file.len());
        let torn = SiteCollector::load(&mut &file[..at], site(), 5, &keep).err();
        prop_assert!(matches!(torn, Some(CollectError::Torn { .. })), "{:?}", torn);
        file[at] ^= flip;
        prop_assert!(SiteCollector::load(&mut file.as_slice(), site(), 5, &keep).is_err());
    }
}

// ---- single cases ---------------------------------------------------------------------------------------------

fn one(document: u8, tokens: usize, counted: Vec<bool>) -> Window {
    Window {
        document: Document([document; 16]),
        split: Split::Train,
        index: 0,
        tokens: vec![0; tokens],
        counted,
    }
}

#[test]
fn an_uncounted_token_is_no_peak_but_stands_in_the_stretch() {
    let values = vec![100.0, 1.0, 2.0];
    let pieces = [(one(1, 3, vec![false, true, true]), values)];
    let unit = harvest(1, &small(1), &pieces).units.remove(0);
    assert_eq!((unit.statistics.count, unit.statistics.max), (2, 2.0));
    let top = &unit.exemplars[0];
    assert_eq!((top.kind, top.peak, top.value), (Kind::Top, 2, 2.0));
    assert_eq!(top.activations, [100.0, 1.0, 2.0].map(|x| f16::from_f32(x).to_bits()));
}

#[test]
fn more_tokens_than_sixteen_bits_count_are_counted() {
    // two windows that no counter of 16 bits holds together, one that none holds by itself, and some on top
    let (width, keep) = (18, small(1));
    let value = |i: usize| match i % 7 {
        0 => -0.5 - (i % 5) as f32,
        1 => 0.0,
        _ => 1.0,
    };
    let piece = |(document, tokens): (u8, usize)| {
        let values = (0..tokens * width).map(|i| value(i / 3)).collect();
        (one(document, tokens, vec![true; tokens]), values)
    };
    let pieces = [(1, 40_000), (2, 30_000), (3, 140_000), (4, 9)].map(piece);
    let found = harvest(width, &keep, &pieces);
    for unit in [0, 15, 17] {
        check_unit(&pieces, width, unit, &keep, &found.units[unit]);
        assert!(found.units[unit].sketches[0].bins.iter().any(|(_, count)| *count > 140_000));
    }
    let parts = [&pieces[..2], &pieces[2..]].map(|pieces| {
        let mut part = collector(width, &keep);
        feed(&mut part, width, pieces);
        part
    });
    let mut file = Vec::new();
    parts[1].save(&mut file).unwrap();
    let saved = SiteCollector::load(&mut file.as_slice(), site(), width, &keep).unwrap();
    let [mut first, second] = parts;
    drop(second);
    first.merge(saved).unwrap();
    assert_eq!(bits(&first.harvest()), bits(&found));
}

#[test]
fn ties_go_to_the_smaller_document_and_the_earlier_token() {
    let keep = Keep { top: PerSplit { train: 2, validation: 0, test: 0 }, ..small(1) };
    let pieces: Vec<Piece> = [5, 2, 9, 3].map(|d| (one(d, 2, vec![true; 2]), vec![1.0, 1.0])).into();
    let unit = harvest(1, &keep, &pieces).units.remove(0);
    let top: Vec<_> =
        unit.exemplars.iter().filter(|e| e.kind == Kind::Top).map(|e| (e.document.0[0], e.peak)).collect();
    assert_eq!(top, [(2, 0), (3, 0)]);
}

#[test]
fn the_sign_of_a_zero_does_not_tell_which_window_came_first() {
    let pieces = [(one(1, 1, vec![true]), vec![-0.0]), (one(2, 1, vec![true]), vec![0.0])];
    let turned = [pieces[1].clone(), pieces[0].clone()];
    let keep = small(1);
    let alone = harvest(1, &keep, &pieces[..1]).units[0].statistics;
    assert!(alone.max.is_sign_positive() && alone.min.is_sign_positive());
    assert_eq!(bits(&harvest(1, &keep, &pieces)), bits(&harvest(1, &keep, &turned)));
    assert!(harvest(1, &keep, &pieces).units[0].sketches.iter().all(|sketch| sketch.bins.is_empty()));
}

#[test]
fn drawn_windows_are_drawn_evenly_and_differ_between_units_and_sites() {
    let width = 2000;
    let keep = Keep { random: PerSplit { train: 2, validation: 0, test: 0 }, ..small(7) };
    let pieces: Vec<Piece> = (0..20).map(|d| (one(d, 1, vec![true]), vec![1.0; width])).collect();
    let drawn = |harvest: SiteHarvest| -> Vec<u8> {
        let all = harvest.units.into_iter().flat_map(|u| u.exemplars);
        all.filter(|e| e.kind == Kind::Random).map(|e| e.document.0[0]).collect()
    };
    let here = drawn(harvest(width, &keep, &pieces));
    assert_eq!(here.len(), 2 * width);
    for d in 0..20 {
        // 4000 draws over 20 documents: 200 each, with a standard deviation below 14.
        let times = here.iter().filter(|&&x| x == d).count();
        assert!((130..270).contains(&times), "document {d} drawn {times} times");
    }
    let mut other = SiteCollector::new(Site::new(Point::MlpAct, 4), width, &keep).unwrap();
    feed(&mut other, width, &pieces);
    assert_ne!(drawn(other.harvest()), here);
}

#[test]
fn a_value_that_is_no_number_is_named_and_nothing_is_taken_in() {
    for (bad, counted) in [(f32::NAN, true), (f32::INFINITY, true), (f32::NEG_INFINITY, false)] {
        let mut all = collector(70, &small(1));
        let good = stream(3, 4, 70);
        feed(&mut all, 70, &good);
        let mut values = vec![1.0; 3 * 70];
        values[70 + 68] = bad;
        let windows = [one(4, 1, vec![true]), one(8, 2, vec![counted, true])];
        match all.collect(&Block { values: &values, width: 70, windows: &windows }) {
            Err(CollectError::NotFinite { unit, document, window, token, .. }) => {
                assert_eq!((unit, document.0[0], window, token), (68, 8, 0, 0));
            }
            other => panic!("{other:?}"),
        }
        // who looks on the way names the same, and takes in the same where there is none
        let mut spoiled = collector(70, &small(1));
        match spoiled.collect_or_spoil(&Block { values: &values, width: 70, windows: &windows }) {
            Err(CollectError::NotFinite { unit, document, window, token, .. }) => {
                assert_eq!((unit, document.0[0], window, token), (68, 8, 0, 0));
            }
            other => panic!("{other:?}"),
        }
        let mut quick = collector(70, &small(1));
        let windows: Vec<Window> = good.iter().map(|(window, _)| window.clone()).collect();
        let values: Vec<f32> = good.iter().flat_map(|(_, values)| values).copied().collect();
        quick.collect_or_spoil(&Block { values: &values, width: 70, windows: &windows }).unwrap();
        for all in [all, quick] {
            assert_eq!(bits(&all.harvest()), bits(&harvest(70, &small(1), &good)));
        }
    }
}

/// A window's columns from `first` on as they are handed over in parts; beyond the last stands what must not be looked at.
fn part((window, values): &Piece, width: usize, first: usize) -> Vec<f32> {
    let number = |token, unit| if unit < width { values[token * width + unit] } else { f32::NAN };
    let row = |token| (first..first + PANEL).map(move |unit| number(token, unit));
    (0..window.tokens.len()).flat_map(row).collect()
}

#[test]
fn parts_in_any_order_and_from_two_threads_are_the_block() {
    for width in [1, 31, 64, 70, 129] {
        let mut pieces = stream(7, 30, width);
        pieces.push((one(200, 0, vec![]), vec![]));
        let windows: Vec<Window> = pieces.iter().map(|(window, _)| window.clone()).collect();
        let mut all = collector(width, &small(1));
        // before and after, blocks are taken in as ever
        feed(&mut all, width, &pieces[..3]);
        let parts = all.begin(&windows[3..29]).unwrap();
        let firsts: Vec<usize> = (0..width).step_by(PANEL).collect();
        let give = |from: usize| {
            for step in (from..firsts.len() * 26).step_by(2) {
                // 26 windows: 11 of them on is each of them once
                let (window, first) = (step * 11 % 26, firsts[step / 26]);
                parts.take(window, first, &part(&pieces[3 + window], width, first));
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| give(1));
            give(0);
        });
        parts.end().unwrap();
        let parts = all.begin(&windows[29..]).unwrap();
        firsts.iter().for_each(|&first| parts.take(0, first, &part(&pieces[29], width, first)));
        parts.end().unwrap();
        assert_eq!(bits(&all.harvest()), bits(&harvest(width, &small(1), &pieces)), "{width} units");
    }
}

#[test]
fn parts_that_are_missing_or_wrong_are_named() {
    let piece = |document, tokens: usize| (one(document, tokens, vec![true; tokens]), vec![1.0; tokens * 40]);
    let mut pieces = [piece(1, 2), piece(2, 3)];
    let windows = pieces.each_ref().map(|(window, _)| window.clone());
    let mut all = collector(40, &small(1));
    let lame = [Window { counted: vec![true], ..windows[0].clone() }];
    assert!(matches!(all.begin(&lame), Err(CollectError::Counted { counted: 1, .. })));
    assert_eq!(all.count(), 0);
    let parts = all.begin(&windows).unwrap();
    parts.take(0, 0, &part(&pieces[0], 40, 0));
    assert!(matches!(parts.end(), Err(CollectError::Length { expected: 4, found: 1, .. })));
    for (window, first, numbers) in [(0, 0, 3 * PANEL), (0, 7, 2 * PANEL), (1, 64, 3 * PANEL)] {
        let mut all = collector(40, &small(1));
        let parts = all.begin(&windows).unwrap();
        parts.take(window, first, &vec![0.0; numbers]);
        assert!(matches!(parts.end(), Err(CollectError::Length { .. })), "{window} {first} {numbers}");
    }
    // of two numbers that are none, the first by window, token and unit, whoever comes first; one that is not counted too
    pieces[0].1[40 + 3] = f32::INFINITY;
    pieces[0].1[39] = f32::NAN;
    pieces[1].1[0] = f32::NAN;
    let windows = [Window { counted: vec![false, true], ..windows[0].clone() }, windows[1].clone()];
    let mut all = collector(40, &small(1));
    let parts = all.begin(&windows).unwrap();
    for (window, first) in [(1, 0), (0, 0), (0, 32), (1, 32)] {
        parts.take(window, first, &part(&pieces[window], 40, first));
    }
    match parts.end() {
        Err(CollectError::NotFinite { unit, document, window, token, .. }) => {
            assert_eq!((unit, document.0[0], window, token), (39, 1, 0, 0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn blocks_and_collectors_that_do_not_fit_are_refused() {
    let mut all = collector(4, &small(1));
    let windows = [one(1, 2, vec![true; 2])];
    let refused = |all: &mut SiteCollector, values: &[f32], width, windows: &[Window]| {
        all.collect(&Block { values, width, windows }).unwrap_err()
    };
    assert!(matches!(refused(&mut all, &[0.0; 10], 5, &windows), CollectError::Width { .. }));
    assert!(matches!(refused(&mut all, &[0.0; 9], 4, &windows), CollectError::Length { expected: 8, .. }));
    let lame = [one(1, 2, vec![true])];
    assert!(matches!(refused(&mut all, &[0.0; 8], 4, &lame), CollectError::Counted { counted: 1, .. }));
    assert!(matches!(all.merge(collector(4, &small(2))), Err(CollectError::Differs { .. })));
    assert!(matches!(all.merge(collector(5, &small(1))), Err(CollectError::Differs { .. })));

    let mut file = Vec::new();
    all.save(&mut file).unwrap();
    let load = |bytes: &[u8], keep: &Keep| SiteCollector::load(&mut &*bytes, site(), 4, keep).err().unwrap();
    assert!(matches!(load(&file, &small(2)), CollectError::Differs { .. }));
    assert!(matches!(load(b"SQLite format 3", &small(1)), CollectError::Foreign { .. }));
    file[8] = 99;
    assert!(matches!(load(&file, &small(1)), CollectError::Version { found: 99, .. }));
    assert!(SiteCollector::new(site(), 0, &small(1)).is_err());
}

#[test]
fn a_pair_of_collectors_is_one() {
    let (width, pieces) = (3, stream(5, 12, 3));
    let pair = || (collector(width, &small(1)), collector(width, &small(2)));
    let (mut one, mut two) = (pair(), pair());
    feed(&mut one, width, &pieces[..5]);
    feed(&mut two, width, &pieces[5..]);
    two.merge(one).unwrap();
    let (a, b) = two.harvest();
    assert_eq!(bits(&a), bits(&harvest(width, &small(1), &pieces)));
    assert_eq!(bits(&b), bits(&harvest(width, &small(2), &pieces)));
}

/// Run by the test below in a process of its own, where nothing else takes memory.
#[test]
fn child_that_fills_its_memory() {
    if std::env::var_os("PELLUCID_MEASURE_MEMORY").is_none() {
        return;
    }
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let width = 4096;
    let keep = Keep::for_sweep(Seed(1));
    let mut seed = Seed(2);
    let tokens = 48;
    let mut values = vec![0f32; tokens * width];
    let before = resident();
    let mut all = collector(width, &keep);
    for document in 0..100u8 {
        values
            .iter_mut()
            .for_each(|x| *x = (seed.uniform() - 0.5) as f32 * 2f32.powi(i32::from(document % 7)));
        let mut name = [document; 16];
        name[15] = [0, 2, 3][usize::from(document) % 3];
        let window = Window {
            split: Split::of(&name),
            document: Document(name),
            ..one(0, tokens, vec![true; tokens])
        };
        all.collect(&Block { values: &values, width, windows: &[window] }).unwrap();
    }
    let used = resident() - before;
    println!("used {used} stated {}", memory(width, &keep));
    drop(all);
}

#[test]
#[cfg(target_os = "linux")]
fn the_stated_memory_is_what_is_used() {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_fills_its_memory", "--nocapture"])
        .env("PELLUCID_MEASURE_MEMORY", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let after = |word: &str| -> f64 {
        let rest = text.split(word).nth(1).unwrap_or_else(|| panic!("{text}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (used, stated) = (after("used "), after("stated "));
    // The process itself grows by a few hundred kilobytes of stacks and buffers.
    assert!(used <= stated * 1.02 + 2e6 && stated <= 1.3 * used, "stated {stated}, used {used}");
}
