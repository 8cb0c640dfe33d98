//! Lets trials begin on a device while their memory, as estimated before, fits together.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::PATIENCE;

/// Kept free for what the driver takes beside what is asked for, one part in so many.
const MARGIN: u64 = 20;
/// What each worker holds whatever it trains: the driver's context, the kernels, cuBLAS's workspaces.
const WORKER: u64 = 800 << 20;

/// A device's memory, shared out among trials in the order in which they came.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    /// Those who wait, the first first.
    waiting: VecDeque<u64>,
    next: u64,
}

/// Why a trial is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It needs more than there is, in words.
    TooLarge(String),
    /// The user wants to stop.
    Stopped,
}

/// A trial's share, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share<'b> {
    budget: &'b Budget,
    bytes: u64,
}

impl Budget {
    /// Of `free` bytes what `workers` workers can share out.
    pub fn new(free: u64, workers: usize) -> Self {
        let held = WORKER.saturating_mul(workers as u64);
        Self {
            bytes: (free - free / MARGIN).saturating_sub(held),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until `bytes` are left and whoever came before is in.
    pub fn admit(&self, bytes: u64, stopped: impl Fn() -> bool) -> Result<Share<'_>, Refusal> {
        if bytes > self.bytes {
            let [needed, most] = [bytes, self.bytes].map(|it| it >> 20);
            return Err(Refusal::TooLarge(format!(
                "out of memory: the training needs about {needed} MiB on the GPU, and {most} MiB can be had; \
                 a smaller --batch or fewer --workers may help"
            )));
        }
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push_back(ticket);
        loop {
            let first = state.waiting.front() == Some(&ticket);
            if first && state.used + bytes <= self.bytes {
                state.waiting.pop_front();
                state.used += bytes;
                drop(state);
                self.changed.notify_all();
                return Ok(Share {
                    budget: self,
                    bytes,
                });
            }
            let waited = self.changed.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if stopped() {
                state.waiting.retain(|it| *it != ticket);
                drop(state);
                self.changed.notify_all();
                return Err(Refusal::Stopped);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked has left the state whole: every change is one statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.lock().used -= self.bytes;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn budget(bytes: u64) -> Budget {
        Budget {
            bytes,
            ..Budget::new(0, 0)
        }
    }

    #[test]
    fn what_workers_hold_and_a_margin_are_kept() {
        let gib = 1 << 30;
        assert_eq!(Budget::new(100 * gib, 4).bytes, 95 * gib - 4 * WORKER);
        assert_eq!(Budget::new(gib, 4).bytes, 0);
    }

    #[test]
    fn one_that_never_fits_is_refused_at_once() {
        let budget = budget(10 << 20);
        let Err(Refusal::TooLarge(reason)) = budget.admit(11 << 20, || false) else {
            panic!("admitted");
        };
        assert!(
            reason.contains("11 MiB") && reason.contains("10 MiB"),
            "{reason}"
        );
        assert!(budget.admit(10 << 20, || false).is_ok());
    }

    #[test]
    fn the_shares_never_exceed_the_budget() {
        let (budget, used, most) = (budget(10), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [3, 4, 5, 6, 10, 1, 2, 7] {
                let (budget, used, most) = (&budget, &used, &most);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let share = budget.admit(bytes, || false).unwrap();
                        let now = used.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        used.fetch_sub(bytes, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 10);
        assert_eq!(budget.lock().used, 0);
    }

    #[test]
    fn a_large_one_is_not_passed_by_later_small_ones() {
        let budget = budget(10);
        let held = budget.admit(5, || false).unwrap();
        std::thread::scope(|scope| {
            let large = scope.spawn(|| budget.admit(10, || false).map(drop));
            while budget.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            // It would fit, but came later.
            assert_eq!(budget.admit(1, || true).unwrap_err(), Refusal::Stopped);
            drop(held);
            assert_eq!(large.join().unwrap(), Ok(()));
        });
        assert!(budget.admit(10, || false).is_ok());
    }
}
