//! `pellucid dict probe`: how well a few latents tell kinds of text, beside as few coordinates and a direction of all (k-sparse probing,
//! Gurnee et al. 2023, arXiv 2305.01610).
//!
//! For each kind the k units whose means differ most between its tokens and the others' are chosen, and a logistic regression is fitted on
//! them, on windows of the train split; both classes weigh alike. It is told on windows of the test split, by balanced accuracy: the mean of
//! the shares of both classes that are told right. Chance is one half.

use super::kinds::Kinds;
use super::text::{OfArgs, Text};
use crate::default_corpus;
use crate::dictionaries::{expect_site, refuse_transcoder};
use crate::models::Loaded;
use crate::show::{Out, Table, bar};
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::dict::{Dictionary, Sparse, open};
use pellucid::interp::dictionary::rows;
use pellucid::store::Window;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct ProbeArgs {
    #[command(flatten)]
    of: OfArgs,
    /// A folder or file of any format that `dict eval` reads.
    #[arg(value_name = "FOLDER")]
    path: PathBuf,
    /// How many units a probe has.
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1,5")]
    k: Vec<usize>,
    /// Windows of the train split that probes are fitted on; `--test-windows` says on how many they are told.
    #[arg(long, default_value_t = 400, value_name = "N")]
    train_windows: usize,
    /// Probe it at --site even where its files name another.
    #[arg(long)]
    elsewhere: bool,
}

/// The fewest tokens that a kind needs on either side.
const FEWEST: usize = 200;
/// Windows that run together.
const CHUNK: usize = 64;
/// The most units of a probe: it is fitted by solving for all of them at once.
const MOST: usize = 64;

/// A kind of text, and how well it is told.
#[derive(Debug, Serialize)]
struct Told {
    kind: String,
    /// Tokens of it in the test windows.
    tokens: usize,
    /// A probe for each k.
    latents: Vec<Probe>,
    coordinates: Vec<Probe>,
    /// By the difference of means, of all coordinates.
    direction: f64,
}

/// Some units, and how well they tell a kind together.
#[derive(Debug, Serialize)]
struct Probe {
    units: Vec<u32>,
    balanced_accuracy: f64,
}

#[derive(Debug, Serialize)]
struct Probed {
    site: String,
    latents: usize,
    k: Vec<usize>,
    kinds: Vec<Told>,
    /// Means over kinds, for each k.
    mean_latents: Vec<f64>,
    mean_coordinates: Vec<f64>,
    mean_direction: f64,
}

impl ProbeArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(
            !self.k.is_empty() && self.k.iter().all(|k| (1..=MOST).contains(k)),
            "--k needs numbers from 1 to {MOST}"
        );
        let opened = open(&self.path)?;
        refuse_transcoder(&opened, "only autoencoders are probed")?;
        expect_site(&opened, self.of.site, self.elsewhere)?;
        let loaded = self.of.model.load()?;
        let text = self.of.text(&loaded)?;
        let dictionary = opened.dictionary;
        ensure!(
            dictionary.shape.d_in == text.width,
            "the dictionary reads {} numbers, and {} has {}: it belongs to another site or model",
            dictionary.shape.d_in,
            self.of.site,
            text.width
        );
        let probed = self.probed(&loaded, &text, &dictionary)?;
        if !out.json("dict", Some(&loaded), &probed)? {
            show(&probed, out)?;
        }
        Ok(())
    }

    fn probed(&self, loaded: &Loaded, text: &Text, dictionary: &Dictionary) -> Result<Probed> {
        let kinds = Kinds::read(&default_corpus::or_these(&self.of.corpus)?)?;
        let train = &text.train[..self.train_windows.min(text.train.len())];
        let shown = bar("windows", train.len() + text.test.len());
        let mut seen = [train, &text.test].map(|_| Seen::default());
        for (seen, windows) in seen.iter_mut().zip([train, text.test.as_slice()]) {
            for windows in windows.chunks(CHUNK) {
                let x = rows(&loaded.model, self.of.site, windows)?;
                seen.add(&kinds, windows, Sparse::of(&x, text.width), dictionary.encode(&x)?);
                shown.inc(windows.len() as u64);
            }
        }
        shown.finish_and_clear();
        let [train, test] = &seen;
        let told = |kind: usize| -> Option<Told> {
            let classes = [train, test].map(|seen| seen.of(kind as u32));
            let enough = |class: &Vec<bool>| {
                let here = class.iter().filter(|of| **of).count();
                here >= FEWEST && class.len() - here >= FEWEST
            };
            if !classes.iter().all(enough) {
                return None;
            }
            let [fit, ask] = &classes;
            let all = |sets: [&Sparse; 2], width: usize| -> Vec<Probe> {
                let order = by_difference(sets[0], fit, width);
                self.k.iter().map(|k| probe(sets, [fit, ask], &order[..(*k).min(order.len())])).collect()
            };
            Some(Told {
                kind: kinds.names[kind].clone(),
                tokens: ask.iter().filter(|of| **of).count(),
                latents: all([&train.latents, &test.latents], dictionary.shape.latents),
                coordinates: all([&train.coordinates, &test.coordinates], text.width),
                direction: by_direction([&train.coordinates, &test.coordinates], [fit, ask], text.width),
            })
        };
        let found: Vec<Told> = (0..kinds.names.len()).filter_map(told).collect();
        ensure!(
            !found.is_empty(),
            "no kind of text has {FEWEST} tokens on either side; take more --tokens, --train-windows and --test-windows, or a corpus of \
             several files"
        );
        let mean = |of: &dyn Fn(&Told) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
        let means = |of: &dyn Fn(&Told) -> &Vec<Probe>| -> Vec<f64> {
            (0..self.k.len()).map(|i| mean(&|told| of(told)[i].balanced_accuracy)).collect()
        };
        Ok(Probed {
            site: self.of.site.to_string(),
            latents: dictionary.shape.latents,
            k: self.k.clone(),
            mean_latents: means(&|told| &told.latents),
            mean_coordinates: means(&|told| &told.coordinates),
            mean_direction: mean(&|told| told.direction),
            kinds: found,
        })
    }
}

