//! Kernels one by one, on one thread, each beside the most that this processor can do of what it is made of:
//!
//!     cargo bench -p pellucid-kernels
//!
//! `multiply-adds`: elements are multiply-adds; `most` are register-only ones in f32. `weights`: bytes of weights that one row is multiplied
//! with, from memory; `most` sums as many bytes. `tally`: numbers that a sweep counts. `elementwise`: numbers.

#![allow(missing_docs)] // what criterion's macros make

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use pellucid_kernels::codes::{self, Groups, Numbers};
use pellucid_kernels::integers::{self, Rounded};
use pellucid_kernels::kernel::{LANES, Lane, Pairs, ROWS, Tile, along, along_pairs};
use pellucid_kernels::simd;
use pellucid_kernels::tally::{BOTH, COLUMNS, Tally, count_rows};
use pellucid_kernels::tiles::{Patch, SIDE, peak, products_below, tiles_are_here};
use pellucid_kernels::wide;
use std::hint::black_box;
use std::time::Duration;

/// Inputs of a layer of SmolLM2-135M.
const INNER: usize = 576;

/// Chains of sums in registers, of so many numbers each: enough of them to hide how long one takes.
const CHAINS: usize = 12;
const WIDTH: usize = 8;

#[inline(always)]
fn chains_body<const FUSED: bool>(times: u64, x: f32) -> f32 {
    let mut sums = [[x; WIDTH]; CHAINS];
    for _ in 0..times {
        for sums in &mut sums {
            for sum in sums {
                *sum = simd::multiply_add::<FUSED>(*sum, 0.999, x);
            }
        }
    }
    sums.as_flattened().iter().sum()
}

wide!(
    /// Multiply-adds that touch no memory.
    chains = chains_body(times: u64, x: f32) -> f32
);

fn each(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, amount: Throughput, mut work: impl FnMut()) {
    group.throughput(amount);
    group.bench_function(name, |bencher| bencher.iter(&mut work));
}

fn multiply_adds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("multiply-adds");
    let amount = |n: usize| Throughput::Elements(n as u64);
    each(&mut group, "most in f32", amount(1000 * CHAINS * WIDTH), || {
        black_box(chains(1000, black_box(0.5)));
    });
    let rows = [[0.5f32; ROWS]; INNER];
    let lanes = vec![Lane([0.25f32; LANES]); INNER];
    let pairs = vec![Lane([0x3E80_3E80u32; LANES]); INNER / 2];
    let two = [[0x3F00_3F00u32; ROWS]; INNER / 2];
    let mut sums: Tile = [Lane::ZERO; ROWS];
    for count in [ROWS, 1] {
        let all = amount(count * LANES * INNER);
        each(&mut group, &format!("f32 panel, {count} rows"), all.clone(), || {
            along(count, &rows, black_box(&lanes), &mut sums);
        });
        each(&mut group, &format!("bf16 panel, {count} rows"), all, || {
            along_pairs(count, &two, black_box(&pairs), &mut sums);
        });
    }
    if tiles_are_here() {
        each(&mut group, "most on tiles", amount(peak(1) as usize * 1000 / 2), || {
            black_box(peak(black_box(1000)));
        });
        let steps = INNER / LANES;
        let patches = vec![Patch::NONE; 8 * steps];
        let mut out = vec![0f32; 8 * SIDE * LANES];
        each(&mut group, "tiles, 256 rows", amount(8 * SIDE * LANES * INNER), || {
            products_below(8 * SIDE, black_box(&patches), &pairs, &mut out, LANES);
        });
    }
}

/// Panels that together are too large for any cache.
const PANELS: usize = 8192;

/// One row by all panels, of so many lanes each.
fn by_panels<C>(codes: &[C], lanes: usize, row: impl Fn(&[C], &mut Lane<f32>)) {
    for panel in codes.chunks(lanes) {
        let mut sums = Lane::ZERO;
        row(panel, &mut sums);
        black_box(sums);
    }
}

fn weights(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("weights");
    let bytes = |n: usize| Throughput::Bytes(n as u64);
    let x: Vec<f32> = (0..INNER).map(|i| (i as f32 * 0.7).sin()).collect();
    let totals: Vec<f32> = x.chunks(32).map(|x| x.iter().sum()).collect();
    let scales = vec![Lane([half::f16::from_f32_const(0.01); LANES]); INNER / 32];
    let groups = Groups { group: 32, scales: Numbers::Half(&scales), shifts: None, totals: &totals };
    let rounded = Rounded::of(&x, 32);

    let much = vec![1.5f32; PANELS * INNER * LANES / 8];
    each(&mut group, "most", bytes(much.len() * 4), || {
        black_box(much.chunks(1 << 14).map(simd::sum).sum::<f32>());
    });
    let pairs: Vec<Pairs> = vec![Lane([0x3E80_3E80; LANES]); PANELS / 8 * INNER / 2];
    each(&mut group, "bf16", bytes(pairs.len() * LANES * 4), || {
        by_panels(&pairs, INNER / 2, |panel, sums| codes::pair_row(&x, panel, sums));
    });
    let nibbles = vec![[0x5Au8; LANES / 2]; PANELS * INNER];
    let amount = || bytes(nibbles.len() * LANES / 2);
    each(&mut group, "4 bits, in f32", amount(), || {
        by_panels(&nibbles, INNER, |panel, sums| codes::nibble_row(&x, panel, groups, sums));
    });
    each(&mut group, "4 bits, in integers", amount(), || {
        by_panels(&nibbles, INNER, |panel, sums| integers::nibble_row(&rounded, panel, groups, sums));
    });
    let bytes_of = vec![[-7i8; LANES]; PANELS / 2 * INNER];
    let amount = || bytes(bytes_of.len() * LANES);
    each(&mut group, "8 bits, in f32", amount(), || {
        by_panels(&bytes_of, INNER, |panel, sums| codes::byte_row(&x, panel, groups, sums));
    });
    each(&mut group, "8 bits, in integers", amount(), || {
        by_panels(&bytes_of, INNER, |panel, sums| integers::byte_row(&rounded, panel, groups, sums));
    });
}

fn tally(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tally");
    let (width, rows) = (1536, 2048);
    // activations of a neuron: mostly near zero on one side, a few large
    let number = |i: usize| {
        let x = ((i.wrapping_mul(0x9e37_79b9) >> 7 & 0xFFFF) as f32 / 65_536.0 - 0.6) * 2.0;
        x * x * x
    };
    let values: Vec<f32> = (0..width * rows).map(number).collect();
    let all: Vec<u32> = (0..rows as u32).collect();
    let mut counters = vec![[0u16; BOTH]; width];
    each(&mut group, "1536 units", Throughput::Elements((width * rows) as u64), || {
        for (at, counters) in counters.chunks_mut(COLUMNS).enumerate() {
            counters.as_flattened_mut().fill(0);
            let mut tally = Tally::NONE;
            for window in all.chunks(256) {
                count_rows(&values, [width, at * COLUMNS], window, &mut tally, counters);
            }
            black_box(&tally);
        }
    });
}

fn elementwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("elementwise");
    let x: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.7).sin()).collect();
    let amount = Throughput::Elements(x.len() as u64);
    let mut room = x.clone();
    each(&mut group, "softmax", amount.clone(), || {
        room.copy_from_slice(&x);
        simd::softmax(black_box(&mut room));
    });
    each(&mut group, "sum", amount, || {
        black_box(simd::sum(black_box(&x)));
    });
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = multiply_adds, weights, tally, elementwise
}
criterion_main!(kernels);
