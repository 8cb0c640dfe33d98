//! A network: parameters, running statistics, and the plan that runs them.

use std::collections::HashMap;

use cellwright_graph::{DropPath, Graph, Layer, NodeId, PoolKind};
use cellwright_ops as ops;
use cellwright_ops::elementwise::random::mix;
use cellwright_ops::{Feature, Kernels, Matrix, ParameterMut, Running, Vector};
use dfdx::shapes::HasShape;
use dfdx::tensor::Tape;
use dfdx::tensor_ops::ReshapeTo;

use crate::plan::{Branch, Kind, Residual, Step, Unit, plan};
use crate::{Error, Parameter, Value};

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Training: batch statistics, which move the running ones; dropout and drop path at work.
    Train {
        /// The seed of the masks of this step.
        seed: u64,
        /// How much of the training is done, 0 to 1: scheduled drop paths grow with it (Zoph et al. 2018).
        progress: f64,
    },
    /// Evaluation: running statistics, nothing dropped.
    Evaluate,
}

/// What a forward pass gives.
#[derive(Debug, Clone)]
pub struct Outputs<D: Kernels> {
    /// `N × 1 × 1 × classes`.
    pub logits: Feature<D>,
    /// The logits of each auxiliary classifier with its loss's weight; empty in evaluation.
    pub auxiliary: Vec<(Feature<D>, f64)>,
}

/// A network on a device, compiled from a graph.
#[derive(Debug, Clone)]
pub struct Network<D: Kernels> {
    pub(crate) graph: Graph,
    device: D,
    parameters: Vec<Parameter<D>>,
    /// The index of each node's first parameter.
    pub(crate) first_parameter: Vec<usize>,
    /// Running statistics with the names of their layers.
    running: Vec<(String, Running<D>)>,
    /// The index of each batch norm's running statistics.
    pub(crate) running_of: HashMap<NodeId, usize>,
    steps: Vec<Step>,
    /// Whether a node feeds the network's own output: the rest feeds auxiliary classifiers alone.
    pub(crate) feeds_output: Vec<bool>,
}

impl<D: Kernels> Network<D> {
    /// Builds the network of a graph on a device, with first values from a seed.
    ///
    /// # Errors
    /// [`Error::Graph`] for a graph that is not sound, [`Error::Operation`] when the device has no
    /// memory for a parameter.
    pub fn build(graph: &Graph, device: &D, seed: u64) -> Result<Self, Error> {
        Self::compile(graph, device, seed, true)
    }

    /// As [`Network::build`], with each layer an operation of its own; for comparison.
    ///
    /// # Errors
    /// As [`Network::build`].
    pub fn build_unfused(graph: &Graph, device: &D, seed: u64) -> Result<Self, Error> {
        Self::compile(graph, device, seed, false)
    }

    fn compile(graph: &Graph, device: &D, seed: u64, fuse: bool) -> Result<Self, Error> {
        check(graph)?;
        let mut network = Network {
            device: device.clone(),
            parameters: Vec::new(),
            first_parameter: Vec::with_capacity(graph.nodes.len()),
            running: Vec::new(),
            running_of: HashMap::new(),
            steps: plan(graph, fuse),
            feeds_output: feeds_output(graph),
            graph: graph.clone(),
        };
        for (id, node) in graph.nodes.iter().enumerate() {
            network.first_parameter.push(network.parameters.len());
            network
                .parameters
                .extend(crate::parameters::of_node(graph, id, device, seed)?);
            if let Layer::BatchNorm(_) = node.layer {
                let running = Running::new(device, node.shape.channels)?;
                network.running_of.insert(id, network.running.len());
                network.running.push((node.name.to_string(), running));
            }
        }
        Ok(network)
    }

    /// The graph it was built from.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The device it lives on.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The operations, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The learnable tensors, in the order of the graph.
    pub fn parameters(&self) -> &[Parameter<D>] {
        &self.parameters
    }

    /// The learnable tensors for an optimiser's step, in the same order.
    pub fn parameters_mut(&mut self) -> Vec<ParameterMut<'_, D>> {
        self.parameters
            .iter_mut()
            .map(|parameter| parameter.value.as_mut())
            .collect()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Parameter<D>> {
        self.parameters.iter_mut()
    }

