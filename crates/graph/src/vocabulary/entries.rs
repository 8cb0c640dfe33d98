//! The table of primitives: name, arguments, and how each becomes a layer.

use cellwright_space::{ArgumentKind, ArgumentSpec, Inputs, Primitive};

use super::arguments::Arguments;
use super::make::{batch_norm, conv, depthwise, linear, pool, subsample};
use super::specifications::{
    BATCH_NORM, CONV, DEPTHWISE, DROP_PATH, LINEAR, POOL, RATE, SUBSAMPLE, ZERO, argument,
};
use crate::{Activation, DropPath, Dropout, Layer, PoolKind, Truncate, Zero};

/// One primitive operation.
pub(super) struct Entry {
    pub(super) name: &'static str,
    about: &'static str,
    inputs: Inputs,
    pub(super) arguments: &'static [ArgumentSpec],
    pub(super) make: fn(&Arguments) -> Result<Layer, String>,
}

impl Entry {
    pub(super) fn primitive(&self) -> Primitive {
        Primitive {
            name: self.name,
            about: self.about,
            inputs: self.inputs,
            arguments: self.arguments.to_vec(),
        }
    }
}

/// Every primitive, in the order in which the reference lists them.
pub(super) const ENTRIES: &[Entry] = &[
    entry("conv", "convolution", CONV, conv),
    entry(
        "depthwise",
        "convolution of each channel by itself",
        DEPTHWISE,
        depthwise,
    ),
    entry("batch_norm", "batch normalisation", BATCH_NORM, batch_norm),
    entry("relu", "max(x, 0)", &[], |_| {
        Ok(Layer::Activation(Activation::Relu))
    }),
    entry("relu6", "min(max(x, 0), 6)", &[], |_| {
        Ok(Layer::Activation(Activation::Relu6))
    }),
    entry("swish", "x * sigmoid(x)", &[], |_| {
        Ok(Layer::Activation(Activation::Swish))
    }),
    entry("hard_swish", "x * min(max(x + 3, 0), 6) / 6", &[], |_| {
        Ok(Layer::Activation(Activation::HardSwish))
    }),
    entry("sigmoid", "1 / (1 + exp(-x))", &[], |_| {
        Ok(Layer::Activation(Activation::Sigmoid))
    }),
    entry("hard_sigmoid", "min(max(x + 3, 0), 6) / 6", &[], |_| {
        Ok(Layer::Activation(Activation::HardSigmoid))
    }),
    entry("max_pool", "the largest value of each window", POOL, |it| {
        pool(it, PoolKind::Max)
    }),
    entry(
        "avg_pool",
        "the mean of each window; padding does not count",
        POOL,
        |it| pool(it, PoolKind::Average),
    ),
    entry(
        "global_avg_pool",
        "the mean over height and width",
        &[],
        |_| Ok(Layer::GlobalAveragePool),
    ),
    entry("flatten", "all values as one vector", &[], |_| {
        Ok(Layer::Flatten)
    }),
    entry(
        "linear",
        "fully connected layer on a vector",
        LINEAR,
        linear,
    ),
    join("add", "the sum of its inputs", Inputs::Many, |_| {
        Ok(Layer::Add)
    }),
    join("mean", "the mean of its inputs", Inputs::Many, |_| {
        Ok(Layer::Mean)
    }),
    join(
        "multiply",
        "the product of a tensor and another, or a gate of 1x1xC",
        Inputs::Exactly(2),
        |_| Ok(Layer::Multiply),
    ),
    join(
        "concat",
        "its inputs one behind the other along the channels",
        Inputs::Many,
        |_| Ok(Layer::Concat),
    ),
    entry(
        "subsample",
        "every n-th row and column",
        SUBSAMPLE,
        subsample,
    ),
    entry(
        "truncate",
        "its first channels, without the others",
        &[argument(
            "channels",
            ArgumentKind::Whole,
            None,
            "how many are taken",
        )],
        |it| {
            Ok(Layer::Truncate(Truncate {
                channels: it.whole("channels", None)?,
            }))
        },
    ),
    entry(
        "dropout",
        "zeroes values at random during training",
        &[RATE],
        |it| {
            Ok(Layer::Dropout(Dropout {
                rate: it.number("rate", None)?,
            }))
        },
    ),
    entry(
        "drop_path",
        "zeroes the whole tensor of an image at random during training",
        DROP_PATH,
        |it| {
            Ok(Layer::DropPath(DropPath {
                rate: it.number("rate", None)?,
                scheduled: it.flag("scheduled", true)?,
            }))
        },
    ),
    entry("identity", "its input, unchanged", &[], |_| {
        Ok(Layer::Identity)
    }),
    entry("zero", "nothing but zeros", ZERO, |it| {
        Ok(Layer::Zero(Zero {
            stride: it.whole("stride", Some(1))?,
        }))
    }),
];

const fn entry(
    name: &'static str,
    about: &'static str,
    arguments: &'static [ArgumentSpec],
    make: fn(&Arguments) -> Result<Layer, String>,
) -> Entry {
    Entry {
        name,
        about,
        inputs: Inputs::Exactly(1),
        arguments,
        make,
    }
}

const fn join(
    name: &'static str,
    about: &'static str,
    inputs: Inputs,
    make: fn(&Arguments) -> Result<Layer, String>,
) -> Entry {
    Entry {
        name,
        about,
        inputs,
        arguments: &[],
        make,
    }
}
