//! Sums of branches and concatenation, with more inputs than one launch takes and with one that occurs twice.

use super::{Buffer, Emulator, assert_close, check, some_stride, spaced, together};
use crate::cuda::Pointer;
use crate::cuda::kernels::affine::Prologue;
use crate::cuda::kernels::combine::{
    Share, Target, Term, combine, combine_gradient, concat, concat_gradient,
};
use crate::cuda::kernels::elementwise::Shape;
use crate::testing::Random;

fn sums(device: &Emulator, inputs: usize, shape: Shape, relu: bool, random: &mut Random) {
    let (images, pixels, channels) = shape;
    let size = pixels * channels;
    let length = images * size;
    let values: Vec<Vec<f32>> = (0..inputs).map(|_| random.values(length)).collect();
    let mut buffers: Vec<Buffer> = values.iter().map(|v| Buffer::of(v)).collect();
    let shares: Vec<Vec<f32>> = (0..inputs)
        .map(|_| {
            let mut shares = random.values(images);
            shares[0] = 0.0;
            shares
        })
        .collect();
    let mut share_buffers: Vec<Buffer> = shares.iter().map(|v| Buffer::of(v)).collect();
    // Every second input has one share; the last of these is 0, and its numbers must not be read.
    let all = |i: usize| if i + 2 >= inputs { 0.0 } else { 0.3 + i as f32 };
    let share = |i: usize, n: usize| if i % 2 == 1 { all(i) } else { shares[i][n] };
    let mut shared = |i: usize| match i % 2 {
        1 => Share::All(all(i)),
        _ => Share::Images(share_buffers[i].pointer()),
    };
    if inputs > 1 {
        let unread = (inputs - 2) | 1;
        buffers[unread] = Buffer::poisoned::<f32>(length);
    }
    // Every third one is normalised.
    let normalised = |i: usize| i % 3 == 2;
    let [factors, offsets] = [(); 2].map(|()| random.values(channels));
    let [mut factor, mut offset] = [&factors, &offsets].map(|it| Buffer::of(it));
    let prologue = Prologue {
        factor: factor.pointer(),
        offset: offset.pointer(),
        relu: false,
    };
    let terms: Vec<_> = (0..inputs)
        .map(|i| Term {
            x: buffers[i].pointer(),
            norm: normalised(i).then_some(prologue),
            share: shared(i),
        })
        .collect();
    let stride = some_stride(channels, random);
    let mut y = Buffer::poisoned::<f32>(length / channels * stride);
    device.run(&combine(&terms, relu, (y.pointer(), stride), shape).unwrap());
    let y = together(&y.read(), channels, stride);
    let value = |i: usize, at: usize| match normalised(i) {
        true => values[i][at] * factors[at % channels] + offsets[at % channels],
        false => values[i][at],
    };
    let expected = (0..length).map(|at| {
        let terms = (0..inputs).map(|i| share(i, at / size) * value(i, at));
        let sum: f32 = terms.sum();
        if relu { sum.max(0.0) } else { sum }
    });
    let expected: Vec<f32> = expected.collect();
    assert_close("sum", &y, &expected);

    // Gradients: stored and added ones in turn; the first buffer occurs again at the end.
    let dy = random.values(length);
    let mut bdy = Buffer::of(&spaced(&dy, channels, stride));
    let (mut by, mut gradients) = (Buffer::of(&y), Vec::new());
    for (i, old) in values.iter().enumerate() {
        gradients.push(match i % 3 {
            0 => Buffer::poisoned::<f32>(length),
            _ => Buffer::of(old),
        });
    }
    let order: Vec<usize> = (0..inputs).chain([0]).collect();
    let targets: Vec<_> = order
        .iter()
        .map(|&i| {
            let dx = gradients[i].pointer();
            (
                Target {
                    dx,
                    add: i % 3 != 0,
                },
                shared(i),
            )
        })
        .collect();
    let of_y = if relu { by.pointer() } else { Pointer::NULL };
    let from = ((bdy.pointer(), stride), of_y);
    device.run(&combine_gradient(&targets, from, shape).unwrap());
    let passed = |at: usize| {
        if relu && y[at] <= 0.0 { 0.0 } else { dy[at] }
    };
    for i in 0..inputs {
        let times = if i == 0 { 2.0 } else { 1.0 };
        let expected = (0..length).map(|at| {
            let old = if i % 3 == 0 { 0.0 } else { values[i][at] };
            old + times * share(i, at / size) * passed(at)
        });
        assert_close(
            &format!("gradient {i}"),
            &gradients[i].read(),
            &expected.collect::<Vec<_>>(),
        );
    }
}

