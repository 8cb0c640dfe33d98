//! The exact number of architectures, and what conditions over decisions leave possible.

use std::collections::HashMap;

use num_bigint::BigUint;
use num_traits::{One, Zero};

use crate::Space;
use crate::expression::{Expression, Operator, Value};

/// As many states are visited at most.
const MOST_STATES: usize = 4_000_000;

/// What a number can still be.
type Range = (f64, f64);

/// What an expression can still be: a number, or a truth value that (can be false, can be true).
enum Possible {
    Number(Range),
    Truth(bool, bool),
}

/// Whether all conditions can hold still after a prefix.
pub(crate) fn possible(space: &Space, prefix: &[u32]) -> bool {
    let program = space.program();
    let mut sums: Vec<Range> = vec![(0.0, 0.0); program.required_names.len()];
    for (index, found) in space.found().iter().enumerate() {
        let Some(name) = &found.given else { continue };
        let Ok(name) = program.required_names.binary_search(name) else {
            continue;
        };
        let range = match prefix.get(index) {
            Some(_) if !space.is_active(&prefix[..index]) => (0.0, 0.0),
            Some(option) => found
                .value(*option)
                .map_or((0.0, 0.0), |value| (value, value)),
            None => {
                let values =
                    (0..found.labels.len() as u32).filter_map(|option| found.value(option));
                // It may turn out inactive, and then it counts nothing.
                let least = if found.guards.is_empty() {
                    f64::INFINITY
                } else {
                    0.0
                };
                values.fold((least, -least), |(low, high), value| {
                    (low.min(value), high.max(value))
                })
            }
        };
        if range.0.is_finite() {
            sums[name].0 += range.0;
            sums[name].1 += range.1;
        }
    }
    holds(space, &sums)
}

fn holds(space: &Space, sums: &[Range]) -> bool {
    space
        .program()
        .require
        .iter()
        .all(|(condition, _)| match range(condition, sums) {
            Some(Possible::Truth(_, can_hold)) => can_hold,
            Some(Possible::Number(_)) => false,
            None => true,
        })
}

