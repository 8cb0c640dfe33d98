//! What each key of the language means, in a toy vocabulary.

mod common;

use std::collections::HashSet;
use std::path::Path;

use cellwright_space::{Choices, Space};
use common::{build, enumerate, lines, network, parse, try_parse, vocabulary};

#[test]
fn layers_follow_each_other_and_names_are_taken() {
    let got = lines(
        r#"{ op = "conv", filters = 4, name = "stem" }, { op = "relu" }, { op = "add", from = ["stem", -1, "input"] }, { op = "relu", from = "stem" }"#,
    );
    assert_eq!(
        got,
        [
            "stem = conv(Whole(4)) <- [0]",
            "relu = relu() <- [1]",
            "add = add() <- [1, 2, 0]",
            "relu_2 = relu() <- [1]"
        ]
    );
}

#[test]
fn counting_back_past_the_first_layer_gives_the_first_input() {
    let got = lines(
        r#"{ op = "add", from = [-1, -2] }, { op = "add", from = [-1, -2, -9] }, { op = "add", from = [-1, -2] }"#,
    );
    assert_eq!(
        got,
        [
            "add = add() <- [0, 0]",
            "add_2 = add() <- [1, 0, 0]",
            "add_3 = add() <- [2, 1]"
        ]
    );
}

#[test]
fn instances_of_a_repeat_count_singly_and_a_name_stands_for_all() {
    let got = lines(
        r#"{ op = "conv", filters = "2 + index", repeat = 3, name = "c" }, { op = "add", from = [-1, -3] }, { op = "concat", from = "c" }"#,
    );
    assert_eq!(
        got,
        [
            "c.0 = conv(Whole(2)) <- [0]",
            "c.1 = conv(Whole(3)) <- [1]",
            "c.2 = conv(Whole(4)) <- [2]",
            "add = add() <- [3, 1]",
            "concat = concat() <- [1, 2, 3]"
        ]
    );
}

