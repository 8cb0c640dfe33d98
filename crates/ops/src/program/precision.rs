//! What a GPU computes a program's tensors in.

use serde::{Deserialize, Serialize};

/// What a GPU that runs programs computes in. A CPU computes in fp32 always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Everything in fp32.
    Fp32,
    /// Tensors in fp32; matrix products and dense convolutions round their factors to TF32 (10 bits of mantissa), where
    /// there are tensor cores.
    #[default]
    Tf32,
    /// Images, activations and their gradients in bfloat16 (7 bits of mantissa), which halves what is read and written;
    /// weights, statistics and all sums in fp32. Micikevicius et al. 2018 (arXiv 1710.03740), without scaled losses, as
    /// bfloat16 has fp32's range. Needs compute capability 8.0.
    Bf16,
}
