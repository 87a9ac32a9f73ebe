//! `pellucid trace`: values of a clean run put into a corrupted one, or the other way round, place by place or along a path.

use super::behaviour::{BehaviourArgs, verdict};
use crate::models::Loaded;
use crate::show::{DIM, Out, Table, bar, quoted};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::{Index, Point, Seed, Site, UnitId};
use pellucid::interp::Interval;
use pellucid::interp::behaviour::Gate;
use pellucid::interp::trace::{
    Cell, Corruption, Direction, Grid, Input, Pairs, Patch, PathEffect, Receiver, grid, path,
};
use serde::Serialize;

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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Counterfactual,
    Noise,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    gate: Gate,
    seed: u64,
    direction: Direction,
    corruption: &'static str,
    window: usize,
    items: usize,
    left_out: usize,
    clean: Interval,
    corrupted: Interval,
    positions: Vec<Position>,
    grids: Vec<Named>,
    receivers: Vec<String>,
    paths: Vec<PathEffect>,
}

/// What stands at a position: the first item's token, and the one of its counterfactual where some item differs.
#[derive(Serialize)]
struct Position {
    position: usize,
    text: String,
    counterfactual: Option<String>,
}

#[derive(Serialize)]
struct Named {
    point: String,
    cells: Vec<Cell>,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.sigma.is_finite() && self.sigma > 0.0, "--sigma must be a positive number");
        let receivers = self.to.iter().map(|t| receiver(t)).collect::<Result<Vec<_>>>()?;
        let sender = self.from.as_deref().map(place).transpose()?;
        let (loaded, ready, gate) = self.of.gated(self.anyway)?;
        let corruption = match self.corrupt {
            By::Counterfactual => Corruption::Counterfactual,
            By::Noise => Corruption::Gaussian {
                factor: self.sigma,
                samples: self.samples,
                seed: Seed(self.of.seed).for_purpose("trace"),
            },
        };
        let direction = match self.direction {
            Way::Denoise => Direction::Denoise,
            Way::Noise => Direction::Noise,
        };
        let points = match (receivers.is_empty(), sender) {
            (true, _) => self.at.clone(),
            (false, sender) => Receiver::points(sender.map_or(Point::Z, |s| s.site.point)),
        };
        let pairs = Pairs::new(&loaded.model, &ready, corruption, direction, &points)?;
        let position = self.position(&pairs)?;
        let mut report = Report {
            gate,
            seed: self.of.seed,
            direction,
            corruption: if self.corrupt == By::Noise { "noise" } else { "counterfactual" },
            window: self.window,
            items: pairs.items().len(),
            left_out: pairs.left_out(),
            clean: Interval::mean(pairs.clean()),
            corrupted: Interval::mean(pairs.corrupted()),
            positions: positions(&loaded, &pairs),
            grids: Vec::new(),
            receivers: self.to.clone(),
            paths: Vec::new(),
        };
        if receivers.is_empty() {
            for &point in &self.at {
                let what = Grid { point, heads: point == Point::Z, position, window: self.window };
                let progress = bar(&format!("{point}: cells"), 0);
                let cells = grid(&pairs, what, &mut |done, all| {
                    progress.set_length(all as u64);
                    progress.set_position(done as u64);
                })?;
                progress.finish_and_clear();
                report.grids.push(Named { point: point.to_string(), cells });
            }
        } else {
            let senders = senders(&loaded, sender, &receivers, position);
            let progress = bar("paths", senders.len());
            for sender in senders {
                report.paths.push(path(&pairs, sender, &receivers, self.through_mlps)?);
                progress.inc(1);
            }
            progress.finish_and_clear();
        }
        if !out.json("trace", Some(&loaded), &report)? {
            self.show(&report, out)?;
        }
        Ok(())
    }

    fn position(&self, pairs: &Pairs<'_>) -> Result<Option<usize>> {
        let Some(asked) = self.position else { return Ok(None) };
        let n = pairs.length() as i64;
        let position = if asked < 0 { asked + n } else { asked };
        ensure!((0..n).contains(&position), "position {asked} is beyond the items' {n} tokens");
        Ok(Some(position as usize))
    }

    fn show(&self, report: &Report, out: &mut Out) -> Result<()> {
        verdict(&report.gate, out)?;
        let Report { items, left_out, clean, corrupted, .. } = report;
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

    fn foremost(&self, way: Direction, cells: &[Cell], positions: &[Position], out: &mut Out) -> Result<()> {
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
fn table(cells: &[Cell], positions: &[Position]) -> Table {
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

fn positions(loaded: &Loaded, pairs: &Pairs<'_>) -> Vec<Position> {
    let first = &pairs.items()[0];
    let text = |ids: &[u32], p: usize| ids.get(p).map_or_else(String::new, |id| loaded.token(*id).text);
    let other = first.counterfactual.as_ref().map_or(&[][..], |c| &c.tokens);
    let position = |p: usize| Position {
        position: p,
        text: text(&first.row.tokens, p),
        counterfactual: pairs.differing().contains(&p).then(|| text(other, p)),
    };
    (0..pairs.length()).map(position).collect()
}

/// The sender that was named, or every head before the last receiver.
fn senders(loaded: &Loaded, one: Option<Patch>, to: &[Receiver], position: Option<usize>) -> Vec<Patch> {
    if let Some(sender) = one {
        return vec![Patch { position, ..sender }];
    }
    let spec = loaded.model.spec();
    let layer = |r: &Receiver| match r {
        Receiver::Logits => spec.n_layers,
        Receiver::Head { layer, .. } => (*layer).min(spec.n_layers),
    };
    let end = to.iter().map(layer).min().unwrap_or(0);
    let head = |l: usize| {
        (0..spec.n_heads).map(move |h| Patch { site: Site::new(Point::Z, l), head: Some(h), position })
    };
    (0..end).flat_map(head).collect()
}

fn receiver(text: &str) -> Result<Receiver> {
    if text == "logits" {
        return Ok(Receiver::Logits);
    }
    let form = || format!("{text:?} is no receiver; write logits, or a head's input as z.9/h6:q, :k or :v");
    let Some((unit, input)) = text.rsplit_once(':') else { bail!(form()) };
    let input = match input {
        "q" => Input::Query,
        "k" => Input::Key,
        "v" => Input::Value,
        _ => bail!(form()),
    };
    match place(unit)? {
        Patch { site, head: Some(head), .. } if site.point == Point::Z => {
            Ok(Receiver::Head { layer: site.layer as usize, head, input })
        }
        _ => bail!(form()),
    }
}

/// A head, or a whole site.
fn place(text: &str) -> Result<Patch> {
    if text.contains('/') {
        return match text.parse::<UnitId>()? {
            UnitId::Site { site, index: Index::Head(h), .. } => {
                Ok(Patch { site, head: Some(h as usize), position: None })
            }
            _ => bail!("{text:?} is no head; write it as z.8/h6"),
        };
    }
    Ok(Patch { site: text.parse()?, head: None, position: None })
}
