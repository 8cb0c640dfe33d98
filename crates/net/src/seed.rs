//! Streams of random numbers that depend on names, not on order.

use cellwright_ops::elementwise::random::mix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The stream of a name under a seed.
pub(crate) fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    // FNV-1a.
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    ChaCha8Rng::seed_from_u64(mix(seed, hash))
}
