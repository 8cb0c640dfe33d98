//! Steps on a data set that lies on the device, against the same steps on the loader's batches.

use std::sync::Arc;

use cellwright_data::{Augmentation, Dataset, Images as Part, Loader, Part as Which, Plan};

use super::memory::Device;
use super::script::run;
use super::{Buffer, Emulator, assert_close, check};
use crate::cuda::kernels::batch::Resident;
use crate::cuda::script::Script;
use crate::program::{Builder, Control, Draw, Executor, Images, Program};
use crate::testing::Random;

const BATCH: usize = 4;
const CLASSES: usize = 3;
const STILL: Control = Control {
    seed: 0,
    progress: 1.0,
    learning_rate: 0.0,
};

fn part(count: usize, [height, width, channels]: [usize; 3], random: &mut Random) -> Part {
    let bytes = (0..count * height * width * channels).map(|_| random.within(0, 255) as u8);
    let pixels = bytes.collect();
    let labels = (0..count).map(|_| random.within(0, CLASSES - 1) as u32);
    Part {
        height,
        width,
        channels,
        pixels,
        labels: labels.collect(),
    }
}

fn linear(shape: [usize; 3]) -> Program {
    let mut builder = Builder::new(BATCH, false);
    let images = builder.images(shape);
    let flat = builder.flatten(images);
    let w = builder.parameter(shape.iter().product::<usize>() * CLASSES, true);
    let logits = builder.linear(flat, w, None, CLASSES).unwrap();
    builder.output(logits, 1.0, 0.0);
    builder.finish().unwrap()
}

fn draws(plan: &Plan, number: usize, first: usize) -> Vec<Draw> {
    let draws = plan.draws(number).into_iter();
    let draws = draws.map(|it| Draw {
        image: it.image + first as u32,
        down: it.shift[0],
        right: it.shift[1],
        flipped: it.flipped.into(),
        centre: it.centre.map(u32::cast_signed),
    });
    draws.collect()
}

/// All batches of a plan; images before `first` are of another part.
fn steps(emulator: &Emulator, images: &Images<'_>, cutout: usize, plan: &Plan, first: usize) {
    let (pixels, labels): (Vec<&[u8]>, Vec<&[u32]>) = images.parts.iter().copied().unzip();
    let (mut pixels, mut labels) = (Buffer::of(&pixels.concat()), Buffer::of(&labels.concat()));
    let mut table = Buffer::of(images.table.as_flattened());
    let resident = Resident {
        images: pixels.pointer(),
        labels: labels.pointer(),
        table: table.pointer(),
        count: images.count(),
        classes: images.classes(),
        shape: images.shape,
        cutout,
    };
    let program = Arc::new(linear(images.shape));
    let script = Script::new(
        Arc::clone(&program),
        None,
        Some(resident),
        Default::default(),
        false,
    )
    .unwrap();
    let mut cpu = Executor::new(Arc::clone(&program));
    let mut random = Random::new(5);
    let (ports, weights) = (program.ports(), program.ports().parameters[0].value);
    let values = random.values(program.span(weights).len);
    cpu.write(weights).copy_from_slice(&values);
    let placed = Arc::clone(script.program());
    let mut device = Device::new(script.words());
    device.put_numbers(placed.span(weights).start, &values);
    let work = script.work(device.base(), false).unwrap();
    let mut seen = 0;
    for (number, batch) in Loader::start(plan.clone()).unwrap().enumerate() {
        let draws = draws(plan, number, first);
        let words = script.control(&STILL, 1, &draws).unwrap();
        device.put(script.control_word(), &words);
        run(emulator, &work[..1], &mut device);
        let at = placed.span(ports.images).start;
        assert_eq!(device.get(at, batch.pixels.len()), batch.pixels);
        let labels = device.get(script.labels(), batch.len());
        let labels = labels.iter().map(|it| it.to_bits());
        assert!(labels.eq(batch.labels.iter().copied()));
        cpu.write(ports.images)[..batch.pixels.len()].copy_from_slice(&batch.pixels);
        cpu.set_labels(&batch.labels).unwrap();
        cpu.run(&STILL, None).unwrap();
        run(emulator, &work, &mut device);
        for buffer in [ports.logits, ports.losses] {
            let span = placed.span(buffer);
            let len = span.len / BATCH * batch.len();
            let found = device.get(span.start, len);
            assert_close("resident", &found, &cpu.read(buffer)[..len]);
        }
        seen += batch.len();
    }
    assert!(seen >= BATCH);
    let far = Draw {
        image: images.count() as u32,
        ..Draw::default()
    };
    assert!(script.control(&STILL, 1, &[far]).is_err());
    assert!(script.control(&STILL, 1, &[Draw::default(); 5]).is_err());
}

#[test]
fn batches_are_the_loaders() {
    check("resident", |emulator| {
        let mut random = Random::new(21);
        for shape in [[6, 5, 3], [4, 4, 1]] {
            let (train, test) = (part(13, shape, &mut random), part(6, shape, &mut random));
            let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
            let augmentation = Augmentation {
                pad: 2,
                flip: true,
                cutout: 3,
            };
            let dataset = Dataset::new("x", classes, train, test, augmentation).unwrap();
            let dataset = Arc::new(dataset);
            let table = dataset.table();
            let parts = [&dataset.train, &dataset.test];
            let images = Images {
                parts: parts.map(|it| (&it.pixels[..], &it.labels[..])).to_vec(),
                table: &table,
                shape,
            };
            images.check().unwrap();
            assert_eq!(images.count(), 19);
            let all = |count: u32| (0..count).rev().collect::<Vec<_>>();
            let data = || Arc::clone(&dataset);
            let training = Plan::train(data(), all(13), BATCH, augmentation, 7, 2).unwrap();
            steps(emulator, &images, augmentation.cutout, &training, 0);
            let test = Plan::evaluate(data(), Which::Test, all(6), BATCH).unwrap();
            steps(emulator, &images, 0, &test, 13);
        }
    });
}
