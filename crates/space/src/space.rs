//! A space: a file after checking, and everything that can be asked of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt;
use toml::de::DeTable;

use crate::diagnostic::Report;
use crate::discover::{Decisions, Found, Guard, discover};
use crate::expand::{ExpandError, Expansion};
use crate::notation::{Part, template};
use crate::program::Program;
use crate::require::uncountable;
use crate::resolve::{Header, resolve};
use crate::{Choices, Diagnostic, Distinct, Errors, Shape, Sink, Vocabulary};

/// A space file, parsed and checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Space(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    text: String,
    vocabulary: Vocabulary,
    header: Header,
    program: Program,
    found: Decisions,
    decisions: Vec<Decision>,
    template: Option<Vec<Part>>,
    first: Choices,
}

/// One place in a space where something is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Its place, from the cell down through the blocks: `normal/block[2]/left`.
    pub name: String,
    /// What can be chosen, in words.
    pub options: Vec<String>,
    /// Whether it is active whatever is chosen elsewhere, with all options legal.
    pub unconditional: bool,
}

/// Choices that are not an architecture of a space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalChoices {
    /// The number of choices is not that of the decisions.
    #[error("there are {decisions} decisions, and {choices} choices were given")]
    Length {
        /// Decisions of the space.
        decisions: usize,
        /// Choices that were given.
        choices: usize,
    },
    /// An option that cannot be chosen there.
    #[error("option {option} cannot be chosen for decision {index} ({name}): {reason}")]
    Option {
        /// The decision's number.
        index: usize,
        /// Its name.
        name: String,
        /// The option.
        option: u32,
        /// Why not.
        reason: String,
    },
}

/// A file larger than this is no space file.
const LARGEST_FILE: usize = 1 << 20;
/// How often the search for choices that meet all conditions goes back.
const MOST_TRIES: usize = 10_000;

