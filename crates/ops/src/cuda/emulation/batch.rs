//! Batches of a resident data set against the rule of crate `data`, written down number by number.

use super::{Buffer, assert_close, check};
use crate::cuda::kernels::affine::add_bias;
use crate::cuda::kernels::batch::{Resident, batch};
use crate::program::Draw;
use crate::testing::Random;

fn one(
    device: &super::Emulator,
    shape: (usize, usize, usize),
    pad: usize,
    cutout: usize,
    random: &mut Random,
) {
    let (h, w, c) = shape;
    let (images, count) = (7, 11);
    let bytes: Vec<u8> = (0..images * h * w * c)
        .map(|_| random.within(0, 255) as u8)
        .collect();
    let labels: Vec<u32> = (0..images).map(|_| random.within(0, 9) as u32).collect();
    let table = random.values(256 * c);
    let mut shift = || random.within(0, 2 * pad) as i32 - pad as i32;
    let shifts: Vec<[i32; 2]> = (0..count).map(|_| [shift(), shift()]).collect();
    let draws: Vec<Draw> = shifts
        .iter()
        .map(|&[down, right]| Draw {
            image: random.within(0, images - 1) as u32,
            down,
            right,
            flipped: random.flip().into(),
            centre: [random.within(0, h - 1), random.within(0, w - 1)].map(|at| at as i32),
        })
        .collect();
    let mut expected = Vec::new();
    for draw in &draws {
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let across = if draw.flipped == 1 { w - 1 - x } else { x };
            let row = usize::try_from(y as i32 + draw.down)
                .ok()
                .filter(|&i| i < h);
            let column = usize::try_from(across as i32 + draw.right)
                .ok()
                .filter(|&j| j < w);
            let cut = [(y, draw.centre[0]), (x, draw.centre[1])]
                .into_iter()
                .all(|(at, centre)| {
                    let start = (centre as usize).saturating_sub(cutout / 2);
                    (start..centre as usize + cutout - cutout / 2).contains(&at)
                });
            for channel in 0..c {
                let byte = row.zip(column).map_or(0, |(i, j)| {
                    bytes[((draw.image as usize * h + i) * w + j) * c + channel]
                });
                let value = table[channel * 256 + usize::from(byte)];
                expected.push(if cut { 0.0 } else { value });
            }
        }
    }
    let words: Vec<u32> = draws.iter().flat_map(Draw::words).collect();
    let mut draw_buffer = Buffer::of(&words);
    let (mut bytes, mut all, mut table) =
        (Buffer::of(&bytes), Buffer::of(&labels), Buffer::of(&table));
    let mut pixels = Buffer::poisoned::<f32>(expected.len());
    let mut found = Buffer::poisoned::<u32>(count);
    let of = Resident {
        images: bytes.pointer(),
        labels: all.pointer(),
        table: table.pointer(),
        count: images,
        classes: 10,
        shape: [h, w, c],
        cutout,
    };
    let launch = batch(
        of,
        draw_buffer.pointer(),
        count,
        pixels.pointer(),
        found.pointer(),
    );
    device.run(&[launch.unwrap()]);
    assert_eq!(pixels.read::<f32>(), expected);
    let labels: Vec<u32> = draws.iter().map(|d| labels[d.image as usize]).collect();
    assert_eq!(found.read::<u32>(), labels);
}

#[test]
fn follows_the_rule() {
    check("batch", |device| {
        let mut random = Random::new(11);
        for (shape, pad, cutout) in [
            ((8, 8, 3), 2, 0),
            ((9, 7, 1), 4, 5),
            ((5, 6, 2), 0, 16),
            ((4, 4, 3), 9, 2),
        ] {
            one(device, shape, pad, cutout, &mut random);
        }
    });
}

#[test]
fn bias_is_added_to_every_row() {
    check("bias", |device| {
        let mut random = Random::new(12);
        for (rows, channels) in [(7, 8), (300, 3)] {
            let (bias, y) = (random.values(channels), random.values(rows * channels));
            let (mut bbias, mut by) = (Buffer::of(&bias), Buffer::of(&y));
            device.run(&[add_bias(bbias.pointer(), by.pointer(), rows, channels).unwrap()]);
            let expected = y.iter().zip(bias.iter().cycle()).map(|(y, b)| y + b);
            assert_close("bias", &by.read(), &expected.collect::<Vec<_>>());
        }
    });
}
