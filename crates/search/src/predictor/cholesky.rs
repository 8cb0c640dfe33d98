//! The Cholesky factor of a small symmetric matrix, in fixed order of sums.

/// L with L·Lᵀ the matrix; rows of growing length.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    rows: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Factors the matrix of a size; `at` gives its lower triangle. None for an empty one, or one that is
    /// not positive definite.
    pub fn new(size: usize, at: impl Fn(usize, usize) -> f64) -> Option<Self> {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(size);
        for row in 0..size {
            let mut line: Vec<f64> = (0..row).map(|column| at(row, column)).collect();
            forward(&rows, &mut line);
            let rest = at(row, row) - dot(&line, &line);
            line.push(Some(rest).filter(|it| *it > 0.0)?.sqrt());
            rows.push(line);
        }
        (size > 0).then_some(Cholesky { rows })
    }

    /// The sum of the logarithms of L's diagonal: half of the matrix's log determinant.
    pub fn log_diagonal(&self) -> f64 {
        let diagonal = self.rows.iter().filter_map(|row| row.last());
        diagonal.map(|it| it.ln()).sum()
    }

    /// Solves L·x = b in place.
    pub fn solve_lower(&self, b: &mut [f64]) {
        forward(&self.rows, b);
    }

    /// Solves L·Lᵀ·x = b in place.
    pub fn solve(&self, b: &mut [f64]) {
        forward(&self.rows, b);
        for index in (0..b.len()).rev() {
            let row = &self.rows[index];
            b[index] /= row[index];
            let value = b[index];
            for (b, factor) in b[..index].iter_mut().zip(row) {
                *b -= factor * value;
            }
        }
    }
}

fn forward(rows: &[Vec<f64>], b: &mut [f64]) {
    for (index, row) in rows.iter().enumerate() {
        let (before, rest) = b.split_at_mut(index);
        rest[0] = (rest[0] - dot(&row[..index], before)) / row[index];
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a_body, a_tail) = a.as_chunks::<LANES>();
    let (b_body, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a_body.iter().zip(b_body) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let tail: f64 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves() {
        let matrix = [[4.0, 2.0, 0.6], [2.0, 5.0, 1.0], [0.6, 1.0, 3.0]];
        let factor = Cholesky::new(3, |row, column| matrix[row][column]).unwrap();
        let mut x = vec![1.0, -2.0, 0.5];
        factor.solve(&mut x);
        for (row, expected) in matrix.iter().zip([1.0, -2.0, 0.5]) {
            assert!((dot(row, &x) - expected).abs() < 1e-12);
        }
        assert!(Cholesky::new(2, |_, _| 1.0).is_none(), "singular");
        assert!(Cholesky::new(0, |_, _| 1.0).is_none(), "empty");
    }
}
