//! How many tensors a layer gives, as conditions on earlier choices.

use std::sync::Arc;

use super::guard::{Closure, Frame, Guard, Symbol};
use crate::expression::{Expression, Value};

/// What must hold for the tensors of a layer to be there. Where its `when` is false, it gives one alone: the first.
pub(super) struct Existence {
    when: Option<Arc<Closure>>,
    repeat: Option<Arc<Closure>>,
    /// How many there are, where there may be none.
    count: Option<Arc<Closure>>,
}

impl Existence {
    /// Of a layer with a condition that choices decide, repeated `most` times, or as `repeat` says.
    pub fn new(when: Option<Arc<Closure>>, most: u32, repeat: Option<Arc<Closure>>) -> Self {
        let count = match (&when, &repeat) {
            (None, repeat) => repeat.clone(),
            (Some(_), None) if most > 0 => None,
            (Some(when), repeat) => {
                let given = repeat
                    .clone()
                    .map_or(Symbol::Known(Value::Whole(i64::from(most))), Symbol::Later);
                let frame = Frame {
                    slots: vec![Symbol::Later(Arc::clone(when)), given],
                    index: None,
                };
                let [when, given] = [Expression::Local(0), Expression::Local(1)];
                let one = Expression::Constant(Value::Whole(1));
                let count = Expression::If(Box::new((when, given, one)));
                Some(Closure::new(&count, &Arc::new(frame)))
            }
        };
        Existence {
            when,
            repeat,
            count,
        }
    }

    /// Whether there is a tensor though the layer is never applied.
    pub fn passes_on(&self) -> bool {
        self.when.is_some()
    }

    /// Of a tensor of a repetition, the first of all or not.
    pub fn of(&self, instance: u32, first: bool) -> Vec<Guard> {
        if first {
            let count = self.count.iter();
            return count.map(|it| Guard::Beyond(Arc::clone(it), 0)).collect();
        }
        let when = self.when.iter().map(|it| Guard::True(Arc::clone(it)));
        let repeat = self.repeat.iter();
        let repeat = repeat.map(|it| Guard::Beyond(Arc::clone(it), instance));
        when.chain(repeat).collect()
    }
}