    /// The running statistics, with the names of their layers.
    pub fn running(&self) -> &[(String, Running<D>)] {
        &self.running
    }

    pub(crate) fn running_mut(&mut self) -> &mut [(String, Running<D>)] {
        &mut self.running
    }

    /// Runs the network on a batch of images, `N × H × W × C`.
    ///
    /// # Errors
    /// [`Error::Input`] when the images do not fit, [`Error::Operation`] when a layer fails.
    pub fn run<T: Tape<f32, D>>(
        &mut self,
        images: Feature<D>,
        mode: Mode,
        tape: &mut T,
    ) -> Result<Outputs<D>, Error> {
        let mut running = std::mem::take(&mut self.running);
        let result = self.pass(images, mode, tape, &mut running);
        self.running = running;
        result
    }

    /// Runs the network in evaluation, without gradients and without a change.
    ///
    /// # Errors
    /// As [`Network::run`].
    pub fn evaluate<T: Tape<f32, D>>(
        &self,
        images: Feature<D>,
        tape: &mut T,
    ) -> Result<Feature<D>, Error> {
        // Tensors share their memory, so this copies no numbers.
        let mut running = self.running.clone();
        Ok(self
            .pass(images, Mode::Evaluate, tape, &mut running)?
            .logits)
    }

    fn pass<T: Tape<f32, D>>(
        &self,
        images: Feature<D>,
        mode: Mode,
        tape: &mut T,
        running: &mut [(String, Running<D>)],
    ) -> Result<Outputs<D>, Error> {
        let (_, height, width, channels) = *images.shape();
        let input = self.graph.input;
        if (height, width, channels) != (input.height, input.width, input.channels) {
            return Err(Error::Input {
                expected: input.to_string(),
                found: format!("{height}x{width}x{channels}"),
            });
        }
        let mut pass = Pass {
            network: self,
            mode,
            running,
            values: vec![None; self.graph.nodes.len()],
        };
        pass.values[0] = Some(images);
        for step in &self.steps {
            if mode == Mode::Evaluate && !self.feeds_output[step.output] {
                continue;
            }
            let value = pass.step(step, tape)?;
            pass.values[step.output] = Some(value);
            for &node in &step.last_use {
                pass.values[node] = None;
            }
        }
        pass.outputs()
    }

    fn conv(&self, node: NodeId) -> Result<(&Feature<D>, ops::conv2d::Conv2d), Error> {
        let Layer::Conv(conv) = &self.graph.nodes[node].layer else {
            return Err(self.unsound(node, "it is no convolution"));
        };
        let options = conv_options(conv);
        Ok((self.feature(node)?, options))
    }

    fn parameter(&self, node: NodeId, index: usize) -> Option<&Value<D>> {
        let first = self.first_parameter[node];
        let end = self
            .first_parameter
            .get(node + 1)
            .copied()
            .unwrap_or(self.parameters.len());
        self.parameters[first..end]
            .get(index)
            .map(|parameter| &parameter.value)
    }

    fn feature(&self, node: NodeId) -> Result<&Feature<D>, Error> {
        match self.parameter(node, 0) {
            Some(Value::Feature(tensor)) => Ok(tensor),
            _ => Err(self.unsound(node, "its weight is missing")),
        }
    }

    fn matrix(&self, node: NodeId) -> Result<&Matrix<D>, Error> {
        match self.parameter(node, 0) {
            Some(Value::Matrix(tensor)) => Ok(tensor),
            _ => Err(self.unsound(node, "its weight is missing")),
        }
    }

    fn vector(&self, node: NodeId, index: usize) -> Option<&Vector<D>> {
        match self.parameter(node, index) {
            Some(Value::Vector(tensor)) => Some(tensor),
            _ => None,
        }
    }

    pub(crate) fn unsound(&self, node: NodeId, detail: &str) -> Error {
        Error::Graph {
            layer: self.graph.nodes[node].name.to_string(),
            detail: detail.to_owned(),
        }
    }
}

