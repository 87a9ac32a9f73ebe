//! `pellucid trace`: values of a clean run put into a corrupted one, or the other way round, place by place or along a path.

use super::behaviour::{BehaviourArgs, verdict};
use crate::show::{Bars, DIM, Out, Table, quoted};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::{Point, Site, UnitId};
use pellucid::interp::Interval;
use pellucid::interp::trace::{Cell, Direction, PathEffect};
use pellucid::scope::lab::{Ends, Taking, TracePosition, TraceReport, Tracing, trace};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: BehaviourArgs,
    /// What is patched, in every layer: resid_pre, resid_mid, attn_out_post, mlp_out_post, z (head by head). Comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "resid_pre", value_name = "POINTS")]
    at: Vec<Point>,
    /// Clean values into the corrupted run, or corrupted ones into the clean run.
    #[arg(long, value_enum, default_value_t = Way::Denoise)]
    direction: Way,
    /// Take the answer away by the item's counterfactual, or by Gaussian noise on the tokens in which it differs.
    #[arg(long, value_enum, default_value_t = By::Counterfactual)]
    corrupt: By,
    /// Draws of noise for each item.
    #[arg(long, default_value_t = 10, value_name = "N")]
    samples: usize,
    /// Standard deviation of the noise, in standard deviations of the embeddings it is added to.
    #[arg(long, default_value_t = 3.0, value_name = "X", allow_hyphen_values = true)]
    sigma: f64,
    /// Layers that are patched together.
    #[arg(long, default_value_t = 1, value_name = "N")]
    window: usize,
    /// Only this position; negative counts from the end. By default every one, and for heads all of them together.
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    position: Option<i64>,
    /// Path patching: where the path ends, `logits` or a head's input as z.9/h6:q (or :k, :v). Repeatable.
    #[arg(long, value_name = "RECEIVER")]
    to: Vec<String>,
    /// Where the path begins: a head as z.8/h6, attn_out_post.8 or mlp_out_post.8; by default every head before the receivers.
    #[arg(long, value_name = "SENDER", requires = "to")]
    from: Option<String>,
    /// Let the MLPs between sender and receiver compute; they are held otherwise.
    #[arg(long, requires = "to")]
    through_mlps: bool,
    /// How many of the foremost cells to list.
    #[arg(long, default_value_t = 8, value_name = "K")]
    top: usize,
    /// Go on though the model does not show the behaviour.
    #[arg(long)]
    anyway: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    Denoise,
    Noise,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Counterfactual,
    Noise,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.sigma.is_finite() && self.sigma > 0.0, "--sigma must be a positive number");
        let asked = Tracing {
            at: self.at.clone(),
            direction: match self.direction {
                Way::Denoise => Direction::Denoise,
                Way::Noise => Direction::Noise,
            },
            taking: match self.corrupt {
                By::Counterfactual => Taking::Counterfactual,
                By::Noise => Taking::Noise { sigma: self.sigma, samples: self.samples },
            },
            window: self.window,
            position: self.position,
            ends: match self.to.is_empty() {
                true => None,
                false => Some(Ends::read(&self.to, self.from.as_deref(), self.through_mlps)?),
            },
            anyway: self.anyway,
        };
        let (loaded, measured) = self.of.measured()?;
        let mut bars = Bars::default();
        let report = trace(&loaded.model, &measured, &asked, &mut |step| bars.show(step))?;
        bars.end();
        if !out.json("trace", Some(&loaded), &report)? {
            self.show(&report, out)?;
        }
        Ok(())
    }

    fn show(&self, report: &TraceReport, out: &mut Out) -> Result<()> {
        verdict(&report.gate, out)?;
        let TraceReport { items, left_out, clean, corrupted, .. } = report;
        out.line(format!(
            "{items} items of one length, {left_out} left out; log-odds {:+.2} clean, {:+.2} corrupted",
            clean.value, corrupted.value
        ))?;
        let away = match report.direction {
            Direction::Denoise => {
                "clean values in the corrupted run: what share of the answer each place restores"
            }
            Direction::Noise => {
                "corrupted values in the clean run: what share of the answer each place leaves"
            }
        };
        for grid in &report.grids {
            out.heading(format!("{}: {away}", grid.point))?;
            out.table(table(&grid.cells, &report.positions))?;
            self.foremost(report.direction, &grid.cells, &report.positions, out)?;
        }
        if !report.paths.is_empty() {
            out.heading(format!("paths to {}: {away}", report.receivers.join(", ")))?;
            let mut paths: Vec<&PathEffect> = report.paths.iter().collect();
            paths.sort_by(|a, b| {
                let far = |p: &PathEffect| distance(report.direction, p.recovered);
                far(b).total_cmp(&far(a))
            });
            let mut table = Table::new(&["sender", ">recovered", ">from", ">to", ">stranger"]);
            for p in paths.into_iter().take(self.top) {
                let mut row = vec![name(p.site, p.head)];
                row.extend(numbers(p.recovered, p.control));
                table.row(row);
            }
            out.table(table)?;
        }
        out.line(format!(
            "{DIM}0 is the corrupted run and 1 the clean one, in log-odds; stranger: the same place from another item of the side that is changed{DIM:#}"
        ))
    }

    fn foremost(
        &self,
        way: Direction,
        cells: &[Cell],
        positions: &[TracePosition],
        out: &mut Out,
    ) -> Result<()> {
        let mut order: Vec<&Cell> = cells.iter().collect();
        order.sort_by(|a, b| distance(way, b.recovered).total_cmp(&distance(way, a.recovered)));
        let mut table = Table::new(&["foremost", "position", ">recovered", ">from", ">to", ">stranger"]);
        for cell in order.into_iter().take(self.top) {
            let at = cell.position.and_then(|p| positions.get(p));
            let at = at.map_or("all".to_owned(), |p| format!("{} {}", p.position, quoted(&p.text)));
            let mut row = vec![name(cell.site, cell.head), at];
            row.extend(numbers(cell.recovered, cell.control));
            table.row(row);
        }
        out.line("")?;
        out.table(table)
    }
}

