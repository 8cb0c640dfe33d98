//! All values that an expression can still have, as a range.

use crate::expression::{Expression, Function, Operator, Value};

/// What a number can still be.
pub(super) type Range = (f64, f64);

const ANY: Range = (f64::NEG_INFINITY, f64::INFINITY);
/// Beyond it a range is taken for open, so that what is below is exact.
const EXACT: f64 = (1u64 << 50) as f64;

/// What an expression can still be: a number, or a truth value that (can be false, can be true).
#[derive(Clone, Copy)]
pub(super) enum Possible {
    Number(Range),
    Truth(bool, bool),
}

/// All that an expression can be; never less than that.
pub(super) fn range(expression: &Expression, sums: &[Range]) -> Possible {
    match expression {
        Expression::Constant(Value::Bool(truth)) => Possible::Truth(!truth, *truth),
        Expression::Constant(value) => match value.number() {
            Ok(number) => spread(&[number]),
            Err(_) => Possible::Number(ANY),
        },
        Expression::Decisions(name) => {
            Possible::Number(sums.get(*name as usize).copied().unwrap_or(ANY))
        }
        Expression::Not(inner) => match range(inner, sums) {
            Possible::Truth(no, yes) => Possible::Truth(yes, no),
            other => other,
        },
        Expression::Negate(inner) => match range(inner, sums) {
            Possible::Number((low, high)) => Possible::Number((-high, -low)),
            other => other,
        },
        Expression::Binary(operator, sides) => {
            match (range(&sides.0, sums), range(&sides.1, sums)) {
                (Possible::Number(a), Possible::Number(b)) => numbers(*operator, a, b),
                (Possible::Truth(no, yes), Possible::Truth(or_no, or_yes)) => match operator {
                    Operator::And => Possible::Truth(no || or_no, yes && or_yes),
                    Operator::Or => Possible::Truth(no && or_no, yes || or_yes),
                    _ => Possible::Truth(true, true),
                },
                _ => Possible::Truth(true, true),
            }
        }
        Expression::If(parts) => {
            let (no, yes) = match range(&parts.0, sums) {
                Possible::Truth(no, yes) => (no, yes),
                Possible::Number(_) => (true, true),
            };
            let (first, second) = (range(&parts.1, sums), range(&parts.2, sums));
            match (no, yes, first, second) {
                (false, true, first, _) => first,
                (true, false, _, second) => second,
                (_, _, Possible::Number(a), Possible::Number(b)) => {
                    Possible::Number((a.0.min(b.0), a.1.max(b.1)))
                }
                (_, _, Possible::Truth(a, b), Possible::Truth(c, d)) => {
                    Possible::Truth(a || c, b || d)
                }
                _ => Possible::Truth(true, true),
            }
        }
        Expression::Call(function, arguments) => call(*function, arguments, sums),
        _ => Possible::Number(ANY),
    }
}

/// The smallest range with all of these; what is too large to be exact makes it open.
fn spread(all: &[f64]) -> Possible {
    if all.iter().any(|it| it.is_nan()) {
        return Possible::Number(ANY);
    }
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Possible::Number((
        if low.abs() > EXACT { ANY.0 } else { low },
        if high.abs() > EXACT { ANY.1 } else { high },
    ))
}

fn numbers(operator: Operator, a: Range, b: Range) -> Possible {
    use Operator as O;
    let corners =
        |of: fn(f64, f64) -> f64| spread(&[of(a.0, b.0), of(a.0, b.1), of(a.1, b.0), of(a.1, b.1)]);
    let divides = b.0 > 0.0 || b.1 < 0.0;
    match operator {
        O::Add => spread(&[a.0 + b.0, a.1 + b.1]),
        O::Subtract => spread(&[a.0 - b.1, a.1 - b.0]),
        O::Multiply => corners(|a, b| a * b),
        O::Divide if divides => corners(|a, b| a / b),
        O::FloorDivide if divides => corners(|a, b| (a / b).floor()),
        O::Remainder if b.0 > 0.0 && a.0 == a.1 && b.0 == b.1 && a.0.is_finite() => {
            spread(&[a.0 - b.0 * (a.0 / b.0).floor()])
        }
        // It has the sign of the divisor, and is smaller.
        O::Remainder if divides => spread(&[0.0, if b.0 > 0.0 { b.1 } else { b.0 }]),
        O::Divide | O::FloorDivide | O::Remainder => Possible::Number(ANY),
        O::Less => Possible::Truth(a.1 >= b.0, a.0 < b.1),
        O::LessOrEqual => Possible::Truth(a.1 > b.0, a.0 <= b.1),
        O::Greater => Possible::Truth(a.0 <= b.1, a.1 > b.0),
        O::GreaterOrEqual => Possible::Truth(a.0 < b.1, a.1 >= b.0),
        O::Equal | O::NotEqual => {
            let same = a.0 <= b.1 && b.0 <= a.1;
            let differ = !(a.0 == a.1 && a == b);
            if operator == O::Equal {
                Possible::Truth(differ, same)
            } else {
                Possible::Truth(same, differ)
            }
        }
        O::And | O::Or => Possible::Truth(true, true),
    }
}

fn call(function: Function, arguments: &[Expression], sums: &[Range]) -> Possible {
    let ranges: Vec<Range> = arguments
        .iter()
        .map(|it| match range(it, sums) {
            Possible::Number(range) => range,
            Possible::Truth(..) => ANY,
        })
        .collect();
    let Some(first) = ranges.first().copied() else {
        return Possible::Number(ANY);
    };
    let both = |of: fn(f64) -> f64| spread(&[of(first.0), of(first.1)]);
    match function {
        Function::Min => Possible::Number(
            ranges
                .iter()
                .fold(first, |a, b| (a.0.min(b.0), a.1.min(b.1))),
        ),
        Function::Max => Possible::Number(
            ranges
                .iter()
                .fold(first, |a, b| (a.0.max(b.0), a.1.max(b.1))),
        ),
        Function::Ceil => both(f64::ceil),
        Function::Floor => both(f64::floor),
        Function::Round => both(f64::round),
        Function::Sqrt => spread(&[first.0.max(0.0).sqrt(), first.1.max(0.0).sqrt()]),
    }
}
