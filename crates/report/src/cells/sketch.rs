//! A cell as boxes and arrows: layers that make up one operation become one box.

use std::collections::{BTreeMap, BTreeSet};

use cellwright_graph::{Graph, Layer, NodeId};

use super::describe::{is_light_node, is_merge, lines};

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Input,
    Operation,
    Merge,
    Output,
}

/// A box of a sketch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SketchBox {
    pub(crate) role: Role,
    pub(crate) lines: Vec<String>,
}

/// Boxes in topological order and the arrows between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sketch {
    pub(crate) boxes: Vec<SketchBox>,
    pub(crate) edges: Vec<(usize, usize)>,
}

impl Sketch {
    /// The sketch of the nodes whose path starts with `group`.
    pub(crate) fn of(graph: &Graph, paths: &[Vec<&str>], group: &[&str]) -> Self {
        let members: Vec<NodeId> = (0..graph.nodes.len())
            .filter(|&id| paths[id].starts_with(group))
            .collect();
        let mut units = Units::new(graph, paths, group, &members);
        units.absorb_light(graph);
        units.into_sketch(graph, &members)
    }

    /// How many tensors it takes.
    pub(crate) fn inputs(&self) -> usize {
        self.boxes
            .iter()
            .filter(|it| it.role == Role::Input)
            .count()
    }

    /// A text that is equal for cells that differ only in projections of their inputs; without `tell_inputs`, also
    /// for those whose inputs are one and the same tensor, as after a stem.
    pub(crate) fn signature(&self, tell_inputs: bool) -> String {
        let is_projection = |index: usize| {
            let sources: Vec<usize> = self
                .edges
                .iter()
                .filter(|edge| edge.1 == index)
                .map(|edge| edge.0)
                .collect();
            let label = &self.boxes[index].lines[0];
            matches!(sources[..], [source] if self.boxes[source].role == Role::Input)
                && (label == "conv 1×1" || label == "factorised reduction")
        };
        let projections: BTreeSet<usize> = (0..self.boxes.len())
            .filter(|&index| is_projection(index))
            .collect();
        // A projection counts as the input that it reads.
        let through = |index: usize| {
            let source = self
                .edges
                .iter()
                .find(|edge| edge.1 == index)
                .map_or(index, |edge| edge.0);
            if projections.contains(&index) {
                source
            } else {
                index
            }
        };
        let counts = |index: &usize| {
            !projections.contains(index) && (tell_inputs || self.boxes[*index].role != Role::Input)
        };
        let kept: Vec<usize> = (0..self.boxes.len()).filter(counts).collect();
        let number = |index: usize| {
            kept.iter()
                .position(|&kept| kept == index)
                .map_or(-1, |at| at as i64)
        };
        let names: Vec<String> = kept
            .iter()
            .map(|&index| self.boxes[index].lines.join(" "))
            .collect();
        let edges: Vec<String> = self
            .edges
            .iter()
            .filter(|edge| !projections.contains(&edge.1))
            .map(|edge| format!("{}>{}", number(through(edge.0)), number(edge.1)))
            .collect();
        format!("{} {}", names.join("|"), edges.join(","))
    }
}

/// Which unit, named by its first node, each node of the cell belongs to.
struct Units {
    unit: BTreeMap<NodeId, NodeId>,
}

impl Units {
    /// Every operation's named group is a unit, every other node is one by itself.
    fn new(graph: &Graph, paths: &[Vec<&str>], group: &[&str], members: &[NodeId]) -> Self {
        let mut unit = BTreeMap::new();
        for &id in members {
            let operation = (group.len() + 1..paths[id].len())
                .map(|length| &paths[id][..length])
                .find(|prefix| is_operation(graph, paths, prefix));
            let first = operation
                .and_then(|prefix| {
                    members
                        .iter()
                        .copied()
                        .find(|&other| paths[other].starts_with(prefix))
                })
                .unwrap_or(id);
            unit.insert(id, first);
        }
        Self { unit }
    }

