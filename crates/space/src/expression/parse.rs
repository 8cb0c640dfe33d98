//! From tokens to an expression whose names are resolved; what is constant is computed at once.

use std::ops::Range;

use super::evaluate::fold;
use super::tokens::{Token, tokens};
use super::{Axis, Expression, FUNCTIONS, Function, Names, Operator, Value};
use crate::diagnostic::suggest;

/// What is wrong with an expression: the message, a range of its bytes, and help.
pub(crate) type Wrong = (String, Range<usize>, Option<String>);

/// How deep an expression may be nested.
const DEPTH: usize = 48;
/// How many operators and calls it may have: chains of them are deep trees.
const PARTS: usize = 400;
/// How long its text may be.
const LENGTH: usize = 4096;

/// Parses an expression and resolves its names. None in place of what is wrong with it: it names a value that is
/// wrong, which was told already.
pub(crate) fn parse(text: &str, names: &dyn Names) -> Result<Expression, Option<Wrong>> {
    if text.len() > LENGTH {
        return Err(Some((
            format!("an expression may have {LENGTH} bytes"),
            0..text.len(),
            None,
        )));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        end: text.len(),
        names,
        depth: 0,
        parts: 0,
        names_wrong: false,
    };
    let expression = parser.binary(0)?;
    match parser.tokens.get(parser.at) {
        None if parser.names_wrong => Err(None),
        None => Ok(expression),
        Some((token, span)) => Err(Some((
            format!("{token} was not expected here"),
            span.clone(),
            written_otherwise(token, &tokens),
        ))),
    }
}

/// Help for what other languages write.
fn written_otherwise(token: &Token, tokens: &[(Token, Range<usize>)]) -> Option<String> {
    let Token::Name(name) = token else {
        return None;
    };
    if name == "if" {
        return Some("write if(condition, a, b)".to_owned());
    }
    match (tokens, name.strip_prefix('x')) {
        ([(Token::Number(a), _), _], Some(b)) if b.parse::<u32>().is_ok() => {
            Some(match a.to_string() == b {
                true => format!("write {a} or [{a}, {b}]"),
                false => format!("write [{a}, {b}]"),
            })
        }
        _ => None,
    }
}

struct Parser<'p> {
    tokens: &'p [(Token, Range<usize>)],
    at: usize,
    end: usize,
    names: &'p dyn Names,
    depth: usize,
    parts: usize,
    /// Whether it names a value that is wrong.
    names_wrong: bool,
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
        if let Some(variable) = self.names.variable(name) {
            return Ok(variable);
        }
        if self.names.is_wrong(name) {
            self.names_wrong = true;
            return Ok(Expression::Constant(Value::Whole(0)));
        }
        if let Some((message, help)) = self.names.elsewhere(name) {
            return Err((message, span, Some(help)));
        }
        let known = self.names.known();
        let help = if self.names.tensor(name).is_some() {
            Some(format!(
                "'{name}' is a tensor: ask for its channels({name}), height({name}) or width({name})"
            ))
        } else if matches!(name, "True" | "False") {
            Some(format!("write {}", name.to_lowercase()))
        } else {
            suggest(name, known.iter().map(String::as_str))
        };
        Err((format!("there is no '{name}' here"), span, help))
    }

    fn call(&mut self, name: &str, span: Range<usize>) -> Result<Expression, Wrong> {
        // What its arguments may be is known only of a function that there is.
        if !function_names().any(|it| it == name) {
            return Err(unknown_function(name, span));
        }
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
                let help = match &known[..] {
                    [] => Some("no tensor is known here: ask in a `let` or a layer".to_owned()),
                    [first, ..] if tensor == "last" => {
                        Some(format!("no layer comes before; what comes in is '{first}'"))
                    }
                    known => suggest(&tensor, known.iter().map(String::as_str)),
                };
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

fn function_names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS
        .into_iter()
        .filter_map(|(form, _)| form.split('(').next())
}

fn unknown_function(name: &str, span: Range<usize>) -> Wrong {
    let help = suggest(name, function_names());
    (format!("there is no function '{name}'"), span, help)
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
        _ => return Err(unknown_function(name, span)),
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
