//! The making of one batch.

use crate::{Augmentation, Dataset, Images, Part, augmentation::Draw};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

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

/// Makes any batch of an epoch, in any order.
pub(super) struct Maker {
    dataset: Arc<Dataset>,
    part: Part,
    order: Vec<u32>,
    batch_size: usize,
    /// None for evaluation.
    augmentation: Option<Augmentation>,
    key: [u8; 32],
    /// The normalised value of each byte, for each channel.
    table: Vec<[f32; 256]>,
}

impl Maker {
    pub(super) fn train(
        dataset: Arc<Dataset>,
        mut indices: Vec<u32>,
        batch_size: usize,
        augmentation: Augmentation,
        seed: u64,
        epoch: u64,
    ) -> Self {
        let key = key(seed, epoch);
        indices.shuffle(&mut ChaCha8Rng::from_seed(key));
        let table = table(&dataset);
        Self {
            dataset,
            part: Part::Train,
            order: indices,
            batch_size,
            augmentation: Some(augmentation),
            key,
            table,
        }
    }

    pub(super) fn evaluate(
        dataset: Arc<Dataset>,
        part: Part,
        indices: Vec<u32>,
        batch_size: usize,
    ) -> Self {
        let table = table(&dataset);
        Self {
            dataset,
            part,
            order: indices,
            batch_size,
            augmentation: None,
            key: [0; 32],
            table,
        }
    }

    pub(super) fn make(&self, number: usize) -> Batch {
        let images = self.dataset.part(self.part);
        let first = number * self.batch_size;
        let members = &self.order[first..(first + self.batch_size).min(self.order.len())];
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(number as u64 + 1); // stream 0 has shuffled
        let mut pixels = Vec::with_capacity(members.len() * images.image_len());
        let mut changed = vec![0; images.image_len()];
        for &index in members {
            let image = images.image(index as usize);
            match self.augmentation {
                None => self.normalise(image, &mut pixels),
                Some(augmentation) => {
                    let draw = augmentation.draw(images.height, images.width, &mut rng);
                    crop_and_flip(images, image, augmentation.pad, &draw, &mut changed);
                    let start = pixels.len();
                    self.normalise(&changed, &mut pixels);
                    cut_out(images, augmentation.cutout, &draw, &mut pixels[start..]);
                }
            }
        }
        let labels = members
            .iter()
            .map(|&index| images.labels[index as usize])
            .collect();
        Batch { pixels, labels }
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

/// 256 bits from the seed and the epoch, so that no two epochs of any two seeds share a stream.
fn key(seed: u64, epoch: u64) -> [u8; 32] {
    let mut key = *b"cellwright batch order          ";
    key[16..24].copy_from_slice(&seed.to_le_bytes());
    key[24..].copy_from_slice(&epoch.to_le_bytes());
    key
}

fn table(dataset: &Dataset) -> Vec<[f32; 256]> {
    let channel =
        |(&mean, &std): (&f32, &f32)| std::array::from_fn(|v| (v as f32 / 255.0 - mean) / std);
    dataset.mean.iter().zip(&dataset.std).map(channel).collect()
}

/// Writes the crop at `draw.crop` of `image` padded with black by `pad`, flipped if so drawn.
fn crop_and_flip(images: &Images, image: &[u8], pad: usize, draw: &Draw, out: &mut [u8]) {
    let (width, channels) = (images.width, images.channels);
    let row_len = width * channels;
    for (y, target) in out.chunks_exact_mut(row_len).enumerate() {
        match (y + draw.crop.0)
            .checked_sub(pad)
            .filter(|&row| row < images.height)
        {
            None => target.fill(0),
            Some(row) => shift(
                &image[row * row_len..][..row_len],
                draw.crop.1,
                pad,
                channels,
                target,
            ),
        }
        if draw.flipped {
            flip(target, channels);
        }
    }
}

/// One row, moved left by `column - pad` pixels, black where nothing comes in.
fn shift(row: &[u8], column: usize, pad: usize, channels: usize, target: &mut [u8]) {
    let by = column.abs_diff(pad) * channels;
    let kept = row.len() - by.min(row.len());
    if column >= pad {
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
    let columns = span(draw.centre.1, images.width);
    for y in span(draw.centre.0, images.height) {
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

    fn changed(channels: usize, pad: usize, crop: (usize, usize), flipped: bool) -> Vec<u8> {
        let images = image(channels);
        let mut out = vec![99; images.image_len()];
        crop_and_flip(
            &images,
            images.image(0),
            pad,
            &Draw {
                crop,
                flipped,
                centre: (0, 0),
            },
            &mut out,
        );
        out
    }

    #[test]
    fn crops_shift_and_pad_with_black() {
        assert_eq!(changed(1, 0, (0, 0), false), [1, 2, 3, 4, 5, 6]);
        assert_eq!(changed(1, 1, (1, 1), false), [1, 2, 3, 4, 5, 6]);
        assert_eq!(changed(1, 1, (0, 0), false), [0, 0, 0, 0, 1, 2]);
        assert_eq!(changed(1, 1, (2, 2), false), [5, 6, 0, 0, 0, 0]);
        assert_eq!(changed(1, 1, (1, 2), true), [0, 3, 2, 0, 6, 5]);
        assert_eq!(changed(1, 2, (2, 0), false), [0, 0, 1, 0, 0, 4]);
    }

    #[test]
    fn a_flip_keeps_the_channels_of_a_pixel_in_order() {
        assert_eq!(
            changed(2, 0, (0, 0), true),
            [5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8]
        );
        assert_eq!(changed(3, 0, (0, 0), true)[..6], [7, 8, 9, 4, 5, 6]);
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
        assert_eq!(cut(0, (0, 0)), [0, 0, 0, 0, 0, 0]);
        assert_eq!(cut(1, (1, 1)), [0, 0, 0, 0, 1, 0]);
        assert_eq!(cut(2, (0, 0)), [1, 0, 0, 0, 0, 0]);
        assert_eq!(cut(2, (1, 2)), [0, 1, 1, 0, 1, 1]);
        assert_eq!(cut(9, (1, 2)), [1; 6]);
    }
}
