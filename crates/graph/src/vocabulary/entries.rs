//! The table of primitives: name, arguments, and how each becomes a layer.

use cellwright_space::{ArgumentKind, ArgumentSpec, Inputs, Primitive};

use super::arguments::{Arguments, PADDINGS};
use crate::{
    Activation, BatchNorm, Conv, DropPath, Dropout, Layer, Linear, Pool, PoolKind, Subsample,
    Truncate, Zero,
};

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

const fn argument(
    name: &'static str,
    kind: ArgumentKind,
    default: Option<&'static str>,
    about: &'static str,
) -> ArgumentSpec {
    ArgumentSpec {
        name,
        kind,
        default,
        about,
    }
}

const STRIDE: ArgumentSpec = argument(
    "stride",
    ArgumentKind::Pair,
    Some("1"),
    "step of the window in rows and columns",
);
const DILATION: ArgumentSpec = argument(
    "dilation",
    ArgumentKind::Pair,
    Some("1"),
    "distance between the window's taps",
);
const PADDING: ArgumentSpec = argument(
    "padding",
    ArgumentKind::Padding(PADDINGS),
    Some("\"same\""),
    "border: \"same\" gives ceil(size / stride), \"valid\" none, \"ceil\" none but for the last \
     window that starts inside",
);
const BIAS: ArgumentSpec = argument(
    "bias",
    ArgumentKind::Bool,
    Some("false"),
    "adds a learnt bias to each filter",
);
const RATE: ArgumentSpec = argument(
    "rate",
    ArgumentKind::Number,
    None,
    "probability of a zero, at least 0 and below 1",
);

const CONV: &[ArgumentSpec] = &[
    argument("filters", ArgumentKind::Whole, None, "output channels"),
    argument(
        "kernel",
        ArgumentKind::Pair,
        Some("1"),
        "size of the window",
    ),
    STRIDE,
    DILATION,
    PADDING,
    argument(
        "groups",
        ArgumentKind::Whole,
        Some("1"),
        "groups of channels that see only themselves",
    ),
    BIAS,
];
const DEPTHWISE: &[ArgumentSpec] = &[
    argument("kernel", ArgumentKind::Pair, None, "size of the window"),
    STRIDE,
    DILATION,
    PADDING,
    argument(
        "multiplier",
        ArgumentKind::Whole,
        Some("1"),
        "filters for each input channel",
    ),
    BIAS,
];
const BATCH_NORM: &[ArgumentSpec] = &[
    argument(
        "momentum",
        ArgumentKind::Number,
        Some("0.1"),
        "weight of a batch in the running statistics",
    ),
    argument(
        "epsilon",
        ArgumentKind::Number,
        Some("0.00001"),
        "added to the variance",
    ),
    argument(
        "scale_and_shift",
        ArgumentKind::Bool,
        Some("true"),
        "learns a scale and a shift for each channel",
    ),
];
const POOL: &[ArgumentSpec] = &[
    argument("kernel", ArgumentKind::Pair, None, "size of the window"),
    STRIDE,
    PADDING,
];
const LINEAR: &[ArgumentSpec] = &[
    argument("units", ArgumentKind::Whole, None, "number of outputs"),
    argument(
        "bias",
        ArgumentKind::Bool,
        Some("true"),
        "adds a learnt bias to each output",
    ),
];
const SUBSAMPLE: &[ArgumentSpec] = &[
    argument(
        "stride",
        ArgumentKind::Whole,
        Some("2"),
        "takes every so many rows and columns",
    ),
    argument(
        "offset",
        ArgumentKind::Whole,
        Some("0"),
        "the first row and column taken",
    ),
];
const ZERO: &[ArgumentSpec] = &[argument(
    "stride",
    ArgumentKind::Whole,
    Some("1"),
    "divides height and width",
)];

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
        "zeroes the whole tensor of an image at random during training; the rate grows linearly from 0 to `rate` over the training",
        &[RATE],
        |it| {
            Ok(Layer::DropPath(DropPath {
                rate: it.number("rate", None)?,
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

fn conv(it: &Arguments) -> Result<Layer, String> {
    let (kernel, stride) = (it.pair("kernel", Some(1))?, it.pair("stride", Some(1))?);
    Ok(Layer::Conv(Conv {
        kernel,
        stride,
        dilation: it.pair("dilation", Some(1))?,
        padding: it.padding(kernel, stride)?,
        groups: it.whole("groups", Some(1))?,
        filters: it.whole("filters", None)?,
        bias: it.flag("bias", false)?,
    }))
}

fn depthwise(it: &Arguments) -> Result<Layer, String> {
    let (kernel, stride) = (it.pair("kernel", None)?, it.pair("stride", Some(1))?);
    let channels = it.first()?.channels;
    Ok(Layer::Conv(Conv {
        kernel,
        stride,
        dilation: it.pair("dilation", Some(1))?,
        padding: it.padding(kernel, stride)?,
        groups: channels,
        filters: channels.saturating_mul(it.whole("multiplier", Some(1))?),
        bias: it.flag("bias", false)?,
    }))
}

fn batch_norm(it: &Arguments) -> Result<Layer, String> {
    let default = BatchNorm::default();
    Ok(Layer::BatchNorm(BatchNorm {
        momentum: it.number("momentum", Some(default.momentum))?,
        epsilon: it.number("epsilon", Some(default.epsilon))?,
        scale_and_shift: it.flag("scale_and_shift", default.scale_and_shift)?,
    }))
}

fn pool(it: &Arguments, kind: PoolKind) -> Result<Layer, String> {
    let (kernel, stride) = (it.pair("kernel", None)?, it.pair("stride", Some(1))?);
    Ok(Layer::Pool(Pool {
        kind,
        kernel,
        stride,
        padding: it.padding(kernel, stride)?,
    }))
}

fn linear(it: &Arguments) -> Result<Layer, String> {
    Ok(Layer::Linear(Linear {
        units: it.whole("units", None)?,
        bias: it.flag("bias", true)?,
    }))
}

fn subsample(it: &Arguments) -> Result<Layer, String> {
    Ok(Layer::Subsample(Subsample {
        stride: it.whole("stride", Some(2))?,
        offset: it.whole("offset", Some(0))?,
    }))
}
