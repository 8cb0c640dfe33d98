//! Which tensors of a program are bfloat16 where that is asked for: those with pixels, from the images on, and their
//! gradients. Vectors of images (pooled features, gates, logits), weights and statistics are fp32 always.

use crate::Error;
use crate::program::{Buffer, Call, Program, Target};

/// For each buffer, whether its numbers are bfloat16.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers {
    narrow: Vec<bool>,
}

/// What a call says of its tensors.
#[derive(Default)]
struct Says {
    /// These are of one kind.
    alike: Vec<Buffer>,
    /// These have pixels.
    narrow: Vec<Buffer>,
    /// These are vectors of images.
    wide: Vec<Buffer>,
}

impl Numbers {
    /// All fp32.
    pub fn wide(program: &Program) -> Self {
        let narrow = vec![false; program.buffers()];
        Self { narrow }
    }

    /// bfloat16 wherever it can be.
    ///
    /// # Errors
    /// [`Error::Shape`] for a program whose calls disagree.
    pub fn narrow(program: &Program) -> Result<Self, Error> {
        let says: Vec<Says> = program.calls().iter().map(Says::of).collect();
        let mut kinds = Kinds::new(program.buffers());
        for call in &says {
            call.alike
                .windows(2)
                .for_each(|it| kinds.join(it[0], it[1]));
        }
        let mut found = vec![[false; 2]; program.buffers()];
        for call in &says {
            for (which, buffers) in [&call.narrow, &call.wide].into_iter().enumerate() {
                for buffer in buffers {
                    found[kinds.of(*buffer)][which] = true;
                }
            }
        }
        if found.contains(&[true; 2]) {
            let detail = "pixels meet vectors of images, which are not bfloat16, as in a concatenation of flattened \
                          images with pooled ones: take --precision tf32";
            return Err(Error::shape("bf16", detail));
        }
        let buffers = (0..program.buffers()).map(|it| Buffer(it as u32));
        let narrow = buffers.map(|it| found[kinds.of(it)][0]).collect();
        Ok(Self { narrow })
    }

    pub fn is_narrow(&self, buffer: Buffer) -> bool {
        self.narrow[buffer.0 as usize]
    }
}

impl Says {
    fn of(call: &Call) -> Self {
        let target = |target: &Option<Target>| target.map(|it| it.buffer);
        let mut says = Self::default();
        let Self {
            alike,
            narrow,
            wide,
        } = &mut says;
        match call {
            // Of a single pixel it may be either.
            Call::Conv { geometry, x, y, .. } => {
                let found = if geometry.is_single() { alike } else { narrow };
                found.extend([*x, *y]);
            }
            Call::ConvGradient {
                geometry,
                x,
                dy,
                dx,
                ..
            } => {
                let found = if geometry.is_single() { alike } else { narrow };
                found.extend([*x, *dy]);
                found.extend(target(dx));
            }
            Call::Pool { x, y, .. } | Call::Subsample { x, y, .. } => narrow.extend([*x, *y]),
            Call::PoolGradient { dy, dx, .. } | Call::SubsampleGradient { dy, dx, .. } => {
                narrow.extend([*dy, dx.buffer]);
            }
            Call::GlobalAveragePool { x, y, .. } => {
                narrow.push(*x);
                wide.push(*y);
            }
            Call::GlobalAveragePoolGradient { dy, dx, .. } => {
                wide.push(*dy);
                narrow.push(dx.buffer);
            }
            Call::Product { a, b, y, .. } => alike.extend([*a, *b, *y]),
            Call::ProductGradient { other, dy, dx, .. } => alike.extend([*other, *dy, dx.buffer]),
            // A single pixel is a vector, as its gate is.
            Call::Multiply { dims, x, gate, y } => {
                wide.push(*gate);
                let found = if dims.pixels == 1 { wide } else { narrow };
                found.extend([*x, *y]);
            }
            Call::MultiplyGradient { dims, gate, dy, dx } => {
                wide.push(*gate);
                let found = if dims.pixels == 1 { wide } else { narrow };
                found.extend([*dy, dx.buffer]);
            }
            Call::GateGradient { dims, x, dy, dgate } => {
                wide.push(dgate.buffer);
                let found = if dims.pixels == 1 { wide } else { narrow };
                found.extend([*x, *dy]);
            }
            // What they read may have pixels: it is widened for them.
            Call::Linear { y, .. } => wide.push(*y),
            Call::LinearGradient { dy, .. } => wide.push(*dy),
            Call::Normalise { x, y, .. }
            | Call::Activation { x, y, .. }
            | Call::Truncate { x, y, .. } => alike.extend([*x, *y]),
            Call::NormGradient { x, dy, dx, .. } => {
                alike.extend([*x, *dy]);
                alike.extend(target(dx));
            }
            Call::ActivationGradient { x, dy, dx, .. } => alike.extend([*x, *dy, dx.buffer]),
            Call::TruncateGradient { dy, dx, .. } => alike.extend([*dy, dx.buffer]),
            Call::Combine { terms, y, .. } => {
                alike.push(*y);
                alike.extend(terms.iter().map(|it| it.x));
            }
            Call::CombineGradient { dy, y, targets, .. } => {
                alike.push(*dy);
                alike.extend(*y);
                alike.extend(targets.iter().map(|(target, _)| target.buffer));
            }
            Call::Concat { inputs, y, .. } => {
                alike.push(*y);
                alike.extend(inputs.iter().map(|(x, _)| *x));
            }
            Call::ConcatGradient { dy, targets, .. } => {
                alike.push(*dy);
                alike.extend(targets.iter().map(|(target, _)| target.buffer));
            }
            Call::Dropout { x, y, .. } => alike.extend([*x, y.buffer]),
            Call::Zero { .. }
            | Call::Loss { .. }
            | Call::BiasGradient { .. }
            | Call::Statistics { .. }
            | Call::RunningStatistics { .. }
            | Call::DropPaths { .. }
            | Call::Update => {}
        }
        says
    }
}

/// Buffers of one kind, joined.
struct Kinds(Vec<usize>);

impl Kinds {
    fn new(buffers: usize) -> Self {
        Self((0..buffers).collect())
    }

    /// The one that stands for its kind.
    fn of(&self, buffer: Buffer) -> usize {
        let mut at = buffer.0 as usize;
        while self.0[at] != at {
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, one: Buffer, other: Buffer) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one.max(other)] = one.min(other);
    }
}

/// Numbers as bfloat16, two a word, rounded to the nearest, of two to the even one.
pub fn packed(numbers: &[f32]) -> Vec<u32> {
    let narrowed = |number: f32| match number.is_nan() {
        true => 0x7fff,
        false => (number.to_bits() + 0x7fff + (number.to_bits() >> 16 & 1)) >> 16,
    };
    let pairs = numbers.chunks(2);
    pairs
        .map(|it| narrowed(it[0]) | it.get(1).map_or(0, |&it| narrowed(it)) << 16)
        .collect()
}
