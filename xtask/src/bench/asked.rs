//! What the benchmark is held against: each figure with its bound, for each of our ways to compute.

use super::Section;
use super::options::Options;
use super::peer::{EXACT, FAST, FILE, Sample};
use super::report::{header, line, median};

/// Which way a figure must go.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure of one of ours, if it was measured.
type Figure = Box<dyn Fn(&Numbers<'_>, &str) -> Option<f64>>;

pub(super) fn table(section: &Section, options: &Options) -> String {
    let numbers = Numbers(section);
    let ways = [EXACT, FAST, FILE];
    let mut heads = vec!["what".to_owned(), "asked".to_owned()];
    heads.extend(ways.map(str::to_owned));
    let mut text = "### What is asked\n\n".to_owned() + &header(&heads);
    for (what, bound, figure) in asked(options) {
        let cells: Vec<Option<f64>> = ways.iter().map(|ours| figure(&numbers, ours)).collect();
        // A row that nobody measured says nothing.
        if cells.iter().any(Option::is_some) {
            let mut row = vec![what.to_owned(), bound.to_string()];
            row.extend(cells.into_iter().map(|cell| cell.map_or("–".to_owned(), |value| bound.judge(value))));
            text += &line(&row);
        }
    }
    text + "\nIn bold where it holds.\n"
}

fn asked(options: &Options) -> Vec<(&'static str, Bound, Figure)> {
    use Bound::{AtLeast, AtMost};
    let beside = |case: &'static str, peer: &'static str| -> Figure {
        Box::new(move |numbers, ours| Some(numbers.seconds(case, peer)? / numbers.seconds(case, ours)?))
    };
    let keeps = ["capture", "sweep", "attribute"];
    let plain: Vec<&'static str> =
        options.cases.iter().copied().filter(|case| !keeps.contains(case)).collect();
    let worst: Figure = Box::new(move |numbers, ours| numbers.worst(&plain, ours));
    vec![
        ("`capture`: transformers f32 / ours", AtLeast(4.0), beside("capture", "transformers")),
        ("`capture`: transformers bf16 / ours", AtLeast(1.5), beside("capture", "transformers bf16")),
        ("`capture`: TransformerLens f32 / ours", AtLeast(4.0), beside("capture", "transformer-lens")),
        (
            "`sweep`: the forward without collectors / with them",
            AtLeast(0.85),
            Box::new(|numbers, ours| Some(numbers.bare("sweep", ours)? / numbers.seconds("sweep", ours)?)),
        ),
        ("`decode`: transformers bf16 / ours", AtLeast(4.0), beside("decode", "transformers bf16")),
        ("`decode`: llama.cpp / ours", AtLeast(0.8), beside("decode", "llama.cpp")),
        (
            "`attribute` / the forward of its row",
            AtMost(3.0),
            Box::new(|numbers, ours| {
                Some(numbers.seconds("attribute", ours)? / numbers.seconds("row", ours)?)
            }),
        ),
        ("`attribute`: transformers bf16 / ours", AtLeast(2.0), beside("attribute", "transformers bf16")),
        ("`start`: seconds", AtMost(1.0), Box::new(|numbers, ours| numbers.seconds("start", ours))),
        (
            "peak memory / weights as computed with (f32, bf16), of what keeps no values of each layer",
            AtMost(1.3),
            worst,
        ),
        (
            "the same of `attribute`",
            AtMost(1.3),
            Box::new(|numbers, ours| numbers.worst(&["attribute"], ours)),
        ),
        (
            "peak memory of `decode` / the file",
            AtMost(1.5),
            Box::new(|numbers, ours| numbers.peak("decode", ours).filter(|_| ours == FILE)),
        ),
    ]
}

struct Numbers<'a>(&'a Section);

impl Numbers<'_> {
    fn samples(&self, case: &'static str, peer: &str) -> Option<&[Sample]> {
        self.0.samples.get(&(case, peer.to_owned())).map(Vec::as_slice)
    }

    fn seconds(&self, case: &'static str, peer: &str) -> Option<f64> {
        let all: Vec<f64> = self.samples(case, peer)?.iter().flat_map(|s| s.seconds.clone()).collect();
        Some(median(&all))
    }

    fn bare(&self, case: &'static str, peer: &str) -> Option<f64> {
        let all: Vec<f64> = self.samples(case, peer)?.iter().flat_map(|s| s.bare.clone()).collect();
        Some(median(&all))
    }

    /// The peak as a multiple of the weights that ours computes with: f32, bf16 or the file.
    fn peak(&self, case: &'static str, ours: &str) -> Option<f64> {
        let Section { subject, file, .. } = self.0;
        let unit = match ours {
            EXACT => subject.weights(4),
            FAST => subject.weights(2),
            _ => *file,
        };
        Some(self.samples(case, ours)?.iter().map(|sample| sample.peak).fold(0.0, f64::max) / unit)
    }

    /// The largest peak of the cases; the file's blocks have a row of their own.
    fn worst(&self, cases: &[&'static str], ours: &str) -> Option<f64> {
        let peaks = cases.iter().filter_map(|case| self.peak(case, ours));
        peaks
            .fold(None, |most: Option<f64>, peak| Some(most.map_or(peak, |most| most.max(peak))))
            .filter(|_| ours != FILE)
    }
}

impl Bound {
    fn judge(self, value: f64) -> String {
        let holds = match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        };
        if holds { format!("**{value:.2}**") } else { format!("{value:.2}") }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bound;

    #[test]
    fn bold_means_that_it_holds() {
        assert_eq!(Bound::AtLeast(4.0).judge(4.0), "**4.00**");
        assert_eq!(Bound::AtLeast(0.85).judge(0.84), "0.84");
        assert_eq!(Bound::AtMost(3.0).judge(2.0), "**2.00**");
        assert_eq!(Bound::AtMost(3.0).judge(f64::NAN), "NaN");
        assert_eq!(Bound::AtLeast(0.85).to_string(), "≥ 0.85");
    }
}