    /// Normalisation, activation and dropout join the unit before them, or else the one after them, wherever no
    /// other unit looks between the two.
    fn absorb_light(&mut self, graph: &Graph) {
        let nodes: Vec<NodeId> = self.unit.keys().copied().collect();
        for &id in &nodes {
            if !is_light_node(graph, id) || self.unit[&id] != id {
                continue;
            }
            let before = graph.nodes[id]
                .inputs
                .first()
                .and_then(|input| self.unit.get(input))
                .copied();
            if let Some(before) =
                before.filter(|&before| self.consumers(graph, before) == BTreeSet::from([id]))
            {
                self.unit.insert(id, before);
            }
        }
        for &id in nodes.iter().rev() {
            let unit = self.unit[&id];
            if !self
                .nodes(unit)
                .iter()
                .all(|&node| is_light_node(graph, node))
            {
                continue;
            }
            let after: Vec<NodeId> = self.consumers(graph, unit).into_iter().collect();
            if let [after] = after[..]
                && !is_merge(&graph.nodes[after].layer)
            {
                for node in self.nodes(unit) {
                    self.unit.insert(node, after);
                }
            }
        }
    }

    fn nodes(&self, unit: NodeId) -> Vec<NodeId> {
        self.unit
            .iter()
            .filter(|(_, of)| **of == unit)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The units that take something from this one.
    fn consumers(&self, graph: &Graph, unit: NodeId) -> BTreeSet<NodeId> {
        let takes = |id: &NodeId| {
            graph.nodes[*id]
                .inputs
                .iter()
                .any(|input| self.unit.get(input) == Some(&unit))
        };
        self.unit
            .iter()
            .filter(|(id, of)| **of != unit && takes(id))
            .map(|(_, of)| *of)
            .collect()
    }

    fn into_sketch(self, graph: &Graph, members: &[NodeId]) -> Sketch {
        let inside: BTreeSet<NodeId> = members.iter().copied().collect();
        let outside: BTreeSet<NodeId> = members
            .iter()
            .flat_map(|&id| graph.nodes[id].inputs.iter().copied())
            .filter(|input| !inside.contains(input))
            .collect();
        let mut boxes: Vec<SketchBox> = input_names(outside.len())
            .into_iter()
            .map(|name| SketchBox {
                role: Role::Input,
                lines: vec![name],
            })
            .collect();
        let mut index: BTreeMap<NodeId, usize> = outside.iter().copied().zip(0..).collect();
        // A unit stands where its last node stands: all that it takes comes before it.
        let mut units: Vec<(NodeId, NodeId)> = Vec::new();
        for unit in self.unit.values().collect::<BTreeSet<_>>() {
            units.push((self.nodes(*unit).last().copied().unwrap_or(*unit), *unit));
        }
        units.sort_unstable();
        for (_, unit) in &units {
            for node in self.nodes(*unit) {
                index.insert(node, boxes.len());
            }
            boxes.push(unit_box(graph, &self.nodes(*unit)));
        }
        let mut edges = Vec::new();
        for &id in members {
            for input in &graph.nodes[id].inputs {
                let edge = (index[input], index[&id]);
                // A sum may take one tensor twice; an operation that does so takes it once.
                let known = boxes[edge.1].role == Role::Operation && edges.contains(&edge);
                if edge.0 != edge.1 && !known {
                    edges.push(edge);
                }
            }
        }
        let leaves = outputs(graph, &inside);
        if !leaves.is_empty() {
            let sources: BTreeSet<usize> = leaves.iter().map(|leaf| index[leaf]).collect();
            edges.extend(sources.into_iter().map(|source| (source, boxes.len())));
            boxes.push(SketchBox {
                role: Role::Output,
                lines: vec!["output".into()],
            });
        }
        edges.sort_by_key(|edge| (edge.1, edge.0));
        Sketch { boxes, edges }
    }
}

/// Whether a named group is one operation: one tensor in, one out, and nothing added up inside.
fn is_operation(graph: &Graph, paths: &[Vec<&str>], prefix: &[&str]) -> bool {
    let inside: BTreeSet<NodeId> = (0..graph.nodes.len())
        .filter(|&id| paths[id].starts_with(prefix))
        .collect();
    let layer = |id: &NodeId| &graph.nodes[*id].layer;
    let inputs: BTreeSet<NodeId> = inside
        .iter()
        .flat_map(|&id| graph.nodes[id].inputs.iter().copied())
        .filter(|input| !inside.contains(input))
        .collect();
    let adds = inside
        .iter()
        .any(|id| matches!(layer(id), Layer::Add | Layer::Mean));
    let concatenates = inside.iter().any(|id| matches!(layer(id), Layer::Concat));
    let subsamples = inside
        .iter()
        .any(|id| matches!(layer(id), Layer::Subsample(_)));
    inputs.len() == 1
        && outputs(graph, &inside).len() == 1
        && !adds
        && (!concatenates || subsamples)
}

/// The nodes whose tensors leave the group.
fn outputs(graph: &Graph, inside: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let taken: BTreeSet<NodeId> = graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(id, _)| !inside.contains(id))
        .flat_map(|(_, node)| node.inputs.iter().copied())
        .chain([graph.output])
        .collect();
    inside.intersection(&taken).copied().collect()
}

