//! Windows: copies of a tile's pixels with their border of zeros, so that no kernel asks where an
//! edge is. What comes before the convolution (normalisation, ReLU) is done on the way.

use crate::simd::vectorised;

/// What is applied to the input of a convolution as it is read.
#[derive(Clone, Default)]
pub(crate) struct Prologue {
    /// Factor and offset, repeated for all pixels of a row of the input.
    affine: Option<(Vec<f32>, Vec<f32>)>,
    /// Then the larger of it and zero.
    pub relu: bool,
}

impl Prologue {
    /// The input as it is, or its ReLU.
    pub fn relu(relu: bool) -> Self {
        Self { affine: None, relu }
    }

    /// `x * factor + offset` per channel, then ReLU, for rows of `width` pixels.
    pub fn affine(factor: &[f32], offset: &[f32], relu: bool, width: usize) -> Self {
        Self {
            affine: Some((factor.repeat(width), offset.repeat(width))),
            relu,
        }
    }

    /// Whether the input passes unchanged.
    pub fn is_identity(&self) -> bool {
        self.affine.is_none() && !self.relu
    }

    /// `out = prologue(x)` for the beginning of a row.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        match (&self.affine, self.relu) {
            (None, false) => out.copy_from_slice(x),
            (None, true) => relu_row(x, out),
            (Some((factor, offset)), false) => affine_row::<false>(x, factor, offset, out),
            (Some((factor, offset)), true) => affine_row::<true>(x, factor, offset, out),
        }
    }

    /// Adds `gradient` to `dx`, or replaces it, where the prologue's ReLU let a row's input through.
    /// A factor is not applied: what is before the factor has its own gradient.
    pub fn gradient(&self, x: &[f32], gradient: &[f32], replace: bool, dx: &mut [f32]) {
        match (&self.affine, self.relu, replace) {
            (_, false, false) => add_row(gradient, dx),
            (_, false, true) => dx.copy_from_slice(gradient),
            (None, true, false) => masked_row::<false>(x, gradient, dx),
            (None, true, true) => masked_row::<true>(x, gradient, dx),
            (Some((factor, offset)), true, false) => {
                gated_row::<false>(x, factor, offset, gradient, dx);
            }
            (Some((factor, offset)), true, true) => {
                gated_row::<true>(x, factor, offset, gradient, dx);
            }
        }
    }
}

vectorised! {
    fn relu_row(x: &[f32], out: &mut [f32]) {
        for (o, &x) in out.iter_mut().zip(x) {
            *o = if x > 0.0 { x } else { 0.0 };
        }
    }
}

vectorised! {
    fn affine_row<const RELU: bool>(x: &[f32], factor: &[f32], offset: &[f32], out: &mut [f32]) {
        let n = out.len();
        let (x, factor, offset) = (&x[..n], &factor[..n], &offset[..n]);
        for i in 0..n {
            let value = x[i] * factor[i] + offset[i];
            out[i] = if !RELU || value > 0.0 { value } else { 0.0 };
        }
    }
}

vectorised! {
    /// `dx += gradient`
    pub(crate) fn add_row(gradient: &[f32], dx: &mut [f32]) {
        dx.iter_mut().zip(gradient).for_each(|(d, g)| *d += g);
    }
}

vectorised! {
    fn masked_row<const REPLACE: bool>(x: &[f32], gradient: &[f32], dx: &mut [f32]) {
        let n = dx.len();
        let (x, gradient) = (&x[..n], &gradient[..n]);
        for i in 0..n {
            let g = if x[i] > 0.0 { gradient[i] } else { 0.0 };
            dx[i] = if REPLACE { g } else { dx[i] + g };
        }
    }
}

vectorised! {
    fn gated_row<const REPLACE: bool>(
        x: &[f32],
        factor: &[f32],
        offset: &[f32],
        gradient: &[f32],
        dx: &mut [f32],
    ) {
        let n = dx.len();
        let (x, gradient) = (&x[..n], &gradient[..n]);
        let (factor, offset) = (&factor[..n], &offset[..n]);
        for i in 0..n {
            let g = if x[i] * factor[i] + offset[i] > 0.0 { gradient[i] } else { 0.0 };
            dx[i] = if REPLACE { g } else { dx[i] + g };
        }
    }
}

