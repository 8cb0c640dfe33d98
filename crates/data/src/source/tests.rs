//! Every source on files made here: found, read, and refused with a place and a next step.

use super::*;
use crate::fetch::File;
use crate::format::{cifar, idx};
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::fs;
use tempfile::TempDir;

fn error(name: &str, root: &Path) -> String {
    load(name, root).unwrap_err().to_string()
}

#[test]
fn names_are_forgiving_and_unknown_ones_get_a_suggestion() {
    let root = TempDir::new().unwrap();
    assert!(load("Digits", root.path()).is_ok());
    assert_eq!(named("CIFAR-10").unwrap().name(), "cifar10");
    assert_eq!(named("Fashion_MNIST").unwrap().name(), "fashion-mnist");
    let text = error("fashion-mnits", root.path());
    assert!(
        text.contains("did you mean `fashion-mnist`?")
            && text.contains("digits, fashion-mnist, cifar10"),
        "{text}"
    );
    assert!(!error("", root.path()).contains("did you mean"));
    let text = fetch("nothing", root.path(), &mut |_| ()).unwrap_err();
    assert!(!text.to_string().contains("folder"), "{text}");
    assert!(is_present("nothing", root.path()).is_err());
}

#[test]
fn digits_are_the_uci_digits() {
    let set = load("digits", Path::new("nowhere")).unwrap();
    assert_eq!((set.train.len(), set.test.len()), (1442, 355));
    assert_eq!(
        (set.train.height, set.train.width, set.train.channels),
        (8, 8, 1)
    );
    // The first row of scikit-learn's file is a 0 that begins 0,0,5,13,9,1,0,0.
    assert_eq!(set.train.labels[0], 0);
    assert_eq!(set.train.image(0)[..8], [0, 0, 79, 207, 143, 15, 0, 0]);
    let tests = |class| {
        set.test
            .labels
            .iter()
            .filter(|&&label| label == class)
            .count()
    };
    assert!((0..10).all(|class| (34..=36).contains(&tests(class))));
    // scikit-learn: digits.data.mean() = 4.884 of 16.
    assert!(
        (set.mean[0] - 4.884 / 16.0).abs() < 0.005,
        "{}",
        set.mean[0]
    );
    assert!(!set.augmentation.flip);
}

#[test]
fn fetching_what_is_embedded_does_nothing() {
    let root = TempDir::new().unwrap();
    let fetched = fetch("digits", root.path(), &mut |_| ()).unwrap();
    assert_eq!(
        fetched,
        Fetched {
            location: Location::Embedded,
            from: None
        }
    );
}

/// What stands for a file of Fashion-MNIST: six labels.
const LABELS: File = File {
    name: "labels",
    sha256: "8f931523fc6611360f0d77e87a0b7c5db198f6c44903314ee9d596f7c6c8522b",
};

#[test]
fn files_of_fashion_mnist_are_plain_or_gzipped_and_have_their_sum() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let root = TempDir::new().unwrap();
    let read = || fashion_mnist::read_checked(root.path(), &LABELS, 1);
    let fails = |words: &[&str]| {
        let text = read().unwrap_err().to_string();
        let next = "cellwright data fetch fashion-mnist";
        for words in words.iter().chain(&[next]) {
            assert!(text.contains(words), "{text}");
        }
    };
    let plain = root.path().join("labels");
    let whole = idx::write(&[6], &[0, 1, 2, 3, 4, 5]);
    fs::write(&plain, &whole).unwrap();
    assert_eq!(read().unwrap(), (vec![6], vec![0, 1, 2, 3, 4, 5]));
    fs::write(&plain, &whole[..10]).unwrap();
    fails(&["labels: at byte 10", "14 bytes, it has 10"]);
    // As those of MNIST are.
    fs::write(&plain, idx::write(&[6], &[5, 0, 4, 1, 9, 2])).unwrap();
    fails(&["labels: sha256", "expected", "MNIST's own"]);
    fs::remove_file(&plain).unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&whole).unwrap();
    let packed = encoder.finish().unwrap();
    let gzipped = root.path().join("labels.gz");
    fs::write(&gzipped, &packed).unwrap();
    assert_eq!(read().unwrap().0, [6]);
    fs::write(&gzipped, &packed[..packed.len() - 4]).unwrap();
    fails(&["labels.gz", "gzip"]);
}

