//! What each key of the language means, in a toy vocabulary.

mod common;

use common::{build, enumerate, lines, network, parse, try_parse, vocabulary};
use std::collections::HashSet;
use std::path::Path;

use cellwright_space::{Choices, Space};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

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
const CONDITIONS: &str = r#"
name = "toy"
require = ["edges <= 2"]
[network]
let = { both = { choose = [0, 1] }, out = { choose = [{ value = 0, when = "both == 1" }, 1], name = "edges" } }
layers = [
  { name = "a", op = "relu" },
  { name = "b", op = "relu", from = { take = "a", when = "both == 1" }, when = "both == 1" },
  { op = "add", from = ["input", { take = "a", when = "out == 1" }] },
]
"#;

#[test]
fn options_and_tensors_have_conditions() {
    let text = CONDITIONS.replace(r#"from = { take = "a", when = "both == 1" }, "#, "");
    let space = parse(&text);
    assert_eq!(space.count(), Some(3u32.into()));
    let all = enumerate(&space, 100).expect("few");
    assert_eq!(all.len(), 3);
    assert!(space.check(&Choices(vec![0, 0])).is_err());
    assert_eq!(space.legal(&[0]), [false, true]);
    assert_eq!(space.legal(&[1]), [true, true]);
    let last = |choices: &[u32]| {
        let notes = build(&space, choices).unwrap_or_else(|errors| panic!("{errors}"));
        notes.lines.last().expect("layers").clone()
    };
    assert_ne!(last(&[1, 0]), last(&[1, 1]));
}

#[test]
fn a_layer_of_which_no_tensor_is_left_has_nothing_to_pass_on() {
    let Err(error) = build(&parse(CONDITIONS), &[0, 1]) else {
        panic!("it was built")
    };
    assert!(error.to_string().contains("nothing to pass on"), "{error}");
}

#[test]
fn a_condition_of_an_option_follows_from_decisions() {
    for (condition, wrong) in [
        (
            "height(input) > 3",
            "must follow from parameters and decisions",
        ),
        ("1 + 1", "must be true or false"),
        ("other > 1", "other"),
    ] {
        let options = format!(r#"{{ choose = [1, {{ value = 2, when = "{condition}" }}] }}"#);
        let text = network(&format!(r#"{{ op = "relu", repeat = {options} }}"#));
        let error = try_parse(&text).expect_err(condition).to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

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

const SUBSET: &str = r#"name = "toy"
require = ["edges >= 1", "edges // 2 < 2 and edges % 2 == 1"]
[network]
layers = [
  { op = "relu", name = "a" }, { op = "relu", name = "b" },
  { op = "add", from = { choose = "any", of = ["input", "a", "b"], name = "edges" } },
]
"#;

#[test]
fn any_subset_is_a_decision_each_and_require_holds() {
    let space = parse(SUBSET);
    assert_eq!(space.decisions().len(), 3);
    assert_eq!(space.count(), Some(4u32.into()));
    assert_eq!(enumerate(&space, 100).map(|it| it.len()), Some(4));
    let notes = build(&space, &[1, 1, 1]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(notes.lines[2], "add = add() <- [0, 1, 2]");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..50 {
        let choices = space.sample(&mut rng);
        assert_eq!(choices.0.iter().sum::<u32>() % 2, 1, "{choices}");
    }
}

#[test]
fn require_and_notation_call_decisions_alike() {
    let space = parse(
        r#"
name = "toy"
notation = "{kernel}x{kernel}-{width}"
require = ["kernel * width < 160"]
[parameters]
width = 1
[network]
let = { width = { choose = [16, 32] } }
layers = [{ op = "conv", filters = "width", kernel = { choose = [3, 5] } }]
"#,
    );
    assert_eq!(space.count(), Some(3u32.into()));
    assert_eq!(space.parse_notation("3x3-32"), Ok(Choices(vec![1, 0])));
    assert!(space.parse_notation("5x5-32").is_err());
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
fn notation_takes_the_last_part_of_a_name_where_it_is_unique() {
    let text = |notation: &str| {
        format!(
            r#"name = "toy"
notation = "{notation}"
[blocks.b]
layers = [{{ op = {{ choose = ["relu", "identity"] }}, name = "act" }}, {{ op = "conv", filters = {{ choose = [1, 2], name = "net" }} }}]
[network]
layers = [{{ op = "b" }}, {{ op = "dropout", rate = {{ choose = [0, 1], name = "rate" }}, when = "true" }}, {{ op = "linear", units = 1 }}]
"#
        )
    };
    let space = parse(&text("{net}-{rate}-{0}"));
    assert_eq!(space.left_out_of_notation(), [] as [usize; 0]);
    assert_eq!(space.parse_notation("2-1-relu"), Ok(Choices(vec![0, 1, 1])));
    // A decision that is left out could be either option.
    let partial = parse(&text("{net}-{rate}"));
    assert_eq!(partial.left_out_of_notation(), [0]);
    let message = partial.parse_notation("2-1").unwrap_err().reason;
    assert!(message.contains("relu or identity"), "{message}");
}

#[test]
fn notation_both_ways() {
    let text = r#"name = "toy"
notation = "{{{0}|{net}~1}}"
[network]
layers = [
  { op = { choose = ["relu", "identity"] } },
  { op = "conv", filters = { choose = [1, 10, 100], name = "net" } },
]
"#;
    let text = text.replace("{net}", "{1}");
    let space = parse(&text);
    let choices = Choices(vec![1, 2]);
    assert_eq!(space.notation(&choices), "{identity|100~1}");
    for choices in enumerate(&space, 10).expect("few") {
        assert_eq!(
            space.parse_notation(&space.notation(&choices)),
            Ok(choices.clone())
        );
        assert_eq!(space.parse_notation(&choices.to_string()), Ok(choices));
    }
    for wrong in [
        "{relu|7~1}",
        "{relu|1~1",
        "{relu|1~1}}",
        "",
        "2,0",
        "{tanh|1~1}",
    ] {
        assert!(space.parse_notation(wrong).is_err(), "{wrong}");
    }
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
fn what_no_condition_can_meet_is_told_at_once() {
    let errors = try_parse(&SUBSET.replace("edges >= 1", "edges > 3"))
        .expect_err("four of three")
        .to_string();
    assert!(errors.contains("no architecture"), "{errors}");
    for wrong in [
        "edges",
        "edges and 1 < 2",
        "1 + (edges < 2) == 2",
        "not edges",
    ] {
        assert!(
            try_parse(&SUBSET.replace("edges >= 1", wrong)).is_err(),
            "{wrong}"
        );
    }
    // What cannot be computed does not hold.
    let space = parse(&SUBSET.replace("edges >= 1", "6 // (edges - 1) == 3"));
    assert_eq!(space.count(), Some(1u32.into()));
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

#[test]
fn a_notation_comes_before_a_list_of_option_numbers() {
    let text = |notation: &str, options: &str| {
        format!(
            r#"name = "toy"
notation = "{notation}"
[network]
layers = [
  {{ op = "conv", filters = {{ choose = {options}, name = "a" }} }},
  {{ op = "conv", filters = {{ choose = {options}, name = "b" }} }},
]
"#
        )
    };
    let space = parse(&text("{a},{b}", "[2, 1]"));
    assert_eq!(space.parse_notation("2,1"), Ok(Choices(vec![0, 1])));
    // What is no architecture in the notation may be such a list.
    assert_eq!(space.parse_notation("0,1"), Ok(Choices(vec![0, 1])));
    let error = space.parse_notation("0,7").unwrap_err().reason;
    assert!(error.contains("there are 2 options"), "{error}");
    let space = parse(&text("{a}{b}", "[2, 1]"));
    assert_eq!(space.parse_notation("12"), Ok(Choices(vec![1, 0])));
    let error = space.parse_notation("19").unwrap_err().reason;
    assert!(error.contains("was expected at '9'"), "{error}");

    // The shorter option may be the right one, and both may be.
    let space = parse(&text("{a}{b}", "[1, 11, 2]"));
    assert_eq!(space.parse_notation("11"), Ok(Choices(vec![0, 0])));
    assert_eq!(space.parse_notation("112"), Ok(Choices(vec![1, 2])));
    let error = space.parse_notation("111").unwrap_err().reason;
    assert!(error.contains("could be 0,1 or 1,0"), "{error}");
    assert!(space.ambiguous_notation().is_some());
    let alike = parse(&text("{a}-{b}", "[3, 3]"));
    assert!(alike.parse_notation("3-3").is_err());
    assert!(alike.ambiguous_notation().is_some());
    assert_eq!(
        parse(&text("{a}-{b}", "[1, 11]")).ambiguous_notation(),
        None
    );
}

#[test]
fn a_condition_that_names_no_decision_holds_too() {
    let text = |condition: &str| {
        format!(
            r#"name = "toy"
require = ["{condition}"]
[parameters]
filters = 16
[network]
layers = [{{ op = "conv", filters = "filters", kernel = {{ choose = [1, 3], name = "k" }} }}]
"#
        )
    };
    assert_eq!(parse(&text("filters > 8")).count(), Some(2u32.into()));
    for never in ["filters < 8", "filters // 0 > 1", "k > 1 and false"] {
        let text = text(never);
        let errors = Space::parse(&text, Path::new("toy.toml"), &[], &vocabulary());
        let errors = errors.unwrap_err().to_string();
        assert!(errors.contains("this never holds"), "{errors}");
    }
}

#[test]
fn narrow_conditions_are_met() {
    let space = parse(
        r#"
name = "narrow"
require = ["s % 100 == 50", "t % 100 == 50"]
[network]
layers = [
  { op = "conv", filters = { choose = [10, 20, 30], name = "s" }, kernel = { choose = [1, 3, 5, 7], name = "t" }, repeat = 20 },
]
"#,
    );
    assert_eq!(space.check(&space.first()), Ok(()));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let found: HashSet<Choices> = (0..5).map(|_| space.sample(&mut rng)).collect();
    assert_eq!(found.len(), 5);
}

#[test]
fn covering_architectures_show_each_option() {
    let space = parse(
        r#"
name = "toy"
require = ["k != 5"]
[network]
let = { on = { choose = [false, true] } }
layers = [
  { op = "conv", filters = { choose = [1, 2, 3, 4] }, kernel = { choose = [1, 3, 5], name = "k" } },
  { op = { choose = ["relu", "identity"] }, when = "on" },
]
"#,
    );
    let all = space.covering();
    let shown: HashSet<(usize, u32)> = all
        .iter()
        .flat_map(|choices| choices.0.iter().copied().enumerate())
        .collect();
    // All but the kernel that the condition rules out.
    assert_eq!(shown.len(), 2 + 4 + 2 + 2);
    assert!(all.len() <= 6, "{all:?}");
}

#[test]
fn covering_architectures_show_what_hides_behind_conditions() {
    let space = parse(
        r#"
name = "toy"
[network]
let = { on = { choose = [false, true] }, more = { choose = [false, true] } }
layers = [
  { op = "conv", filters = { choose = [1, 2, 3, 4, 5, 6, 7] }, when = "on and not more" },
]
"#,
    );
    let all = space.covering();
    for filters in 0..7 {
        assert!(
            all.contains(&Choices(vec![1, 0, filters])),
            "{filters}: {all:?}"
        );
    }
}
