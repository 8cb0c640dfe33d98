//! Conditions on earlier choices, and the expressions that they consist of.

use std::sync::Arc;

use crate::expression::{Expression, Value, Values};

#[derive(Debug, Clone)]
pub(crate) enum Guard {
    /// An expression is true.
    True(Arc<Closure>),
    /// A number of repetitions is larger.
    Beyond(Arc<Closure>, u32),
    /// A decision has an option.
    Chosen(u32, u32),
}

/// An expression with what its names stand for.
#[derive(Debug)]
pub(crate) struct Closure {
    expression: Expression,
    frame: Arc<Frame>,
    /// The operators and names of it, with those of the values that it names.
    pub parts: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    pub slots: Vec<Symbol>,
    pub index: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) enum Symbol {
    Known(Value),
    Unknown,
    /// A decision, with what each of its options is.
    Decision(u32, Arc<[Symbol]>),
    Later(Arc<Closure>),
}

/// A closure seen with the choices made so far.
pub(super) struct Seen<'c> {
    pub frame: &'c Frame,
    pub prefix: &'c [u32],
}

impl Values for Seen<'_> {
    fn local(&mut self, slot: u32) -> Result<Option<Value>, String> {
        let symbol = self.frame.slots.get(slot as usize);
        symbol.map_or(Ok(None), |it| it.value(self.prefix))
    }

    fn index(&self) -> Option<i64> {
        self.frame.index
    }
}

impl Symbol {
    /// Its value with the choices made so far; none where these do not tell it.
    fn value(&self, prefix: &[u32]) -> Result<Option<Value>, String> {
        match self {
            Symbol::Known(value) => Ok(Some(*value)),
            Symbol::Decision(id, options) => {
                let choice = prefix.get(*id as usize);
                let option = choice.and_then(|choice| options.get(*choice as usize));
                option.map_or(Ok(None), |it| it.value(prefix))
            }
            Symbol::Later(closure) => closure.value(prefix),
            Symbol::Unknown => Ok(None),
        }
    }

    /// As [`Closure::parts`].
    pub fn parts(&self) -> usize {
        match self {
            Symbol::Later(closure) => closure.parts,
            Symbol::Decision(_, options) => {
                let computed = options.iter().filter(|it| matches!(it, Symbol::Later(_)));
                computed.map(Symbol::parts).fold(1, usize::saturating_add)
            }
            Symbol::Known(_) | Symbol::Unknown => 1,
        }
    }

    fn known(&self, values: &mut Vec<Value>) {
        match self {
            Symbol::Known(value) => values.push(*value),
            Symbol::Decision(_, options) => options.iter().for_each(|it| it.known(values)),
            Symbol::Later(closure) => closure.known(values),
            Symbol::Unknown => {}
        }
    }

    fn depends(&self, on: &mut Vec<u32>) {
        match self {
            Symbol::Decision(id, options) => {
                if !on.contains(id) {
                    on.push(*id);
                }
                options.iter().for_each(|it| it.depends(on));
            }
            Symbol::Later(closure) => closure.depends(on),
            Symbol::Known(_) | Symbol::Unknown => {}
        }
    }
}

impl Closure {
    pub(super) fn new(expression: &Expression, frame: &Arc<Frame>) -> Arc<Self> {
        let mut slots = Vec::new();
        locals(expression, &mut slots);
        let named = slots
            .iter()
            .map(|slot| frame.slots.get(*slot as usize).map_or(1, Symbol::parts));
        Arc::new(Closure {
            expression: expression.clone(),
            frame: Arc::clone(frame),
            parts: named.fold(expression.size(), usize::saturating_add),
        })
    }

    pub fn value(&self, prefix: &[u32]) -> Result<Option<Value>, String> {
        let mut seen = Seen {
            frame: &self.frame,
            prefix,
        };
        self.expression.evaluate(&mut seen)
    }

    /// The known values that it names, in order.
    pub fn known(&self, values: &mut Vec<Value>) {
        self.symbols().for_each(|it| it.known(values));
    }

    /// The decisions that its value may depend on.
    pub fn depends(&self, on: &mut Vec<u32>) {
        self.symbols().for_each(|it| it.depends(on));
    }

    /// What the names in it stand for.
    fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        let mut slots = Vec::new();
        locals(&self.expression, &mut slots);
        let symbol = |slot: u32| self.frame.slots.get(slot as usize);
        slots.into_iter().filter_map(symbol)
    }
}

fn locals(expression: &Expression, slots: &mut Vec<u32>) {
    match expression {
        Expression::Local(slot) => slots.push(*slot),
        Expression::Not(inner) | Expression::Negate(inner) => locals(inner, slots),
        Expression::Binary(_, sides) => {
            locals(&sides.0, slots);
            locals(&sides.1, slots);
        }
        Expression::If(parts) => {
            locals(&parts.0, slots);
            locals(&parts.1, slots);
            locals(&parts.2, slots);
        }
        Expression::Call(_, arguments) => arguments.iter().for_each(|it| locals(it, slots)),
        _ => {}
    }
}

impl Guard {
    /// Whether it holds; what cannot be known without shapes is taken to hold.
    pub fn holds(&self, prefix: &[u32]) -> bool {
        match self {
            Guard::True(closure) => !matches!(closure.value(prefix), Ok(Some(Value::Bool(false)))),
            Guard::Beyond(closure, index) => match closure.value(prefix) {
                Ok(Some(value)) => value.count().is_ok_and(|count| count > *index as usize),
                _ => true,
            },
            Guard::Chosen(id, option) => prefix.get(*id as usize) == Some(option),
        }
    }

    /// The decisions it depends on.
    pub fn depends(&self, on: &mut Vec<u32>) {
        match self {
            Guard::True(closure) | Guard::Beyond(closure, _) => closure.depends(on),
            Guard::Chosen(id, _) => {
                if !on.contains(id) {
                    on.push(*id);
                }
            }
        }
    }
}
