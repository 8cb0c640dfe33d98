//! Conditions over decisions: what `require` may say, and whether it can hold still.

use crate::Space;
use crate::discover::{Decisions, Found, Meaning};
use crate::expression::{Expression, Function, Operator, Tensor, Value, Values};
use crate::program::Program;

/// What a number can still be.
type Range = (f64, f64);

const ANY: Range = (f64::NEG_INFINITY, f64::INFINITY);
/// Beyond it a range is taken for open, so that what is below is exact.
const EXACT: f64 = (1u64 << 50) as f64;
/// The largest value of an option that `require` may count.
const LARGEST: i64 = 1_000_000_000;

/// What an expression can still be: a number, or a truth value that (can be false, can be true).
#[derive(Clone, Copy)]
enum Possible {
    Number(Range),
    Truth(bool, bool),
}

/// Whether an expression is a number (false) or a truth value (true).
fn is_truth(expression: &Expression) -> Result<bool, &'static str> {
    use Operator as O;
    const NUMBER: &str = "a number was expected, and this is true or false";
    const TRUTH: &str = "true or false was expected, and this is a number";
    let both = |a: &Expression, b: &Expression| Ok((is_truth(a)?, is_truth(b)?));
    let numbers = |ok: bool, truth: bool| if ok { Ok(truth) } else { Err(NUMBER) };
    match expression {
        Expression::Constant(value) => Ok(matches!(value, Value::Bool(_))),
        Expression::Decisions(_) => Ok(false),
        Expression::Not(inner) if !is_truth(inner)? => Err(TRUTH),
        Expression::Not(_) => Ok(true),
        Expression::Negate(inner) => numbers(!is_truth(inner)?, false),
        Expression::Binary(operator, sides) => match (operator, both(&sides.0, &sides.1)?) {
            (O::And | O::Or, (true, true)) => Ok(true),
            (O::And | O::Or, _) => Err(TRUTH),
            (O::Equal | O::NotEqual, (a, b)) => numbers(a == b, true),
            (O::Less | O::LessOrEqual | O::Greater | O::GreaterOrEqual, (a, b)) => {
                numbers(!a && !b, true)
            }
            (_, (a, b)) => numbers(!a && !b, false),
        },
        Expression::If(parts) => match (is_truth(&parts.0)?, both(&parts.1, &parts.2)?) {
            (false, _) => Err(TRUTH),
            (true, (a, b)) => numbers(a == b, a),
        },
        Expression::Call(_, arguments) => {
            for argument in arguments {
                numbers(!is_truth(argument)?, false)?;
            }
            Ok(false)
        }
        Expression::Local(_) | Expression::Index | Expression::Classes | Expression::Shape(..) => {
            Err("`require` knows decisions and parameters alone")
        }
    }
}

/// Whether a condition is one, or why not.
pub(crate) fn check(condition: &Expression) -> Result<(), &'static str> {
    match is_truth(condition)? {
        true => Ok(()),
        false => Err("a condition must be true or false, and this is a number: compare it"),
    }
}

/// The numbers of the names that an expression counts.
pub(crate) fn counted(expression: &mut Expression, each: &mut dyn FnMut(&mut u32)) {
    match expression {
        Expression::Decisions(name) => each(name),
        Expression::Not(inner) | Expression::Negate(inner) => counted(inner, each),
        Expression::Binary(_, sides) => {
            counted(&mut sides.0, each);
            counted(&mut sides.1, each);
        }
        Expression::If(parts) => {
            counted(&mut parts.0, each);
            counted(&mut parts.1, each);
            counted(&mut parts.2, each);
        }
        Expression::Call(_, arguments) => arguments.iter_mut().for_each(|it| counted(it, each)),
        _ => {}
    }
}

/// The first decision that `require` counts though an option of it has no whole number, by its name.
pub(crate) fn uncountable(program: &Program, found: &Decisions) -> Option<String> {
    let wrong = |found: &&Found| {
        let counted = found
            .given
            .as_ref()
            .is_some_and(|name| program.required_names.contains(name));
        counted && (0..found.labels.len() as u32).any(|option| found.value(option).is_none())
    };
    found.list.iter().find(wrong)?.given.clone()
}

