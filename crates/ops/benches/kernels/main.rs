//! The kernels at shapes of networks, batch 64: forward alone, and the gradient alone.
//!
//! The throughput is that of the floor: operations for convolutions, bytes for the rest, where each
//! input is read once and each output written once, and for a gradient input and output gradient are
//! read once and the input gradient is read and written; sums over the batch make batch norm read its
//! inputs twice.

mod batch_norm;
mod convolution;
mod elementwise;
mod measure;
mod optimiser;
mod pooling;
mod separable;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    convolution::benches,
    separable::benches,
    batch_norm::benches,
    pooling::benches,
    elementwise::benches,
    optimiser::benches,
);
criterion_main!(benches);
