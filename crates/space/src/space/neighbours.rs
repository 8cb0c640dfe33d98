//! Architectures that differ in one decision.

use rand::RngExt;

use super::{Space, hold};
use crate::Choices;

impl Space {
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
}
