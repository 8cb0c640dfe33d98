//! Batch norm on plain slices: `rows` x `channels`, a row being one pixel of one image.
//!
//! Bytes: training reads the input twice and writes the output once; the gradient reads input and
//! output gradient twice and adds to the input gradient once. Statistics are taken part by part
//! (mean first, then squares about that mean while the part is in cache) and joined in double
//! precision in the order of the parts (Chan, Golub and LeVeque 1979), so large means cost no
//! accuracy.

use crate::parts::{Parts, Shared};
use crate::simd::vectorised;

/// Narrow rows are taken several at a time, so that the inner loops have at least this length.
const LANES: usize = 64;

/// How rows of few channels are read as fewer, wider ones: `fold` rows make a wide row.
fn fold(channels: usize) -> usize {
    if channels >= LANES {
        1
    } else {
        LANES.div_ceil(channels.max(1))
    }
}

/// `values` repeated `times` times: the parameters of a wide row.
fn repeated(values: &[f32], times: usize) -> Vec<f32> {
    values.repeat(times)
}

/// Mean and sum of squared deviations of each channel, over `rows` rows.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    /// Mean of each channel.
    pub(crate) mean: Vec<f64>,
    /// Sum over the rows of the squared deviation from the mean.
    pub(crate) squares: Vec<f64>,
}

/// The moments of `x`, which has at least one row.
pub(crate) fn moments(x: &[f32], channels: usize) -> Moments {
    let rows = x.len() / channels;
    let parts = Parts::new(rows, channels);
    let found = parts.map(|part| part_moments(&x[parts.range(part, channels)], channels));
    let mut count = 0.0;
    let mut mean = vec![0.0f64; channels];
    let mut squares = vec![0.0f64; channels];
    for (part, (part_mean, part_squares)) in found.iter().enumerate() {
        let size = parts.rows(part).len() as f64;
        let total = count + size;
        for c in 0..channels {
            let delta = f64::from(part_mean[c]) - mean[c];
            mean[c] += delta * (size / total);
            squares[c] += f64::from(part_squares[c]) + delta * delta * (count * size / total);
        }
        count = total;
    }
    Moments { mean, squares }
}

/// Mean and squared deviations of one part.
fn part_moments(x: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let fold = fold(channels);
    let wide = fold * channels;
    let (body, tail) = x.split_at(x.len() / wide * wide);
    let rows = (x.len() / channels) as f32;

    let mut sums = vec![0.0; wide];
    add_rows(&mut sums, body);
    add_rows(&mut sums[..channels], tail);
    let mut mean = folded(&sums, channels);
    mean.iter_mut().for_each(|m| *m /= rows);

    let centre = repeated(&mean, fold);
    sums.fill(0.0);
    add_squares(&mut sums, body, &centre);
    add_squares(&mut sums[..channels], tail, &mean);
    (mean, folded(&sums, channels))
}

/// The sums of a wide row brought back to `channels` numbers.
pub(crate) fn folded(sums: &[f32], channels: usize) -> Vec<f32> {
    let mut total = vec![0.0; channels];
    for row in sums.chunks_exact(channels) {
        for (t, s) in total.iter_mut().zip(row) {
            *t += s;
        }
    }
    total
}

vectorised! {
    /// Adds the rows of `x`, each as long as `sums`, into `sums`.
    pub(crate) fn add_rows(sums: &mut [f32], x: &[f32]) {
        let width = sums.len();
        let mut quads = x.chunks_exact(4 * width);
        for quad in &mut quads {
            let (a, rest) = quad.split_at(width);
            let (b, rest) = rest.split_at(width);
            let (c, d) = rest.split_at(width);
            for i in 0..width {
                sums[i] += (a[i] + b[i]) + (c[i] + d[i]);
            }
        }
        for row in quads.remainder().chunks_exact(width) {
            for i in 0..width {
                sums[i] += row[i];
            }
        }
    }
}

