//! The exact number of architectures.
//!
//! Decisions are gone through in order. Of the earlier choices only those are kept that a later
//! decision depends on, with the sums that `require` asks for; how many ways lead to each such state
//! is counted.

use std::collections::HashMap;

use num_bigint::BigUint;
use num_traits::{One, Zero};

use crate::Space;
use crate::require::holds;
use crate::space::hold;

/// As many steps from state to state are made at most.
const MOST_STEPS: usize = 4_000_000;
/// As many states are kept at most: some 200 bytes each.
const MOST_STATES: usize = 500_000;

/// The choices that later decisions depend on, and the sums for `require`.
type State = (Vec<u32>, Vec<i64>);

impl Space {
    /// The exact number of architectures: of choices that differ and are legal. None where the
    /// decisions depend on each other in so many ways that they cannot be counted.
    #[must_use]
    pub fn count(&self) -> Option<BigUint> {
        let decisions = self.decisions();
        if decisions.iter().all(|decision| decision.unconditional) {
            let sizes = decisions.iter().map(|it| it.options.len());
            return Some(sizes.fold(BigUint::one(), |product, size| product * size));
        }
        let needed_until = self.needed_until();
        let names = &self.program().required_names;
        let mut states: HashMap<State, BigUint> = HashMap::new();
        states.insert((Vec::new(), vec![0; names.len()]), BigUint::one());
        let mut live: Vec<usize> = Vec::new();
        let mut prefix: Vec<u32> = vec![0; decisions.len()];
        let mut steps = 0;
        for (at, found) in self.found().iter().enumerate() {
            let required = names.binary_search(&found.word).ok();
            let kept: Vec<bool> = live.iter().map(|id| needed_until[*id] > at).collect();
            let keeps = needed_until[at] > at;
            let mut next: HashMap<State, BigUint> = HashMap::with_capacity(states.len());
            for ((values, sums), ways) in states {
                for (id, value) in live.iter().zip(&values) {
                    prefix[*id] = *value;
                }
                let active = self.is_active(&prefix[..at]);
                let legal = |option: &usize| {
                    if active {
                        hold(&found.option_guards[*option], &prefix[..at])
                    } else {
                        *option == 0
                    }
                };
                let legal = (0..found.labels.len()).filter(legal);
                let values: Vec<u32> = values
                    .iter()
                    .zip(&kept)
                    .filter_map(|(value, kept)| kept.then_some(*value))
                    .collect();
                let required = required.filter(|_| active);
                if !keeps && required.is_none() {
                    // Which option it is makes no difference to what follows.
                    let count = legal.count();
                    steps += 1;
                    if count > 0 {
                        *next.entry((values, sums)).or_insert_with(BigUint::zero) += ways * count;
                    }
                } else {
                    for option in legal {
                        steps += 1;
                        let (mut values, mut sums) = (values.clone(), sums.clone());
                        if keeps {
                            values.push(option as u32);
                        }
                        if let Some(name) = required {
                            sums[name] += found.value(option as u32).unwrap_or(0);
                        }
                        *next.entry((values, sums)).or_insert_with(BigUint::zero) += &ways;
                    }
                }
                if steps > MOST_STEPS || next.len() > MOST_STATES {
                    return None;
                }
            }
            states = next;
            live.retain(|id| needed_until[*id] > at);
            if keeps {
                live.push(at);
            }
        }
        let valid = states
            .into_iter()
            .filter(|((_, sums), _)| holds(self, sums));
        Some(valid.fold(BigUint::zero(), |sum, (_, ways)| sum + ways))
    }

    /// For each decision the last one that depends on its choice; itself where none does.
    fn needed_until(&self) -> Vec<usize> {
        let mut needed: Vec<usize> = (0..self.decisions().len()).collect();
        for (index, found) in self.found().iter().enumerate() {
            let mut on = Vec::new();
            let guards = found.guards.iter().chain(&found.option_guards).flatten();
            guards.for_each(|guard| guard.depends(&mut on));
            for id in on {
                needed[id as usize] = needed[id as usize].max(index);
            }
        }
        needed
    }
}
