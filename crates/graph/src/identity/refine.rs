//! Colour refinement (Weisfeiler & Leman) of a reduced graph, upwards and downwards.
//!
//! Each vertex starts with the colour of its label. A sweep down the graph gives it the colours of
//! its inputs, a sweep up those of its users; when two sweeps no longer tell more vertices apart,
//! the colours of all vertices together are the graph's.

use xxhash_rust::xxh3::xxh3_128;

use super::simplify::{Inputs, Reduced, Vertex};

/// A vertex's colour.
type Colour = u128;

/// The graph's own colour: equal for graphs that are equal but for the order of their vertices.
pub(super) fn digest(reduced: &Reduced) -> Colour {
    let used = used(reduced);
    let mut colours: Vec<Colour> = reduced
        .vertices
        .iter()
        .map(|it| xxh3_128(it.label.as_bytes()))
        .collect();
    for (vertex, role) in &reduced.outputs {
        colours[*vertex] = mix(&[colours[*vertex], xxh3_128(role.as_bytes())]);
    }
    let mut known = 0;
    loop {
        sweep_down(&reduced.vertices, &mut colours);
        sweep_up(&reduced.vertices, &used, &mut colours);
        let distinct = distinct(&colours, &used);
        if distinct <= known {
            break;
        }
        known = distinct;
    }
    mix_sorted(
        colours
            .iter()
            .zip(&used)
            .filter(|(_, used)| **used)
            .map(|(colour, _)| *colour),
    )
}

/// Which vertices feed an output.
fn used(reduced: &Reduced) -> Vec<bool> {
    let mut used = vec![false; reduced.vertices.len()];
    reduced
        .outputs
        .iter()
        .for_each(|(vertex, _)| used[*vertex] = true);
    for id in (0..reduced.vertices.len()).rev() {
        if used[id] {
            for_each_input(&reduced.vertices[id], |input, _| used[input] = true);
        }
    }
    used
}

fn sweep_down(vertices: &[Vertex], colours: &mut [Colour]) {
    for (id, vertex) in vertices.iter().enumerate() {
        let inputs = match &vertex.inputs {
            Inputs::Ordered(inputs) => mix(&inputs
                .iter()
                .map(|&input| colours[input])
                .collect::<Vec<_>>()),
            Inputs::Multiset(inputs) => mix_sorted(
                inputs
                    .iter()
                    .map(|(&input, &times)| mix(&[colours[input], times.into()])),
            ),
        };
        colours[id] = mix(&[colours[id], inputs]);
    }
}

fn sweep_up(vertices: &[Vertex], used: &[bool], colours: &mut [Colour]) {
    let mut uses: Vec<Vec<Colour>> = vec![Vec::new(); vertices.len()];
    for id in (0..vertices.len()).rev().filter(|&id| used[id]) {
        let users = mix_sorted(uses[id].drain(..));
        colours[id] = mix(&[colours[id], users]);
        let colour = colours[id];
        for_each_input(&vertices[id], |input, how| {
            uses[input].push(mix(&[colour, how]))
        });
    }
}

/// Calls with each input and how it is used: its position where the order counts, else how often.
fn for_each_input(vertex: &Vertex, mut each: impl FnMut(usize, u128)) {
    match &vertex.inputs {
        Inputs::Ordered(inputs) => {
            inputs
                .iter()
                .zip(0..)
                .for_each(|(&input, position)| each(input, position));
        }
        Inputs::Multiset(inputs) => {
            inputs
                .iter()
                .for_each(|(&input, &times)| each(input, times.into()));
        }
    }
}

fn distinct(colours: &[Colour], used: &[bool]) -> usize {
    let mut seen: Vec<Colour> = colours
        .iter()
        .zip(used)
        .filter(|(_, used)| **used)
        .map(|(colour, _)| *colour)
        .collect();
    seen.sort_unstable();
    seen.dedup();
    seen.len()
}

/// One colour for several in this order.
fn mix(parts: &[Colour]) -> Colour {
    const STACK: usize = 4;
    let mut few = [0; 16 * STACK];
    if parts.len() <= STACK {
        let bytes = &mut few[..16 * parts.len()];
        for (chunk, part) in bytes.chunks_exact_mut(16).zip(parts) {
            chunk.copy_from_slice(&part.to_le_bytes());
        }
        return xxh3_128(bytes);
    }
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    xxh3_128(&bytes)
}

/// One colour for several in any order.
fn mix_sorted(parts: impl Iterator<Item = Colour>) -> Colour {
    let mut parts: Vec<Colour> = parts.collect();
    parts.sort_unstable();
    mix(&parts)
}
