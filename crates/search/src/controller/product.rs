//! Small matrix products on one thread. The order of the sums is fixed, whatever the processor.

/// How the left factor lies in memory: elements between its rows and between its columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub column: usize,
}

/// Rows and columns of the answer that are summed in registers at a time.
const ROWS: usize = 4;
const COLUMNS: usize = 16;

/// Adds `a`·`b` to `c`: `a` is m×k with the given steps, `b` k×n and `c` m×n, both row-major.
pub(super) fn add_product(
    (m, k, n): (usize, usize, usize),
    a: &[f32],
    steps: Steps,
    b: &[f32],
    c: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just found to have what the function was compiled for.
        unsafe { add_product_avx2((m, k, n), a, steps, b, c) };
        return;
    }
    add_product_portable((m, k, n), a, steps, b, c);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_product_avx2(
    size: (usize, usize, usize),
    a: &[f32],
    steps: Steps,
    b: &[f32],
    c: &mut [f32],
) {
    add_product_portable(size, a, steps, b, c);
}

#[inline(always)]
fn add_product_portable(
    (m, k, n): (usize, usize, usize),
    a: &[f32],
    steps: Steps,
    b: &[f32],
    c: &mut [f32],
) {
    if k == 0 {
        return;
    }
    let size = (k, n);
    let mut row = 0;
    while row < m {
        let a = &a[row * steps.row..];
        let c = &mut c[row * n..];
        if m - row >= ROWS {
            some_rows::<ROWS>(size, a, steps, b, c);
            row += ROWS;
        } else {
            some_rows::<1>(size, a, steps, b, c);
            row += 1;
        }
    }
}

#[inline(always)]
fn some_rows<const R: usize>(
    (k, n): (usize, usize),
    a: &[f32],
    steps: Steps,
    b: &[f32],
    c: &mut [f32],
) {
    let mut column = 0;
    while column + COLUMNS <= n {
        let mut sums = [[0.0f32; COLUMNS]; R];
        for inner in 0..k {
            let Some((b, _)) = b[inner * n + column..].split_first_chunk::<COLUMNS>() else {
                return;
            };
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = a[row * steps.row + inner * steps.column];
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum += factor * b;
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (c, sum) in c[row * n + column..].iter_mut().zip(sums) {
                *c += sum;
            }
        }
        column += COLUMNS;
    }
    for column in column..n {
        for row in 0..R {
            let mut sum = 0.0;
            for inner in 0..k {
                sum += a[row * steps.row + inner * steps.column] * b[inner * n + column];
            }
            c[row * n + column] += sum;
        }
    }
}

/// The transpose of a row-major matrix.
pub(super) fn transposed(rows: usize, columns: usize, a: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; rows * columns];
    for (row, line) in a.chunks_exact(columns.max(1)).enumerate() {
        for (column, value) in line.iter().enumerate() {
            out[column * rows + row] = *value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_sum_of_products() {
        for (m, k, n) in [(1, 1, 1), (5, 3, 18), (8, 7, 32), (4, 2, 5), (3, 0, 4)] {
            let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i % 5) as f32 - 2.0).collect();
            let mut expected = vec![1.0f32; m * n];
            for i in 0..m {
                for j in 0..n {
                    for l in 0..k {
                        expected[i * n + j] += a[i * k + l] * b[l * n + j];
                    }
                }
            }
            let mut c = vec![1.0; m * n];
            add_product((m, k, n), &a, Steps { row: k, column: 1 }, &b, &mut c);
            assert_eq!(c, expected);
            let mut c = vec![1.0; m * n];
            let at = transposed(m, k, &a);
            add_product((m, k, n), &at, Steps { row: 1, column: m }, &b, &mut c);
            assert_eq!(c, expected);
        }
    }
}
