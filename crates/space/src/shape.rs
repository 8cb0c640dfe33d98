//! The shape of one image's activations.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The activations of one image: height, width, channels. A vector is `1 x 1 x channels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Shape {
    /// The number of values of one image, saturating.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.height as u64)
            .saturating_mul(self.width as u64)
            .saturating_mul(self.channels as u64)
    }

    /// Whether it holds no value at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}
