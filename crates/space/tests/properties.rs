//! What holds for every space: spaces are made at random, small enough to be listed in full.

mod common;

use std::collections::HashSet;

use cellwright_space::{Choices, Space};
use common::{build, enumerate, parse};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Expressions with what Rust makes of them.
mod arithmetic {
    use super::*;

    #[derive(Debug, Clone)]
    pub enum Tree {
        Number(i64),
        Negate(Box<Tree>),
        Binary(&'static str, Box<Tree>, Box<Tree>),
        Call(&'static str, Box<Tree>, Box<Tree>),
        If(&'static str, Box<[Tree; 4]>),
    }

    pub fn tree() -> impl Strategy<Value = Tree> {
        let leaf = (0..50i64).prop_map(Tree::Number);
        leaf.prop_recursive(5, 40, 4, |inner| {
            let two = (inner.clone(), inner.clone());
            let four = (inner.clone(), inner.clone(), inner.clone(), inner.clone());
            prop_oneof![
                inner.clone().prop_map(|it| Tree::Negate(Box::new(it))),
                (
                    prop::sample::select(vec!["+", "-", "*", "//", "%"]),
                    two.clone()
                )
                    .prop_map(|(op, (a, b))| Tree::Binary(
                        op,
                        Box::new(a),
                        Box::new(b)
                    )),
                (prop::sample::select(vec!["min", "max"]), two)
                    .prop_map(|(op, (a, b))| Tree::Call(op, Box::new(a), Box::new(b))),
                (
                    prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]),
                    four
                )
                    .prop_map(|(op, (a, b, c, d))| Tree::If(op, Box::new([a, b, c, d]))),
            ]
        })
    }

    impl Tree {
        /// As text, with no more brackets than needed where `tight` is the binding around.
        pub fn text(&self, tight: u8) -> String {
            let wrap = |own: u8, text: String| {
                if own < tight {
                    format!("({text})")
                } else {
                    text
                }
            };
            match self {
                Tree::Number(number) => number.to_string(),
                Tree::Negate(inner) => wrap(3, format!("-{}", inner.text(3))),
                Tree::Binary(op, a, b) => {
                    let own = if matches!(*op, "+" | "-") { 1 } else { 2 };
                    wrap(own, format!("{} {op} {}", a.text(own), b.text(own + 1)))
                }
                Tree::Call(name, a, b) => format!("{name}({}, {})", a.text(0), b.text(0)),
                Tree::If(op, parts) => {
                    let [a, b, c, d] = &**parts;
                    format!(
                        "if({} {op} {}, {}, {})",
                        a.text(1),
                        b.text(1),
                        c.text(0),
                        d.text(0)
                    )
                }
            }
        }

        pub fn value(&self) -> Option<i64> {
            match self {
                Tree::Number(number) => Some(*number),
                Tree::Negate(inner) => inner.value()?.checked_neg(),
                Tree::Binary(op, a, b) => {
                    let (a, b) = (a.value()?, b.value()?);
                    match *op {
                        "+" => a.checked_add(b),
                        "-" => a.checked_sub(b),
                        "*" => a.checked_mul(b),
                        _ if b == 0 => None,
                        "//" => i64::try_from((i128::from(a) - modulo(a, b)) / i128::from(b)).ok(),
                        _ => i64::try_from(modulo(a, b)).ok(),
                    }
                }
                Tree::Call("min", a, b) => Some(a.value()?.min(b.value()?)),
                Tree::Call(_, a, b) => Some(a.value()?.max(b.value()?)),
                Tree::If(op, parts) => {
                    let (a, b) = (parts[0].value()?, parts[1].value()?);
                    let truth = match *op {
                        "<" => a < b,
                        "<=" => a <= b,
                        ">" => a > b,
                        ">=" => a >= b,
                        "==" => a == b,
                        _ => a != b,
                    };
                    parts[if truth { 2 } else { 3 }].value()
                }
            }
        }
    }

