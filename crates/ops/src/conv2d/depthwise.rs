//! Depthwise convolution of one tile, vectorised over channels.
//!
//! Both kernels see *lines*: rows of pixels that lie at equal steps. Where the pixels of a line are
//! dense, in the input and in the output, and channels are fewer than lanes, a register holds
//! several pixels ([`Packing`]).

use crate::vector::{self, Kernel, Vector, dispatch};

/// Lines of output pixels and the input that each reads: output pixel (l, p) begins at
/// `l * to_line + p * to_step`, and its tap t at `l * from_line + p * from_step + taps[t]`.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub count: usize,
    pub pixels: usize,
    pub channels: usize,
    pub from_line: usize,
    pub from_step: usize,
    pub to_line: usize,
    pub to_step: usize,
    pub taps: &'a [usize],
}

impl Lines<'_> {
    /// Pixels that share a register.
    fn shared(&self) -> usize {
        let lanes = vector::lanes();
        let dense = self.from_step == self.channels && self.to_step == self.channels;
        if dense && self.channels < lanes && lanes.is_multiple_of(self.channels) {
            lanes / self.channels
        } else {
            1
        }
    }

    fn check(&self, from: usize, to: usize) {
        let Some(tap) = self.taps.iter().max() else {
            return;
        };
        if self.count == 0 || self.pixels == 0 {
            return;
        }
        let last = |line, step| (self.count - 1) * line + (self.pixels - 1) * step + self.channels;
        assert!(last(self.from_line, self.from_step) + tap <= from);
        assert!(last(self.to_line, self.to_step) <= to);
    }
}

/// `out[l, p, c] = Σ_t from[l, p, t, c] · weights[t * channels + c] + shift[c]`, then ReLU if asked.
pub(crate) fn forward(
    lines: Lines,
    from: &[f32],
    weights: &[f32],
    shift: Option<&[f32]>,
    relu: bool,
    out: &mut [f32],
) {
    lines.check(from.len(), out.len());
    let channels = lines.channels;
    assert_eq!(weights.len(), lines.taps.len() * channels);
    assert!(shift.is_none_or(|s| s.len() == channels));
    let shared = lines.shared();
    let mut wide = Vec::new();
    let mut wide_shift = None;
    if shared > 1 {
        for tap in weights.chunks_exact(channels) {
            (0..shared).for_each(|_| wide.extend_from_slice(tap));
        }
        wide_shift = shift.map(|s| s.repeat(shared));
    }
    dispatch(Forward {
        lines,
        wide: shared * channels,
        from,
        weights: if shared > 1 { &wide } else { weights },
        shift: wide_shift.as_deref().or(shift),
        relu,
        out,
    });
}

struct Forward<'a> {
    lines: Lines<'a>,
    /// Channels times pixels that share a register: numbers from one step of the loop to the next.
    wide: usize,
    from: &'a [f32],
    weights: &'a [f32],
    shift: Option<&'a [f32]>,
    relu: bool,
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let lines = self.lines;
        let shared = self.wide / lines.channels;
        let full = lines.pixels / shared;
        let rest = (lines.pixels % shared) * lines.channels;
        let (from_step, to_step) = (lines.from_step * shared, lines.to_step * shared);
        let mut first = 0;
        while first < self.wide {
            let valid = (self.wide - first).min(V::LANES);
            for line in 0..lines.count {
                // SAFETY: the processor was chosen for `V`; `forward` checked that all pixels and
                // taps are inside the slices, and `valid` keeps to the channels.
                unsafe {
                    let mut run = Segment {
                        from: self.from.as_ptr().add(line * lines.from_line + first),
                        to: self.out.as_mut_ptr().add(line * lines.to_line + first),
                        weights: self.weights.as_ptr().add(first),
                        shift: self.shift.map(|s| s.as_ptr().add(first)),
                        wide: self.wide,
                        from_step,
                        to_step,
                        taps: lines.taps,
                        relu: self.relu,
                    };
                    let mut left = full;
                    while left >= 8 {
                        run.pixels::<V, 8>(valid);
                        left -= 8;
                    }
                    if left >= 4 {
                        run.pixels::<V, 4>(valid);
                        left -= 4;
                    }
                    if left >= 2 {
                        run.pixels::<V, 2>(valid);
                        left -= 2;
                    }
                    if left >= 1 {
                        run.pixels::<V, 1>(valid);
                    }
                    if rest > 0 {
                        run.pixels::<V, 1>(rest);
                    }
                }
            }
            first += V::LANES;
        }
    }
}

struct Segment<'a> {
    from: *const f32,
    to: *mut f32,
    weights: *const f32,
    shift: Option<*const f32>,
    wide: usize,
    from_step: usize,
    to_step: usize,
    taps: &'a [usize],
    relu: bool,
}

