//! The threads that kernels run on, and how work is cut for them.
//!
//! Results must be the same bits for any number of threads. So the cut into tasks is a function of
//! shapes alone, each task writes its own part of the output, and partial sums are kept per task and
//! added in the order of the tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, buffers};

/// `None`: not asked for yet; rayon's global pool serves.
static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

/// Sets the number of threads of all kernels in this process; 0 means one for each core.
///
/// # Errors
/// [`Error::Threads`] if the system does not grant them.
pub fn set_threads(threads: usize) -> Result<(), Error> {
    buffers::prepare_allocator();
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("kernel-{i}"))
        .build()
        .map_err(|error| Error::Threads {
            threads,
            reason: error.to_string(),
        })?;
    *POOL.write().unwrap_or_else(|e| e.into_inner()) = Some(Arc::new(pool));
    Ok(())
}

/// The number of threads that kernels run on.
pub fn threads() -> usize {
    pool().map_or_else(rayon::current_num_threads, |p| p.current_num_threads())
}

/// Calls `task(i)` once for each `i` in `0..tasks`, in any order, on the kernels' threads.
pub fn for_each(tasks: usize, task: impl Fn(usize) + Sync + Send) {
    if tasks <= 1 || threads() == 1 {
        return (0..tasks).for_each(task);
    }
    run(|| (0..tasks).into_par_iter().with_max_len(1).for_each(task));
}

/// The results of `task(i)` for `i` in `0..tasks`, in order.
pub fn map<R: Send>(tasks: usize, task: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    if tasks <= 1 || threads() == 1 {
        return (0..tasks).map(task).collect();
    }
    run(|| {
        (0..tasks)
            .into_par_iter()
            .with_max_len(1)
            .map(task)
            .collect()
    })
}

/// Calls `task(i, part)` for each part of `data`: consecutive parts of `size` elements, the last
/// perhaps shorter.
pub fn for_each_part(
    data: &mut [f32],
    size: usize,
    task: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    let size = size.max(1);
    if data.len() <= size || threads() == 1 {
        return data
            .chunks_mut(size)
            .enumerate()
            .for_each(|(i, part)| task(i, part));
    }
    run(|| {
        data.par_chunks_mut(size)
            .enumerate()
            .with_max_len(1)
            .for_each(|(i, part)| task(i, part));
    });
}

/// Runs `work` inside the pool, so that rayon's iterators in it use the pool's threads.
pub fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match pool() {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// Runs `work`, of many short parallel pieces, on one of the kernels' threads while the others look out for
/// the next piece: to be put to sleep and woken for each would cost more than many of them take.
///
/// A thread that comes to look out after the work has begun goes away again: it may have come from within a
/// piece that the work waits for, and the piece would then wait for the work. So whatever is waited for here
/// began later than what waits, and no two can wait for each other, however many call this at once.
pub fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if threads() == 1 {
        return work();
    }
    run(|| {
        let watch = Arc::new(Watch::default());
        let (for_others, leader) = (watch.clone(), rayon::current_thread_index());
        rayon::spawn_broadcast(move |thread| {
            if leader != Some(thread.index()) {
                for_others.look_out();
            }
        });
        watch.begin(rayon::current_num_threads() - usize::from(leader.is_some()));
        // Said when this ends, however it does.
        let _said = End(&watch);
        work()
    })
}

/// What threads that stay awake for some work know of it: how many they are while it has not begun, then
/// whether it is at work or over.
#[derive(Default)]
struct Watch(AtomicUsize);

/// In [`Watch`]: the work has begun. Less than this: so many threads look out.
const AT_WORK: usize = usize::MAX - 1;
/// In [`Watch`]: the work is over.
const OVER: usize = usize::MAX;

impl Watch {
    /// Waits a little for `others` to look out, and has nobody join from then on.
    fn begin(&self, others: usize) {
        let patience = Instant::now() + PATIENCE;
        while self.0.load(Ordering::Acquire) < others && Instant::now() < patience {
            std::hint::spin_loop();
        }
        self.0.store(AT_WORK, Ordering::Release);
    }

    /// Takes part in what other threads do until the work is over; nothing if it has begun.
    fn look_out(&self) {
        let joined = (self.0).fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state < AT_WORK).then_some(state + 1)
        });
        if joined.is_err() {
            return;
        }
        let mut idle = 0;
        while self.0.load(Ordering::Acquire) != OVER {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                idle = 0;
            } else if idle < SPINS {
                idle += 1;
                (0..32).for_each(|_| std::hint::spin_loop());
            } else {
                // The core may have other work.
                std::thread::yield_now();
            }
        }
    }
}

/// How long work waits at most for threads to come and look out. Who comes later sleeps and is woken as ever.
const PATIENCE: Duration = Duration::from_micros(200);

/// How often a thread without work looks for some before it lets others have the core in between.
const SPINS: usize = 1000;

struct End<'a>(&'a Watch);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.0.store(OVER, Ordering::Release);
    }
}

/// Elements that one task of an elementwise pass handles: enough to outweigh the cost of handing a
/// task out, few enough that its data stay in a core's second-level cache.
pub const PART: usize = 32 * 1024;

fn pool() -> Option<Arc<ThreadPool>> {
    POOL.read().unwrap_or_else(|e| e.into_inner()).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        assert_eq!(map(5, |i| i * i), [0, 1, 4, 9, 16]);
    }

    #[test]
    fn work_is_shared_while_all_are_awake() {
        let sum = |n: usize| map(8, |i| i * n).iter().sum::<usize>();
        let sums: Vec<usize> = awake(|| (0..50).map(sum).collect());
        assert_eq!(sums, (0..50).map(|n| 28 * n).collect::<Vec<_>>());
    }

    #[test]
    fn callers_at_once_do_not_wait_for_each_other() {
        let (done, all) = std::sync::mpsc::channel();
        for seed in 0..6_u64 {
            let done = done.clone();
            std::thread::spawn(move || {
                let piece = |i: usize| {
                    let turns = (i as u64 * 7919 + seed * 104_729) % 97;
                    (0..turns).for_each(|_| std::hint::spin_loop());
                };
                let inner = |i: usize| drop(map(4, |j| piece(i * 31 + j)));
                for step in 0..2000 {
                    awake(|| (0..8).for_each(|k| for_each(6, |i| inner(step * 101 + k * 17 + i))));
                }
                done.send(()).expect("waited for");
            });
        }
        for _ in 0..6 {
            // Some seconds, or never.
            all.recv_timeout(Duration::from_secs(60)).expect("it ends");
        }
    }

    #[test]
    fn a_panic_lets_all_sleep() {
        let ended = std::panic::catch_unwind(|| awake(|| panic!("of the test")));
        assert!(ended.is_err());
        assert_eq!(awake(|| map(2, |i| i)), [0, 1]);
    }

    #[test]
    fn parts_cover_the_data_once() {
        let mut data = vec![0.0; 10];
        for_each_part(&mut data, 4, |i, part| {
            part.iter_mut().for_each(|v| *v += 1.0 + i as f32);
        });
        assert_eq!(data, [1., 1., 1., 1., 2., 2., 2., 2., 3., 3.]);
    }
}
