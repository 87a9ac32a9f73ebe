//! `pellucid patchscope`: a value of one text put into another, where the model itself says what it means.

use super::behaviour::{BehaviourArgs, verdict};
use crate::models::ModelArgs;
use crate::show::{Bars, DIM, Out, Table, percent, quoted};
use crate::text::TextArgs;
use anyhow::{Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use pellucid::core::Site;
use pellucid::interp::lens::Fitted;
use pellucid::interp::patchscope::{Ask, At, BackGrid, Grid, Ladder, Said};
use pellucid::interp::stream::depth_of;
use pellucid::scope::lab::{
    BackGridReport, LadderReport, PatchGridReport, Reads, ScopeReadings, ladder, patch_grid, put_back,
    readings,
};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// What the model writes of one token's value, layer by layer.
    Read(ReadArgs),
    /// One token at every layer: logit lens, fitted lens, patchscope and back-patching side by side.
    Ladder(LadderArgs),
    /// A behaviour at every pair of layers: how often does the target say the right answer?
    Grid(GridArgs),
    /// Back-patching over a behaviour: values of later layers put back at earlier ones of the same text.
    Back(BackArgs),
}

#[derive(Args)]
struct ReadArgs {
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// The token whose value is read; negative counts from the end.
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    position: Option<i64>,
    /// identity, description, or a text in which {} is the place (without one, its last token).
    #[arg(long, default_value = "description", value_name = "TARGET")]
    target: String,
    /// The place in the target, if not where {} stands; negative counts from the end.
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    target_position: Option<i64>,
    /// Read only this place, e.g. resid_post.4; by default the stream at every layer.
    #[arg(long, value_name = "SITE")]
    from: Option<Site>,
    /// Put every value here; by default where it came from.
    #[arg(long, value_name = "SITE")]
    into: Option<Site>,
    /// Map values first by a fitted lens (a file of `pellucid lens --fit`); they then go where it leads.
    #[arg(long, value_name = "FILE", conflicts_with = "into")]
    map: Option<PathBuf>,
    /// Tokens to write.
    #[arg(long, default_value_t = 8, value_name = "N")]
    generate: usize,
}

#[derive(Args)]
struct LadderArgs {
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// The token whose value is read; negative counts from the end.
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    position: Option<i64>,
    /// Follow this token, by default the one the model says.
    #[arg(long, value_name = "TOK", allow_hyphen_values = true)]
    watch_token: Option<String>,
    /// A fitted lens (a file of `pellucid lens --fit`).
    #[arg(long, value_name = "FILE")]
    through: Option<PathBuf>,
    /// Back-patching puts a value this many layers earlier.
    #[arg(long, default_value_t = 4, value_name = "N")]
    back_by: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    /// Each item's last token.
    Last,
    /// The last token in which an item differs from its counterfactual.
    Subject,
}

impl std::convert::From<From> for At {
    fn from(from: From) -> Self {
        match from {
            From::Last => At::Last,
            From::Subject => At::Subject,
        }
    }
}

#[derive(Args)]
struct GridArgs {
    #[command(flatten)]
    of: BehaviourArgs,
    /// identity, or a text in which {} is the place.
    #[arg(long, default_value = "identity", value_name = "TARGET")]
    target: String,
    /// Which token of an item gives the value.
    #[arg(long, value_enum, default_value_t = From::Last)]
    from: From,
    /// Every how manieth layer, on both sides.
    #[arg(long, default_value_t = 1, value_name = "N")]
    every: usize,
    /// Map values first by a fitted lens; they then go where it leads.
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Go on though the model does not show the behaviour.
    #[arg(long)]
    anyway: bool,
}

#[derive(Args)]
struct BackArgs {
    #[command(flatten)]
    of: BehaviourArgs,
    /// Which token of an item is put back.
    #[arg(long, value_enum, default_value_t = From::Last)]
    from: From,
    /// Every how manieth layer, on both sides.
    #[arg(long, default_value_t = 1, value_name = "N")]
    every: usize,
    /// Go on though the model does not show the behaviour.
    #[arg(long)]
    anyway: bool,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        match &self.action {
            Action::Read(a) => a.run(out),
            Action::Ladder(a) => a.run(out),
            Action::Grid(a) => a.run(out),
            Action::Back(a) => a.run(out),
        }
    }
}

