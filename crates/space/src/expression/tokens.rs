//! An expression's text as tokens: numbers, names and signs, each with its place.

use std::ops::Range;

use super::Value;
use super::parse::Wrong;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
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

pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Wrong> {
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
