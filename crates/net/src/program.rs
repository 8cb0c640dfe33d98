//! A network as a program: the plan's steps as calls over buffers.

use cellwright_graph::{self as graph, Layer, NodeId, Subsample};
use cellwright_ops::program::{
    Buffer, Builder, DropPath, Input, Norm, Normalised, Precision, Program, Share, Value as Tensor,
    Weights,
};
use cellwright_ops::{Activation, Kernels, Running, Vector};

use crate::network::{activation, conv_options, pool_options};
use crate::plan::{Branch, Kind, Residual, Step, Unit};
use crate::{Error, Network, Parameter, Value};

const RELU: Layer = Layer::Activation(graph::Activation::Relu);

/// What a program is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    /// A training step: forward, losses, gradients, update.
    Train {
        /// For each parameter of the network whether it decays.
        decays: Vec<bool>,
        /// Label smoothing of the losses.
        label_smoothing: f64,
    },
    /// Evaluation: running statistics, nothing dropped, no auxiliary classifiers.
    Evaluate,
}

impl<D: Kernels> Network<D> {
    /// The program of a step for batches of `batch` images on a device that computes in `precision`. Its ports list parameters and running
    /// statistics in the network's order.
    ///
    /// # Errors
    /// [`Error::Operation`] where a layer does not fit, as in a forward pass.
    pub fn program(
        &self,
        batch: usize,
        purpose: &Purpose,
        precision: Precision,
    ) -> Result<Program, Error> {
        let training = matches!(purpose, Purpose::Train { .. });
        let mut builder = Builder::new(batch, training).in_precision(precision);
        let input = self.graph.input;
        let images = builder.images([input.height, input.width, input.channels]);
        let parameters = self.parameters().iter().enumerate();
        let parameters = parameters.map(|(index, parameter)| {
            let decays = match purpose {
                Purpose::Train { decays, .. } => decays.get(index).copied().unwrap_or(false),
                Purpose::Evaluate => false,
            };
            builder.parameter(parameter.dims.iter().product(), decays)
        });
        let parameters = parameters.collect();
        let running = self.running().iter();
        let running = running.map(|(_, it)| builder.running(channels(&it.mean)));
        let running = running.collect();
        let mut lowering = Lowering {
            network: self,
            builder,
            training,
            parameters,
            running,
            values: (0..self.graph.nodes.len()).map(|_| None).collect(),
            rectified: vec![false; self.graph.nodes.len()],
            readers: vec![Vec::new(); self.graph.nodes.len()],
        };
        let steps = self.steps().iter();
        let steps = steps.filter(|step| training || self.feeds_output[step.output]);
        for step in steps.clone() {
            for input in step.inputs(&self.graph) {
                lowering.readers[input].push(step.output);
            }
        }
        lowering.values[0] = Some(Input::Plain(images));
        for step in steps {
            let value = lowering
                .step(step)
                .map_err(|error| self.at(step.output, error))?;
            lowering.values[step.output] = Some(value);
        }
        lowering.finish(purpose)
    }

    /// Parameters and running statistics as plain numbers.
    pub fn weights(&self) -> Weights {
        let running = self.running().iter();
        Weights {
            parameters: self
                .parameters()
                .iter()
                .map(|it| it.value.to_vec())
                .collect(),
            running: running
                .map(|(_, it)| [it.mean.as_vec(), it.variance.as_vec()].concat())
                .collect(),
        }
    }

    /// Takes over what a program has learned.
    ///
    /// # Errors
    /// [`Error::Device`] if the weights are another network's or memory runs out.
    pub fn set_weights(&mut self, weights: &Weights) -> Result<(), Error> {
        let device = self.device().clone();
        let mut parameters = Vec::with_capacity(self.parameters().len());
        for (parameter, values) in self.parameters().iter().zip(&weights.parameters) {
            parameters.push(Value::new(&device, &parameter.dims, values.clone())?);
        }
        let device_error = cellwright_ops::Error::device;
        let mut running = Vec::with_capacity(self.running().len());
        for values in &weights.running {
            let (mean, variance) = values.split_at(values.len() / 2);
            let vector =
                |values: &[f32]| device.try_tensor_from_vec(values.to_vec(), (values.len(),));
            running.push(Running {
                mean: vector(mean).map_err(device_error)?,
                variance: vector(variance).map_err(device_error)?,
            });
        }
        for (parameter, value) in self.values_mut().zip(parameters) {
            parameter.value = value;
        }
        for ((_, old), new) in self.running_mut().iter_mut().zip(running) {
            *old = new;
        }
        Ok(())
    }

