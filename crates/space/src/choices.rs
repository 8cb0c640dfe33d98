//! The choices that make an architecture of a space.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One option index for each decision of a space, in order; 0 where a decision is not active.
///
/// As text: the indices with commas between, `3,0,12`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Choices(pub Vec<u32>);

/// A text that is not a list of option indices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{part}' is not an option's index; expected whole numbers with commas between, such as 3,0,12"
)]
pub struct ChoicesError {
    /// What is no number.
    pub part: String,
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, choice) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{choice}")?;
        }
        Ok(())
    }
}

impl FromStr for Choices {
    type Err = ChoicesError;

    fn from_str(text: &str) -> Result<Self, ChoicesError> {
        if text.trim().is_empty() {
            return Ok(Choices::default());
        }
        let number = |part: &str| {
            part.trim().parse().map_err(|_| ChoicesError {
                part: part.trim().to_owned(),
            })
        };
        text.split(',')
            .map(number)
            .collect::<Result<_, _>>()
            .map(Choices)
    }
}
