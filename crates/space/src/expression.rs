//! Expressions: numbers and truth values from parameters, arguments, decisions and shapes.
//!
//! From loose to tight: `or`; `and`; `not`; comparisons; `+ -`; `* / // %`; unary `-`; calls.
//! `/` gives a fraction, `//` rounds down. Whole numbers are 64 bits, and what does not fit is an
//! error.

use std::ops::Range;

use crate::Shape;
use crate::diagnostic::suggest;

/// A value of an expression.
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

/// What names mean where an expression stands.
pub(crate) trait Names {
    fn variable(&self, name: &str) -> Option<Expression>;
    fn tensor(&self, name: &str) -> Option<Tensor>;
    /// For suggestions.
    fn known(&self) -> Vec<String>;
    fn known_tensors(&self) -> Vec<String>;
}

/// What an expression is evaluated against. `None`: not known yet.
pub(crate) trait Values {
    fn local(&mut self, slot: u32) -> Result<Option<Value>, String>;
    fn index(&self) -> Option<i64>;
    fn classes(&self) -> Option<i64>;
    fn shape(&mut self, tensor: Tensor) -> Option<Shape>;
    fn decisions(&self, _name: u32) -> Option<Value> {
        None
    }
}

/// What is wrong with an expression: the message, a range of its bytes, and help.
pub(crate) type Wrong = (String, Range<usize>, Option<String>);

/// How deep an expression may be nested.
const DEPTH: usize = 48;
/// How many operators and calls it may have: chains of them are deep trees.
const PARTS: usize = 400;
/// How long its text may be.
const LENGTH: usize = 4096;

/// Parses an expression and resolves its names.
pub(crate) fn parse(text: &str, names: &dyn Names) -> Result<Expression, Wrong> {
    if text.len() > LENGTH {
        return Err((
            format!("an expression may have {LENGTH} bytes"),
            0..text.len(),
            None,
        ));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        end: text.len(),
        names,
        depth: 0,
        parts: 0,
    };
    let expression = parser.binary(0)?;
    match parser.tokens.get(parser.at) {
        None => Ok(expression),
        Some((token, span)) => Err((format!("{token} was not expected here"), span.clone(), None)),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(Value),
    Name(String),
    Sign(&'static str),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Number(value) => write!(f, "{value}"),
            Token::Name(name) => write!(f, "'{name}'"),
            Token::Sign(sign) => write!(f, "'{sign}'"),
        }
    }
}

const SIGNS: [&str; 15] = [
    "//", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "<", ">", "(", ")", ",",
];

fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Wrong> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (token, length) = if first.is_ascii_digit() {
            number(rest, at)?
        } else if first.is_alphabetic() || first == '_' {
            let end = rest
                .find(|it: char| !(it.is_alphanumeric() || it == '_'))
                .unwrap_or(rest.len());
            (Token::Name(rest[..end].to_owned()), end)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            let help = (first == '=').then(|| "equality is ==".to_owned());
            return Err((
                format!("'{first}' has no meaning in an expression"),
                at..at + first.len_utf8(),
                help,
            ));
        };
        tokens.push((token, at..at + length));
        at += length;
    }
    Ok(tokens)
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Wrong> {
    let mut end = rest
        .find(|it: char| !it.is_ascii_digit())
        .unwrap_or(rest.len());
    let mut fraction = false;
    if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|it: char| it.is_ascii_digit()) {
        fraction = true;
        end += 1;
        end += rest[end..]
            .find(|it: char| !it.is_ascii_digit())
            .unwrap_or(rest.len() - end);
    }
    let exponent = rest[end..].strip_prefix(['e', 'E']);
    if let Some(digits) = exponent.map(|it| it.strip_prefix(['-', '+']).unwrap_or(it))
        && digits.starts_with(|it: char| it.is_ascii_digit())
    {
        fraction = true;
        end = rest.len() - digits.len();
        end += digits
            .find(|it: char| !it.is_ascii_digit())
            .unwrap_or(digits.len());
    }
    let text = &rest[..end];
    let value = if fraction {
        text.parse()
            .ok()
            .filter(|it: &f64| it.is_finite())
            .map(Value::Fraction)
    } else {
        text.parse().ok().map(Value::Whole)
    };
    match value {
        Some(value) => Ok((Token::Number(value), end)),
        None => Err((
            format!("the number {text} is too large"),
            at..at + end,
            None,
        )),
    }
}

