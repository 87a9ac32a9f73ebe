//! `pellucid run`: a prompt through the model, plain and, with edits, changed; side by side.

use super::watch::{self, Watch};
use crate::edits;
use crate::json::{Answer, Generated, Run, Sampling, Score, Scored, Token};
use crate::models::{Loaded, ModelArgs};
use crate::save;
use crate::show::{BOLD, DIM, Out, Table, percent, quoted, signed};
use crate::text::{Text, TextArgs};
use anyhow::{Context, Result, ensure};
use clap::Args;
use pellucid::core::{Point, Site};
use pellucid::model::{self, Apply, Generating, Row, sample};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Tokens of a chat's answer unless `--generate` says otherwise.
const CHAT_TOKENS: usize = 256;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Generate at most N tokens (a chat generates 256 by default; 0 shows its next tokens instead).
    #[arg(long, value_name = "N")]
    generate: Option<usize>,
    #[command(flatten)]
    draw: DrawArgs,
    /// How many next tokens to show.
    #[arg(long, default_value_t = 10, value_name = "K")]
    top: usize,
    /// Log-probability of each token of TEXT after the prompt.
    #[arg(long, value_name = "TEXT", conflicts_with = "generate", allow_hyphen_values = true)]
    score: Option<String>,
    /// Change the run: a JSON file of edits, PLACE=OP[@POSITIONS] such as mlp_act.3/1054=0, or
    /// concept("months and dates", k=500, strength=0) through the model's atlas. Repeatable.
    #[arg(long, value_name = "FILE|SPEC")]
    edit: Vec<String>,
    /// The model's atlas for concepts, if it is not the one in the cache.
    #[arg(long, value_name = "FILE")]
    atlas: Option<PathBuf>,
    /// Write the edits, with everything filled in, to a JSON file.
    #[arg(long, value_name = "FILE", requires = "edit")]
    save_edits: Option<PathBuf>,
    /// Show what stands at sites or units: mlp_act.3,z.5/h2,… TransformerLens and Hugging Face names work too.
    #[arg(long, value_name = "SITE,…", value_delimiter = ',')]
    watch: Vec<String>,
    /// Save the watched sites (of the edited run, if there are edits) as .safetensors or .npy.
    #[arg(long, value_name = "FILE", requires = "watch")]
    save: Option<PathBuf>,
}

/// How tokens are drawn.
#[derive(Args)]
struct DrawArgs {
    /// 0 always takes the likeliest token.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f32,
    /// Draw from the K likeliest tokens only.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the likeliest tokens that reach this probability together.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// Draw from tokens at least this likely, relative to the likeliest.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f32>,
    /// Penalty on tokens that are in the text already; 1 is none.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    repetition: f32,
    /// Makes draws repeatable.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End at this text. Repeatable.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
}

impl DrawArgs {
    fn generating(&self, max_tokens: usize) -> Generating {
        let sampling = sample::Sampling {
            repetition: self.repetition,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
        };
        Generating { sampling, stop: self.stop.clone(), ..Generating::greedy(max_tokens) }
    }
}

fn wire(how: &Generating) -> Sampling {
    let s = &how.sampling;
    Sampling {
        max_tokens: how.max_tokens,
        temperature: s.temperature,
        top_k: s.top_k,
        top_p: s.top_p,
        min_p: s.min_p,
        repetition: s.repetition,
        seed: s.seed,
        stop: how.stop.clone(),
    }
}

