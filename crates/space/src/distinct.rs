//! Which architectures of a space are the same, and all of its architectures one by one.

use crate::{Choices, Space};

/// When two architectures count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Equivalence {
    /// They compute the same: sums in any order and nesting, zeros left out, equal layers without
    /// weights merged.
    #[default]
    Computation,
    /// Their graphs are isomorphic: vertices with the same operations, edges without order.
    Graph,
    /// They are the same text when each tensor is written out as an expression.
    Expression,
}

impl Equivalence {
    /// All of them, by the words of a space file.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("computation", Self::Computation),
        ("graph", Self::Graph),
        ("expression", Self::Expression),
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        let of = Self::WORDS.iter().find(|(_, it)| *it == self);
        of.map_or("", |(word, _)| word)
    }
}

/// How a space's distinct architectures are counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distinct {
    /// Which architectures count as one.
    pub by: Equivalence,
    /// Parameters that are set for it, as `--set` would: fewer cells, say.
    pub with: Vec<(String, String)>,
}

/// All architectures of a space; see [`Space::architectures`].
#[derive(Debug)]
pub struct Architectures<'s> {
    space: &'s Space,
    /// What is given of the choices; the others are gone through.
    given: Vec<Option<u32>>,
    prefix: Vec<u32>,
    /// For each decision of the prefix, and the one after it, the legal options that are still to come,
    /// last first.
    open: Vec<Vec<u32>>,
}

/// So much is looked at to find some architectures: at each step the options of a decision, and where there are
/// conditions all decisions, and for each option the parts of all conditions; never less than [`LEAST_WORK`].
const MOST_WORK: usize = 20_000_000;
const LEAST_WORK: usize = 8;

impl Space {
    /// All architectures in the order of their choices. There may be more than can ever be gone through:
    /// see [`Space::count`].
    #[must_use]
    pub fn architectures(&self) -> Architectures<'_> {
        self.architectures_with(vec![None; self.decisions().len()])
    }

    /// All architectures, where these are so many at most and are found soon.
    #[must_use]
    pub fn few_architectures(&self, most: usize) -> Option<Vec<Choices>> {
        let given = vec![None; self.decisions().len()];
        let found = self.first_with(given, most.saturating_add(1))?;
        Some(found).filter(|all| all.len() <= most)
    }

    /// The first architectures, `most` of them, that have what is given of the choices; none where they are not found
    /// soon.
    pub(crate) fn first_with(&self, given: Vec<Option<u32>>, most: usize) -> Option<Vec<Choices>> {
        let options = self.decisions().iter().map(|it| it.options.len()).max();
        let options = options.unwrap_or(0);
        let conditions = &self.program().require;
        let parts: usize = conditions.iter().map(|(it, _)| it.size()).sum();
        let looked_at = match parts {
            0 => options,
            parts => self.decisions().len() + parts.saturating_mul(options),
        };
        let steps = MOST_WORK / looked_at.max(LEAST_WORK);
        let mut all = self.architectures_with(given);
        let mut found = Vec::new();
        for _ in 0..steps {
            match all.step() {
                Some(architecture) => found.extend(architecture),
                None => return Some(found),
            }
            if found.len() == most {
                return Some(found);
            }
        }
        None
    }

    fn architectures_with(&self, given: Vec<Option<u32>>) -> Architectures<'_> {
        let mut all = Architectures {
            space: self,
            given,
            prefix: Vec::new(),
            open: Vec::new(),
        };
        all.descend();
        all
    }
}

impl Architectures<'_> {
    /// Notes what can be chosen after the prefix. A whole architecture has one way on: to be given out.
    fn descend(&mut self) {
        let mut open: Vec<u32> = Vec::new();
        if self.prefix.len() == self.space.decisions().len() {
            open.push(0);
        } else {
            let given = self.given[self.prefix.len()];
            let legal = self.space.legal(&self.prefix);
            let options = (0..legal.len() as u32).rev();
            let is_open =
                |option: &u32| legal[*option as usize] && given.is_none_or(|it| it == *option);
            open.extend(options.filter(is_open));
        }
        self.open.push(open);
    }

    /// Goes one step on, to an architecture or not; none at the end.
    fn step(&mut self) -> Option<Option<Choices>> {
        match self.open.last_mut()?.pop() {
            Some(_) if self.prefix.len() == self.space.decisions().len() => {
                return Some(Some(Choices(self.prefix.clone())));
            }
            Some(option) => {
                self.prefix.push(option);
                self.descend();
            }
            None => {
                self.open.pop();
                self.prefix.pop();
            }
        }
        Some(None)
    }
}

impl Iterator for Architectures<'_> {
    type Item = Choices;

    fn next(&mut self) -> Option<Choices> {
        loop {
            if let Some(choices) = self.step()? {
                return Some(choices);
            }
        }
    }
}
