//! `pellucid lens`: what the model would say if it stopped at each layer.

use crate::json::{Placed, Token};
use crate::models::{Loaded, ModelArgs};
use crate::show::{BOLD, DIM, GOOD, Out, Table, bar, percent, quoted};
use crate::text::TextArgs;
use anyhow::Result;
use clap::Args;
use pellucid::core::Site;
use pellucid::interp::lens::{LensRow, LensToken, lens};
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// How many top tokens to show at each layer.
    #[arg(long, default_value_t = 5, value_name = "K")]
    top: usize,
    /// Follow this token's rank and probability (by default the one the model says). Repeatable.
    #[arg(long, value_name = "TOK", allow_hyphen_values = true)]
    watch_token: Vec<String>,
    /// The token whose next token is read; negative counts from the end.
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    position: Option<i64>,
    /// Also read between attention and MLP.
    #[arg(long)]
    sub_blocks: bool,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    prompt: Vec<Placed>,
    position: usize,
    rows: Vec<Read>,
    watched: Vec<Winner>,
}

#[derive(Serialize)]
struct Read {
    site: Site,
    top: Vec<Ranked>,
    watched: Vec<Ranked>,
    kl: f64,
    entropy: f64,
}

#[derive(Serialize)]
struct Ranked {
    #[serde(flatten)]
    token: Token,
    probability: f64,
    rank: usize,
}

/// Where a token becomes the likeliest and stays so to the end; none if it is not the likeliest at the end.
#[derive(Serialize)]
struct Winner {
    #[serde(flatten)]
    token: Token,
    wins_at: Option<Site>,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, text) = self.text.read(&self.model)?;
        let position = text.position(self.position)?;
        let model = &loaded.model;
        let tokenizer = model.tokenizer();
        let mut watched =
            self.watch_token.iter().map(|t| tokenizer.single_token(t)).collect::<Result<Vec<_>, _>>()?;
        let spinner = bar("reading every layer", model.spec().n_layers);
        let look = |watched: &[u32]| {
            lens(model, &text.row, position, self.top.max(1), watched, self.sub_blocks, &mut ())
        };
        let mut rows = look(&watched)?;
        if watched.is_empty() {
            watched.extend(rows.last().and_then(|r| r.top.first()).map(|t| t.id));
            rows = look(&watched)?;
        }
        spinner.finish_and_clear();
        let winners = watched.iter().enumerate().map(|(i, &id)| winner(&loaded, &rows, i, id)).collect();
        let rows = rows.iter().map(|row| read(&loaded, row)).collect();
        let report = Report { prompt: text.tokens, position, rows, watched: winners };
        if !out.json("lens", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }
}

fn winner(loaded: &Loaded, rows: &[LensRow], i: usize, id: u32) -> Winner {
    let first = |row: &LensRow| row.watched.get(i).is_some_and(|t| t.rank == 1);
    let stays = rows.iter().rev().take_while(|row| first(row)).last();
    Winner { token: loaded.token(id), wins_at: stays.map(|row| row.site) }
}

fn read(loaded: &Loaded, row: &LensRow) -> Read {
    let ranked =
        |t: &LensToken| Ranked { token: loaded.token(t.id), probability: t.probability, rank: t.rank };
    Read {
        site: row.site,
        top: row.top.iter().map(ranked).collect(),
        watched: row.watched.iter().map(ranked).collect(),
        kl: row.kl,
        entropy: row.entropy,
    }
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    if let Some(at) = report.prompt.get(report.position) {
        out.line(format!(
            "{BOLD}next token after {} (position {}){BOLD:#}\n",
            quoted(&at.text),
            at.position
        ))?;
    }
    let followed: Vec<String> =
        report.watched.iter().map(|w| format!(">{}", quoted(&w.token.text))).collect();
    let mut header = vec!["site", "top tokens"];
    header.extend(followed.iter().map(String::as_str));
    header.extend([">KL to final", ">entropy"]);
    let mut table = Table::new(&header);
    for row in &report.rows {
        let top = row.top.iter().map(|t| format!("{} {}", quoted(&t.token.text), percent(t.probability)));
        let mut cells = vec![row.site.to_string(), top.collect::<Vec<_>>().join("  ")];
        cells.extend(row.watched.iter().map(|t| format!("#{} {}", t.rank, percent(t.probability))));
        cells.extend([format!("{:.2}", row.kl), format!("{:.2}", row.entropy)]);
        table.row(cells);
    }
    out.table(table)?;
    out.line(format!("{DIM}KL and entropy in nats; #1 is the likeliest token{DIM:#}"))?;
    for w in &report.watched {
        let name = quoted(&w.token.text);
        out.line(match w.wins_at {
            Some(site) => {
                format!("{GOOD}{name} becomes the likeliest token at {site} and stays it to the end{GOOD:#}")
            }
            None => format!("{name} is not the likeliest token at the end"),
        })?;
    }
    Ok(())
}
