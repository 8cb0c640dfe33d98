//! A folder of images, one subfolder a class.
//!
//! ```text
//! flowers/daisy/1.png            flowers/train/daisy/1.png
//! flowers/rose/7.jpg      or     flowers/test/daisy/4.png    (or flowers/val/daisy/4.png)
//! ```

use crate::{Augmentation, Dataset, Error, Images, split::every_fifth};
use image::imageops::FilterType;
use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, Luma, Rgb, RgbImage,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The side that images get where they differ in size or are large.
pub const DEFAULT_SIZE: u32 = 32;
/// Images of one common size are left as they are up to this side.
pub const LARGEST_KEPT: u32 = 96;
/// The largest side that can be asked for.
pub const MAX_SIZE: u32 = 1024;

const NEXT: &str = "repair or remove it";

/// The folder of the training part, beside that of the test part.
const TRAIN: &str = "train";
/// What the folder beside that of the training part may be called. Only one can be there: validation is split off the
/// training part, so each is the test part.
const BESIDE: [&str; 4] = ["test", "val", "valid", "validation"];

/// Endings of pictures that are not read.
const FOREIGN: [&str; 13] = [
    "avif", "bmp", "gif", "heic", "heif", "ico", "jfif", "jp2", "jxl", "svg", "tif", "tiff", "webp",
];

/// Width and height of an image.
type Size = (u32, u32);
/// An image file and its class.
type Labelled = (PathBuf, u32);

/// Reads a folder of PNG and JPEG images.
///
/// - A class is a subfolder, in the order of their names; files and folders that begin with `.` and files with another
///   ending are passed over, folders within a class too if no images lie in them. Where there are subfolders `train`
///   and `test` and no others, they hold the classes (the same in both) of the two parts; else every fifth image of
///   each class, in the order of file names, is the test part. The test part may be called `val`, `valid` or
///   `validation`; of these and `test` one alone may be there, as validation images are split off the training part.
/// - Size: `size`, if given, makes images size×size. Otherwise images that all have one size of at most
///   [`LARGEST_KEPT`] on a side keep it, and all others become [`DEFAULT_SIZE`]×[`DEFAULT_SIZE`]. The rule of resizing:
///   the largest centred square is scaled with a triangle filter (antialiased). A camera's orientation tag is obeyed.
/// - Transparent images are put on white, before they are resized.
/// - Channels: grey if all images are grey, else RGB.
/// - Augmentation: pad by an eighth of the shorter side, and flip.
/// - [`Dataset::notes`] tell of images that were cropped or scaled, of pictures in other formats, and of classes
///   without a test image.
///
/// # Errors
/// [`Error::Io`], or [`Error::Corrupt`] naming the first unreadable image, and how many more there are; or a folder
/// without at least two classes with images, a class without images, or none or more than one part beside `train`.
pub fn load(folder: &Path, size: Option<u32>) -> Result<Dataset, Error> {
    let parts = parts(folder)?;
    let (mut listed, tests) = if let Some([train_folder, test_folder]) = &parts {
        let mut train = list(train_folder)?;
        let test = list(test_folder)?;
        if train.classes != test.classes {
            let problem = format!(
                "classes {:?}, but {:?} in {}",
                test.classes,
                train.classes,
                train_folder.display()
            );
            return Err(Error::corrupt(
                test_folder,
                problem,
                "give both the same subfolders",
            ));
        }
        train.foreign.extend(test.foreign);
        (train, test.images)
    } else {
        (list(folder)?, Vec::new())
    };
    let train_count = listed.images.len();
    listed.images.extend(tests);
    let (all, sizes) = decode(&listed.images, size)?;
    let (train, test) = if parts.is_some() {
        (0..all.len() as u32).partition(|&i| (i as usize) < train_count)
    } else {
        every_fifth(&all.labels)
    };
    let test = all.select(&test);
    let notes = [
        resized(folder, &sizes, &all, size.is_some()),
        passed_over(&listed.foreign),
        untested(&listed.classes, &test),
    ];
    let notes = notes.into_iter().flatten();
    let augmentation = Augmentation {
        pad: all.height.min(all.width) / 8,
        flip: true,
        cutout: 0,
    };
    let set = Dataset::new(
        name_of(folder),
        listed.classes,
        all.select(&train),
        test,
        augmentation,
    )?;
    Ok(Dataset {
        notes: notes
            .map(|note| format!("{}: {note}", folder.display()))
            .collect(),
        ..set
    })
}

