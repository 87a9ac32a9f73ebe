//! Times and memory of a group of peers, ours first, as tables.

use std::fmt;

use super::Samples;
use super::peer::{Peer, Sample};
use super::report::{header, line, median};

/// All samples, with the orders in which to show them.
pub(super) struct Table<'a> {
    pub(super) peers: Vec<&'a Peer>,
    pub(super) samples: &'a Samples,
    pub(super) cases: &'a [&'static str],
}

impl Table<'_> {
    fn of(&self, case: &'static str, peer: &Peer) -> &[Sample] {
        self.samples.get(&(case, peer.name.clone())).map_or(&[], Vec::as_slice)
    }

    /// The cases that anybody here has done.
    fn done(&self) -> impl Iterator<Item = &'static str> {
        self.cases
            .iter()
            .copied()
            .filter(|case| self.peers.iter().any(|peer| !self.of(case, peer).is_empty()))
    }

    pub(super) fn times(&self) -> String {
        let Some((ours, others)) = self.peers.split_first() else { return String::new() };
        let mut heads = vec!["case".to_owned(), ours.name.clone()];
        heads.extend(others.iter().flat_map(|peer| [peer.name.clone(), "ratio".to_owned()]));
        let mut text = header(&heads);
        for case in self.done() {
            let own = Spread::of(self.of(case, ours));
            let mut row = vec![format!("`{case}`"), said(own.as_ref())];
            for peer in others {
                let spread = Spread::of(self.of(case, peer));
                let ratio = spread.as_ref().zip(own.as_ref()).map(|(theirs, own)| theirs.over(own));
                row.extend([said(spread.as_ref()), said(ratio.as_ref())]);
            }
            text += &line(&row);
        }
        text
    }

    /// Peaks as multiples of so many bytes.
    pub(super) fn memory(&self, unit: f64) -> String {
        let mut heads = vec!["case".to_owned()];
        heads.extend(self.peers.iter().map(|peer| peer.name.clone()));
        let mut text = header(&heads);
        let most = |all: &mut dyn Iterator<Item = f64>| {
            let most = all.fold(0.0, f64::max);
            said((most > 0.0).then(|| format!("{:.2} ×", most / unit)).as_ref())
        };
        for case in self.done() {
            let peak = |peer: &&Peer| most(&mut self.of(case, peer).iter().map(|sample| sample.peak));
            let mut row = vec![format!("`{case}`")];
            row.extend(self.peers.iter().map(peak));
            text += &line(&row);
        }
        let idle = |peer: &&Peer| {
            most(&mut self.cases.iter().flat_map(|case| self.of(case, peer)).filter_map(|sample| sample.idle))
        };
        let mut row = vec!["idle".to_owned()];
        row.extend(self.peers.iter().map(idle));
        text + &line(&row)
    }
}

/// A dash for what there is not.
fn said<T: fmt::Display>(value: Option<&T>) -> String {
    value.map_or("–".to_owned(), ToString::to_string)
}

/// Median, least and most of all runs of all processes.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(samples: &[Sample]) -> Option<Self> {
        let all: Vec<f64> = samples.iter().flat_map(|s| s.seconds.iter().copied()).collect();
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = all.iter().copied().fold(0.0, f64::max);
        (!all.is_empty()).then(|| Self { median: median(&all), least, most })
    }

    fn over(&self, ours: &Self) -> String {
        let (low, high) = (self.least / ours.most, self.most / ours.least);
        format!("**{:.2}** ({low:.2}–{high:.2})", self.median / ours.median)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3}–{:.3})", self.median, self.least, self.most)
    }
}
