//! `pellucid lens`: what the model would say if it stopped at each layer.
//!
//! A prompt is read here; fitting a lens is in `lens_fit.rs`, a behaviour's layers in `lens_wins.rs`.

use super::lens_fit::FitArgs;
use super::lens_wins;
use crate::json::{Placed, Token};
use crate::models::{Loaded, ModelArgs};
use crate::show::{BOLD, DIM, GOOD, Out, Table, bar, percent, quoted};
use crate::text::{Text, TextArgs};
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::core::Site;
use pellucid::interp::lens::{Compared, Fitted, LensRow, LensToken, compare, lens, lens_through};
use serde::Serialize;
use std::path::PathBuf;

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
    /// Read through a fitted lens as well (a file that --fit wrote).
    #[arg(long, value_name = "FILE")]
    through: Option<PathBuf>,
    /// Compare with this text at each layer, at the same position counted from the end.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "behaviour")]
    versus: Option<String>,
    /// Instead of a prompt: the layer at which this behaviour's right answers win.
    #[arg(long, value_name = "BEHAVIOUR", conflicts_with_all = ["prompt", "sub_blocks", "watch_token", "position"])]
    behaviour: Option<String>,
    /// With --behaviour: another model beside --model. Repeatable.
    #[arg(long, value_name = "MODEL", requires = "behaviour", conflicts_with = "through")]
    also: Vec<String>,
    /// With --behaviour: how many items.
    #[arg(long, default_value_t = 64, value_name = "N", requires = "behaviour")]
    items: usize,
    /// With --behaviour: go on though the model does not show it.
    #[arg(long, requires = "behaviour")]
    anyway: bool,
    /// With --behaviour or --fit: seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    fit: FitArgs,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    prompt: Vec<Placed>,
    position: usize,
    rows: Vec<Read>,
    watched: Vec<Winner>,
    /// Through a fitted lens; null without one.
    fitted: Option<Through>,
    /// Against another text; null without one.
    versus: Option<Versus>,
}

/// The same text through a fitted lens.
#[derive(Serialize)]
struct Through {
    rows: Vec<Read>,
    watched: Vec<Winner>,
}

/// Another text beside it.
#[derive(Serialize)]
struct Versus {
    prompt: Vec<Placed>,
    position: usize,
    /// By the logit lens, or by the fitted one where there is one.
    rows: Vec<Apart>,
}

#[derive(Serialize)]
struct Apart {
    site: Site,
    kl_first: f64,
    kl_second: f64,
    js: f64,
    top: [Token; 2],
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
        if let Some(file) = &self.fit.fit {
            return self.fit.run(file, &self.model, self.seed, out);
        }
        if let Some(behaviour) = &self.behaviour {
            let ask = lens_wins::Ask {
                behaviour,
                items: self.items,
                seed: self.seed,
                anyway: self.anyway,
                through: self.through.as_deref(),
            };
            let model =
                ModelArgs { model: self.model.model.clone(), dictionary: Vec::new(), ..self.model.clone() };
            return lens_wins::run(&ask, model, &self.also, out);
        }
        let (loaded, text) = self.text.read(&self.model)?;
        let position = text.position(self.position)?;
        let model = &loaded.model;
        let tokenizer = model.tokenizer();
        let fitted = self.through.as_deref().map(|f| Fitted::load(f, model)).transpose()?;
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
        let through = fitted.as_ref().map(|fitted| self.through(&loaded, &text, position, &watched, fitted));
        let versus =
            self.versus.as_ref().map(|other| versus(&loaded, &text, position, other, fitted.as_ref()));
        spinner.finish_and_clear();
        let winners = winners(&loaded, &rows, &watched);
        let rows = rows.iter().map(|row| read(&loaded, row)).collect();
        let report = Report {
            prompt: text.tokens,
            position,
            rows,
            watched: winners,
            fitted: through.transpose()?,
            versus: versus.transpose()?,
        };
        if !out.json("lens", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }

    fn through(
        &self,
        loaded: &Loaded,
        text: &Text,
        position: usize,
        watched: &[u32],
        fitted: &Fitted,
    ) -> Result<Through> {
        let (top, at) = (self.top.max(1), position..position + 1);
        let rows = lens_through(&loaded.model, fitted, &text.row, at, top, watched, &mut ())?;
        let rows: Vec<LensRow> = rows.into_iter().flatten().collect();
        let winners = winners(loaded, &rows, watched);
        Ok(Through { rows: rows.iter().map(|row| read(loaded, row)).collect(), watched: winners })
    }
}

fn versus(
    loaded: &Loaded,
    text: &Text,
    position: usize,
    other: &str,
    fitted: Option<&Fitted>,
) -> Result<Versus> {
    let second = Text::plain(loaded, other)?;
    let from_end = text.row.tokens.len() - 1 - position;
    ensure!(
        from_end < second.row.tokens.len(),
        "the other text has {} tokens, and {} are to stand after the compared one",
        second.row.tokens.len(),
        from_end
    );
    let rows = compare(&loaded.model, [&text.row, &second.row], from_end, fitted)?;
    let apart = |c: Compared| Apart {
        site: c.site,
        kl_first: c.kl_first,
        kl_second: c.kl_second,
        js: c.js,
        top: c.top.map(|id| loaded.token(id)),
    };
    let position = second.row.tokens.len() - 1 - from_end;
    Ok(Versus { prompt: second.tokens, position, rows: rows.into_iter().map(apart).collect() })
}

fn winners(loaded: &Loaded, rows: &[LensRow], watched: &[u32]) -> Vec<Winner> {
    watched.iter().enumerate().map(|(i, &id)| winner(loaded, rows, i, id)).collect()
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
    show_rows(&report.rows, &report.watched, out)?;
    if let Some(fitted) = &report.fitted {
        out.heading("through the fitted lens")?;
        show_rows(&fitted.rows, &fitted.watched, out)?;
    }
    if let Some(versus) = &report.versus {
        let at = versus.prompt.get(versus.position).map_or("", |t| t.text.as_str());
        out.heading(format!("against the other text, after {}", quoted(at)))?;
        let mut table = Table::new(&["site", "first says", "second says", ">KL first", ">KL second", ">JS"]);
        for row in &versus.rows {
            let mut cells = vec![row.site.to_string()];
            cells.extend(row.top.iter().map(|t| quoted(&t.text)));
            cells.extend([row.kl_first, row.kl_second, row.js].map(|v| format!("{v:.3}")));
            table.row(cells);
        }
        out.table(table)?;
        out.line(format!("{DIM}nats; JS is at most 0.693{DIM:#}"))?;
    }
    Ok(())
}

fn show_rows(rows: &[Read], watched: &[Winner], out: &mut Out) -> Result<()> {
    let followed: Vec<String> = watched.iter().map(|w| format!(">{}", quoted(&w.token.text))).collect();
    let mut header = vec!["site", "top tokens"];
    header.extend(followed.iter().map(String::as_str));
    header.extend([">KL to final", ">entropy"]);
    let mut table = Table::new(&header);
    for row in rows {
        let top = row.top.iter().map(|t| format!("{} {}", quoted(&t.token.text), percent(t.probability)));
        let mut cells = vec![row.site.to_string(), top.collect::<Vec<_>>().join("  ")];
        cells.extend(row.watched.iter().map(|t| format!("#{} {}", t.rank, percent(t.probability))));
        cells.extend([format!("{:.2}", row.kl), format!("{:.2}", row.entropy)]);
        table.row(cells);
    }
    out.table(table)?;
    out.line(format!("{DIM}KL and entropy in nats; #1 is the likeliest token{DIM:#}"))?;
    for w in watched {
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