#[test]
fn mnist_is_not_taken_for_fashion_mnist() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("fashion-mnist");
    fs::create_dir(&folder).unwrap();
    for (part, n) in [("train", 4), ("t10k", 2)] {
        let path = folder.join(part);
        let write = |what: &str, dims: &[usize], values: Vec<u8>| {
            let path = format!("{}-{what}-ubyte", path.display());
            fs::write(path, idx::write(dims, &values)).unwrap();
        };
        write("images-idx3", &[n, 2, 3], vec![9; n * 6]);
        write("labels-idx1", &[n], vec![3; n]);
    }
    let text = error("fashion-mnist", root.path());
    assert!(
        text.contains("train-images-idx3-ubyte: sha256 c59f468a"),
        "{text}"
    );
}

#[test]
fn missing_sets_say_where_was_looked_and_what_to_do() {
    let root = TempDir::new().unwrap();
    let text = error("cifar10", root.path());
    assert!(
        text.contains(
            &root
                .path()
                .join("cifar-10-batches-bin")
                .display()
                .to_string()
        ),
        "{text}"
    );
    assert!(text.contains("cellwright data fetch cifar10"), "{text}");
    assert!(!is_present("cifar10", root.path()).unwrap());
}

#[test]
fn cifar_files_must_have_the_official_size_and_sum() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("cifar-10-batches-bin");
    fs::create_dir_all(&folder).unwrap();
    for name in [
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ] {
        fs::write(folder.join(format!("{name}.bin")), [0; 3]).unwrap();
    }
    let text = error("cifar10", root.path());
    assert!(
        text.contains("data_batch_1.bin: 30730000 bytes expected, the file has 3"),
        "{text}"
    );
    for name in [
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ] {
        fs::write(
            folder.join(format!("{name}.bin")),
            vec![0; 10_000 * cifar::RECORD],
        )
        .unwrap();
    }
    let text = error("cifar10", root.path());
    assert!(
        text.contains("data_batch_1.bin: sha256 cee91656") && text.contains("expected"),
        "{text}"
    );
}

/// `count` grey images of `width`×`height` a class.
fn write_classes(folder: &Path, count: u8, width: u32, height: u32) {
    for (c, class) in ["ant", "bee", "cat"].iter().enumerate() {
        fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..count {
            let image = GrayImage::from_pixel(width, height, Luma([c as u8 * 50 + i]));
            image
                .save(folder.join(class).join(format!("{i:02}.png")))
                .unwrap();
        }
    }
}

#[test]
fn a_folder_of_small_equal_images_is_kept_as_it_is() {
    let root = TempDir::new().unwrap();
    write_classes(&root.path().join("insects"), 10, 6, 4);
    fs::write(root.path().join("insects/ant/notes.txt"), "not an image").unwrap();
    fs::create_dir(root.path().join("insects/.cache")).unwrap();
    let set = load("insects", root.path()).unwrap();
    assert_eq!((set.name.as_str(), set.classes.len()), ("insects", 3));
    assert_eq!(
        (set.train.height, set.train.width, set.train.channels),
        (4, 6, 1)
    );
    assert_eq!((set.train.len(), set.test.len()), (24, 6));
    assert_eq!((set.test.image(0)[0], set.test.labels[0]), (4, 0)); // the fifth of the first class
    assert_eq!((set.test.image(5)[0], set.test.labels[5]), (109, 2));
}

#[test]
fn images_of_many_sizes_become_squares_and_rgb() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("x");
    write_classes(&folder, 5, 40, 30);
    // Red left and right of a green square: the centred square is what is kept.
    let wide = RgbImage::from_fn(120, 40, |x, _| {
        if (40..80).contains(&x) {
            Rgb([0, 255, 0])
        } else {
            Rgb([255, 0, 0])
        }
    });
    wide.save(folder.join("ant/00.png")).unwrap();
    let set = load("x", root.path()).unwrap();
    assert_eq!(
        (set.train.height, set.train.width, set.train.channels),
        (32, 32, 3)
    );
    assert!(
        set.train
            .image(0)
            .chunks(3)
            .all(|pixel| pixel == [0, 255, 0])
    );
    let small = load(&format!("{}@12", folder.display()), root.path()).unwrap();
    assert_eq!((small.train.height, small.train.width), (12, 12));
    assert!(error("x@0", root.path()).contains("1 to 1024"));
    assert!(error("x@big", root.path()).contains("1 to 1024"));
}