    /// The remainder with the sign of the divisor.
    fn modulo(a: i64, b: i64) -> i128 {
        let (a, b) = (i128::from(a), i128::from(b));
        ((a % b) + b) % b
    }
}

/// A layer of a random space.
#[derive(Debug, Clone)]
enum Piece {
    Plain,
    Choice(usize),
    Repeat(Vec<u8>, usize),
    When(u8, usize),
    Pair,
    Subset,
    Nested(usize),
    Cell,
    MaybeCell,
    Block,
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        Just(Piece::Plain),
        (1..4usize).prop_map(Piece::Choice),
        (prop::collection::vec(0..3u8, 1..3), 1..3usize).prop_map(|(a, b)| Piece::Repeat(a, b)),
        (0..3u8, 2..4usize).prop_map(|(a, b)| Piece::When(a, b)),
        Just(Piece::Pair),
        Just(Piece::Subset),
        (1..3usize).prop_map(Piece::Nested),
        Just(Piece::Cell),
        Just(Piece::MaybeCell),
        Just(Piece::Block),
    ]
}

/// A file with these pieces and conditions.
fn file(pieces: &[Piece], require: Option<&str>) -> String {
    let numbers = |count: usize| {
        (1..=count)
            .map(|it| it.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut layers = vec![
        r#"{ op = "relu", name = "a" }"#.to_owned(),
        r#"{ op = "relu", name = "b" }"#.to_owned(),
    ];
    for piece in pieces {
        layers.push(match piece {
            Piece::Plain => r#"{ op = "relu" }"#.to_owned(),
            Piece::Choice(count) => format!(r#"{{ op = "conv", filters = {{ choose = [{}], name = "x" }} }}"#, numbers(*count)),
            Piece::Repeat(counts, options) => format!(
                r#"{{ op = "conv", repeat = {{ choose = {counts:?}, name = "r" }}, filters = {{ choose = [{}] }} }}"#,
                numbers(*options)
            ),
            Piece::When(at, options) => format!(
                r#"{{ op = "conv", when = "first > {at}", filters = {{ choose = [{}], name = "y" }} }}"#,
                numbers(*options)
            ),
            Piece::Pair => r#"{ op = "add", from = { choose = 2, of = ["a", "b", "input"] } }"#.to_owned(),
            Piece::Subset => r#"{ op = "add", from = ["a", { choose = "any", of = ["b", "input"], name = "x" }] }"#.to_owned(),
            Piece::Nested(options) => format!(
                r#"{{ op = {{ choose = ["relu", {{ op = "conv", filters = {{ choose = [{}], name = "y" }} }}, {{ op = "one", when = "first > twice" }}] }}, from = -1 }}"#,
                numbers(*options)
            ),
            Piece::Cell => r#"{ op = "shared" }"#.to_owned(),
            Piece::MaybeCell => r#"{ op = { choose = ["relu", { op = "shared", when = "first > 1" }] } }"#.to_owned(),
            Piece::Block => r#"{ op = "one" }"#.to_owned(),
        });
    }
    let require = require
        .map(|it| format!("require = [\"{it}\"]\n"))
        .unwrap_or_default();
    format!(
        "name = \"random\"\n{require}[blocks.one]\nlayers = [{{ op = {{ choose = [\"relu\", \"identity\"], name = \"x\" }} }}]\n\
         [cells.shared]\nlayers = [{{ op = \"one\" }}, {{ op = {{ choose = [\"relu\", \"pool\"], name = \"y\" }} }}]\n\
         [network]\nlet = {{ first = {{ choose = [1, 2, 3], name = \"x\" }}, twice = {{ choose = [1, 2], name = \"y\" }} }}\nlayers = [\n{}\n]\n",
        layers.join(",\n")
    )
}

const CONDITIONS: [&str; 8] = [
    "x <= 4",
    "x + y >= 3",
    "x % 2 == 0",
    "max(x, y) < 5 and x != y",
    "x * y > 3 or x == 1",
    "if(x > 2, y // 2 == 1, y <= 2)",
    "not (x - y > 1)",
    "x / y >= 1",
];

fn space() -> impl Strategy<Value = Space> {
    let conditions = prop::option::of(prop::sample::select(CONDITIONS.to_vec()));
    (prop::collection::vec(piece(), 0..6), conditions).prop_filter_map(
        "no architecture, or too large",
        |(pieces, require)| {
            let text = file(&pieces, require);
            match common::try_parse(&text) {
                Ok(space) => Some(space),
                Err(errors) if errors.to_string().contains("no architecture") => None,
                Err(errors) => panic!("{errors}\n{text}"),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn expressions_are_what_they_are_in_rust(tree in arithmetic::tree()) {
        let text = tree.text(0);
        let file = format!("name = \"n\"\n[parameters]\np = \"{text}\"\n[network]\nlayers = [{{ op = \"relu\" }}]\n");
        match (common::try_parse(&file), tree.value()) {
            (Ok(space), Some(value)) => {
                let parameters: Vec<_> = space.parameters().map(|(_, value)| value).collect();
                prop_assert_eq!(parameters, [value.to_string()], "{}", text);
            }
            (Err(_), None) => {}
            (Ok(_), None) => prop_assert!(false, "{text} was computed"),
            (Err(errors), Some(value)) => prop_assert!(false, "{text} is {value}: {errors}"),
        }
    }

    #[test]
    fn choices_are_printed_and_read(choices in prop::collection::vec(any::<u32>(), 0..20)) {
        let choices = Choices(choices);
        prop_assert_eq!(choices.to_string().parse::<Choices>(), Ok(choices.clone()));
        let json = serde_json::to_string(&choices).expect("a list");
        prop_assert_eq!(serde_json::from_str::<Choices>(&json).expect("a list"), choices);
    }

    #[test]
    fn the_count_is_that_of_the_list(space in space()) {
        let count = space.count().expect("small");
        if let Some(all) = enumerate(&space, 5000) {
            prop_assert_eq!(count, all.len().into(), "{}", space.text());
            for choices in &all {
                prop_assert_eq!(space.check(choices), Ok(()), "{}", choices);
            }
            prop_assert_eq!(space.few_architectures(all.len()), Some(all), "{}", space.text());
        }
    }

    #[test]
    fn samples_are_legal_and_build(space in space(), seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        prop_assert_eq!(space.check(&space.first()), Ok(()));
        for _ in 0..5 {
            let choices = space.sample(&mut rng);
            prop_assert_eq!(space.check(&choices), Ok(()), "{}\n{}", choices, space.text());
            prop_assert!(build(&space, &choices.0).is_ok());
            let changed = space.mutate(&choices, &mut rng);
            prop_assert_eq!(space.check(&changed), Ok(()), "{}\n{}", changed, space.text());
        }
    }

    #[test]
    fn neighbours_differ_in_one_decision_and_repairs(space in space(), seed: u64) {
        let choices = space.sample(&mut ChaCha8Rng::seed_from_u64(seed));
        let neighbours = space.neighbours(&choices);
        let mut seen = HashSet::new();
        for neighbour in &neighbours {
            prop_assert_eq!(space.check(neighbour), Ok(()), "{}\n{}", neighbour, space.text());
            prop_assert!(seen.insert(neighbour.clone()), "{} twice", neighbour);
            let at = (0..choices.0.len()).find(|at| choices.0[*at] != neighbour.0[*at]).expect("it differs");
            prop_assert!(space.is_active(&choices.0[..at]));
            // Behind it a choice stays where it is legal still.
            for later in at + 1..choices.0.len() {
                let legal = space.legal(&neighbour.0[..later]);
                let kept = legal.get(choices.0[later] as usize) == Some(&true);
                prop_assert!(!kept || neighbour.0[later] == choices.0[later]);
            }
        }
    }

    #[test]
    fn illegal_choices_are_refused(space in space(), choices in prop::collection::vec(0..4u32, 0..12)) {
        if let Some(all) = enumerate(&space, 5000) {
            let mut choices = Choices(choices);
            choices.0.resize(space.decisions().len(), 0);
            prop_assert_eq!(space.check(&choices).is_ok(), all.binary_search(&choices).is_ok());
        }
    }
}

#[test]
fn sampling_reaches_everything() {
    let space = parse(&file(
        &[Piece::Nested(2), Piece::When(1, 2)],
        Some("x + y >= 3"),
    ));
    let all: HashSet<_> = enumerate(&space, 5000).expect("few").into_iter().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let seen: HashSet<_> = (0..5000).map(|_| space.sample(&mut rng)).collect();
    assert_eq!(seen.len(), all.len());
    assert!(seen.is_subset(&all));
}