/// What became of images whose sizes are not those of the data set; `asked`: whether that size was asked for.
fn resized(folder: &Path, sizes: &[Size], all: &Images, asked: bool) -> Option<String> {
    let (width, height) = *sizes.first()?;
    let kept = (all.width as u32, all.height as u32);
    let cropped = sizes.iter().any(|(width, height)| width != height);
    // What was asked for is no news.
    if sizes.iter().all(|&size| size == kept) || asked && !cropped {
        return None;
    }
    let others = match sizes.iter().all(|&size| size == (width, height)) {
        true => "",
        false => " and other sizes",
    };
    let became = if cropped {
        "the middle square of each, at"
    } else {
        "scaled to"
    };
    let choice = match asked {
        true => String::new(),
        false => format!("; {}@64 for another size", folder.display()),
    };
    Some(format!(
        "images of {width}x{height}{others}: {became} {}x{}{choice}",
        kept.0, kept.1
    ))
}

/// Pictures that are not read, by format.
fn passed_over(foreign: &[PathBuf]) -> Option<String> {
    (!foreign.is_empty()).then(|| {
        format!(
            "passed over {}: images are PNG or JPEG; convert those that belong here",
            counted(foreign)
        )
    })
}

/// The classes that the test part has no image of.
fn untested(classes: &[String], test: &Images) -> Option<String> {
    let untested: Vec<&str> = (0u32..)
        .zip(classes)
        .filter(|(label, _)| !test.labels.contains(label))
        .map(|(_, class)| class.as_str())
        .collect();
    let first = untested.first()?;
    let first = match untested.len() {
        1 => (*first).to_owned(),
        count => format!("{count} of {} classes, such as {first}", classes.len()),
    };
    Some(format!(
        "no test image of {first}: every fifth image of a class is one, and fewer than five are there"
    ))
}

/// Files by their endings: `2 gif and 12 webp`.
fn counted(files: &[PathBuf]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        *counts.entry(ending(file)).or_default() += 1;
    }
    let counts = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
    counts.collect::<Vec<_>>().join(" and ")
}