#[test]
fn transparency_is_white() {
    use image::{LumaA, Rgba, RgbaImage};
    let root = TempDir::new().unwrap();
    for (class, alpha) in [("ant", 0), ("bee", 51)] {
        fs::create_dir(root.path().join(class)).unwrap();
        for i in 0..5 {
            // A black stroke drawn in the alpha channel.
            let image =
                RgbaImage::from_fn(4, 4, |x, _| Rgba([0, 0, 100, [alpha, 255][x as usize / 2]]));
            let path = root.path().join(class).join(format!("{i}.png"));
            image.save(path).unwrap();
        }
    }
    let set = load(root.path().to_str().unwrap(), root.path()).unwrap();
    let image = |label| {
        let at = set.train.labels.iter().position(|it| *it == label);
        set.train.image(at.unwrap())
    };
    assert_eq!(
        (&image(0)[..3], &image(0)[6..9]),
        (&[255; 3][..], &[0, 0, 100][..])
    );
    // A fifth of it over four fifths of white.
    assert_eq!(image(1)[..3], [204, 204, 224]);
    // Scaled to one pixel, half is white and half the stroke: nothing of the black that cannot be seen.
    let name = format!("{}@1", root.path().display());
    let set = load(&name, root.path()).unwrap();
    assert_eq!(set.train.image(0)[..2], [128, 128]);
    // Grey images are grey still.
    for i in 0..5 {
        for class in ["ant", "bee"] {
            let image = image::GrayAlphaImage::from_pixel(4, 4, LumaA([9, 0]));
            let path = root.path().join(class).join(format!("{i}.png"));
            image.save(path).unwrap();
        }
    }
    let set = load(root.path().to_str().unwrap(), root.path()).unwrap();
    assert_eq!((set.train.channels, set.train.pixels[0]), (1, 255));
}

#[test]
fn what_became_of_the_images_is_told() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("x");
    let told = |size: &str| {
        let name = format!("{}{size}", folder.display());
        let notes = load(&name, root.path()).unwrap().notes;
        let place = format!("{}: ", folder.display());
        assert!(notes.iter().all(|it| it.starts_with(&place)), "{notes:?}");
        notes.concat().replace(&place, "")
    };
    write_classes(&folder, 5, 40, 40);
    assert_eq!(told(""), "");
    assert_eq!(told("@8"), "", "as it was asked for");
    write_classes(&folder, 5, 100, 100);
    let other = format!("; {}@64 for another size", folder.display());
    assert_eq!(
        told(""),
        format!("images of 100x100: scaled to 32x32{other}")
    );
    write_classes(&folder, 5, 100, 30);
    let middle = "the middle square of each, at";
    assert_eq!(told(""), format!("images of 100x30: {middle} 32x32{other}"));
    assert_eq!(told("@8"), format!("images of 100x30: {middle} 8x8"));
    write_classes(&folder, 4, 32, 32);
    let text = told("");
    assert!(
        text.starts_with("images of 32x32 and other sizes: the middle"),
        "{text}"
    );

    fs::remove_dir_all(folder.join("bee")).unwrap();
    fs::create_dir(folder.join("bee")).unwrap();
    for name in ["a.webp", "b.WEBP", "c.gif", "notes.txt"] {
        fs::write(folder.join("bee").join(name), "").unwrap();
    }
    let text = error("x", root.path());
    assert!(
        text.contains("bee: no PNG or JPEG images, but 1 gif and 2 webp"),
        "{text}"
    );
    write_classes(&folder, 5, 32, 32);
    fs::remove_file(folder.join("bee/00.png")).unwrap();
    let text = told("");
    assert!(
        text.starts_with("passed over 1 gif and 2 webp: images are PNG or JPEG"),
        "{text}"
    );
    assert!(text.contains("no test image of bee: every fifth"), "{text}");
    fs::remove_file(folder.join("ant/00.png")).unwrap();
    assert!(told("").contains("no test image of 2 of 3 classes, such as ant"));
}

#[test]
fn a_folder_with_the_name_of_a_source_is_told() {
    let root = TempDir::new().unwrap();
    let notes = |name| load(name, root.path()).unwrap().notes;
    assert!(notes("digits").is_empty());
    let folder = root.path().join("digits");
    write_classes(&folder, 5, 8, 8);
    let folder = folder.display();
    assert!(notes("digits")[0].ends_with(&format!("for the folder of that name write {folder}")));
    assert!(notes("digits@4")[0].starts_with(&format!("digits@4: the folder {folder};")));
    assert!(notes(&folder.to_string()).is_empty());
}

