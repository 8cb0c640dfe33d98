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
    /// weights, statistics and what is summed in fp32, but convolutions round their factors to bfloat16, and cuDNN's also the
    /// gradients of their weights. Micikevicius et al. 2018 (arXiv 1710.03740), without scaled losses, as bfloat16 has fp32's
    /// range. Needs compute capability 8.0.
    Bf16,
}

impl Precision {
    /// All there are.
    pub const ALL: [Precision; 3] = [Precision::Fp32, Precision::Tf32, Precision::Bf16];

    /// Its name, as files and flags have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|it| it.name() == text);
        found.ok_or_else(|| format!("unknown precision '{text}': write fp32, tf32 or bf16"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        let wrong = "fp16".parse::<Precision>().unwrap_err();
        assert_eq!(wrong, "unknown precision 'fp16': write fp32, tf32 or bf16");
    }
}
