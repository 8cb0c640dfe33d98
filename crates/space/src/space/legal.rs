//! What can be chosen, given what was chosen before.

use super::Space;
use crate::Choices;
use crate::discover::Guard;

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

impl Space {
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
}

/// Whether all of these conditions hold.
pub(crate) fn hold(guards: &[Guard], prefix: &[u32]) -> bool {
    guards.iter().all(|guard| guard.holds(prefix))
}
