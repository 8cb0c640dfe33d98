//! Stratified, seeded splits and subsets.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Indices of images, ascending in each part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// For training.
    pub train: Vec<u32>,
    /// For validation.
    pub valid: Vec<u32>,
}

/// Splits the images with these labels: `valid_fraction` of each class goes to validation.
///
/// The number of validation images is `valid_fraction × images`, rounded, and each class has its share of it to within
/// one image. The fraction is held to 0..=1, and a class with any image keeps at least one for training.
/// The same labels, fraction and seed give the same split.
pub fn split(labels: &[u32], valid_fraction: f64, seed: u64) -> Split {
    let all: Vec<u32> = (0..labels.len() as u32).collect();
    // A NaN stays one here, and becomes 0 in the cast below.
    let fraction = valid_fraction.clamp(0.0, 1.0);
    let count = (fraction * all.len() as f64).round() as usize;
    let (valid, train) = take(labels, &all, count, 1, seed);
    Split { train, valid }
}

/// `limit` of `indices`, each class with its share to within one image; all of them if `limit` is 0 or no smaller than
/// their number. Ascending. The same arguments give the same subset. Indices beyond `labels` are left out.
pub fn subset(labels: &[u32], indices: &[u32], limit: usize, seed: u64) -> Vec<u32> {
    let mut known: Vec<u32> = indices
        .iter()
        .copied()
        .filter(|&i| (i as usize) < labels.len())
        .collect();
    known.sort_unstable();
    if limit == 0 || limit >= known.len() {
        return known;
    }
    take(labels, &known, limit, 0, seed).0
}

/// Every fifth image of each class, in order: the fixed test part of sets that come without one. (train, test)
pub(crate) fn every_fifth(labels: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    (0..labels.len() as u32).partition(|&i| {
        let count = seen.entry(labels[i as usize]).or_default();
        *count += 1;
        !(*count).is_multiple_of(5)
    })
}

/// (`count` of `indices`, the rest), stratified; `kept` of each class stay in the rest.
fn take(
    labels: &[u32],
    indices: &[u32],
    count: usize,
    kept: usize,
    seed: u64,
) -> (Vec<u32>, Vec<u32>) {
    let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for &i in indices {
        classes.entry(labels[i as usize]).or_default().push(i);
    }
    let sizes: Vec<usize> = classes.values().map(Vec::len).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut taken, mut rest) = (Vec::new(), Vec::new());
    for (mut members, quota) in classes.into_values().zip(quotas(&sizes, count)) {
        members.shuffle(&mut rng);
        let quota = quota.min(members.len().saturating_sub(kept));
        rest.extend(members.split_off(quota));
        taken.extend(members);
    }
    taken.sort_unstable();
    rest.sort_unstable();
    (taken, rest)
}

/// `count` shared out in proportion to `sizes`, by the largest remainders; equal remainders: the earlier class.
fn quotas(sizes: &[usize], count: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum::<usize>().max(1);
    let mut quotas: Vec<usize> = sizes.iter().map(|size| size * count / total).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&c| std::cmp::Reverse(sizes[c] * count % total));
    let left = count - quotas.iter().sum::<usize>();
    for &c in order.iter().take(left) {
        quotas[c] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(labels: &[u32], indices: &[u32]) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for &i in indices {
            *counts.entry(labels[i as usize]).or_default() += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn a_split_is_a_stratified_partition(
            labels in prop::collection::vec(0u32..5, 0..200), fraction in 0.0..1.0f64, seed: u64,
        ) {
            let parts = split(&labels, fraction, seed);
            let mut both = [parts.train.clone(), parts.valid.clone()].concat();
            both.sort_unstable();
            prop_assert_eq!(both, (0..labels.len() as u32).collect::<Vec<_>>());
            let all: Vec<u32> = (0..labels.len() as u32).collect();
            let (whole, valid, train) =
                (counts(&labels, &all), counts(&labels, &parts.valid), counts(&labels, &parts.train));
            for (class, n) in whole {
                let share = n as f64 * (fraction * labels.len() as f64).round() / labels.len() as f64;
                let got = valid.get(&class).copied().unwrap_or(0);
                prop_assert!(train.get(&class).copied().unwrap_or(0) > 0);
                prop_assert!((got as f64 - share).abs() <= 1.0, "class {}: {} of {}", class, got, n);
            }
            prop_assert_eq!(parts, split(&labels, fraction, seed));
        }

        #[test]
        fn a_subset_has_exactly_its_size_and_the_shares(
            labels in prop::collection::vec(0u32..4, 1..200), limit in 1usize..200, seed: u64,
        ) {
            let all: Vec<u32> = (0..labels.len() as u32).step_by(2).collect();
            let part = subset(&labels, &all, limit, seed);
            prop_assert_eq!(part.len(), limit.min(all.len()));
            prop_assert!(part.is_sorted_by(|a, b| a < b) && part.iter().all(|i| all.contains(i)));
            let (whole, some) = (counts(&labels, &all), counts(&labels, &part));
            for (class, n) in whole {
                let share = (n * part.len()) as f64 / all.len() as f64;
                prop_assert!((some.get(&class).copied().unwrap_or(0) as f64 - share).abs() < 1.0);
            }
        }
    }

    #[test]
    fn seeds_matter_and_odd_fractions_are_held() {
        let labels: Vec<u32> = (0..100).map(|i| i % 10).collect();
        assert_ne!(split(&labels, 0.2, 1), split(&labels, 0.2, 2));
        assert_eq!(split(&labels, 0.2, 1).valid.len(), 20);
        assert!(split(&labels, f64::NAN, 1).valid.is_empty());
        assert!(split(&labels, -1.0, 1).valid.is_empty());
        assert_eq!(split(&labels, 2.0, 1).train.len(), 10);
        assert_eq!(subset(&labels, &[5, 500], 0, 1), [5]);
    }

    #[test]
    fn the_shuffle_of_the_pinned_crates_is_known() {
        // The split of old runs must not move unnoticed when `rand` is updated.
        let labels = vec![0; 12];
        assert_eq!(split(&labels, 0.25, 7).valid, [0, 5, 11]);
    }
}
