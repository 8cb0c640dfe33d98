//! Ranks as normal scores.

/// The scores of values: the normal quantiles of their ranks, with mean zero and variance one. Equal
/// values have equal scores; where all are equal, all are zero.
pub(super) fn scores(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mut scores: Vec<f64> = ranks(values)
        .into_iter()
        .map(|rank| quantile((rank + 0.5) / n))
        .collect();
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / n;
    let scale = if variance > 0.0 {
        variance.sqrt().recip()
    } else {
        0.0
    };
    scores.iter_mut().for_each(|it| *it = (*it - mean) * scale);
    scores
}

/// The ranks of values from zero; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|index| ranks[*index] = rank);
        first += equal.len();
    }
    ranks
}

/// The quantile of the standard normal distribution, to 4.5e-4 (Abramowitz & Stegun 1964, 26.2.23).
fn quantile(probability: f64) -> f64 {
    let tail = probability.min(1.0 - probability);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let quantile = t - above / below;
    if probability < 0.5 {
        -quantile
    } else {
        quantile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_table() {
        for (probability, expected) in [(0.5, 0.0), (0.975, 1.959_96), (0.01, -2.326_35)] {
            assert!(
                (quantile(probability) - expected).abs() < 4.5e-4,
                "{probability}"
            );
        }
    }

    #[test]
    fn scores_follow_the_order() {
        let scores = scores(&[3.0, f64::NEG_INFINITY, 3.0, 10.0]);
        assert_eq!(scores[0], scores[2]);
        assert!(scores[1] < scores[0] && scores[0] < scores[3]);
        assert!(scores.iter().sum::<f64>().abs() < 1e-12);
        assert_eq!(super::scores(&[5.0, 5.0]), [0.0, 0.0]);
        assert!(super::scores(&[]).is_empty());
    }
}
