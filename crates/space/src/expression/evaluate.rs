//! The value of an expression, or none where it depends on what is not known yet.

use super::{Expression, Function, Operator, Value, Values};

impl Expression {
    /// The value, or none where it depends on what is not known yet.
    pub fn evaluate<V: Values>(&self, values: &mut V) -> Result<Option<Value>, String> {
        Ok(match self {
            Expression::Constant(value) => Some(*value),
            Expression::Local(slot) => values.local(*slot)?,
            Expression::Index => values.index().map(Value::Whole),
            Expression::Classes => values.classes().map(Value::Whole),
            Expression::Decisions(name) => values.decisions(*name),
            Expression::Shape(axis, tensor) => values.shape(*tensor).map(|shape| axis.of(shape)),
            Expression::Not(inner) => match inner.evaluate(values)? {
                Some(value) => Some(Value::Bool(!value.truth()?)),
                None => None,
            },
            Expression::Negate(inner) => match inner.evaluate(values)? {
                Some(Value::Whole(number)) => {
                    Some(Value::Whole(number.checked_neg().ok_or_else(overflow)?))
                }
                Some(value) => Some(Value::Fraction(-value.number()?)),
                None => None,
            },
            Expression::Binary(operator, sides) => binary(*operator, &sides.0, &sides.1, values)?,
            Expression::If(parts) => match parts.0.evaluate(values)? {
                Some(value) if value.truth()? => parts.1.evaluate(values)?,
                Some(_) => parts.2.evaluate(values)?,
                None => None,
            },
            Expression::Call(function, arguments) => call(*function, arguments, values)?,
        })
    }
}

fn overflow() -> String {
    "the number is too large".to_owned()
}

fn binary<V: Values>(
    operator: Operator,
    left: &Expression,
    right: &Expression,
    values: &mut V,
) -> Result<Option<Value>, String> {
    if matches!(operator, Operator::And | Operator::Or) {
        return logic(operator == Operator::Or, left, right, values);
    }
    match (left.evaluate(values)?, right.evaluate(values)?) {
        (Some(left), Some(right)) => apply(operator, left, right).map(Some),
        _ => Ok(None),
    }
}

/// `or`, or `and`. A side that decides alone needs no other: `skip and height(x) > 2`.
fn logic<V: Values>(
    or: bool,
    left: &Expression,
    right: &Expression,
    values: &mut V,
) -> Result<Option<Value>, String> {
    let mut known = true;
    for side in [left, right] {
        match side.evaluate(values)?.map(Value::truth).transpose()? {
            Some(truth) if truth == or => return Ok(Some(Value::Bool(or))),
            Some(_) => {}
            None => known = false,
        }
    }
    Ok(known.then_some(Value::Bool(!or)))
}

fn apply(operator: Operator, left: Value, right: Value) -> Result<Value, String> {
    use Operator as O;
    if let (Value::Bool(a), Value::Bool(b)) = (left, right) {
        return match operator {
            O::Equal => Ok(Value::Bool(a == b)),
            O::NotEqual => Ok(Value::Bool(a != b)),
            _ => Err("true and false cannot be computed with".to_owned()),
        };
    }
    if let (Value::Whole(a), Value::Whole(b)) = (left, right) {
        let whole = |result: Option<i64>| result.map(Value::Whole).ok_or_else(overflow);
        return match operator {
            O::Add => whole(a.checked_add(b)),
            O::Subtract => whole(a.checked_sub(b)),
            O::Multiply => whole(a.checked_mul(b)),
            O::FloorDivide | O::Remainder | O::Divide if b == 0 => {
                Err("division by zero".to_owned())
            }
            O::FloorDivide => {
                let quotient = a.checked_div_euclid(b).ok_or_else(overflow)?;
                // Euclid rounds up for a negative divisor that leaves a rest.
                Ok(Value::Whole(if b < 0 && a.rem_euclid(b) != 0 {
                    quotient - 1
                } else {
                    quotient
                }))
            }
            O::Remainder => whole(a.checked_rem(b).map(|rest| {
                if rest != 0 && (rest < 0) != (b < 0) {
                    rest + b
                } else {
                    rest
                }
            })),
            O::Divide => Ok(Value::Fraction(a as f64 / b as f64)),
            O::Less => Ok(Value::Bool(a < b)),
            O::LessOrEqual => Ok(Value::Bool(a <= b)),
            O::Greater => Ok(Value::Bool(a > b)),
            O::GreaterOrEqual => Ok(Value::Bool(a >= b)),
            O::Equal => Ok(Value::Bool(a == b)),
            O::NotEqual => Ok(Value::Bool(a != b)),
            O::And | O::Or => Err("true or false was expected on both sides".to_owned()),
        };
    }
    let (a, b) = (left.number()?, right.number()?);
    let number = |result: f64| {
        if result.is_finite() {
            Ok(Value::Fraction(result))
        } else {
            Err(overflow())
        }
    };
    match operator {
        O::Add => number(a + b),
        O::Subtract => number(a - b),
        O::Multiply => number(a * b),
        O::Divide | O::FloorDivide | O::Remainder if b == 0.0 => Err("division by zero".to_owned()),
        O::Divide => number(a / b),
        O::FloorDivide => rounded((a / b).floor()),
        O::Remainder => number(a - b * (a / b).floor()),
        O::Less => Ok(Value::Bool(a < b)),
        O::LessOrEqual => Ok(Value::Bool(a <= b)),
        O::Greater => Ok(Value::Bool(a > b)),
        O::GreaterOrEqual => Ok(Value::Bool(a >= b)),
        O::Equal => Ok(Value::Bool(a == b)),
        O::NotEqual => Ok(Value::Bool(a != b)),
        O::And | O::Or => Err("true or false was expected on both sides".to_owned()),
    }
}

fn rounded(number: f64) -> Result<Value, String> {
    if number.abs() < 9e15 {
        Ok(Value::Whole(number as i64))
    } else {
        Err(overflow())
    }
}

fn call<V: Values>(
    function: Function,
    arguments: &[Expression],
    values: &mut V,
) -> Result<Option<Value>, String> {
    let mut result: Option<Value> = None;
    for argument in arguments {
        let Some(value) = argument.evaluate(values)? else {
            return Ok(None);
        };
        let number = value.number()?;
        let better = match (function, result) {
            (Function::Min, Some(best)) => number < best.number()?,
            (Function::Max, Some(best)) => number > best.number()?,
            _ => true,
        };
        if better {
            result = Some(value);
        }
    }
    let round = |round: fn(f64) -> f64| match result {
        Some(Value::Fraction(number)) => rounded(round(number)).map(Some),
        other => Ok(other),
    };
    match function {
        Function::Min | Function::Max => Ok(result),
        Function::Ceil => round(f64::ceil),
        Function::Floor => round(f64::floor),
        Function::Round => round(f64::round),
        Function::Sqrt => match result.map(Value::number).transpose()? {
            Some(number) if number < 0.0 => Err("the square root of a negative number".to_owned()),
            number => Ok(number.map(|number| Value::Fraction(number.sqrt()))),
        },
    }
}

struct Nothing;

impl Values for Nothing {}

/// A constant where all parts are constants. What cannot be computed is left, and told in use.
pub(super) fn fold(expression: Expression) -> Expression {
    match expression.evaluate(&mut Nothing) {
        Ok(Some(value)) => Expression::Constant(value),
        _ => expression,
    }
}
