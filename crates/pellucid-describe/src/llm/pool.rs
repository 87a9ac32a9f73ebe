//! Many questions at once, within limits: so many threads, so many tokens, and an end when the service is gone or
//! the user says stop. [`Meter`] sets the limits and counts the cost; [`ask_all`] asks in parallel.

use super::cache::{AnswerCache, AskHash};
use super::failure::ServiceFailure;
use pellucid_core::{Answer, Ask, Chat, ServiceError};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// What may be spent. No default: the numbers are the user's money and time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Most tokens read and written together, not counting cached answers; none for no limit. A question is not
    /// asked if its estimate (3 bytes a token, and the longest answer) would go beyond.
    pub token_budget: Option<u64>,
    /// After so many questions in a row that could not be delivered, no more are asked. At least 1.
    pub unreachable_in_a_row: usize,
}

/// Why no more questions are asked. The questions that were not asked carry this as their error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Stopped {
    /// The next question might go beyond the budget.
    #[error(
        "the token budget of {budget} is used up ({spent} spent); raise it and run again: what was answered is kept"
    )]
    Budget {
        /// The limit.
        budget: u64,
        /// Tokens read and written so far.
        spent: u64,
    },
    /// The user said stop.
    #[error("interrupted; what was answered is kept")]
    Interrupted,
    /// The service is gone.
    #[error(
        "{failures} questions in a row could not be delivered, so no more were asked; the last failure: {last}"
    )]
    Unreachable {
        /// How many.
        failures: usize,
        /// The last one's words.
        last: String,
    },
}

/// What has been asked and what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Questions that the service answered.
    pub answered: u64,
    /// Questions that the cache answered.
    pub cached: u64,
    /// Questions that failed.
    pub failed: u64,
    /// Tokens the service read.
    pub read: u64,
    /// Tokens the service wrote.
    pub written: u64,
}

/// The user's prices, in any currency, for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Of tokens read.
    pub read: f64,
    /// Of tokens written.
    pub written: f64,
}

impl Cost {
    /// What it cost at these prices.
    pub fn money(&self, price: Price) -> f64 {
        (self.read as f64 * price.read + self.written as f64 * price.written) / 1e6
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, cached, failed, read, written } = self;
        write!(
            f,
            "{answered} answered, {cached} from cache, {failed} failed; {read} tokens read, {written} written"
        )
    }
}

/// A language model with a cache before it, a budget and a brake. Itself a [`Chat`], so everything that asks can
/// be given one. Stopped once, it stays stopped: only the cache still answers.
pub struct Meter<'a> {
    chat: &'a dyn Chat,
    cache: Option<&'a AnswerCache>,
    limits: Limits,
    stop: &'a AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cost: Cost,
    /// Estimates of the questions under way.
    reserved: u64,
    down: usize,
    stopped: Option<Stopped>,
}

impl<'a> Meter<'a> {
    /// A meter before `chat`; setting `stop` ends it.
    pub fn new(
        chat: &'a dyn Chat,
        cache: Option<&'a AnswerCache>,
        limits: Limits,
        stop: &'a AtomicBool,
    ) -> Self {
        Self { chat, cache, limits, stop, state: Mutex::default() }
    }

    /// What was spent so far.
    pub fn cost(&self) -> Cost {
        self.state().cost
    }

    /// Why it asks no more, if so.
    pub fn stopped(&self) -> Option<Stopped> {
        self.state().stopped.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the question's estimate aside, or says why it may not be asked.
    fn reserve(&self, estimate: u64) -> Result<(), Stopped> {
        let mut state = self.state();
        if state.stopped.is_none() && self.stop.load(Ordering::Relaxed) {
            state.stopped = Some(Stopped::Interrupted);
        }
        if let Some(stopped) = &state.stopped {
            return Err(stopped.clone());
        }
        let spent = state.cost.read + state.cost.written;
        match self.limits.token_budget {
            Some(budget) if spent + state.reserved + estimate > budget => {
                let stopped = Stopped::Budget { budget, spent };
                state.stopped = Some(stopped.clone());
                Err(stopped)
            }
            _ => {
                state.reserved += estimate;
                Ok(())
            }
        }
    }

    fn settle(&self, estimate: u64, outcome: &Result<Answer, ServiceError>) {
        let mut state = self.state();
        state.reserved -= estimate;
        match outcome {
            Ok(answer) => {
                state.cost.answered += 1;
                state.cost.read += answer.prompt_tokens as u64;
                state.cost.written += answer.answer_tokens as u64;
                state.down = 0;
            }
            Err(error) => {
                state.cost.failed += 1;
                let is_down = error.downcast_ref::<ServiceFailure>().is_some_and(ServiceFailure::is_down);
                state.down = if is_down { state.down + 1 } else { 0 };
                if state.down >= self.limits.unreachable_in_a_row.max(1) && state.stopped.is_none() {
                    state.stopped =
                        Some(Stopped::Unreachable { failures: state.down, last: error.to_string() });
                }
            }
        }
    }
}

impl Chat for Meter<'_> {
    fn name(&self) -> &str {
        self.chat.name()
    }

    /// The errors are those of the model, and [`Stopped`].
    fn answer(&self, ask: &Ask) -> Result<Answer, ServiceError> {
        let key = AskHash::of(self.chat.name(), ask);
        if let Some(answer) = self.cache.and_then(|cache| cache.get(key)) {
            self.state().cost.cached += 1;
            return Ok(answer);
        }
        let estimate = estimate(ask);
        self.reserve(estimate)?;
        let outcome = self.chat.answer(ask);
        self.settle(estimate, &outcome);
        let answer = outcome?;
        if let Some(cache) = self.cache {
            cache.put(key, &answer)?;
        }
        Ok(answer)
    }
}

/// Tokens that a question may take, rather too many than too few.
fn estimate(ask: &Ask) -> u64 {
    let bytes: usize = ask.messages.iter().map(|m| m.content.len() + 12).sum();
    ((bytes + ask.prefill.len()).div_ceil(3) + ask.max_tokens) as u64
}

/// Asks all questions, `concurrency` at a time, and returns the answers in the order of the questions. Once an
/// answer is [`Stopped`], the rest is not asked and carries the same error. `progress` hears how many are done.
pub fn ask_all(
    chat: &dyn Chat,
    asks: &[Ask],
    concurrency: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Vec<Result<Answer, ServiceError>> {
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let halted: Mutex<Option<Stopped>> = Mutex::new(None);
    let slots: Vec<Mutex<Option<Result<Answer, ServiceError>>>> =
        asks.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some((ask, slot)) = take(&next, asks, &slots) {
            if lock(&halted).is_some() {
                return;
            }
            let outcome = chat.answer(ask);
            if let Err(error) = &outcome
                && let Some(stopped) = error.downcast_ref::<Stopped>()
            {
                lock(&halted).get_or_insert(stopped.clone());
            }
            *lock(slot) = Some(outcome);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let threads = concurrency.clamp(1, asks.len().max(1));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let rest = lock(&halted).clone().unwrap_or(Stopped::Interrupted);
    let outcome = |slot: Mutex<Option<_>>| slot.into_inner().unwrap_or_else(PoisonError::into_inner);
    slots.into_iter().map(|slot| outcome(slot).unwrap_or_else(|| Err(rest.clone().into()))).collect()
}

fn take<'a, T, S>(next: &AtomicUsize, items: &'a [T], slots: &'a [S]) -> Option<(&'a T, &'a S)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    items.get(i).zip(slots.get(i))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
