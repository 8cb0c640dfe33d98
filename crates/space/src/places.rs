//! A quick hash for places in a file's definitions: small numbers that nobody outside picks freely.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from places.
pub(crate) type PlaceMap<K> = HashMap<K, u32, BuildHasherDefault<PlaceHasher>>;

/// Multiplies and rotates; each of the few words of a place stirs all bits.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct PlaceHasher(u64);

impl PlaceHasher {
    fn stir(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for PlaceHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.stir(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.stir(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.stir(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
