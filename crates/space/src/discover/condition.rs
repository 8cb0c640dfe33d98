//! Options that can be chosen only where a condition holds.

use std::sync::Arc;

use super::guard::{Closure, Frame, Guard};
use super::limits::MOST_PARTS;
use super::{Found, Walker};
use crate::expression::{Expression, Value};
use crate::program::Site;

impl Walker<'_, '_> {
    /// Adds the guards of the options that have conditions.
    pub(super) fn conditions(&mut self, site: &Site, found: &mut Found, frame: &Arc<Frame>) {
        for (option, condition) in site.conditions.iter().enumerate() {
            if let Some(condition) = condition {
                found.option_guards[option] = self.condition(condition, frame, site);
            }
        }
    }

    /// The guard of an option with a condition; none where it always holds.
    fn condition(&mut self, condition: &Expression, frame: &Arc<Frame>, site: &Site) -> Vec<Guard> {
        let closure = Closure::new(condition, frame);
        self.entangled |= closure.parts > MOST_PARTS;
        let mut on = Vec::new();
        closure.depends(&mut on);
        let message = match closure.value(&[]) {
            Ok(Some(Value::Bool(true))) => return Vec::new(),
            Ok(Some(Value::Bool(false))) => None,
            Ok(Some(_)) => Some("the condition of an option must be true or false"),
            _ if on.is_empty() => {
                Some("the condition of an option must follow from parameters and decisions alone")
            }
            _ => None,
        };
        if let Some(message) = message {
            self.report.error(site.span.clone(), message, None);
        }
        vec![Guard::True(closure)]
    }
}

/// Whether the options of a cell's decision have the same conditions at two places of use: the known
/// values in them, and the decisions that they depend on, are all that can differ.
pub(super) fn alike(one: &[Vec<Guard>], other: &[Vec<Guard>]) -> bool {
    let known = |guards: &[Vec<Guard>]| {
        let (mut values, mut on) = (Vec::new(), Vec::new());
        for guard in guards.iter().flatten() {
            if let Guard::True(closure) = guard {
                closure.known(&mut values);
            }
            guard.depends(&mut on);
        }
        (values, on)
    };
    known(one) == known(other)
}
