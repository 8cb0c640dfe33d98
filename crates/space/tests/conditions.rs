//! What conditions rule out, and that what they leave is found.

mod common;

use std::collections::HashSet;
use std::path::Path;

use cellwright_space::{Choices, Space};
use common::{build, enumerate, network, parse, try_parse, vocabulary};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

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
fn operations_have_conditions() {
    let text = |condition: &str| {
        let choice =
            format!(r#"choose = ["relu", {{ op = "dropout", rate = 0, when = "{condition}" }}]"#);
        format!(
            r#"name = "toy"
[network]
let = {{ n = {{ choose = [1, 2] }} }}
layers = [{{ op = {{ {choice}, name = "which" }}, repeat = "n" }}]
"#
        )
    };
    let space = parse(&text("n > 1"));
    assert_eq!(space.decisions()[1].options, ["relu", "dropout(rate=0)"]);
    assert_eq!(space.count(), Some(5u32.into()));
    assert_eq!(enumerate(&space, 100).expect("few").len(), 5);
    assert!(space.check(&Choices(vec![0, 1, 0])).is_err());
    let lines = |choices| {
        let notes = build(&space, choices).unwrap_or_else(|errors| panic!("{errors}"));
        notes.lines.concat()
    };
    assert!(lines(&[1, 1, 0]).contains("dropout"));
    // Where the repetition says so.
    assert_eq!(parse(&text("index > 0")).count(), Some(3u32.into()));
    let told = try_parse(&text("height(input) > 3")).unwrap_err();
    assert!(told.to_string().contains("parameters and decisions"));
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
fn what_a_condition_cannot_be_computed_for_is_found() {
    let uncomputable = |conditions: &str| {
        let conditions = format!("require = [{conditions}]");
        let text = SUBSET.lines().map(|line| match line {
            line if line.starts_with("require") => conditions.as_str(),
            line => line,
        });
        let space = parse(&text.collect::<Vec<_>>().join("\n"));
        space.uncomputable().map(|(text, choices, reason)| {
            assert_eq!(choices.0.iter().sum::<u32>(), 2, "{choices}");
            format!("{text}: {reason}")
        })
    };
    let expected = Some(r#""6 // (edges - 2) < 9": division by zero"#.to_owned());
    assert_eq!(uncomputable(r#""6 // (edges - 2) < 9""#), expected);
    assert_eq!(
        uncomputable(r#""edges > 0", "6 // (edges - 2) < 9""#),
        expected
    );
    // It is ruled out anyway, or not computed.
    assert_eq!(uncomputable(r#""6 // (edges - 2) < 9", "edges > 2""#), None);
    assert_eq!(
        uncomputable(r#""edges == 2 or 6 // (edges - 2) < 9""#),
        None
    );
    assert_eq!(uncomputable(r#""edges > 1""#), None);
}

#[test]
fn all_architectures_of_a_few() {
    let space = parse(SUBSET);
    let all = space.few_architectures(4).expect("there are 4");
    assert_eq!(Some(all), enumerate(&space, 100));
    assert_eq!(space.few_architectures(3), None);
    // Many dead ends, and few architectures that are found late.
    let narrow = parse(
        r#"
name = "narrow"
require = ["s % 100 == 59"]
[network]
layers = [{ op = "conv", filters = { choose = [10, 20, 30, 59], name = "s" }, repeat = 60 }]
"#,
    );
    assert_eq!(narrow.few_architectures(500), None);
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

/// A cell that is first used where one decision says so and later where others do: it is decided after all
/// of them, and counted wherever any of them uses it.
#[test]
fn a_cell_is_decided_after_all_that_its_uses_depend_on() {
    let cell = r#"[cells.c]
layers = [{ op = "conv", filters = { choose = [4, 8, 16] } }]
[blocks.u]
let = { on = { choose = [false, true] } }
layers = [{ op = "c", when = "on" }]
"#;
    let choice = r#"op = { choose = ["identity", "c"] }"#;
    for (layers, count) in [
        (format!("{{ {choice} }}, {{ {choice} }}"), 1 + 3 * 3),
        (format!("{{ {choice}, repeat = 3 }}"), 1 + 7 * 3),
        (r#"{ op = "u" }, { op = "u" }"#.to_owned(), 1 + 3 * 3),
        (format!(r#"{{ {choice} }}, {{ op = "c" }}"#), 2 * 3),
    ] {
        let space = parse(&format!("{}{cell}", network(&layers)));
        let all = enumerate(&space, 100).expect("few");
        assert_eq!(all.len(), count, "{layers}");
        assert_eq!(space.count(), Some(count.into()), "{layers}");
        let built = all.iter().map(|it| {
            let notes = build(&space, &it.0).unwrap_or_else(|errors| panic!("{errors}"));
            notes.lines
        });
        assert_eq!(built.collect::<HashSet<_>>().len(), count, "{layers}");
    }
}

#[test]
fn cells_that_decide_about_each_other_in_a_circle_are_refused() {
    let text = |first: &str| {
        format!(
            r#"name = "toy"
[cells.a]
arguments = ["n"]
let = {{ more = {{ choose = [false, true] }} }}
layers = [{{ op = "relu" }}, {{ op = "b", n = "n - 1", when = "n > 0 and more" }}]
[cells.b]
arguments = ["n"]
let = {{ more = {{ choose = [false, true] }} }}
layers = [{{ op = "relu" }}, {{ op = "a", n = "n - 1", when = "n > 0 and more" }}]
[network]
let = {{ first = {first} }}
layers = [{{ op = "a", n = 4, when = "first" }}, {{ op = "b", n = 4, when = "not first" }}]
"#
        )
    };
    let told = try_parse(&text("{ choose = [true, false] }")).expect_err("a circle");
    assert!(told.to_string().contains("depends on itself"), "{told}");
    // Used in itself, but not in a circle: b where a decides so.
    assert_eq!(parse(&text("true")).count(), Some(3u32.into()));
}

/// What is chosen may be computed from a block's arguments and from what is chosen before.
#[test]
fn options_that_are_computed_count_as_what_they_are() {
    let choice = r#"op = "conv", filters = 1, kernel = { choose = [1, 3, 5] }"#;
    for (lets, layer, count) in [
        (
            r#"width = { choose = ["n", "2 * n"] }"#,
            format!(r#"{{ {choice}, when = "width > 16" }}"#),
            1 + 3,
        ),
        (
            "",
            format!(r#"{{ {choice}, repeat = {{ choose = ["n - 15", "n - 14"] }} }}"#),
            3 + 9,
        ),
        (
            r#"a = { choose = [1, 2] }, b = { choose = ["a", "2 * a"] }"#,
            format!(r#"{{ {choice}, repeat = "b - 1" }}"#),
            // b is 1, 2; 2, 4.
            1 + 3 + 3 + 27,
        ),
    ] {
        let space = parse(&format!(
            "{}[blocks.b]\narguments = [\"n\"]\nlet = {{ {lets} }}\nlayers = [{layer}]\n",
            network(r#"{ op = "b", n = 16 }"#)
        ));
        assert_eq!(space.count(), Some((count as u32).into()), "{layer}");
        assert_eq!(enumerate(&space, 100).expect("few").len(), count, "{layer}");
    }
}

/// A layer whose `when` is false gives one tensor, however often it is repeated and whatever it is applied to.
#[test]
fn of_a_layer_that_is_left_out_one_tensor_can_be_chosen() {
    for (layer, tensors) in [
        // Left out it gives one, and else as many as are named here.
        (r#"op = "relu", repeat = 3, when = "on""#, 3),
        (r#"op = "relu", repeat = 0, when = "on""#, 0),
        (r#"op = "relu", each = ["input", "a"], when = "on""#, 2),
        (
            r#"op = "relu", each = ["input", "a"], repeat = 2, when = "on""#,
            4,
        ),
        (r#"op = "relu", repeat = "if(on, 2, 3)", when = "on""#, 2),
    ] {
        let text = format!(
            "name = \"toy\"\n[network]\nlet = {{ on = {{ choose = [true, false] }} }}\nlayers = [{{ op = \"relu\", name = \"a\" }}, {{ name = \"b\", {layer} }}, {{ op = \"conv\", filters = 1, from = {{ choose = [\"b\"] }} }}]\n"
        );
        let space = parse(&text);
        let all = enumerate(&space, 100).expect("few");
        assert_eq!(all.len(), tensors + 1, "{layer}");
        assert_eq!(space.count(), Some((tensors as u32 + 1).into()), "{layer}");
        for choices in all {
            let built = build(&space, &choices.0);
            assert!(built.is_ok(), "{layer}: {choices}");
        }
    }
}

/// A cell is decided once, so what its options depend on must be one thing too.
#[test]
fn options_of_a_cell_depend_on_the_same_decisions_wherever_it_is_used() {
    let file = |second: &str| {
        format!(
            r#"name = "toy"
[cells.c]
arguments = ["n"]
layers = [{{ op = "conv", filters = {{ choose = [1, {{ value = 2, when = "n > 1" }}] }} }}]
[network]
let = {{ p = {{ choose = [1, 2] }}, q = {{ choose = [1, 2] }} }}
layers = [{{ op = "c", n = "p" }}, {{ op = "c", n = "{second}" }}]
"#
        )
    };
    assert_eq!(parse(&file("p")).count(), Some(6u32.into()));
    let told = try_parse(&file("q")).unwrap_err().to_string();
    assert!(
        told.contains("the same options wherever it is used"),
        "{told}"
    );
}
