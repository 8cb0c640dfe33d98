//! Scratch memory by turns: each launch takes the next words of a region, from its begin again at its end, so
//! that two launches share words only when many have had others in between.

use std::ops::Range;

use crate::Error;

/// Words that launches take for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ring {
    region: Range<usize>,
    next: usize,
}

/// Words that a taken range's start is a multiple of, as its region's is.
pub(super) const ALIGN: usize = 64;

impl Ring {
    pub fn new(region: Range<usize>) -> Self {
        let next = region.start;
        Self { region, next }
    }

    /// The next `len` words.
    ///
    /// # Errors
    /// [`Error::Shape`] if the region has fewer.
    pub fn take(&mut self, len: usize) -> Result<Range<usize>, Error> {
        let room = len.next_multiple_of(ALIGN);
        if room > self.region.len() {
            let detail = format!("{len} words of scratch memory, of {}", self.region.len());
            return Err(Error::shape("program", detail));
        }
        if self.next + room > self.region.end {
            self.next = self.region.start;
        }
        let start = self.next;
        self.next += room;
        Ok(start..start + len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shared_only_after_a_turn() {
        let mut ring = Ring::new(128..128 + 5 * ALIGN);
        let mut take = |len: usize| ring.take(len).map_err(|error| error.to_string());
        assert_eq!(take(65), Ok(128..193));
        assert_eq!(take(64), Ok(256..320));
        assert_eq!(take(0), Ok(320..320));
        assert_eq!(take(128), Ok(320..448));
        assert_eq!(take(1), Ok(128..129));
        assert_eq!(take(5 * ALIGN), Ok(128..128 + 5 * ALIGN));
        assert!(take(5 * ALIGN + 1).is_err());
    }
}
