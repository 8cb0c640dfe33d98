//! How architectures are written and read, in a toy vocabulary.

mod common;

use cellwright_space::Choices;
use common::{enumerate, parse};

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

const FOLLOWS: &str = r#"
name = "toy"
require = ["a + b == 4"]
notation = "{a}"
[network]
let = { b = { choose = [1, 3] }, a = { choose = [1, 3] } }
layers = [{ op = "conv", filters = 4, kernel = ["a", "b"] }]
"#;

#[test]
fn what_a_notation_leaves_out_may_follow_from_what_comes_later() {
    let space = parse(FOLLOWS);
    assert_eq!(space.parse_notation("1"), Ok(Choices(vec![1, 0])));
    assert_eq!(space.parse_notation("3"), Ok(Choices(vec![0, 1])));
    assert_eq!(space.ambiguous_notation(), None);
    // Two are there, and none.
    let several = parse(&FOLLOWS.replace("== 4", "<= 4"));
    assert_eq!(several.parse_notation("3"), Ok(Choices(vec![0, 1])));
    let message = several.parse_notation("1").unwrap_err().reason;
    let expected = "it could be 0,0 or 1,0, where b is 1 or 3;";
    assert!(message.contains(expected), "{message}");
    let none = parse(&FOLLOWS.replace("== 4", "== 2"));
    let message = none.parse_notation("3").unwrap_err().reason;
    assert!(message.contains("leaves out"), "{message}");
}

/// A decision that is left out and makes later ones inactive, which are written as their first option then.
#[test]
fn what_a_notation_leaves_out_follows_from_what_is_active() {
    let space = parse(
        r#"
name = "toy"
notation = "{k}"
[network]
let = { on = { choose = [false, true] } }
layers = [{ op = "conv", filters = 4, kernel = { choose = [1, 3], name = "k" }, when = "on" }]
"#,
    );
    assert_eq!(space.parse_notation("3"), Ok(Choices(vec![1, 1])));
    let message = space.parse_notation("1").unwrap_err().reason;
    assert!(message.contains("0,0 or 1,0"), "{message}");
    assert!(space.ambiguous_notation().is_some());
}

#[test]
fn a_notation_may_begin_and_end_with_spaces() {
    for notation in [" {a}", "{a} ", " {a} ", "{a}"] {
        let space = parse(&FOLLOWS.replace("{a}", notation));
        for choices in enumerate(&space, 10).expect("few") {
            let text = space.notation(&choices);
            assert_eq!(space.parse_notation(&text), Ok(choices), "'{text}'");
        }
        assert_eq!(space.ambiguous_notation(), None);
    }
    // What the notation has no spaces for may stand between some.
    let space = parse(FOLLOWS);
    assert!(space.parse_notation(" 3\n").is_ok());
}