fn side_by_side(device: &Emulator, widths: &[usize], pixels: usize, random: &mut Random) {
    let channels: usize = widths.iter().sum();
    let values: Vec<Vec<f32>> = widths.iter().map(|w| random.values(w * pixels)).collect();
    let mut buffers: Vec<Buffer> = values.iter().map(|v| Buffer::of(v)).collect();
    // What lies there already has no address.
    let lies: Vec<bool> = widths.iter().map(|_| random.within(0, 3) == 0).collect();
    let address = |lies: bool, buffer: &mut Buffer| match lies {
        true => Pointer::NULL,
        false => buffer.pointer(),
    };
    let inputs = buffers.iter_mut().zip(widths).zip(&lies);
    let inputs: Vec<_> = inputs
        .map(|((buffer, &width), lies)| (address(*lies, buffer), width))
        .collect();
    let stride = some_stride(channels, random);
    let mut y = Buffer::poisoned::<f32>(stride * pixels);
    device.run(&concat(&inputs, (y.pointer(), stride), pixels).unwrap());
    let rows = |lies: &[bool]| -> Vec<f32> {
        let rows = (0..pixels).flat_map(|p| {
            let pieces = values.iter().zip(widths).zip(lies);
            pieces.flat_map(move |((v, w), lies)| {
                let row = v[p * w..(p + 1) * w].iter();
                row.map(move |it| if *lies { f32::NAN } else { *it })
            })
        });
        rows.collect()
    };
    let found = together(&y.read(), channels, stride);
    let same = |(found, expected): (&f32, &f32)| found.to_bits() == expected.to_bits();
    let expected = rows(&lies);
    let both_none = |(found, expected): (&f32, &f32)| found.is_nan() && expected.is_nan();
    let mut all = found.iter().zip(&expected);
    assert!(all.all(|it| same(it) || both_none(it)));
    let whole = spaced(&rows(&vec![false; widths.len()]), channels, stride);

    // The gradient of the same numbers is the inputs again; the first piece gets it twice if it fits the last.
    let mut gradients: Vec<Buffer> = Vec::new();
    for (i, v) in values.iter().enumerate() {
        gradients.push(if i % 2 == 0 {
            Buffer::poisoned::<f32>(v.len())
        } else {
            Buffer::of(v)
        });
    }
    let last = widths.len() - 1;
    let twice = last > 0 && widths[last] == widths[0];
    let targets: Vec<_> = (0..widths.len())
        .map(|i| {
            let from = if twice && i == last { 0 } else { i };
            let dx = address(lies[from], &mut gradients[from]);
            (
                Target {
                    dx,
                    add: from % 2 == 1,
                },
                widths[i],
            )
        })
        .collect();
    let mut whole = Buffer::of(&whole);
    device.run(&concat_gradient(&targets, (whole.pointer(), stride), pixels).unwrap());
    for (i, v) in values
        .iter()
        .enumerate()
        .filter(|(i, _)| !(lies[*i] || twice && *i == last))
    {
        let expected = v.iter().enumerate().map(|(at, x)| {
            let again = if twice && i == 0 {
                values[last][at]
            } else {
                0.0
            };
            x + again + if i % 2 == 1 { *x } else { 0.0 }
        });
        let expected: Vec<f32> = expected.collect();
        assert_close(&format!("piece {i}"), &gradients[i].read(), &expected);
    }
}

#[test]
fn agree_with_the_rule() {
    check("combine", |device| {
        let mut random = Random::new(6);
        let cases = [
            (1, (3, 2, 4)),
            (2, (2, 5, 3)),
            (3, (3, 4, 8)),
            (5, (3, 8, 3)),
            (9, (2, 3, 4)),
            (18, (2, 1, 7)),
        ];
        for (case, (inputs, shape)) in cases.into_iter().enumerate() {
            sums(device, inputs, shape, case % 2 == 1, &mut random);
        }
        for widths in [
            &[4, 8, 4][..],
            &[3, 1, 5],
            &[8],
            &[2, 2],
            &[4; 11],
            &[1; 9],
            &[4, 6, 0, 4],
        ] {
            for _ in 0..3 {
                side_by_side(device, widths, 13, &mut random);
            }
        }
    });
}
