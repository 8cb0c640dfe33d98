//! Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): clothes, in the four files of MNIST.

use super::{Location, Source, folder_of, holding, plain_or_gzipped};
use crate::{
    Augmentation, Dataset, Error, Images, Progress,
    fetch::{self, Attempts, File, Workplace},
    format::idx,
};
use std::path::{Path, PathBuf};

const FOLDER: &str = "fashion-mnist";
/// Where the Debian package installs the files.
const SYSTEM: &str = "usr/share/datasets/fashion-mnist";
const PACKAGE: &str = "dataset-fashion-mnist";
const OFFICIAL: &str = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com";
const BY_HAND: &str = "put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
    t10k-labels-idx1-ubyte (plain or .gz) from https://github.com/zalandoresearch/fashion-mnist";

/// Sums of the unpacked files: packers differ, so those of the .gz files do too.
const FILES: [File; 4] = [
    File {
        name: "train-images-idx3-ubyte",
        sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    File {
        name: "train-labels-idx1-ubyte",
        sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    File {
        name: "t10k-images-idx3-ubyte",
        sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    File {
        name: "t10k-labels-idx1-ubyte",
        sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
];

const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// 60,000 + 10,000 grey images of 28×28.
pub(super) struct FashionMnist;

impl Source for FashionMnist {
    fn name(&self) -> &'static str {
        "fashion-mnist"
    }

    fn about(&self) -> &'static str {
        "70,000 pieces of clothing in 10 classes, 28x28 grey (Xiao et al. 2017; MIT), 31 MB to fetch"
    }

    fn folders(&self, root: &Path) -> Vec<PathBuf> {
        // The second is where torchvision keeps it.
        vec![
            root.join(FOLDER),
            root.join("FashionMNIST/raw"),
            Path::new("/").join(SYSTEM),
        ]
    }

    fn locate(&self, root: &Path) -> Option<Location> {
        holding(&self.folders(root), &FILES.map(|file| file.name))
    }

    fn read(&self, location: &Location) -> Result<Dataset, Error> {
        let folder = folder_of(location, self.name())?;
        let [train_images, train_labels, test_images, test_labels] = &FILES;
        let train = part(&folder, [train_images, train_labels])?;
        let test = part(&folder, [test_images, test_labels])?;
        let augmentation = Augmentation {
            pad: 2,
            flip: true,
            cutout: 0,
        };
        Dataset::new(
            self.name(),
            CLASSES.map(str::to_owned).to_vec(),
            train,
            test,
            augmentation,
        )
    }

    fn fetch(&self, root: &Path, progress: &mut Progress<'_>) -> Result<String, Error> {
        let target = root.join(FOLDER);
        let mut attempts =
            Attempts::new(self.name(), format!("{BY_HAND} into {}.", target.display()));
        let work = Workplace::new(root)?;
        let names = FILES.map(|file| format!("{}.gz", file.name));
        if attempts.take(OFFICIAL, official(&work, progress))
            || attempts.take("apt-get", package(&work, progress))
        {
            fetch::install(&work.folder(), &target, &names)?;
        }
        attempts.finish()
    }
}

/// The four files from the official address, checked, into the workplace's folder.
fn official(work: &Workplace, progress: &mut Progress<'_>) -> Result<(), String> {
    for file in &FILES {
        let packed = work.path(&format!("{}.gz", file.name));
        fetch::download(&format!("{OFFICIAL}/{}.gz", file.name), &packed, progress)?;
        check(file, &packed)?;
    }
    Ok(())
}

/// The four files from the Debian package, which is unpacked and not installed.
fn package(work: &Workplace, progress: &mut Progress<'_>) -> Result<(), String> {
    let unpacked = fetch::debian_package(PACKAGE, work, progress)?;
    for file in &FILES {
        let from = unpacked.join(SYSTEM).join(format!("{}.gz", file.name));
        check(file, &from)?;
        std::fs::rename(&from, work.path(&format!("{}.gz", file.name)))
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn check(file: &File, packed: &Path) -> Result<(), String> {
    let bytes = std::fs::read(packed).map_err(|e| format!("{}: {e}", packed.display()))?;
    let unpacked =
        idx::unpack(&bytes).map_err(|problem| format!("{}: {problem}", packed.display()))?;
    file.check(&unpacked)
}

/// The dims and values of a file, plain or with `.gz`, once its sum is right.
pub(super) fn read_checked(
    folder: &Path,
    file: &File,
    rank: u8,
) -> Result<(Vec<usize>, Vec<u8>), Error> {
    let path = plain_or_gzipped(folder, file.name);
    let corrupt = |problem: String| {
        let next = format!(
            "put the original there (MNIST's own has the same name), or delete it and run `cellwright data fetch {FOLDER}`"
        );
        Error::corrupt(&path, problem, next)
    };
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let bytes = idx::unpack(&bytes).map_err(|problem| corrupt(problem.to_string()))?;
    // First what tells the place of the damage.
    let array = idx::parse(&bytes, rank).map_err(|problem| corrupt(problem.to_string()))?;
    match file.mismatch(&bytes) {
        Some(problem) => Err(corrupt(problem)),
        None => Ok((array.dims, array.values.to_vec())),
    }
}

fn part(folder: &Path, [images, labels]: [&File; 2]) -> Result<Images, Error> {
    let (images, labels) = rayon::join(
        || read_checked(folder, images, 3),
        || read_checked(folder, labels, 1),
    );
    let ((dims, pixels), (_, labels)) = (images?, labels?);
    Ok(Images {
        height: dims[1],
        width: dims[2],
        channels: 1,
        pixels,
        labels: labels.into_iter().map(u32::from).collect(),
    })
}
