//! CIFAR-10's binary records: one byte of label, then 32×32 red, green and blue values, each a plane, row by row.
//! <https://www.cs.toronto.edu/~kriz/cifar.html>

use super::Problem;

/// Rows and columns of an image.
pub(crate) const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const CHANNELS: usize = 3;
/// Bytes of one record.
pub(crate) const RECORD: usize = 1 + CHANNELS * PLANE;

/// Appends the images (as `[images, 32, 32, 3]`) and labels of a file to `pixels` and `labels`.
pub(crate) fn parse(
    bytes: &[u8],
    pixels: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), Problem> {
    if !bytes.len().is_multiple_of(RECORD) {
        let offset = bytes.len() / RECORD * RECORD;
        let found = bytes.len() - offset;
        return Err(Problem {
            offset,
            what: format!("a record of {RECORD} bytes expected, the file ends after {found}"),
        });
    }
    pixels.reserve(bytes.len());
    for (i, record) in bytes.chunks_exact(RECORD).enumerate() {
        if record[0] > 9 {
            let what = format!("the label of image {i} is {}, 0 to 9 expected", record[0]);
            return Err(Problem {
                offset: i * RECORD,
                what,
            });
        }
        labels.push(u32::from(record[0]));
        let planes = &record[1..];
        pixels
            .extend((0..PLANE).flat_map(|p| [planes[p], planes[PLANE + p], planes[2 * PLANE + p]]));
    }
    Ok(())
}

/// Appends one record to `bytes`; `image` is `[32, 32, 3]`.
pub(crate) fn write(label: u8, image: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(label);
    for channel in 0..CHANNELS {
        bytes.extend(image.iter().skip(channel).step_by(CHANNELS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u32>), Problem> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        parse(bytes, &mut pixels, &mut labels)?;
        Ok((pixels, labels))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn round_trip(images in prop::collection::vec(
            (0u8..10, prop::collection::vec(any::<u8>(), CHANNELS * PLANE)), 0..3,
        )) {
            let mut bytes = Vec::new();
            for (label, image) in &images {
                write(*label, image, &mut bytes);
            }
            let (pixels, labels) = read(&bytes).unwrap();
            prop_assert_eq!(labels, images.iter().map(|(label, _)| u32::from(*label)).collect::<Vec<_>>());
            prop_assert_eq!(pixels, images.into_iter().flat_map(|(_, image)| image).collect::<Vec<_>>());
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2 * RECORD + 9)) {
            let whole = bytes.len().is_multiple_of(RECORD);
            prop_assert!(whole || read(&bytes).is_err());
        }
    }

    #[test]
    fn planes_become_channels_of_a_pixel() {
        let mut record = vec![7];
        record.extend([1; PLANE].iter().chain(&[2; PLANE]).chain(&[3; PLANE]));
        let (pixels, labels) = read(&record).unwrap();
        assert_eq!(
            (labels, &pixels[..6], pixels.len()),
            (vec![7], &[1, 2, 3, 1, 2, 3][..], 3 * PLANE)
        );
    }

    #[test]
    fn a_wrong_label_and_a_cut_record_are_placed() {
        let mut bytes = vec![0; 2 * RECORD];
        bytes[RECORD] = 10;
        assert_eq!(read(&bytes).unwrap_err().offset, RECORD);
        assert_eq!(read(&bytes[..RECORD + 5]).unwrap_err().offset, RECORD);
    }
}
