//! The making of one batch.

use crate::{Draw, Images, Plan};

/// Images ready for a network, and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[images, height, width, channels]`, each channel with mean 0 and standard deviation 1 over the training part.
    pub pixels: Vec<f32>,
    /// The class of each image.
    pub labels: Vec<u32>,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Makes any batch of a plan, in any order.
pub(super) struct Maker {
    plan: Plan,
    /// The normalised value of each byte, for each channel.
    table: Vec<[f32; 256]>,
}

impl Maker {
    pub(super) fn new(plan: Plan) -> Self {
        let table = plan.dataset().table();
        Self { plan, table }
    }

    pub(super) fn make(&self, number: usize) -> Batch {
        let images = self.plan.dataset().part(self.plan.part());
        let draws = self.plan.draws(number);
        let mut pixels = Vec::with_capacity(draws.len() * images.image_len());
        let mut changed = vec![0; images.image_len()];
        for draw in &draws {
            let image = images.image(draw.image as usize);
            match self.plan.augmentation() {
                None => self.normalise(image, &mut pixels),
                Some(augmentation) => {
                    crop_and_flip(images, image, draw, &mut changed);
                    let start = pixels.len();
                    self.normalise(&changed, &mut pixels);
                    cut_out(images, augmentation.cutout, draw, &mut pixels[start..]);
                }
            }
        }
        let labels = draws.iter().map(|draw| images.labels[draw.image as usize]);
        Batch {
            labels: labels.collect(),
            pixels,
        }
    }

    fn normalise(&self, image: &[u8], pixels: &mut Vec<f32>) {
        match self.table.as_slice() {
            [grey] => pixels.extend(image.iter().map(|&v| grey[usize::from(v)])),
            [red, green, blue] => pixels.extend(image.chunks_exact(3).flat_map(|p| {
                [
                    red[usize::from(p[0])],
                    green[usize::from(p[1])],
                    blue[usize::from(p[2])],
                ]
            })),
            tables => pixels.extend(
                image
                    .iter()
                    .zip(tables.iter().cycle())
                    .map(|(&v, t)| t[usize::from(v)]),
            ),
        }
    }
}

/// Writes the crop of `image` that `draw` names, black beyond the edge, flipped if so drawn.
fn crop_and_flip(images: &Images, image: &[u8], draw: &Draw, out: &mut [u8]) {
    let (width, channels) = (images.width, images.channels);
    let row_len = width * channels;
    let [down, right] = draw.shift;
    for (y, target) in out.chunks_exact_mut(row_len).enumerate() {
        match y
            .checked_add_signed(down as isize)
            .filter(|&row| row < images.height)
        {
            None => target.fill(0),
            Some(row) => shift(&image[row * row_len..][..row_len], right, channels, target),
        }
        if draw.flipped {
            flip(target, channels);
        }
    }
}

/// One row, moved left by `right` pixels, black where nothing comes in.
fn shift(row: &[u8], right: i32, channels: usize, target: &mut [u8]) {
    let by = right.unsigned_abs() as usize * channels;
    let kept = row.len() - by.min(row.len());
    if right >= 0 {
        target[..kept].copy_from_slice(&row[row.len() - kept..]);
        target[kept..].fill(0);
    } else {
        target[row.len() - kept..].copy_from_slice(&row[..kept]);
        target[..row.len() - kept].fill(0);
    }
}

/// Mirrors a row of pixels.
fn flip(row: &mut [u8], channels: usize) {
    row.reverse();
    if channels > 1 {
        row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
    }
}

/// Sets the square to 0, which is the mean colour of a normalised image.
fn cut_out(images: &Images, side: usize, draw: &Draw, pixels: &mut [f32]) {
    if side == 0 {
        return;
    }
    let span = |centre: usize, size: usize| {
        (centre.saturating_sub(side / 2))..(centre + side - side / 2).min(size)
    };
    let [row, column] = draw.centre.map(|at| at as usize);
    let columns = span(column, images.width);
    for y in span(row, images.height) {
        let row = y * images.width;
        pixels[(row + columns.start) * images.channels..(row + columns.end) * images.channels]
            .fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(channels: usize) -> Images {
        let pixels = (1..=(2 * 3 * channels) as u8).collect();
        Images {
            height: 2,
            width: 3,
            channels,
            pixels,
            labels: vec![0],
        }
    }

    fn changed(channels: usize, shift: [i32; 2], flipped: bool) -> Vec<u8> {
        let images = image(channels);
        let mut out = vec![99; images.image_len()];
        crop_and_flip(
            &images,
            images.image(0),
            &Draw {
                shift,
                flipped,
                ..Draw::default()
            },
            &mut out,
        );
        out
    }

    #[test]
    fn crops_shift_and_pad_with_black() {
        assert_eq!(changed(1, [0, 0], false), [1, 2, 3, 4, 5, 6]);
        assert_eq!(changed(1, [0, 0], false), [1, 2, 3, 4, 5, 6]);
        assert_eq!(changed(1, [-1, -1], false), [0, 0, 0, 0, 1, 2]);
        assert_eq!(changed(1, [1, 1], false), [5, 6, 0, 0, 0, 0]);
        assert_eq!(changed(1, [0, 1], true), [0, 3, 2, 0, 6, 5]);
        assert_eq!(changed(1, [0, -2], false), [0, 0, 1, 0, 0, 4]);
    }

    #[test]
    fn a_flip_keeps_the_channels_of_a_pixel_in_order() {
        assert_eq!(
            changed(2, [0, 0], true),
            [5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8]
        );
        assert_eq!(changed(3, [0, 0], true)[..6], [7, 8, 9, 4, 5, 6]);
    }

    #[test]
    fn cutout_clips_at_the_edge() {
        let images = image(2);
        let cut = |side, centre| {
            let mut pixels = vec![1.0; images.image_len()];
            cut_out(
                &images,
                side,
                &Draw {
                    centre,
                    ..Draw::default()
                },
                &mut pixels,
            );
            pixels
                .chunks(2)
                .map(|p| u8::from(p == [0.0, 0.0]))
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(0, [0, 0]), [0, 0, 0, 0, 0, 0]);
        assert_eq!(cut(1, [1, 1]), [0, 0, 0, 0, 1, 0]);
        assert_eq!(cut(2, [0, 0]), [1, 0, 0, 0, 0, 0]);
        assert_eq!(cut(2, [1, 2]), [0, 1, 1, 0, 1, 1]);
        assert_eq!(cut(9, [1, 2]), [1; 6]);
    }
}
