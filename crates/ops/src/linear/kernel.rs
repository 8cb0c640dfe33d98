//! Matrix products in tiles that depend on shapes alone, and sums of rows.

use std::ops::Range;

use gemm::Parallelism;

use crate::batch_norm::kernel::add_rows;
use crate::parts::Parts;
use crate::threads;

/// Rows and columns of a tile of the product; a tile is computed by one thread.
const TILE: usize = 128;

/// A matrix in a slice: element (i, j) is at `i * row_step + j * column_step`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix of `columns` columns.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns);
        Self {
            values,
            rows,
            columns,
            row_step: columns,
            column_step: 1,
        }
    }

    /// The same numbers with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

/// The address of the product, shared by the threads that write its tiles.
struct Target(*mut f32);
// SAFETY: every task writes the elements of its own tile only.
unsafe impl Sync for Target {}
// SAFETY: the address stands for a `&mut [f32]` that outlives the tasks.
unsafe impl Send for Target {}

/// Adds `a · b` into the row-major `product`.
pub(crate) fn add_product(a: View, b: View, product: &mut [f32]) {
    assert_eq!(a.columns, b.rows);
    assert_eq!(product.len(), a.rows * b.columns);
    let (tall, wide) = (a.rows.div_ceil(TILE), b.columns.div_ceil(TILE));
    let target = Target(product.as_mut_ptr());
    threads::for_each(tall * wide, |tile| {
        let rows = range(tile / wide, a.rows);
        let columns = range(tile % wide, b.columns);
        add_tile(a, b, &target, rows, columns);
    });
}

fn range(tile: usize, length: usize) -> Range<usize> {
    tile * TILE..((tile + 1) * TILE).min(length)
}

fn add_tile(a: View, b: View, target: &Target, rows: Range<usize>, columns: Range<usize>) {
    if a.columns == 0 {
        return;
    }
    // SAFETY: `View::new` and `add_product` have checked that all elements that shapes and steps
    // name are within the slices; the product is borrowed exclusively and tiles do not overlap.
    unsafe {
        gemm::gemm(
            rows.len(),
            columns.len(),
            a.columns,
            target.0.add(rows.start * b.columns + columns.start),
            1,
            b.columns as isize,
            true,
            a.values.as_ptr().add(rows.start * a.row_step),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr().add(columns.start * b.column_step),
            b.column_step as isize,
            b.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Adds the sum of the rows of `x` into `sums`.
pub(crate) fn add_row_sums(x: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    if width == 0 {
        return;
    }
    let parts = Parts::new(x.len() / width, width);
    let found = parts.map(|part| {
        let mut sums = vec![0.0; width];
        add_rows(&mut sums, &x[parts.range(part, width)]);
        sums
    });
    found.iter().for_each(|part| add_rows(sums, part));
}
