//! A whole step's device work on the host, against the CPU's executor.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::dense::dense;
use super::memory::Device;
use super::programs::{
    BATCH, Block, LABELS, flattened, nested, nested_blocks, program, program_in, settings,
};
use super::{Emulator, check};
use crate::Optimiser;
use crate::cuda::Pointer;
use crate::cuda::kernels::loss::Totals;
use crate::cuda::script::{Library, Pass, Piece, Product, Script, Work};
use crate::optimiser::Rule;
use crate::program::{
    Buffer, Call, Control, Executor, Precision, Program, Prologue, Value, Weights,
};

fn product(product: &Product) {
    let Product {
        size: [m, n, k],
        transposed,
        ..
    } = *product;
    let slice = |pointer: Pointer, len: usize| {
        let start = std::ptr::with_exposed_provenance_mut::<f32>(pointer.0 as usize);
        // SAFETY: the product's buffers lie in the device's memory, apart from each other.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    };
    let (a, b) = (slice(product.a, m * k), slice(product.b, k * n));
    let c = slice(product.c, m * n);
    for i in 0..m {
        for j in 0..n {
            let terms = (0..k).map(|l| {
                let a = a[if transposed[0] { l * m + i } else { i * k + l }];
                a * b[if transposed[1] { j * k + l } else { l * n + j }]
            });
            let sum: f32 = terms.sum();
            c[i * n + j] = if product.add { c[i * n + j] + sum } else { sum };
        }
    }
}

/// Runs pieces in the order that is as far from theirs as what they wait for allows.
pub(super) fn run(emulator: &Emulator, pieces: &[Piece], device: &mut Device) {
    let base = device.base().0;
    let mut done = vec![false; pieces.len()];
    for _ in pieces {
        let ready = |&it: &usize| !done[it] && pieces[it].after.iter().all(|&it| done[it]);
        let next = (0..pieces.len()).rev().find(ready);
        let next = next.expect("no piece waits for itself");
        done[next] = true;
        match &pieces[next].work {
            Work::Launch(launch) => emulator.run(std::slice::from_ref(launch)),
            Work::Product(it) => product(it),
            Work::Dense(it) => dense(it),
            Work::Clear(pointer, len) => {
                let word = (pointer.0 - base) as usize / 4;
                device.put(word, &vec![0; *len]);
            }
        }
    }
}

pub(super) fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!(
            (f - e).abs() <= tolerance * size,
            "{what}: {f}, expected {e}"
        );
    }
}

/// What of a step is by whom.
#[derive(Debug, Clone, Copy)]
struct By {
    /// Dense convolutions by a library.
    library: bool,
    /// Products on tensor cores, with what comes before and after them.
    tensor_cores: bool,
}

#[test]
fn concatenations_lie_within_others() {
    for (channels, training) in [(8, true), (8, false), (6, true), (6, false)] {
        let (program, blocks) = nested_blocks(channels, training);
        let program = Arc::new(program);
        let rule = Rule::Sgd {
            momentum: 0.0,
            nesterov: false,
        };
        let optimiser = training.then(|| settings(rule));
        let library = Library::default();
        let script = Script::new(Arc::clone(&program), optimiser, None, library, false).unwrap();
        let (c, fours) = (channels, channels.is_multiple_of(4));
        let lies_in = |it: Value| script.lies_in(it.buffer);
        for Block {
            inner,
            middle,
            outer,
            shared,
        } in &blocks
        {
            assert_eq!([outer.0, shared.0].map(lies_in), [None; 2]);
            let within = |of: Value, begin: usize| Some((of.buffer, begin, of.dims[3]));
            // Pieces of other channels than fours are copied, with those beside them.
            let (of, start) = match fours {
                true => (outer.0, outer.1.dims[3]),
                false => (middle.0, 0),
            };
            let if_fours = |it| if fours { it } else { None };
            assert_eq!(lies_in(outer.1), if_fours(within(of, 0)));
            assert_eq!(lies_in(middle.0), if_fours(within(of, start)));
            assert_eq!(lies_in(middle.1), within(of, start));
            assert_eq!(lies_in(inner.0), within(of, start + 8));
            assert_eq!(lies_in(inner.1[0]), if_fours(within(of, start + 8)));
            assert_eq!(lies_in(inner.1[1]), if_fours(within(of, start + 8 + c)));
            assert_eq!(lies_in(shared.1), if_fours(within(shared.0, 0)));
        }
        let work = script.work(Pointer(256), true).unwrap();
        let copies = work.iter().filter(|it| match &it.work {
            Work::Launch(launch) => launch.kernel.starts_with("concat"),
            _ => false,
        });
        // One launch for what is left of each.
        let passes = if training { 2 } else { 1 };
        let left = if fours { 1 } else { 3 };
        assert_eq!(copies.count(), passes * left * blocks.len());
    }
}

