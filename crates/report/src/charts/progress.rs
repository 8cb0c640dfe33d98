//! The search's progress: every reward, the best so far, and a running mean.

use std::collections::BTreeSet;

use cellwright_ledger::{Kind, Status, Trial};
use plotters::style::RGBColor;

use super::{Chart, Figure, colors};
use crate::canvas::axes::{Axis, Panel, headline};
use crate::canvas::legend::{self, Mark};
use crate::canvas::scale::Scale;
use crate::canvas::theme::Pattern;
use crate::canvas::{Canvas, Point, Rect, theme};
use crate::data::{Data, RunData, label, reward};
use crate::numbers::{counted, mean, percent, percent_tick, tick};

pub(crate) const CHART: Chart = Chart {
    file: "progress",
    title: "Progress of the search",
    about: "A dot is the reward of a trial, by its number in the table (baselines have numbers too); a cross is a trial that failed; what was \
            refused, beyond a limit, is left out. The steps are the best so far, the thin line the mean of the last \
            trials: where it rises, the strategy learns. With successive halving both are over the shortest trainings; \
            a ring is one that was trained again for longer.",
    draw,
};

const SIZE: (f64, f64) = (960.0, 500.0);
const PLOT: Rect = Rect {
    left: 76.0,
    top: 96.0,
    right: 740.0,
    bottom: 436.0,
};

fn draw(data: &Data) -> Result<Vec<Figure>, String> {
    let searches: Vec<Vec<&Trial>> = data.runs.iter().map(searched).collect();
    let rewards = || searches.iter().flatten().filter_map(|trial| reward(trial));
    if rewards().next().is_none() {
        return Ok(Vec::new());
    }
    let accuracy = !data.rewarded;
    let baselines = best_baselines(data);
    let ids = || searches.iter().flatten().map(|trial| f64::from(trial.id));

    Canvas::draw(SIZE.0, SIZE.1, |canvas| {
        let description = description(data, &baselines, &searches);
        headline(canvas, CHART.title, &data.setting(), description);
        let values = rewards().chain(baselines.iter().map(|it| it.reward));
        let x = Axis {
            scale: Scale::counts(ids(), 0.02),
            name: "Trial",
            ticks: 10,
            format: &tick,
        };
        let y = Axis {
            scale: Scale::linear(values, 0.07),
            name: if accuracy {
                "Reward: validation accuracy"
            } else {
                "Reward"
            },
            ticks: 7,
            format: if accuracy { &percent_tick } else { &tick },
        };
        let panel = Panel::new(canvas, PLOT, &x, &y);
        for baseline in &baselines {
            let height = panel.y(baseline.reward);
            let ends = [(PLOT.left, height), (PLOT.right, height)];
            canvas.broken(&ends, baseline.color, 1.0, 1.4, baseline.pattern);
        }
        for (run, trials) in searches.iter().enumerate() {
            rewards_of(canvas, &panel, trials, run);
        }
        keys(canvas, data, &baselines, &searches);
    })
    .map(Figure::only)
}

/// The chart in a sentence.
fn description(data: &Data, baselines: &[Baseline], searches: &[Vec<&Trial>]) -> String {
    let shown = |reward: f64| match data.rewarded {
        true => format!("{reward:.4}"),
        false => percent(reward),
    };
    let best = data.runs.iter().zip(searches).filter_map(|(run, trials)| {
        let lowest = trials.iter().filter(|trial| !trial.is_promoted());
        let rewards = lowest.filter_map(|trial| Some((reward(trial)?, trial.id)));
        let best = rewards.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        best.map(|(reward, id)| format!("{}: {} in trial {id}", run.name, shown(reward)))
    });
    let baselines = baselines
        .iter()
        .map(|it| format!("baseline {}: {}", it.name, shown(it.reward)));
    let all: Vec<String> = best.chain(baselines).collect();
    let what = if data.rewarded {
        "reward"
    } else {
        "validation accuracy"
    };
    format!("The best {what} of each run's search; {}.", all.join("; "))
}

/// The trials of the search, without what was refused and so took no trial's place.
fn searched(run: &RunData) -> Vec<&Trial> {
    run.trials
        .iter()
        .filter(|trial| trial.kind == Kind::Search && trial.status != Status::Refused)
        .collect()
}

/// A baseline's reward, for comparison.
struct Baseline {
    name: String,
    color: RGBColor,
    pattern: Pattern,
    reward: f64,
    epochs: u32,
}

/// The three best baselines at the search's own budget.
fn best_baselines(data: &Data) -> Vec<Baseline> {
    let epochs: Vec<u32> = data
        .runs
        .iter()
        .flat_map(searched)
        .map(|trial| trial.epochs)
        .collect();
    data.entries
        .iter()
        .filter(|entry| entry.kind == Kind::Baseline && epochs.contains(&entry.epochs))
        .filter_map(|entry| Some((entry, entry.reward?.mean)))
        .zip(1..=3)
        .map(|((entry, reward), place)| Baseline {
            name: data.name(entry),
            color: colors::of(data, entry),
            pattern: theme::pattern(place),
            reward,
            epochs: entry.epochs,
        })
        .collect()
}

/// How many different numbers of epochs the baselines were trained for.
fn budgets(baselines: &[Baseline]) -> usize {
    let epochs: BTreeSet<u32> = baselines.iter().map(|it| it.epochs).collect();
    epochs.len()
}

