//! TOML tables with their places: entries in the order of the file, unknown keys refused.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Report, suggest};

/// A value with its place.
pub(crate) type Node<'d> = &'d Spanned<DeValue<'d>>;

/// The entries of a table that have not been taken yet, in the order of the file.
pub(crate) struct Table<'d> {
    entries: Vec<(&'d str, Range<usize>, Node<'d>)>,
    span: Range<usize>,
}

impl<'d> Table<'d> {
    pub fn new(table: &'d DeTable<'d>, span: Range<usize>) -> Self {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Table { entries, span }
    }

    /// A value as a table, or an error.
    pub fn from(node: Node<'d>, what: &str, report: &mut Report<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(table) => Some(Table::new(table, node.span())),
            other => {
                report.error(
                    node.span(),
                    format!("{what} must be a table, and this is {}", kind(other)),
                    None,
                );
                None
            }
        }
    }

    /// A table without entries.
    pub fn nothing() -> Self {
        Table {
            entries: Vec::new(),
            span: 0..0,
        }
    }

    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(it, ..)| *it == key)
    }

    /// Takes an entry out.
    pub fn take(&mut self, key: &str) -> Option<Node<'d>> {
        let at = self.entries.iter().position(|(it, ..)| *it == key)?;
        Some(self.entries.remove(at).2)
    }

    /// What has not been taken.
    pub fn rest(self) -> Vec<(&'d str, Range<usize>, Node<'d>)> {
        self.entries
    }

    /// Refuses what has not been taken.
    pub fn finish(self, known: &[&str], report: &mut Report<'_>) {
        for (key, span, _) in self.entries {
            report.error(
                span,
                format!("there is no key '{key}' here"),
                suggest(key, known.iter().copied()),
            );
        }
    }
}

/// A value in an error: itself where it is short, else what it is.
pub(crate) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 40 => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Array(items) => format!("a list of {}", items.len()),
        other => kind(other).to_owned(),
    }
}

/// What a value is, in words.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A text, or an error.
pub(crate) fn text<'d>(node: Node<'d>, what: &str, report: &mut Report<'_>) -> Option<&'d str> {
    match node.get_ref() {
        DeValue::String(text) => Some(text.as_ref()),
        other => {
            report.error(
                node.span(),
                format!("{what} must be a text, and this is {}", kind(other)),
                None,
            );
            None
        }
    }
}

/// The elements of a list, or an error.
pub(crate) fn list<'d>(
    node: Node<'d>,
    what: &str,
    report: &mut Report<'_>,
) -> Option<Vec<Node<'d>>> {
    match node.get_ref() {
        DeValue::Array(array) => Some(array.iter().collect()),
        other => {
            report.error(
                node.span(),
                format!("{what} must be a list, and this is {}", kind(other)),
                None,
            );
            None
        }
    }
}

/// A whole number as TOML writes it.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A fraction as TOML writes it; not infinite.
pub(crate) fn fraction(value: &DeValue<'_>) -> Option<f64> {
    value
        .as_float()?
        .as_str()
        .parse()
        .ok()
        .filter(|it: &f64| it.is_finite())
}
