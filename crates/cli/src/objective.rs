//! Flags for what a search aims at beside accuracy.

use anyhow::Result;
use cellwright_search::objective::{Limit, Objective, Target};

use crate::output::{Usage, note};

/// Costs that count.
#[derive(clap::Args, Debug, Clone)]
pub struct ObjectiveFlags {
    /// Multiply the reward by (COST / VALUE)^W; COST: macs, params or latency, such as macs=20M or
    /// latency=5ms; W: -0.07 as in MnasNet, or macs=20M:-0.1, or macs=20M:hard for 0 below and -1 above
    #[arg(long = "target", value_name = "COST=VALUE[:W]")]
    targets: Vec<Target>,
    /// Do not train what costs more, such as params=1M or latency=5ms; such architectures do not count as trials,
    /// except for latency
    #[arg(long = "at-most", value_name = "COST=VALUE")]
    limits: Vec<Limit>,
}

impl ObjectiveFlags {
    /// An objective with what the flags say; says what it is where they aim at more than accuracy.
    ///
    /// # Errors
    /// [`Usage`] where a cost has two targets or two limits.
    pub fn over(&self, objective: Objective) -> Result<Objective> {
        let targets: Vec<_> = self.targets.iter().map(|it| it.cost).collect();
        let limits: Vec<_> = self.limits.iter().map(|it| it.cost).collect();
        for (flag, costs) in [("--target", targets), ("--at-most", limits)] {
            if let Some(cost) =
                (1..costs.len()).find_map(|at| costs[..at].iter().find(|it| **it == costs[at]))
            {
                return Err(Usage(format!("{flag} names {cost} twice: keep one")).into());
            }
        }
        if !self.targets.is_empty() {
            let factors: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
            note(format!(
                "reward: validation accuracy × {}",
                factors.join(" × ")
            ));
        }
        Ok(Objective {
            targets: given(&self.targets).unwrap_or(objective.targets),
            limits: given(&self.limits).unwrap_or(objective.limits),
        })
    }
}

/// What a flag lists, if it is given.
fn given<T: Clone>(listed: &[T]) -> Option<Vec<T>> {
    (!listed.is_empty()).then(|| listed.to_vec())
}
