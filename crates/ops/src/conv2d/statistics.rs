//! Moments of a convolution's output, taken tile by tile while the tile is in cache.

use crate::batch_norm::kernel::Moments;
use crate::vector::{Kernel, Vector, dispatch};

/// Count, mean and sum of squared deviations of each channel of a tile.
pub(crate) struct Part {
    count: usize,
    mean: Vec<f32>,
    squares: Vec<f32>,
}

/// The moments of a tile of rows of `channels` numbers.
pub(crate) fn part(tile: &[f32], channels: usize) -> Part {
    let mut part = Part {
        count: tile.len() / channels,
        mean: vec![0.0; channels],
        squares: vec![0.0; channels],
    };
    dispatch(Sums {
        tile,
        centre: None,
        out: &mut part.mean,
    });
    part.mean.iter_mut().for_each(|m| *m /= part.count as f32);
    dispatch(Sums {
        tile,
        centre: Some(&part.mean),
        out: &mut part.squares,
    });
    part
}

/// Joins the moments of all tiles, in their order, in double precision (Chan, Golub, LeVeque 1979).
pub(crate) fn join(parts: &[Part], channels: usize) -> Moments {
    let mut all = Moments {
        mean: vec![0.0; channels],
        squares: vec![0.0; channels],
    };
    let mut count = 0.0;
    for part in parts {
        let size = part.count as f64;
        let total = count + size;
        for c in 0..channels {
            let delta = f64::from(part.mean[c]) - all.mean[c];
            all.mean[c] += delta * (size / total);
            all.squares[c] += f64::from(part.squares[c]) + delta * delta * (count * size / total);
        }
        count = total;
    }
    all
}

/// Per channel, the sum of the numbers, or of their squared distances from `centre`.
struct Sums<'a> {
    tile: &'a [f32],
    centre: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let channels = self.out.len();
        let rows = self.tile.len() / channels;
        let mut first = 0;
        while first < channels {
            let valid = (channels - first).min(V::LANES);
            // SAFETY: the processor was chosen for `V`; row, channel and `valid` stay inside the
            // tile and the vectors.
            unsafe {
                let load = |row: usize| {
                    V::load_first(self.tile.as_ptr().add(row * channels + first), valid)
                };
                let mut sums = [V::zero(); 4];
                let quads = rows / 4;
                match self.centre {
                    None => {
                        for q in 0..quads {
                            for (i, sum) in sums.iter_mut().enumerate() {
                                *sum = sum.add(load(4 * q + i));
                            }
                        }
                        for row in 4 * quads..rows {
                            sums[0] = sums[0].add(load(row));
                        }
                    }
                    Some(centre) => {
                        let centre = V::load_first(centre.as_ptr().add(first), valid);
                        for q in 0..quads {
                            for (i, sum) in sums.iter_mut().enumerate() {
                                let delta = load(4 * q + i).sub(centre);
                                *sum = delta.fma(delta, *sum);
                            }
                        }
                        for row in 4 * quads..rows {
                            let delta = load(row).sub(centre);
                            sums[0] = delta.fma(delta, sums[0]);
                        }
                    }
                }
                let [a, b, c, d] = sums;
                let sum = a.add(b).add(c.add(d));
                sum.store_first(self.out.as_mut_ptr().add(first), valid);
            }
            first += V::LANES;
        }
    }
}
