//! Puts a graph together layer by layer, inferring shapes on the way.

use std::fmt;

use crate::name::Names;
use crate::{Auxiliary, Error, Graph, Inputs, Layer, Mismatch, Name, Node, NodeId, Shape};

/// The most layers a graph may have.
pub const MAX_LAYERS: usize = 1 << 20;

/// The most multiply-accumulates for one image, of all layers together. Parameters are hardly more than
/// these, so all counts of a graph fit 64 bits and are exact.
pub const MAX_MACS: u64 = 1 << 60;

/// The largest weight of an auxiliary classifier's loss, beside the network's own with 1.
pub const MAX_WEIGHT: f64 = 100.0;

/// Room for the layers of most networks, so that growing does not move them.
const USUAL_LAYERS: usize = 384;

/// A graph under construction; node 0 is the image.
///
/// ```
/// use cellwright_graph::{Builder, Layer, Linear, Shape};
///
/// let mut builder = Builder::new(Shape { height: 8, width: 8, channels: 3 }, 10);
/// let pooled = builder.layer("pool", Layer::GlobalAveragePool, &[0])?;
/// let logits = builder.layer("head", Layer::Linear(Linear { units: 10, bias: true }), &[pooled])?;
/// let graph = builder.finish(logits)?;
/// assert_eq!(graph.params(), 40);
/// # Ok::<(), cellwright_graph::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    /// The names of the nodes, which have none themselves yet.
    names: Names,
    nodes: Vec<Node>,
    /// Multiply-accumulates of all nodes.
    macs: u64,
    auxiliary: Vec<Auxiliary>,
    input: Shape,
    classes: usize,
}

impl Builder {
    /// Starts with the image alone.
    #[must_use]
    pub fn new(input: Shape, classes: usize) -> Self {
        let image = Node {
            name: Name::default(),
            layer: Layer::Input,
            inputs: Inputs::from(&[][..]),
            shape: input,
        };
        let mut names = Names::with_capacity(USUAL_LAYERS);
        names.push("input");
        let mut nodes = Vec::with_capacity(USUAL_LAYERS);
        nodes.push(image);
        Self {
            names,
            nodes,
            macs: 0,
            auxiliary: Vec::new(),
            input,
            classes,
        }
    }

    /// Adds a layer on earlier nodes and answers with its node. An identity is not added: it
    /// answers with its input.
    ///
    /// # Errors
    /// [`Error::Shape`] when the layer cannot take its inputs, or the network grows too large with it:
    /// beyond [`MAX_LAYERS`] or [`MAX_MACS`].
    pub fn layer(
        &mut self,
        name: impl fmt::Display,
        layer: Layer,
        inputs: &[NodeId],
    ) -> Result<NodeId, Error> {
        let shape = match self.infer(&layer, inputs) {
            Ok(shape) => shape,
            Err(mismatch) => return Err(self.wrong(&name, &layer, inputs, mismatch)),
        };
        if matches!(layer, Layer::Identity) {
            return Ok(inputs[0]);
        }
        let first = inputs.first().map_or(self.input, |&id| self.shape(id));
        let macs = self.macs.saturating_add(layer.macs(first, shape));
        if macs > MAX_MACS {
            let mismatch = Mismatch::new(
                "the network has more than 2^60 multiply-accumulates an image with it",
                "use fewer filters, smaller kernels or smaller images",
            );
            return Err(self.wrong(&name, &layer, inputs, mismatch));
        }
        if !self.names.push(&name) {
            let mismatch = Mismatch::new(
                "the names of all layers are too long".to_owned(),
                "use shorter names",
            );
            return Err(self.wrong(&name, &layer, inputs, mismatch));
        }
        self.macs = macs;
        self.nodes.push(Node {
            name: Name::default(),
            layer,
            inputs: inputs.into(),
            shape,
        });
        Ok(self.nodes.len() - 1)
    }