#[test]
fn repeated_layers_may_take_their_earlier_selves() {
    let got =
        lines(r#"{ op = "concat", from = ["input", "d"], repeat = 3, name = "d", when = true }"#);
    assert_eq!(
        got,
        [
            "d.0 = concat() <- [0]",
            "d.1 = concat() <- [0, 1]",
            "d.2 = concat() <- [0, 1, 2]"
        ]
    );
    let alone = parse(&network(
        r#"{ op = "concat", from = "d", repeat = 3, name = "d" }"#,
    ));
    assert!(build(&alone, &[]).is_err());
}

#[test]
fn a_layer_that_is_switched_off_passes_its_first_input_on() {
    let got = lines(
        r#"{ op = "relu" }, { op = "add", from = ["input", -1], when = "1 > 2", name = "off" }, { op = "conv", filters = 1 }, { op = "relu", from = "off" }"#,
    );
    assert_eq!(
        got,
        [
            "relu = relu() <- [0]",
            "conv = conv(Whole(1)) <- [0]",
            "relu_2 = relu() <- [0]"
        ]
    );
}

#[test]
fn each_is_applied_to_all_and_gives_all() {
    let got = lines(
        r#"{ op = "relu", repeat = 2, name = "r" }, { op = "conv", filters = 1, each = ["r", "input"], name = "e" }, { op = "concat", from = "e" }"#,
    );
    assert_eq!(
        got[2..],
        [
            "e.0 = conv(Whole(1)) <- [1]",
            "e.1 = conv(Whole(1)) <- [2]",
            "e.2 = conv(Whole(1)) <- [0]",
            "concat = concat() <- [3, 4, 5]"
        ]
    );
}

#[test]
fn no_two_layers_have_one_name() {
    let got = lines(
        r#"{ op = "relu", name = "a" }, { op = "relu", each = ["a", "input"], repeat = 2, name = "e" }"#,
    );
    assert_eq!(
        got[1..],
        [
            "e.0 = relu() <- [1]",
            "e.1 = relu() <- [0]",
            "e.2 = relu() <- [1]",
            "e.3 = relu() <- [0]"
        ]
    );
    let part = r#"{ name = "b", layers = [{ op = "relu" }] }"#;
    for (name, wrong) in [
        ("b.0", true),
        ("b/relu", true),
        ("b.0/relu", true),
        ("b.x", false),
        ("c.0", false),
    ] {
        let text = network(&format!(r#"{{ op = "relu", name = "{name}" }}, {part}"#));
        let told = try_parse(&text).err().map(|it| it.to_string());
        assert_eq!(told.is_some(), wrong, "{name}: {told:?}");
        assert!(
            told.is_none_or(|it| it.contains("choose another name")),
            "{name}"
        );
    }
}

#[test]
fn unused_are_those_that_nothing_took() {
    let got = lines(
        r#"{ op = "relu", name = "a" }, { op = "relu", from = "input", name = "b" }, { op = "relu", from = "a", name = "c" }, { op = "concat", from = { unused = ["input", "a", "b", "c"] } }"#,
    );
    assert_eq!(got[3], "concat = concat() <- [2, 3]");
}

#[test]
fn an_auxiliary_layer_is_not_the_layer_before() {
    let space = parse(&network(
        r#"{ op = "relu" }, { op = "linear", units = "classes", auxiliary = 0.4 }, { op = "relu" }"#,
    ));
    let notes = build(&space, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(notes.auxiliary, [(2, 0.4)]);
    assert_eq!(notes.lines[2], "relu_2 = relu() <- [1]");
    assert_eq!(notes.lines[1], "linear = linear(Whole(10)) <- [1]");
}

#[test]
fn anonymous_layers_see_the_values_around_and_count_for_themselves() {
    let got = lines(
        r#"{ op = "relu", name = "a" }, { layers = [{ op = "conv", filters = "index + 1" }, { op = "add", from = [-1, -2] }], repeat = 2, name = "g" }"#,
    );
    assert_eq!(
        got[1..],
        [
            "g.0/conv = conv(Whole(1)) <- [1]",
            "g.0/add = add() <- [2, 1]",
            "g.1/conv = conv(Whole(2)) <- [3]",
            "g.1/add = add() <- [4, 3]"
        ]
    );
}

/// Outside of any repetition `index` is 0, in the network and in what it uses: what a condition leaves
/// out for it is not counted. Every architecture that is counted is another network.

#[test]
fn what_the_index_outside_of_repetitions_leaves_out_is_not_counted() {
    let choice = r#"op = { choose = ["relu", "identity"] }"#;
    let layers = format!(
        r#"
  {{ {choice}, when = "index > 0" }},
  {{ op = "inner", repeat = 3 }},
  {{ op = "cell", repeat = 3 }},
  {{ repeat = 3, layers = [{{ {choice}, when = "index > 0" }}] }},
"#
    );
    let inner = format!(r#"layers = [{{ {choice} }}, {{ {choice}, when = "index > 0" }}]"#);
    let space = parse(&format!(
        "{}[blocks.inner]\n{inner}\n[cells.cell]\n{inner}\n",
        network(&layers)
    ));
    // Three blocks, a cell, and two of three repetitions decide something.
    assert_eq!(space.count(), Some(64_u32.into()));
    let all = enumerate(&space, 1000).expect("few");
    let built = all
        .iter()
        .map(|it| build(&space, &it.0).unwrap_or_else(|errors| panic!("{errors}")));
    let built: HashSet<_> = built.map(|notes| notes.lines).collect();
    assert_eq!(built.len(), 64);
}

const BLOCK: &str = r#"
name = "toy"
[parameters]
width = 3
[KIND.unit]
arguments = ["filters", "twice = 2 * filters"]
inputs = ["left", "right"]
let = { sum = "filters + twice", size = "height(right)" }
layers = [
  { op = { choose = ["relu", { op = "conv", filters = "sum" }, { op = "conv", filters = "size", kernel = [1, 3] }] }, from = "right" },
  { op = "add", from = ["left", -1] },
]
[network]
layers = [
  { op = "unit", filters = "width", from = [-1, -2] },
  { op = "unit", filters = 5, twice = 1, from = [-1, -2] },
]
"#;

#[test]
fn blocks_are_decided_afresh_and_cells_once() {
    let block = parse(&BLOCK.replace("KIND", "blocks"));
    assert_eq!(
        block
            .decisions()
            .iter()
            .map(|it| it.name.as_str())
            .collect::<Vec<_>>(),
        ["unit/op.op", "unit_2/op.op"]
    );
    assert_eq!(block.count(), Some(9u32.into()));
    let cell = parse(&BLOCK.replace("KIND", "cells"));
    assert_eq!(cell.decisions().len(), 1);
    let notes = build(&cell, &[1]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(notes.lines[0], "unit/op = conv(Whole(9)) <- [0]");
    assert_eq!(notes.lines[2], "unit_2/op = conv(Whole(6)) <- [0]");
    let notes = build(&block, &[0, 2]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(notes.lines[0], "unit/op = relu() <- [0]");
    assert_eq!(
        notes.lines[2],
        "unit_2/op = conv(Whole(8) Pair([1, 3])) <- [0]"
    );
}

const CONDITIONAL: &str = r#"{ op = "relu", repeat = { choose = [0, 1, 3] }, name = "r" },
  { op = { choose = ["identity", { op = "conv", filters = { choose = [8, 16] } }] }, repeat = 2 }"#;

#[test]
fn decisions_that_cannot_be_reached_are_zero() {
    let space = parse(&network(CONDITIONAL));
    let names: Vec<&str> = space
        .decisions()
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(space.count(), Some((3 * 3 * 3u32).into()));
    assert!(space.check(&Choices(vec![0, 0, 1, 0, 0])).is_err());
    assert!(space.check(&Choices(vec![2, 1, 1, 0, 0])).is_ok());
    let error = space
        .check(&Choices(vec![2, 0, 1, 0, 0]))
        .expect_err("it is not active");
    assert!(error.to_string().contains("inactive"), "{error}");
}

#[test]
fn a_let_decides_how_often_and_what_is_inside() {
    let text = r#"
name = "toy"
[network]
let = { depth = { choose = [1, 2, 3] } }
layers = [
  { op = "conv", filters = { choose = [4, 8] }, repeat = "depth" },
  { op = "conv", filters = { choose = [1, 2, 3] }, when = "depth > 2" },
]
"#;
    let space = parse(text);
    assert_eq!(space.count(), Some((2 + 4 + 8 * 3u32).into()));
    let all = enumerate(&space, 1000).expect("few");
    assert_eq!(all.len(), 30);
    for choices in &all {
        let notes = build(&space, &choices.0).unwrap_or_else(|errors| panic!("{errors}"));
        let depth = choices.0[0] as usize + 1;
        assert_eq!(notes.lines.len(), depth + usize::from(depth > 2));
    }
}

/// A graph of three vertices: what takes nothing takes the input, and what nothing takes is given out.
#[test]
fn two_of_some_are_an_unordered_set() {
    let space = parse(&network(
        r#"{ op = "relu", repeat = 3, name = "r" }, { op = "add", from = { choose = 2, of = ["input", "r"] } }"#,
    ));
    assert_eq!(space.count(), Some(6u32.into()));
    assert_eq!(
        space.decisions()[0].options,
        [
            "input+r[0]",
            "input+r[1]",
            "input+r[2]",
            "r[0]+r[1]",
            "r[0]+r[2]",
            "r[1]+r[2]"
        ]
    );
    let notes = build(&space, &[4]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(notes.lines[3], "add = add() <- [1, 3]");
}

#[test]
fn blocks_may_use_themselves() {
    let text = r#"
name = "fractal"
[blocks.fractal]
arguments = ["n"]
layers = [
  { op = "conv", filters = 1, name = "short" },
  { op = "fractal", n = "n - 1", from = "input", when = "n > 1", name = "first" },
  { op = "fractal", n = "n - 1", when = "n > 1", name = "second" },
  { op = "add", from = ["short", -1], when = "n > 1" },
]
[network]
layers = [{ op = "fractal", n = 3 }]
"#;
    let notes = build(&parse(text), &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        notes.lines.iter().filter(|it| it.contains("conv")).count(),
        7
    );
    let endless = text.replace("when = \"n > 1\", ", "");
    let errors = match build(&parse(&endless), &[]) {
        Ok(_) => panic!("it does not end"),
        Err(errors) => errors.to_string(),
    };
    assert!(errors.contains("needs a `when` that ends it"), "{errors}");
}

#[test]
fn parameters_are_set_from_outside() {
    let text = "name = \"toy\"\n[parameters]\nwidth = 4\ndeep = false\n[network]\nlayers = [{ op = \"conv\", filters = \"width\", repeat = \"if(deep, 2, 1)\" }]\n";
    let set = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        Space::parse(text, Path::new("toy.toml"), &pairs, &vocabulary())
    };
    let space =
        set(&[("width", "7"), ("deep", "true")]).unwrap_or_else(|errors| panic!("{errors}"));
    let notes = build(&space, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        notes.lines,
        [
            "conv.0 = conv(Whole(7)) <- [0]",
            "conv.1 = conv(Whole(7)) <- [1]"
        ]
    );
    let errors = set(&[("widht", "7")])
        .expect_err("there is no such parameter")
        .to_string();
    assert!(errors.contains("did you mean 'width'?"), "{errors}");
    assert!(set(&[("width", "wide")]).is_err());
}

#[test]
fn the_schema_names_every_key_and_every_operation() {
    let schema = cellwright_space::json_schema(&vocabulary());
    let text = schema.to_string();
    let again: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(again, schema);
    let reference = cellwright_space::reference(&vocabulary());
    // Every first cell of a table before the functions is a key or an argument.
    let tables = reference.split("## Expressions").next().unwrap_or_default();
    let keys = tables
        .lines()
        .filter_map(|it| it.strip_prefix("| `")?.split('`').next());
    for key in keys {
        assert!(text.contains(&format!("\"{key}\":")), "{key}");
    }
    for primitive in &vocabulary().primitives {
        assert!(text.contains(&format!("\"const\":\"{}\"", primitive.name)));
    }
    // What is referred to is there.
    for name in text
        .split("#/$defs/")
        .skip(1)
        .filter_map(|it| it.split('"').next())
    {
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
}

#[test]
fn division_rounds_down_whatever_the_signs() {
    for (expression, value) in [
        ("7 // 2", "3"),
        ("7 // -2", "-4"),
        ("-7 // 2", "-4"),
        ("-7 // -2", "3"),
        ("7 % -2", "-1"),
        ("-7 % 2", "1"),
        ("-8 // -2", "4"),
        ("7 / 2", "3.5"),
        ("2 + 3 * 4 - 1", "13"),
    ] {
        let file = format!(
            "name = \"n\"\n[parameters]\np = \"{expression}\"\n[network]\nlayers = [{{ op = \"relu\" }}]\n"
        );
        let space = parse(&file);
        let parameters: Vec<_> = space.parameters().map(|(_, value)| value).collect();
        assert_eq!(parameters, [value], "{expression}");
    }
}

#[test]
fn an_argument_that_only_shapes_tell_is_not_its_default() {
    let space = parse(
        r#"
name = "toy"
[blocks.wide]
arguments = ["n = 2"]
layers = [{ op = { choose = ["relu", "identity"] }, when = "n > 4" }]
[network]
layers = [
  { op = "conv", filters = 8 },
  { op = "wide", n = "channels(last)" },
  { op = "wide" },
]
"#,
    );
    // The second use has its default, for which nothing is chosen.
    assert_eq!(space.decisions().len(), 1);
    let notes = build(&space, &[1]).unwrap();
    assert!(notes.lines[1].contains("identity"), "{:?}", notes.lines);
}

/// A block of several inputs begins with the first, and it ends with the first where its layers give nothing.
#[test]
fn a_block_whose_layers_give_nothing_gives_its_first_input() {
    let file = |rest: &str| {
        let layers = r#"{ op = "conv", filters = 2, name = "a" }, { op = "conv", filters = 4, name = "c" }, { op = "b", from = ["a", "c"] }, { op = "relu" }"#;
        format!(
            "{}[blocks.b]\ninputs = [\"x\", \"y\"]\nlayers = [{{ op = \"relu\", repeat = 0 }}{rest}]\n",
            network(layers)
        )
    };
    let lines = |rest| build(&parse(&file(rest)), &[]).unwrap().lines;
    assert_eq!(lines("")[2], "relu = relu() <- [1]");
    let conv = r#", { op = "conv", filters = "channels(last)" }"#;
    assert_eq!(lines(conv)[2], "b/conv = conv(Whole(2)) <- [1]");
}
