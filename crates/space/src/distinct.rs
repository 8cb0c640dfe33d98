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
    prefix: Vec<u32>,
    /// For each decision of the prefix, and the one after it, the legal options that are still to come,
    /// last first.
    open: Vec<Vec<u32>>,
}

impl Space {
    /// All architectures in the order of their choices. There may be more than can ever be gone through:
    /// see [`Space::count`].
    #[must_use]
    pub fn architectures(&self) -> Architectures<'_> {
        let mut all = Architectures {
            space: self,
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
            let legal = self.space.legal(&self.prefix);
            let options = (0..legal.len() as u32).rev();
            open.extend(options.filter(|option| legal[*option as usize]));
        }
        self.open.push(open);
    }
}

impl Iterator for Architectures<'_> {
    type Item = Choices;

    fn next(&mut self) -> Option<Choices> {
        let decisions = self.space.decisions().len();
        loop {
            match self.open.last_mut()?.pop() {
                Some(_) if self.prefix.len() == decisions => {
                    return Some(Choices(self.prefix.clone()));
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
        }
    }
}
