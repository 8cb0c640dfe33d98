//! A library's convolutions on the host, as its manual has them.

use super::bf16::unpacked;
use crate::cuda::Pointer;
use crate::cuda::script::{Dense, Pass, packed};

/// Words of the device's memory.
fn slice<'a, T>(pointer: Pointer, len: usize) -> &'a mut [T] {
    let start = std::ptr::with_exposed_provenance_mut::<T>(pointer.0 as usize);
    // SAFETY: the work's buffers lie in the device's memory, apart from each other.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}

/// A tensor's numbers, which may be bfloat16.
fn read(pointer: Pointer, len: usize, bf16: bool) -> Vec<f32> {
    match bf16 {
        true => unpacked(slice(pointer, len.div_ceil(2)))[..len].to_vec(),
        false => slice(pointer, len).to_vec(),
    }
}

/// Runs a pass, term by term.
pub(super) fn dense(work: &Dense) {
    let g = &work.geometry;
    let ([kh, kw], [down, right]) = (g.kernel, g.conv.stride);
    let ([rows, columns], [top, _, left, _]) = (g.conv.dilation, g.conv.padding);
    let of_x = g.images * g.height * g.width * g.channels;
    let mut x = read(work.x, of_x, work.bf16);
    let mut y = read(work.y, g.images * g.out_pixels() * g.filters, work.bf16);
    let mut filters = read(work.filters, g.weights(), work.bf16);
    let written = match work.pass {
        Pass::Forward => &mut y,
        Pass::Input => &mut x,
        Pass::Filters => &mut filters,
    };
    if !work.add {
        written.fill(0.0);
    }
    let outputs =
        (0..g.images * g.out_pixels()).flat_map(|pixel| (0..g.filters).map(move |f| (pixel, f)));
    for (pixel, f) in outputs {
        let (image, place) = (pixel / g.out_pixels(), pixel % g.out_pixels());
        let (row, column) = (place / g.out_width * down, place % g.out_width * right);
        let out = pixel * g.filters + f;
        for tap in 0..kh * kw {
            let (i, j) = (row + tap / kw * rows, column + tap % kw * columns);
            let (Some(i), Some(j)) = (i.checked_sub(top), j.checked_sub(left)) else {
                continue;
            };
            if i >= g.height || j >= g.width {
                continue;
            }
            for c in 0..g.channels {
                let from = ((image * g.height + i) * g.width + j) * g.channels + c;
                let filter = (f * kh * kw + tap) * g.channels + c;
                match work.pass {
                    Pass::Forward => y[out] += x[from] * filters[filter],
                    Pass::Input => x[from] += y[out] * filters[filter],
                    Pass::Filters => filters[filter] += x[from] * y[out],
                }
            }
        }
    }
    let (to, made) = match work.pass {
        Pass::Forward => (work.y, y),
        Pass::Input => (work.x, x),
        Pass::Filters => (work.filters, filters),
    };
    match work.bf16 {
        true => slice(to, made.len().div_ceil(2)).copy_from_slice(&packed(&made)),
        false => slice(to, made.len()).copy_from_slice(&made),
    }
}
