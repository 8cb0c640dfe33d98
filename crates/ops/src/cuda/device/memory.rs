//! One block of device memory.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, DevicePtr};

use super::{Device, Error};
use crate::cuda::Pointer;

const MIB: usize = 1 << 20;

/// Words of four bytes on a device, zeros at first.
pub(super) struct Memory {
    device: Arc<Device>,
    words: CudaSlice<u32>,
}

impl Memory {
    /// # Errors
    /// [`Error::Memory`] if there is not so much.
    pub fn new(device: &Arc<Device>, words: usize) -> Result<Self, Error> {
        let (free, _) = device.memory()?;
        let (needed, free) = (words.saturating_mul(4) / MIB, free / MIB);
        if needed > free {
            return Err(Error::Memory { needed, free });
        }
        let allocated = device.stream.alloc_zeros::<u32>(words.max(1));
        Ok(Self {
            words: allocated.map_err(|_| Error::Memory { needed, free })?,
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

    /// Words of it, once all work before is done.
    pub fn get(&self, at: usize, len: usize) -> Result<Vec<u32>, Error> {
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
