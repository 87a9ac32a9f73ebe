//! Threads that stay awake between short pieces of work: one token's products last tens of microseconds each, and a thread
//! that has gone to sleep takes as long to wake. A thread of the team looks for work a moment longer, then sleeps.

#![allow(unsafe_code)] // work that outlives its borrow for as long as it runs: with its argument

use rayon::prelude::*;
use std::any::Any;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread looks for work before it sleeps.
const AWAKE: Duration = Duration::from_micros(100);

/// Looks between two looks at the clock.
const LOOKS: usize = 256;

/// Work that is shared out, while somebody waits for it.
struct Work<'a> {
    run: &'a (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    /// What the first task that panicked did so with.
    panicked: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Work<'_> {
    /// Runs tasks until none is left.
    fn help(&self) {
        while let at = self.next.fetch_add(1, SeqCst)
            && at < self.tasks
        {
            if let Err(why) = catch_unwind(AssertUnwindSafe(|| (self.run)(at))) {
                self.panicked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            }
        }
    }
}

struct Team {
    helpers: usize,
    /// The work that may be entered, or null.
    open: AtomicPtr<Work<'static>>,
    /// Helpers that have entered, or are about to look whether they may.
    inside: AtomicUsize,
    asleep: AtomicUsize,
    door: Mutex<()>,
    bell: Condvar,
    /// Held by who shares out.
    turn: Mutex<()>,
}

static TEAM: OnceLock<Team> = OnceLock::new();

/// The team, whose threads begin with the first who asks: one less than the current pool of rayon has.
fn team() -> &'static Team {
    let mut first = false;
    let team = TEAM.get_or_init(|| {
        first = true;
        Team {
            helpers: rayon::current_num_threads() - 1,
            open: AtomicPtr::new(std::ptr::null_mut()),
            inside: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            door: Mutex::new(()),
            bell: Condvar::new(),
            turn: Mutex::new(()),
        }
    });
    if first {
        for _ in 0..team.helpers {
            // where a thread cannot be had, the others do its part
            let _ = std::thread::Builder::new().name("team".to_owned()).spawn(|| team.wait_and_help());
        }
    }
    team
}

impl Team {
    fn wait_and_help(&self) {
        let mut since = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if !self.open.load(SeqCst).is_null() {
                    self.enter();
                    since = Instant::now();
                }
                spin_loop();
            }
            if since.elapsed() > AWAKE {
                self.sleep();
                since = Instant::now();
            }
        }
    }

    fn enter(&self) {
        self.inside.fetch_add(1, SeqCst);
        // Only who is counted looks: whoever takes the work away does so first and then waits until nobody is counted.
        // SAFETY: what is open stays until then (`share_out`).
        if let Some(work) = unsafe { self.open.load(SeqCst).as_ref() } {
            work.help();
        }
        self.inside.fetch_sub(1, SeqCst);
    }

    fn sleep(&self) {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_add(1, SeqCst);
        let closed = |_: &mut ()| self.open.load(SeqCst).is_null();
        drop(self.bell.wait_while(door, closed));
        self.asleep.fetch_sub(1, SeqCst);
    }

    fn wake(&self) {
        if self.asleep.load(SeqCst) > 0 {
            // who has not begun to wait holds the door, and looks again when it has it
            drop(self.door.lock());
            self.bell.notify_all();
        }
    }
}

/// Runs `run(0)` to `run(tasks − 1)` on this thread and the team's, and returns when all have ended. If the team is at work for
/// somebody else, or the current pool of rayon has other threads than the team, it is rayon that shares out.
///
/// # Panics
/// If a task does.
pub fn share_out(tasks: usize, run: &(dyn Fn(usize) + Sync)) {
    let threads = rayon::current_num_threads();
    if threads == 1 || tasks <= 1 {
        return (0..tasks).for_each(run);
    }
    let team = team();
    let turn = team.turn.try_lock().ok().filter(|_| team.helpers + 1 == threads);
    let Some(turn) = turn else { return (0..tasks).into_par_iter().for_each(run) };
    let work = Work { run, tasks, next: AtomicUsize::new(0), panicked: Mutex::new(None) };
    // the lifetime is forgotten here, and kept by waiting below
    team.open.store((&raw const work).cast_mut().cast(), SeqCst);
    team.wake();
    work.help();
    team.open.store(std::ptr::null_mut(), SeqCst);
    while team.inside.load(SeqCst) > 0 {
        spin_loop();
    }
    drop(turn);
    if let Some(why) = work.panicked.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_whoever_asks_meanwhile() {
        // an interpreter that looks for undefined behaviour is some hundred times slower
        let times = if cfg!(miri) { 2 } else { 200 };
        let rounds = |tasks: usize| {
            for round in 0..times {
                let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                share_out(tasks, &|i| {
                    runs[i].fetch_add(1, SeqCst);
                });
                assert!(runs.iter().all(|r| r.load(SeqCst) == 1), "{tasks} tasks, round {round}");
                if round % 50 == 0 {
                    std::thread::sleep(2 * AWAKE);
                }
            }
        };
        std::thread::scope(|scope| {
            for tasks in [0, 1, 2, 7, 100] {
                scope.spawn(move || rounds(tasks));
            }
        });
    }

    #[test]
    fn a_panic_reaches_who_shared_out_and_the_team_goes_on() {
        let all = std::panic::catch_unwind(|| share_out(9, &|i| assert!(i != 5, "five")));
        assert!(all.is_err());
        let sum = AtomicUsize::new(0);
        share_out(9, &|i| {
            sum.fetch_add(i, SeqCst);
        });
        assert_eq!(sum.load(SeqCst), 36);
    }
}