fn rewards_of(canvas: &mut Canvas<'_>, panel: &Panel, trials: &[&Trial], run: usize) {
    let (color, pattern) = (theme::series(run), theme::pattern(run));
    let mut best: Option<f64> = None;
    let mut steps = Vec::new();
    for trial in trials {
        let x = f64::from(trial.id);
        let Some(reward) = reward(trial) else {
            canvas.cross((panel.x(x), PLOT.bottom - 8.0), 3.4, theme::FAILED);
            let reason = trial.reason.as_deref().unwrap_or("no reason given");
            canvas.tip(
                (panel.x(x), PLOT.bottom - 8.0),
                6.0,
                format!("{} failed: {reason}", label(trial)),
            );
            continue;
        };
        canvas.tip(
            panel.at(x, reward),
            5.0,
            format!(
                "{}: {reward:.4}, {}",
                label(trial),
                counted(trial.epochs, "epoch")
            ),
        );
        if trial.is_promoted() {
            canvas.ring(panel.at(x, reward), 2.8, color, 1.2);
            continue;
        }
        canvas.disc(panel.at(x, reward), 2.8, color, 0.45);
        steps.extend(best.map(|best| panel.at(x, best)));
        best = Some(best.map_or(reward, |best| best.max(reward)));
        steps.extend(best.map(|best| panel.at(x, best)));
    }
    let last = trials.last().map(|trial| f64::from(trial.id));
    steps.extend(last.zip(best).map(|(last, best)| panel.at(last, best)));
    canvas.broken(&steps, color, 1.0, 2.4, pattern);
    let means = running_mean(trials)
        .into_iter()
        .map(|(x, mean)| (x, Some(mean)));
    panel.plot(canvas, means, color, (0.55, 1.3), &[]);
}

/// How many trials the running mean is over: a tenth of them, at least five.
fn window(count: usize) -> usize {
    (count / 10).max(5)
}

fn running_mean(trials: &[&Trial]) -> Vec<(f64, f64)> {
    let lowest = trials.iter().filter(|trial| !trial.is_promoted());
    let lowest: Vec<&&Trial> = lowest.collect();
    lowest
        .windows(window(trials.len()))
        .filter_map(|last| {
            let rewards = last.iter().filter_map(|trial| reward(trial));
            Some((f64::from(last.last()?.id), mean(rewards)?))
        })
        .collect()
}

/// With more runs than this, the legend names each in one line, and the marks once.
const MANY: usize = 3;

/// What the marks of a run mean; gives the height below.
fn marks(
    canvas: &mut Canvas<'_>,
    (color, pattern): (RGBColor, Pattern),
    searches: &[Vec<&Trial>],
    (x, mut y): Point,
    limit: f64,
) -> f64 {
    let mut entry = |mark, text: &str| {
        y = legend::entry(canvas, mark, color, text, (x, y), limit);
    };
    entry(Mark::Line(pattern), "best so far");
    entry(Mark::Disc, "reward of a trial");
    if searches.iter().flatten().any(|trial| trial.is_promoted()) {
        entry(Mark::Ring, "trained again for longer");
    }
    let means = searches.iter().map(|trials| running_mean(trials));
    let windows = searches
        .iter()
        .zip(means)
        .filter(|(_, mean)| mean.len() > 1);
    let windows: BTreeSet<usize> = windows.map(|(trials, _)| window(trials.len())).collect();
    match (windows.first(), windows.last()) {
        (Some(least), Some(most)) if least == most => {
            entry(Mark::Thin, &format!("mean of the last {most}"));
        }
        (Some(least), Some(most)) => {
            entry(Mark::Thin, &format!("mean of the last {least} to {most}"));
        }
        _ => {}
    }
    y
}

fn keys(canvas: &mut Canvas<'_>, data: &Data, baselines: &[Baseline], searches: &[Vec<&Trial>]) {
    let (x, limit) = (PLOT.right + 28.0, SIZE.0 - PLOT.right - 36.0);
    let mut y = PLOT.top + 6.0;
    let many = data.runs.len() > MANY;
    for (index, run) in data.runs.iter().enumerate() {
        // A run without a reward has no line to name.
        let Some(first) = searches[index].iter().find(|trial| reward(trial).is_some()) else {
            continue;
        };
        let (color, pattern) = (theme::series(index), theme::pattern(index));
        if many {
            y = legend::entry(canvas, Mark::Line(pattern), color, &run.name, (x, y), limit);
            continue;
        }
        let title = if data.runs.len() > 1 {
            &run.name
        } else {
            &first.strategy
        };
        y = legend::heading(canvas, title, (x, y));
        y = marks(
            canvas,
            (color, pattern),
            &searches[index..=index],
            (x, y),
            limit,
        ) + 10.0;
    }
    if many {
        y = legend::heading(canvas, "In a run's colour", (x, y + 10.0));
        y = marks(canvas, (theme::MUTED, &[]), searches, (x, y), limit) + 10.0;
    }
    if searches
        .iter()
        .flatten()
        .any(|trial| trial.status == Status::Failed)
    {
        y = legend::entry(
            canvas,
            Mark::Cross,
            theme::FAILED,
            "failed trial",
            (x, y),
            limit,
        ) + 10.0;
    }
    if !baselines.is_empty() {
        let halved = searches.iter().flatten().any(|trial| trial.is_promoted());
        let title = if budgets(baselines) > 1 {
            "Baselines"
        } else if halved {
            "Baselines, all epochs"
        } else {
            "Baselines, same budget"
        };
        y = legend::heading(canvas, title, (x, y));
    }
    for baseline in baselines {
        // The epochs first: a long name is cut.
        let name = if budgets(baselines) > 1 {
            format!("{}, {}", counted(baseline.epochs, "epoch"), baseline.name)
        } else {
            baseline.name.clone()
        };
        let mark = Mark::Dashes(baseline.pattern);
        y = legend::entry(canvas, mark, baseline.color, &name, (x, y), limit);
    }
}
