//! A tensor written out as an expression, after NAS-Bench-201 (Dong & Yang 2020, arXiv 2001.00326,
//! and its published code).
//!
//! An input is its number, zeros are `#`, an operation on x is `(x)@operation`, a sum is its terms in
//! the order of their texts with `+` between them. An operation on zeros is zeros. What is used twice is
//! written twice, a sum in a sum has no brackets of its own, and zeros stay in sums: so some graphs that
//! compute the same have texts that differ, and two copies of an operation cannot be told from one that
//! is used twice.

use std::collections::HashMap;
use std::rc::Rc;

use super::outline::{Item, What};
use crate::Layer;

/// An expression.
pub(super) type Text = Rc<str>;

/// Longer texts are refused: they double with each tensor that is used twice.
const LONGEST: usize = 1 << 20;

/// An item over these inputs.
pub(super) fn write(items: &[Item], inputs: &[usize], output: usize) -> Result<Text, String> {
    let mut texts: HashMap<usize, Text> = inputs
        .iter()
        .zip(0..)
        .map(|(input, number): (_, u32)| (*input, number.to_string().into()))
        .collect();
    for item in needed(items, &texts, output) {
        let of: Vec<Text> = items[item]
            .inputs
            .iter()
            .filter_map(|input| texts.get(input).cloned())
            .collect();
        let text = operation(&items[item].what, of);
        if text.len() > LONGEST {
            return Err(format!(
                "written out it is longer than {LONGEST} characters: too many tensors are used more than once"
            ));
        }
        texts.insert(item, text.into());
    }
    texts
        .remove(&output)
        .ok_or_else(|| "it gives no output".to_owned())
}

/// The items that an output is computed from, its inputs left out, in order.
fn needed(items: &[Item], known: &HashMap<usize, Text>, output: usize) -> Vec<usize> {
    let (mut found, mut open) = (Vec::new(), vec![output]);
    let mut seen = vec![false; output + 1];
    while let Some(item) = open.pop() {
        if !seen[item] && !known.contains_key(&item) {
            seen[item] = true;
            found.push(item);
            open.extend(&items[item].inputs);
        }
    }
    found.sort_unstable();
    found
}

fn operation(what: &What, mut of: Vec<Text>) -> String {
    const ZEROS: &str = "#";
    let sum = matches!(what, What::Layer(Layer::Add));
    if matches!(what, What::Layer(it) if it.is_commutative()) {
        of.sort_unstable();
    }
    let is_zero = matches!(what, What::Layer(Layer::Zero(_)));
    if is_zero || (!sum && !of.is_empty() && of.iter().all(|it| &**it == ZEROS)) {
        return ZEROS.to_owned();
    }
    if sum {
        return of.join("+");
    }
    let of = of.join(",");
    match what {
        What::Image => "image".to_owned(),
        What::Layer(layer) => format!("({of})@{layer:?}"),
        What::Option(name) => format!("({of})@{name}"),
        What::Cell(text) => format!("({of})@[{text}]"),
    }
}
