//! The keys of a file, with what the reference says of them.

/// The keys of a file.
pub(crate) const FILE_KEYS: [(&str, &str); 12] = [
    ("name", "what the network or space is called"),
    ("about", "one line about it: paper, table"),
    (
        "input",
        "the images it is meant for, channels x height x width: \"3x32x32\"",
    ),
    ("classes", "the number of classes it is meant for"),
    (
        "notation",
        "how its architectures are written: a template such as \"|{0}~0|+|{1}~0|{2}~1|\" over decisions, by number, full name, or the last part of the name where it is unique",
    ),
    (
        "parameters",
        "named numbers and truth values with their defaults; --set NAME=VALUE sets them",
    ),
    ("options", "named lists of options, for `choose`"),
    (
        "blocks",
        "definitions that are expanded, and decided, afresh at each place of use",
    ),
    (
        "cells",
        "definitions that are decided once, however often they are used",
    ),
    (
        "network",
        "the network: `layers`, from the image to the logits",
    ),
    (
        "require",
        "a list of conditions on decisions, each called by its `name`, or by the key or `let` that it is the value of: \"edges <= 9\"; several called the same count their sum; an operation or tensor counts as its option's index from 0; where a condition cannot be computed (a division by zero), it does not hold",
    ),
    (
        "distinct",
        "which architectures `cellwright spaces --distinct` takes for one: { by = \"computation\", \"graph\" or \"expression\", with = { PARAMETER = VALUE } }",
    ),
];

/// The keys of a block or a cell.
pub(crate) const DEFINITION_KEYS: [(&str, &str); 4] = [
    (
        "arguments",
        "what it is used with: a list of \"NAME\" or \"NAME = DEFAULT\"",
    ),
    (
        "inputs",
        "the names of the tensors it takes; [\"input\"] where nothing is said",
    ),
    (
        "let",
        "local values, which may be chosen: { width = { choose = [16, 32] } }",
    ),
    ("layers", "the layers in order"),
];

/// The keys of the network: it takes the image alone.
pub(crate) const NETWORK_KEYS: [(&str, &str); 2] = [DEFINITION_KEYS[2], DEFINITION_KEYS[3]];

/// The keys of a layer that are not arguments of its operation.
pub(crate) const LAYER_KEYS: [(&str, &str); 8] = [
    (
        "op",
        "a primitive, a block or a cell; or { choose = [...] } of such names and of tables { op = NAME, ... } with arguments, and a `when` where it can be chosen only so",
    ),
    ("layers", "layers in place of an operation"),
    ("name", "a name for its output, for `from` and expressions"),
    (
        "from",
        "where it takes its inputs: a name, -1 (the layer before), { choose = [names] }, { choose = 2, of = [names] }, { choose = \"any\", of = [names] }, { unused = [names] }, { take = name, when = \"...\" }, or a list of these",
    ),
    (
        "each",
        "like `from`, but it is applied to each of the tensors; its output is all of them",
    ),
    (
        "repeat",
        "how often it is applied, one upon the other; `index` counts from 0",
    ),
    (
        "when",
        "where false, the layer passes its first input on, once for all its repetitions: `index` is here that of a repeated list of `layers` around it, and 0 where there is none",
    ),
    (
        "auxiliary",
        "its output is an auxiliary classifier whose loss has this weight, above 0 and at most 100; the next layer goes on from before it. It works in training only: it counts for the parameters, not for the MACs",
    ),
];