/// What was seen in some windows, token by token.
#[derive(Default)]
struct Seen {
    kinds: Vec<Option<u32>>,
    coordinates: Sparse,
    latents: Sparse,
}

impl Seen {
    fn add(&mut self, kinds: &Kinds, windows: &[Window], coordinates: Sparse, latents: Sparse) {
        let told = kinds.rows(windows);
        self.kinds.extend((0..told.rows()).map(|row| told.row(row).next().map(|(kind, _)| kind)));
        self.coordinates.append(coordinates);
        self.latents.append(latents);
    }

    fn of(&self, kind: u32) -> Vec<bool> {
        self.kinds.iter().map(|here| *here == Some(kind)).collect()
    }
}

/// Means of units over rows of a class and over the others.
fn means(rows: &Sparse, class: &[bool], width: usize) -> [Vec<f64>; 2] {
    let mut means = [vec![0f64; width], vec![0f64; width]];
    let count = class.iter().filter(|of| **of).count();
    let counts = [count.max(1) as f64, (class.len() - count).max(1) as f64];
    for (row, of) in class.iter().enumerate() {
        let side = usize::from(!of);
        rows.row(row).for_each(|(unit, value)| means[side][unit as usize] += f64::from(value) / counts[side]);
    }
    means
}

/// Units by how far their means lie apart, the farthest first; of equal ones the first.
fn by_difference(rows: &Sparse, class: &[bool], width: usize) -> Vec<u32> {
    let [of, others] = means(rows, class, width);
    let apart: Vec<f64> = of.iter().zip(&others).map(|(a, b)| (a - b).abs()).collect();
    let mut order: Vec<u32> = (0..width as u32).collect();
    order.sort_by(|a, b| apart[*b as usize].total_cmp(&apart[*a as usize]).then(a.cmp(b)));
    order
}

/// A probe of these units, fitted on the first rows and told on the second.
fn probe(sets: [&Sparse; 2], classes: [&Vec<bool>; 2], units: &[u32]) -> Probe {
    let columns = |rows: &Sparse| -> Vec<Vec<f64>> {
        let picked = |row: usize| {
            let mut values = vec![0f64; units.len()];
            for (unit, value) in rows.row(row) {
                if let Some(at) = units.iter().position(|one| *one == unit) {
                    values[at] = f64::from(value);
                }
            }
            values
        };
        (0..rows.rows()).map(picked).collect()
    };
    let weights = logistic(&columns(sets[0]), classes[0]);
    let says = columns(sets[1]).iter().map(|row| score(&weights, row) > 0.0).collect::<Vec<_>>();
    Probe { units: units.to_vec(), balanced_accuracy: balanced(&says, classes[1]) }
}

