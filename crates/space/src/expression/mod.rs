//! Expressions: numbers and truth values from parameters, arguments, decisions and shapes.
//!
//! From loose to tight: `or`; `and`; `not`; comparisons; `+ -`; `* / // %`; unary `-`; calls.
//! `/` gives a fraction, `//` rounds down. Whole numbers are 64 bits, and what does not fit is an
//! error.

use crate::{Argument, ArgumentKind, Shape};

mod evaluate;
mod parse;
mod tokens;

pub(crate) use parse::{Wrong, parse};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    Whole(i64),
    Fraction(f64),
    Bool(bool),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Whole(number) => write!(f, "{number}"),
            Value::Fraction(number) => write!(f, "{number}"),
            Value::Bool(truth) => write!(f, "{truth}"),
        }
    }
}

impl Value {
    pub fn number(self) -> Result<f64, String> {
        match self {
            Value::Whole(number) => Ok(number as f64),
            Value::Fraction(number) => Ok(number),
            Value::Bool(_) => Err("a number was expected, and this is true or false".to_owned()),
        }
    }

    pub fn truth(self) -> Result<bool, String> {
        match self {
            Value::Bool(truth) => Ok(truth),
            other => Err(format!("true or false was expected, and this is {other}")),
        }
    }

    /// A whole number of at least 0.
    pub fn count(self) -> Result<usize, String> {
        match self {
            Value::Whole(number) if number >= 0 => Ok(number as usize),
            Value::Fraction(number) if number >= 0.0 && number.fract() == 0.0 && number < 1e15 => {
                Ok(number as usize)
            }
            Value::Bool(_) => {
                Err("a whole number was expected, and this is true or false".to_owned())
            }
            Value::Fraction(number) if number.fract() != 0.0 => Err(format!(
                "a whole number was expected, and this is {number}: use //, round(), floor() or ceil()"
            )),
            other => Err(format!(
                "a whole number of at least 0 was expected, and this is {other}"
            )),
        }
    }
}

impl Value {
    /// The argument of a primitive that it makes.
    pub fn argument(self, kind: ArgumentKind) -> Result<Argument, String> {
        Ok(match kind {
            ArgumentKind::Whole => Argument::Whole(self.count()?),
            ArgumentKind::Number => Argument::Number(self.number()?),
            ArgumentKind::Bool => Argument::Bool(self.truth()?),
            ArgumentKind::Pair => Argument::Pair([self.count()?; 2]),
            ArgumentKind::Padding(_) => Argument::Sides([self.count()?; 4]),
            ArgumentKind::Word(_) => return Err("a word was expected".to_owned()),
        })
    }
}

/// A tensor in the scope of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tensor {
    /// What the layer before gives.
    Last,
    /// An input of the block.
    Input(u32),
    /// The (last) output of an earlier layer.
    Layer(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Channels,
    Height,
    Width,
}

impl Axis {
    pub fn of(self, shape: Shape) -> Value {
        Value::Whole(match self {
            Axis::Channels => shape.channels,
            Axis::Height => shape.height,
            Axis::Width => shape.width,
        } as i64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Min,
    Max,
    Ceil,
    Floor,
    Round,
    Sqrt,
}

/// The functions, with what the reference says of them.
pub(crate) const FUNCTIONS: [(&str, &str); 10] = [
    (
        "if(condition, a, b)",
        "a where the condition is true, else b",
    ),
    ("min(a, b, ...)", "the smallest"),
    ("max(a, b, ...)", "the largest"),
    ("ceil(a)", "rounded up, a whole number"),
    ("floor(a)", "rounded down, a whole number"),
    (
        "round(a)",
        "rounded to the nearest whole number, halves away from zero",
    ),
    ("sqrt(a)", "the square root"),
    (
        "channels(x)",
        "the channels of a tensor: an input, an earlier layer, or `last`",
    ),
    ("height(x)", "its rows"),
    ("width(x)", "its columns"),
];

/// An expression whose names are resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Constant(Value),
    /// An argument or a `let` of the block, by its slot.
    Local(u32),
    Index,
    Classes,
    /// The sum of the values of all decisions with a name; in `require` alone.
    Decisions(u32),
    Shape(Axis, Tensor),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    Binary(Operator, Box<(Expression, Expression)>),
    If(Box<(Expression, Expression, Expression)>),
    Call(Function, Vec<Expression>),
}

impl Expression {
    /// The number of its parts: of its operators, values and names.
    pub fn size(&self) -> usize {
        1 + match self {
            Expression::Not(inner) | Expression::Negate(inner) => inner.size(),
            Expression::Binary(_, sides) => sides.0.size() + sides.1.size(),
            Expression::If(parts) => parts.0.size() + parts.1.size() + parts.2.size(),
            Expression::Call(_, arguments) => arguments.iter().map(Expression::size).sum(),
            _ => 0,
        }
    }

    /// Whether the repetition is asked for.
    pub fn names_index(&self) -> bool {
        match self {
            Expression::Index => true,
            Expression::Not(inner) | Expression::Negate(inner) => inner.names_index(),
            Expression::Binary(_, sides) => sides.0.names_index() || sides.1.names_index(),
            Expression::If(parts) => {
                parts.0.names_index() || parts.1.names_index() || parts.2.names_index()
            }
            Expression::Call(_, arguments) => arguments.iter().any(Self::names_index),
            _ => false,
        }
    }
}

/// What names mean where an expression stands.
pub(crate) trait Names {
    fn variable(&self, name: &str) -> Option<Expression>;
    fn tensor(&self, name: &str) -> Option<Tensor>;
    /// Whether it names a value that is wrong, as was told where it stands.
    fn is_wrong(&self, _name: &str) -> bool {
        false
    }
    /// Why a name that has a meaning elsewhere has none here, and what to do.
    fn elsewhere(&self, _name: &str) -> Option<(String, String)> {
        None
    }
    /// For suggestions.
    fn known(&self) -> Vec<String>;
    fn known_tensors(&self) -> Vec<String>;
}

/// What an expression is evaluated against. `None`: not known yet.
pub(crate) trait Values {
    fn local(&mut self, _slot: u32) -> Result<Option<Value>, String> {
        Ok(None)
    }
    fn index(&self) -> Option<i64> {
        None
    }
    fn classes(&self) -> Option<i64> {
        None
    }
    fn shape(&mut self, _tensor: Tensor) -> Option<Shape> {
        None
    }
    fn decisions(&self, _name: u32) -> Option<Value> {
        None
    }
}