/// Whether node ids are in order and in range, so that nothing needs to be checked while it runs.
fn check(graph: &Graph) -> Result<(), Error> {
    let wrong = |layer: &str, detail: &str| Error::Graph {
        layer: layer.to_owned(),
        detail: detail.to_owned(),
    };
    match graph.nodes.first() {
        Some(node) if node.layer == Layer::Input => {}
        _ => return Err(wrong("input", "the first node must be the image")),
    }
    for (id, node) in graph.nodes.iter().enumerate() {
        let shapes: Vec<_> = match node.inputs.iter().find(|&&input| input >= id) {
            Some(_) => return Err(wrong(&node.name, "it takes a node that comes after it")),
            None => node
                .inputs
                .iter()
                .map(|&input| graph.nodes[input].shape)
                .collect(),
        };
        if id > 0 {
            let shape = node
                .layer
                .infer(&shapes)
                .map_err(|mismatch| wrong(&node.name, &mismatch.to_string()))?;
            if shape != node.shape {
                return Err(wrong(
                    &node.name,
                    &format!("its shape is {shape}, not {}", node.shape),
                ));
            }
        }
    }
    let outputs = graph
        .auxiliary
        .iter()
        .map(|auxiliary| auxiliary.node)
        .chain([graph.output]);
    for output in outputs {
        let fits = graph.nodes.get(output).is_some_and(|node| {
            (node.shape.height, node.shape.width, node.shape.channels) == (1, 1, graph.classes)
        });
        if !fits {
            return Err(wrong("output", "it must give one value a class"));
        }
    }
    Ok(())
}

fn feeds_output(graph: &Graph) -> Vec<bool> {
    let mut feeds = vec![false; graph.nodes.len()];
    feeds[graph.output] = true;
    for id in (0..graph.nodes.len()).rev() {
        if feeds[id] {
            graph.nodes[id]
                .inputs
                .iter()
                .for_each(|&input| feeds[input] = true);
        }
    }
    feeds
}

/// One forward pass.
struct Pass<'p, D: Kernels> {
    network: &'p Network<D>,
    mode: Mode,
    running: &'p mut [(String, Running<D>)],
    values: Vec<Option<Feature<D>>>,
}