/// The same by how far a row lies along the difference of means, of all coordinates, on the side of the nearer mean.
fn by_direction(sets: [&Sparse; 2], classes: [&Vec<bool>; 2], width: usize) -> f64 {
    let [of, others] = means(sets[0], classes[0], width);
    let direction: Vec<f64> = of.iter().zip(&others).map(|(a, b)| a - b).collect();
    let middle: f64 = of.iter().zip(&others).zip(&direction).map(|((a, b), d)| (a + b) / 2.0 * d).sum();
    let along =
        |row: usize| sets[1].row(row).map(|(unit, v)| direction[unit as usize] * f64::from(v)).sum::<f64>();
    let says: Vec<bool> = (0..sets[1].rows()).map(|row| along(row) > middle).collect();
    balanced(&says, classes[1])
}

fn balanced(says: &[bool], class: &[bool]) -> f64 {
    let share = |of: bool| {
        let here: Vec<bool> =
            says.iter().zip(class).filter(|(_, c)| **c == of).map(|(s, _)| *s == of).collect();
        here.iter().filter(|right| **right).count() as f64 / here.len().max(1) as f64
    };
    (share(true) + share(false)) / 2.0
}

fn score(weights: &[f64], row: &[f64]) -> f64 {
    weights.iter().zip(row.iter().chain([&1.0])).map(|(w, x)| w * x).sum()
}

/// A small penalty, in units of a column's variance: classes that one unit tells apart would have no end.
const PENALTY: f64 = 1e-3;

/// Weights and, last, the constant of a logistic regression, both classes weighing alike: Newton's steps.
fn logistic(rows: &[Vec<f64>], class: &[bool]) -> Vec<f64> {
    let units = rows.first().map_or(0, Vec::len);
    let count = class.iter().filter(|of| **of).count();
    let weigh = [0.5 / count.max(1) as f64, 0.5 / (class.len() - count).max(1) as f64];
    // columns of one size, so that one penalty suits them
    let mut sizes = vec![0f64; units];
    rows.iter()
        .for_each(|row| sizes.iter_mut().zip(row).for_each(|(s, x)| *s += x * x / rows.len().max(1) as f64));
    let sizes: Vec<f64> = sizes.into_iter().map(|s| if s > 0.0 { s.sqrt() } else { 1.0 }).collect();
    let mut weights = vec![0f64; units + 1];
    for _ in 0..30 {
        let mut slope = vec![0f64; units + 1];
        let mut curve = vec![vec![0f64; units + 1]; units + 1];
        for (at, weight) in weights.iter().enumerate().take(units) {
            slope[at] = PENALTY * weight;
            curve[at][at] = PENALTY;
        }
        curve[units][units] = 1e-9;
        for (row, of) in rows.iter().zip(class) {
            let x: Vec<f64> = row.iter().zip(&sizes).map(|(x, s)| x / s).chain([1.0]).collect();
            let p = 1.0 / (1.0 + (-weights.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>()).exp());
            let share = weigh[usize::from(!of)];
            let (error, bend) = (share * (p - f64::from(u8::from(*of))), share * p * (1.0 - p));
            for i in 0..=units {
                slope[i] += error * x[i];
                (0..=i).for_each(|j| curve[i][j] += bend * x[i] * x[j]);
            }
        }
        (0..=units).for_each(|i| (0..i).for_each(|j| curve[j][i] = curve[i][j]));
        let step = solved(curve, slope);
        let size = step.iter().map(|s| s.abs()).fold(0.0, f64::max);
        weights.iter_mut().zip(&step).for_each(|(w, s)| *w -= s * (4.0 / size.max(4.0)));
        if size < 1e-8 {
            break;
        }
    }
    weights.iter_mut().zip(&sizes).for_each(|(w, s)| *w /= s);
    weights
}

/// x with A x = b, A symmetric and positive: elimination with the largest pivot.
fn solved(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        let pivot = (i..n).max_by(|p, q| a[*p][i].abs().total_cmp(&a[*q][i].abs())).unwrap_or(i);
        a.swap(i, pivot);
        b.swap(i, pivot);
        let top = a[i].clone();
        for row in i + 1..n {
            let factor = if top[i] == 0.0 { 0.0 } else { a[row][i] / top[i] };
            (i..n).for_each(|column| a[row][column] -= factor * top[column]);
            b[row] -= factor * b[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| a[i][j] * b[j]).sum();
        b[i] = if a[i][i] == 0.0 { 0.0 } else { (b[i] - known) / a[i][i] };
    }
    b
}