vectorised! {
    /// Adds the squared deviations of the rows of `x` from `centre` into `sums`.
    fn add_squares(sums: &mut [f32], x: &[f32], centre: &[f32]) {
        let width = sums.len();
        let centre = &centre[..width];
        let mut quads = x.chunks_exact(4 * width);
        for quad in &mut quads {
            let (a, rest) = quad.split_at(width);
            let (b, rest) = rest.split_at(width);
            let (c, d) = rest.split_at(width);
            let d = &d[..width];
            for i in 0..width {
                let (da, db) = (a[i] - centre[i], b[i] - centre[i]);
                let (dc, dd) = (c[i] - centre[i], d[i] - centre[i]);
                sums[i] += (da * da + db * db) + (dc * dc + dd * dd);
            }
        }
        for row in quads.remainder().chunks_exact(width) {
            for i in 0..width {
                let delta = row[i] - centre[i];
                sums[i] += delta * delta;
            }
        }
    }
}

/// `y = x * factor + offset` per channel, then the larger of that and zero if `relu`.
pub(crate) fn affine(x: &[f32], factor: &[f32], offset: &[f32], relu: bool, y: &mut [f32]) {
    let channels = factor.len();
    let fold = fold(channels);
    let (wide_factor, wide_offset) = (repeated(factor, fold), repeated(offset, fold));
    let parts = Parts::new(x.len() / channels, channels);
    let y = Shared::new(y);
    parts.for_each(|part| {
        let range = parts.range(part, channels);
        // SAFETY: the ranges of different parts are apart.
        let y = unsafe { y.slice(range.clone()) };
        if relu {
            affine_rows::<true>(&x[range], &wide_factor, &wide_offset, y);
        } else {
            affine_rows::<false>(&x[range], &wide_factor, &wide_offset, y);
        }
    });
}

vectorised! {
    /// [`affine`] on one part; the last row may be shorter than the wide ones before it.
    fn affine_rows<const RELU: bool>(x: &[f32], factor: &[f32], offset: &[f32], y: &mut [f32]) {
        let width = factor.len();
        for (row, out) in x.chunks(width).zip(y.chunks_mut(width)) {
            let n = row.len();
            let (out, factor, offset) = (&mut out[..n], &factor[..n], &offset[..n]);
            for i in 0..n {
                let value = row[i] * factor[i] + offset[i];
                out[i] = if RELU && value < 0.0 { 0.0 } else { value };
            }
        }
    }
}

/// Per channel: the sum of the gradient before the ReLU, and the sum of its product with
/// `x - centre`.
///
/// The ReLU's mask is had again from `x * factor + offset`, as [`affine`] computed it.
pub(crate) fn gradient_sums(
    x: &[f32],
    dy: &[f32],
    centre: &[f32],
    mask: Option<(&[f32], &[f32])>,
) -> (Vec<f64>, Vec<f64>) {
    let channels = centre.len();
    let fold = fold(channels);
    let wide = fold * channels;
    let centre = repeated(centre, fold);
    let mask = mask.map(|(factor, offset)| (repeated(factor, fold), repeated(offset, fold)));
    let parts = Parts::new(x.len() / channels, channels);
    let found = parts.map(|part| {
        let range = parts.range(part, channels);
        let (x, dy) = (&x[range.clone()], &dy[range]);
        let (mut sums, mut products) = (vec![0.0; wide], vec![0.0; wide]);
        match &mask {
            Some((factor, offset)) => {
                gradient_rows::<true>(x, dy, &centre, factor, offset, &mut sums, &mut products);
            }
            None => {
                gradient_rows::<false>(x, dy, &centre, &[], &[], &mut sums, &mut products);
            }
        }
        (folded(&sums, channels), folded(&products, channels))
    });
    let (mut sums, mut products) = (vec![0.0f64; channels], vec![0.0f64; channels]);
    for (part_sums, part_products) in &found {
        for c in 0..channels {
            sums[c] += f64::from(part_sums[c]);
            products[c] += f64::from(part_products[c]);
        }
    }
    (sums, products)
}

