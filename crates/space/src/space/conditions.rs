//! What the conditions of `require` rule out without saying so, and which of them rules out everything.

use std::ops::Range;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Space, hold};
use crate::Choices;
use crate::require::{sums, uncomputable};

/// As many choices are looked at to find some that a condition cannot be computed for.
const MOST_TRIES: usize = 300;
/// As many conditions are looked at to find one that cannot be met.
const MOST_BLAMED: usize = 20;

impl Space {
    /// A condition of `require` that cannot be computed for some choices (a division by zero), and rules them out
    /// so: its text, such choices, and why; found among some at random.
    #[must_use]
    pub fn uncomputable(&self) -> Option<(&str, Choices, String)> {
        let conditions = &self.program().require;
        if conditions.is_empty() {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        (0..MOST_TRIES).find_map(|_| {
            let choices = self.unrequired(&mut rng)?;
            let (index, reason) = uncomputable(self, &sums(self, &choices))?;
            let text = self.text().get(conditions[index].1.clone())?;
            Some((text, Choices(choices), reason))
        })
    }

    /// Choices at random that need not meet `require`; none where that leads nowhere.
    fn unrequired(&self, rng: &mut impl rand::Rng) -> Option<Vec<u32>> {
        let mut prefix = Vec::new();
        for found in self.found() {
            let active = self.is_active(&prefix);
            let open = |option: &u32| match active {
                true => hold(&found.option_guards[*option as usize], &prefix),
                false => *option == 0,
            };
            let open: Vec<u32> = (0..found.labels.len() as u32).filter(open).collect();
            let last = open.len().checked_sub(1)?;
            prefix.push(open[rng.random_range(0..=last)]);
        }
        Some(prefix)
    }

    /// Why no architecture was found, and the place of it: a decision without an option, the first condition that
    /// cannot be met by itself, or all together.
    pub(super) fn why_none(mut self) -> (Range<usize>, String) {
        let conditions = self.set_required(Vec::new());
        if self.find_first().is_none() {
            return self.dead_end();
        }
        for condition in conditions.iter().take(MOST_BLAMED) {
            self.set_required(vec![condition.clone()]);
            if self.find_first().is_none() {
                let because = self.uncomputable().map(|(_, _, reason)| reason);
                let because = because.map_or_else(String::new, |it| format!(" ({it})"));
                let message = "no architecture was found that meets this condition of `require`";
                return (condition.1.clone(), format!("{message}{because}"));
            }
        }
        let place = match (conditions.first(), conditions.last()) {
            (Some((_, first)), Some((_, last))) => first.start..last.end,
            _ => 0..0,
        };
        let message =
            "no architecture was found that meets the conditions of `require` together".to_owned();
        (place, message)
    }

    /// Puts other conditions in place of those of `require`, which are the answer.
    fn set_required(&mut self, conditions: Conditions) -> Conditions {
        let inner = Arc::get_mut(&mut self.0);
        inner.map_or_else(Vec::new, |inner| {
            std::mem::replace(&mut inner.program.require, conditions)
        })
    }

    /// The first decision that has no option left where all before it have their first.
    fn dead_end(&self) -> (Range<usize>, String) {
        let mut prefix = Vec::new();
        while let Some(found) = self.found().get(prefix.len()) {
            let legal = self.legal(&prefix);
            match legal.iter().position(|legal| *legal) {
                Some(option) => prefix.push(option as u32),
                None => {
                    let message = format!(
                        "no architecture was found: decision {} ({}) has no option that can be chosen",
                        prefix.len(),
                        found.name
                    );
                    return (found.span.clone(), message);
                }
            }
        }
        (0..0, "no architecture was found".to_owned())
    }
}

type Conditions = Vec<(crate::expression::Expression, Range<usize>)>;
