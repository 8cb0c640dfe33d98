//! How often a layer can be repeated.

use std::sync::Arc;

use super::Walker;
use super::guard::{Closure, Frame, Guard};
use super::limits::{MOST_COMBINATIONS, MOST_DECISIONS};
use crate::expression::{Expression, Value};
use crate::program::{Given, Layer};

impl Walker<'_, '_> {
    /// How often a layer can be repeated at most; the number as an expression where it is chosen.
    pub(super) fn repetitions(
        &mut self,
        number: u32,
        layer: &Layer,
        context: u32,
        frame: &Arc<Frame>,
        guards: &[Guard],
    ) -> (u32, Option<Arc<Closure>>) {
        let closure = match &layer.repeat {
            None => return (1, None),
            Some(Given::Expression(expression)) => Closure::new(expression, frame),
            Some(Given::Choose(site)) => {
                let name = format!("{}.repeat", layer.label);
                let symbol = self.value_site(
                    site,
                    (context, number, 0, site.local),
                    false,
                    &name,
                    frame,
                    guards,
                );
                let chosen = Frame {
                    slots: vec![symbol],
                    index: None,
                };
                Closure::new(&Expression::Local(0), &Arc::new(chosen))
            }
            Some(_) => return (1, None),
        };
        let limit = |value: Value| value.count().map_or(0, |it| it.min(MOST_DECISIONS + 1)) as u32;
        match closure.value(&[]) {
            Ok(Some(value)) => return (limit(value), None),
            Ok(None) => {}
            // Told where it is used.
            Err(_) => return (0, None),
        }
        let mut on = Vec::new();
        closure.depends(&mut on);
        let most = self.most(&closure, &on, limit);
        if most.is_none() && self.chooses(layer) {
            let message = "how often a layer with decisions is repeated must follow from parameters and decisions alone";
            self.report.error(layer.span.clone(), message, None);
        }
        (most.unwrap_or(1), Some(closure).filter(|_| !on.is_empty()))
    }

    /// The largest value over all options of the decisions it depends on.
    fn most(&mut self, closure: &Closure, on: &[u32], limit: impl Fn(Value) -> u32) -> Option<u32> {
        let sizes: Vec<usize> = on
            .iter()
            .map(|id| self.decisions.list[*id as usize].labels.len())
            .collect();
        let combinations = sizes
            .iter()
            .try_fold(1usize, |product, size| product.checked_mul(*size))?;
        if combinations > MOST_COMBINATIONS || on.is_empty() {
            return None;
        }
        self.steps += combinations.div_ceil(16);
        let mut prefix = vec![0; self.decisions.list.len()];
        let mut most = None;
        for mut combination in 0..combinations {
            for (id, size) in on.iter().zip(&sizes) {
                prefix[*id as usize] = (combination % size) as u32;
                combination /= size;
            }
            let value = limit(closure.value(&prefix).ok().flatten()?);
            most = most.max(Some(value));
        }
        most
    }
}
