//! Cells as drawings: found in a graph by the names of its nodes, reduced to boxes, laid out in layers, painted.

mod describe;
mod find;
mod layout;
mod paint;
mod sketch;

pub(crate) use find::{cells, outside};
pub(crate) use paint::{Placed, arrange, paint};