/// Whether a folder could be meant as a data set: it has subfolders that can be classes.
pub(super) fn has_classes(folder: &Path) -> bool {
    subfolders(folder).is_ok_and(|it| it.len() > 1)
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The folders of the training and the test part, if a folder has no others.
fn parts(folder: &Path) -> Result<Option<[PathBuf; 2]>, Error> {
    let (train, beside): (Vec<PathBuf>, Vec<PathBuf>) = subfolders(folder)?
        .into_iter()
        .partition(|it| name_of(it) == TRAIN);
    if !beside.iter().all(|it| BESIDE.contains(&&*name_of(it))) {
        return Ok(None);
    }
    match (&*train, &*beside) {
        ([train], [test]) => Ok(Some([train.clone(), test.clone()])),
        ([_], [_, ..]) => {
            let names: Vec<String> = beside.iter().map(|it| name_of(it)).collect();
            Err(Error::corrupt(
                folder,
                format!(
                    "{} stand beside train, and one alone is the test part: images for validation are split off train",
                    names.join(" and ")
                ),
                "move the images of the others into train, or out of here",
            ))
        }
        ([train], []) if has_classes(train) => Err(Error::corrupt(
            folder,
            "test is missing beside train",
            format!(
                "add it (val will do) with the same classes, or name {}: every fifth image of each class is the test \
                 part then",
                train.display()
            ),
        )),
        _ => Ok(None),
    }
}

/// The classes of a folder, and what lies in theirs.
struct Listed {
    classes: Vec<String>,
    /// In order.
    images: Vec<Labelled>,
    /// Pictures in other formats.
    foreign: Vec<PathBuf>,
}

fn list(folder: &Path) -> Result<Listed, Error> {
    let classes = subfolders(folder)?;
    if classes.len() < 2 {
        let found = match classes.len() {
            1 => "one subfolder",
            _ => "no subfolders",
        };
        let problem = format!("{found}, two classes at least are needed");
        return Err(Error::corrupt(
            folder,
            problem,
            "make one subfolder a class and put its PNG or JPEG images there",
        ));
    }
    let (mut all, mut foreign) = (Vec::new(), Vec::new());
    for (label, class) in classes.iter().enumerate() {
        let (images, others): (Vec<PathBuf>, Vec<PathBuf>) =
            entries(class)?.into_iter().partition(|path| is_image(path));
        let others: Vec<PathBuf> = others
            .into_iter()
            .filter(|path| has_ending(path, &FOREIGN))
            .collect();
        let inner = subfolders(class)?;
        if images.is_empty() && !inner.is_empty() {
            return Err(Error::corrupt(
                class,
                "no PNG or JPEG images, but subfolders",
                "name the folder that holds one subfolder a class, or one with such folders train and test (or val) and \
                 no others",
            ));
        }
        for inner in inner {
            if entries(&inner)?.iter().any(|path| is_image(path)) {
                return Err(Error::corrupt(
                    &inner,
                    "images in a folder within a class, whose images lie in the class's folder itself",
                    "move them up into it, or out of here",
                ));
            }
        }
        if images.is_empty() {
            let (but, next) = match others.len() {
                0 => (String::new(), "add some, or remove the folder"),
                _ => (format!(", but {}", counted(&others)), "convert them"),
            };
            let problem = format!("no PNG or JPEG images{but}");
            return Err(Error::corrupt(class, problem, next));
        }
        all.extend(images.into_iter().map(|path| (path, label as u32)));
        foreign.extend(others);
    }
    Ok(Listed {
        classes: classes.iter().map(|path| name_of(path)).collect(),
        images: all,
        foreign,
    })
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
        .collect())
}

