//! The language model that a command asks: behind an address, or in this process; with its limits, its price and the
//! answers that were kept.

use crate::models::{Dtype, load};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::{Chat, Seed};
use pellucid::describe::llm::{
    AnswerCache, Cost, Endpoint, EndpointConfig, ExplainSettings, Limits, Meter, Patience, PrefillBy, Price,
    ScorerSettings,
};
use pellucid::model::LocalChat;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The variable of the key if it is set and no other is named.
const KEY: &str = "OPENAI_API_KEY";

/// A local model with fewer parameters gets the prompts for small models.
const SMALL: u64 = 1_500_000_000;

/// Which language model, and what it may cost.
#[derive(Args, Clone)]
pub(crate) struct LlmArgs {
    /// The address of an OpenAI-compatible server (http://localhost:8000), or local:MODEL to run one in this process.
    #[arg(long, value_name = "URL|local:MODEL")]
    llm: Option<String>,
    /// The model's name on that server.
    #[arg(long, value_name = "NAME")]
    llm_model: Option<String>,
    /// The environment variable that holds the server's key; OPENAI_API_KEY if it is set and none is named.
    #[arg(long, value_name = "NAME")]
    llm_key_env: Option<String>,
    /// Which prompts: for models that follow instructions, or for some hundred million parameters. By default what a
    /// local model's size says, and large for a server.
    #[arg(long, value_enum)]
    llm_prompts: Option<Size>,
    /// How a begun answer is given to a server: asked for in words, or as an unfinished message (vLLM and servers like
    /// it).
    #[arg(long, value_enum, default_value_t = Begin::Asking)]
    llm_prefill: Begin,
    /// Longest wait for one answer.
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS")]
    llm_timeout: f64,
    /// How often a question is tried where that may help.
    #[arg(long, default_value_t = 5, value_name = "N")]
    llm_attempts: usize,
    /// Examples of each kind that a description is judged on; by default 5, and 2 where every token is a question.
    #[arg(long, value_name = "N")]
    examples: Option<usize>,
    /// Units asked about at a time; 4 on a server and 1 in this process if not given.
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// Stop before more than so many tokens are read and written together.
    #[arg(long, value_name = "N")]
    budget_tokens: Option<u64>,
    /// Price of a million tokens read, to say what it cost.
    #[arg(long, value_name = "PRICE")]
    price_read: Option<f64>,
    /// Price of a million tokens written.
    #[arg(long, value_name = "PRICE")]
    price_written: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    Small,
    Large,
}

#[derive(Clone, Copy, ValueEnum)]
enum Begin {
    Asking,
    Continuing,
}

/// A language model ready to be asked.
pub(crate) struct Service {
    chat: Box<dyn Chat>,
    cache: AnswerCache,
    small: bool,
    examples: Option<usize>,
    concurrency: usize,
    limits: Limits,
    price: Option<Price>,
}

/// What asking came to, on the wire.
#[derive(Debug, Serialize)]
pub(crate) struct Spent {
    model: String,
    answered: u64,
    cached: u64,
    failed: u64,
    tokens_read: u64,
    tokens_written: u64,
    /// At the prices that were given.
    money: Option<f64>,
}

/// Where an atlas's answers are kept.
fn answers(atlas: &Path) -> PathBuf {
    let mut path = atlas.as_os_str().to_owned();
    path.push(".answers");
    PathBuf::from(path)
}

impl LlmArgs {
    /// Whether a model was named.
    pub(crate) fn is_given(&self) -> bool {
        self.llm.is_some()
    }

    /// The model, with the answers that lie beside the atlas.
    pub(crate) fn service(&self, atlas: &Path) -> Result<Service> {
        let llm = self.llm.as_deref().context(
            "which language model? give --llm http://… with --llm-model NAME, or --llm local:MODEL",
        )?;
        for (name, price) in [("--price-read", self.price_read), ("--price-written", self.price_written)] {
            ensure!(price.is_none_or(|p| p.is_finite() && p >= 0.0), "{name}: expected a price of 0 or more");
        }
        let (chat, small, concurrency): (Box<dyn Chat>, bool, usize) = match llm.strip_prefix("local:") {
            Some(model) => {
                let chat = self.local(model)?;
                let small = chat.model().parameters() < SMALL;
                (Box::new(chat), small, 1)
            }
            None => (Box::new(self.endpoint(llm)?), false, 4),
        };
        let path = answers(atlas);
        let cache = AnswerCache::open(&path).context("the answers cannot be kept beside the atlas")?;
        if cache.damaged() > 0 {
            eprintln!("{} answers in {} cannot be read and are asked again", cache.damaged(), path.display());
        }
        let price = (self.price_read.is_some() || self.price_written.is_some()).then(|| Price {
            read: self.price_read.unwrap_or(0.0),
            written: self.price_written.unwrap_or(0.0),
        });
        Ok(Service {
            chat,
            cache,
            small: self.llm_prompts.map_or(small, |size| size == Size::Small),
            examples: self.examples,
            concurrency: self.concurrency.unwrap_or(concurrency).max(1),
            limits: Limits { token_budget: self.budget_tokens, unreachable_in_a_row: 2 },
            price,
        })
    }

