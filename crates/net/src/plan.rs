//! A graph as a list of operations, in which chains of layers that one operation can do are one step.

use cellwright_graph::{Activation, Conv, DropPath, Graph, Layer, NodeId};

/// One operation of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The node whose value the step computes.
    pub output: NodeId,
    /// What it does.
    pub kind: Kind,
    /// Values that no later step reads.
    pub last_use: Vec<NodeId>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Units of [ReLU →] convolution [→ 1×1 convolution] [→ batch norm [→ ReLU]], one upon the other.
    Chain {
        /// The value that the first unit takes.
        input: NodeId,
        /// The units.
        units: Vec<Unit>,
        /// What is added at the end.
        residual: Option<Residual>,
    },
    /// Batch norm, with the ReLU after it.
    BatchNorm {
        /// The batch norm's node.
        norm: NodeId,
        /// Whether a ReLU follows.
        relu: bool,
    },
    /// A sum, with the drop paths before it.
    Sum(Vec<Branch>),
    /// The layer of the output's node as it is.
    Layer,
}

/// One unit of a chain: the nodes it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// A ReLU before the convolution.
    pub relu_before: bool,
    /// The convolution.
    pub conv: NodeId,
    /// A 1×1 convolution after a depthwise one.
    pub pointwise: Option<NodeId>,
    /// The batch norm.
    pub norm: Option<NodeId>,
    /// A ReLU after the batch norm.
    pub relu_after: bool,
}

/// A sum with another value, at the end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residual {
    /// The other value.
    pub input: NodeId,
    /// A ReLU after the sum.
    pub relu: bool,
}

/// One term of a sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// The value.
    pub input: NodeId,
    /// The drop path and its node, if one is before the sum.
    pub drop_path: Option<(NodeId, DropPath)>,
}

impl Step {
    /// The values that the step reads.
    #[must_use]
    pub fn inputs(&self, graph: &Graph) -> Vec<NodeId> {
        match &self.kind {
            Kind::Chain {
                input, residual, ..
            } => {
                let residual = residual.iter().map(|it| it.input);
                [*input].into_iter().chain(residual).collect()
            }
            Kind::BatchNorm { norm, .. } => graph.nodes[*norm].inputs.to_vec(),
            Kind::Sum(branches) => branches.iter().map(|branch| branch.input).collect(),
            Kind::Layer => graph.nodes[self.output].inputs.to_vec(),
        }
    }
}

/// The steps of a graph. With `fuse` false each layer is a step of its own.
#[must_use]
pub fn plan(graph: &Graph, fuse: bool) -> Vec<Step> {
    let mut planner = Planner::new(graph, fuse);
    let mut steps = Vec::new();
    for node in 0..graph.nodes.len() {
        if !planner.done[node] && graph.nodes[node].layer != Layer::Input {
            let step = planner.step(node);
            steps.push(step);
        }
    }
    // A step takes the place of its last layer, so that all its inputs come before it.
    steps.sort_by_key(|step| step.output);
    mark_last_uses(graph, &mut steps);
    steps
}

struct Planner<'g> {
    graph: &'g Graph,
    fuse: bool,
    /// The nodes that read each node.
    readers: Vec<Vec<NodeId>>,
    /// Whether a node's value is needed as it is: an output.
    kept: Vec<bool>,
    done: Vec<bool>,
}

impl<'g> Planner<'g> {
    fn new(graph: &'g Graph, fuse: bool) -> Self {
        let mut readers = vec![Vec::new(); graph.nodes.len()];
        for (id, node) in graph.nodes.iter().enumerate() {
            for &input in &node.inputs {
                readers[input].push(id);
            }
        }
        let mut kept = vec![false; graph.nodes.len()];
        kept[graph.output] = true;
        for auxiliary in &graph.auxiliary {
            kept[auxiliary.node] = true;
        }
        Planner {
            graph,
            fuse,
            readers,
            kept,
            done: vec![false; graph.nodes.len()],
        }
    }

    /// The step that begins with a node.
    fn step(&mut self, node: NodeId) -> Step {
        let found = if self.fuse { self.fused(node) } else { None };
        let (output, kind) = found.unwrap_or((node, Kind::Layer));
        self.done[output] = true;
        Step {
            output,
            kind,
            last_use: Vec::new(),
        }
    }

    fn fused(&mut self, node: NodeId) -> Option<(NodeId, Kind)> {
        match &self.graph.nodes[node].layer {
            Layer::Conv(_) | Layer::Activation(Activation::Relu) => self.chain(node),
            Layer::BatchNorm(_) => {
                let relu = self
                    .only_reader(node)
                    .filter(|&reader| self.is_relu(reader));
                // A ReLU before a convolution is the convolution's.
                let relu = relu.filter(|&relu| {
                    self.only_reader(relu)
                        .is_none_or(|next| !self.is_conv(next))
                });
                self.done[node] = true;
                Some((
                    relu.unwrap_or(node),
                    Kind::BatchNorm {
                        norm: node,
                        relu: relu.is_some(),
                    },
                ))
            }
            Layer::DropPath(_) => {
                // Done by the sum that reads it.
                let sum = self.only_reader(node)?;
                (self.graph.nodes[sum].layer == Layer::Add).then(|| self.sum(sum))
            }
            Layer::Add => Some(self.sum(node)),
            _ => None,
        }
    }

