//! A step with tensors in bfloat16, call by call: what each makes of the device's numbers is what the CPU makes of them,
//! rounded. From call to call errors would grow to any size.

use std::sync::Arc;

use super::buffer::Buffer as Memory;
use super::memory::Device;
use super::programs::{BATCH, LABELS, flattened, nested, program, program_in, settings};
use super::script::{close, run};
use super::{Emulator, check};
use crate::cuda::script::{Library, Piece, Script, packed};
use crate::optimiser::Rule;
use crate::program::{Buffer, Builder, Call, Control, Executor, Input, Precision, Program, Value};
use crate::testing::Random;
use crate::{Activation, Conv2d};

/// The numbers of such words.
pub(super) fn unpacked(words: &[u32]) -> Vec<f32> {
    let numbers = words.iter().flat_map(|it| [it << 16, it & 0xffff_0000]);
    numbers.map(f32::from_bits).collect()
}

pub(super) fn rounded(numbers: &[f32]) -> Vec<f32> {
    let mut found = unpacked(&packed(numbers));
    found.truncate(numbers.len());
    found
}

/// Numbers as a tensor in bfloat16 or fp32 keeps them.
pub(super) fn stored(numbers: Vec<f32>, bf16: bool) -> Vec<f32> {
    match bf16 {
        true => rounded(&numbers),
        false => numbers,
    }
}

/// Such a tensor.
pub(super) fn tensor(numbers: &[f32], bf16: bool) -> Memory {
    match bf16 {
        true => Memory::of(&packed(numbers)),
        false => Memory::of(numbers),
    }
}

/// What it holds.
pub(super) fn numbers(tensor: &mut Memory, bf16: bool) -> Vec<f32> {
    match bf16 {
        true => unpacked(&tensor.read()),
        false => tensor.read(),
    }
}

/// A step on both, which have their numbers at different places.
struct Both<'s> {
    script: &'s Script,
    program: &'s Program,
    device: Device,
    cpu: Executor,
}