impl Found {
    /// What an option counts in `require`.
    pub(crate) fn value(&self, option: u32) -> Option<i64> {
        match &self.meaning {
            Meaning::Values(values) => match values.get(option as usize)? {
                Some(Value::Bool(truth)) => Some(i64::from(*truth)),
                Some(Value::Whole(value)) => {
                    Some(*value).filter(|it| (-LARGEST..=LARGEST).contains(it))
                }
                _ => None,
            },
            Meaning::Member(..) | Meaning::Callees | Meaning::Tensors(_) => Some(i64::from(option)),
        }
    }
}

/// Which options of the decision after a prefix leave every condition possible. It must be known
/// whether that decision is active.
pub(crate) fn possible(space: &Space, prefix: &[u32], active: bool) -> Vec<bool> {
    let names = &space.program().required_names;
    let mut sums: Vec<(i64, i64)> = vec![(0, 0); names.len()];
    let at = prefix.len();
    let mut own = None;
    for (index, found) in space.found().iter().enumerate() {
        let Some(name) = &found.given else { continue };
        let Ok(name) = names.binary_search(name) else {
            continue;
        };
        if index == at {
            own = Some(name).filter(|_| active);
            continue;
        }
        let (low, high) = match prefix.get(index) {
            Some(_) if !space.is_active(&prefix[..index]) => (0, 0),
            Some(option) => found.value(*option).map_or((0, 0), |it| (it, it)),
            None => {
                let values = (0..found.labels.len() as u32).filter_map(|it| found.value(it));
                // It may turn out inactive, and then it counts nothing.
                let idle = (!found.guards.is_empty()).then_some(0);
                let (mut low, mut high) = (i64::MAX, i64::MIN);
                values.chain(idle).for_each(|value| {
                    low = low.min(value);
                    high = high.max(value);
                });
                (low.min(high), high.max(low))
            }
        };
        sums[name].0 += low;
        sums[name].1 += high;
    }
    let Some(found) = space.found().get(at) else {
        return vec![can_hold(space, &sums)];
    };
    let options = 0..found.labels.len() as u32;
    let Some(name) = own else {
        return vec![can_hold(space, &sums); options.len()];
    };
    let before = sums[name];
    options
        .map(|option| {
            let value = found.value(option).unwrap_or(0);
            sums[name] = (before.0 + value, before.1 + value);
            can_hold(space, &sums)
        })
        .collect()
}

struct Sums<'s>(&'s [i64]);

impl Values for Sums<'_> {
    fn local(&mut self, _: u32) -> Result<Option<Value>, String> {
        Ok(None)
    }
    fn index(&self) -> Option<i64> {
        None
    }
    fn classes(&self) -> Option<i64> {
        None
    }
    fn shape(&mut self, _: Tensor) -> Option<crate::Shape> {
        None
    }
    fn decisions(&self, name: u32) -> Option<Value> {
        self.0.get(name as usize).copied().map(Value::Whole)
    }
}

/// Whether all conditions hold for these sums, exactly. What cannot be computed (a division by zero)
/// does not hold.
pub(crate) fn holds(space: &Space, sums: &[i64]) -> bool {
    let conditions = &space.program().require;
    conditions.iter().all(|(condition, _)| {
        matches!(
            condition.evaluate(&mut Sums(sums)),
            Ok(Some(Value::Bool(true)))
        )
    })
}

fn can_hold(space: &Space, sums: &[(i64, i64)]) -> bool {
    if sums.iter().all(|(low, high)| low == high) {
        let sums: Vec<i64> = sums.iter().map(|(low, _)| *low).collect();
        return holds(space, &sums);
    }
    let sums: Vec<Range> = sums
        .iter()
        .map(|(low, high)| (*low as f64, *high as f64))
        .collect();
    let conditions = &space.program().require;
    conditions
        .iter()
        .all(|(condition, _)| matches!(range(condition, &sums), Possible::Truth(_, true)))
}

/// All that an expression can be; never less than that.
fn range(expression: &Expression, sums: &[Range]) -> Possible {
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
