//! What a file says beside its layers: name, images, classes, parameters.

use std::ops::Range;

use toml::de::DeValue;

use super::Resolver;
use super::scope::{Earlier, Scope};
use crate::diagnostic::suggest;
use crate::document::{Node, Table, integer, text};
use crate::expression::{self, Expression, Value};

/// What a file says beside its layers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    pub name: String,
    pub about: Option<String>,
    pub input: Option<crate::Shape>,
    pub classes: Option<usize>,
    pub notation: Option<(String, Range<usize>)>,
    pub parameters: Vec<(String, Value)>,
    pub distinct: crate::Distinct,
}

impl<'r> Resolver<'r, '_> {
    pub(super) fn header(&mut self, table: &mut Table<'r>) -> Header {
        let mut header = Header::default();
        match table.take("name") {
            Some(node) => {
                header.name = text(node, "`name`", self.report)
                    .unwrap_or_default()
                    .to_owned();
            }
            None => self.report.error(
                0..0,
                "the file has no `name`",
                Some("begin with name = \"...\"".to_owned()),
            ),
        }
        if let Some(node) = table.take("about") {
            header.about = text(node, "`about`", self.report).map(str::to_owned);
        }
        if let Some(node) = table.take("input") {
            header.input = text(node, "`input`", self.report).and_then(|text| {
                let shape = parse_shape(text);
                let shape = match shape {
                    Ok(shape) => Some(shape),
                    Err(message) => {
                        self.report.error(node.span(), message, None);
                        None
                    }
                };
                let likely = shape
                    .filter(|it| it.channels > 4 && it.height > 4 && matches!(it.width, 1 | 3 | 4));
                if let Some(it) = likely {
                    let help = format!(
                        "channels come first: did you mean \"{}x{}x{}\"?",
                        it.width, it.channels, it.height
                    );
                    let message = format!(
                        "`input` is channels x height x width, and this is {} channels",
                        it.channels
                    );
                    self.report.error(node.span(), message, Some(help));
                }
                shape
            });
        }
        if let Some(node) = table.take("classes") {
            header.classes = integer(node.get_ref())
                .and_then(|it| usize::try_from(it).ok())
                .filter(|it| (1..=1_000_000).contains(it));
            if header.classes.is_none() {
                self.report.error(
                    node.span(),
                    "`classes` must be a whole number from 1 to 1,000,000",
                    None,
                );
            }
        }
        if let Some(node) = table.take("notation") {
            header.notation =
                text(node, "`notation`", self.report).map(|text| (text.to_owned(), node.span()));
        }
        header
    }

    pub(super) fn parameters(
        &mut self,
        node: Node<'r>,
        overrides: &[(String, String)],
    ) -> Vec<(String, Value)> {
        let Some(table) = Table::from(node, "[parameters]", self.report) else {
            return Vec::new();
        };
        let mut parameters: Vec<(String, Value)> = Vec::new();
        let place = table.span();
        let entries = table.rest();
        let names: Vec<&str> = entries.iter().map(|(name, ..)| *name).collect();
        for (index, (name, span, node)) in entries.into_iter().enumerate() {
            self.check_name(name, span);
            let value = overrides
                .iter()
                .rev()
                .find(|(it, _)| it == name)
                .map(|(_, text)| text.as_str());
            let value = match value {
                Some(text) => self.override_value(name, text, node.span()),
                None => self.constant(node, &names[index + 1..]),
            };
            self.parameters.insert(name.to_owned(), value);
            parameters.extend(value.map(|value| (name.to_owned(), value)));
        }
        for (name, _) in overrides {
            if !self.parameters.contains_key(name) && self.report.is_clean() {
                let help = suggest(name, self.parameters.keys().map(String::as_str));
                self.report.error(
                    place.clone(),
                    format!("there is no parameter '{name}' to be set"),
                    help,
                );
            }
        }
        parameters
    }

    /// Which architectures are the same.
    pub(super) fn distinct(&mut self, node: Node<'r>) -> crate::Distinct {
        let mut distinct = crate::Distinct::default();
        let Some(mut table) = Table::from(node, "`distinct`", self.report) else {
            return distinct;
        };
        let words = crate::Equivalence::WORDS;
        if let Some(node) = table.take("by")
            && let Some(word) = text(node, "`by`", self.report)
        {
            match words.iter().find(|(it, _)| *it == word) {
                Some((_, by)) => distinct.by = *by,
                None => {
                    let help = suggest(word, words.iter().map(|(it, _)| *it));
                    let message = "`by` must be \"computation\", \"graph\" or \"expression\"";
                    self.report.error(node.span(), message, help);
                }
            }
        }
        if let Some(node) = table.take("with")
            && let Some(with) = Table::from(node, "`with`", self.report)
        {
            for (name, span, node) in with.rest() {
                if !self.parameters.contains_key(name) {
                    let help = suggest(name, self.parameters.keys().map(String::as_str));
                    self.report.error(
                        span,
                        format!("there is no parameter '{name}' to be set"),
                        help,
                    );
                } else if let Some(value) = self.constant(node, &[]) {
                    distinct.with.push((name.to_owned(), value.to_string()));
                }
            }
        }
        table.finish(&["by", "with"], self.report);
        distinct
    }

    fn override_value(&mut self, name: &str, text: &str, span: Range<usize>) -> Option<Value> {
        let names = Earlier {
            parameters: &self.parameters,
            later: &[],
        };
        match expression::parse(text, &names) {
            Ok(Expression::Constant(value)) => Some(value),
            _ => {
                self.report.error(
                    span,
                    format!("'{name}' was set to '{text}', which is no number, true or false"),
                    None,
                );
                None
            }
        }
    }

    /// A parameter's default: a number, a truth value, or an expression of earlier parameters.
    fn constant(&mut self, node: Node<'r>, later: &[&str]) -> Option<Value> {
        let parsed = match node.get_ref() {
            DeValue::String(text) => {
                let names = Earlier {
                    parameters: &self.parameters,
                    later,
                };
                let parsed = expression::parse(text, &names);
                self.parsed(parsed, text, node.span())
            }
            _ => self.expression(node, &Scope::default()),
        };
        match parsed? {
            Expression::Constant(value) => Some(value),
            _ => {
                self.report.error(
                    node.span(),
                    "a parameter's default must be a number, true or false",
                    None,
                );
                None
            }
        }
    }
}

/// The longest side of an image.
const LARGEST: usize = 65_536;

fn parse_shape(text: &str) -> Result<crate::Shape, String> {
    let parts: Vec<&str> = text.split('x').map(str::trim).collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    if parts.len() != 3 || !parts.iter().all(is_number) {
        let message = "`input` must be channels x height x width, such as \"3x32x32\"";
        return Err(message.to_owned());
    }
    let size = |part: &str| match part.parse() {
        Ok(size) if (1..=LARGEST).contains(&size) => Ok(size),
        _ => Err(format!(
            "`input` has sizes from 1 to {LARGEST}, and this has {part}"
        )),
    };
    Ok(crate::Shape {
        channels: size(parts[0])?,
        height: size(parts[1])?,
        width: size(parts[2])?,
    })
}
