//! `--dictionary NAME=PATH[@SITE]`: latents as units of the model.

use crate::models::Loaded;
use anyhow::{Context, Result, bail, ensure};
use pellucid::core::Site;
use pellucid::dict::{Activation, Opened, open};
use pellucid::model::Attached;
use pellucid::scope::{DictionaryCard, DictionaryFiles};
use std::path::Path;
use std::sync::Arc;

/// Refuses a transcoder; `why` says what takes a dictionary that writes where it reads.
pub(crate) fn refuse_transcoder(opened: &Opened, why: &str) -> Result<()> {
    let Opened { dictionary, format, input, output } = opened;
    ensure!(
        dictionary.skip.is_none() && (output.is_none() || output == input),
        "this {format} dictionary is a transcoder{}; {why}",
        match (input, output) {
            (Some(input), Some(output)) => format!(" from {input} to {output}"),
            _ => String::new(),
        }
    );
    Ok(())
}

/// Refuses a dictionary whose files say that it stands elsewhere, unless it is wanted there all the same.
pub(crate) fn expect_site(opened: &Opened, site: Site, elsewhere: bool) -> Result<()> {
    let (named, format) = (named_site(opened), opened.format);
    ensure!(
        elsewhere || named.is_none_or(|named| named == site),
        "this {format} dictionary says that it reads {}, and --site is {site}; give that site, or --elsewhere to judge it \
         here all the same",
        named.map_or_else(String::new, |named| named.to_string())
    );
    Ok(())
}

/// Where a dictionary's files say that it stands. Names that are not ours say nothing.
pub(crate) fn named_site(opened: &Opened) -> Option<Site> {
    opened.input.as_deref().and_then(|name| name.parse().ok())
}

/// Reads a dictionary and gives it to the model.
pub(crate) fn attach(loaded: &mut Loaded, argument: &str) -> Result<()> {
    let Some((name, place)) =
        argument.split_once('=').filter(|(name, place)| !name.is_empty() && !place.is_empty())
    else {
        bail!(
            "--dictionary {argument}: expected NAME=PATH, or NAME=PATH@SITE, such as mine=folder@resid_post.15"
        );
    };
    // a path may hold an @ of its own
    let (path, said) = match place.rsplit_once('@').map(|(path, site)| (path, site.parse::<Site>())) {
        Some((path, Ok(site))) if !Path::new(place).exists() => (path, Some(site)),
        _ => (place, None),
    };
    let opened = open(Path::new(path)).context(format!("--dictionary {name}"))?;
    refuse_transcoder(&opened, "its latents can be units only where it writes what it reads")
        .context(format!("--dictionary {name}"))?;
    let named = named_site(&opened);
    let Opened { dictionary, format, input, .. } = opened;
    let Some(site) = said.or(named) else {
        let says = input.map_or_else(|| "nothing".to_owned(), |input| format!("{input:?}"));
        bail!(
            "--dictionary {name}: the files say {says} about where this {format} dictionary stands; say it: \
             --dictionary {name}={path}@resid_post.15"
        );
    };
    let files = DictionaryFiles {
        path: Path::new(path).to_owned(),
        format: format.to_string(),
        activation: activation(&dictionary.activation),
        card: DictionaryCard::beside(Path::new(path)),
    };
    let (hash, latents) = (dictionary.fingerprint(), Arc::new(dictionary));
    loaded.model.attach(Attached { name: name.to_owned(), site, hash, latents })?;
    loaded.keep_files(name, files);
    Ok(())
}

/// What makes latents active, for a reader.
fn activation(of: &Activation) -> String {
    match of {
        Activation::ReLU => "ReLU".to_owned(),
        Activation::TopK { k } => format!("TopK, k = {k}"),
        Activation::BatchTopK { k, .. } => format!("BatchTopK, k = {k} on average"),
        Activation::JumpReLU { .. } => "JumpReLU".to_owned(),
        Activation::Gated { .. } => "gated".to_owned(),
    }
}