impl Segment<'_> {
    /// The next `P` registers of output, `valid` lanes each.
    #[inline(always)]
    unsafe fn pixels<V: Vector, const P: usize>(&mut self, valid: usize) {
        // SAFETY: as promised by the caller.
        unsafe {
            if valid == V::LANES {
                self.sums::<V, P, true>(valid);
            } else {
                self.sums::<V, P, false>(valid);
            }
            self.from = self.from.add(P * self.from_step);
            self.to = self.to.add(P * self.to_step);
        }
    }

    #[inline(always)]
    unsafe fn sums<V: Vector, const P: usize, const FULL: bool>(&mut self, valid: usize) {
        // SAFETY: as promised by the caller.
        unsafe {
            let load = |at: *const f32| {
                if FULL {
                    V::load(at)
                } else {
                    V::load_first(at, valid)
                }
            };
            let start = match self.shift {
                Some(shift) => load(shift),
                None => V::zero(),
            };
            let mut sums = [start; P];
            let mut weights = self.weights;
            for &tap in self.taps {
                let weight = load(weights);
                weights = weights.add(self.wide);
                let from = self.from.add(tap);
                for (p, sum) in sums.iter_mut().enumerate() {
                    *sum = load(from.add(p * self.from_step)).fma(weight, *sum);
                }
            }
            for (p, sum) in sums.into_iter().enumerate() {
                let sum = if self.relu { sum.max(V::zero()) } else { sum };
                let to = self.to.add(p * self.to_step);
                if FULL {
                    sum.store(to);
                } else {
                    sum.store_first(to, valid);
                }
            }
        }
    }
}

/// Taps whose sums are held in registers at once.
const TAPS: usize = 13;

/// The gradient of the weights: `out[t * channels + c] += Σ_(l, p) from[l, p, t, c] · gradient[l, p, c]`,
/// in the order of lines and pixels. `lines.to_*` are the steps of the gradient.
pub(crate) fn weights(lines: Lines, from: &[f32], gradient: &[f32], out: &mut [f32]) {
    lines.check(from.len(), gradient.len());
    let channels = lines.channels;
    assert_eq!(out.len(), lines.taps.len() * channels);
    let shared = lines.shared();
    let wide = shared * channels;
    let mut sums = vec![0.0; lines.taps.len() * wide];
    dispatch(Weights {
        lines,
        wide,
        from,
        gradient,
        out: &mut sums,
    });
    for (sums, out) in sums.chunks_exact(wide).zip(out.chunks_exact_mut(channels)) {
        for pixel in sums.chunks_exact(channels) {
            out.iter_mut().zip(pixel).for_each(|(o, s)| *o += s);
        }
    }
}

struct Weights<'a> {
    lines: Lines<'a>,
    wide: usize,
    from: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let taps = self.lines.taps;
        let parts = taps.len().div_ceil(TAPS).max(1);
        let size = taps.len().div_ceil(parts).max(1);
        let mut first = 0;
        while first < self.wide {
            let valid = (self.wide - first).min(V::LANES);
            for (part, taps) in taps.chunks(size).enumerate() {
                // SAFETY: the processor was chosen for `V`; `weights` checked the bounds.
                unsafe {
                    let to = self.out.as_mut_ptr().add(part * size * self.wide + first);
                    macro_rules! by_count {
                        ($($n:literal)*) => {
                            match taps.len() {
                                $($n => weight_sums::<V, $n>(&self, taps, first, valid, to),)*
                                _ => {}
                            }
                        };
                    }
                    by_count!(1 2 3 4 5 6 7 8 9 10 11 12 13);
                }
            }
            first += V::LANES;
        }
    }
}

#[inline(always)]
unsafe fn weight_sums<V: Vector, const T: usize>(
    run: &Weights,
    taps: &[usize],
    first: usize,
    valid: usize,
    to: *mut f32,
) {
    let lines = &run.lines;
    let shared = run.wide / lines.channels;
    let (full, rest) = (lines.pixels / shared, lines.pixels % shared);
    // SAFETY: as promised by the caller; `rest` pixels have `rest * channels` numbers.
    unsafe {
        let mut sums = [V::zero(); T];
        for line in 0..lines.count {
            let from = run.from.as_ptr().add(line * lines.from_line + first);
            let from: [*const f32; T] = std::array::from_fn(|t| from.add(taps[t]));
            let gradient = run.gradient.as_ptr().add(line * lines.to_line + first);
            let (from_step, to_step) = (lines.from_step * shared, lines.to_step * shared);
            if valid == V::LANES {
                for p in 0..full {
                    let g = V::load(gradient.add(p * to_step));
                    for t in 0..T {
                        sums[t] = V::load(from[t].add(p * from_step)).fma(g, sums[t]);
                    }
                }
            } else {
                for p in 0..full {
                    let g = V::load_first(gradient.add(p * to_step), valid);
                    for t in 0..T {
                        let x = V::load_first(from[t].add(p * from_step), valid);
                        sums[t] = x.fma(g, sums[t]);
                    }
                }
            }
            if rest > 0 {
                let valid = rest * lines.channels;
                let g = V::load_first(gradient.add(full * to_step), valid);
                for t in 0..T {
                    let x = V::load_first(from[t].add(full * from_step), valid);
                    sums[t] = x.fma(g, sums[t]);
                }
            }
        }
        for (t, sum) in sums.into_iter().enumerate() {
            sum.store_first(to.add(t * run.wide), valid);
        }
    }
}