fn compare(emulator: &Emulator, program: Program, rule: Rule, by: By) {
    let program = Arc::new(program);
    let ports = program.ports();
    let mut rng = ChaCha8Rng::seed_from_u64(program.memory() as u64);
    let mut draw = |len: usize, from: f32| (0..len).map(|_| rng.random_range(from..1.0)).collect();
    let lens = |buffer: Buffer| program.span(buffer).len;
    let weights = Weights {
        parameters: ports
            .parameters
            .iter()
            .map(|it| draw(lens(it.value), -0.5))
            .collect(),
        running: ports
            .running
            .iter()
            .map(|&it| draw(lens(it), 0.1))
            .collect(),
    };
    let mut cpu = Executor::new(Arc::clone(&program));
    cpu.load(&weights).unwrap();
    cpu.set_labels(&LABELS).unwrap();
    let mut optimiser = Optimiser::new(settings(rule)).unwrap();

    let mut library = Library::default();
    if by.library {
        library.convolutions = Library::candidates(&program);
        assert_eq!(library.convolutions.len(), 3);
    }
    let training = ports.parameters.iter().any(|it| it.gradient.is_some());
    let optimises = training.then(|| settings(rule));
    let script = Script::new(Arc::clone(&program), optimises, None, library, false);
    let script = script.unwrap();
    let placed = Arc::clone(script.program());
    let mut device = Device::of(&script);
    let base = device.base();
    let regions = [script.control_word(), script.labels(), script.totals()];
    let starts = program.learned().map(|it| placed.span(it).start);
    assert!(starts.chain(regions).all(|word| word.is_multiple_of(64)));
    let between = Pointer(base.0 + 4);
    assert!(script.work(between, false).is_err() && script.tables(between).is_err());
    for parameter in &ports.parameters {
        if let Some(gradient) = parameter.gradient {
            device.put(placed.span(gradient).start, &vec![0; lens(gradient)]);
        }
    }
    for (buffer, values) in program
        .learned()
        .zip(weights.parameters.iter().chain(&weights.running))
    {
        device.put_numbers(placed.span(buffer).start, values);
    }
    device.put(script.labels(), &LABELS);
    let work = script.work(base, by.tensor_cores).unwrap();
    for step in 0..2 {
        let control = Control {
            seed: 11 + step,
            progress: 0.5,
            learning_rate: 0.05,
        };
        let pixels: Vec<f32> = draw(lens(ports.images), -1.0);
        cpu.write(ports.images).copy_from_slice(&pixels);
        cpu.run(&control, training.then_some(&mut optimiser))
            .unwrap();
        device.put_numbers(placed.span(ports.images).start, &pixels);
        device.put(
            script.control_word(),
            &script.control(&control, step + 1, &[]).unwrap(),
        );
        run(emulator, &work, &mut device);
        let words = program.memory();
        let what = format!("{words} words, training {training}, {by:?}, step {step}");
        let mut same = |name: &str, buffer: Buffer| {
            let span = placed.span(buffer);
            let found = device.get(span.start, span.len);
            close(&format!("{what}, {name}"), &found, cpu.read(buffer), 1e-4);
        };
        same("logits", ports.logits);
        same("losses", ports.losses);
        for (index, parameter) in ports.parameters.iter().enumerate() {
            if let Some(gradient) = parameter.gradient {
                same(&format!("gradient {index}"), gradient);
            }
            same(&format!("parameter {index}"), parameter.value);
        }
        for (index, &running) in ports.running.iter().enumerate() {
            same(&format!("running {index}"), running);
        }
    }
    let totals = device.get(script.totals(), Script::TOTALS);
    let images = u64::from(totals[2].to_bits());
    assert_eq!(images, 2 * BATCH as u64);
    assert_eq!(size_of::<Totals>(), 4 * Script::TOTALS);
    if training {
        let read = |spans: &[(usize, usize)]| {
            let each = spans.iter().map(|&(word, len)| device.get(word, len));
            Ok::<_, ()>(each.collect())
        };
        let state = script.state(2, read);
        for (found, expected) in state
            .unwrap()
            .moments
            .iter()
            .zip(&optimiser.state().moments)
        {
            for (found, expected) in found.iter().zip(expected) {
                close("moments", found, expected, 1e-4);
            }
        }
    }
}

