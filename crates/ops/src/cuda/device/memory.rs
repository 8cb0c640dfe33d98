//! One block of device memory.

use std::sync::Arc;

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut, Range};

use cudarc::driver::{CudaSlice, DevicePtr};

use super::{Device, Error};
use crate::cuda::Pointer;
use crate::program::layout::ALIGN;

const MIB: usize = 1 << 20;

/// The ranges that spans make which follow each other, and how many of them each takes. What begins within [`ALIGN`] words
/// of another's end is separated from it by its alignment alone.
fn joined(spans: &[(usize, usize)]) -> Vec<(Range<usize>, usize)> {
    let mut found: Vec<(Range<usize>, usize)> = Vec::new();
    for &(at, len) in spans {
        match found.last_mut() {
            Some((range, count)) if (range.end..range.end + ALIGN).contains(&at) => {
                range.end = at + len;
                *count += 1;
            }
            _ => found.push((at..at + len, 1)),
        }
    }
    found
}

/// What is given back in the device's turn: giving back is work of the stream, which may be captured.
pub(super) struct InTurn<T> {
    device: Arc<Device>,
    it: ManuallyDrop<T>,
}

impl<T> InTurn<T> {
    pub fn new(device: &Arc<Device>, it: T) -> Self {
        Self {
            device: Arc::clone(device),
            it: ManuallyDrop::new(it),
        }
    }
}

impl<T> Drop for InTurn<T> {
    fn drop(&mut self) {
        let _turn = self.device.turn();
        // SAFETY: it is not used again.
        unsafe { ManuallyDrop::drop(&mut self.it) }
        // Memory that was given back in a stream's order is there for other processes from the next time on that
        // something waits for the stream: a worker that waits for its next trial would keep its last one's. What went
        // wrong on the stream says whoever waits next.
        let _ = self.device.stream.synchronize();
    }
}

impl<T> Deref for InTurn<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.it
    }
}

impl<T> DerefMut for InTurn<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.it
    }
}

/// Words of four bytes on a device, zeros at first.
pub(super) struct Memory {
    device: Arc<Device>,
    words: InTurn<CudaSlice<u32>>,
}

impl Memory {
    /// # Errors
    /// [`Error::Memory`] if there is not so much.
    pub fn new(device: &Arc<Device>, words: usize) -> Result<Self, Error> {
        let _turn = device.turn();
        let (free, _) = device.memory()?;
        let (needed, free) = (words.saturating_mul(4) / MIB, free / MIB);
        if needed > free {
            return Err(Error::Memory { needed, free });
        }
        let allocated = device.stream.alloc_zeros::<u32>(words.max(1));
        let words = allocated.map_err(|_| Error::Memory { needed, free })?;
        Ok(Self {
            words: InTurn::new(device, words),
            device: Arc::clone(device),
        })
    }

    /// Where it begins.
    pub fn base(&self) -> Pointer {
        let (pointer, _guard) = self.words.device_ptr(&self.device.stream);
        Pointer(pointer)
    }

    /// Puts words into it, in the stream's order.
    pub fn put(&mut self, at: usize, words: &[u32]) -> Result<(), Error> {
        let _turn = self.device.turn();
        let mut to = self.words.slice_mut(at..at + words.len());
        let copied = self.device.stream.memcpy_htod(words, &mut to);
        copied.map_err(Error::driver("copying to the GPU"))
    }

    /// As [`Memory::put`], numbers.
    pub fn put_numbers(&mut self, at: usize, numbers: &[f32]) -> Result<(), Error> {
        // SAFETY: f32 and u32 have the same size and alignment, and any bits are a u32.
        let words = unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) };
        self.put(at, words)
    }

    /// Puts numbers into several places, each with its word, in few copies. Words that part two of them by less than
    /// [`ALIGN`] are nobody's.
    pub fn put_all(&mut self, all: &[(usize, &[f32])]) -> Result<(), Error> {
        let spans: Vec<_> = all.iter().map(|(at, it)| (*at, it.len())).collect();
        let mut rest = all;
        for (range, count) in joined(&spans) {
            let (these, others) = rest.split_at(count);
            rest = others;
            let mut words = vec![0.0; range.len()];
            for (at, numbers) in these {
                words[at - range.start..][..numbers.len()].copy_from_slice(numbers);
            }
            self.put_numbers(range.start, &words)?;
        }
        Ok(())
    }

    /// Numbers from several places, each with its word and how many, in few copies, once all work before is done.
    pub fn all_numbers(&self, spans: &[(usize, usize)]) -> Result<Vec<Vec<f32>>, Error> {
        let mut found = Vec::with_capacity(spans.len());
        for (range, count) in joined(spans) {
            let words = self.numbers(range.start, range.len())?;
            let these = &spans[found.len()..][..count];
            found.extend(
                these
                    .iter()
                    .map(|&(at, len)| words[at - range.start..][..len].to_vec()),
            );
        }
        Ok(found)
    }

    /// Words of it, once all work before is done.
    pub fn get(&self, at: usize, len: usize) -> Result<Vec<u32>, Error> {
        let _turn = self.device.turn();
        let from = self.words.slice(at..at + len);
        let copied = self.device.stream.clone_dtoh(&from);
        let words = copied.map_err(Error::driver("copying from the GPU"))?;
        let done = self.device.stream.synchronize();
        done.map_err(Error::driver("waiting for the GPU"))?;
        Ok(words)
    }

    /// As [`Memory::get`], numbers.
    pub fn numbers(&self, at: usize, len: usize) -> Result<Vec<f32>, Error> {
        let words = self.get(at, len)?;
        Ok(words.into_iter().map(f32::from_bits).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_is_joined() {
        let spans = [(0, 3), (64, 64), (128, 1), (193, 2), (100, 5), (105, 0)];
        let found = joined(&spans);
        assert_eq!(found, [(0..129, 3), (193..195, 1), (100..105, 2)]);
        assert!(joined(&[]).is_empty());
    }
}
