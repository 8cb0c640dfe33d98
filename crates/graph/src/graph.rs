//! The graph of one architecture.

use serde::{Deserialize, Serialize};

use crate::{Inputs, Layer, Name, Parameter, Shape};

/// The index of a node in [`Graph::nodes`].
pub type NodeId = usize;

/// One layer of a graph, with its inputs and its output shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Where it stands in the space file, from the outside in: `normal.2/block/sep_conv/conv`.
    pub name: Name,
    /// What it does.
    pub layer: Layer,
    /// The nodes it takes, in order; all have smaller ids.
    pub inputs: Inputs,
    /// The shape of its output for one image.
    pub shape: Shape,
}

/// An auxiliary classifier: a second output whose loss counts during training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Auxiliary {
    /// The node that gives its logits.
    pub node: NodeId,
    /// The weight of its loss beside the network's own.
    pub weight: f64,
}

/// One architecture: layers in topological order, node 0 the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// The layers; inputs always have smaller ids.
    pub nodes: Vec<Node>,
    /// The node that gives the logits.
    pub output: NodeId,
    /// The auxiliary classifiers, in the order of the file.
    pub auxiliary: Vec<Auxiliary>,
    /// The shape of one image.
    pub input: Shape,
    /// The number of classes.
    pub classes: usize,
}

impl Graph {
    /// The shape of a node's first input (of the image, for the image itself).
    #[must_use]
    pub fn input_shape(&self, node: NodeId) -> Shape {
        self.nodes[node]
            .inputs
            .first()
            .map_or(self.input, |&input| self.nodes[input].shape)
    }

    /// The learnable tensors of a node, in order: what networks are built from and what is counted.
    #[must_use]
    pub fn parameters(&self, node: NodeId) -> Vec<Parameter> {
        self.nodes[node].layer.parameters(self.input_shape(node))
    }

    /// The learnable numbers of a node.
    #[must_use]
    pub fn node_params(&self, node: NodeId) -> u64 {
        self.parameters(node)
            .iter()
            .fold(0, |sum: u64, it| sum.saturating_add(it.len()))
    }

    /// Multiply-accumulates of a node for one image.
    #[must_use]
    pub fn node_macs(&self, node: NodeId) -> u64 {
        self.nodes[node]
            .layer
            .macs(self.input_shape(node), self.nodes[node].shape)
    }

    /// The learnable numbers of the whole network; running statistics are not counted, auxiliary
    /// classifiers are.
    #[must_use]
    pub fn params(&self) -> u64 {
        (0..self.nodes.len()).fold(0, |sum: u64, id| sum.saturating_add(self.node_params(id)))
    }

    /// Multiply-accumulates of all convolution and linear layers, forward, for one image; auxiliary
    /// classifiers, which work in training only, are not counted.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let used = self.reachable(&[self.output]);
        (0..self.nodes.len())
            .filter(|&id| used[id])
            .fold(0, |sum: u64, id| sum.saturating_add(self.node_macs(id)))
    }

    /// Floating-point operations, forward, for one image: two for each multiply-accumulate.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.macs().saturating_mul(2)
    }

    /// Which nodes feed one of these, the roots themselves included.
    pub(crate) fn reachable(&self, roots: &[NodeId]) -> Vec<bool> {
        let mut used = vec![false; self.nodes.len()];
        for &root in roots {
            used[root] = true;
        }
        for id in (0..self.nodes.len()).rev() {
            if used[id] {
                for &input in &self.nodes[id].inputs {
                    used[input] = true;
                }
            }
        }
        used
    }
}
