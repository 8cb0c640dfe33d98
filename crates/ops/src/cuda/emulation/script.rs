//! A whole step's device work on the host, against the CPU's executor.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::dense::dense;
use super::memory::Device;
use super::{Emulator, check};
use crate::cuda::Pointer;
use crate::cuda::kernels::loss::Totals;
use crate::cuda::script::{Library, Pass, Piece, Product, Script, Work};
use crate::optimiser::{Rule, Settings, WeightDecay};
use crate::program::{
    Buffer, Builder, Call, Control, DropPath, Executor, Input, Norm, Precision, Program, Prologue,
    Share, Value, Weights,
};
use crate::{Activation, Conv2d, Optimiser, Pool2d, PoolKind};

pub(super) const BATCH: usize = 3;
const CLASSES: usize = 7;
pub(super) const LABELS: [u32; BATCH] = [6, 0, 3];

/// Adds layers with their parameters.
struct Net(Builder);

impl Net {
    fn norm(&mut self, channels: usize) -> Norm {
        Norm {
            scale: Some(self.0.parameter(channels, false)),
            shift: Some(self.0.parameter(channels, false)),
            running: self.0.running(channels),
            momentum: 0.1,
            epsilon: 1e-5,
        }
    }

    fn conv(&mut self, input: Input, relu: bool, shape: [usize; 4], conv: Conv2d) -> Value {
        let w = self.0.parameter(shape.iter().product(), true);
        self.0.conv(input, relu, (w, shape), None, conv).unwrap()
    }

    /// A normalised input for the next operation.
    fn normalised(&mut self, x: Value) -> Input {
        let norm = self.norm(x.dims[3]);
        Input::Normalised(self.0.batch_norm(x, norm).unwrap())
    }

    fn done(&mut self, input: Input, relu: bool) -> Value {
        match input {
            Input::Plain(x) => x,
            Input::Normalised(it) => self.0.normalise(it, relu),
        }
    }
}

/// All operations once, with shared inputs; `channels` that four divides or not take other kernels.
pub(super) fn program(channels: usize, training: bool) -> Program {
    program_in(Precision::Fp32, channels, training)
}

