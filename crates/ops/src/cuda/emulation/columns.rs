//! Sums over rows.

use super::{Buffer, Emulator, assert_close, check, on_top, target};
use crate::cuda::kernels::columns::{Scratch, ScratchSize, column_sums, column_sums_scratch};
use crate::testing::Random;

/// The memory between the stages, of just the size that was asked for.
pub(super) struct Memory {
    parts: Buffer,
    counters: Buffer,
}

impl Memory {
    pub(super) fn new(size: ScratchSize) -> Self {
        Self {
            parts: Buffer::poisoned::<f32>(size.parts),
            counters: Buffer::of(&vec![0u32; size.counters]),
        }
    }

    pub(super) fn scratch(&mut self) -> Scratch {
        Scratch {
            parts: self.parts.pointer(),
            counters: self.counters.pointer(),
        }
    }

    /// Fails if a part was written beyond the buffer or a counter is left.
    pub(super) fn check(&mut self) {
        self.parts.read::<f32>();
        assert!(self.counters.read::<u32>().iter().all(|&c| c == 0));
    }
}

/// Rows and columns that make one block, many blocks, few and many lanes.
pub(super) const SHAPES: [(usize, usize); 11] = [
    (2, 1),
    (5, 3),
    (3000, 1),
    (700, 5),
    (900, 8),
    (130, 16),
    (150, 48),
    (40, 132),
    (70, 260),
    (50, 37),
    // More parts than are joined at a time.
    (5600, 20),
];

fn one(device: &Emulator, (rows, columns): (usize, usize), old: Option<&[f32]>, x: &[f32]) {
    let mut memory = Memory::new(column_sums_scratch(rows, columns));
    let (mut bx, mut sums) = (Buffer::of(x), target(old, columns));
    let launch = column_sums(
        bx.pointer(),
        rows,
        columns,
        memory.scratch(),
        sums.pointer(),
        old.is_some(),
    );
    device.run(&[launch.unwrap()]);
    memory.check();
    let mut expected = vec![0.0; columns];
    crate::linear::kernel::add_row_sums(x, &mut expected);
    assert_close("column sums", &sums.read(), &on_top(old, &expected));
}

#[test]
fn agree_with_the_cpu() {
    check("columns", |device| {
        let mut random = Random::new(2);
        for (rows, columns) in SHAPES {
            let x = random.values(rows * columns);
            let old = random.values(columns);
            one(device, (rows, columns), None, &x);
            one(device, (rows, columns), Some(&old), &x);
        }
    });
}
