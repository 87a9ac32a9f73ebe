//! `pellucid docs points`: every point with its meaning and its names in other tools.

use crate::show::Out;
use anyhow::Result;
use pellucid::core::{HfFamily, Point, Site, hugging_face_name, transformer_lens_name};
use std::fmt::Write;

const FAMILIES: [(&str, HfFamily); 4] = [
    ("llama and most others", HfFamily::Llama),
    ("Gemma 2 and 3", HfFamily::Sandwich),
    ("GPT-2", HfFamily::Gpt2),
    ("GPT-NeoX, Pythia", HfFamily::NeoX),
];

pub(crate) fn run(out: &mut Out) -> Result<()> {
    let mut page = String::from(
        "# Points\n\nThe named places of a model, in the order in which a run reaches them. A point in a layer is a *site*, \
         written `mlp_act.3`. The spellings of TransformerLens and of Hugging Face (a module with `.input` or `.output`) are \
         accepted wherever a site is; they are shown here for layer 3. Written by `cargo xtask docs points`.\n\n\
         | point | what stands there | TransformerLens |\n| --- | --- | --- |\n",
    );
    for &point in Point::ALL {
        let lens = transformer_lens_name(Site::new(point, 3)).map_or_else(String::new, |n| format!("`{n}`"));
        writeln!(page, "| `{point}` | {} | {lens} |", point.doc())?;
    }
    page.push_str("\n## Hugging Face modules\n");
    for (title, family) in FAMILIES {
        write!(page, "\n### {title}\n\n| point | module |\n| --- | --- |\n")?;
        for &point in Point::ALL {
            if let Some(name) = hugging_face_name(Site::new(point, 3), family) {
                writeln!(page, "| `{point}` | `{name}` |")?;
            }
        }
    }
    out.raw(&page)
}
