//! Turns: so many runs at a time, the others wait, and those who wait are served client by client, so that one who asks
//! much does not keep the others from asking at all. Where too many wait, a request is refused at once instead of piled up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Who asks: one browser tab or program.
pub(crate) type Client = String;

/// The queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    running: usize,
    at_a_time: usize,
    waiting: HashMap<Client, VecDeque<oneshot::Sender<Turn>>>,
    /// Clients that wait, in the order of their next turn.
    order: VecDeque<Client>,
    waits: usize,
    most: usize,
    most_each: usize,
}

/// A turn; the next one begins when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Queue);

/// Too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Whether it is this client alone who has asked too much.
    pub(crate) yours: bool,
}

/// How busy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) capacity: usize,
}

impl Queue {
    /// `at_a_time` runs, at most `most` waiting, `most_each` of one client.
    pub(crate) fn new(at_a_time: usize, most: usize, most_each: usize) -> Self {
        let (waiting, order) = (HashMap::new(), VecDeque::new());
        Queue(Arc::new(Mutex::new(State {
            running: 0,
            at_a_time,
            waiting,
            order,
            waits: 0,
            most,
            most_each,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // every change is whole before anything can panic
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn. A wait that is given up (the request was dropped) passes its turn on.
    pub(crate) async fn turn(&self, client: &str) -> Result<Turn, Full> {
        let receiver = {
            let mut state = self.state();
            if state.running < state.at_a_time && state.waits == 0 {
                state.running += 1;
                return Ok(Turn(self.clone()));
            }
            let mine = state.waiting.get(client).map_or(0, VecDeque::len);
            if mine >= state.most_each || state.waits >= state.most {
                return Err(Full { yours: mine >= state.most_each });
            }
            let (sender, receiver) = oneshot::channel();
            if mine == 0 {
                state.order.push_back(client.to_owned());
            }
            state.waiting.entry(client.to_owned()).or_default().push_back(sender);
            state.waits += 1;
            receiver
        };
        // the queue itself holds the other end, so it is gone only if the queue is
        receiver.await.map_err(|_| Full { yours: false })
    }

    /// Gives turns away while there are any.
    fn pass_on(&self) {
        loop {
            let next = {
                let mut state = self.state();
                if state.running >= state.at_a_time {
                    return;
                }
                let Some(next) = state.next() else { return };
                state.running += 1;
                next
            };
            // one who has left gives the turn back at once, by dropping it
            let _ = next.send(Turn(self.clone()));
        }
    }

    /// How busy it is.
    pub(crate) fn load(&self) -> Load {
        let state = self.state();
        Load { running: state.running, waiting: state.waits, capacity: state.most }
    }
}

impl State {
    /// The next in turn: clients one after the other, each one's requests in their order.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(client) = self.order.pop_front() {
            let Some(queue) = self.waiting.get_mut(&client) else { continue };
            // those who have left do not cost the client its turn
            let mut next = None;
            while let Some(waiting) = queue.pop_front() {
                self.waits -= 1;
                if !waiting.is_closed() {
                    next = Some(waiting);
                    break;
                }
            }
            if queue.is_empty() {
                self.waiting.remove(&client);
            } else {
                self.order.push_back(client);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.0.state();
            state.running = state.running.saturating_sub(1);
        }
        self.0.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// Waits for a turn, writes down whose it was, and ends it.
    fn ask(
        queue: &Queue,
        client: &'static str,
        log: &Arc<Mutex<Vec<&'static str>>>,
    ) -> tokio::task::JoinHandle<bool> {
        let (queue, log) = (queue.clone(), Arc::clone(log));
        tokio::spawn(async move {
            let turn = queue.turn(client).await;
            if turn.is_ok() {
                log.lock().unwrap().push(client);
            }
            turn.is_ok()
        })
    }

    #[test]
    fn clients_take_turns_however_much_one_of_them_asks() {
        runtime().block_on(async {
            let queue = Queue::new(1, 100, 50);
            let log = Arc::new(Mutex::new(Vec::new()));
            let held = queue.turn("other").await.unwrap();
            let mut asked: Vec<_> = (0..4).map(|_| ask(&queue, "greedy", &log)).collect();
            tokio::task::yield_now().await;
            asked.push(ask(&queue, "modest", &log));
            tokio::task::yield_now().await;
            assert_eq!(queue.load(), Load { running: 1, waiting: 5, capacity: 100 });
            drop(held);
            for one in asked {
                assert!(one.await.unwrap());
            }
            assert_eq!(*log.lock().unwrap(), ["greedy", "modest", "greedy", "greedy", "greedy"]);
            assert_eq!(queue.load(), Load { running: 0, waiting: 0, capacity: 100 });
        });
    }

    #[test]
    fn too_many_are_refused_and_those_who_leave_take_no_turn() {
        runtime().block_on(async {
            let queue = Queue::new(1, 3, 2);
            let log = Arc::new(Mutex::new(Vec::new()));
            let held = queue.turn("a").await.unwrap();
            let leaving = ask(&queue, "a", &log);
            let staying = ask(&queue, "a", &log);
            tokio::task::yield_now().await;
            assert_eq!(queue.turn("a").await.unwrap_err(), Full { yours: true });
            let third = ask(&queue, "b", &log);
            tokio::task::yield_now().await;
            assert_eq!(queue.turn("c").await.unwrap_err(), Full { yours: false });
            leaving.abort();
            let _ = leaving.await;
            drop(held);
            assert!(staying.await.unwrap() && third.await.unwrap());
            assert_eq!(*log.lock().unwrap(), ["a", "b"]);
            assert_eq!(queue.load().running, 0);
        });
    }
}
