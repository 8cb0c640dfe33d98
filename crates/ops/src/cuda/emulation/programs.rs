//! Networks as programs, small enough for the host and with every call in them, for the tests of whole steps.

use crate::optimiser::{Rule, Settings, WeightDecay};
use crate::program::{Builder, DropPath, Input, Norm, Precision, Program, Share, Value};
use crate::{Activation, Conv2d, Pool2d, PoolKind};

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
    let gated = net.0.multiply(gated, near).unwrap();
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
pub(super) struct Block {
    /// The innermost concatenation and what it is of, two normalised tensors; the one around it, with the sum beside it; the
    /// one around both, with the pooled tensor beside them.
    pub inner: (Value, [Value; 2]),
    pub middle: (Value, Value),
    pub outer: (Value, Value),
    /// Another one in the outermost, which is read elsewhere too, and a normalised tensor in it.
    pub shared: (Value, Value),
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

pub(super) fn nested_blocks(channels: usize, training: bool) -> (Program, Vec<Block>) {
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

pub(super) fn settings(rule: Rule) -> Settings {
    Settings {
        rule,
        weight_decay: 1e-2,
        decay: WeightDecay::Coupled,
        clip_norm: Some(0.5),
    }
}
