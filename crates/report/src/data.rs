//! What all charts draw: the runs' tables, and the trials gathered into one entry for each network.

use std::collections::HashMap;

use cellwright_ledger::{ControllerUpdate, CurvePoint, Kind, Run, Status, Trial};

use crate::numbers::mean;
use crate::settings::{Settings, differences};
use crate::{Error, names};

/// One run's tables.
pub(crate) struct RunData {
    pub(crate) name: String,
    pub(crate) folder: String,
    /// The text of run.toml.
    pub(crate) settings: String,
    compares: Settings,
    pub(crate) trials: Vec<Trial>,
    pub(crate) curves: Vec<CurvePoint>,
    pub(crate) updates: Vec<ControllerUpdate>,
}

impl RunData {
    /// How many architectures the search tried, whether or not they failed; what was refused took no trial's place.
    pub(crate) fn architectures(&self) -> usize {
        let tried = |trial: &&Trial| {
            trial.kind == Kind::Search && !trial.is_promoted() && trial.status != Status::Refused
        };
        self.trials.iter().filter(tried).count()
    }

    /// Twice as many trials as the search is for, for one that goes on.
    pub(crate) fn twice_the_trials(&self) -> u64 {
        let trials = self.compares.trials.unwrap_or(self.architectures() as u64);
        trials.max(1).saturating_mul(2)
    }
}

/// A network that was trained, in one run and for one number of epochs: its trials (with several seeds) as one.
pub(crate) struct Entry {
    pub(crate) run: usize,
    /// A baseline's other runs, which trained it alike.
    pub(crate) also_in: Vec<usize>,
    pub(crate) kind: Kind,
    pub(crate) label: String,
    pub(crate) epochs: u32,
    /// Indices into the run's trials, in order; never empty.
    pub(crate) trials: Vec<usize>,
    pub(crate) valid: Option<Measure>,
    pub(crate) test: Option<Measure>,
    /// What the search was after; the validation accuracy where nothing else counts.
    pub(crate) reward: Option<Measure>,
}

/// A measured number over the seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) mean: f64,
    /// Sample standard deviation; none for one seed.
    pub(crate) deviation: Option<f64>,
    /// How many seeds.
    pub(crate) count: usize,
}

impl Measure {
    fn of(values: &[f64]) -> Option<Self> {
        let mean = mean(values.iter().copied())?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt());
        Some(Self {
            mean,
            deviation,
            count: values.len(),
        })
    }

    /// The same network's measurements in two runs as one; equal means are one measurement seen twice.
    fn pooled(self, other: Self) -> Self {
        if self.mean == other.mean {
            return self;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let mean = (n * self.mean + m * other.mean) / (n + m);
        let squares = |part: Self| {
            let count = part.count as f64;
            (count - 1.0) * part.deviation.unwrap_or(0.0).powi(2)
                + count * (part.mean - mean).powi(2)
        };
        Self {
            mean,
            deviation: Some(((squares(self) + squares(other)) / (n + m - 1.0)).sqrt()),
            count: self.count + other.count,
        }
    }
}

/// Everything that is drawn.
pub(crate) struct Data {
    pub(crate) runs: Vec<RunData>,
    /// By reward, best first; those without one at the end.
    pub(crate) entries: Vec<Entry>,
    /// Whether the reward is anything else than the validation accuracy. Where runs aim at different rewards it is not:
    /// then validation accuracies, which compare, stand in the rewards' place.
    pub(crate) rewarded: bool,
    /// What the reader of the report should know.
    pub(crate) warnings: Vec<String>,
    /// Names of the baselines, in the order of their colours.
    baselines: Vec<String>,
}