fn show(probed: &Probed, out: &mut Out) -> Result<()> {
    let Probed { site, latents, k, kinds, mean_latents, mean_coordinates, mean_direction } = probed;
    out.heading(format!(
        "kinds of text told by few of {latents} latents, and by few coordinates of {site}: balanced accuracy"
    ))?;
    let mut heads = vec!["kind".to_owned(), ">tokens".to_owned()];
    heads.extend(k.iter().map(|k| format!(">{k} latents")));
    heads.extend(k.iter().map(|k| format!(">{k} coordinates")));
    heads.push(">direction".to_owned());
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut table = Table::new(&heads);
    let cells = |all: &mut dyn Iterator<Item = f64>| all.map(|v| format!("{v:.3}")).collect::<Vec<_>>();
    for told in kinds {
        let of = |probes: &Vec<Probe>| cells(&mut probes.iter().map(|p| p.balanced_accuracy));
        let (latents, coordinates) = (of(&told.latents), of(&told.coordinates));
        let head = vec![told.kind.clone(), told.tokens.to_string()];
        table.row([head, latents, coordinates, vec![format!("{:.3}", told.direction)]].concat());
    }
    let head = vec!["mean".to_owned(), String::new()];
    let [latents, coordinates] = [mean_latents, mean_coordinates].map(|all| cells(&mut all.iter().copied()));
    table.row([head, latents, coordinates, vec![format!("{mean_direction:.3}")]].concat());
    out.table(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_is_the_one_whose_slope_is_zero() {
        // two columns that overlap, three rows in four of one class
        let mut rows = Vec::new();
        let mut class = Vec::new();
        for i in 0..400u32 {
            let noise = f64::from(i.wrapping_mul(2_654_435_761) >> 8) / f64::from(1u32 << 24);
            let of = i % 4 == 0;
            rows.push(vec![noise + if of { 0.4 } else { 0.0 }, 100.0 * f64::from(i % 7)]);
            class.push(of);
        }
        let w = logistic(&rows, &class);
        let slope = |at: usize| -> f64 {
            let each = rows.iter().zip(&class).map(|(row, of)| {
                let p = 1.0 / (1.0 + (-score(&w, row)).exp());
                let share = if *of { 0.5 / 100.0 } else { 0.5 / 300.0 };
                share * (p - f64::from(u8::from(*of))) * row.get(at).copied().unwrap_or(1.0)
            });
            each.sum()
        };
        // with the penalty's part, in the columns' own sizes
        let size = |at: usize| (rows.iter().map(|r| r[at] * r[at]).sum::<f64>() / 400.0).sqrt();
        for (at, weight) in w.iter().enumerate().take(2) {
            let rest = slope(at) / size(at) + PENALTY * weight * size(at);
            assert!(rest.abs() < 1e-6, "{at}: {rest}");
        }
        assert!(slope(2).abs() < 1e-6 && w[0] > 1.0);
        let says: Vec<bool> = rows.iter().map(|row| score(&w, row) > 0.0).collect();
        assert!(balanced(&says, &class) > 0.65);
    }

    #[test]
    fn what_one_unit_tells_is_told_whole_and_chosen_first() {
        let class: Vec<bool> = (0..100).map(|i| i % 5 == 0).collect();
        let mut rows = Sparse::default();
        for (i, of) in class.iter().enumerate() {
            // unit 1 is always active, unit 2 on the class, unit 3 seldom
            rows.push([(1, 5.0), (2, if *of { 2.0 } else { 0.0 }), (3, if i == 7 { 9.0 } else { 0.0 })]);
        }
        assert_eq!(by_difference(&rows, &class, 4)[0], 2);
        let sets = [&rows, &rows];
        let one = probe(sets, [&class, &class], &[2]);
        assert_eq!((one.units, one.balanced_accuracy), (vec![2], 1.0));
        assert_eq!(probe(sets, [&class, &class], &[1]).balanced_accuracy, 0.5);
        assert_eq!(by_direction(sets, [&class, &class], 4), 1.0);
        assert_eq!(balanced(&[true, true], &[true, false]), 0.5);
    }
}
