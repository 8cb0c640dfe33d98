//! Compiles a graph into a dfdx network: typed parameters, `Module`, initialisation, save and load.
//!
//! [`Network::build`] turns each learnable tensor of a [`Graph`](cellwright_graph::Graph) into a
//! parameter on a device and the graph's layers into a [`plan`] of operations, in which chains of
//! layers that one operation can do are one step. Dimensions are checked when the network is built.

mod error;
mod module;
mod network;
mod parameters;
pub mod plan;
mod program;
mod seed;
mod weights;
pub mod whole;

pub use error::Error;
pub use network::{Mode, Network, Outputs};
pub use parameters::{Parameter, Value};
pub use program::Purpose;