/// The gradient at a convolution's own output, had from the gradient of what follows it.
pub(crate) enum Incoming<'a> {
    /// Nothing follows.
    Plain(&'a [f32]),
    /// Batch norm follows.
    Normalised(Normalised<'a>),
}

/// `(dy where the ReLU let through) * gradient + (z - centre) * slope + constant`; the vectors are
/// repeated for all pixels of a row.
pub(crate) struct Normalised<'a> {
    /// Gradient of the norm's output.
    pub dy: &'a [f32],
    /// The convolution's output, the norm's input.
    pub z: &'a [f32],
    pub gradient: Vec<f32>,
    pub slope: Vec<f32>,
    /// `constant - centre * slope`
    pub constant: Vec<f32>,
    /// Factor and offset of the norm, if a ReLU follows it.
    pub gate: Option<(Vec<f32>, Vec<f32>)>,
}

impl Incoming<'_> {
    /// The gradient of `out.len()` numbers from `start`, the beginning of a row.
    pub fn row(&self, start: usize, out: &mut [f32]) {
        let range = start..start + out.len();
        match self {
            Incoming::Plain(dy) => out.copy_from_slice(&dy[range]),
            Incoming::Normalised(n) => {
                let (dy, z) = (&n.dy[range.clone()], &n.z[range]);
                match &n.gate {
                    None => {
                        norm_row::<false>(dy, z, &n.gradient, &n.slope, &n.constant, &[], &[], out)
                    }
                    Some((f, o)) => {
                        norm_row::<true>(dy, z, &n.gradient, &n.slope, &n.constant, f, o, out);
                    }
                }
            }
        }
    }
}

vectorised! {
    fn norm_row<const GATE: bool>(
        dy: &[f32],
        z: &[f32],
        gradient: &[f32],
        slope: &[f32],
        constant: &[f32],
        factor: &[f32],
        offset: &[f32],
        out: &mut [f32],
    ) {
        let n = out.len();
        let (dy, z) = (&dy[..n], &z[..n]);
        let (gradient, slope, constant) = (&gradient[..n], &slope[..n], &constant[..n]);
        if GATE {
            let (factor, offset) = (&factor[..n], &offset[..n]);
            for i in 0..n {
                let g = if z[i] * factor[i] + offset[i] > 0.0 { dy[i] } else { 0.0 };
                out[i] = g * gradient[i] + (z[i] * slope[i] + constant[i]);
            }
        } else {
            for i in 0..n {
                out[i] = dy[i] * gradient[i] + (z[i] * slope[i] + constant[i]);
            }
        }
    }
}

/// A border around rows and columns of pixels with `channels` numbers each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Border {
    pub top: usize,
    pub left: usize,
    /// Rows with the border.
    pub height: usize,
    /// Columns with the border.
    pub width: usize,
    pub channels: usize,
}

impl Border {
    /// Numbers of one image with its border.
    pub fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Fills `out` with an image of `rows × columns` pixels in a border of zeros. Row `r` of the
    /// border is row `r + first` of the padded image; `row(r, out)` gives the first numbers of the
    /// image's row `r`.
    pub fn fill(
        &self,
        rows: usize,
        columns: usize,
        first: usize,
        out: &mut [f32],
        mut row: impl FnMut(usize, &mut [f32]),
    ) {
        let line = self.width * self.channels;
        let left = self.left.min(self.width) * self.channels;
        let inside = columns.min(self.width - self.left.min(self.width)) * self.channels;
        for (r, out) in out.chunks_exact_mut(line).take(self.height).enumerate() {
            let r = r + first;
            if r < self.top || r - self.top >= rows {
                out.fill(0.0);
                continue;
            }
            out[..left].fill(0.0);
            row(r - self.top, &mut out[left..left + inside]);
            out[left + inside..].fill(0.0);
        }
    }
}