#[test]
fn a_whole_step_is_the_cpus() {
    check("script", |emulator| {
        let sgd = Rule::Sgd {
            momentum: 0.9,
            nesterov: true,
        };
        let adam = Rule::Adam {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-3,
        };
        let by = |library, tensor_cores| By {
            library,
            tensor_cores,
        };
        for (channels, rule, by) in [
            (8, sgd, by(false, false)),
            (6, adam, by(false, false)),
            (8, sgd, by(true, false)),
        ] {
            for training in [true, false] {
                compare(emulator, program(channels, training), rule, by);
            }
        }
        if let Some(emulator) = emulator.exact() {
            for made in [program, flattened, nested] {
                for training in [true, false] {
                    compare(&emulator, made(8, training), sgd, by(false, true));
                }
            }
            for training in [true, false] {
                compare(&emulator, nested(6, training), sgd, by(false, true));
            }
            // Enough channels for the kernels for narrow convolutions.
            for precision in [Precision::Fp32, Precision::Tf32] {
                for library in [true, false] {
                    let program = program_in(precision, 16, true);
                    compare(&emulator, program, sgd, by(library, true));
                }
            }
        }
    });
}

#[test]
fn narrow_convolutions_are_our_own() {
    for precision in Precision::ALL {
        let (tf32, bf16) = (precision != Precision::Fp32, precision == Precision::Bf16);
        let program = Arc::new(program_in(precision, 16, true));
        // What comes before them is theirs as well.
        let fused = program.calls().iter().filter(|it| match it {
            Call::Conv {
                geometry, prologue, ..
            } => {
                !geometry.is_depthwise()
                    && !geometry.is_pointwise()
                    && *prologue != Prologue::default()
            }
            _ => false,
        });
        assert_eq!(fused.count() > 0, tf32);
        for libraries in [false, true] {
            let mut library = Library::default();
            if libraries {
                library.convolutions = Library::candidates(&program);
                library.workspace = 64;
            }
            let optimiser = settings(Rule::Sgd {
                momentum: 0.0,
                nesterov: false,
            });
            let program = Arc::clone(&program);
            let script = Script::new(program, Some(optimiser), None, library, bf16).unwrap();
            let work = script.work(Pointer(1 << 20), tf32).unwrap();
            let launched = |name: &str| {
                let launches = work.iter().filter(|it| match &it.work {
                    Work::Launch(launch) => launch.kernel.starts_with(name),
                    _ => false,
                });
                launches.count()
            };
            let passed = |pass: Pass| {
                let passes = work
                    .iter()
                    .filter(|it| matches!(&it.work, Work::Dense(it) if it.pass == pass));
                passes.count()
            };
            let ours = ["_1", "_3", "_input", "_weights"]
                .map(|it| launched(&format!("convolution_narrow{it}")));
            let ours = [ours[0] + ours[1], ours[2], ours[3]];
            let theirs = [Pass::Forward, Pass::Input, Pass::Filters].map(passed);
            let all = [4, 4, 4];
            let expected = match (tf32, libraries) {
                (true, _) => (all, [0; 3]),
                (false, true) => ([0; 3], all),
                (false, false) => ([0; 3], [0; 3]),
            };
            assert_eq!((ours, theirs), expected, "{tf32} {bf16} {libraries}");
        }
    }
}