    fn local(&self, model: &str) -> Result<LocalChat> {
        ensure!(!model.is_empty(), "--llm local: names no model; write local:smollm2 or local:PATH");
        ensure!(
            self.llm_model.is_none() && self.llm_key_env.is_none(),
            "--llm-model and --llm-key-env belong to a server; --llm local:{model} has neither"
        );
        let loaded = load(model, Dtype::F32).with_context(|| format!("cannot load --llm local:{model}"))?;
        Ok(LocalChat::new(loaded.model, &loaded.name))
    }

    fn endpoint(&self, base: &str) -> Result<Endpoint> {
        let Some(model) = &self.llm_model else {
            bail!("--llm {base}: which model of that server? name it with --llm-model");
        };
        ensure!(
            self.llm_timeout.is_finite() && self.llm_timeout > 0.0,
            "--llm-timeout {}: expected seconds above 0",
            self.llm_timeout
        );
        let set = || std::env::var_os(KEY).is_some_and(|key| !key.is_empty());
        let config = EndpointConfig {
            key_variable: self.llm_key_env.clone().or_else(|| set().then(|| KEY.to_owned())),
            prefill: match self.llm_prefill {
                Begin::Asking => PrefillBy::Asking,
                Begin::Continuing => PrefillBy::Continuing,
            },
            patience: Patience {
                timeout: Duration::from_secs_f64(self.llm_timeout.min(1e6)),
                attempts: self.llm_attempts.max(1),
                ..Patience::default()
            },
            ..EndpointConfig::new(base, model)
        };
        Ok(Endpoint::new(config)?)
    }
}

/// Nobody interrupts: a process that is stopped loses nothing, since answers are on disk.
static STOP: AtomicBool = AtomicBool::new(false);

impl Service {
    /// The model behind its limits and its cache.
    pub(crate) fn meter(&self) -> Meter<'_> {
        Meter::new(self.chat.as_ref(), Some(&self.cache), self.limits, &STOP)
    }

    /// The model's name.
    pub(crate) fn name(&self) -> &str {
        self.chat.name()
    }

    /// Units at a time.
    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// How descriptions are asked for: `candidates` of them, if given.
    pub(crate) fn explaining(&self, seed: Seed, candidates: Option<usize>) -> ExplainSettings {
        let mut settings =
            if self.small { ExplainSettings::small(seed) } else { ExplainSettings::large(seed) };
        if let Some(wanted) = candidates {
            let last = settings.temperatures.last().copied().unwrap_or(0.0);
            settings.temperatures.resize(wanted, last);
        }
        settings
    }

    /// How descriptions are judged.
    pub(crate) fn judging(&self, seed: Seed) -> ScorerSettings {
        let settings = if self.small { ScorerSettings::small(seed) } else { ScorerSettings::large(seed) };
        match self.examples {
            Some(n) => ScorerSettings { simulated: n, classified: n, ..settings },
            None => settings,
        }
    }

    /// What was spent.
    pub(crate) fn spent(&self, cost: Cost) -> Spent {
        Spent {
            model: self.name().to_owned(),
            answered: cost.answered,
            cached: cost.cached,
            failed: cost.failed,
            tokens_read: cost.read,
            tokens_written: cost.written,
            money: self.price.map(|price| cost.money(price)),
        }
    }
}

impl Spent {
    /// One line for a person.
    pub(crate) fn line(&self) -> String {
        let money = self.money.map_or_else(String::new, |m| format!("; cost {m:.4}"));
        format!(
            "{}: {} questions answered, {} from kept answers, {} failed; {} tokens read, {} written{money}",
            self.model, self.answered, self.cached, self.failed, self.tokens_read, self.tokens_written
        )
    }
}

/// Works on all items, `threads` at a time, and gives the results in their order. With one thread it is this one, which
/// is part of the pool that a local model computes on.
pub(super) fn each<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return done };
            done.push((i, work(item)));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len().max(1))).map(|_| scope.spawn(take)).collect();
        let mut all = take();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(i, _)| *i);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn results_come_in_the_order_of_the_items_on_any_number_of_threads() {
        let items: Vec<u32> = (0..50).collect();
        for threads in [0, 1, 3, 80] {
            assert_eq!(each(&items, threads, |i| i * i), items.iter().map(|i| i * i).collect::<Vec<_>>());
        }
        assert!(each(&[] as &[u32], 4, |i| *i).is_empty());
    }
}