fn range(expression: &Expression, sums: &[Range]) -> Option<Possible> {
    use Operator as O;
    Some(match expression {
        Expression::Constant(Value::Bool(truth)) => Possible::Truth(!truth, *truth),
        Expression::Constant(value) => {
            let number = value.number().ok()?;
            Possible::Number((number, number))
        }
        Expression::Decisions(name) => Possible::Number(*sums.get(*name as usize)?),
        Expression::Not(inner) => match range(inner, sums)? {
            Possible::Truth(no, yes) => Possible::Truth(yes, no),
            Possible::Number(_) => return None,
        },
        Expression::Negate(inner) => match range(inner, sums)? {
            Possible::Number((low, high)) => Possible::Number((-high, -low)),
            Possible::Truth(..) => return None,
        },
        Expression::Binary(operator, sides) => {
            match (range(&sides.0, sums)?, range(&sides.1, sums)?) {
                (Possible::Number(a), Possible::Number(b)) => match operator {
                    O::Add => Possible::Number((a.0 + b.0, a.1 + b.1)),
                    O::Subtract => Possible::Number((a.0 - b.1, a.1 - b.0)),
                    O::Multiply => {
                        let all = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
                        let low = all.iter().copied().fold(f64::INFINITY, f64::min);
                        Possible::Number((
                            low,
                            all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                        ))
                    }
                    O::Less => Possible::Truth(a.1 >= b.0, a.0 < b.1),
                    O::LessOrEqual => Possible::Truth(a.1 > b.0, a.0 <= b.1),
                    O::Greater => Possible::Truth(a.0 <= b.1, a.1 > b.0),
                    O::GreaterOrEqual => Possible::Truth(a.0 < b.1, a.1 >= b.0),
                    O::Equal => Possible::Truth(!(a.0 == a.1 && a == b), a.0 <= b.1 && b.0 <= a.1),
                    O::NotEqual => {
                        Possible::Truth(a.0 <= b.1 && b.0 <= a.1, !(a.0 == a.1 && a == b))
                    }
                    _ => return None,
                },
                (Possible::Truth(no, yes), Possible::Truth(or_no, or_yes)) => match operator {
                    O::And => Possible::Truth(no || or_no, yes && or_yes),
                    O::Or => Possible::Truth(no && or_no, yes || or_yes),
                    _ => return None,
                },
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// The part of the earlier choices on which the later decisions depend.
type State = (usize, Vec<u32>, Vec<u64>);

struct Counter<'c> {
    space: &'c Space,
    /// For each decision, the last one that depends on its choice.
    needed_until: Vec<usize>,
    /// The number of its name in `require`, for each decision.
    required: Vec<Option<usize>>,
    known: HashMap<State, BigUint>,
}

impl Space {
    /// The exact number of architectures: of choices that differ and are legal. None where the
    /// decisions depend on each other in so many ways that they cannot be counted.
    #[must_use]
    pub fn count(&self) -> Option<BigUint> {
        let decisions = self.decisions();
        if decisions.iter().all(|decision| decision.unconditional) {
            let product = |product: BigUint, size: usize| product * BigUint::from(size);
            return Some(
                decisions
                    .iter()
                    .map(|it| it.options.len())
                    .fold(BigUint::one(), product),
            );
        }
        let mut needed_until: Vec<usize> = (0..decisions.len()).collect();
        for (index, found) in self.found().iter().enumerate() {
            let mut on = Vec::new();
            let guards = found
                .guards
                .iter()
                .flatten()
                .chain(found.option_guards.iter().flatten());
            guards.for_each(|guard| guard.depends(&mut on));
            for id in on {
                needed_until[id as usize] = needed_until[id as usize].max(index);
            }
        }
        let names = &self.program().required_names;
        let required = |found: &crate::discover::Found| {
            let name = found.given.as_ref()?;
            (!self.program().require.is_empty()).then(|| names.binary_search(name).ok())?
        };
        let mut counter = Counter {
            space: self,
            needed_until,
            required: self.found().iter().map(required).collect(),
            known: HashMap::new(),
        };
        counter.count(&mut Vec::new(), &mut vec![0.0; names.len()])
    }
}

impl Counter<'_> {
    fn count(&mut self, prefix: &mut Vec<u32>, sums: &mut Vec<f64>) -> Option<BigUint> {
        let at = prefix.len();
        let space = self.space;
        if at == space.decisions().len() {
            let sums: Vec<Range> = sums.iter().map(|sum| (*sum, *sum)).collect();
            return Some(if holds(space, &sums) {
                BigUint::one()
            } else {
                BigUint::zero()
            });
        }
        let kept = (0..at).map(|id| {
            if self.needed_until[id] >= at {
                prefix[id]
            } else {
                0
            }
        });
        let key: State = (
            at,
            kept.collect(),
            sums.iter().map(|sum| sum.to_bits()).collect(),
        );
        if let Some(known) = self.known.get(&key) {
            return Some(known.clone());
        }
        if self.known.len() >= MOST_STATES {
            return None;
        }
        let legal = space.legal(prefix);
        let active = space.is_active(prefix);
        let required = self.required[at].filter(|_| active);
        let mut total = BigUint::zero();
        if self.needed_until[at] == at && required.is_none() {
            // Which option it is makes no difference to what follows.
            let count = legal.iter().filter(|legal| **legal).count();
            prefix.push(0);
            total = self.count(prefix, sums)? * BigUint::from(count);
            prefix.pop();
        } else {
            for option in (0..legal.len()).filter(|option| legal[*option]) {
                let value =
                    required.and_then(|name| Some((name, space.found()[at].value(option as u32)?)));
                prefix.push(option as u32);
                if let Some((name, value)) = value {
                    sums[name] += value;
                    total += self.count(prefix, sums)?;
                    sums[name] -= value;
                } else {
                    total += self.count(prefix, sums)?;
                }
                prefix.pop();
            }
        }
        self.known.insert(key, total.clone());
        Some(total)
    }
}