    fn wrong(
        &self,
        name: &impl fmt::Display,
        layer: &Layer,
        inputs: &[NodeId],
        mismatch: Mismatch,
    ) -> Error {
        let input = |&id: &NodeId| (self.names.get(id).to_owned(), self.nodes[id].shape);
        Error::Shape {
            layer: name.to_string(),
            op: layer.op().to_owned(),
            inputs: inputs.iter().map(input).collect(),
            mismatch,
        }
    }

    fn infer(&self, layer: &Layer, inputs: &[NodeId]) -> Result<Shape, Mismatch> {
        if self.nodes.len() >= MAX_LAYERS {
            return Err(Mismatch::new(
                format!("the network has more than {MAX_LAYERS} layers"),
                "repeat less",
            ));
        }
        match inputs {
            [one] => layer.infer(&[self.nodes[*one].shape]),
            [a, b] => layer.infer(&[self.nodes[*a].shape, self.nodes[*b].shape]),
            _ => layer.infer(
                &inputs
                    .iter()
                    .map(|&id| self.nodes[id].shape)
                    .collect::<Vec<_>>(),
            ),
        }
    }

    /// What a node is called.
    pub(crate) fn name(&self, node: NodeId) -> &str {
        self.names.get(node)
    }

    /// The shape of a node's output.
    #[must_use]
    pub fn shape(&self, node: NodeId) -> Shape {
        self.nodes[node].shape
    }

    /// Makes a node's output an auxiliary classifier.
    ///
    /// # Errors
    /// [`Error::Logits`] when it is not one value a class; [`Error::Weight`] when the weight is not above 0 and
    /// at most [`MAX_WEIGHT`].
    pub fn auxiliary(&mut self, node: NodeId, weight: f64) -> Result<(), Error> {
        self.check_logits(node)?;
        if !(weight > 0.0 && weight <= MAX_WEIGHT) {
            return Err(Error::Weight {
                layer: self.name(node).to_owned(),
                weight: weight.to_string(),
            });
        }
        self.auxiliary.push(Auxiliary { node, weight });
        Ok(())
    }

    fn check_logits(&self, node: NodeId) -> Result<(), Error> {
        let shape = self.shape(node);
        let expected = Shape {
            height: 1,
            width: 1,
            channels: self.classes,
        };
        if shape == expected {
            return Ok(());
        }
        Err(Error::Logits {
            layer: self.name(node).to_owned(),
            shape,
            classes: self.classes,
        })
    }

    /// The graph of everything that feeds the output and the auxiliary classifiers.
    ///
    /// # Errors
    /// [`Error::Logits`] when the output is not one value a class.
    pub fn finish(mut self, output: NodeId) -> Result<Graph, Error> {
        self.check_logits(output)?;
        for (node, name) in self.nodes.iter_mut().zip(self.names.shared()) {
            node.name = name;
        }
        let graph = Graph {
            nodes: self.nodes,
            output,
            auxiliary: self.auxiliary,
            input: self.input,
            classes: self.classes,
        };
        Ok(graph.without_unused())
    }
}

impl Graph {
    /// Drops the nodes that feed no output; the image stays.
    fn without_unused(mut self) -> Self {
        let mut roots: Vec<NodeId> = self.auxiliary.iter().map(|it| it.node).collect();
        roots.extend([0, self.output]);
        let used = self.reachable(&roots);
        if used.iter().all(|&used| used) {
            return self;
        }
        let new_ids: Vec<NodeId> = used
            .iter()
            .scan(0, |kept, &used| {
                let id = *kept;
                *kept += usize::from(used);
                Some(id)
            })
            .collect();
        for node in &mut self.nodes {
            node.inputs
                .iter_mut()
                .for_each(|input| *input = new_ids[*input]);
        }
        let mut flags = used.iter();
        self.nodes.retain(|_| flags.next() == Some(&true));
        self.output = new_ids[self.output];
        self.auxiliary
            .iter_mut()
            .for_each(|it| it.node = new_ids[it.node]);
        self
    }
}