/// Names for the tensors that a cell takes, the oldest first.
fn input_names(count: usize) -> Vec<String> {
    match count {
        1 => vec!["input".into()],
        2 => vec!["previous but one".into(), "previous".into()],
        more => (1..=more).map(|number| format!("input {number}")).collect(),
    }
}

fn unit_box(graph: &Graph, nodes: &[NodeId]) -> SketchBox {
    // A merge with the light layers that follow it.
    let merge = nodes
        .iter()
        .find(|&&id| !is_light_node(graph, id))
        .map(|&id| &graph.nodes[id].layer)
        .filter(|layer| is_merge(layer));
    match merge {
        Some(layer) => {
            let sign = match layer {
                Layer::Add => "+",
                Layer::Multiply => "×",
                other => other.op(),
            };
            SketchBox {
                role: Role::Merge,
                lines: vec![sign.into()],
            }
        }
        None => SketchBox {
            role: Role::Operation,
            lines: lines(graph, nodes),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellwright_graph::{Node, Pool, PoolKind, Shape};

    fn graph(layers: Vec<(&str, Layer, Vec<NodeId>)>) -> Graph {
        let shape = Shape {
            height: 8,
            width: 8,
            channels: 4,
        };
        let node = |(name, layer, inputs): (&str, Layer, Vec<NodeId>)| Node {
            name: name.into(),
            layer,
            inputs: inputs.into(),
            shape,
        };
        Graph {
            output: layers.len() - 1,
            nodes: layers.into_iter().map(node).collect(),
            auxiliary: Vec::new(),
            input: shape,
            classes: 10,
        }
    }

    #[test]
    fn a_sum_of_one_tensor_is_no_circle_and_twice_one_is() {
        let pool = || {
            Layer::Pool(Pool {
                kind: PoolKind::Max,
                kernel: [3; 2],
                stride: [1; 2],
                padding: cellwright_graph::Padding::Same,
            })
        };
        let graph = graph(vec![
            ("image", Layer::Input, vec![]),
            ("cell/one", pool(), vec![0]),
            ("cell/alone", Layer::Add, vec![1]),
            ("cell/two", pool(), vec![2]),
            ("cell/twice", Layer::Add, vec![3, 3]),
            ("cell/joined", Layer::Concat, vec![2, 4]),
        ]);
        let paths: Vec<Vec<&str>> = graph
            .nodes
            .iter()
            .map(|it| it.name.split('/').collect())
            .collect();
        let sketch = Sketch::of(&graph, &paths, &["cell"]);
        let names: Vec<String> = sketch.boxes.iter().map(|it| it.lines.join(" ")).collect();
        assert_eq!(
            names,
            [
                "input",
                "max pool 3×3",
                "max pool 3×3",
                "+",
                "concat",
                "output"
            ]
        );
        assert_eq!(
            sketch.edges,
            [(0, 1), (1, 2), (2, 3), (2, 3), (1, 4), (3, 4), (4, 5)]
        );
    }
}
