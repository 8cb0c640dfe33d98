//! The tensor operations that dfdx lacks on stable Rust, with kernels and gradients.