    fn sum(&mut self, sum: NodeId) -> (NodeId, Kind) {
        let inputs = self.graph.nodes[sum].inputs.to_vec();
        let mut branch = |input: NodeId| {
            let node = &self.graph.nodes[input];
            match &node.layer {
                Layer::DropPath(drop) if !self.kept[input] && self.readers[input] == [sum] => {
                    self.done[input] = true;
                    Branch {
                        input: node.inputs[0],
                        drop_path: Some((input, *drop)),
                    }
                }
                _ => Branch {
                    input,
                    drop_path: None,
                },
            }
        };
        let branches = inputs.into_iter().map(&mut branch).collect();
        self.done[sum] = true;
        (sum, Kind::Sum(branches))
    }

    /// As many units as follow each other, each read by the next alone.
    fn chain(&mut self, first: NodeId) -> Option<(NodeId, Kind)> {
        let (mut output, unit) = self.unit(first)?;
        let input = self.graph.nodes[first].inputs[0];
        let mut units = vec![unit];
        while let Some(next) = self.only_reader(output)
            && let Some((end, unit)) = self.unit(next)
        {
            units.push(unit);
            output = end;
        }
        // A ReLU at the end that no convolution takes up.
        if let Some(last) = units.last_mut()
            && last.norm.is_some()
            && let Some(relu) = self
                .only_reader(output)
                .filter(|&reader| self.is_relu(reader))
        {
            last.relu_after = true;
            self.done[relu] = true;
            output = relu;
        }
        let normalised = units
            .last()
            .is_some_and(|it| it.norm.is_some() && !it.relu_after);
        let found = if normalised {
            self.residual(output)
        } else {
            None
        };
        let (output, residual) = found.map_or((output, None), |(end, it)| (end, Some(it)));
        let kind = Kind::Chain {
            input,
            units,
            residual,
        };
        Some((output, kind))
    }

    /// The sum of a chain's output with one other value, if no other step has it already.
    fn residual(&mut self, node: NodeId) -> Option<(NodeId, Residual)> {
        let sum = self.only_reader(node).filter(|&sum| !self.done[sum])?;
        let graph = self.graph;
        let input = match graph.nodes[sum].inputs[..] {
            [a, b] if a == node => b,
            [a, b] if b == node => a,
            _ => return None,
        };
        let drops = matches!(graph.nodes[input].layer, Layer::DropPath(_));
        if graph.nodes[sum].layer != Layer::Add || input == node || drops {
            return None;
        }
        self.done[sum] = true;
        let relu = self.only_reader(sum).filter(|&reader| self.is_relu(reader));
        if let Some(relu) = relu {
            self.done[relu] = true;
        }
        let residual = Residual {
            input,
            relu: relu.is_some(),
        };
        Some((relu.unwrap_or(sum), residual))
    }

    /// The unit that begins with a node, and its last node.
    fn unit(&mut self, first: NodeId) -> Option<(NodeId, Unit)> {
        let relu_before = self.is_relu(first);
        let conv = if relu_before {
            self.only_reader(first)?
        } else {
            first
        };
        let layer = self.conv(conv).filter(|layer| !layer.bias)?;
        let mut output = conv;
        let mut pointwise = None;
        let depthwise = layer.is_depthwise(self.graph.input_shape(conv));
        if depthwise
            && let Some(next) = self.only_reader(output)
            && self.conv(next).is_some_and(is_pointwise)
        {
            pointwise = Some(next);
            output = next;
        }
        let norm = self
            .only_reader(output)
            .filter(|&next| matches!(self.graph.nodes[next].layer, Layer::BatchNorm(_)));
        output = norm.unwrap_or(output);
        // A plain convolution alone is not worth a chain.
        if norm.is_none() && pointwise.is_none() && !relu_before {
            return None;
        }
        for node in [Some(first), Some(conv), pointwise, norm]
            .into_iter()
            .flatten()
        {
            self.done[node] = true;
        }
        Some((
            output,
            Unit {
                relu_before,
                conv,
                pointwise,
                norm,
                relu_after: false,
            },
        ))
    }

    fn only_reader(&self, node: NodeId) -> Option<NodeId> {
        match self.readers[node][..] {
            [reader] if !self.kept[node] => Some(reader),
            _ => None,
        }
    }

    fn is_relu(&self, node: NodeId) -> bool {
        self.graph.nodes[node].layer == Layer::Activation(Activation::Relu)
    }

    fn is_conv(&self, node: NodeId) -> bool {
        self.conv(node).is_some_and(|conv| !conv.bias)
    }

    fn conv(&self, node: NodeId) -> Option<&'g Conv> {
        match &self.graph.nodes[node].layer {
            Layer::Conv(conv) => Some(conv),
            _ => None,
        }
    }
}

fn is_pointwise(conv: &Conv) -> bool {
    !conv.bias
        && conv.groups == 1
        && conv.kernel == [1, 1]
        && conv.stride == [1, 1]
        && conv.padding.sides(conv.kernel, conv.dilation) == [0; 4]
}

/// Notes at each step the values that are read there for the last time.
fn mark_last_uses(graph: &Graph, steps: &mut [Step]) {
    let mut seen = vec![false; graph.nodes.len()];
    seen[graph.output] = true;
    for auxiliary in &graph.auxiliary {
        seen[auxiliary.node] = true;
    }
    for step in steps.iter_mut().rev() {
        for input in step.inputs(graph) {
            if !seen[input] {
                seen[input] = true;
                step.last_use.push(input);
            }
        }
    }
}
