//! The UCI optical digits, embedded: a data set where there is no network and no disk.

use super::{Location, Source};
use crate::{Augmentation, Dataset, Error, Images, Progress, format::idx, split::every_fifth};
use std::path::{Path, PathBuf};

static IMAGES: &[u8] = include_bytes!("../../assets/digits-images-idx3-ubyte.gz");
static LABELS: &[u8] = include_bytes!("../../assets/digits-labels-idx1-ubyte.gz");

/// 1,797 grey images of 8×8 (Alpaydin & Kaynak 1998, CC BY 4.0: `assets/README.md`). The test part is every fifth
/// image of each class.
pub(super) struct Digits;

impl Source for Digits {
    fn name(&self) -> &'static str {
        "digits"
    }

    fn about(&self) -> &'static str {
        "1,797 handwritten digits, 8x8 grey, embedded (UCI; Alpaydin & Kaynak 1998; CC BY 4.0)"
    }

    fn folders(&self, _root: &Path) -> Vec<PathBuf> {
        Vec::new()
    }

    fn locate(&self, _root: &Path) -> Option<Location> {
        Some(Location::Embedded)
    }

    fn read(&self, _location: &Location) -> Result<Dataset, Error> {
        let damaged = |problem| {
            Error::corrupt(
                Path::new("embedded digits"),
                format!("{problem}"),
                "build again",
            )
        };
        let (images, labels) = (
            idx::unpack(IMAGES).map_err(damaged)?,
            idx::unpack(LABELS).map_err(damaged)?,
        );
        let (images, labels) = (
            idx::parse(&images, 3).map_err(damaged)?,
            idx::parse(&labels, 1).map_err(damaged)?,
        );
        let all = Images {
            height: images.dims[1],
            width: images.dims[2],
            channels: 1,
            pixels: images
                .values
                .iter()
                .map(|&level| brightness(level))
                .collect(),
            labels: labels
                .values
                .iter()
                .map(|&label| u32::from(label))
                .collect(),
        };
        let (train, test) = every_fifth(&all.labels);
        let classes = (0..10).map(|digit| digit.to_string()).collect();
        let augmentation = Augmentation {
            pad: 1,
            flip: false,
            cutout: 0,
        };
        Dataset::new(
            self.name(),
            classes,
            all.select(&train),
            all.select(&test),
            augmentation,
        )
    }

    fn fetch(&self, _root: &Path, _progress: &mut Progress<'_>) -> Result<String, Error> {
        Ok("this program".to_owned())
    }
}

/// 0..=16 dots of a 4×4 block, as 0..=255.
fn brightness(level: u8) -> u8 {
    (u16::from(level.min(16)) * 255 / 16) as u8
}