/// The same for a device that computes in a precision.
pub(super) fn program_in(precision: Precision, channels: usize, training: bool) -> Program {
    let c = channels;
    let mut net = Net(Builder::new(BATCH, training).in_precision(precision));
    let images = net.0.images([9, 8, 3]);
    let same = |k: usize| Conv2d::default().same([k, k]);
    let stem = net.conv(Input::Plain(images), false, [3, 3, 3, c], same(3));
    let stem = net.normalised(stem);
    let x = net.done(stem, true);
    // Twice separable, from ReLU to batch norm, and a dense convolution of a normalised tensor.
    let by_channel = |k: usize| Conv2d {
        groups: c,
        ..same(k)
    };
    let y = net.conv(Input::Plain(x), true, [3, 3, 1, c], by_channel(3));
    let y = net.conv(Input::Plain(y), false, [1, 1, c, c], Conv2d::default());
    let y = net.normalised(y);
    let y = net.conv(y, true, [5, 5, 1, c], by_channel(5));
    let y = net.conv(Input::Plain(y), false, [1, 1, c, c], Conv2d::default());
    let y = net.normalised(y);
    let y = net.conv(y, true, [3, 3, c, c], same(3));
    let other = net.conv(Input::Plain(x), false, [1, 1, c, c], Conv2d::default());
    let separable = net.normalised(y);
    let dilated = Conv2d {
        dilation: [2, 2],
        ..Conv2d::default()
    };
    let wide = net.conv(Input::Plain(x), false, [3, 3, c, c], dilated.same([3, 3]));
    let wide = net.normalised(wide);
    let wide = net.conv(wide, false, [5, 3, c, c], Conv2d::default().same([5, 3]));
    let (w, bias) = (net.0.parameter(9 * c * c, true), net.0.parameter(c, false));
    let weight = (w, [3, 3, c, c]);
    let near = net
        .0
        .conv(Input::Plain(x), true, weight, Some(bias), same(3));
    let near = near.unwrap();
    let largest = net.0.pool(x, pool(PoolKind::Max)).unwrap();
    let mean = net.0.pool(x, pool(PoolKind::Average)).unwrap();
    let path = |net: &mut Net, salt| {
        if training {
            return net.0.drop_path(DropPath {
                rate: 0.6,
                scheduled: salt == 4,
                salt,
            });
        }
        Share::All(1.0)
    };
    let (first, second) = (path(&mut net, 4), path(&mut net, 5));
    let all = Share::All(1.0);
    let of_near = net.conv(Input::Plain(near), true, [1, 1, c, c], Conv2d::default());
    let of_near = net.normalised(of_near);
    // Right after a norm that it does not read.
    let apart = net.conv(Input::Plain(other), false, [3, 3, 1, c], by_channel(3));
    let terms = [
        (separable, first),
        (Input::Plain(largest), second),
        (Input::Plain(x), all),
        (Input::Plain(wide), all),
        (Input::Plain(apart), all),
        (of_near, all),
    ];
    let sum = net.0.combine(&terms, false).unwrap();
    // A residual: two normalised branches and what another operation reads too, with a ReLU.
    let branches = [near, sum].map(|branch| {
        let branch = net.conv(Input::Plain(branch), true, [1, 1, c, c], Conv2d::default());
        (net.normalised(branch), all)
    });
    let [left, right] = branches;
    let terms = [
        left,
        right,
        (Input::Plain(sum), all),
        (Input::Plain(near), Share::All(0.5)),
    ];
    let sum = net.0.combine(&terms, true).unwrap();
    let squeezed = net.0.global_average_pool(sum);
    let w = net.0.parameter(c * c, true);
    let bias = net.0.parameter(c, false);
    let gate = net.0.linear(squeezed, w, Some(bias), c).unwrap();
    let gate = net.0.activation(gate, Activation::Sigmoid);
    let gated = net.0.multiply(sum, gate).unwrap();
    let mut many = vec![gated; 8];
    // Sums that nothing else reads, of normalised tensors and others, and what is no such sum.
    let mut pieces = Vec::new();
    for _ in 0..2 {
        let branch = net.conv(Input::Plain(gated), true, [1, 1, c, c], Conv2d::default());
        let terms = [(net.normalised(branch), all), (Input::Plain(near), all)];
        pieces.push(net.0.combine(&terms, false).unwrap());
    }
    // This one is read elsewhere too.
    many.push(pieces[0]);
    pieces.insert(1, mean);
    let pieces = net.0.concat(&pieces).unwrap();
    let pieces = net.conv(
        Input::Plain(pieces),
        true,
        [1, 1, 3 * c, c],
        Conv2d::default(),
    );
    // From more channels than the kernels for few take.
    many[3] = wide;
    many[5] = pieces;
    let many = net.0.concat(&many).unwrap();
    let weight = (net.0.parameter(9 * c * c, true), [1, 1, 9 * c, c]);
    let bias = net.0.parameter(c, false);
    let many = Input::Plain(many);
    let narrow = net
        .0
        .conv(many, true, weight, Some(bias), Conv2d::default());
    let even = net.0.subsample(narrow.unwrap(), 2, 0).unwrap();
    let odd = net.0.subsample(mean, 2, 1).unwrap();
    let none = net.0.zero(x, 2).unwrap();
    let all = net.0.concat(&[even, odd, none, even]).unwrap();
    let all = net.0.dropout(all, 0.3, 9);
    let all = net.0.truncate(all, 3 * c).unwrap();
    let (w, bias) = (net.0.parameter(3 * c * c, true), net.0.parameter(c, false));
    let input = Input::Plain(all);
    let shape = [1, 1, 3 * c, c];
    let all = net
        .0
        .conv(input, false, (w, shape), Some(bias), Conv2d::default());
    let all = net.0.activation(all.unwrap(), Activation::Swish);
    let flat = net.0.flatten(all);
    let head = |net: &mut Net, x: Value| {
        let w = net.0.parameter(x.dims[3] * CLASSES, true);
        let bias = net.0.parameter(CLASSES, false);
        net.0.linear(x, w, Some(bias), CLASSES).unwrap()
    };
    let logits = head(&mut net, flat);
    net.0.output(logits, 1.0, 0.1);
    if training {
        // Of the second one's gradients one is added.
        for x in [squeezed, flat] {
            let auxiliary = head(&mut net, x);
            net.0.output(auxiliary, 0.4, 0.1);
        }
    }
    net.0.finish().unwrap()
}

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