/// What is done with the text.
enum Task {
    Next(usize),
    Generate(Generating),
    Score(Vec<u32>),
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        // what is misspelled is said before a model is loaded
        let anywhere = |_: &str| Some(Site::new(Point::ResidPost, 0));
        edits::read_all(&self.edit, &anywhere)?;
        let sites = watch::sites(&watch::parse(&self.watch, &anywhere)?);
        if let Some(file) = &self.save {
            save::check(file, sites.len())?;
        }
        let (loaded, text) = self.text.read(&self.model)?;
        let mut list = edits::read_all(&self.edit, &|name| edits::site_of(&loaded, name))?;
        let watched = watch::parse(&self.watch, &|name| edits::site_of(&loaded, name))?;
        list.extend(edits::concepts(&self.edit, &loaded, self.atlas.as_deref())?);
        watch::check(&loaded, &watched)?;
        let apply = match self.edit.is_empty() {
            true => None,
            false => Some(edits::ready(&loaded, &text.row, &list)?),
        };
        if let (Some(file), Some(apply)) = (&self.save_edits, &apply) {
            edits::save(apply, file)?;
        }
        let task = self.task(&loaded)?;
        let job = Job { loaded: &loaded, text: &text, task: &task, watched: &watched };
        let label = |name: &str| if apply.is_some() { Some(name.to_owned()) } else { None };
        let saved_plain = self.save.as_ref().filter(|_| apply.is_none());
        let plain = job.answer(None, label("plain"), saved_plain, out)?;
        let edited = match &apply {
            Some(a) => Some(job.answer(Some(a), label("edited"), self.save.as_ref(), out)?),
            None => None,
        };
        let sampling = if let Task::Generate(how) = &task { Some(wire(how)) } else { None };
        let edits = apply.iter().flat_map(Apply::edits).cloned().collect();
        let result = Run { prompt: text.tokens.clone(), sampling, edits, plain, edited };
        if !out.json("run", Some(&loaded), &result)? {
            show(&result, out)?;
        }
        Ok(())
    }

    fn task(&self, loaded: &Loaded) -> Result<Task> {
        if let Some(text) = &self.score {
            let ids = loaded.model.tokenizer().encode(text, false)?.ids;
            ensure!(!ids.is_empty(), "the text to score has no tokens");
            return Ok(Task::Score(ids));
        }
        let chat = if self.text.is_chat() { CHAT_TOKENS } else { 0 };
        Ok(match self.generate.unwrap_or(chat) {
            0 => Task::Next(self.top),
            n => Task::Generate(self.draw.generating(n)),
        })
    }
}

/// A text and what to do with it.
struct Job<'a> {
    loaded: &'a Loaded,
    text: &'a Text,
    task: &'a Task,
    watched: &'a [Watch],
}

impl Job<'_> {
    /// One run of the task, plain or with edits; generated text is shown while it comes.
    fn answer(
        &self,
        apply: Option<&Apply>,
        label: Option<String>,
        save: Option<&PathBuf>,
        out: &mut Out,
    ) -> Result<Answer> {
        let model = &self.loaded.model;
        let mut answer = Answer::default();
        let mut row = self.text.row.clone();
        match self.task {
            Task::Next(top) => {
                let logits = model.next_logits(&row, &mut *edits::tap(apply))?;
                answer.log_probs = sample::log_softmax(&logits);
                let likeliest = sample::top_k(&answer.log_probs, *top).into_iter();
                let scored = likeliest.map(|(id, p)| Scored::new(self.loaded.token(id as u32), p));
                answer.next = Some(scored.collect());
            }
            Task::Generate(how) => {
                let generated = self.generate(how, apply, label, out)?;
                row.horizon += how.max_tokens.min(model.spec().context.saturating_sub(row.tokens.len()));
                row.tokens.extend(generated.tokens.iter().map(|t| t.token.id));
                answer.generation = Some(generated);
            }
            Task::Score(ids) => {
                row.tokens.extend(ids);
                row.horizon = row.tokens.len();
                answer.score = Some(self.score(&row, apply)?);
            }
        }
        if !self.watched.is_empty() {
            let seen = watch::run(self.loaded, row, self.watched, &mut *edits::tap(apply))?;
            if let Some(file) = save {
                save::save(file, model, &seen.values)?;
            }
            answer.watch = seen.shown;
        }
        Ok(answer)
    }

    fn generate(
        &self,
        how: &Generating,
        apply: Option<&Apply>,
        label: Option<String>,
        out: &mut Out,
    ) -> Result<Generated> {
        if let Some(label) = label {
            out.heading(label)?;
        }
        let (mut failure, mut shown) = (None, 0);
        let mut each = |step: &model::Step| {
            shown += step.text.len();
            match out.piece(&step.text) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let prompt = &self.text.row;
        let generation = self.loaded.model.generate(prompt, how, &mut *edits::tap(apply), &mut each)?;
        if let Some(error) = failure {
            return Err(error);
        }
        // text held back until the end came too late for `each`
        out.piece(generation.text.get(shown..).unwrap_or_default())?;
        out.line("")?;
        let generated = Generated::new(&generation, |id| self.loaded.token(id));
        if generated.ended != "end_of_text" && generated.ended != "stop_text" {
            let n = generated.tokens.len();
            out.line(format!("{DIM}({n} tokens; ended by {}){DIM:#}", generated.ended))?;
        }
        Ok(generated)
    }

    fn score(&self, row: &Row, apply: Option<&Apply>) -> Result<Score> {
        let all = self.loaded.model.log_probs(row, &mut *edits::tap(apply))?;
        let scored = row.tokens.iter().zip(all).skip(row.prompt);
        let scored = scored.map(|(&id, p)| Some(Scored::new(self.loaded.token(id), p?)));
        let tokens: Vec<Scored> =
            scored.collect::<Option<_>>().context("the prompt before the text is empty")?;
        Ok(Score { log_prob: tokens.iter().map(|t| f64::from(t.log_prob)).sum(), tokens })
    }
}

