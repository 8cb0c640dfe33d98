//! How the element-wise and reducing kernels cut their work: parts that depend on shapes alone.
//!
//! A part is a run of consecutive rows. Which thread takes a part is left to chance, what is in it
//! is not, and sums over parts are taken in the order of the parts: so the bits of a result do not
//! depend on the number of threads.

use std::marker::PhantomData;
use std::ops::Range;

use crate::threads::{self, PART};

/// The cut of `rows` rows into parts of nearly `PART` numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    rows: usize,
    rows_per_part: usize,
}

impl Parts {
    /// Cuts `rows` rows of `width` numbers each.
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        let rows_per_part = (PART / width.max(1)).max(1);
        Self {
            rows,
            rows_per_part,
        }
    }

    /// The number of parts.
    pub(crate) fn count(&self) -> usize {
        self.rows.div_ceil(self.rows_per_part)
    }

    /// The rows of part `part`.
    pub(crate) fn rows(&self, part: usize) -> Range<usize> {
        let start = part * self.rows_per_part;
        start..(start + self.rows_per_part).min(self.rows)
    }

    /// The numbers of part `part`, where a row has `width` of them.
    pub(crate) fn range(&self, part: usize, width: usize) -> Range<usize> {
        let rows = self.rows(part);
        rows.start * width..rows.end * width
    }

    /// Calls `work` for every part, on the kernels' threads.
    pub(crate) fn for_each(&self, work: impl Fn(usize) + Sync + Send) {
        threads::for_each(self.count(), work);
    }

    /// Calls `work` for every part and gives the answers in the order of the parts.
    pub(crate) fn map<R: Send>(&self, work: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
        threads::map(self.count(), work)
    }
}

/// A slice that several threads write at once, each in its own ranges.
pub(crate) struct Shared<'a, E> {
    start: *mut E,
    length: usize,
    borrow: PhantomData<&'a mut [E]>,
}

// SAFETY: the only access is `slice`, whose caller promises that no two threads overlap.
unsafe impl<E: Send> Sync for Shared<'_, E> {}
// SAFETY: it stands for a `&mut [E]`, which may be sent where `E` may.
unsafe impl<E: Send> Send for Shared<'_, E> {}

impl<'a, E> Shared<'a, E> {
    /// Shares `slice` for as long as it is borrowed.
    pub(crate) fn new(slice: &'a mut [E]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            length: slice.len(),
            borrow: PhantomData,
        }
    }

    /// The numbers of `range`.
    ///
    /// # Safety
    /// While the answer lives, no other call may give an overlapping range.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [E] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: the range is within the borrowed slice, and the caller keeps ranges apart.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start)
        }
    }
}

/// The cut of a batch for work that must know the image: runs of rows of one image, or several
/// whole images where these are small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bands {
    images: usize,
    rows: usize,
    rows_per_band: usize,
    images_per_task: usize,
}

impl Bands {
    /// Cuts `images` images of `rows` rows, `width` numbers a row.
    pub(crate) fn new(images: usize, rows: usize, width: usize) -> Self {
        let (rows, width) = (rows.max(1), width.max(1));
        Self {
            images,
            rows,
            rows_per_band: (PART / width).clamp(1, rows),
            images_per_task: (PART / (rows * width)).max(1),
        }
    }

    /// Calls `work(image, rows)` for every band, on the kernels' threads.
    pub(crate) fn for_each(&self, work: impl Fn(usize, Range<usize>) + Sync + Send) {
        let bands = self.rows.div_ceil(self.rows_per_band);
        if bands == 1 {
            threads::for_each(self.images.div_ceil(self.images_per_task), |task| {
                let first = task * self.images_per_task;
                let end = (first + self.images_per_task).min(self.images);
                (first..end).for_each(|image| work(image, 0..self.rows));
            });
        } else {
            threads::for_each(self.images * bands, |task| {
                let first = task % bands * self.rows_per_band;
                let end = (first + self.rows_per_band).min(self.rows);
                work(task / bands, first..end);
            });
        }
    }
}
