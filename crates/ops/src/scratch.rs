//! Working memory of a kernel's task: kept by each thread from task to task, so that it stays in
//! the thread's cache and costs no allocation.

use std::cell::RefCell;

/// A cache line of numbers; vector loads that cross a line cost double.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static KEPT: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `N` buffers of the given lengths, each at the start of a cache line. They hold
/// what earlier tasks left there.
pub(crate) fn with<const N: usize, R>(
    lengths: [usize; N],
    work: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    // A kernel may call another one inside `work`, so the memory is taken, not borrowed.
    let mut memory = KEPT
        .with(|kept| kept.borrow_mut().pop())
        .unwrap_or_default();
    let needed: usize = lengths.iter().map(|len| len.div_ceil(16)).sum();
    if memory.len() < needed {
        memory.resize(needed, Line([0.0; 16]));
    }
    let mut rest = memory.as_mut_slice();
    let parts = lengths.map(|len| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(len.div_ceil(16));
        rest = tail;
        // SAFETY: a Line is 16 f32 without padding, so `head` is at least `len` initialised f32,
        // and it is borrowed exclusively for as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(head.as_mut_ptr().cast::<f32>(), len) }
    });
    let result = work(parts);
    KEPT.with(|kept| kept.borrow_mut().push(memory));
    result
}

#[cfg(test)]
mod tests {
    #[test]
    fn buffers_are_aligned_and_apart() {
        super::with([5, 20], |[a, b]| {
            a.fill(1.0);
            b.fill(2.0);
            assert_eq!((a.len(), b.len()), (5, 20));
            assert_eq!(a.as_ptr() as usize % 64, 0);
            assert_eq!(b.as_ptr() as usize % 64, 0);
            assert!(a.iter().all(|&v| v == 1.0));
        });
    }
}
