//! Streams of random numbers that depend on names, not on order.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A number that mixes a seed with another one; the finaliser of SplitMix64 (Steele, Lea and Flood
/// 2014).
pub(crate) fn mix(seed: u64, with: u64) -> u64 {
    let mut x = seed ^ with.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The stream of a name under a seed.
pub(crate) fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    // FNV-1a.
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    ChaCha8Rng::seed_from_u64(mix(seed, hash))
}