impl Data {
    /// Reads the runs.
    pub(crate) fn read(runs: &[Run]) -> Result<Self, Error> {
        let first = runs.first().ok_or(Error::NoRun)?;
        let mut warnings = Vec::new();
        let mut read = runs
            .iter()
            .zip(names(runs))
            .map(|(run, name)| read_run(run, name, &mut warnings))
            .collect::<Result<Vec<_>, _>>()?;
        make_rewards_compare(&mut read);
        if read.iter().all(|run| run.trials.is_empty()) {
            return Err(Error::Empty {
                run: first.folder().to_owned(),
            });
        }
        let mut entries: Vec<Entry> = read
            .iter()
            .enumerate()
            .flat_map(|(index, run)| entries(index, run))
            .collect();
        pool_baselines(&read, &mut entries);
        entries.sort_by(|a, b| b.score().total_cmp(&a.score()));
        warnings.extend(mixed(&read));
        let mut done = read.iter().flat_map(|run| &run.trials);
        let rewarded = done.any(|it| {
            it.status == Status::Done && it.reward.is_some() && it.reward != it.valid_top1
        });
        let data = Self {
            runs: read,
            entries,
            rewarded,
            warnings,
            baselines: Vec::new(),
        };
        let baselines = data.baseline_names();
        let mut data = Self { baselines, ..data };
        data.warnings.extend(data.budgets());
        Ok(data)
    }

    /// An entry's first trial, which stands for all that its trials share.
    pub(crate) fn trial(&self, entry: &Entry) -> &Trial {
        &self.runs[entry.run].trials[entry.trials[0]]
    }

    /// `dataset, n of N trials done` and the like, for the line below a headline.
    pub(crate) fn setting(&self) -> String {
        let trials = || self.runs.iter().flat_map(|run| &run.trials);
        let searched = trials().filter(|trial| trial.kind == Kind::Search);
        let with = |status| searched.clone().filter(move |it| it.status == status);
        let (failed, refused) = (with(Status::Failed).count(), with(Status::Refused).count());
        let mut datasets: Vec<&str> = trials().map(|trial| trial.dataset.as_str()).collect();
        datasets.dedup();
        let mut spaces: Vec<&str> = searched.clone().map(|trial| trial.space.as_str()).collect();
        spaces.dedup();
        let count: usize = self.runs.iter().map(RunData::architectures).sum();
        let mut text = format!(
            "{} on {}: {count} {} searched",
            joined(&spaces),
            joined(&datasets),
            if count == 1 {
                "architecture"
            } else {
                "architectures"
            }
        );
        if failed > 0 {
            text.push_str(&format!(", {failed} of them failed"));
        }
        if refused > 0 {
            text.push_str(&format!("; {refused} more refused: beyond a limit"));
        }
        text
    }

    /// What the reward is, where it is anything else than the validation accuracy.
    pub(crate) fn reward(&self) -> Option<String> {
        let aims = &self.runs.first().filter(|_| self.rewarded)?.compares;
        (!aims.aims_like(&Settings::default())).then(|| aims.reward())
    }

    /// The trial of the search that found what an entry trains again.
    pub(crate) fn source(&self, entry: &Entry) -> Option<&Trial> {
        let id = self.trial(entry).source_trial?;
        let mut trials = self.runs[entry.run].trials.iter();
        trials.find(|trial| trial.id == id)
    }

    /// What a network is called among those of all runs: with its run's name where there are several. A baseline has
    /// none, unless another run trained it differently.
    pub(crate) fn name(&self, entry: &Entry) -> String {
        let stranger = |other: &Entry| {
            other.kind == Kind::Baseline
                && other.label == entry.label
                && other.is_finished()
                && !other.runs().any(|run| entry.runs().any(|own| own == run))
        };
        match entry.kind {
            Kind::Baseline if self.entries.iter().any(stranger) => {
                format!("{} ({})", entry.label, self.run_names(entry))
            }
            Kind::Search | Kind::Rerank if self.runs.len() > 1 => {
                format!("{} {}", self.runs[entry.run].name, entry.label)
            }
            _ => entry.label.clone(),
        }
    }

    /// The number of a baseline among all, whatever its epochs: the finalists first, the best of them the first.
    pub(crate) fn baseline_index(&self, entry: &Entry) -> usize {
        let name = self.name(entry);
        self.baselines
            .iter()
            .position(|other| *other == name)
            .unwrap_or(0)
    }

    /// The names of all baselines, as [`Self::baseline_index`] numbers them.
    fn baseline_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for entry in self.finalists().into_iter().chain(&self.entries) {
            let name = self.name(entry);
            if entry.kind == Kind::Baseline && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The names of an entry's runs, two of them at most.
    pub(crate) fn run_names(&self, entry: &Entry) -> String {
        let name = |run: usize| self.runs[run].name.as_str();
        match entry.also_in.as_slice() {
            [] => name(entry.run).to_owned(),
            [other] => format!("{}, {}", name(entry.run), name(*other)),
            others => format!("{} and {} more", name(entry.run), others.len()),
        }
    }
}

impl Entry {
    /// The runs that it is of: one, and for a baseline all that trained it alike.
    pub(crate) fn runs(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.run).chain(self.also_in.iter().copied())
    }