/// How far a patch moved the answer from where it stood.
fn distance(way: Direction, recovered: Interval) -> f64 {
    let from = if way == Direction::Denoise { 0.0 } else { 1.0 };
    (recovered.value - from).abs()
}

fn numbers(recovered: Interval, control: Option<Interval>) -> [String; 4] {
    let two = |x: f64| format!("{x:+.2}");
    let Interval { value, low, high, .. } = recovered;
    [two(value), two(low), two(high), control.map_or("–".to_owned(), |c| two(c.value))]
}

fn name(site: Site, head: Option<usize>) -> String {
    head.map_or(site.to_string(), |h| UnitId::head(site, h).to_string())
}

/// Layers down, positions or heads across.
fn table(cells: &[Cell], positions: &[TracePosition]) -> Table {
    let key = |c: &Cell| (c.head, c.position);
    let mut columns: Vec<_> = cells.iter().map(key).collect();
    columns.sort_unstable();
    columns.dedup();
    let title = |(head, position): &(Option<usize>, Option<usize>)| match (head, position) {
        (Some(h), _) => format!(">h{h}"),
        (None, Some(p)) => format!(">{}", positions.get(*p).map_or("", |p| p.text.as_str()).trim()),
        (None, None) => ">all".to_owned(),
    };
    let titles: Vec<String> = columns.iter().map(title).collect();
    let mut header = vec!["site"];
    header.extend(titles.iter().map(String::as_str));
    let mut table = Table::new(&header);
    for row in cells.chunks(columns.len().max(1)) {
        let mut line = vec![row[0].site.to_string()];
        line.extend(row.iter().map(|c| format!("{:.2}", c.recovered.value)));
        table.row(line);
    }
    table
}
