//! The search's progress: every reward, the best so far, and a running mean.

use cellwright_ledger::{Kind, Status, Trial};
use plotters::style::RGBColor;

use super::{Chart, Figure, colors};
use crate::canvas::axes::{Axis, Panel, headline};
use crate::canvas::legend::{self, Mark};
use crate::canvas::scale::Scale;
use crate::canvas::{Canvas, Point, Rect, theme};
use crate::data::{Data, RunData, label, reward};
use crate::numbers::{mean, percent_tick, tick, whole};

pub(crate) const CHART: Chart = Chart {
    file: "progress",
    title: "Progress of the search",
    about: "A dot is the reward of a trial, in the order of the search; a cross is a trial that failed; what was \
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
    let longest = searches.iter().map(Vec::len).max().unwrap_or(1);

    Canvas::draw(SIZE.0, SIZE.1, |canvas| {
        headline(canvas, "Progress of the search", &data.setting());
        let values = rewards().chain(baselines.iter().map(|it| it.reward));
        let x = Axis {
            scale: Scale::linear([1.0, longest as f64], 0.02).within(0.5, f64::INFINITY),
            name: "Trial",
            ticks: 10,
            format: &whole,
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
            canvas.dashed(&ends, baseline.color, 1.4, 4.0);
        }
        for (run, trials) in searches.iter().enumerate() {
            rewards_of(canvas, &panel, trials, run);
        }
        keys(canvas, data, &baselines, &searches);
    })
    .map(Figure::only)
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
        .filter_map(|entry| {
            Some(Baseline {
                name: data.name(entry),
                color: colors::of(data, entry),
                reward: entry.reward?.mean,
                epochs: entry.epochs,
            })
        })
        .take(3)
        .collect()
}

fn rewards_of(canvas: &mut Canvas<'_>, panel: &Panel, trials: &[&Trial], run: usize) {
    let color = theme::series(run);
    let mut best: Option<f64> = None;
    let mut steps = Vec::new();
    for (index, trial) in trials.iter().enumerate() {
        let x = (index + 1) as f64;
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
            format!("{}: {reward:.4}, {} epochs", label(trial), trial.epochs),
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
    steps.extend(best.map(|best| panel.at(trials.len() as f64, best)));
    canvas.line(&steps, color, 1.0, 2.4);
    let means = running_mean(trials)
        .into_iter()
        .map(|(x, mean)| (x, Some(mean)));
    panel.plot(canvas, means, color, 0.55, 1.3);
}

/// How many trials the running mean is over: a tenth of them, at least five.
fn window(count: usize) -> usize {
    (count / 10).max(5)
}

fn running_mean(trials: &[&Trial]) -> Vec<(f64, f64)> {
    let lowest = (1..).zip(trials).filter(|(_, trial)| !trial.is_promoted());
    let lowest: Vec<(usize, &&Trial)> = lowest.collect();
    lowest
        .windows(window(trials.len()))
        .filter_map(|last| {
            let rewards = last.iter().filter_map(|(_, trial)| reward(trial));
            Some((last.last()?.0 as f64, mean(rewards)?))
        })
        .collect()
}

/// With more runs than this, the legend names each in one line, and the marks once.
const MANY: usize = 3;

/// What the marks of a run mean; gives the height below.
fn marks(
    canvas: &mut Canvas<'_>,
    color: RGBColor,
    trials: &[&Trial],
    (x, mut y): Point,
    limit: f64,
) -> f64 {
    let mut entry = |mark, text: &str| {
        y = legend::entry(canvas, mark, color, text, (x, y), limit);
    };
    entry(Mark::Line, "best so far");
    entry(Mark::Disc, "reward of a trial");
    if trials.iter().any(|trial| trial.is_promoted()) {
        entry(Mark::Ring, "trained again for longer");
    }
    let mean = format!("mean of the last {}", window(trials.len()));
    entry(Mark::Thin, &mean);
    y
}

fn keys(canvas: &mut Canvas<'_>, data: &Data, baselines: &[Baseline], searches: &[Vec<&Trial>]) {
    let (x, limit) = (PLOT.right + 28.0, SIZE.0 - PLOT.right - 36.0);
    let mut y = PLOT.top + 6.0;
    let many = data.runs.len() > MANY;
    for (index, run) in data.runs.iter().enumerate() {
        let Some(first) = searches[index].first() else {
            continue;
        };
        let color = theme::series(index);
        if many {
            y = legend::entry(canvas, Mark::Line, color, &run.name, (x, y), limit);
            continue;
        }
        let title = if data.runs.len() > 1 {
            &run.name
        } else {
            &first.strategy
        };
        y = legend::heading(canvas, title, (x, y));
        y = marks(canvas, color, &searches[index], (x, y), limit) + 10.0;
    }
    if many && let Some(longest) = searches.iter().max_by_key(|it| it.len()) {
        y = legend::heading(canvas, "In a run's colour", (x, y + 10.0));
        y = marks(canvas, theme::MUTED, longest, (x, y), limit) + 10.0;
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
        let title = if halved {
            "Baselines, all epochs"
        } else {
            "Baselines, same budget"
        };
        y = legend::heading(canvas, title, (x, y));
    }
    for baseline in baselines {
        let (color, name) = (baseline.color, &baseline.name);
        y = legend::entry(canvas, Mark::Dashes, color, name, (x, y), limit);
    }
}
