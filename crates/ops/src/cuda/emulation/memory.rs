//! The block of memory in which a script runs.

use super::buffer::Buffer;
use crate::cuda::Pointer;
use crate::cuda::script::Script;

/// The emulated device's memory.
pub(super) struct Device {
    memory: Buffer,
    words: usize,
}

impl Device {
    /// Zeros.
    pub(super) fn new(words: usize) -> Self {
        Self {
            memory: Buffer::of(&vec![0u32; words]),
            words,
        }
    }

    /// A script's, where what no call writes first is poisoned: only what must be zeros is, and its tables are there.
    pub(super) fn of(script: &Script) -> Self {
        let mut device = Self::new(script.words());
        let base = device.base();
        device.put(0, &vec![u32::MAX; script.program().memory()]);
        for (word, table) in script.tables(base).unwrap() {
            let halves = table.iter().flat_map(|it| [*it as u32, (*it >> 32) as u32]);
            device.put(word, &halves.collect::<Vec<_>>());
        }
        device
    }

    pub(super) fn base(&mut self) -> Pointer {
        self.memory.pointer()
    }

    pub(super) fn put(&mut self, word: usize, values: &[u32]) {
        assert!(word + values.len() <= self.words);
        let to = self.memory.pointer().0 as usize + 4 * word;
        let to = std::ptr::with_exposed_provenance_mut::<u32>(to);
        // SAFETY: the words lie in the memory, of which nothing is borrowed.
        unsafe { to.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    }

    pub(super) fn put_numbers(&mut self, word: usize, values: &[f32]) {
        let bits: Vec<u32> = values.iter().map(|it| it.to_bits()).collect();
        self.put(word, &bits);
    }

    pub(super) fn get(&mut self, word: usize, len: usize) -> Vec<f32> {
        self.memory.read::<f32>()[word..word + len].to_vec()
    }
}
