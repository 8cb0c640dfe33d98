//! What a script keeps in device memory beside the program's buffers, and where.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dense::Library;
use super::numbers::Numbers;
use super::pairs::suits_statistics;
use super::ring::ALIGN;
use crate::cuda::Pointer;
use crate::cuda::kernels::columns::{ScratchSize, column_sums_scratch};
use crate::cuda::kernels::convolution::Convolution;
use crate::cuda::kernels::{
    batch_norm, convolution, convolution_narrow, convolution_narrow_weights, depthwise, pointwise,
    product,
};
use crate::optimiser::{Rule, Settings};
use crate::program::{Buffer, Call, Draw, Program};

/// Words of a mask: see [`crate::cuda::kernels::elementwise::mask()`].
pub(super) const MASK: usize = 6;
/// Words of scratch memory for parts and for counters at most, unless a single launch asks for more. In
/// tests so few that launches take the same ones again.
const SCRATCH: [usize; 2] = if cfg!(test) {
    [1 << 12, 4 * ALIGN]
} else {
    [16 << 20, 1 << 16]
};
/// A library's convolutions that are done at once in training, at most.
const WORKSPACES: usize = 3;
/// Words of [`crate::cuda::kernels::loss::Totals`].
pub(super) const TOTALS: usize = 10;

/// A mask's salt and its rate, and whether the rate grows with the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mask {
    pub salt: u64,
    pub rate: f64,
    pub scheduled: bool,
}

/// The first word of each region.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    /// What a step needs of the host, uploaded before it: the optimiser's four numbers, then the masks.
    pub control: usize,
    /// Words of `control`.
    pub control_words: usize,
    /// Masks in the order in which they lie after the optimiser's numbers: those of the drop paths side by
    /// side, as the paths are.
    pub masks: Vec<Mask>,
    places: BTreeMap<u64, usize>,
    /// The batch's images among those of a data set on the device, right after `control`.
    pub draws: usize,
    pub labels: usize,
    pub totals: usize,
    /// The mean loss of the step.
    pub mean: usize,
    /// Losses and ranks of auxiliary classifiers, which nobody reads.
    pub unread: usize,
    /// Scratch memory: what launches take by turns for parts and for counters.
    pub scratch: [Range<usize>; 2],
    /// The gradients' norm and the factor that clipping puts to them.
    pub norm: usize,
    /// The moments of the parameters, one run of numbers a moment.
    pub moments: usize,
    /// Numbers of one moment.
    pub moment: usize,
    pub table: usize,
    pub runs: usize,
    /// For each weight of a library's convolution its filters, and in training their gradient.
    pub filters: BTreeMap<Buffer, [usize; 2]>,
    /// For each tensor that a linear layer or the loss reads, where it is bfloat16, its numbers in fp32; for the gradient too.
    pub widened: BTreeMap<Buffer, usize>,
    /// What a library computes in: as many of its convolutions can be done at once.
    pub workspaces: Vec<usize>,
    /// The size of all memory.
    pub words: usize,
}

impl Layout {
    pub fn new(
        program: &Program,
        optimiser: Option<&Settings>,
        library: &Library,
        numbers: &Numbers,
    ) -> Self {
        let masks = masks(program);
        let places = masks.iter().enumerate();
        let places = places.map(|(place, mask)| (mask.salt, place)).collect();
        let lens = || {
            let parameters = program.ports().parameters.iter();
            parameters.map(|it| program.span(it.value).len)
        };
        let moment = lens().map(|len| len.next_multiple_of(ALIGN)).sum::<usize>();
        let moments = match optimiser.map(|it| it.rule) {
            None => 0,
            Some(Rule::Sgd { momentum, .. }) => usize::from(momentum != 0.0),
            Some(Rule::Adam { .. }) => 2,
        };
        let runs = lens().map(|len| len.div_ceil(4096)).sum::<usize>();
        let scratch_words = scratch(program, runs);
        let (batch, training) = (program.batch(), optimiser.is_some());
        let mut words = program.memory();
        let mut region = |len: usize| {
            let start = words;
            words += len.next_multiple_of(ALIGN);
            start
        };
        let control_words = 4 + MASK * masks.len();
        Self {
            control: region(control_words),
            control_words,
            draws: region(batch * Draw::WORDS),
            labels: region(batch),
            totals: region(TOTALS),
            mean: region(1),
            unread: region(2 * batch),
            scratch: scratch_words.map(|len| {
                let start = region(len);
                start..start + len
            }),
            norm: region(2),
            moments: region(moments * moment),
            moment,
            table: region(10 * program.ports().parameters.len()),
            runs: region(2 * runs),
            filters: weights(program, library)
                .map(|(w, len)| (w, [region(len), region(if training { len } else { 0 })]))
                .collect(),
            widened: widened(program)
                .filter(|it| numbers.is_narrow(*it))
                .map(|it| (it, region(program.span(it).len)))
                .collect(),
            workspaces: (0..if training { WORKSPACES } else { 1 })
                .map(|_| region(library.workspace))
                .collect(),
            masks,
            places,
            words,
        }
    }

    /// The address of the mask of a salt.
    pub fn mask(&self, base: Pointer, salt: u64) -> Pointer {
        let place = self.places.get(&salt).copied().unwrap_or_default();
        at(base, self.control + 4 + MASK * place)
    }

