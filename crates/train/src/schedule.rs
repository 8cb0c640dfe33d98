//! The learning rate over the steps.

use crate::Settings;

/// The learning rate of a step (from 0) of a training of `steps` steps, `steps_per_epoch` an epoch:
/// a linear rise over the warm-up, then the falling half of a cosine.
#[must_use]
pub fn learning_rate(settings: &Settings, step: u64, steps: u64, steps_per_epoch: u64) -> f64 {
    let warmup = (settings.warmup_epochs * steps_per_epoch as f64).min(steps as f64 / 2.0);
    let at = step as f64 + 1.0;
    if at <= warmup {
        return settings.learning_rate * at / warmup;
    }
    let progress = ((step as f64 - warmup) / (steps as f64 - warmup).max(1.0)).clamp(0.0, 1.0);
    settings.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_then_falls_to_nearly_nothing() {
        let settings = Settings {
            learning_rate: 1.0,
            warmup_epochs: 1.0,
            ..Settings::default()
        };
        let rates: Vec<f64> = (0..100)
            .map(|step| learning_rate(&settings, step, 100, 10))
            .collect();
        assert!((rates[4] - 0.5).abs() < 1e-12 && (rates[9] - 1.0).abs() < 1e-12);
        assert!(rates[10..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[99] < 1e-3);
    }

    #[test]
    fn a_single_step_has_a_rate() {
        let settings = Settings::default();
        assert!(learning_rate(&settings, 0, 1, 1) > 0.0);
    }
}
