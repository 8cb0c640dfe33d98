//! Learning curves: accuracy and loss over epochs, the best networks in colour, all others behind them.

use cellwright_ledger::{CurvePoint, Kind};
use plotters::style::RGBColor;

use super::{Chart, Figure, colors};
use crate::canvas::axes::{Axis, Panel, headline};
use crate::canvas::legend::{self, Mark};
use crate::canvas::scale::Scale;
use crate::canvas::{Canvas, Rect, theme};
use crate::data::{Data, Entry};
use crate::numbers::{percent_tick, tick};

pub(crate) const CHART: Chart = Chart {
    file: "learning-curves",
    title: "Learning curves",
    about: "Validation accuracy and training loss after each epoch. In colour the best found architectures and the \
            best baselines, in grey all others.",
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

/// One trial's curve.
struct Curve<'a> {
    points: Vec<&'a CurvePoint>,
    /// Its colour and name, where it is among the best.
    named: Option<(RGBColor, String)>,
    baseline: bool,
}

fn draw(data: &Data) -> Result<Vec<Figure>, String> {
    let curves = curves(data);
    let points = || curves.iter().flat_map(|curve| &curve.points);
    if !points().any(|point| point.valid_top1.is_some() || point.train_loss.is_some()) {
        return Ok(Vec::new());
    }
    Canvas::draw(SIZE.0, SIZE.1, |canvas| {
        headline(canvas, "Learning curves", &data.setting());
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
            trace(canvas, &left, curve, |point| point.valid_top1);
            trace(canvas, &right, curve, |point| {
                point.train_loss.filter(|loss| *loss > 0.0)
            });
        }
        keys(canvas, &curves);
    })
    .map(Figure::only)
}

/// All curves, those in colour last, so that they lie on top, the best on top of all.
fn curves(data: &Data) -> Vec<Curve<'_>> {
    let finalists = data.finalists();
    let best = |baseline: bool| {
        let kind = move |entry: &&&Entry| (entry.kind == Kind::Baseline) == baseline;
        finalists
            .iter()
            .filter(kind)
            .take(COLOURED)
            .copied()
            .collect::<Vec<_>>()
    };
    let (found, baselines) = (best(false), best(true));
    let shades = colors::apart(data, &found);
    let baselines = baselines
        .into_iter()
        .map(|entry| (entry, colors::of(data, entry)));
    let named: Vec<(&Entry, RGBColor)> = found.into_iter().zip(shades).chain(baselines).collect();

    let mut curves = Vec::new();
    for (index, run) in data.runs.iter().enumerate() {
        for (position, trial) in run.trials.iter().enumerate() {
            let points: Vec<&CurvePoint> = run
                .curves
                .iter()
                .filter(|point| point.trial == trial.id)
                .collect();
            if points.is_empty() {
                continue;
            }
            let rank = named
                .iter()
                .position(|(entry, _)| entry.run == index && entry.trials[0] == position);
            let name = |rank: usize| {
                let (entry, color) = &named[rank];
                (*color, data.name(entry))
            };
            curves.push((
                rank,
                Curve {
                    points,
                    named: rank.map(name),
                    baseline: trial.kind == Kind::Baseline,
                },
            ));
        }
    }
    curves.sort_by_key(|(rank, _)| std::cmp::Reverse(rank.map_or(usize::MAX, |rank| rank)));
    curves.into_iter().map(|(_, curve)| curve).collect()
}

fn trace(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    curve: &Curve<'_>,
    value: impl Fn(&CurvePoint) -> Option<f64>,
) {
    let values = curve
        .points
        .iter()
        .map(|point| (f64::from(point.epoch), value(point)));
    match &curve.named {
        Some((color, _)) => panel.plot(canvas, values, *color, 1.0, 2.0),
        None => panel.plot(canvas, values, theme::MUTED, 0.22, 1.0),
    }
}

fn keys(canvas: &mut Canvas<'_>, curves: &[Curve<'_>]) {
    let (x, limit) = (RIGHT.right + 26.0, SIZE.0 - RIGHT.right - 34.0);
    let mut y = RIGHT.top + 6.0;
    for (heading, baselines) in [("Best found", false), ("Baselines", true)] {
        let named: Vec<_> = curves
            .iter()
            .rev()
            .filter(|curve| curve.baseline == baselines)
            .filter_map(|curve| curve.named.as_ref())
            .collect();
        if named.is_empty() {
            continue;
        }
        y = legend::heading(canvas, heading, (x, y));
        for (color, name) in named {
            y = legend::entry(canvas, Mark::Line, *color, name, (x, y), limit);
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