    /// Whether a training of it came to an end, so that there is an accuracy.
    pub(crate) fn is_finished(&self) -> bool {
        self.valid.is_some()
    }

    /// What entries are ranked by: the mean reward.
    pub(crate) fn score(&self) -> f64 {
        self.reward.map_or(f64::NEG_INFINITY, |reward| reward.mean)
    }
}

/// Distinct names, in the order given.
fn joined(names: &[&str]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(name) && !name.is_empty() {
            seen.push(name);
        }
    }
    if seen.is_empty() {
        "no search".to_owned()
    } else {
        seen.join(", ")
    }
}

fn read_run(run: &Run, name: String, warnings: &mut Vec<String>) -> Result<RunData, Error> {
    let (trials, curves, updates) = (run.trials()?, run.curves()?, run.controller_updates()?);
    for skipped in trials
        .skipped
        .iter()
        .chain(&curves.skipped)
        .chain(&updates.skipped)
    {
        warnings.push(skipped.to_string());
    }
    let compares = Settings::read(run).unwrap_or_else(|error| {
        warnings.push(error.to_string());
        Settings::default()
    });
    Ok(RunData {
        compares,
        name,
        folder: run.folder().display().to_string(),
        settings: run.settings_text()?,
        trials: trials.rows,
        curves: curves.rows,
        updates: updates.rows,
    })
}

/// One entry for each network and budget of a run; a baseline's failures make no entry where a seed of it was done.
fn entries(index: usize, run: &RunData) -> Vec<Entry> {
    let mut order = Vec::new();
    let mut groups: HashMap<(Kind, Network<'_>, u32), Vec<usize>> = HashMap::new();
    for (position, trial) in run.trials.iter().enumerate() {
        let key = (trial.kind, network(trial), trial.epochs);
        let group = groups.entry(key).or_default();
        if group.is_empty() {
            order.push(key);
        }
        group.push(position);
    }
    order
        .iter()
        .map(|key| entry(index, run, key.0, groups.remove(key).unwrap_or_default()))
        .collect()
}

/// Where runs aim at different rewards, the validation accuracies take the rewards' place.
fn make_rewards_compare(runs: &mut [RunData]) {
    let alike = runs
        .windows(2)
        .all(|pair| pair[0].compares.aims_like(&pair[1].compares));
    if alike {
        return;
    }
    for trial in runs.iter_mut().flat_map(|run| &mut run.trials) {
        trial.reward = trial.valid_top1;
    }
}

/// Runs that are laid over each other share the baselines that they trained alike: each becomes one entry, that of the
/// first run.
fn pool_baselines(runs: &[RunData], entries: &mut Vec<Entry>) {
    let mut kept: Vec<Entry> = Vec::new();
    for entry in entries.drain(..) {
        let key = |entry: &Entry| {
            let trial = &runs[entry.run].trials[entry.trials[0]];
            (
                (trial.space.clone(), trial.overrides.clone()),
                (trial.params, trial.macs),
                (trial.dataset.clone(), trial.input.clone(), trial.classes),
                (trial.train_images, trial.epochs, trial.batch),
            )
        };
        let settings = |entry: &Entry| &runs[entry.run].compares;
        let pool = |a: Option<Measure>, b: Option<Measure>| match (a, b) {
            (Some(a), Some(b)) => Some(a.pooled(b)),
            (a, b) => a.or(b),
        };
        let twin = kept.iter_mut().find(|other| {
            other.kind == Kind::Baseline
                && entry.kind == Kind::Baseline
                && other.is_finished()
                && entry.is_finished()
                && other.run != entry.run
                && key(other) == key(&entry)
                && settings(other).trains_like(settings(&entry))
        });
        match twin {
            Some(twin) => {
                twin.also_in.push(entry.run);
                twin.valid = pool(twin.valid, entry.valid);
                twin.test = pool(twin.test, entry.test);
                twin.reward = pool(twin.reward, entry.reward);
            }
            None => kept.push(entry),
        }
    }
    *entries = kept;
}

/// What makes two trials trials of one network: what it computes, and its parameters and MACs, as layers of which nothing
/// comes cost something too.
pub(crate) type Network<'t> = (&'t str, u64, u64);

