//! One architecture as a graph of layers with shapes: parameters, MACs, activation memory.
//!
//! A [`Graph`] is plain data: each [`Node`] is one [`Layer`] with its inputs and its output shape.
//! There are no tensors here; `net` turns a graph into a network.

mod analysis;
mod build;
mod builder;
mod error;
mod graph;
mod identity;
mod inputs;
pub mod layers;
mod mismatch;
mod name;
mod padding;
mod parameter;
mod vocabulary;

pub use builder::{Builder, MAX_LAYERS, MAX_MACS, MAX_WEIGHT};
pub use cellwright_space::Shape;
pub use error::Error;
pub use graph::{Auxiliary, Graph, Node, NodeId};
pub use identity::class;
pub use inputs::Inputs;
pub use layers::{
    Activation, BatchNorm, Conv, DropPath, Dropout, LARGEST_MAX_POOL, Layer, Linear, Pool,
    PoolKind, Subsample, Truncate, Zero,
};
pub use mismatch::Mismatch;
pub use name::Name;
pub use padding::Padding;
pub use parameter::{Init, Parameter, Role};
pub use vocabulary::vocabulary;