impl<D: Kernels> Pass<'_, D> {
    fn value(&self, node: NodeId) -> Result<&Feature<D>, Error> {
        self.values[node]
            .as_ref()
            .ok_or_else(|| self.network.unsound(node, "its value is not there"))
    }

    fn step<T: Tape<f32, D>>(&mut self, step: &Step, tape: &mut T) -> Result<Feature<D>, Error> {
        let result = match &step.kind {
            Kind::Chain {
                input,
                units,
                residual,
            } => self.chain(*input, units, residual.as_ref(), tape),
            Kind::BatchNorm { norm, relu } => self.batch_norm(*norm, *relu, tape),
            Kind::Sum(branches) => self.sum(branches, tape),
            Kind::Layer => self.layer(step.output, tape),
        };
        result.map_err(|error| match error {
            Error::Device(source) => Error::Operation {
                layer: self.network.graph.nodes[step.output].name.to_string(),
                source,
            },
            other => other,
        })
    }

    fn training(&self) -> bool {
        matches!(self.mode, Mode::Train { .. })
    }

    fn chain<T: Tape<f32, D>>(
        &mut self,
        input: NodeId,
        units: &[Unit],
        residual: Option<&Residual>,
        tape: &mut T,
    ) -> Result<Feature<D>, Error> {
        let network = self.network;
        let training = self.training();
        // Each unit borrows running statistics of its own.
        let mut running: Vec<Option<Running<D>>> = Vec::new();
        for unit in units {
            running.push(
                unit.norm
                    .map(|norm| self.running[network.running_of[&norm]].1.clone()),
            );
        }
        let mut parts = Vec::with_capacity(units.len());
        for (unit, running) in units.iter().zip(&mut running) {
            let (weight, conv) = network.conv(unit.conv)?;
            let pointwise = unit
                .pointwise
                .map(|node| network.feature(node))
                .transpose()?;
            let norm = match (unit.norm, running) {
                (Some(norm), Some(running)) => Some(ops::Norm {
                    scale: network.vector(norm, 0),
                    shift: network.vector(norm, 1),
                    running,
                    options: batch_norm_options(network, norm)?,
                    relu: unit.relu_after,
                    training,
                }),
                _ => None,
            };
            parts.push(ops::Unit {
                relu_before: unit.relu_before,
                weight,
                conv,
                pointwise,
                norm,
            });
        }
        let residual = match residual {
            Some(it) => Some(ops::Residual {
                x: self.value(it.input)?,
                relu: it.relu,
            }),
            None => None,
        };
        let input = ops::Input {
            x: self.value(input)?,
            // The first node is the images.
            gradient: input != 0,
        };
        let value = ops::residual_chain(tape, input, parts, residual)?;
        if training {
            for (unit, moved) in units.iter().zip(running) {
                if let (Some(norm), Some(moved)) = (unit.norm, moved) {
                    self.running[network.running_of[&norm]].1 = moved;
                }
            }
        }
        Ok(value)
    }

    fn batch_norm<T: Tape<f32, D>>(
        &mut self,
        norm: NodeId,
        relu: bool,
        tape: &mut T,
    ) -> Result<Feature<D>, Error> {
        let network = self.network;
        let training = self.training();
        let x = self.value(network.graph.nodes[norm].inputs[0])?.clone();
        let running = &mut self.running[network.running_of[&norm]].1;
        let (scale, shift) = (network.vector(norm, 0), network.vector(norm, 1));
        let options = batch_norm_options(network, norm)?;
        Ok(ops::batch_norm(
            tape, &x, scale, shift, running, options, relu, training,
        )?)
    }

    fn sum<T: Tape<f32, D>>(
        &mut self,
        branches: &[Branch],
        tape: &mut T,
    ) -> Result<Feature<D>, Error> {
        let mut terms = Vec::with_capacity(branches.len());
        for branch in branches {
            let drop_path = branch
                .drop_path
                .and_then(|(node, drop)| self.drop_path(node, drop));
            terms.push(ops::Branch {
                x: self.value(branch.input)?,
                drop_path,
            });
        }
        Ok(ops::add_branches(tape, &terms)?)
    }

    /// The drop path of a node as it is now; none where nothing is dropped.
    fn drop_path(&self, node: NodeId, drop: DropPath) -> Option<ops::DropPath> {
        let Mode::Train { seed, progress } = self.mode else {
            return None;
        };
        let rate = drop.rate_at(progress);
        let seed = mix(seed, node as u64);
        (rate > 0.0).then_some(ops::DropPath { rate, seed })
    }

    fn layer<T: Tape<f32, D>>(&mut self, id: NodeId, tape: &mut T) -> Result<Feature<D>, Error> {
        let network = self.network;
        let node = &network.graph.nodes[id];
        let first = *node
            .inputs
            .first()
            .ok_or_else(|| network.unsound(id, "it takes nothing"))?;
        if let Layer::BatchNorm(_) = node.layer {
            return self.batch_norm(id, false, tape);
        }
        let x = self.value(first)?;
        let all = || {
            node.inputs
                .iter()
                .map(|&input| self.value(input))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(match &node.layer {
            Layer::Conv(_) => {
                let (weight, conv) = network.conv(id)?;
                ops::conv2d(tape, x, weight, network.vector(id, 1), conv)?
            }
            Layer::Linear(_) => ops::linear(tape, x, network.matrix(id)?, network.vector(id, 1))?,
            Layer::Activation(kind) => ops::activation(tape, x, activation(*kind))?,
            Layer::Pool(pool) => ops::pool2d(tape, x, pool_options(pool))?,
            Layer::GlobalAveragePool => ops::global_avg_pool(tape, x)?,
            Layer::Add => ops::add(tape, &all()?)?,
            Layer::Mean => ops::mean(tape, &all()?)?,
            Layer::Concat => ops::concat(tape, &all()?)?,
            Layer::Multiply => match all()?[..] {
                [x, gate] => ops::multiply(tape, x, gate)?,
                _ => return Err(network.unsound(id, "it takes two tensors")),
            },
            Layer::Subsample(subsample) => {
                ops::subsample(tape, x, subsample.stride, subsample.offset)?
            }
            Layer::Truncate(truncate) => ops::truncate(tape, x, truncate.channels)?,
            Layer::Zero(zero) => ops::zero(x, zero.stride)?,
            Layer::Dropout(dropout) => match self.mode {
                Mode::Train { seed, .. } if dropout.rate > 0.0 => {
                    ops::dropout(tape, x, dropout.rate, mix(seed, id as u64))?
                }
                _ => x.clone(),
            },
            Layer::DropPath(drop) => match self.drop_path(id, *drop) {
                Some(drop) => ops::drop_path(tape, x, drop.rate, drop.seed)?,
                None => x.clone(),
            },
            Layer::Flatten => flatten(tape, x)?,
            Layer::Identity => x.clone(),
            Layer::Input | Layer::BatchNorm(_) => {
                return Err(network.unsound(id, "it is no operation"));
            }
        })
    }

    fn outputs(self) -> Result<Outputs<D>, Error> {
        let graph = &self.network.graph;
        let logits = self.value(graph.output)?.clone();
        let mut auxiliary = Vec::new();
        if self.training() {
            for head in &graph.auxiliary {
                // Two heads may end in one tensor.
                let logits = self.values[head.node].clone();
                let logits = logits
                    .ok_or_else(|| self.network.unsound(head.node, "its value is not there"))?;
                auxiliary.push((logits, head.weight));
            }
        }
        Ok(Outputs { logits, auxiliary })
    }
}