/// What is in a folder and not hidden, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths: std::io::Result<Vec<PathBuf>> =
        entries.map(|entry| entry.map(|e| e.path())).collect();
    let mut paths = paths.map_err(Error::io("list", folder))?;
    paths.retain(|path| !name_of(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    has_ending(path, &["png", "jpg", "jpeg"])
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.is_file() && endings.contains(&&*ending(path))
}

/// A file's ending in lower case; empty where it has none.
fn ending(path: &Path) -> String {
    path.extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .unwrap_or_default()
}

/// The images, and which size each had.
fn decode(files: &[Labelled], size: Option<u32>) -> Result<(Images, Vec<Size>), Error> {
    let side = match size {
        Some(side) => Some(side),
        None => common_size(files)?.is_none().then_some(DEFAULT_SIZE),
    };
    let read: Vec<Result<(DynamicImage, Size), Error>> = files
        .par_iter()
        .map(|(path, _)| {
            let image = on_white(open(path)?);
            let size = (image.width(), image.height());
            Ok(match side {
                Some(side) => (square(&image, side), size),
                None => (image, size),
            })
        })
        .collect();
    let (images, sizes): (Vec<DynamicImage>, Vec<_>) = all_or_first(read)?.into_iter().unzip();
    let grey = images.iter().all(|image| !image.color().has_color());
    let (width, height) = (images[0].width() as usize, images[0].height() as usize);
    let raw: Vec<Vec<u8>> = images
        .into_par_iter()
        .map(|image| {
            if grey {
                image.into_luma8().into_raw()
            } else {
                image.into_rgb8().into_raw()
            }
        })
        .collect();
    let labels = files.iter().map(|(_, label)| *label).collect();
    let images = Images {
        height,
        width,
        channels: if grey { 1 } else { 3 },
        pixels: raw.concat(),
        labels,
    };
    Ok((images, sizes))
}

/// The size that all images have as stored and shown, if it is one and small.
fn common_size(files: &[Labelled]) -> Result<Option<Size>, Error> {
    let sizes: Vec<Result<Size, Error>> =
        files.par_iter().map(|(path, _)| open_size(path)).collect();
    let sizes = all_or_first(sizes)?;
    let first = sizes[0];
    let one = sizes.iter().all(|&size| size == first) && first.0.max(first.1) <= LARGEST_KEPT;
    Ok(one.then_some(first))
}

fn all_or_first<T>(results: Vec<Result<T, Error>>) -> Result<Vec<T>, Error> {
    let failed = results.iter().filter(|result| result.is_err()).count();
    results
        .into_iter()
        .collect::<Result<Vec<T>, Error>>()
        .map_err(|error| match error {
            Error::Corrupt {
                path,
                problem,
                next,
            } if failed > 1 => Error::Corrupt {
                path,
                problem: format!("{problem} (and {} more files)", failed - 1),
                next,
            },
            error => error,
        })
}

fn reader(path: &Path) -> Result<ImageReader<BufReader<File>>, Error> {
    ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(Error::io("read", path))
}

fn decoder(path: &Path, reader: ImageReader<BufReader<File>>) -> Result<impl ImageDecoder, Error> {
    let decoder = reader
        .into_decoder()
        .map_err(|e| Error::corrupt(path, e.to_string(), NEXT))?;
    // What the file says of its size is believed, and no more memory than usual images take is asked for.
    let bytes = decoder.total_bytes();
    match Limits::default().reserve(bytes) {
        Ok(()) => Ok(decoder),
        Err(_) => {
            let (width, height) = decoder.dimensions();
            let problem = format!("{width}x{height} pixels take {} MiB", bytes >> 20);
            Err(Error::corrupt(
                path,
                problem,
                "make it smaller or remove it",
            ))
        }
    }
}

fn open_size(path: &Path) -> Result<Size, Error> {
    use image::metadata::Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let mut decoder = decoder(path, reader(path)?)?;
    let (width, height) = decoder.dimensions();
    match decoder.orientation() {
        Ok(Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH) => Ok((height, width)),
        _ => Ok((width, height)),
    }
}

fn open(path: &Path) -> Result<DynamicImage, Error> {
    let reader = reader(path)?;
    let jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let mut decoder = decoder(path, reader)?;
    let orientation = decoder
        .orientation()
        .unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder)
        .map_err(|e| Error::corrupt(path, e.to_string(), NEXT))?;
    // The decoder makes up what is missing.
    if jpeg && !has_end(&std::fs::read(path).map_err(Error::io("read", path))?) {
        let problem = "a JPEG without its end marker, cut or damaged";
        return Err(Error::corrupt(path, problem, NEXT));
    }
    image.apply_orientation(orientation);
    Ok(image)
}

/// Whether the first scan of a JPEG file is followed by the end marker; a thumbnail before it has one of its own, and behind
/// the marker there may be anything.
fn has_end(file: &[u8]) -> bool {
    let mut rest = file;
    loop {
        rest = match rest {
            [0xFF, 0xDA, scans @ ..] => return scans.windows(2).rev().any(|it| it == [0xFF, 0xD9]),
            // Other segments say how long they are.
            [0xFF, 0xC0..=0xCF | 0xDB..=0xFE, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest.get(2 + length..).unwrap_or_default()
            }
            [_, rest @ ..] => rest,
            [] => return false,
        };
    }
}

/// A transparent image on white; any other as it is.
fn on_white(image: DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return image;
    }
    let over = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let (width, height) = (image.width(), image.height());
    if image.color().has_color() {
        let image = image.into_rgba8();
        let pixel = |x, y| {
            let [r, g, b, alpha] = image.get_pixel(x, y).0;
            Rgb([r, g, b].map(|value| over(value, alpha)))
        };
        RgbImage::from_fn(width, height, pixel).into()
    } else {
        let image = image.into_luma_alpha8();
        let pixel = |x, y| {
            let [value, alpha] = image.get_pixel(x, y).0;
            Luma([over(value, alpha)])
        };
        GrayImage::from_fn(width, height, pixel).into()
    }
}

/// The largest centred square, scaled.
fn square(image: &DynamicImage, side: u32) -> DynamicImage {
    let edge = image.width().min(image.height());
    let (x, y) = ((image.width() - edge) / 2, (image.height() - edge) / 2);
    let cropped = image.crop_imm(x, y, edge, edge);
    if edge == side {
        cropped
    } else {
        cropped.resize_exact(side, side, FilterType::Triangle)
    }
}