impl Space {
    /// Reads and checks a space file.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place; also that it cannot be read.
    pub fn load(
        path: &Path,
        overrides: &[(String, String)],
        vocabulary: &Vocabulary,
    ) -> Result<Self, Errors> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path, overrides, vocabulary),
            Err(error) => Err(plain(path, format!("cannot be read: {error}"))),
        }
    }

    /// Parses and checks a space file's text. `path` is for errors; `overrides` set parameters.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn parse(
        text: &str,
        path: &Path,
        overrides: &[(String, String)],
        vocabulary: &Vocabulary,
    ) -> Result<Self, Errors> {
        if text.len() > LARGEST_FILE {
            return Err(plain(
                path,
                format!("a space file has at most {LARGEST_FILE} bytes"),
            ));
        }
        let mut report = Report::new(text);
        if let Some(at) = crate::nesting::too_deep(text) {
            report.error(at..at + 1, "this is nested too deeply", None);
            return Err(report.errors(path));
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            report.error(error.span().unwrap_or(0..0), error.message(), None);
        }
        if !report.is_clean() {
            return Err(report.errors(path));
        }
        let (header, program) = resolve(document.get_ref(), overrides, vocabulary, &mut report);
        if !report.is_clean() {
            return Err(report.errors(path));
        }
        let found = discover(&program, &mut report);
        if let Some(name) = uncountable(&program, &found)
            && let Some((_, span)) = program.require.first()
        {
            let message = format!(
                "`require` counts decision '{name}', whose options must then be whole numbers, true or false"
            );
            report.error(span.clone(), message, None);
        }
        let names: Vec<&str> = found.list.iter().map(|it| it.name.as_str()).collect();
        let mut parts = None;
        if let Some((notation, span)) = &header.notation {
            match template(notation, &names) {
                Ok(found) => parts = Some(found),
                Err(message) => report.error(span.clone(), message, None),
            }
        }
        if !report.is_clean() {
            return Err(report.errors(path));
        }
        let decisions = found.list.iter().map(|it| decision(it, &program)).collect();
        let inner = Inner {
            path: path.to_owned(),
            text: text.to_owned(),
            vocabulary: vocabulary.clone(),
            header,
            program,
            found,
            decisions,
            template: parts,
            first: Choices::default(),
        };
        Space(Arc::new(inner)).with_first()
    }

    /// Finds the first architecture, to know that there is one.
    fn with_first(mut self) -> Result<Self, Errors> {
        let first = self.complete(Vec::new(), MOST_TRIES, &mut |_| 0);
        match (first, Arc::get_mut(&mut self.0)) {
            (Some(first), Some(inner)) => {
                inner.first = first;
                Ok(self)
            }
            _ => {
                let mut report = Report::new(self.text());
                let (span, message) = match self.program().require.first() {
                    Some((_, span)) => (
                        span.clone(),
                        "no architecture was found that meets the conditions of `require`",
                    ),
                    None => (
                        0..0,
                        "there is no architecture: some decision has no option that can be chosen",
                    ),
                };
                report.error(span, message, None);
                Err(report.errors(&self.0.path))
            }
        }
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What the space is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.header.name
    }

    /// One line about it.
    #[must_use]
    pub fn about(&self) -> Option<&str> {
        self.0.header.about.as_deref()
    }

    /// The images that it is meant for.
    #[must_use]
    pub fn default_input(&self) -> Option<Shape> {
        self.0.header.input
    }

    /// The number of classes that it is meant for.
    #[must_use]
    pub fn default_classes(&self) -> Option<usize> {
        self.0.header.classes
    }

    /// Which of its architectures count as one, as its file says.
    #[must_use]
    pub fn distinct(&self) -> &Distinct {
        &self.0.header.distinct
    }

    /// Its parameters with the values that are set, as text.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, String)> {
        self.0
            .header
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_string()))
    }

    /// The decisions, in order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.0.decisions
    }

    pub(crate) fn template(&self) -> Option<&[Part]> {
        self.0.template.as_deref()
    }

    pub(crate) fn found(&self) -> &[Found] {
        &self.0.found.list
    }

    pub(crate) fn program(&self) -> &Program {
        &self.0.program
    }

    /// Whether a decision is active: reachable with what is chosen before it. `prefix` holds one
    /// choice for each decision before.
    #[must_use]
    pub fn is_active(&self, prefix: &[u32]) -> bool {
        let Some(found) = self.0.found.list.get(prefix.len()) else {
            return false;
        };
        found.guards.is_empty() || found.guards.iter().any(|all| hold(all, prefix))
    }

    /// Which options can be chosen for the decision after `prefix`. Where it is not active, option 0
    /// alone. Empty past the last decision.
    #[must_use]
    pub fn legal(&self, prefix: &[u32]) -> Vec<bool> {
        let Some(found) = self.0.found.list.get(prefix.len()) else {
            return Vec::new();
        };
        let count = found.labels.len();
        let active = self.is_active(prefix);
        let open = |option: usize| {
            if active {
                hold(&found.option_guards[option], prefix)
            } else {
                option == 0
            }
        };
        if self.0.program.require.is_empty() {
            return (0..count).map(open).collect();
        }
        let possible = crate::require::possible(self, prefix, active);
        (0..count)
            .map(|option| possible[option] && open(option))
            .collect()
    }

    /// Checks that choices are an architecture of this space.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, choices: &Choices) -> Result<(), IllegalChoices> {
        let decisions = self.decisions();
        if choices.0.len() != decisions.len() {
            return Err(IllegalChoices::Length {
                decisions: decisions.len(),
                choices: choices.0.len(),
            });
        }
        for (index, decision) in decisions.iter().enumerate() {
            let option = choices.0[index];
            if decision.unconditional && (option as usize) < decision.options.len() {
                continue;
            }
            let prefix = &choices.0[..index];
            if self.legal(prefix).get(option as usize) != Some(&true) {
                let reason = if option as usize >= decision.options.len() {
                    format!("there are {} options", decision.options.len())
                } else if !self.is_active(prefix) {
                    "what is chosen before makes it inactive, and then it is 0".to_owned()
                } else {
                    "what is chosen before rules it out".to_owned()
                };
                return Err(IllegalChoices::Option {
                    index,
                    name: decision.name.clone(),
                    option,
                    reason,
                });
            }
        }
        Ok(())
    }

    /// The choices with the first legal option everywhere.
    #[must_use]
    pub fn first(&self) -> Choices {
        self.0.first.clone()
    }

    /// An architecture at random: each decision uniform over its legal options. Where the conditions of
    /// the space are so narrow that none is found so, the first one.
    #[must_use]
    pub fn sample(&self, rng: &mut impl rand::Rng) -> Choices {
        let prefix = Vec::with_capacity(self.decisions().len());
        let mut pick = |count| rng.random_range(0..count);
        self.complete(prefix, MOST_TRIES, &mut pick)
            .unwrap_or_else(|| self.first())
    }

    /// Decides what a prefix leaves open, `pick` one of so many legal options. Where a condition of the
    /// space leaves nothing legal, it goes back, so many times at most. None: nothing was found.
    fn complete(
        &self,
        mut prefix: Vec<u32>,
        mut tries: usize,
        pick: &mut dyn FnMut(usize) -> usize,
    ) -> Option<Choices> {
        let decisions = self.decisions();
        let start = prefix.len();
        // What was tried and found to lead nowhere, for each open decision.
        let mut tried: Vec<Vec<u32>> = Vec::new();
        while prefix.len() < decisions.len() {
            let decision = &decisions[prefix.len()];
            let depth = prefix.len() - start;
            if decision.unconditional && tried.get(depth).is_none_or(Vec::is_empty) {
                prefix.push(pick(decision.options.len()) as u32);
                continue;
            }
            tried.resize(tried.len().max(depth + 1), Vec::new());
            let legal = self.legal(&prefix);
            let open: Vec<u32> = (0..legal.len() as u32)
                .filter(|option| legal[*option as usize] && !tried[depth].contains(option))
                .collect();
            if open.is_empty() {
                tries = tries.checked_sub(1)?;
                tried[depth].clear();
                let last = prefix.pop().filter(|_| depth > 0)?;
                tried.resize(tried.len().max(depth), Vec::new());
                tried[depth - 1].push(last);
                continue;
            }
            prefix.push(open[pick(open.len())]);
        }
        Some(Choices(prefix))
    }

    /// An architecture that differs in one active decision, picked at random with its new option; what
    /// follows keeps its choices where they are legal still. The same again where nothing can differ.
    #[must_use]
    pub fn mutate(&self, choices: &Choices, rng: &mut impl rand::Rng) -> Choices {
        let mut open: Vec<usize> = (0..self.decisions().len()).collect();
        while !open.is_empty() {
            let index = open.swap_remove(rng.random_range(0..open.len()));
            let mut others = self.alternatives(choices, index);
            while !others.is_empty() {
                let option = others.swap_remove(rng.random_range(0..others.len()));
                if let Some(changed) = self.changed(choices, index, option) {
                    return changed;
                }
            }
        }
        choices.clone()
    }

    /// All architectures that differ in one active decision; what follows keeps its choices where they
    /// are legal still.
    #[must_use]
    pub fn neighbours(&self, choices: &Choices) -> Vec<Choices> {
        let each = |index| {
            let others = self.alternatives(choices, index);
            others
                .into_iter()
                .filter_map(move |option| self.changed(choices, index, option))
        };
        (0..self.decisions().len()).flat_map(each).collect()
    }

    /// The other options that a decision could have.
    fn alternatives(&self, choices: &Choices, index: usize) -> Vec<u32> {
        let (Some(prefix), Some(now)) = (choices.0.get(..index), choices.0.get(index)) else {
            return Vec::new();
        };
        if self.decisions()[index].unconditional {
            return (0..self.decisions()[index].options.len() as u32)
                .filter(|it| it != now)
                .collect();
        }
        // Without regard to conditions over all decisions: later ones may be repaired.
        let found = &self.0.found.list[index];
        if !self.is_active(prefix) {
            return Vec::new();
        }
        let legal =
            |option: &u32| option != now && hold(&found.option_guards[*option as usize], prefix);
        (0..found.labels.len() as u32).filter(legal).collect()
    }

    fn changed(&self, choices: &Choices, index: usize, option: u32) -> Option<Choices> {
        let mut changed = choices.0.get(..index)?.to_vec();
        if !self.decisions()[index].unconditional
            && self.legal(&changed).get(option as usize) != Some(&true)
        {
            return None;
        }
        changed.push(option);
        while changed.len() < choices.0.len() {
            let old = choices.0[changed.len()];
            if self.decisions()[changed.len()].unconditional {
                changed.push(old);
                continue;
            }
            let legal = self.legal(&changed);
            let first = legal.iter().position(|legal| *legal)?;
            let kept = legal.get(old as usize) == Some(&true);
            changed.push(if kept { old } else { first as u32 });
        }
        Some(Choices(changed))
    }

    /// Builds an architecture: hands its layers to a sink in order.
    ///
    /// # Errors
    /// The layer that cannot be built, and why.
    pub fn expand<S: Sink>(
        &self,
        choices: &Choices,
        input: S::Node,
        classes: usize,
        sink: &mut S,
    ) -> Result<S::Node, Errors> {
        if let Err(error) = self.check(choices) {
            return Err(plain(&self.0.path, error.to_string()));
        }
        let inner = &*self.0;
        let mut expansion = Expansion::new(
            &inner.program,
            &inner.vocabulary,
            &inner.found,
            choices,
            classes,
            sink,
        );
        expansion.run(input).map_err(|error| {
            let ExpandError {
                layer,
                span,
                message,
            } = *error;
            let mut report = Report::new(&self.0.text);
            let message = format!("layer {}: {message}", short(&layer));
            report.error(span, message, None);
            report.errors(&self.0.path)
        })
    }

    /// An error about what the network gives, at the place of its last layer.
    #[must_use]
    pub fn output_error(&self, message: impl Into<String>) -> Errors {
        let program = self.program();
        let network = program.definitions.get(program.network);
        let last = network.and_then(|it| it.layers.last());
        let mut report = Report::new(&self.0.text);
        report.error(last.map_or(0..0, |it| it.span.clone()), message, None);
        report.errors(&self.0.path)
    }
}

/// A layer's path for an error: the ends of a long one, as blocks that use themselves have it.
fn short(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [first, second, .., last] if parts.len() > 8 => {
            format!("{first}/{second}/.../{last} ({} levels)", parts.len())
        }
        _ => path.to_owned(),
    }
}

pub(crate) fn hold(guards: &[Guard], prefix: &[u32]) -> bool {
    guards.iter().all(|guard| guard.holds(prefix))
}

fn decision(found: &Found, program: &Program) -> Decision {
    let free = found.guards.is_empty() && found.option_guards.iter().all(Vec::is_empty);
    let required = found
        .given
        .as_ref()
        .is_some_and(|name| program.required_names.contains(name));
    Decision {
        name: found.name.clone(),
        options: found.labels.clone(),
        unconditional: free && (program.require.is_empty() || !required),
    }
}

/// An error about a file as a whole.
fn plain(path: &Path, message: String) -> Errors {
    Errors {
        path: path.to_owned(),
        diagnostics: vec![Diagnostic {
            line: 1,
            column: 1,
            source: String::new(),
            width: 1,
            message,
            help: None,
        }],
    }
}