struct Parser<'p> {
    tokens: &'p [(Token, Range<usize>)],
    at: usize,
    end: usize,
    names: &'p dyn Names,
    depth: usize,
    parts: usize,
}

/// Binary operators by how tightly they bind, loosest first.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("or", Operator::Or)],
    &[("and", Operator::And)],
    &[
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("//", Operator::FloorDivide),
        ("%", Operator::Remainder),
    ],
];

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn span(&self) -> Range<usize> {
        self.tokens
            .get(self.at)
            .map_or(self.end..self.end, |(_, span)| span.clone())
    }

    fn sign(&mut self, sign: &str) -> bool {
        let here = matches!(self.peek(), Some(Token::Sign(it)) if *it == sign)
            || matches!(self.peek(), Some(Token::Name(it)) if it == sign);
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, sign: &str) -> Result<(), Wrong> {
        if self.sign(sign) {
            return Ok(());
        }
        let found = self.peek().map_or("the end".to_owned(), Token::to_string);
        Err((
            format!("'{sign}' was expected, not {found}"),
            self.span(),
            None,
        ))
    }

    /// One operator or call more.
    fn part(&mut self) -> Result<(), Wrong> {
        self.parts += 1;
        if self.parts > PARTS {
            return Err((
                format!("an expression may have {PARTS} operators and calls"),
                self.span(),
                Some("split it with `let`".to_owned()),
            ));
        }
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Wrong> {
        self.part()?;
        self.depth += 1;
        if self.depth > DEPTH {
            return Err((
                "this expression is nested too deeply".to_owned(),
                self.span(),
                None,
            ));
        }
        Ok(())
    }

    fn binary(&mut self, level: usize) -> Result<Expression, Wrong> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        if level == 2 && self.sign("not") {
            self.deeper()?;
            let inner = self.binary(2)?;
            self.depth -= 1;
            return Ok(fold(Expression::Not(Box::new(inner))));
        }
        let mut left = self.binary(level + 1)?;
        'next: loop {
            for (sign, operator) in *operators {
                if self.sign(sign) {
                    self.part()?;
                    let right = self.binary(level + 1)?;
                    left = fold(Expression::Binary(*operator, Box::new((left, right))));
                    continue 'next;
                }
            }
            return Ok(left);
        }
    }

    fn unary(&mut self) -> Result<Expression, Wrong> {
        if self.sign("-") {
            self.deeper()?;
            let inner = self.unary()?;
            self.depth -= 1;
            return Ok(fold(Expression::Negate(Box::new(inner))));
        }
        let span = self.span();
        match self.peek().cloned() {
            Some(Token::Number(value)) => {
                self.at += 1;
                Ok(Expression::Constant(value))
            }
            Some(Token::Sign("(")) => {
                self.at += 1;
                self.deeper()?;
                let inner = self.binary(0)?;
                self.depth -= 1;
                self.expect(")")?;
                Ok(inner)
            }
            Some(Token::Name(name)) => {
                self.at += 1;
                self.name(&name, span)
            }
            Some(token) => Err((format!("a value was expected, not {token}"), span, None)),
            None => Err((
                "a value was expected, and here is the end".to_owned(),
                span,
                None,
            )),
        }
    }

    fn name(&mut self, name: &str, span: Range<usize>) -> Result<Expression, Wrong> {
        if self.sign("(") {
            return self.call(name, span);
        }
        match name {
            "true" => return Ok(Expression::Constant(Value::Bool(true))),
            "false" => return Ok(Expression::Constant(Value::Bool(false))),
            _ => {}
        }
        self.names.variable(name).ok_or_else(|| {
            let known = self.names.known();
            let help = if self.names.tensor(name).is_some() {
                Some(format!("'{name}' is a tensor: ask for its channels({name}), height({name}) or width({name})"))
            } else {
                suggest(name, known.iter().map(String::as_str))
            };
            (format!("there is no '{name}' here"), span, help)
        })
    }

    fn call(&mut self, name: &str, span: Range<usize>) -> Result<Expression, Wrong> {
        self.deeper()?;
        let axis = match name {
            "channels" => Some(Axis::Channels),
            "height" => Some(Axis::Height),
            "width" => Some(Axis::Width),
            _ => None,
        };
        if let Some(axis) = axis {
            let at = self.span();
            let Some(Token::Name(tensor)) = self.peek().cloned() else {
                return Err((format!("{name}() takes the name of a tensor"), at, None));
            };
            self.at += 1;
            let Some(tensor) = self.names.tensor(&tensor) else {
                let known = self.names.known_tensors();
                let help = suggest(&tensor, known.iter().map(String::as_str));
                return Err((format!("there is no tensor '{tensor}' here"), at, help));
            };
            self.expect(")")?;
            self.depth -= 1;
            return Ok(Expression::Shape(axis, tensor));
        }
        let mut arguments = Vec::new();
        if !self.sign(")") {
            loop {
                arguments.push(self.binary(0)?);
                if !self.sign(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        self.depth -= 1;
        function(name, arguments, span)
    }
}

fn function(
    name: &str,
    arguments: Vec<Expression>,
    span: Range<usize>,
) -> Result<Expression, Wrong> {
    let (function, fits) = match (name, arguments.len()) {
        ("if", _) => {
            return match <[Expression; 3]>::try_from(arguments) {
                Ok([condition, yes, no]) => {
                    Ok(fold(Expression::If(Box::new((condition, yes, no)))))
                }
                Err(_) => Err((
                    "if() takes a condition and two values".to_owned(),
                    span,
                    None,
                )),
            };
        }
        ("min", count) => (Function::Min, count > 0),
        ("max", count) => (Function::Max, count > 0),
        ("ceil", count) => (Function::Ceil, count == 1),
        ("floor", count) => (Function::Floor, count == 1),
        ("round", count) => (Function::Round, count == 1),
        ("sqrt", count) => (Function::Sqrt, count == 1),
        _ => {
            let known = FUNCTIONS
                .iter()
                .filter_map(|(form, _)| form.split('(').next());
            return Err((
                format!("there is no function '{name}'"),
                span,
                suggest(name, known),
            ));
        }
    };
    if !fits {
        let form = FUNCTIONS
            .iter()
            .find(|(form, _)| form.split('(').next() == Some(name));
        let form = form.map_or(name, |(form, _)| form);
        return Err((
            format!("{form} does not take {} values", arguments.len()),
            span,
            None,
        ));
    }
    Ok(fold(Expression::Call(function, arguments)))
}

struct Nothing;

impl Values for Nothing {
    fn local(&mut self, _: u32) -> Result<Option<Value>, String> {
        Ok(None)
    }
    fn index(&self) -> Option<i64> {
        None
    }
    fn classes(&self) -> Option<i64> {
        None
    }
    fn shape(&mut self, _: Tensor) -> Option<Shape> {
        None
    }
}

/// A constant where all parts are constants. What cannot be computed is left, and told in use.
fn fold(expression: Expression) -> Expression {
    match expression.evaluate(&mut Nothing) {
        Ok(Some(value)) => Expression::Constant(value),
        _ => expression,
    }
}

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
    let left = left.evaluate(values)?;
    // A side that decides alone needs no other: `skip and height(x) > 2`.
    match (operator, left) {
        (Operator::And, Some(value)) if !value.truth()? => return Ok(Some(Value::Bool(false))),
        (Operator::Or, Some(value)) if value.truth()? => return Ok(Some(Value::Bool(true))),
        _ => {}
    }
    let right = right.evaluate(values)?;
    match (operator, right) {
        (Operator::And, Some(value)) if !value.truth()? => return Ok(Some(Value::Bool(false))),
        (Operator::Or, Some(value)) if value.truth()? => return Ok(Some(Value::Bool(true))),
        _ => {}
    }
    match (left, right) {
        (Some(left), Some(right)) => apply(operator, left, right).map(Some),
        _ => Ok(None),
    }
}

fn apply(operator: Operator, left: Value, right: Value) -> Result<Value, String> {
    use Operator as O;
    if let (Value::Bool(a), Value::Bool(b)) = (left, right) {
        return match operator {
            O::And => Ok(Value::Bool(a && b)),
            O::Or => Ok(Value::Bool(a || b)),
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
