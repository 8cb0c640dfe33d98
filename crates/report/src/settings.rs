//! What of run.toml makes trainings and rewards compare.

use std::collections::{BTreeMap, BTreeSet};

use cellwright_ledger::{Error, Run};
use serde_json::Value;

/// How a run trained, and what it aimed at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// `[training]`, each value as text, without what changes no training and without the usual precision.
    training: BTreeMap<String, String>,
    /// How many trials the search is for; none where the settings do not say.
    pub(crate) trials: Option<u64>,
    /// What the reward aims at beside accuracy; what a limit refuses is no part of a reward.
    aims: String,
}

/// Keys of `[training]` that may differ between trainings which compare: seeds are what a mean is over, the test part
/// changes no weight, and a finished training met no time limit.
const FREE: [&str; 3] = ["seed", "test", "seconds_limit"];
/// The key of what a GPU computes in.
const PRECISION: &str = "precision";
/// What it is where nothing is said, and in runs of before it could be chosen.
const DEFAULT_PRECISION: &str = "tf32";
/// The key that each trial's own row says better, since a verdict trains longer.
const EPOCHS: &str = "epochs";

impl Settings {
    /// Reads a run's settings.
    ///
    /// # Errors
    /// Those of the ledger, where run.toml cannot be read.
    pub(crate) fn read(run: &Run) -> Result<Self, Error> {
        Ok(Self::of(&run.settings::<Value>()?))
    }

    fn of(settings: &Value) -> Self {
        let training = settings["training"].as_object();
        // A CPU computes in fp32 whatever is said.
        let on_cpu = settings["machine"]["device"] == "cpu";
        let usual = |(key, value): &(&String, &Value)| {
            *key == PRECISION && (on_cpu || *value == DEFAULT_PRECISION)
        };
        let aims = settings["objective"]["targets"].as_array();
        Self {
            training: training
                .into_iter()
                .flatten()
                .filter(|(key, _)| !FREE.contains(&key.as_str()))
                .filter(|it| !usual(it))
                .map(|(key, value)| (key.clone(), plain(value)))
                .collect(),
            trials: settings["search"]["trials"].as_u64(),
            aims: aims
                .into_iter()
                .flatten()
                .map(aim)
                .collect::<Vec<_>>()
                .join(" × "),
        }
    }

    /// Whether trainings of as many epochs compare.
    pub(crate) fn trains_like(&self, other: &Self) -> bool {
        let of = |it: &Self| {
            let mut training = it.training.clone();
            training.remove(EPOCHS);
            training
        };
        of(self) == of(other)
    }

    /// Whether rewards compare.
    pub(crate) fn aims_like(&self, other: &Self) -> bool {
        self.aims == other.aims
    }

    /// What the reward is, for a reader.
    pub(crate) fn reward(&self) -> String {
        match self.aims.as_str() {
            "" => "accuracy".to_owned(),
            aims => format!("accuracy × {aims}"),
        }
    }
}

/// Warnings where runs, given by name, were trained differently or aim at different rewards.
pub(crate) fn differences(runs: &[(&str, &Settings)]) -> Vec<String> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|(_, it)| it.training.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter_map(|key| {
            let value = |it: &Settings| it.training.get(key).map_or("not set", |it| it).to_owned();
            by_value(runs.iter().map(|(name, it)| (*name, value(it))))
                .map(|values| format!("{key} is {values}"))
        })
        .collect();
    let training = (!differing.is_empty()).then(|| {
        format!(
            "the runs were trained differently, so their accuracies do not compare: {}",
            differing.join("; ")
        )
    });
    let reward = by_value(runs.iter().map(|(name, it)| (*name, it.reward()))).map(|values| {
        format!(
            "the runs' rewards do not compare, so validation accuracy stands in their place: the reward is {values}"
        )
    });
    training.into_iter().chain(reward).collect()
}

/// `300 in a and b, 1200 in c`, in the order of the runs; nothing where all are equal.
pub(crate) fn by_value<'a>(values: impl Iterator<Item = (&'a str, String)>) -> Option<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (run, value) in values {
        match groups.iter_mut().find(|(other, _)| *other == value) {
            Some((_, runs)) => runs.push(run),
            None => groups.push((value, vec![run])),
        }
    }
    let texts: Vec<String> = groups
        .iter()
        .map(|(value, runs)| format!("{value} in {}", runs.join(" and ")))
        .collect();
    (groups.len() > 1).then(|| texts.join(", "))
}

/// A value as a reader wants it: text without quotes.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A target of the objective as one factor.
fn aim(target: &Value) -> String {
    let part = |key: &str| plain(&target[key]);
    format!(
        "({} / {})^({} below, {} above)",
        part("cost"),
        part("at"),
        part("below"),
        part("above")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(images: u32, seed: u32, epochs: u32, targets: Value) -> Settings {
        Settings::of(&json!({
            "training": {"train_limit": images, "seed": seed, "epochs": epochs, "optimizer": "sgd"},
            "objective": {"targets": targets},
        }))
    }

    #[test]
    fn trainings_compare_whatever_the_seed_and_the_reward() {
        let aim = json!([{"cost": "macs", "at": 5e4, "below": -0.07, "above": -0.07}]);
        let (a, b) = (settings(300, 0, 1, Value::Null), settings(300, 1, 2, aim));
        assert!(a.trains_like(&b) && !a.aims_like(&b));
        assert!(!a.trains_like(&settings(1200, 0, 1, Value::Null)));
        assert!(Settings::of(&json!({})).trains_like(&Settings::default()));
    }

    #[test]
    fn a_precision_that_is_not_the_usual_one_is_another_training() {
        let of = |device: &str, precision: Value| {
            Settings::of(&json!({
                "training": {"precision": precision},
                "machine": {"device": device},
            }))
        };
        let (usual, on_cpu) = (of("cuda:0", "tf32".into()), of("cpu", "fp32".into()));
        let before = Settings::of(&json!({"machine": {"device": "cuda:0"}}));
        assert!(usual.trains_like(&before) && usual.trains_like(&on_cpu));
        let bf16 = of("cuda:0", "bf16".into());
        assert!(!bf16.trains_like(&usual) && !of("cuda:0", "fp32".into()).trains_like(&usual));
        let told = differences(&[("a", &usual), ("b", &bf16)]);
        assert!(
            told[0].ends_with("precision is not set in a, bf16 in b"),
            "{told:?}"
        );
    }

    #[test]
    fn what_differs_is_told_with_the_runs() {
        let (a, b) = (
            settings(300, 0, 1, Value::Null),
            settings(1200, 1, 1, Value::Null),
        );
        let told = differences(&[("a", &a), ("b", &b), ("c", &a)]);
        let [text] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(
            text.ends_with("compare: train_limit is 300 in a and c, 1200 in b"),
            "{text}"
        );
        assert_eq!(differences(&[("a", &a), ("c", &a)]), Vec::<String>::new());

        let aim = json!([{"cost": "macs", "at": 5e4, "below": -0.07, "above": -0.07}]);
        let told = differences(&[("a", &a), ("b", &settings(300, 0, 1, aim))]);
        assert!(
            told[0].contains("accuracy in a, accuracy × (macs / 50000.0)^(-0.07 below"),
            "{told:?}"
        );
    }
}
