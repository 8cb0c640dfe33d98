//! A graph reduced to what it computes.
//!
//! - A layer that changes nothing is taken out: a sum, mean or concatenation of one tensor, a
//!   dropout of rate 0, a ReLU after a ReLU.
//! - Zeros pass through every layer but a biased one, and vanish from sums. (A batch norm of zeros
//!   is its learnt shift, which is taken for zero, as NAS-Bench-201 does.)
//! - A sum of sums is one sum. A concatenation of concatenations is one. (Longer ones than
//!   [`MOST_PARTS`] stay apart, since a chain of n residual blocks would else take n² memory.)
//! - The order of a concatenation counts only where something tells its channels apart: a dense
//!   convolution or a linear layer sees them as a set; a sum, a layer that takes the first channels alone,
//!   a grouped convolution or the network's output does not.
//! - Two layers without weights that do the same to the same input are one.

use std::collections::{BTreeMap, HashMap};

use crate::{Activation, Graph, Layer, NodeId, Shape};

/// A sum or concatenation of more parts than this does not become a part of a larger one.
const MOST_PARTS: usize = 256;

/// A vertex of the reduced graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vertex {
    /// What it does, without names.
    pub(super) label: String,
    /// Where its values come from.
    pub(super) inputs: Inputs,
}

/// The inputs of a vertex, as indices of earlier vertices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Inputs {
    /// Their order counts.
    Ordered(Vec<usize>),
    /// Their order does not, only how often each occurs.
    Multiset(BTreeMap<usize, u64>),
}

/// The reduced graph, in topological order.
#[derive(Debug, Default)]
pub(super) struct Reduced {
    pub(super) vertices: Vec<Vertex>,
    /// The outputs and what they are: the network's own and its auxiliary classifiers.
    pub(super) outputs: Vec<(usize, String)>,
}

/// What a node of the original graph amounts to.
#[derive(Clone)]
enum Value {
    /// Zeros of the node's shape.
    Zero,
    /// One vertex.
    Vertex(usize),
    /// A sum of vertices, each with how often it is added.
    Sum(BTreeMap<usize, u64>),
    /// Vertices one behind the other.
    Concat {
        /// From the first channels to the last.
        parts: Vec<usize>,
        /// Whether anything tells the channels apart.
        ordered: bool,
    },
}

struct Simplifier<'a> {
    graph: &'a Graph,
    values: Vec<Value>,
    reduced: Reduced,
    known: HashMap<Vertex, usize>,
    /// Whether nothing tells the channels of a node apart.
    channels_are_a_set: Vec<bool>,
}

/// Reduces a graph to what it computes.
pub(super) fn simplify(graph: &Graph) -> Reduced {
    let mut simplifier = Simplifier {
        graph,
        values: Vec::with_capacity(graph.nodes.len()),
        reduced: Reduced::default(),
        known: HashMap::new(),
        channels_are_a_set: channels_are_a_set(graph),
    };
    for id in 0..graph.nodes.len() {
        let value = simplifier.value(id);
        simplifier.values.push(value);
    }
    simplifier.finish()
}

