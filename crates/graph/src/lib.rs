//! One architecture as a graph of layers with shapes: parameters, MACs, activation memory.
