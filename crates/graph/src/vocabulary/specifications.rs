//! The arguments of the primitives: name, kind, default, and what each means.

use cellwright_space::{ArgumentKind, ArgumentSpec};

use super::arguments::PADDINGS;

pub(super) const fn argument(
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
     window that starts inside; no number is larger than the window",
);
const BIAS: ArgumentSpec = argument(
    "bias",
    ArgumentKind::Bool,
    Some("false"),
    "adds a learnt bias to each filter",
);
pub(super) const RATE: ArgumentSpec = argument(
    "rate",
    ArgumentKind::Number,
    None,
    "probability of a zero, at least 0 and below 1",
);

pub(super) const DROP_PATH: &[ArgumentSpec] = &[
    RATE,
    argument(
        "scheduled",
        ArgumentKind::Bool,
        Some("true"),
        "the probability grows linearly from 0 to `rate` over the training; else it is `rate` from the first step on",
    ),
];
pub(super) const CONV: &[ArgumentSpec] = &[
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
pub(super) const DEPTHWISE: &[ArgumentSpec] = &[
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
pub(super) const BATCH_NORM: &[ArgumentSpec] = &[
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
pub(super) const POOL: &[ArgumentSpec] = &[
    argument("kernel", ArgumentKind::Pair, None, "size of the window"),
    STRIDE,
    PADDING,
];
pub(super) const LINEAR: &[ArgumentSpec] = &[
    argument("units", ArgumentKind::Whole, None, "number of outputs"),
    argument(
        "bias",
        ArgumentKind::Bool,
        Some("true"),
        "adds a learnt bias to each output",
    ),
];
pub(super) const SUBSAMPLE: &[ArgumentSpec] = &[
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
pub(super) const ZERO: &[ArgumentSpec] = &[argument(
    "stride",
    ArgumentKind::Whole,
    Some("1"),
    "divides height and width",
)];