impl ReadArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.generate > 0, "--generate needs at least 1");
        let (loaded, text) = self.text.read(&self.model)?;
        let map = self.map.as_deref().map(|f| Fitted::load(f, &loaded.model)).transpose()?;
        let asked = Reads {
            position: self.position,
            target: self.target.clone(),
            target_position: self.target_position,
            from: self.from,
            into: self.into,
            generate: self.generate,
        };
        let mut bars = Bars::default();
        let report = readings(&loaded, &text, &asked, map.as_ref(), &mut |step| bars.show(step))?;
        bars.end();
        if !out.json("patchscope", Some(&loaded), &report)? {
            show_readings(&report, out)?;
        }
        Ok(())
    }
}

fn show_readings(report: &ScopeReadings, out: &mut Out) -> Result<()> {
    let at = report.prompt.get(report.position).map_or("", |t| t.text.as_str());
    let place = report.target.get(report.target_position).map_or("", |t| t.text.as_str());
    out.heading(format!(
        "{} (position {}) in the place of {} (position {}) of the target",
        quoted(at),
        report.position,
        quoted(place),
        report.target_position
    ))?;
    let mut table = Table::new(&["from", "into", ">first token", "the target goes on"]);
    for r in &report.readings {
        let mut row = vec![r.source.to_string(), r.target.to_string(), percent(r.probability)];
        row.push(quoted(&r.text));
        table.row(row);
    }
    out.table(table)?;
    out.line(format!("{DIM}with nothing put into it: {}{DIM:#}", quoted(&report.unpatched)))
}

impl LadderArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, text) = self.text.read(&self.model)?;
        let model = &loaded.model;
        let watched = self.watch_token.as_ref().map(|t| model.tokenizer().single_token(t)).transpose()?;
        let fitted = self.through.as_deref().map(|f| Fitted::load(f, model)).transpose()?;
        let (at, fitted, mut bars) = ((self.position, watched), fitted.as_ref(), Bars::default());
        let report = ladder(&loaded, &text, at, fitted, self.back_by, &mut |step| bars.show(step))?;
        bars.end();
        if !out.json("patchscope", Some(&loaded), &report)? {
            show_ladder(&report, out)?;
        }
        Ok(())
    }
}

fn show_ladder(report: &LadderReport, out: &mut Out) -> Result<()> {
    let text = |id: u32| quoted(report.texts.get(&id).map_or("", String::as_str));
    let cell = |said: Option<&Said>| {
        said.map_or("–".to_owned(), |s| format!("{} #{} {}", text(s.top), s.rank, percent(s.probability)))
    };
    let Ladder { watched, back_by, unpatched, rungs } = &report.ladder;
    out.heading(format!("likeliest token; rank and probability of {}", text(*watched)))?;
    let back = format!("put back {back_by} layers");
    let fitted = rungs.iter().any(|r| r.fitted.is_some());
    let mut header = vec!["site", "logit lens"];
    header.extend(fitted.then_some("fitted lens"));
    header.extend(["patchscope", back.as_str()]);
    let mut table = Table::new(&header);
    for r in rungs {
        let mut row = vec![r.site.to_string(), cell(Some(&r.logit))];
        row.extend(fitted.then(|| cell(r.fitted.as_ref())));
        row.extend([cell(Some(&r.patchscope)), cell(r.back.as_ref())]);
        table.row(row);
    }
    out.table(table)?;
    out.line(format!(
        "{DIM}the patchscope's target with nothing put into it says {}{DIM:#}",
        cell(Some(unpatched))
    ))
}

impl GridArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.every > 0, "--every needs at least 1");
        let (loaded, measured) = self.of.measured()?;
        let model = &loaded.model;
        let map = self.map.as_deref().map(|f| Fitted::load(f, model)).transpose()?;
        let ask = Ask { target: self.target.clone(), at: self.from.into(), every: self.every };
        let (map, mut bars) = (map.as_ref(), Bars::default());
        let report = patch_grid(model, &measured, &ask, map, self.anyway, &mut |step| bars.show(step))?;
        bars.end();
        if !out.json("patchscope", Some(&loaded), &report)? {
            show_grid(&report, out)?;
        }
        Ok(())
    }
}

