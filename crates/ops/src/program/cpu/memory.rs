//! One block of numbers of which calls borrow parts.

use std::cell::UnsafeCell;

use super::super::Span;

/// The memory of a program.
#[derive(Debug)]
pub(super) struct Memory(Box<[UnsafeCell<f32>]>);

// SAFETY: shared references give `read` alone, which does not write; `part` is unsafe.
unsafe impl Sync for Memory {}

impl Memory {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        Self((0..len).map(|_| UnsafeCell::new(0.0)).collect())
    }

    /// A part, read.
    pub fn read(&self, span: Span) -> &[f32] {
        // SAFETY: parts that are written end before a shared borrow of the memory begins.
        unsafe { &*self.part(span) }
    }

    /// A part, to write.
    pub fn write(&mut self, span: Span) -> &mut [f32] {
        // SAFETY: the memory is borrowed exclusively.
        unsafe { self.part(span) }
    }

    /// A part.
    ///
    /// # Safety
    /// While the answer lives, nothing else reads or writes an overlapping part, unless both only
    /// read; and it does not outlive the memory.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part<'a>(&self, span: Span) -> &'a mut [f32] {
        let cells = &self.0[span.range()];
        // SAFETY: `UnsafeCell<f32>` has the layout of f32, the range is checked, and the caller keeps
        // parts apart.
        unsafe { std::slice::from_raw_parts_mut(UnsafeCell::raw_get(cells.as_ptr()), cells.len()) }
    }
}