pub(super) fn settings(rule: Rule) -> Settings {
    Settings {
        rule,
        weight_decay: 1e-2,
        decay: WeightDecay::Coupled,
        clip_norm: Some(0.5),
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

/// A sum whose pixels are flattened before they are concatenated, with what a norm's gradient passes on so.
pub(super) fn flattened(channels: usize, training: bool) -> Program {
    let mut net = Net(Builder::new(BATCH, training));
    let images = net.0.images([5, 4, 3]);
    let same = |k: usize| Conv2d::default().same([k, k]);
    let normalised = |net: &mut Net| {
        let weight = [3, 3, 3, channels];
        let x = net.conv(Input::Plain(images), false, weight, same(3));
        net.normalised(x)
    };
    let whole = Share::All(1.0);
    let terms = [normalised(&mut net), normalised(&mut net)].map(|it| (it, whole));
    let sum = net.0.combine(&terms, false).unwrap();
    let other = normalised(&mut net);
    let other = net.done(other, false);
    let pooled = net.0.global_average_pool(other);
    let pieces = [sum, other].map(|it| net.0.flatten(it));
    let all = net.0.concat(&[pieces[0], pooled, pieces[1]]).unwrap();
    let w = net.0.parameter(all.dims[3] * CLASSES, true);
    let logits = net.0.linear(all, w, None, CLASSES).unwrap();
    net.0.output(logits, 1.0, 0.1);
    net.0.finish().unwrap()
}

/// What each block of [`nested`] makes of its input.
struct Block {
    /// The innermost concatenation and what it is of, two normalised tensors; the one around it, with the sum beside it; the
    /// one around both, with the pooled tensor beside them.
    inner: (Value, [Value; 2]),
    middle: (Value, Value),
    outer: (Value, Value),
    /// Another one in the outermost, which is read elsewhere too, and a normalised tensor in it.
    shared: (Value, Value),
}

impl Block {
    fn new(net: &mut Net, x: Value, c: usize) -> Self {
        let branch = |net: &mut Net, relu: bool, to: usize| {
            let weight = [1, 1, x.dims[3], to];
            let y = net.conv(Input::Plain(x), relu, weight, Conv2d::default());
            net.normalised(y)
        };
        let whole = Share::All(1.0);
        let pieces = [true, false].map(|relu| {
            let it = branch(net, relu, c);
            net.done(it, relu)
        });
        let inner = net.0.concat(&pieces).unwrap();
        let terms = [branch(net, true, 8), branch(net, false, 8)].map(|it| (it, whole));
        let sum = net.0.combine(&terms, false).unwrap();
        let middle = net.0.concat(&[sum, inner]).unwrap();
        let pooled = net.0.pool(x, pool(PoolKind::Max)).unwrap();
        let (other, last) = (branch(net, false, c), branch(net, true, 8));
        let [other, last] = [other, last].map(|it| net.done(it, false));
        let shared = net.0.concat(&[last, other]).unwrap();
        let outer = net.0.concat(&[pooled, middle, shared]).unwrap();
        Self {
            inner: (inner, pieces),
            middle: (middle, sum),
            outer: (outer, pooled),
            shared: (shared, last),
        }
    }

    /// What others read of it.
    fn done(&self, net: &mut Net, c: usize) -> Value {
        let whole = Share::All(1.0);
        let terms = [self.outer.0, self.shared.0].map(|x| {
            let weight = [1, 1, x.dims[3], 2 * c];
            let y = net.conv(Input::Plain(x), true, weight, Conv2d::default());
            (net.normalised(y), whole)
        });
        net.0.combine(&terms, true).unwrap()
    }
}

fn pool(kind: PoolKind) -> Pool2d {
    Pool2d {
        kind,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1; 4],
    }
}

/// Concatenations within others, in blocks of which later ones have the memory of earlier ones in evaluation.
pub(super) fn nested(channels: usize, training: bool) -> Program {
    nested_blocks(channels, training).0
}

fn nested_blocks(channels: usize, training: bool) -> (Program, Vec<Block>) {
    let mut net = Net(Builder::new(BATCH, training));
    let mut x = net.0.images([5, 4, 4]);
    let blocks = (0..4).map(|_| {
        let block = Block::new(&mut net, x, channels);
        x = block.done(&mut net, channels);
        block
    });
    let blocks = blocks.collect();
    let flat = net.0.global_average_pool(x);
    let w = net.0.parameter(flat.dims[3] * CLASSES, true);
    let logits = net.0.linear(flat, w, None, CLASSES).unwrap();
    net.0.output(logits, 1.0, 0.1);
    (net.0.finish().unwrap(), blocks)
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
        let state = script.state(2, |word, len| Ok::<_, ()>(device.get(word, len)));
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
