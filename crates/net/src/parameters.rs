//! The learnable tensors of a network, and their first values.

use cellwright_graph::{Graph, Init, NodeId, Role};
use cellwright_ops::{Base, Feature, Kernels, Matrix, ParameterMut, Vector};
use rand_distr::{Distribution, StandardNormal, Uniform};

use crate::Error;
use crate::seed::stream;

/// One learnable tensor.
#[derive(Debug, Clone)]
pub struct Parameter<D: Base> {
    /// The layer's name and the tensor's: `normal.0/block.1/left/conv.weight`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its dimensions, as the graph has them.
    pub dims: Vec<usize>,
    /// The tensor.
    pub value: Value<D>,
}

/// A learnable tensor by its rank.
#[derive(Debug, Clone)]
pub enum Value<D: Base> {
    /// A bias, scale or shift.
    Vector(Vector<D>),
    /// A linear layer's weight, `in × units`.
    Matrix(Matrix<D>),
    /// A convolution's weight, `kh × kw × in/groups × filters`.
    Feature(Feature<D>),
}

impl<D: Kernels> Value<D> {
    /// A tensor of these dimensions around `data`.
    pub(crate) fn new(
        device: &D,
        dims: &[usize],
        data: Vec<f32>,
    ) -> Result<Self, cellwright_ops::Error> {
        let device_error = cellwright_ops::Error::device;
        Ok(match *dims {
            [a] => Value::Vector(
                device
                    .try_tensor_from_vec(data, (a,))
                    .map_err(device_error)?,
            ),
            [a, b] => Value::Matrix(
                device
                    .try_tensor_from_vec(data, (a, b))
                    .map_err(device_error)?,
            ),
            [a, b, c, d] => Value::Feature(
                device
                    .try_tensor_from_vec(data, (a, b, c, d))
                    .map_err(device_error)?,
            ),
            _ => {
                let detail = format!("no layer has a parameter of {} dimensions", dims.len());
                return Err(cellwright_ops::Error::shape("parameter", detail));
            }
        })
    }

    /// Its numbers, row by row.
    pub fn to_vec(&self) -> Vec<f32> {
        match self {
            Value::Vector(tensor) => tensor.as_vec(),
            Value::Matrix(tensor) => tensor.as_vec(),
            Value::Feature(tensor) => tensor.as_vec(),
        }
    }

    /// For an optimiser's step.
    pub fn as_mut(&mut self) -> ParameterMut<'_, D> {
        match self {
            Value::Vector(tensor) => ParameterMut::Vector(tensor),
            Value::Matrix(tensor) => ParameterMut::Matrix(tensor),
            Value::Feature(tensor) => ParameterMut::Feature(tensor),
        }
    }
}

/// The parameters of a node, with their first values.
///
/// Convolutions: He normal (He et al. 2015, arXiv 1502.01852) with the fan out of one group,
/// `kh · kw · filters/groups`. Linear layers: weights uniform within ±1/√inputs, as PyTorch has them.
/// Biases: zero, also those of linear layers, which PyTorch draws as it does the weights. Norms: scale
/// one, shift zero. Each tensor has a stream of random numbers of its own, from the seed and its name.
pub(crate) fn of_node<D: Kernels>(
    graph: &Graph,
    node: NodeId,
    device: &D,
    seed: u64,
) -> Result<Vec<Parameter<D>>, Error> {
    let layer = &graph.nodes[node].name;
    let inputs = graph.input_shape(node).channels;
    let make = |parameter: cellwright_graph::Parameter| {
        let name = format!("{layer}.{}", parameter.name);
        let data = first_values(&parameter, inputs, seed, &name);
        let value =
            Value::new(device, &parameter.dims, data).map_err(|source| Error::Operation {
                layer: layer.to_string(),
                source,
            })?;
        Ok(Parameter {
            name,
            role: parameter.role,
            dims: parameter.dims,
            value,
        })
    };
    graph.parameters(node).into_iter().map(make).collect()
}

fn first_values(
    parameter: &cellwright_graph::Parameter,
    inputs: usize,
    seed: u64,
    name: &str,
) -> Vec<f32> {
    let count = parameter.len() as usize;
    let mut rng = stream(seed, name);
    match parameter.init {
        Init::Zeros => vec![0.0; count],
        Init::Ones => vec![1.0; count],
        Init::HeNormalFanOut => {
            let [rows, columns, per_group, filters] = match parameter.dims[..] {
                [a, b, c, d] => [a, b, c, d],
                _ => [1, 1, 1, 1],
            };
            let groups = (inputs / per_group.max(1)).max(1);
            let fan_out = (rows * columns * filters / groups).max(1);
            let deviation = (2.0 / fan_out as f64).sqrt() as f32;
            let normal =
                |_| -> f32 { Distribution::<f32>::sample(&StandardNormal, &mut rng) * deviation };
            (0..count).map(normal).collect()
        }
        Init::LinearUniform => {
            let bound = 1.0 / (inputs.max(1) as f32).sqrt();
            match Uniform::new_inclusive(-bound, bound) {
                Ok(uniform) => (0..count).map(|_| uniform.sample(&mut rng)).collect(),
                Err(_) => vec![0.0; count],
            }
        }
    }
}