pub(crate) fn network(trial: &Trial) -> Network<'_> {
    let computed = match trial.kind {
        Kind::Baseline => &trial.space,
        _ if trial.identity.is_empty() => &trial.choices,
        _ => &trial.identity,
    };
    (computed, trial.params, trial.macs)
}

fn entry(index: usize, run: &RunData, kind: Kind, mut trials: Vec<usize>) -> Entry {
    // Finished ones first, so that the entry's numbers come from them.
    trials.sort_by_key(|&position| (run.trials[position].status != Status::Done, position));
    let first = &run.trials[trials[0]];
    // A row that repeats another's result is no measurement of its own.
    let measured = |value: fn(&Trial) -> Option<f64>| {
        let own = trials.iter().map(|&position| &run.trials[position]);
        let repeats = |trial: &Trial| trial.kind == Kind::Search && trial.source_trial.is_some();
        let all: Vec<f64> = own
            .clone()
            .filter(|trial| !repeats(trial))
            .filter_map(value)
            .collect();
        if all.is_empty() {
            own.filter_map(value).take(1).collect()
        } else {
            all
        }
    };
    let (valid, test) = (
        measured(|trial| trial.valid_top1),
        measured(|trial| trial.test_top1),
    );
    let reward = measured(reward);
    Entry {
        run: index,
        also_in: Vec::new(),
        kind,
        label: label(first),
        epochs: first.epochs,
        valid: Measure::of(&valid),
        test: Measure::of(&test),
        reward: Measure::of(&reward),
        trials,
    }
}

/// A finished trial's reward, which is its validation accuracy where the table says nothing else; that of a failed
/// one is set, not measured.
pub(crate) fn reward(trial: &Trial) -> Option<f64> {
    let measured = trial.status == Status::Done;
    trial.reward.or(trial.valid_top1).filter(|_| measured)
}

/// How a network is called: a baseline by its name, a found one by the trial that found it.
pub(crate) fn label(trial: &Trial) -> String {
    match (trial.kind, trial.source_trial) {
        (Kind::Baseline, _) => trial.space.clone(),
        (Kind::Rerank, Some(source)) => format!("#{source}"),
        _ => format!("#{}", trial.id),
    }
}

/// Warns where runs cannot be compared.
fn mixed(runs: &[RunData]) -> Vec<String> {
    let mut images: Vec<String> = runs
        .iter()
        .flat_map(|run| &run.trials)
        .map(|trial| format!("{} at {}", trial.dataset, trial.input))
        .collect();
    images.sort();
    images.dedup();
    let images = (images.len() > 1).then(|| {
        format!(
            "accuracies of different data sets stand side by side: {}",
            images.join(", ")
        )
    });
    let settings: Vec<(&str, &Settings)> = runs
        .iter()
        .map(|run| (run.name.as_str(), &run.compares))
        .collect();
    images.into_iter().chain(differences(&settings)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_over_seeds() {
        assert_eq!(Measure::of(&[]), None);
        assert_eq!(
            Measure::of(&[0.5]),
            Some(Measure {
                mean: 0.5,
                deviation: None,
                count: 1
            })
        );
        let pooled = Measure::of(&[0.1, 0.4])
            .zip(Measure::of(&[0.2]))
            .map(|(a, b)| a.pooled(b));
        let whole = Measure::of(&[0.1, 0.4, 0.2]);
        assert!(pooled.zip(whole).is_some_and(|(a, b)| {
            let deviation = a.deviation.zip(b.deviation).map_or(1.0, |(a, b)| a - b);
            (a.mean - b.mean).abs() < 1e-12 && deviation.abs() < 1e-12 && a.count == b.count
        }));
        let three = Measure::of(&[0.1, 0.2, 0.3]);
        assert!(three.is_some_and(|it| it.deviation.is_some_and(|sd| (sd - 0.1).abs() < 1e-12)));
    }
}
