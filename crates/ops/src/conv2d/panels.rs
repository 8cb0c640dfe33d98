//! Weights packed for [`super::product`]: panels of two registers' width, zero-padded.

use crate::parts::Shared;
use crate::{threads, vector};

/// Where the numbers of a weight matrix stand in the slice that is packed. Row `t * depth + d` of
/// the matrix, column `n`, is at `taps[t] + d * depth_step + n * column_step`.
pub(crate) struct Source<'a> {
    pub data: &'a [f32],
    pub taps: &'a [usize],
    pub depth: usize,
    pub depth_step: usize,
    pub columns: usize,
    pub column_step: usize,
}

/// A packed matrix of `rows × columns`. Panel `p` holds columns from `p * 2 * lanes` on, row by row.
pub(crate) struct Panels {
    data: Vec<f32>,
    pub rows: usize,
    pub columns: usize,
    lanes: usize,
}

impl Panels {
    /// Packs `source`.
    pub fn pack(source: &Source) -> Self {
        let lanes = vector::lanes();
        let rows = source.taps.len() * source.depth;
        let registers = source.columns.div_ceil(lanes);
        let mut data = crate::buffers::take(registers * lanes * rows);
        let shared = Shared::new(&mut data);
        let panels = registers.div_ceil(2);
        let pack_panel = |p: usize| {
            let width = lanes * (registers - 2 * p).min(2);
            let start = p * 2 * lanes * rows;
            // SAFETY: each panel writes its own range.
            let out = unsafe { shared.slice(start..start + width * rows) };
            pack_panel(source, p * 2 * lanes, width, out);
        };
        if data_is_large(rows * source.columns) {
            threads::for_each(panels, pack_panel);
        } else {
            (0..panels).for_each(pack_panel);
        }
        Self {
            data,
            rows,
            columns: source.columns,
            lanes,
        }
    }

    /// The number of panels.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(2 * self.lanes)
    }

    /// Panel `p`: its numbers, its first column, its registers a row, its columns that are no padding.
    pub fn panel(&self, p: usize) -> (&[f32], usize, usize, usize) {
        let first = p * 2 * self.lanes;
        let columns = (self.columns - first).min(2 * self.lanes);
        let registers = columns.div_ceil(self.lanes);
        let start = first * self.rows;
        let numbers = &self.data[start..start + registers * self.lanes * self.rows];
        (numbers, first, registers, columns)
    }
}

impl Drop for Panels {
    fn drop(&mut self) {
        crate::buffers::give(std::mem::take(&mut self.data));
    }
}

fn data_is_large(len: usize) -> bool {
    len > 64 * 1024
}

fn pack_panel(source: &Source, first: usize, width: usize, out: &mut [f32]) {
    let columns = (source.columns - first).min(width);
    for (t, &tap) in source.taps.iter().enumerate() {
        let out = &mut out[t * source.depth * width..(t + 1) * source.depth * width];
        if source.column_step == 1 {
            for (d, row) in out.chunks_exact_mut(width).enumerate() {
                let from = tap + d * source.depth_step + first;
                row[..columns].copy_from_slice(&source.data[from..from + columns]);
                row[columns..].fill(0.0);
            }
        } else {
            for n in 0..width {
                let from = tap + (first + n) * source.column_step;
                for (d, row) in out.chunks_exact_mut(width).enumerate() {
                    row[n] = if n < columns {
                        source.data[from + d * source.depth_step]
                    } else {
                        0.0
                    };
                }
            }
        }
    }
}