#[test]
fn jpeg_is_read() {
    let root = TempDir::new().unwrap();
    write_classes(root.path(), 5, 16, 16);
    RgbImage::from_pixel(16, 16, Rgb([200, 10, 10]))
        .save(root.path().join("bee/00.jpg"))
        .unwrap();
    let load = || load(&root.path().display().to_string(), Path::new("nowhere"));
    assert_eq!(load().unwrap().train.channels, 3);
    let path = root.path().join("bee/00.jpg");
    let whole = fs::read(&path).unwrap();
    // A thumbnail with an end of its own, in a segment of 6 bytes; and something behind the image.
    let thumbnail = [0xFF, 0xE5, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9];
    let whole = [&whole[..2], &thumbnail, &whole[2..], b"behind"].concat();
    fs::write(&path, &whole).unwrap();
    assert_eq!(load().unwrap().train.channels, 3);
    fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let text = load().unwrap_err().to_string();
    assert!(
        text.contains("00.jpg") && text.contains("without its end marker"),
        "{text}"
    );
}

#[test]
fn train_and_test_subfolders_are_the_parts() {
    let root = TempDir::new().unwrap();
    write_classes(&root.path().join("p/train"), 3, 8, 8);
    let text = error("p", root.path());
    let next = format!("name {}:", root.path().join("p/train").display());
    assert!(
        text.contains("test is missing beside train") && text.contains(&next),
        "{text}"
    );
    write_classes(&root.path().join("p/test"), 2, 8, 8);
    let set = load("p", root.path()).unwrap();
    assert_eq!(
        (set.train.len(), set.test.len(), set.classes.len()),
        (9, 6, 3)
    );
    for name in ["val", "valid", "validation"] {
        let part = root.path().join("p").join(name);
        fs::rename(root.path().join("p/test"), &part).unwrap();
        assert_eq!(load("p", root.path()).unwrap(), set);
        fs::rename(part, root.path().join("p/test")).unwrap();
    }
    write_classes(&root.path().join("p/val"), 2, 8, 8);
    let text = error("p", root.path());
    assert!(
        text.contains("test and val stand beside train") && text.contains("split off train"),
        "{text}"
    );
    fs::rename(root.path().join("p/val"), root.path().join("p/other")).unwrap();
    let text = error("p", root.path());
    assert!(
        text.contains("other: no PNG or JPEG images, but subfolders") && !text.contains("remove"),
        "{text}"
    );
    fs::remove_dir_all(root.path().join("p/other")).unwrap();
    fs::remove_dir_all(root.path().join("p/test/cat")).unwrap();
    assert!(error("p", root.path()).contains("classes"));
}

#[test]
fn bad_folders_and_images_are_named() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("f");
    fs::create_dir_all(folder.join("only")).unwrap();
    assert!(error("f", root.path()).contains("two classes at least"));
    write_classes(&folder, 5, 8, 8);
    assert!(error("f", root.path()).contains("only: no PNG or JPEG images"));
    fs::remove_dir(folder.join("only")).unwrap();
    // Nothing is passed over in silence: images deeper down are named, an empty folder is not.
    let (within, moved) = (folder.join("bee/old"), folder.join("bee/old/03.png"));
    fs::create_dir(&within).unwrap();
    assert!(load("f", root.path()).is_ok());
    fs::rename(folder.join("bee/03.png"), &moved).unwrap();
    let text = error("f", root.path());
    assert!(
        text.contains("bee/old: images in a folder within a class"),
        "{text}"
    );
    fs::rename(moved, folder.join("bee/03.png")).unwrap();
    let (a, b) = (folder.join("ant/01.png"), folder.join("bee/02.png"));
    let whole = fs::read(&a).unwrap();
    fs::write(&a, &whole[..whole.len() / 2]).unwrap();
    fs::write(&b, "no image").unwrap();
    let text = error("f", root.path());
    assert!(
        text.contains(".png") && text.contains("repair or remove it"),
        "{text}"
    );
    assert!(text.contains("01.png") || text.contains("02.png"), "{text}");
}

#[test]
fn an_image_that_says_it_is_huge_is_named() {
    let root = TempDir::new().unwrap();
    for class in ["ant", "bee"] {
        let folder = root.path().join(class);
        fs::create_dir(&folder).unwrap();
        let image = GrayImage::from_pixel(8, 8, Luma([9]));
        image.save(folder.join("0.png")).unwrap();
    }
    // The header of 200000x200000 RGB pixels, an empty chunk of them, and nothing else.
    let mut huge =
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x03\x0d\x40\0\x03\x0d\x40\x08\x02\0\0\0\x76\x59\x1f\x5d"
            .to_vec();
    huge.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    fs::write(root.path().join("bee/huge.png"), huge).unwrap();
    let path = root.path().to_str().unwrap();
    for name in [path.to_owned(), format!("{path}@8")] {
        let text = error(&name, root.path());
        assert!(text.contains("huge.png: 200000x200000 pixels"), "{text}");
    }
}
