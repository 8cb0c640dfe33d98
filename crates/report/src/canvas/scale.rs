//! Axes as numbers: where a value lies, and which values deserve a tick.

/// A number or two say little about a scale.
const FEWEST: usize = 3;

/// A linear or logarithmic map of values onto 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Whether only whole numbers deserve a tick.
    whole: bool,
}

impl Scale {
    /// A linear scale over the values, with a margin on both sides (a fraction of their range).
    pub(crate) fn linear(values: impl IntoIterator<Item = f64>, margin: f64) -> Self {
        let (low, high) = extent(values).unwrap_or((0.0, 1.0));
        let range = if high > low {
            high - low
        } else {
            (low.abs() * 0.1).max(1e-3)
        };
        Self {
            low: low - range * margin,
            high: high + range * margin,
            logarithmic: false,
            whole: false,
        }
    }

    /// A linear scale over counts, with a margin on both sides: its ticks are whole numbers, and a lone count has room
    /// for those beside it.
    pub(crate) fn counts(values: impl IntoIterator<Item = f64>, margin: f64) -> Self {
        let (low, high) = extent(values).unwrap_or((0.0, 1.0));
        let aside = if high > low { 0.0 } else { 1.0 };
        Self {
            whole: true,
            ..Self::linear([low - aside, high + aside], margin)
        }
    }

    /// A logarithmic scale over the positive values, with a margin on both sides.
    pub(crate) fn logarithmic(values: impl IntoIterator<Item = f64>, margin: f64) -> Self {
        let logs = values
            .into_iter()
            .filter(|value| *value > 0.0)
            .map(f64::log10);
        let linear = Self::linear(logs, margin);
        // A narrow range still spans a factor of two, so that a tick or two fall into it.
        let missing = (0.3 - (linear.high - linear.low)).max(0.0) / 2.0;
        Self {
            low: linear.low - missing,
            high: linear.high + missing,
            logarithmic: true,
            whole: false,
        }
    }

    /// The same scale, within these limits.
    pub(crate) fn within(self, low: f64, high: f64) -> Self {
        Self {
            low: self.low.max(low),
            high: self.high.min(high),
            ..self
        }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic {
            value.max(f64::MIN_POSITIVE).log10()
        } else {
            value
        };
        (value - self.low) / (self.high - self.low)
    }

    /// Round values within the scale, about `count` of them, three at least. A logarithmic scale has powers of ten,
    /// 3 between them or 2 and 5 where these are few, and even steps where it spans too little for those.
    pub(crate) fn ticks(&self, count: usize) -> Vec<f64> {
        if !self.logarithmic {
            return self.linear_ticks(count);
        }
        let decades = self.high - self.low;
        let every = (decades / count.max(1) as f64).ceil().max(1.0) as i32;
        let finest = (1, [1.0, 2.0, 5.0].as_slice());
        let coarser = [(every, [1.0].as_slice()), (1, &[1.0]), (1, &[1.0, 3.0])];
        let dense = decades * 3.0 <= count as f64 * 1.3;
        coarser
            .into_iter()
            .filter(|_| !dense)
            .chain([finest])
            .map(|(every, mantissas)| self.decade_ticks(every, mantissas))
            .find(|ticks| ticks.len() >= FEWEST)
            .unwrap_or_else(|| {
                let (low, high) = (10f64.powf(self.low), 10f64.powf(self.high));
                Scale::linear([low, high], 0.0).linear_ticks(count)
            })
    }

    fn linear_ticks(&self, count: usize) -> Vec<f64> {
        let with_step = |step: f64| -> Vec<f64> {
            let first = (self.low / step - 1e-9).ceil() as i64;
            let last = (self.high / step + 1e-9).floor() as i64;
            (first..=last).map(|index| index as f64 * step).collect()
        };
        let least = if self.whole { 1.0 } else { 0.0 };
        let mut step = round_step((self.high - self.low) / count.max(1) as f64).max(least);
        let mut ticks = with_step(step);
        // Two finer steps are enough: each is at most half.
        for _ in 0..2 {
            if ticks.len() < FEWEST {
                step = round_step(step * 0.4).max(least);
                ticks = with_step(step);
            }
        }
        ticks
    }

    /// These multiples of every so many powers of ten.
    fn decade_ticks(&self, every: i32, mantissas: &[f64]) -> Vec<f64> {
        (self.low.floor() as i32..=self.high.ceil() as i32)
            .filter(|exponent| exponent.rem_euclid(every) == 0)
            .flat_map(|exponent| {
                mantissas
                    .iter()
                    .map(move |mantissa| mantissa * 10f64.powi(exponent))
            })
            .filter(|tick| (-1e-9..=1.0 + 1e-9).contains(&self.at(*tick)))
            .collect()
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `step`.
pub(crate) fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(1e-12).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .iter()
        .map(|factor| factor * power)
        .find(|round| *round >= step * 0.999)
        .unwrap_or(power * 10.0)
}

/// The smallest and the largest finite value.
fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold(None, |range, value| {
            let (low, high) = range.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_inside() {
        let scale = Scale::linear([0.8712, 0.9431], 0.05);
        assert_eq!(scale.ticks(6).len(), 4);
        assert!(
            scale
                .ticks(6)
                .iter()
                .all(|tick| (0.0..=1.0).contains(&scale.at(*tick)))
        );
        assert_eq!(
            Scale::linear([0.0, 10.0], 0.0).ticks(5),
            [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        );
    }

    #[test]
    fn an_unlucky_range_still_has_three_ticks() {
        assert!(Scale::linear([1.02, 1.97], 0.0).ticks(2).len() >= 3);
    }

    #[test]
    fn every_logarithmic_range_has_three_ticks_and_not_many() {
        for count in 3..9 {
            for start in 0..40 {
                for width in 1..80 {
                    let low = 10f64.powf(f64::from(start) / 40.0);
                    let high = low * 10f64.powf(f64::from(width) / 10.0);
                    let ticks = Scale::logarithmic([low, high], 0.0).ticks(count);
                    assert!((3..=12).contains(&ticks.len()), "{low}..{high}: {ticks:?}");
                    assert!(ticks.is_sorted(), "{ticks:?}");
                }
            }
        }
        let narrow = Scale::logarithmic([1.1, 1.7], 0.0).ticks(5);
        assert!(narrow.len() >= 3, "{narrow:?}");
    }

    #[test]
    fn logarithmic_ticks_follow_the_range() {
        assert_eq!(
            Scale::logarithmic([1e6, 1e8], 0.0).ticks(6),
            [1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8]
        );
        assert_eq!(Scale::logarithmic([1e3, 1e9], 0.0).ticks(8).len(), 7);
        assert!((Scale::logarithmic([1e2, 1e4], 0.0).at(1e3) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn ticks_of_counts_are_whole() {
        assert_eq!(Scale::counts([5.0], 0.02).ticks(10), [4.0, 5.0, 6.0]);
        assert_eq!(Scale::counts([1.0, 2.0], 0.02).ticks(10), [1.0, 2.0]);
        assert_eq!(
            Scale::counts([0.0, 40.0], 0.0).ticks(4),
            [0.0, 10.0, 20.0, 30.0, 40.0]
        );
    }

    #[test]
    fn a_single_value_and_none_still_make_a_scale() {
        assert!((Scale::linear([0.5], 0.1).at(0.5) - 0.5).abs() < 0.5);
        assert!(Scale::linear([f64::NAN], 0.1).at(0.5).is_finite());
        assert!(!Scale::logarithmic([3.2e6], 0.1).ticks(6).is_empty());
    }
}
