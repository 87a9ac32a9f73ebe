//! `pellucid dict eval`: how good a dictionary from anywhere is at a site.

use super::judge::{judge, show};
use super::text::OfArgs;
use crate::dictionaries::{named_site, refuse_transcoder};
use crate::show::Out;
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::dict::{Opened, Shape, open};
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct EvalArgs {
    #[command(flatten)]
    of: OfArgs,
    /// A folder or file as SAELens, sparsify, Gemma Scope, Llama Scope, dictionary_learning, OpenAI or circuit-tracer write it.
    #[arg(value_name = "FOLDER")]
    path: PathBuf,
    /// Judge it at --site even where its files name another.
    #[arg(long)]
    elsewhere: bool,
}

impl EvalArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        let opened = open(&self.path)?;
        self.expect_site(&opened)?;
        let dictionary = opened.dictionary;
        let loaded = self.of.model.load()?;
        let text = self.of.text(&loaded)?;
        let Shape { d_in, d_out, .. } = dictionary.shape;
        ensure!(
            (d_in, d_out) == (text.width, text.width),
            "the dictionary reads {d_in} and writes {d_out} numbers, and {} has {}: it belongs to another site or model",
            self.of.site,
            text.width
        );
        let judged = judge(&loaded, self.of.site, &text, &dictionary)?;
        if !out.json("dict", Some(&loaded), &judged)? {
            show(&judged, out)?;
        }
        Ok(())
    }
}

impl EvalArgs {
    /// Refuses a dictionary whose files say that it belongs elsewhere, or that it is a transcoder.
    fn expect_site(&self, opened: &Opened) -> Result<()> {
        refuse_transcoder(opened, "only what writes where it reads can be judged")?;
        let (named, format) = (named_site(opened), opened.format);
        ensure!(
            self.elsewhere || named.is_none_or(|site| site == self.of.site),
            "this {format} dictionary says that it reads {}, and --site is {}; give that site, or --elsewhere to judge it \
             here all the same",
            named.map_or_else(String::new, |site| site.to_string()),
            self.of.site
        );
        Ok(())
    }
}
