//! Conditions over decisions: what `require` may say, and whether it can hold still.

mod kinds;
mod range;

use crate::Space;
use crate::discover::{Decisions, Found, Meaning};
use crate::expression::{Expression, Value, Values};
use crate::program::Program;

pub(crate) use kinds::{check, counted};
use range::{Possible, Range, range};

/// The largest value of an option that `require` may count.
const LARGEST: i64 = 1_000_000_000;

/// The first decision that `require` counts though an option of it has no whole number, by its name, with the place
/// of the condition.
pub(crate) fn uncountable(program: &Program, found: &Decisions) -> Option<(String, Span)> {
    let wrong = |found: &&Found| {
        program.required_names.contains(&found.word)
            && (0..found.labels.len() as u32).any(|option| found.value(option).is_none())
    };
    let word = &found.list.iter().find(wrong)?.word;
    let name = program.required_names.binary_search(word).ok()? as u32;
    let counts = |condition: &Expression| {
        let mut counts = false;
        counted(&mut condition.clone(), &mut |it| counts |= *it == name);
        counts
    };
    let (_, span) = program.require.iter().find(|(it, _)| counts(it))?;
    Some((word.clone(), span.clone()))
}

type Span = std::ops::Range<usize>;

/// Why a condition does not hold whatever is chosen; none where it may.
pub(crate) fn never(condition: &Expression) -> Option<String> {
    match condition.evaluate(&mut Nothing) {
        Ok(Some(Value::Bool(false))) => Some("this never holds, whatever is chosen".to_owned()),
        Ok(_) => None,
        Err(message) => Some(format!("this never holds: {message}")),
    }
}

/// No decision is made.
struct Nothing;

impl Values for Nothing {}

impl Found {
    /// What an option counts in `require`.
    pub(crate) fn value(&self, option: u32) -> Option<i64> {
        match &self.meaning {
            Meaning::Values(values) => match values.get(option as usize)? {
                Some(Value::Bool(truth)) => Some(i64::from(*truth)),
                Some(Value::Whole(value)) => {
                    Some(*value).filter(|it| (-LARGEST..=LARGEST).contains(it))
                }
                _ => None,
            },
            Meaning::Member(..) | Meaning::Callees | Meaning::Tensors(_) => Some(i64::from(option)),
        }
    }
}

/// Which options of the decision after a prefix leave every condition possible. It must be known
/// whether that decision is active.
pub(crate) fn possible(space: &Space, prefix: &[u32], active: bool) -> Vec<bool> {
    let names = &space.program().required_names;
    let mut sums: Vec<(i64, i64)> = vec![(0, 0); names.len()];
    let at = prefix.len();
    let mut own = None;
    for (index, found) in space.found().iter().enumerate() {
        let Ok(name) = names.binary_search(&found.word) else {
            continue;
        };
        if index == at {
            own = Some(name).filter(|_| active);
            continue;
        }
        let (low, high) = match prefix.get(index) {
            Some(_) if !space.is_active(&prefix[..index]) => (0, 0),
            Some(option) => found.value(*option).map_or((0, 0), |it| (it, it)),
            None => {
                let values = (0..found.labels.len() as u32).filter_map(|it| found.value(it));
                // It may turn out inactive, and then it counts nothing.
                let idle = (!found.guards.is_empty()).then_some(0);
                let (mut low, mut high) = (i64::MAX, i64::MIN);
                values.chain(idle).for_each(|value| {
                    low = low.min(value);
                    high = high.max(value);
                });
                (low.min(high), high.max(low))
            }
        };
        sums[name].0 += low;
        sums[name].1 += high;
    }
    let Some(found) = space.found().get(at) else {
        return vec![can_hold(space, &sums)];
    };
    let options = 0..found.labels.len() as u32;
    let Some(name) = own else {
        return vec![can_hold(space, &sums); options.len()];
    };
    let before = sums[name];
    options
        .map(|option| {
            let value = found.value(option).unwrap_or(0);
            sums[name] = (before.0 + value, before.1 + value);
            can_hold(space, &sums)
        })
        .collect()
}

struct Sums<'s>(&'s [i64]);

impl Values for Sums<'_> {
    fn decisions(&self, name: u32) -> Option<Value> {
        self.0.get(name as usize).copied().map(Value::Whole)
    }
}

/// The sums that an architecture has, or would have.
pub(crate) fn sums(space: &Space, choices: &[u32]) -> Vec<i64> {
    let names = &space.program().required_names;
    let mut sums = vec![0; names.len()];
    for (index, (found, option)) in space.found().iter().zip(choices).enumerate() {
        if let Ok(name) = names.binary_search(&found.word)
            && space.is_active(&choices[..index])
        {
            sums[name] += found.value(*option).unwrap_or(0);
        }
    }
    sums
}

/// The first condition that cannot be computed for these sums while all others hold, and why.
pub(crate) fn uncomputable(space: &Space, sums: &[i64]) -> Option<(usize, String)> {
    let mut first = None;
    for (index, (condition, _)) in space.program().require.iter().enumerate() {
        match condition.evaluate(&mut Sums(sums)) {
            Ok(Some(Value::Bool(true))) => {}
            Ok(_) => return None,
            Err(reason) => first = first.or(Some((index, reason))),
        }
    }
    first
}

/// Whether all conditions hold for these sums, exactly. What cannot be computed (a division by zero)
/// does not hold.
pub(crate) fn holds(space: &Space, sums: &[i64]) -> bool {
    let conditions = &space.program().require;
    conditions.iter().all(|(condition, _)| {
        matches!(
            condition.evaluate(&mut Sums(sums)),
            Ok(Some(Value::Bool(true)))
        )
    })
}

fn can_hold(space: &Space, sums: &[(i64, i64)]) -> bool {
    if sums.iter().all(|(low, high)| low == high) {
        let sums: Vec<i64> = sums.iter().map(|(low, _)| *low).collect();
        return holds(space, &sums);
    }
    let sums: Vec<Range> = sums
        .iter()
        .map(|(low, high)| (*low as f64, *high as f64))
        .collect();
    let conditions = &space.program().require;
    conditions
        .iter()
        .all(|(condition, _)| matches!(range(condition, &sums), Possible::Truth(_, true)))
}