    /// Where scratch memory begins; totals, means and what nobody reads lie before it.
    pub fn scratch_start(&self) -> usize {
        self.scratch[0].start
    }
}

/// The address of a word.
pub(super) fn at(base: Pointer, word: usize) -> Pointer {
    Pointer(base.0 + 4 * word as u64)
}

/// The weights of a library's convolutions, and their lengths.
fn weights<'p>(
    program: &'p Program,
    library: &'p Library,
) -> impl Iterator<Item = (Buffer, usize)> + 'p {
    program.calls().iter().filter_map(|call| match call {
        Call::Conv { geometry, w, .. } if library.convolutions.contains(geometry) => {
            Some((*w, geometry.weights()))
        }
        _ => None,
    })
}

/// What linear layers and the loss read, and the gradients of that.
fn widened(program: &Program) -> impl Iterator<Item = Buffer> + '_ {
    program.calls().iter().flat_map(|call| match call {
        Call::Linear { x, .. } => vec![*x],
        Call::LinearGradient { dx, .. } => dx.iter().map(|it| it.buffer).collect(),
        Call::Loss {
            logits, gradient, ..
        } => std::iter::once(*logits)
            .chain(gradient.map(|it| it.buffer))
            .collect(),
        _ => Vec::new(),
    })
}

/// The masks of all drop paths in their order, then those of dropout.
fn masks(program: &Program) -> Vec<Mask> {
    let (mut masks, mut others) = (Vec::new(), BTreeMap::new());
    for call in program.calls() {
        match call {
            Call::Dropout { rate, salt, .. } => {
                let (salt, rate) = (*salt, *rate);
                let scheduled = false;
                others.insert(
                    salt,
                    Mask {
                        salt,
                        rate,
                        scheduled,
                    },
                );
            }
            Call::DropPaths { paths, .. } => masks.extend(paths.iter().map(|path| Mask {
                salt: path.salt,
                rate: path.rate,
                scheduled: path.scheduled,
            })),
            _ => {}
        }
    }
    masks.extend(others.into_values());
    masks
}

fn weight_product(size: [usize; 3]) -> ScratchSize {
    match product::suits_weight_gradient(size) {
        true => product::weight_gradient_scratch(size),
        false => ScratchSize::default(),
    }
}

/// Words for parts and for counters: what all calls ask for, up to a limit. The update's norm takes a part
/// for each of the optimiser's runs.
fn scratch(program: &Program, runs: usize) -> [usize; 2] {
    let update = ScratchSize {
        parts: runs,
        counters: 1,
    };
    let (mut largest, mut sum) = (update, [0; 2]);
    for call in program.calls() {
        let size = match call {
            Call::Update => update,
            Call::Loss { .. } => ScratchSize {
                parts: 0,
                counters: 1,
            },
            _ => call_scratch(program, call),
        };
        largest = largest.max(size);
        sum[0] += size.parts.next_multiple_of(ALIGN);
        sum[1] += size.counters.next_multiple_of(ALIGN);
    }
    let largest = [largest.parts, largest.counters].map(|it| it.next_multiple_of(ALIGN));
    [0, 1].map(|kind| largest[kind].max(sum[kind].min(SCRATCH[kind])))
}

/// The largest scratch that a call's launches ask for.
fn call_scratch(program: &Program, call: &Call) -> ScratchSize {
    let len = |buffer: Buffer| program.span(buffer).len;
    match call {
        Call::Statistics { channels, x, .. } => {
            batch_norm::scratch(len(*x) / (*channels).max(1), *channels)
        }
        Call::NormGradient {
            x, coefficients, ..
        } => {
            let channels = len(*coefficients) / 4;
            batch_norm::scratch(len(*x) / channels.max(1), channels)
        }
        Call::BiasGradient { dy, dbias } => {
            column_sums_scratch(len(*dy) / len(*dbias).max(1), len(*dbias))
        }
        Call::LinearGradient {
            size: [rows, inputs, units],
            ..
        } => weight_product([*rows, *inputs, *units]),
        Call::Conv { geometry, .. } => match suits_statistics(geometry) {
            Some(product) => product::statistics_scratch(product),
            None if [false, true]
                .iter()
                .any(|it| convolution_narrow::suits(geometry, *it)) =>
            {
                convolution_narrow::statistics_scratch(geometry)
            }
            None => ScratchSize::default(),
        },
        Call::ConvGradient { geometry, .. } => {
            let conv = Convolution::of(*geometry);
            if geometry.is_depthwise() {
                let apart = || depthwise::weight_gradient_scratch(&conv);
                return depthwise::gradient_scratch(&conv).unwrap_or_else(apart);
            }
            let narrow = [false, true]
                .map(|bf16| convolution_narrow_weights::weight_gradient_scratch(geometry, bf16));
            let dense = convolution::weight_gradient_scratch(&conv);
            let dense = dense.max(narrow[0]).max(narrow[1]);
            geometry.product().map_or(dense, |size| {
                // With tensors of bfloat16 all tall ones are made by our products.
                let parts = match product::is_tall(size) {
                    true => product::weight_gradient_scratch(size),
                    false => weight_product(size),
                };
                dense.max(parts).max(pointwise::gradient_scratch(size))
            })
        }
        _ => ScratchSize::default(),
    }
}