impl Both<'_> {
    /// The device's numbers of a buffer.
    fn found(&mut self, buffer: Buffer) -> Vec<f32> {
        let span = self.script.program().span(buffer);
        if let Some((whole, begin, stride)) = self.script.lies_in(buffer) {
            let whole = self.found(whole);
            let width = span.len * stride / whole.len();
            let pixels = whole.chunks(stride);
            return pixels
                .flat_map(|it| it[begin..begin + width].to_vec())
                .collect();
        }
        if !self.script.is_narrow(buffer) {
            return self.device.get(span.start, span.len);
        }
        let words = self.device.get(span.start, span.len.div_ceil(2));
        let words: Vec<u32> = words.iter().map(|it| it.to_bits()).collect();
        let mut numbers = unpacked(&words);
        numbers.truncate(span.len);
        numbers
    }

    /// Puts the same numbers into both, which are rounded where they can be.
    fn put(&mut self, buffer: Buffer, numbers: &[f32]) {
        let numbers = rounded(numbers);
        let start = self.script.program().span(buffer).start;
        match self.script.is_narrow(buffer) {
            true => self.device.put(start, &packed(&numbers)),
            false => self.device.put_numbers(start, &numbers),
        }
        self.cpu.write(buffer).copy_from_slice(&numbers);
    }

    /// Runs calls, whose work the pieces are, on both from the device's numbers.
    fn compare(
        &mut self,
        emulator: &Emulator,
        calls: &[Call],
        pieces: &[Piece],
        control: &Control,
    ) {
        let accesses: Vec<_> = calls.iter().map(Call::accesses).collect();
        let writes = accesses.iter().flat_map(|it| &it.writes);
        let reads = accesses.iter().flat_map(|it| &it.reads);
        for &buffer in writes.chain(reads) {
            let numbers = self.found(buffer);
            self.cpu.write(buffer).copy_from_slice(&numbers);
        }
        // What lies between a norm's and a convolution's gradient is never in memory, but is rounded for the products.
        let is_between = |index: usize, buffer: Buffer| {
            let next = calls.get(index + 1);
            matches!(&calls[index], Call::NormGradient { dx: Some(dx), .. } if dx.buffer == buffer)
                && matches!(next, Some(Call::ConvGradient { .. }))
        };
        for (index, call) in calls.iter().enumerate() {
            self.cpu.call(self.program, call, control).unwrap();
            for &buffer in &accesses[index].writes {
                if is_between(index, buffer) {
                    let numbers = rounded(self.cpu.read(buffer));
                    self.cpu.write(buffer).copy_from_slice(&numbers);
                }
            }
        }
        for piece in pieces {
            let alone = Piece {
                after: Vec::new(),
                ..piece.clone()
            };
            run(emulator, &[alone], &mut self.device);
        }
        let ports = self.program.ports();
        let gradients: Vec<_> = ports.parameters.iter().map(|it| it.gradient).collect();
        for (index, call) in calls.iter().enumerate() {
            for &buffer in &accesses[index].writes {
                // The parts of weights' gradients are joined later. These are whole numbers there, or of another kind.
                let own = match call {
                    Call::Loss { ranks, .. } => *ranks == Some(buffer),
                    Call::NormGradient { terms, .. } => *terms == buffer,
                    _ => false,
                };
                if gradients.contains(&Some(buffer)) || is_between(index, buffer) || own {
                    continue;
                }
                let expected = self.cpu.read(buffer).to_vec();
                let found = self.found(buffer);
                // Half a unit in the last of 8 places when it is stored, and when a bias or a gradient is added; sums take what a piece has at hand,
                // which is not rounded.
                let times = accesses[index].writes.iter().filter(|it| **it == buffer);
                let tolerance = 8e-3 * times.count() as f32;
                let what = format!("{calls:?}: {buffer:?}");
                close(&what, &found, &expected, tolerance);
            }
        }
    }
}

/// A gate by convolutions of a pooled pixel, and a classifier that ends in a convolution, of which two losses are taken:
/// the program, and its images, map, gated map, logits, pooled pixel and gate.
fn pixels(training: bool) -> (Program, [Value; 6]) {
    let mut builder = Builder::new(BATCH, training);
    let images = builder.images([4, 4, 3]);
    let conv = |builder: &mut Builder, x: Value, shape: [usize; 4]| {
        let w = builder.parameter(shape.iter().product(), true);
        let made = builder.conv(Input::Plain(x), false, (w, shape), None, Conv2d::default());
        made.unwrap()
    };
    let map = conv(&mut builder, images, [1, 1, 3, 8]);
    let pooled = builder.global_average_pool(map);
    let gate = conv(&mut builder, pooled, [1, 1, 8, 8]);
    let gate = builder.activation(gate, Activation::Sigmoid);
    let gated = builder.multiply(map, gate).unwrap();
    let last = conv(&mut builder, gated, [4, 4, 8, 7]);
    let logits = builder.flatten(last);
    builder.output(logits, 1.0, 0.0);
    if training {
        builder.output(logits, 0.4, 0.1);
    }
    let program = builder.finish().unwrap();
    (program, [images, map, gated, logits, pooled, gate])
}

