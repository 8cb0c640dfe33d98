//! Requests waiting for a free slot, and the rows that came of them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cellwright_ledger::Kind;

use crate::Error;
use crate::evaluator::{Request, Row};

/// What the slots share.
///
/// What the strategy waits for goes first; what nobody waits for (baselines) fills the slots that
/// would idle.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// Ends a queue; of [`Queue::ends`].
pub(super) struct Ends<'q>(&'q Queue);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.first.clear();
        state.later.clear();
        drop(state);
        self.0.close();
    }
}

#[derive(Default)]
struct State {
    first: VecDeque<Request>,
    later: VecDeque<Request>,
    under_way: usize,
    rows: Vec<Row>,
    error: Option<Error>,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A slot that panicked has left the state whole: every change is one statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds requests that somebody waits for.
    pub fn push(&self, requests: impl IntoIterator<Item = Request>) {
        self.lock().first.extend(requests);
        self.changed.notify_all();
    }

    /// Adds requests that nobody waits for.
    pub fn push_later(&self, requests: impl IntoIterator<Item = Request>) {
        self.lock().later.extend(requests);
        self.changed.notify_all();
    }

    /// The next request for a free slot; waits for one. None: there will be no more.
    pub fn next(&self) -> Option<Request> {
        let mut state = self.lock();
        loop {
            if state.error.is_some() {
                return None;
            }
            let request = state.first.pop_front().or_else(|| state.later.pop_front());
            if request.is_some() {
                state.under_way += 1;
                return request;
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A request has ended. The first error ends the queue.
    pub fn done(&self, result: Result<Row, Error>) {
        let mut state = self.lock();
        state.under_way -= 1;
        match result {
            Ok(row) => state.rows.push(row),
            Err(error) => state.error = state.error.take().or(Some(error)),
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until `enough` rows of a kind have come, and takes all rows that are there.
    ///
    /// # Errors
    /// The error that ended the queue.
    pub fn wait(&self, kind: Kind, enough: usize) -> Result<Vec<Row>, Error> {
        self.wait_until(|state| {
            state
                .rows
                .iter()
                .filter(|row| row.trial.kind == kind)
                .count()
                >= enough
        })
    }

    /// Closes the queue, waits until all that was pushed is done, and takes the rows.
    ///
    /// # Errors
    /// The error that ended the queue.
    pub fn finish(&self) -> Result<Vec<Row>, Error> {
        self.close();
        self.wait_until(|state| {
            state.under_way == 0 && state.first.is_empty() && state.later.is_empty()
        })
    }

    /// No more requests will come; slots that wait for one go home.
    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// A guard that ends the queue when it is dropped, in a panic too: what is still waiting is not begun.
    pub fn ends(&self) -> Ends<'_> {
        Ends(self)
    }

    fn wait_until(&self, enough: impl Fn(&State) -> bool) -> Result<Vec<Row>, Error> {
        let mut state = self.lock();
        loop {
            if let Some(error) = state.error.take() {
                // Left in place as well, so that no slot takes up another request.
                state.error = Some(Error::Stopped);
                return Err(error);
            }
            if enough(&state) {
                return Ok(std::mem::take(&mut state.rows));
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
