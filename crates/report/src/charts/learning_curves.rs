//! Learning curves: accuracy and loss over epochs, the best networks in colour, all others behind them.

use cellwright_ledger::{CurvePoint, Kind};
use plotters::style::RGBColor;

use super::{Chart, Figure, colors};
use crate::canvas::axes::{Axis, Panel, headline};
use crate::canvas::legend::{self, Mark};
use crate::canvas::scale::Scale;
use crate::canvas::theme::Pattern;
use crate::canvas::{Canvas, Rect, theme};
use crate::data::{Data, Entry};
use crate::numbers::{counted, percent, percent_tick, tick};

pub(crate) const CHART: Chart = Chart {
    file: "learning-curves",
    title: "Learning curves",
    about: "Validation accuracy and training loss after each epoch. In colour the best found architectures and the \
            best baselines, a line for each seed, in grey all others.",
    draw,
};

const SIZE: (f64, f64) = (960.0, 470.0);
const LEFT: Rect = Rect {
    left: 72.0,
    top: 96.0,
    right: 390.0,
    bottom: 406.0,
};
const RIGHT: Rect = Rect {
    left: 462.0,
    top: 96.0,
    right: 764.0,
    bottom: 406.0,
};
/// How many of the found and of the baselines are in colour.
const COLOURED: usize = 4;

/// A network whose curves are in colour.
struct Named<'a> {
    entry: &'a Entry,
    look: (RGBColor, Pattern),
}

/// One trial's curve.
struct Curve<'a> {
    points: Vec<&'a CurvePoint>,
    /// The index of its network among those in colour, the best the first.
    named: Option<usize>,
}

fn draw(data: &Data) -> Result<Vec<Figure>, String> {
    let named = named(data);
    let curves = curves(data, &named);
    let points = || curves.iter().flat_map(|curve| &curve.points);
    if !points().any(|point| point.valid_top1.is_some() || point.train_loss.is_some()) {
        return Ok(Vec::new());
    }
    Canvas::draw(SIZE.0, SIZE.1, |canvas| {
        let description = description(data, &named);
        headline(canvas, CHART.title, &data.setting(), description);
        let epochs = Axis {
            scale: Scale::counts(points().map(|point| f64::from(point.epoch)), 0.03),
            name: "Epoch",
            ticks: 6,
            format: &tick,
        };
        let accuracy = Axis {
            scale: Scale::linear(points().filter_map(|point| point.valid_top1), 0.05),
            name: "Validation accuracy",
            ticks: 6,
            format: &percent_tick,
        };
        let loss = Axis {
            scale: Scale::logarithmic(points().filter_map(|point| point.train_loss), 0.05),
            name: "Training loss (nats, log scale)",
            ticks: 6,
            format: &tick,
        };
        let left = Panel::new(canvas, LEFT, &epochs, &accuracy);
        let right = Panel::new(canvas, RIGHT, &epochs, &loss);
        for curve in &curves {
            trace(canvas, &left, &named, curve, |point| point.valid_top1);
            trace(canvas, &right, &named, curve, |point| {
                point.train_loss.filter(|loss| *loss > 0.0)
            });
        }
        keys(canvas, data, &named, &curves);
    })
    .map(Figure::only)
}

/// The chart in a sentence.
fn description(data: &Data, named: &[Named<'_>]) -> String {
    let end = |it: &Named<'_>| {
        let (valid, epochs) = (it.entry.valid?, counted(it.entry.epochs, "epoch"));
        let name = data.name(it.entry);
        Some(format!("{name} {} after {epochs}", percent(valid.mean)))
    };
    let ends: Vec<String> = named.iter().filter_map(end).collect();
    format!("Validation accuracies of the best: {}.", ends.join(", "))
}

/// The best of what was found and of the baselines.
fn named(data: &Data) -> Vec<Named<'_>> {
    let finalists = data.finalists();
    let best = |baseline: bool| {
        let kind = finalists
            .iter()
            .filter(move |entry| (entry.kind == Kind::Baseline) == baseline);
        kind.take(COLOURED).copied().collect::<Vec<_>>()
    };
    let (found, baselines) = (best(false), best(true));
    let shades = colors::apart(data, &found);
    let baselines = baselines
        .into_iter()
        .enumerate()
        .map(|(place, entry)| (entry, (colors::of(data, entry), theme::pattern(place))));
    let all = found.into_iter().zip(shades).chain(baselines);
    all.map(|(entry, look)| Named { entry, look }).collect()
}

/// All curves, a network's own of all its seeds and a baseline's of all runs that share it; those in colour last, so that they lie on top, the best on top of all.
fn curves<'a>(data: &'a Data, named: &[Named<'_>]) -> Vec<Curve<'a>> {
    let mut curves = Vec::new();
    for (index, run) in data.runs.iter().enumerate() {
        for (position, trial) in run.trials.iter().enumerate() {
            let of_trial = |point: &&CurvePoint| point.trial == trial.id;
            let points: Vec<&CurvePoint> = run.curves.iter().filter(of_trial).collect();
            let is_of = |Named { entry, .. }: &Named<'_>| {
                let pooled = trial.kind == Kind::Baseline
                    && (trial.space.as_str(), trial.epochs) == (entry.label.as_str(), entry.epochs)
                    && entry.also_in.contains(&index);
                pooled || entry.run == index && entry.trials.contains(&position)
            };
            if !points.is_empty() {
                let named = named.iter().position(is_of);
                curves.push(Curve { points, named });
            }
        }
    }
    curves.sort_by_key(|curve| std::cmp::Reverse(curve.named.unwrap_or(usize::MAX)));
    curves
}

fn trace(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    named: &[Named<'_>],
    curve: &Curve<'_>,
    value: impl Fn(&CurvePoint) -> Option<f64>,
) {
    let values = curve
        .points
        .iter()
        .map(|point| (f64::from(point.epoch), value(point)));
    match curve.named.map(|index| named[index].look) {
        Some((color, pattern)) => panel.plot(canvas, values, color, (1.0, 2.0), pattern),
        None => panel.plot(canvas, values, theme::MUTED, (0.22, 1.0), &[]),
    }
}

fn keys(canvas: &mut Canvas<'_>, data: &Data, named: &[Named<'_>], curves: &[Curve<'_>]) {
    let (x, limit) = (RIGHT.right + 26.0, SIZE.0 - RIGHT.right - 34.0);
    let mut y = RIGHT.top + 6.0;
    for (heading, baselines) in [("Best found", false), ("Baselines", true)] {
        let drawn = |index: &usize| curves.iter().any(|curve| curve.named == Some(*index));
        let named: Vec<&Named<'_>> = (0..named.len())
            .filter(drawn)
            .map(|index| &named[index])
            .filter(|it| (it.entry.kind == Kind::Baseline) == baselines)
            .collect();
        if named.is_empty() {
            continue;
        }
        y = legend::heading(canvas, heading, (x, y));
        for it in named {
            let (color, pattern) = it.look;
            let name = data.name(it.entry);
            y = legend::entry(canvas, Mark::Line(pattern), color, &name, (x, y), limit);
        }
        y += 12.0;
    }
    if curves.iter().any(|curve| curve.named.is_none()) {
        legend::entry(
            canvas,
            Mark::Thin,
            theme::MUTED,
            "all others",
            (x, y),
            limit,
        );
    }
}