    fn at(&self, node: NodeId, error: Error) -> Error {
        match error {
            Error::Device(source) => Error::Operation {
                layer: self.graph.nodes[node].name.to_string(),
                source,
            },
            other => other,
        }
    }
}

fn channels<D: Kernels>(vector: &Vector<D>) -> usize {
    use dfdx::shapes::HasShape;
    vector.shape().0
}

struct Lowering<'n, D: Kernels> {
    network: &'n Network<D>,
    builder: Builder,
    training: bool,
    parameters: Vec<Buffer>,
    running: Vec<Buffer>,
    /// Of each node, once its step is done; what is not normalised yet has one reader.
    values: Vec<Option<Input>>,
    /// Whether those that read a node's value do a ReLU first, which stands for the node's own.
    rectified: Vec<bool>,
    /// The outputs of the steps that read each node.
    readers: Vec<Vec<NodeId>>,
}

impl<D: Kernels> Lowering<'_, D> {
    fn finish(mut self, purpose: &Purpose) -> Result<Program, Error> {
        let smoothing = match purpose {
            Purpose::Train {
                label_smoothing, ..
            } => *label_smoothing,
            Purpose::Evaluate => 0.0,
        };
        let graph = &self.network.graph;
        let mut outputs = vec![(graph.output, 1.0)];
        if self.training {
            outputs.extend(graph.auxiliary.iter().map(|head| (head.node, head.weight)));
        }
        for (node, weight) in outputs {
            let logits = self.value(node)?;
            self.builder.output(logits, weight, smoothing);
        }
        Ok(self.builder.finish()?)
    }

    /// A node's tensor.
    fn value(&mut self, node: NodeId) -> Result<Tensor, Error> {
        match self.input(node)? {
            Input::Plain(value) => Ok(value),
            Input::Normalised(it) => {
                let value = self.builder.normalise(it, false);
                self.values[node] = Some(Input::Plain(value));
                Ok(value)
            }
        }
    }

    /// A node's tensor for an operation that can normalise what it reads.
    fn input(&mut self, node: NodeId) -> Result<Input, Error> {
        let input = self.unrectified(node)?;
        match input {
            Input::Plain(value) if self.rectified[node] => {
                let value = self.builder.activation(value, Activation::Relu);
                self.values[node] = Some(Input::Plain(value));
                self.rectified[node] = false;
                Ok(Input::Plain(value))
            }
            input => Ok(input),
        }
    }

    /// The same before a ReLU that is still to be done.
    fn unrectified(&mut self, node: NodeId) -> Result<Input, Error> {
        match self.values[node].take() {
            Some(Input::Plain(value)) => {
                self.values[node] = Some(Input::Plain(value));
                Ok(Input::Plain(value))
            }
            Some(normalised) => Ok(normalised),
            None => Err(self.network.unsound(node, "its value is not there")),
        }
    }

    /// A normalised tensor as the value of a node: as it is where one operation reads it.
    fn held(&mut self, node: NodeId, normalised: Normalised, relu: bool) -> Input {
        if self.readers[node].len() == 1 && !relu {
            return Input::Normalised(normalised);
        }
        Input::Plain(self.builder.normalise(normalised, relu))
    }

    /// A node's parameter, if it has so many.
    fn parameter(&self, node: NodeId, index: usize) -> Option<(Buffer, &Parameter<D>)> {
        let first = &self.network.first_parameter;
        let end = first.get(node + 1).copied();
        let place = first[node] + index;
        (place < end.unwrap_or(self.parameters.len()))
            .then(|| (self.parameters[place], &self.network.parameters()[place]))
    }

    fn vector(&self, node: NodeId, index: usize) -> Option<Buffer> {
        self.parameter(node, index).map(|(buffer, _)| buffer)
    }

    fn step(&mut self, step: &Step) -> Result<Input, Error> {
        match &step.kind {
            Kind::Chain {
                input,
                units,
                residual,
            } => {
                let (value, relu) = self.chain(*input, units)?;
                match (residual, value) {
                    (Some(residual), value) => {
                        let value = match value {
                            Input::Normalised(it) if relu => {
                                Input::Plain(self.builder.normalise(it, true))
                            }
                            value => value,
                        };
                        self.residual(value, residual).map(Input::Plain)
                    }
                    (None, Input::Normalised(it)) => Ok(self.held(step.output, it, relu)),
                    (None, value) => Ok(value),
                }
            }
            Kind::BatchNorm { norm, relu } => self.batch_norm(step.output, *norm, *relu),
            Kind::Sum(branches) => self.sum(branches).map(Input::Plain),
            Kind::Layer => match &self.network.graph.nodes[step.output].layer {
                Layer::BatchNorm(_) => self.batch_norm(step.output, step.output, false),
                Layer::Conv(_) => {
                    let input = self.network.graph.nodes[step.output].inputs[0];
                    let x = self.unrectified(input)?;
                    let relu = self.rectified[input];
                    self.conv(step.output, x, relu).map(Input::Plain)
                }
                Layer::Subsample(subsample) => {
                    self.subsample(step.output, subsample).map(Input::Plain)
                }
                layer if *layer == RELU && self.is_subsampled(step.output) => {
                    self.rectified[step.output] = true;
                    let x = self.network.graph.nodes[step.output].inputs[0];
                    self.value(x).map(Input::Plain)
                }
                _ => self.layer(step.output).map(Input::Plain),
            },
        }
    }

    /// Whether all that read a node take some of its pixels: a ReLU of these is less work.
    fn is_subsampled(&self, node: NodeId) -> bool {
        let nodes = &self.network.graph.nodes;
        let readers = &self.readers[node];
        let mut layers = readers.iter().map(|&reader| &nodes[reader].layer);
        !readers.is_empty() && layers.all(|layer| matches!(layer, Layer::Subsample(_)))
    }

    /// Some of the pixels, of which a ReLU is done if it is still to be done to all.
    fn subsample(&mut self, node: NodeId, subsample: &Subsample) -> Result<Tensor, Error> {
        let input = self.network.graph.nodes[node].inputs[0];
        let x = match self.unrectified(input)? {
            Input::Plain(x) => x,
            Input::Normalised(it) => self.builder.normalise(it, false),
        };
        self.rectified[node] = self.rectified[input];
        let (stride, offset) = (subsample.stride, subsample.offset);
        Ok(self.builder.subsample(x, stride, offset)?)
    }

    fn conv(&mut self, node: NodeId, input: Input, relu: bool) -> Result<Tensor, Error> {
        let missing = self.network.unsound(node, "it is no convolution");
        let Layer::Conv(conv) = &self.network.graph.nodes[node].layer else {
            return Err(missing);
        };
        let (w, shape) = match self.parameter(node, 0) {
            Some((w, parameter)) => match parameter.dims[..] {
                [a, b, c, d] => (w, [a, b, c, d]),
                _ => return Err(missing),
            },
            None => return Err(missing),
        };
        let bias = self.vector(node, 1);
        let options = conv_options(conv);
        Ok(self.builder.conv(input, relu, (w, shape), bias, options)?)
    }

    fn norm(&self, node: NodeId) -> Result<Norm, Error> {
        let running = self.network.running_of.get(&node);
        match (&self.network.graph.nodes[node].layer, running) {
            (Layer::BatchNorm(norm), Some(&running)) => Ok(Norm {
                scale: self.vector(node, 0),
                shift: self.vector(node, 1),
                running: self.running[running],
                momentum: norm.momentum,
                epsilon: norm.epsilon,
            }),
            _ => Err(self.network.unsound(node, "it is no batch norm")),
        }
    }

    /// A chain's value, and whether a ReLU is still to follow: only a normalised one's.
    fn chain(&mut self, input: NodeId, units: &[Unit]) -> Result<(Input, bool), Error> {
        let mut next = self.unrectified(input)?;
        let mut relu_before = self.rectified[input];
        for unit in units {
            let mut value = self.conv(unit.conv, next, relu_before || unit.relu_before)?;
            relu_before = false;
            if let Some(pointwise) = unit.pointwise {
                value = self.conv(pointwise, Input::Plain(value), false)?;
            }
            next = match unit.norm {
                None => Input::Plain(value),
                Some(norm) => {
                    relu_before = unit.relu_after;
                    let norm = self.norm(norm)?;
                    Input::Normalised(self.builder.batch_norm(value, norm)?)
                }
            };
        }
        Ok((next, relu_before))
    }

    fn residual(&mut self, value: Input, residual: &Residual) -> Result<Tensor, Error> {
        let other = self.input(residual.input)?;
        let terms = [value, other].map(|x| (x, Share::All(1.0)));
        Ok(self.builder.combine(&terms, residual.relu)?)
    }

    /// Batch norm `node`, whose value, or that of the ReLU after it, is `output`'s.
    fn batch_norm(&mut self, output: NodeId, node: NodeId, relu: bool) -> Result<Input, Error> {
        let x = self.value(self.network.graph.nodes[node].inputs[0])?;
        let norm = self.norm(node)?;
        let normalised = self.builder.batch_norm(x, norm)?;
        Ok(self.held(output, normalised, relu))
    }

    fn sum(&mut self, branches: &[Branch]) -> Result<Tensor, Error> {
        let mut terms = Vec::with_capacity(branches.len());
        for branch in branches {
            let share = match branch.drop_path {
                Some((node, drop)) => self.drop_path(node, drop),
                None => Share::All(1.0),
            };
            terms.push((self.input(branch.input)?, share));
        }
        Ok(self.builder.combine(&terms, false)?)
    }

    fn drop_path(&mut self, node: NodeId, drop: graph::DropPath) -> Share {
        if self.training && drop.rate > 0.0 {
            return self.builder.drop_path(DropPath {
                rate: drop.rate,
                scheduled: drop.scheduled,
                salt: node as u64,
            });
        }
        Share::All(1.0)
    }

    fn layer(&mut self, id: NodeId) -> Result<Tensor, Error> {
        let network = self.network;
        let node = &network.graph.nodes[id];
        let inputs = node.inputs.iter().map(|&input| self.value(input));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let nothing = || network.unsound(id, "it takes nothing");
        let x = *inputs.first().ok_or_else(nothing)?;
        let equal = |share: f32| -> Vec<_> {
            let terms = inputs.iter().map(|&x| (Input::Plain(x), Share::All(share)));
            terms.collect()
        };
        Ok(match &node.layer {
            Layer::Linear(linear) => {
                let missing = || network.unsound(id, "its weight is missing");
                let w = self.vector(id, 0).ok_or_else(missing)?;
                self.builder
                    .linear(x, w, self.vector(id, 1), linear.units)?
            }
            Layer::Activation(kind) => self.builder.activation(x, activation(*kind)),
            Layer::Pool(pool) => self.builder.pool(x, pool_options(pool))?,
            Layer::GlobalAveragePool => self.builder.global_average_pool(x),
            Layer::Add => self.builder.combine(&equal(1.0), false)?,
            Layer::Mean => {
                let terms = equal(1.0 / inputs.len() as f32);
                self.builder.combine(&terms, false)?
            }
            Layer::Concat => self.builder.concat(&inputs)?,
            Layer::Multiply => match inputs[..] {
                [x, gate] => self.builder.multiply(x, gate)?,
                _ => return Err(network.unsound(id, "it takes two tensors")),
            },
            Layer::Truncate(truncate) => self.builder.truncate(x, truncate.channels)?,
            Layer::Zero(zero) => self.builder.zero(x, zero.stride)?,
            Layer::Dropout(dropout) => self.builder.dropout(x, dropout.rate, id as u64),
            Layer::DropPath(drop) => match self.drop_path(id, *drop) {
                Share::All(_) => x,
                share => self.builder.combine(&[(Input::Plain(x), share)], false)?,
            },
            Layer::Flatten => self.builder.flatten(x),
            Layer::Identity => x,
            Layer::Input | Layer::Conv(_) | Layer::BatchNorm(_) | Layer::Subsample(_) => {
                return Err(network.unsound(id, "it is no operation"));
            }
        })
    }
}