fn show_grid(report: &PatchGridReport, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    let Grid { items, plain, direct, unpatched, cells } = &report.grid;
    out.heading(format!("share of {items} items whose right answer the target says first"))?;
    out.table(squares(cells.iter().map(|c| (c.source, c.target, c.right.value))))?;
    let mut order: Vec<_> = cells.iter().collect();
    order.sort_by(|a, b| b.right.value.total_cmp(&a.right.value));
    let mut table = Table::new(&["from", "into", ">right", ">from", ">to", ">another item's value"]);
    for c in order.into_iter().take(6) {
        let mut row = vec![c.source.to_string(), c.target.to_string()];
        row.extend([c.right.value, c.right.low, c.right.high, c.control].map(|v| format!("{v:.2}")));
        table.row(row);
    }
    out.line("")?;
    out.table(table)?;
    let direct = direct.map_or(String::new(), |d| {
        format!(" and with the subject's words in the place {:.2} ({:.2} to {:.2})", d.value, d.low, d.high)
    });
    out.line(format!(
        "{DIM}at the end of its own prompt the model says {:.2} right; the target as it stands {:.2}{direct}{DIM:#}",
        plain.value, unpatched.value
    ))
}

/// Sources down, targets across.
fn squares(cells: impl Iterator<Item = (Site, Site, f64)>) -> Table {
    let cells: Vec<_> = cells.collect();
    let mut targets: Vec<usize> = cells.iter().filter_map(|c| depth_of(c.1)).collect();
    targets.sort_unstable();
    targets.dedup();
    let short = |d: usize| d.checked_sub(1).map_or("pre.0".to_owned(), |l| l.to_string());
    let titles: Vec<String> = targets.iter().map(|d| format!(">{}", short(*d))).collect();
    let mut header = vec!["from \\ into"];
    header.extend(titles.iter().map(String::as_str));
    let mut table = Table::new(&header);
    let mut sources: Vec<usize> = cells.iter().filter_map(|c| depth_of(c.0)).collect();
    sources.sort_unstable();
    sources.dedup();
    for source in sources {
        let mut row = vec![short(source)];
        row.extend(targets.iter().map(|&t| {
            let found = cells.iter().find(|c| depth_of(c.0) == Some(source) && depth_of(c.1) == Some(t));
            found.map_or(String::new(), |c| format!("{:.2}", c.2))
        }));
        table.row(row);
    }
    table
}

impl BackArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.every > 0, "--every needs at least 1");
        let (loaded, measured) = self.of.measured()?;
        let (how, mut bars) = ((At::from(self.from), self.every), Bars::default());
        let report = put_back(&loaded.model, &measured, how, self.anyway, &mut |step| bars.show(step))?;
        bars.end();
        if !out.json("patchscope", Some(&loaded), &report)? {
            show_back(&report, out)?;
        }
        Ok(())
    }
}

fn show_back(report: &BackGridReport, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    let BackGrid { items, plain, some_pair, some_pair_control, cells } = &report.grid;
    out.heading(format!("share of {items} items answered right with a value put back"))?;
    out.table(squares(cells.iter().map(|c| (c.source, c.target, c.right.value))))?;
    let mut order: Vec<_> = cells.iter().collect();
    order.sort_by(|a, b| b.right.value.total_cmp(&a.right.value));
    let header = [
        "from",
        "back to",
        ">right",
        ">wrong before, now right",
        ">right before, still",
        ">another item's value",
    ];
    let mut table = Table::new(&header);
    for c in order.into_iter().take(6) {
        let mut row = vec![c.source.to_string(), c.target.to_string()];
        row.extend([c.right.value, c.corrected.value, c.kept.value, c.control].map(|v| format!("{v:.2}")));
        table.row(row);
    }
    out.line("")?;
    out.table(table)?;
    out.line(format!(
        "as it is the model answers {:.2}; of the {} it does not, some pair of layers makes {:.2} right ({:.2} to {:.2}), and another item's value {:.2}",
        plain.value, some_pair.n, some_pair.value, some_pair.low, some_pair.high, some_pair_control.value
    ))
}
