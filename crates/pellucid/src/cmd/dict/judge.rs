//! How good a dictionary is on text that it did not learn from.

use super::text::Text;
use crate::models::Loaded;
use crate::show::{Out, Table};
use anyhow::Result;
use pellucid::core::Site;
use pellucid::dict::{Density, Dictionary, Fidelity, Shape, largest_cosines};
use pellucid::interp::dictionary::{losses_between, rows, rows_of};
use serde::Serialize;

/// How good a dictionary is, on the wire.
#[derive(Serialize)]
pub(crate) struct Judged {
    pub(crate) site: String,
    /// What a transcoder writes: explained variance and losses are of this site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    pub(crate) latents: usize,
    pub(crate) rows: usize,
    pub(crate) explained_variance: Option<f64>,
    pub(crate) l0: f64,
    /// Share of latents that were never active in these rows.
    pub(crate) silent: f64,
    /// (log10 of the share of rows, lower edge; latents).
    pub(crate) density: Vec<(f64, usize)>,
    /// How alike each latent's decoder row and the most alike other one are; none for very wide dictionaries, where all with all takes long.
    pub(crate) decoder_cosine: Option<Cosine>,
    pub(crate) loss: f64,
    pub(crate) loss_spliced: f64,
    pub(crate) loss_zero: f64,
    pub(crate) loss_mean: f64,
    pub(crate) recovered_from_zero: Option<f64>,
    pub(crate) recovered_from_mean: Option<f64>,
    /// KL divergence from the plain model, nats a token.
    pub(crate) kl_spliced: f64,
    pub(crate) kl_zero: f64,
    pub(crate) kl_mean: f64,
    pub(crate) kl_recovered_from_zero: Option<f64>,
    pub(crate) kl_recovered_from_mean: Option<f64>,
    pub(crate) test_windows: usize,
}

/// The largest cosine of a decoder row with another one, over latents.
#[derive(Serialize)]
pub(crate) struct Cosine {
    pub(crate) median: f32,
    /// Nine tenths of the latents have less.
    pub(crate) upper: f32,
    /// Share of latents that have another with a cosine above .9: two for one thing.
    pub(crate) doubled: f64,
}

/// The most latents that are compared all with all.
const COMPARED: usize = 1 << 16;
/// What is as good as the same direction.
const SAME: f32 = 0.9;

impl Cosine {
    fn of(dictionary: &Dictionary) -> Option<Self> {
        let Shape { latents, d_out, .. } = dictionary.shape;
        if latents > COMPARED {
            return None;
        }
        let mut all: Vec<f32> = largest_cosines(&dictionary.decoder, d_out).into_iter().flatten().collect();
        all.sort_by(f32::total_cmp);
        let at = |share: f64| all.get((share * all.len() as f64) as usize).copied();
        let doubled = all.iter().filter(|cosine| **cosine > SAME).count() as f64 / all.len().max(1) as f64;
        Some(Cosine { median: at(0.5)?, upper: at(0.9)?, doubled })
    }
}

/// Judges a dictionary at a site on the text's test windows.
pub(crate) fn judge(loaded: &Loaded, site: Site, text: &Text, dictionary: &Dictionary) -> Result<Judged> {
    judge_between(loaded, [site, site], text, dictionary)
}

/// The same for a transcoder, which reads one site and writes another; for an autoencoder they are the same.
pub(crate) fn judge_between(
    loaded: &Loaded,
    [from, to]: [Site; 2],
    text: &Text,
    dictionary: &Dictionary,
) -> Result<Judged> {
    let (model, width) = (&loaded.model, dictionary.shape.d_out);
    let [x, written] = match from == to {
        true => [rows(model, from, &text.test)?, Vec::new()],
        false => rows_of(model, [from, to], &text.test)?,
    };
    let y = if from == to { &x } else { &written };
    let sparse = dictionary.encode(&x)?;
    let mut density = Density::new(dictionary.shape.latents);
    density.add(&sparse);
    let mut fidelity = Fidelity::default();
    fidelity.add(y, &dictionary.decode(&sparse, Some(&x))?, width)?;
    let count = (y.len() / width).max(1);
    let mut mean = vec![0f64; width];
    for row in y.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v) / count as f64);
    }
    let mean: Vec<f32> = mean.into_iter().map(|m| m as f32).collect();
    let l = losses_between(model, [from, to], &text.test, dictionary, &mean)?;
    Ok(Judged {
        site: from.to_string(),
        to: (from != to).then(|| to.to_string()),
        latents: dictionary.shape.latents,
        rows: count,
        explained_variance: fidelity.explained(),
        l0: density.l0(),
        silent: density.dead(),
        density: density.histogram(0.5),
        decoder_cosine: Cosine::of(dictionary),
        loss: l.plain,
        loss_spliced: l.spliced.loss,
        loss_zero: l.zero.loss,
        loss_mean: l.mean.loss,
        recovered_from_zero: l.recovered_from_zero(),
        recovered_from_mean: l.recovered_from_mean(),
        kl_spliced: l.spliced.kl,
        kl_zero: l.zero.kl,
        kl_mean: l.mean.kl,
        kl_recovered_from_zero: l.kl_recovered_from_zero(),
        kl_recovered_from_mean: l.kl_recovered_from_mean(),
        test_windows: text.test.len(),
    })
}

/// Prints it.
pub(super) fn show(j: &Judged, out: &mut Out) -> Result<()> {
    let share = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
    let mut table = Table::new(&["", ""]);
    let mut line = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
    let to = j.to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
    line("site, latents", format!("{}{to}, {}", j.site, j.latents));
    line("test rows", format!("{} of {} windows", j.rows, j.test_windows));
    line("explained variance", share(j.explained_variance));
    line("L0", format!("{:.1}", j.l0));
    line("silent on these rows", format!("{:.1} %", 100.0 * j.silent));
    if let Some(Cosine { median, upper, doubled }) = &j.decoder_cosine {
        let doubled = 100.0 * doubled;
        line(
            "nearest decoder row",
            format!("cosine {median:.2} in the median, {upper:.2} for a tenth; {doubled:.1} % have a double"),
        );
    }
    line(
        "next-token loss",
        format!(
            "{:.3} plain, {:.3} spliced, {:.3} zero, {:.3} mean",
            j.loss, j.loss_spliced, j.loss_zero, j.loss_mean
        ),
    );
    line(
        "loss recovered",
        format!(
            "{} against zero, {} against mean",
            share(j.recovered_from_zero),
            share(j.recovered_from_mean)
        ),
    );
    line(
        "KL from plain",
        format!("{:.3} spliced, {:.3} zero, {:.3} mean", j.kl_spliced, j.kl_zero, j.kl_mean),
    );
    let [zero, mean] = [j.kl_recovered_from_zero, j.kl_recovered_from_mean].map(share);
    line("KL recovered", format!("{zero} against zero, {mean} against mean"));
    out.table(table)
}