vectorised! {
    /// [`gradient_sums`] on one part, of wide rows and perhaps a shorter last one.
    fn gradient_rows<const MASK: bool>(
        x: &[f32],
        dy: &[f32],
        centre: &[f32],
        factor: &[f32],
        offset: &[f32],
        sums: &mut [f32],
        products: &mut [f32],
    ) {
        let width = centre.len();
        for (row, dy) in x.chunks(width).zip(dy.chunks(width)) {
            let n = row.len();
            let (dy, centre) = (&dy[..n], &centre[..n]);
            let (sums, products) = (&mut sums[..n], &mut products[..n]);
            if MASK {
                let (factor, offset) = (&factor[..n], &offset[..n]);
                for i in 0..n {
                    let g = if row[i] * factor[i] + offset[i] > 0.0 { dy[i] } else { 0.0 };
                    sums[i] += g;
                    products[i] += g * (row[i] - centre[i]);
                }
            } else {
                for i in 0..n {
                    sums[i] += dy[i];
                    products[i] += dy[i] * (row[i] - centre[i]);
                }
            }
        }
    }
}

/// The three numbers per channel that turn an output gradient into an input gradient:
/// `dx += g * gradient + (x - centre) * slope + constant`.
pub(crate) struct InputGradient {
    /// What is taken from `x` first.
    pub(crate) centre: Vec<f32>,
    /// Factor of the output gradient.
    pub(crate) gradient: Vec<f32>,
    /// Factor of the centred input.
    pub(crate) slope: Vec<f32>,
    /// What is added.
    pub(crate) constant: Vec<f32>,
}

/// Adds the input gradient of [`InputGradient`] into `dx`.
pub(crate) fn add_input_gradient(
    x: &[f32],
    dy: &[f32],
    terms: &InputGradient,
    mask: Option<(&[f32], &[f32])>,
    dx: &mut [f32],
) {
    let channels = terms.centre.len();
    let fold = fold(channels);
    let [centre, gradient, slope, constant] = [
        &terms.centre,
        &terms.gradient,
        &terms.slope,
        &terms.constant,
    ]
    .map(|v| repeated(v, fold));
    let mask = mask.map(|(factor, offset)| (repeated(factor, fold), repeated(offset, fold)));
    let parts = Parts::new(x.len() / channels, channels);
    let dx = Shared::new(dx);
    parts.for_each(|part| {
        let range = parts.range(part, channels);
        let (x, dy) = (&x[range.clone()], &dy[range.clone()]);
        // SAFETY: the ranges of different parts are apart.
        let dx = unsafe { dx.slice(range) };
        match &mask {
            Some((factor, offset)) => input_rows::<true>(
                x, dy, &centre, &gradient, &slope, &constant, factor, offset, dx,
            ),
            None => input_rows::<false>(x, dy, &centre, &gradient, &slope, &constant, &[], &[], dx),
        }
    });
}

vectorised! {
    /// [`add_input_gradient`] on one part.
    fn input_rows<const MASK: bool>(
        x: &[f32],
        dy: &[f32],
        centre: &[f32],
        gradient: &[f32],
        slope: &[f32],
        constant: &[f32],
        factor: &[f32],
        offset: &[f32],
        dx: &mut [f32],
    ) {
        let width = centre.len();
        for ((row, dy), dx) in x.chunks(width).zip(dy.chunks(width)).zip(dx.chunks_mut(width)) {
            let n = row.len();
            let (dy, dx) = (&dy[..n], &mut dx[..n]);
            let (centre, gradient) = (&centre[..n], &gradient[..n]);
            let (slope, constant) = (&slope[..n], &constant[..n]);
            if MASK {
                let (factor, offset) = (&factor[..n], &offset[..n]);
                for i in 0..n {
                    let g = if row[i] * factor[i] + offset[i] > 0.0 { dy[i] } else { 0.0 };
                    dx[i] += g * gradient[i] + ((row[i] - centre[i]) * slope[i] + constant[i]);
                }
            } else {
                for i in 0..n {
                    dx[i] += dy[i] * gradient[i] + ((row[i] - centre[i]) * slope[i] + constant[i]);
                }
            }
        }
    }
}
