//! `pellucid flow`: of which heads, tokens and MLPs a token's vector is made, layer by layer, and the ways back.

use crate::models::ModelArgs;
use crate::show::{BOLD, Bars, DIM, Out, Table, percent, quoted};
use crate::text::TextArgs;
use anyhow::Result;
use clap::Args;
use pellucid::interp::flow::{Carrier, Flow, Route, flow};
use pellucid::scope::{Placed, lab::Step};
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// The token whose vector is followed back; negative counts from the end.
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    position: Option<i64>,
    /// Follow what brings at least this share of a sum.
    #[arg(long, default_value_t = 0.04, value_name = "SHARE", allow_negative_numbers = true)]
    threshold: f64,
}

#[derive(Serialize)]
struct Report {
    prompt: Vec<Placed>,
    #[serde(flatten)]
    flow: Flow,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, mut text) = self.text.read(&self.model)?;
        let position = text.position(self.position)?;
        text.cut(position + 1);
        let total = loaded.model.spec().n_layers;
        let (mut bars, mut done) = (Bars::default(), 0);
        let found = flow(&loaded.model, &text.row, position, self.threshold, &mut || {
            done += 1;
            bars.show(Step { what: "layers followed back", done, total });
            Ok(())
        })?;
        bars.end();
        let report = Report { prompt: text.tokens, flow: found };
        if !out.json("flow", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    let Flow { position, threshold, routes, tokens } = &report.flow;
    let text = |at: usize| report.prompt.get(at).map_or("", |t| t.text.as_str());
    out.line(format!(
        "{BOLD}ways to {} at position {position}{BOLD:#}: what brings at least {} of a sum",
        quoted(text(*position)),
        percent(*threshold)
    ))?;
    let mut table = Table::new(&[">layer", "tokens on a way", "strongest heads to the token", "MLP there"]);
    for (layer, on) in tokens.iter().enumerate().rev() {
        let here = |r: &&Route| r.layer == layer && r.to == *position;
        let heads: Vec<String> = routes
            .iter()
            .filter(here)
            .filter_map(|r| match r.by {
                Carrier::Head(h) => Some(format!("h{h} from {} {}", quoted(text(r.from)), percent(r.share))),
                Carrier::Mlp => None,
            })
            .take(3)
            .collect();
        let mlp = routes.iter().filter(here).find(|r| r.by == Carrier::Mlp);
        table.row(vec![
            layer.to_string(),
            on.iter().map(|&t| text(t).trim().to_owned()).collect::<Vec<_>>().join(" "),
            heads.join(", "),
            mlp.map_or_else(|| "–".to_owned(), |r| percent(r.share)),
        ]);
    }
    out.table(table)?;
    out.line(format!(
        "{DIM}{} routes; a share says of what a vector is made, not what it causes{DIM:#}",
        routes.len()
    ))
}
