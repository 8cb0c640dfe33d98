//! What a condition may be made of: numbers and truth values, each where it belongs.

use crate::expression::{Expression, Operator, Value};

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
