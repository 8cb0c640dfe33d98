//! The primitive operations that a space file may use, and the layers they stand for.

mod arguments;
mod entries;
mod make;
mod specifications;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use cellwright_space::{Argument, Vocabulary};

use self::arguments::Arguments;
use self::entries::{ENTRIES, Entry};
use crate::{Layer, Shape};

/// The primitive operations that a space file may use: what `cellwright_space` needs to know of them.
#[must_use]
pub fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary {
        primitives: ENTRIES.iter().map(Entry::primitive).collect(),
    });
    &VOCABULARY
}

/// The layer that a primitive with these arguments stands for.
pub(crate) fn layer(
    primitive: usize,
    arguments: &[Option<Argument>],
    inputs: &[Shape],
) -> Result<Layer, String> {
    let entry = ENTRIES
        .get(primitive)
        .ok_or_else(|| format!("the vocabulary has no operation number {primitive}"))?;
    (entry.make)(&Arguments {
        entry,
        values: arguments,
        inputs,
    })
}