impl Simplifier<'_> {
    fn finish(mut self) -> Reduced {
        let output = self.vertex_of(self.graph.output);
        self.reduced.outputs.push((output, "output".to_owned()));
        for auxiliary in &self.graph.auxiliary {
            let vertex = self.vertex_of(auxiliary.node);
            self.reduced
                .outputs
                .push((vertex, format!("auxiliary {}", auxiliary.weight)));
        }
        self.reduced
    }

    fn value(&mut self, id: NodeId) -> Value {
        let node = &self.graph.nodes[id];
        let first = node.inputs.first().copied();
        if self.is_zero(&node.layer, &node.inputs) {
            return Value::Zero;
        }
        match (&node.layer, first) {
            (layer, Some(first)) if self.changes_nothing(layer, first, node.inputs.len()) => {
                self.values[first].clone()
            }
            (Layer::Add, _) => self.sum(id),
            (Layer::Concat, _) => self.concat(id),
            _ => self.opaque(id),
        }
    }

    /// Whether a layer gives out what it takes in.
    fn changes_nothing(&self, layer: &Layer, input: NodeId, inputs: usize) -> bool {
        match layer {
            Layer::Identity => true,
            Layer::Dropout(it) => it.rate == 0.0,
            Layer::DropPath(it) => it.rate == 0.0,
            Layer::Activation(Activation::Relu) => self.is_not_negative(input),
            Layer::Add | Layer::Mean | Layer::Concat => inputs == 1,
            _ => false,
        }
    }

    /// A layer that nothing is known of but what it is.
    fn opaque(&mut self, id: NodeId) -> Value {
        let node = &self.graph.nodes[id];
        let inputs: Vec<usize> = node
            .inputs
            .iter()
            .map(|&input| self.vertex_of(input))
            .collect();
        let (label, inputs) = match &node.layer {
            Layer::Input => (
                format!("input {}", self.graph.input),
                Inputs::Ordered(inputs),
            ),
            layer if layer.is_commutative() => {
                (format!("{layer:?}"), Inputs::Multiset(counted(inputs)))
            }
            layer => (format!("{layer:?}"), Inputs::Ordered(inputs)),
        };
        Value::Vertex(self.vertex(label, inputs, self.is_instance(id)))
    }

    /// Whether a layer gives nothing but zeros for these inputs.
    fn is_zero(&self, layer: &Layer, inputs: &[NodeId]) -> bool {
        let zero = |input: &NodeId| matches!(self.values[*input], Value::Zero);
        match layer {
            Layer::Zero(_) => true,
            Layer::Multiply => inputs.iter().any(zero),
            Layer::Conv(conv) if conv.bias => false,
            Layer::Linear(linear) if linear.bias => false,
            Layer::Activation(Activation::Sigmoid | Activation::HardSigmoid) => false,
            Layer::Input => false,
            _ => inputs.iter().all(zero),
        }
    }

    fn is_not_negative(&self, id: NodeId) -> bool {
        let node = &self.graph.nodes[id];
        match node.layer {
            Layer::Activation(it) => !matches!(it, Activation::Swish | Activation::HardSwish),
            Layer::Identity => self.is_not_negative(node.inputs[0]),
            _ => false,
        }
    }

    /// Whether two copies of a node are two different things: it has weights, or draws at random.
    fn is_instance(&self, id: NodeId) -> bool {
        matches!(
            self.graph.nodes[id].layer,
            Layer::Dropout(_) | Layer::DropPath(_)
        ) || !self.graph.parameters(id).is_empty()
    }

    fn sum(&mut self, id: NodeId) -> Value {
        let mut terms = BTreeMap::new();
        for &input in &self.graph.nodes[id].inputs {
            match self.values[input].clone() {
                Value::Zero => {}
                Value::Sum(inner) if inner.len() <= MOST_PARTS => {
                    inner
                        .into_iter()
                        .for_each(|(term, times)| add(&mut terms, term, times));
                }
                value => {
                    let term = self.materialise(value, self.graph.nodes[input].shape);
                    add(&mut terms, term, 1);
                }
            }
        }
        match terms.iter().next() {
            Some((&term, 1)) if terms.len() == 1 => Value::Vertex(term),
            _ => Value::Sum(terms),
        }
    }

    fn concat(&mut self, id: NodeId) -> Value {
        let mut parts = Vec::new();
        for &input in &self.graph.nodes[id].inputs {
            match self.values[input].clone() {
                Value::Concat { parts: inner, .. } if inner.len() <= MOST_PARTS => {
                    parts.extend(inner);
                }
                value => parts.push(self.materialise(value, self.graph.nodes[input].shape)),
            }
        }
        Value::Concat {
            parts,
            ordered: !self.channels_are_a_set[id],
        }
    }

    fn vertex_of(&mut self, id: NodeId) -> usize {
        self.materialise(self.values[id].clone(), self.graph.nodes[id].shape)
    }

    /// The vertex that stands for a value of this shape.
    fn materialise(&mut self, value: Value, shape: Shape) -> usize {
        match value {
            Value::Vertex(vertex) => vertex,
            Value::Zero => self.vertex(format!("zero {shape}"), Inputs::Ordered(vec![]), false),
            Value::Sum(terms) => self.vertex("add".to_owned(), Inputs::Multiset(terms), false),
            Value::Concat {
                parts,
                ordered: true,
            } => self.vertex("concat".to_owned(), Inputs::Ordered(parts), false),
            Value::Concat {
                parts,
                ordered: false,
            } => self.vertex("concat".to_owned(), Inputs::Multiset(counted(parts)), false),
        }
    }

    /// A new vertex, or the known one that does the same to the same.
    fn vertex(&mut self, label: String, inputs: Inputs, instance: bool) -> usize {
        let vertex = Vertex { label, inputs };
        let next = self.reduced.vertices.len();
        if !instance {
            if let Some(&known) = self.known.get(&vertex) {
                return known;
            }
            self.known.insert(vertex.clone(), next);
        }
        self.reduced.vertices.push(vertex);
        next
    }
}

fn add(terms: &mut BTreeMap<usize, u64>, term: usize, times: u64) {
    let count = terms.entry(term).or_default();
    *count = count.saturating_add(times);
}

fn counted(vertices: impl IntoIterator<Item = usize>) -> BTreeMap<usize, u64> {
    let mut counts = BTreeMap::new();
    vertices
        .into_iter()
        .for_each(|vertex| add(&mut counts, vertex, 1));
    counts
}

/// For each node: whether its channels could come in any order, because a dense layer with weights
/// of its own for each of them is all that ever sees them.
fn channels_are_a_set(graph: &Graph) -> Vec<bool> {
    let mut is_set = vec![true; graph.nodes.len()];
    is_set[graph.output] = false;
    graph
        .auxiliary
        .iter()
        .for_each(|it| is_set[it.node] = false);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let tolerant = match &node.layer {
            Layer::Conv(conv) if conv.groups == 1 => true,
            Layer::Conv(conv) => conv.is_depthwise(graph.input_shape(id)) && is_set[id],
            Layer::Linear(_) => true,
            Layer::Truncate(it) => it.channels == graph.input_shape(id).channels && is_set[id],
            Layer::Add | Layer::Mean | Layer::Multiply => node.inputs.len() == 1 && is_set[id],
            _ => is_set[id],
        };
        node.inputs
            .iter()
            .for_each(|&input| is_set[input] &= tolerant);
    }
    is_set
}
