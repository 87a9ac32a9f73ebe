//! `pellucid dict eval`: how good a dictionary from anywhere is at a site.

use super::judge::{judge_between, show};
use super::text::OfArgs;
use crate::dictionaries::{expect_site, refuse_transcoder};
use crate::show::Out;
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::core::Site;
use pellucid::dict::{Opened, Shape, open};
use pellucid::interp::sweep_sites;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct EvalArgs {
    #[command(flatten)]
    of: OfArgs,
    /// A folder or file as SAELens, sparsify, Gemma Scope, Llama Scope, dictionary_learning, OpenAI or circuit-tracer write it.
    #[arg(value_name = "FOLDER")]
    path: PathBuf,
    /// What a transcoder writes: its output is put there, and compared with what the model has there.
    #[arg(long, value_name = "SITE")]
    to: Option<Site>,
    /// Judge it at --site (and --to) even where its files name others.
    #[arg(long)]
    elsewhere: bool,
}

impl EvalArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        let opened = open(&self.path)?;
        self.expect_sites(&opened)?;
        let dictionary = opened.dictionary;
        let loaded = self.of.model.load()?;
        let text = self.of.text(&loaded)?;
        let Shape { d_in, d_out, .. } = dictionary.shape;
        let sites = [self.of.site, self.to.unwrap_or(self.of.site)];
        let (_, written) = sweep_sites(&loaded.model, &sites[1..])?[0];
        ensure!(
            (d_in, d_out) == (text.width, written),
            "the dictionary reads {d_in} and writes {d_out} numbers, and {} has {}{}: it belongs to another site or model",
            self.of.site,
            text.width,
            self.to.map_or_else(String::new, |to| format!(", {to} has {written}"))
        );
        let judged = judge_between(&loaded, sites, &text, &dictionary)?;
        if !out.json("dict", Some(&loaded), &judged)? {
            show(&judged, out)?;
        }
        Ok(())
    }
}

impl EvalArgs {
    /// Refuses a dictionary whose files say that it belongs elsewhere, and a transcoder of which it is not said what it writes.
    fn expect_sites(&self, opened: &Opened) -> Result<()> {
        match self.to {
            None => refuse_transcoder(opened, "say with --to what it writes")?,
            Some(to) => {
                let named: Option<Site> = opened.output.as_deref().and_then(|name| name.parse().ok());
                ensure!(
                    self.elsewhere || named.is_none_or(|site| site == to),
                    "this {} dictionary says that it writes {}, and --to is {to}; give that site, or --elsewhere to judge it here all \
                     the same",
                    opened.format,
                    named.map_or_else(String::new, |site| site.to_string())
                );
            }
        }
        expect_site(opened, self.of.site, self.elsewhere)
    }
}