fn show(result: &Run, out: &mut Out) -> Result<()> {
    let edited = result.edited.as_ref();
    if result.plain.next.is_some() {
        next(&result.plain, edited, out)?;
    }
    if let Some(plain) = &result.plain.score {
        score(plain, edited.and_then(|e| e.score.as_ref()), out)?;
    }
    for (label, answer) in [("plain", Some(&result.plain)), ("edited", edited)] {
        let label = if edited.is_some() { format!(" ({label})") } else { String::new() };
        for watched in answer.iter().flat_map(|a| &a.watch) {
            watch::show(watched, &label, out)?;
        }
    }
    Ok(())
}

/// Next tokens; with edits those of both runs, in one table with the change.
fn next(plain: &Answer, edited: Option<&Answer>, out: &mut Out) -> Result<()> {
    let listed = |a: &Answer| a.next.iter().flatten().map(|t| t.token.clone()).collect::<Vec<_>>();
    let Some(edited) = edited else {
        let mut table = Table::new(&["next token", ">probability", ">log-prob", ">id"]);
        for t in plain.next.iter().flatten() {
            let (p, l) = (percent(t.probability), format!("{:.3}", t.log_prob));
            table.row(vec![quoted(&t.token.text), p, l, t.token.id.to_string()]);
        }
        return out.table(table);
    };
    let p = |answer: &Answer, id: u32| answer.log_probs.get(id as usize).map_or(0.0, |l| f64::from(*l).exp());
    let mut tokens = listed(plain);
    tokens.extend(listed(edited));
    tokens.sort_by(|a, b| {
        let larger = |t: &Token| p(plain, t.id).max(p(edited, t.id));
        larger(b).total_cmp(&larger(a)).then(a.id.cmp(&b.id))
    });
    tokens.dedup_by_key(|t| t.id);
    let mut table = Table::new(&["next token", ">plain", ">edited", ">change", ">id"]);
    for t in tokens {
        let (before, after) = (p(plain, t.id), p(edited, t.id));
        let change = format!("{:+.2}", (after - before) * 100.0);
        table.row(vec![quoted(&t.text), percent(before), percent(after), change, t.id.to_string()]);
    }
    out.table(table)?;
    out.line(format!("{DIM}change in percentage points{DIM:#}"))
}

fn score(plain: &Score, edited: Option<&Score>, out: &mut Out) -> Result<()> {
    let mut table = match edited {
        None => Table::new(&["token", ">log-prob", ">probability"]),
        Some(_) => Table::new(&["token", ">log-prob", ">probability", ">edited log-prob", ">change"]),
    };
    for (i, t) in plain.tokens.iter().enumerate() {
        let mut row = vec![quoted(&t.token.text), format!("{:.3}", t.log_prob), percent(t.probability)];
        if let Some(e) = edited.and_then(|e| e.tokens.get(i)) {
            row.push(format!("{:.3}", e.log_prob));
            row.push(signed(f64::from(e.log_prob - t.log_prob)));
        }
        table.row(row);
    }
    out.table(table)?;
    let after = edited.map_or_else(String::new, |e| format!(", edited {:.3}", e.log_prob));
    out.line(format!("{BOLD}log-probability in all: {:.3}{after}{BOLD:#}", plain.log_prob))
}
