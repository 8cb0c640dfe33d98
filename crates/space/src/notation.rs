//! The published notation of a space's architectures: a template over its decisions.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{Choices, Space};

/// As many architectures are looked at to find an ambiguous notation.
const AMBIGUOUS_TRIES: usize = 300;

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

    /// An architecture whose notation could be another's too, found among some at random; none where there is no
    /// notation.
    #[must_use]
    pub fn ambiguous_notation(&self) -> Option<Choices> {
        self.template()?;
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut some = (0..AMBIGUOUS_TRIES).map(|_| self.sample(&mut rng));
        some.find(|choices| self.parse_notation(&self.notation(choices)).is_err())
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

    /// The choices of an architecture that is written in the space's notation, or else as a list of option
    /// indices. What the notation leaves out must follow from the rest.
    ///
    /// # Errors
    /// Where the text departs from the notation, and what was expected there; also that it could be several
    /// architectures.
    pub fn parse_notation(&self, text: &str) -> Result<Choices, NotationError> {
        let wrong = |reason: String| NotationError {
            text: text.to_owned(),
            reason,
        };
        let list = text.parse::<Choices>();
        let Some(parts) = self.template() else {
            let choices = list.map_err(|error| wrong(error.to_string()))?;
            let checked = self.check(&choices);
            checked.map_err(|error| wrong(error.to_string()))?;
            return Ok(choices);
        };
        let mut reading = Reading::new(self, parts);
        reading.read(text);
        // A notation may begin or end with spaces; else they say nothing.
        if reading.found.is_empty() && text.trim().len() < text.len() {
            reading.read(text.trim());
        }
        match (&reading.found[..], list) {
            ([one, other, ..], _) => Err(wrong(format!(
                "it could be {one} or {other}{}; give one of these lists of option numbers as the choices",
                self.difference(one, other)
            ))),
            _ if reading.steps > MOST_STEPS => Err(wrong(
                "it can be read in too many ways; give a list of option numbers as the choices"
                    .to_owned(),
            )),
            ([only], _) => Ok(only.clone()),
            (_, Ok(choices)) if choices.0.len() == self.decisions().len() => {
                let checked = self.check(&choices);
                checked.map_err(|error| wrong(error.to_string()))?;
                Ok(choices)
            }
            _ => Err(wrong(reading.reason)),
        }
    }
}

impl Space {
    /// The first decision in which two architectures differ, with the options that it has in them.
    fn difference(&self, one: &Choices, other: &Choices) -> String {
        let mut pairs = self.decisions().iter().zip(one.0.iter().zip(&other.0));
        let differing = pairs.find(|(_, (one, other))| one != other);
        differing.map_or_else(String::new, |(decision, (&one, &other))| {
            let (name, options) = (&decision.name, &decision.options);
            let (one, other) = (&options[one as usize], &options[other as usize]);
            format!(", where {name} is {one} or {other}")
        })
    }
}

/// More steps than this are not made to read a text; beyond them, it is not known what it is.
const MOST_STEPS: usize = 100_000;
/// Looking for what is left out takes as long as so many.
const STEPS_TO_FIND: usize = 1_000;

/// The ways to read a text in a space's notation, until two are found.
struct Reading<'s> {
    space: &'s Space,
    parts: &'s [Part],
    choices: Vec<u32>,
    known: Vec<bool>,
    found: Vec<Choices>,
    steps: usize,
    /// What is wrong where the text was read furthest, and how much was left there.
    reason: String,
    left: usize,
}

/// A decision on the way through a text.
struct Fork<'t> {
    /// Its part, and the text from there on.
    at: usize,
    rest: &'t str,
    index: usize,
    /// Whether it was known before, and as what.
    before: (bool, u32),
    /// The option that is tried next.
    option: usize,
    /// Whether the text begins with an option.
    fits: bool,
}

impl<'s> Reading<'s> {
    fn new(space: &'s Space, parts: &'s [Part]) -> Self {
        let decisions = space.decisions().len();
        Reading {
            space,
            parts,
            choices: vec![0; decisions],
            known: vec![false; decisions],
            found: Vec::new(),
            steps: 0,
            reason: String::new(),
            left: usize::MAX,
        }
    }

    fn wrong(&mut self, rest: &str, reason: impl FnOnce() -> String) {
        if rest.len() < self.left {
            self.left = rest.len();
            self.reason = reason();
        }
    }

    /// Reads a text as all the parts.
    fn read(&mut self, text: &str) {
        let parts = self.parts;
        // The decisions on the way whose other options are still to be tried; a list, since there may be more than
        // calls can lie in each other.
        let mut way: Vec<Fork<'_>> = Vec::new();
        let mut next = Some((0, text));
        loop {
            let Some((at, rest)) = next else {
                let Some(fork) = way.last_mut() else {
                    return;
                };
                next = self.try_next(fork);
                if next.is_none() {
                    way.pop();
                }
                continue;
            };
            self.steps += 1;
            if self.found.len() > 1 || self.steps > MOST_STEPS {
                return;
            }
            next = None;
            match parts.get(at) {
                None if rest.is_empty() => self.end(),
                None => self.wrong(rest, || format!("'{}' is too much", excerpt(rest))),
                Some(Part::Text(plain)) => match rest.strip_prefix(plain.as_str()) {
                    Some(rest) => next = Some((at + 1, rest)),
                    None => self.wrong(rest, || {
                        format!("'{plain}' was expected at '{}'", excerpt(rest))
                    }),
                },
                Some(Part::Decision(index)) => way.push(Fork {
                    at,
                    rest,
                    index: *index,
                    before: (self.known[*index], self.choices[*index]),
                    option: 0,
                    fits: false,
                }),
            }
        }
    }

    /// Takes the next option of a decision that the text begins with: the part after it, and the text left for
    /// it. None where there is none left.
    fn try_next<'t>(&mut self, fork: &mut Fork<'t>) -> Option<(usize, &'t str)> {
        let index = fork.index;
        let options = &self.space.decisions()[index].options;
        (self.known[index], self.choices[index]) = fork.before;
        while let Some(label) = options.get(fork.option) {
            let option = fork.option as u32;
            fork.option += 1;
            let Some(rest) = fork.rest.strip_prefix(label.as_str()) else {
                continue;
            };
            fork.fits = true;
            if fork.before.0 && fork.before.1 != option {
                self.wrong(rest, || {
                    format!("decision {index} is given twice, differently")
                });
                continue;
            }
            (self.known[index], self.choices[index]) = (true, option);
            return Some((fork.at + 1, rest));
        }
        if !fork.fits {
            self.wrong(fork.rest, || {
                let all = options.join(", ");
                format!("one of {all} was expected at '{}'", excerpt(fork.rest))
            });
        }
        None
    }

    /// All of the text is read: what it leaves out is looked for.
    fn end(&mut self) {
        if self.known.iter().all(|known| *known) {
            let choices = Choices(self.choices.clone());
            match self.space.check(&choices) {
                Ok(()) => self.found.push(choices),
                Err(wrong) => self.wrong("", || wrong.to_string()),
            }
            return;
        }
        let choices = self.choices.iter().zip(&self.known);
        let given = choices.map(|(choice, known)| known.then_some(*choice));
        self.steps += STEPS_TO_FIND;
        match self.space.first_with(given.collect(), 2) {
            Some(found) if found.is_empty() => self.wrong("", || {
                "no choice of what the notation leaves out makes it one".to_owned()
            }),
            Some(found) => self.found.extend(found),
            None => self.steps = MOST_STEPS + 1,
        }
    }
}

fn excerpt(text: &str) -> &str {
    let end = text.char_indices().nth(24).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