fn compare(emulator: &Emulator, program: Program, libraries: bool) {
    let program = Arc::new(program);
    let ports = program.ports();
    let mut library = Library::default();
    if libraries {
        library.convolutions = Library::candidates(&program);
    }
    let rule = Rule::Sgd {
        momentum: 0.9,
        nesterov: true,
    };
    let training = ports.parameters.iter().any(|it| it.gradient.is_some());
    let optimiser = training.then(|| settings(rule));
    let script = Script::new(Arc::clone(&program), optimiser, None, library, true).unwrap();
    assert!(script.program().memory() < program.memory());
    let mut device = Device::of(&script);
    let base = device.base();
    device.put(script.labels(), &LABELS);
    let control = Control {
        seed: 11,
        progress: 0.5,
        learning_rate: 0.05,
    };
    device.put(
        script.control_word(),
        &script.control(&control, 1, &[]).unwrap(),
    );
    let mut cpu = Executor::new(Arc::clone(&program));
    cpu.set_labels(&LABELS).unwrap();
    let mut both = Both {
        script: &script,
        program: &program,
        device,
        cpu,
    };
    let mut random = Random::new(program.memory() as u64);
    let parameters = ports.parameters.iter().map(|it| it.value);
    for buffer in parameters.chain([ports.images]) {
        both.put(buffer, &random.values(program.span(buffer).len));
    }
    for &buffer in &ports.running {
        let numbers = random.values(program.span(buffer).len);
        let numbers: Vec<f32> = numbers.iter().map(|it| it.abs() + 0.1).collect();
        both.put(buffer, &numbers);
    }
    assert!(script.is_narrow(ports.images));
    let (work, of) = (script.work(base, true), script.calls_of(base, true));
    let (work, of) = (work.unwrap(), of.unwrap());
    let mut start = 0;
    while start < work.len() {
        let end = of[start..].iter().position(|it| *it != of[start]);
        let end = end.map_or(work.len(), |it| start + it);
        let calls = of[start]..of.get(end).copied().unwrap_or(program.calls().len());
        let calls = &program.calls()[calls];
        let (calls, update) = match calls.split_last() {
            Some((Call::Update, others)) => (others, true),
            _ => (calls, false),
        };
        assert!(!update || calls.is_empty());
        both.compare(emulator, calls, &work[start..end], &control);
        start = end;
    }
    let gradients = ports.parameters.iter().filter_map(|it| it.gradient);
    for (index, buffer) in gradients.enumerate() {
        let expected = both.cpu.read(buffer).to_vec();
        let what = format!("{} words, gradient {index}", program.memory());
        close(&what, &both.found(buffer), &expected, 1e-2);
    }
}

#[test]
fn vectors_are_not_narrow() {
    let (program, [images, map, gated, logits, pooled, gate]) = pixels(true);
    let program = Arc::new(program);
    let script = |program: Arc<Program>| {
        let rule = Rule::Sgd {
            momentum: 0.0,
            nesterov: false,
        };
        let optimiser = Some(settings(rule));
        Script::new(program, optimiser, None, Library::default(), true)
    };
    let script_of = script(Arc::clone(&program)).unwrap();
    let is_narrow = |value: Value| script_of.is_narrow(value.buffer);
    assert!(is_narrow(images) && is_narrow(map) && is_narrow(gated) && is_narrow(logits));
    assert!(!is_narrow(pooled) && !is_narrow(gate));
    // Pixels and pooled ones side by side are not made.
    let refused = script(Arc::new(flattened(8, true))).err().unwrap();
    assert!(
        refused.to_string().contains("--precision tf32"),
        "{refused}"
    );
}

#[test]
fn each_call_is_the_cpus() {
    check("bf16", |emulator| {
        // Products round factors to TF32 or bfloat16, and the weights are bfloat16 here.
        let exact = emulator.exact();
        let emulator = exact.as_ref().unwrap_or(emulator);
        for (channels, libraries) in [(6, false), (8, false), (8, true)] {
            for training in [true, false] {
                compare(emulator, program(channels, training), libraries);
                compare(emulator, nested(channels, training), libraries);
            }
        }
        // Enough channels for the kernels for narrow convolutions.
        for libraries in [false, true] {
            for precision in [Precision::Fp32, Precision::Bf16] {
                compare(emulator, program_in(precision, 16, true), libraries);
            }
        }
        compare(emulator, pixels(true).0, false);
        compare(emulator, pixels(false).0, false);
    });
}
