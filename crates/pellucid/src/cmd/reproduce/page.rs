//! The report as one page without scripts: the figures, three histograms, and what tells each kind of text.

use super::automata::{Automaton, Named, Split};
use super::measure::Matches;
use super::report::{OFTEN, Report, Words, median, name, one, percent};
use std::fmt::Write as _;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c1d22; --dim: #5d6070; --line: #d9dbe3; --back: #fbfbfd; --one: #2f6fd6; --two: #d6812f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e9ee; --dim: #a2a6b5; --line: #3a3d4a; --back: #16171c; --one: #7aa7f0; --two: #efaa63; } }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; } p { color: var(--dim); margin: .25rem 0 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; } td.here { font-variant-numeric: tabular-nums; font-weight: 600; } td.note { color: var(--dim); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-size: .85rem; color: var(--dim); } svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--dim); } .one { color: var(--one); } .two { color: var(--two); }
";

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Towards Monosemanticity, again</title><style>{STYLE}</style>\
         <h1>Towards Monosemanticity, again</h1>\
         <p>{}, done again by Pellucid {} on {} held-out tokens. Latents are of the widest dictionary of model a.</p>",
        escaped(report.study),
        report.code,
        report.measured.tokens
    );
    text += "<h2>The paper's figures and this run's</h2><div class=\"wide\"><table><tr><th>figure<th>paper<th>this run<th>note</tr>";
    for figure in &report.figures {
        let _ = write!(
            text,
            "<tr><td>{}<td>{}<td class=\"here\">{}<td class=\"note\">{}</tr>",
            escaped(&figure.what),
            escaped(&figure.paper),
            escaped(&figure.here),
            escaped(&figure.note)
        );
    }
    text += "</table></div><h2>Latents and neurons</h2><div class=\"charts\">";
    let Words { scores: latents, .. } = &report.latents;
    text += &chart("Score of words on held-out text (r)", latents, &report.neurons.scores, [-0.2, 1.0]);
    let often = |set: &Matches| set.of(OFTEN, u64::MAX);
    text += &chart(
        &format!("Best correlation in the other seed, of units active on {OFTEN} tokens or more"),
        &report.measured.latents.last().map(often).unwrap_or_default(),
        &often(&report.measured.neurons),
        [-0.2, 1.0],
    );
    let tokens = report.measured.tokens.max(1) as f64;
    let density: Vec<f64> =
        report.measured.active.iter().filter(|n| **n > 0).map(|n| (*n as f64 / tokens).log10()).collect();
    text += &chart("Share of tokens in which a latent is active (log10)", &density, &[], [-6.0, 0.0]);
    text += "</div>";
    text += &bands(report);
    text += &ways(report);
    text += "<h2>What tells each kind of text</h2><p>Chosen on validation text, told on test text.</p>\
             <div class=\"wide\"><table><tr><th>kind<th>share of tokens<th>latent<th>neuron</tr>";
    for kind in &report.measured.kinds {
        let cell = |d: &Option<super::measure::Detector>| {
            d.as_ref().map_or_else(|| "–".to_owned(), |d| format!("<b>{}</b> {}", d.unit, escaped(&one(d))))
        };
        let (name, share) = (escaped(&kind.name), percent(Some(kind.share)));
        let _ = write!(
            text,
            "<tr><td>{name}<td>{share}<td>{}<td>{}</tr>",
            cell(&kind.latent),
            cell(&kind.neuron)
        );
    }
    text + "</table></div></html>\n"
}

fn bands(report: &Report) -> String {
    let mut text = format!(
        "<h2>Twins in the other seed, by how often a unit is active</h2><p>Median of the best correlations (units). In few tokens one \
         document decides.</p><div class=\"wide\"><table><tr><th>test tokens<th>{}</tr>",
        report.bands_of().join("<th>")
    );
    for (band, cells) in report.bands() {
        let _ = write!(text, "<tr><td>{band}<td>{}</tr>", cells.join("<td>"));
    }
    text + "</table></div>"
}

fn ways(report: &Report) -> String {
    let cell = |named: &Named| escaped(&name(named));
    let mut text = "<h2>Latents that lead to one another</h2><p>Half or more of the next one's activation lies on the ten tokens that a latent speaks \
                    for most, and it is active one token later.</p><div class=\"wide\"><table><tr><th>states, by their tokens<th>least r</tr>"
        .to_owned();
    for Automaton { states, r } in report.automata() {
        let states: Vec<String> = states.iter().map(cell).collect();
        let _ = write!(text, "<tr><td>{}<td class=\"here\">{r:.2}</tr>", states.join(" → "));
    }
    text += "</table></div><h2>Latents that a wider dictionary splits</h2><div class=\"wide\"><table><tr><th>latent<th>into</tr>";
    for Split { of, into } in report.splits() {
        let into: Vec<String> = into.iter().map(cell).collect();
        let _ = write!(text, "<tr><td>{}<td>{}</tr>", cell(of), into.join("<br>"));
    }
    text + "</table></div>"
}

/// Bars of a histogram.
const BARS: usize = 30;

/// Two histograms over each other, as shares of their units.
fn chart(title: &str, one: &[f64], two: &[f64], [low, high]: [f64; 2]) -> String {
    let (width, height, foot) = (320.0, 150.0, 20.0);
    let shares = |values: &[f64]| -> Vec<f64> {
        let mut bars = vec![0f64; BARS];
        for value in values {
            let at = ((value - low) / (high - low) * BARS as f64).clamp(0.0, BARS as f64 - 1.0) as usize;
            bars[at] += 1.0 / values.len() as f64;
        }
        bars
    };
    let (first, second) = (shares(one), shares(two));
    let top = first.iter().chain(&second).copied().fold(1e-9, f64::max);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"{}\">",
        height + foot,
        escaped(title)
    );
    for (bars, class) in [(&first, "one"), (&second, "two")] {
        for (at, share) in bars.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let (tall, step) = (share / top * height, width / BARS as f64);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"currentColor\" fill-opacity=\".55\"/>",
                at as f64 * step,
                height - tall,
                step - 1.0
            );
        }
    }
    for (share, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
        let (x, value) = (share * width, low + share * (high - low));
        let _ =
            write!(svg, "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{value:.1}</text>", height + 14.0);
    }
    let mut legend = format!("<span class=\"one\">■</span> latents, median {:.2}", median(one));
    if !two.is_empty() {
        let _ = write!(legend, " <span class=\"two\">■</span> neurons, median {:.2}", median(two));
    }
    format!("<figure>{svg}</svg><figcaption><b>{}</b><br>{legend}</figcaption></figure>", escaped(title))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_holds_every_value_and_a_name_is_text() {
        let made = chart("a < b", &[-9.0, 0.1, 9.0], &[0.5], [0.0, 1.0]);
        assert_eq!(made.matches("<rect").count(), 4);
        assert!(made.contains("a &lt; b") && !made.contains("a < b"));
    }
}
