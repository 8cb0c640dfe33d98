//! File formats, from bytes in memory: no paths, no data sets.

pub(crate) mod cifar;
pub(crate) mod idx;

/// What a format objects to, and where in the (unpacked) bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub offset: usize,
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.what)
    }
}
