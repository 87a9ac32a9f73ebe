//! `pellucid knockout`: attention edges cut, layer by layer, and what the answer loses by it.

use super::behaviour::{BehaviourArgs, verdict};
use crate::show::{Bars, DIM, Out, Table, quoted, signed};
use anyhow::Result;
use clap::Args;
use pellucid::interp::trace::KnockedOut;
use pellucid::scope::lab::{Blinding, KnockoutReport, knockout};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: BehaviourArgs,
    /// The position that may no longer look; negative counts from the end.
    #[arg(long, default_value_t = -1, value_name = "P", allow_hyphen_values = true)]
    query: i64,
    /// Layers that are cut together, from each layer on.
    #[arg(long, default_value_t = 4, value_name = "N")]
    window: usize,
    /// How many of the foremost edges to list.
    #[arg(long, default_value_t = 8, value_name = "K")]
    top: usize,
    /// Go on though the model does not show the behaviour.
    #[arg(long)]
    anyway: bool,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let asked = Blinding { query: self.query, window: self.window, anyway: self.anyway };
        let (loaded, measured) = self.of.measured()?;
        let mut bars = Bars::default();
        let report = knockout(&loaded.model, &measured, asked, &mut |step| bars.show(step))?;
        bars.end();
        if !out.json("knockout", Some(&loaded), &report)? {
            self.show(&report, out)?;
        }
        Ok(())
    }

    fn show(&self, report: &KnockoutReport, out: &mut Out) -> Result<()> {
        verdict(&report.gate, out)?;
        let keys = report.cut.iter().map(|c| c.key).max().map_or(0, |k| k + 1);
        out.heading(format!(
            "log-odds when position {} no longer sees a token, in {} layers from each on ({} items)",
            report.query, report.window, report.items
        ))?;
        let text = |k: usize| report.tokens.get(k).map_or("", |t| t.text.as_str());
        let titles: Vec<String> = (0..keys).map(|k| format!(">{}", text(k).trim())).collect();
        let mut header = vec![">from layer"];
        header.extend(titles.iter().map(String::as_str));
        let mut table = Table::new(&header);
        for row in report.cut.chunks(keys.max(1)) {
            let mut line = vec![row[0].layer.to_string()];
            line.extend(row.iter().map(|c| signed(c.change.value)));
            table.row(line);
        }
        out.table(table)?;
        let mut order: Vec<&KnockedOut> = report.cut.iter().collect();
        order.sort_by(|a, b| b.change.value.abs().total_cmp(&a.change.value.abs()));
        out.line("")?;
        let header = [">from layer", "token", ">change", ">from", ">to", ">accuracy", ">random other"];
        let mut table = Table::new(&header);
        for c in order.into_iter().take(self.top) {
            table.row(vec![
                c.layer.to_string(),
                format!("{} {}", c.key, quoted(text(c.key))),
                signed(c.change.value),
                signed(c.change.low),
                signed(c.change.high),
                format!("{:.2}", c.accuracy.value),
                c.control.map_or("–".to_owned(), |c| signed(c.value)),
            ]);
        }
        out.table(table)?;
        out.line(format!(
            "{DIM}random other: the same position no longer sees a random other token of the item, the first excepted{DIM:#}"
        ))
    }
}