fn batch_norm_options<D: Kernels>(
    network: &Network<D>,
    node: NodeId,
) -> Result<ops::BatchNorm, Error> {
    match &network.graph.nodes[node].layer {
        Layer::BatchNorm(norm) => Ok(ops::BatchNorm {
            momentum: norm.momentum,
            epsilon: norm.epsilon,
        }),
        _ => Err(network.unsound(node, "it is no batch norm")),
    }
}

// What is too large for the kernels is refused where shapes are inferred.
const _: () = assert!(cellwright_graph::LARGEST_MAX_POOL <= ops::LARGEST_MAX_POOL);

pub(crate) fn pool_options(pool: &cellwright_graph::Pool) -> ops::Pool2d {
    ops::Pool2d {
        kind: match pool.kind {
            PoolKind::Max => ops::PoolKind::Max,
            PoolKind::Average => ops::PoolKind::Average,
        },
        kernel: pool.kernel,
        stride: pool.stride,
        padding: pool.padding.sides(pool.kernel, [1, 1]),
    }
}

pub(crate) fn conv_options(conv: &cellwright_graph::Conv) -> ops::Conv2d {
    ops::Conv2d {
        stride: conv.stride,
        dilation: conv.dilation,
        padding: conv.padding.sides(conv.kernel, conv.dilation),
        groups: conv.groups,
    }
}

pub(crate) fn activation(kind: cellwright_graph::Activation) -> ops::Activation {
    use cellwright_graph::Activation as A;
    match kind {
        A::Relu => ops::Activation::Relu,
        A::Relu6 => ops::Activation::Relu6,
        A::Swish => ops::Activation::Swish,
        A::HardSwish => ops::Activation::HardSwish,
        A::Sigmoid => ops::Activation::Sigmoid,
        A::HardSigmoid => ops::Activation::HardSigmoid,
    }
}

/// All values of an image as one vector, in the order height, width, channels.
fn flatten<D: Kernels, T: Tape<f32, D>>(tape: &mut T, x: &Feature<D>) -> Result<Feature<D>, Error> {
    let (n, h, w, c) = *x.shape();
    let flat = |x: dfdx::tensor::Tensor<(usize, usize, usize, usize), f32, D, T>| {
        x.try_reshape_like(&(n, 1, 1, h * w * c))
            .map_err(ops::Error::device)
    };
    Ok(ops::reference::on_tape(tape, x, flat)?)
}
