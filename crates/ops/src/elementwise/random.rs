//! Random bits that are a function of a seed and an index alone, so that masks depend neither on
//! threads nor on the order of the work, and backward makes them again instead of storing them.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood 2014) entered at any place of its sequence.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function, a bijection of 64 bits.
#[inline(always)]
pub(crate) fn mixed(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seed mixed with another number.
pub fn mix(seed: u64, with: u64) -> u64 {
    mixed(seed ^ with.wrapping_mul(STEP).rotate_left(31))
}

/// The start of the sequence of `seed`: mixed, so that neighbouring seeds do not give neighbouring
/// parts of one sequence.
pub(crate) fn start(seed: u64) -> u64 {
    mixed(seed.wrapping_add(STEP))
}

/// Number `index` of the sequence that starts at `start`, in 0..2³².
#[inline(always)]
pub(crate) fn draw(start: u64, index: u64) -> u64 {
    mixed(start.wrapping_add(index.wrapping_add(1).wrapping_mul(STEP))) >> 32
}

/// What a draw must be below to be kept, when a share `rate` is dropped.
pub(crate) fn threshold(rate: f64) -> u64 {
    ((1.0 - rate) * 4_294_967_296.0).round() as u64
}

/// For each of `count` indices: 0 if it is dropped, else 1/(1 − rate).
pub(crate) fn factors(seed: u64, rate: f64, count: usize) -> Vec<f32> {
    let (start, threshold) = (start(seed), threshold(rate));
    let kept = (1.0 / (1.0 - rate)) as f32;
    (0..count as u64)
        .map(|index| {
            if draw(start, index) < threshold {
                kept
            } else {
                0.0
            }
        })
        .collect()
}
