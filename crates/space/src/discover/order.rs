//! The order of decisions: as they are met, but each after those that it depends on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Found;

/// The number of each decision of the list; none where the order can stay. A decision of a cell is met at
/// the cell's first use, and may depend on what is met before a later one.
///
/// # Errors
/// A decision that depends on itself.
pub(super) fn numbers(list: &[Found]) -> Result<Option<Vec<u32>>, usize> {
    let before: Vec<Vec<u32>> = list
        .iter()
        .map(|found| {
            let mut on = Vec::new();
            let guards = found.guards.iter().chain(&found.option_guards).flatten();
            guards.for_each(|guard| guard.depends(&mut on));
            on
        })
        .collect();
    let later = |(id, before): (usize, &Vec<u32>)| before.iter().any(|it| *it as usize >= id);
    if !before.iter().enumerate().any(later) {
        return Ok(None);
    }
    let mut waits: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); list.len()];
    for (id, before) in before.iter().enumerate() {
        before.iter().for_each(|it| after[*it as usize].push(id));
    }
    let mut numbers = vec![None; list.len()];
    let free = (0..list.len()).filter(|id| waits[*id] == 0);
    let mut open: BinaryHeap<Reverse<usize>> = free.map(Reverse).collect();
    let mut next = 0;
    while let Some(Reverse(id)) = open.pop() {
        numbers[id] = Some(next);
        next += 1;
        for &id in &after[id] {
            waits[id] -= 1;
            if waits[id] == 0 {
                open.push(Reverse(id));
            }
        }
    }
    let waiting = |id: &usize| numbers[*id].is_none();
    let Some(mut stuck) = (0..list.len()).find(waiting) else {
        return Ok(Some(numbers.into_iter().flatten().collect()));
    };
    // From one that waits to one that it waits for, as often as there are decisions: in a circle by then.
    for _ in list {
        let mut on = before[stuck].iter().map(|it| *it as usize);
        stuck = on.find(waiting).unwrap_or(stuck);
    }
    Err(stuck)
}
