//! The published notation of a space's architectures: a template over its decisions.

use crate::{Choices, Space};

/// A text that is not an architecture in the space's notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an architecture of this space: {reason}")]
pub struct NotationError {
    /// The text.
    pub text: String,
    /// What does not fit, and what was expected.
    pub reason: String,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    /// The option of a decision.
    Decision(usize),
}

/// Splits a template into its parts. `{0}` is a decision by its number, `{normal/block[2]/left}` by its
/// full name, `{left}` by the last part of it where no other decision has the same, `{{` a brace.
pub(crate) fn template(text: &str, names: &[&str]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let end = match (brace, rest.find('}')) {
            ("{", Some(end)) => end,
            _ => {
                return Err(
                    "a brace that is not closed or opened; a plain one is written twice".to_owned(),
                );
            }
        };
        let word = &rest[..end];
        rest = &rest[end + 1..];
        let number = word.parse().ok().filter(|number| *number < names.len());
        let found = match number.or_else(|| names.iter().position(|name| *name == word)) {
            Some(found) => found,
            None => by_last_part(word, names)?,
        };
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Decision(found));
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// The only decision whose name ends with this part.
fn by_last_part(word: &str, names: &[&str]) -> Result<usize, String> {
    let ends = |name: &str| {
        let before = name.strip_suffix(word).filter(|_| !word.is_empty());
        before.is_some_and(|it| it.ends_with(['/', '.']))
    };
    let found: Vec<usize> = (0..names.len()).filter(|&it| ends(names[it])).collect();
    let listed = |all: &mut dyn Iterator<Item = &&str>| {
        let first: Vec<&str> = all.take(8).copied().collect();
        first.join(", ")
    };
    match found[..] {
        [only] => Ok(only),
        [] => Err(format!(
            "'{{{word}}}' is no decision; there are {}, by their numbers from 0 or their names: {}",
            names.len(),
            listed(&mut names.iter())
        )),
        _ => Err(format!(
            "'{{{word}}}' is {} decisions; write the full name of one: {}",
            found.len(),
            listed(&mut found.iter().map(|&it| &names[it]))
        )),
    }
}

impl Space {
    /// The numbers of the decisions with several options that the space's notation leaves out: without
    /// them a text in it may not say which architecture is meant. None where there is no notation.
    #[must_use]
    pub fn left_out_of_notation(&self) -> Vec<usize> {
        let Some(parts) = self.template() else {
            return Vec::new();
        };
        let decisions = self.decisions().iter().enumerate();
        decisions
            .filter(|(index, it)| it.options.len() > 1 && !parts.contains(&Part::Decision(*index)))
            .map(|(index, _)| index)
            .collect()
    }

    /// Fills in what a notation leaves out, where only one option can be chosen.
    fn fill_in(&self, choices: &mut [u32], known: &[bool]) -> Result<(), String> {
        for index in (0..choices.len()).filter(|&index| !known[index]) {
            let legal = self.legal(&choices[..index]);
            let mut open = (0..legal.len()).filter(|&option| legal[option]);
            match (open.next(), open.next()) {
                (Some(only), None) => choices[index] = only as u32,
                (None, _) => return Err(format!("nothing can be chosen for decision {index}")),
                _ => {
                    return Err(format!(
                        "the notation leaves decision {index} ({}) out, which could be {}; give a list of option numbers",
                        self.decisions()[index].name,
                        self.decisions()[index].options.join(" or ")
                    ));
                }
            }
        }
        Ok(())
    }

    /// The architecture in the space's notation; without one, the list of option indices.
    #[must_use]
    pub fn notation(&self, choices: &Choices) -> String {
        let Some(parts) = self.template() else {
            return choices.to_string();
        };
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Decision(index) => {
                    let choice = choices.0.get(*index).copied().unwrap_or(0) as usize;
                    let decision = self.decisions().get(*index);
                    text.push_str(
                        decision
                            .and_then(|it| it.options.get(choice))
                            .map_or("?", String::as_str),
                    );
                }
            }
        }
        text
    }

    /// The choices of an architecture that is written in the space's notation, or as a list of option
    /// indices. A decision that the notation leaves out must have one legal option.
    ///
    /// # Errors
    /// Where the text departs from the notation, and what was expected there.
    pub fn parse_notation(&self, text: &str) -> Result<Choices, NotationError> {
        let wrong = |reason: String| NotationError {
            text: text.to_owned(),
            reason,
        };
        let choices = match (self.template(), text.parse::<Choices>()) {
            (Some(parts), Err(_)) => self.match_template(parts, text).map_err(wrong)?,
            (None, Err(error)) => return Err(wrong(error.to_string())),
            (_, Ok(choices)) => choices,
        };
        self.check(&choices)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(choices)
    }

    fn match_template(&self, parts: &[Part], text: &str) -> Result<Choices, String> {
        let mut choices = vec![0; self.decisions().len()];
        let mut known = vec![false; choices.len()];
        let mut rest = text.trim();
        for part in parts {
            match part {
                Part::Text(plain) => {
                    rest = rest
                        .strip_prefix(plain.as_str())
                        .ok_or_else(|| format!("'{plain}' was expected at '{}'", excerpt(rest)))?;
                }
                Part::Decision(index) => {
                    let options = &self.decisions()[*index].options;
                    // The longest option that fits: one may begin with another.
                    let fitting = options
                        .iter()
                        .enumerate()
                        .filter(|(_, label)| rest.starts_with(label.as_str()));
                    let Some((choice, label)) = fitting.max_by_key(|(_, label)| label.len()) else {
                        return Err(format!(
                            "one of {} was expected at '{}'",
                            options.join(", "),
                            excerpt(rest)
                        ));
                    };
                    if known[*index] && choices[*index] != choice as u32 {
                        return Err(format!("decision {index} is given twice, differently"));
                    }
                    known[*index] = true;
                    choices[*index] = choice as u32;
                    rest = &rest[label.len()..];
                }
            }
        }
        if !rest.is_empty() {
            return Err(format!("'{}' is too much", excerpt(rest)));
        }
        self.fill_in(&mut choices, &known)?;
        Ok(Choices(choices))
    }
}

fn excerpt(text: &str) -> &str {
    let end = text.char_indices().nth(24).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
