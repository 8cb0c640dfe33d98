//! The controller over its updates: mean reward, entropy, loss.

use cellwright_ledger::ControllerUpdate;

use super::{Chart, Figure};
use crate::canvas::axes::{Axis, Panel, headline};
use crate::canvas::legend::{self, Mark};
use crate::canvas::scale::Scale;
use crate::canvas::{Canvas, Rect, theme};
use crate::data::Data;
use crate::numbers::{counted, tick};

pub(crate) const CHART: Chart = Chart {
    file: "controller",
    title: "The controller",
    about: "Reward, entropy and loss of the policy over the trials that it has learnt from. Entropy falls as the \
            policy makes up its mind; the dashed line is the baseline that is subtracted from the rewards.",
    draw,
};

const WIDTH: f64 = 960.0;
const PANEL: f64 = 128.0;
const GAP: f64 = 78.0;
const TOP: f64 = 98.0;

/// One quantity over the updates.
struct Quantity {
    name: &'static str,
    value: fn(&ControllerUpdate) -> Option<f64>,
    /// A second line, dashed.
    beside: Option<fn(&ControllerUpdate) -> Option<f64>>,
}

const QUANTITIES: [Quantity; 3] = [
    Quantity {
        name: "Mean reward",
        value: |update| update.mean_reward,
        beside: Some(|update| update.baseline),
    },
    Quantity {
        name: "Entropy of the policy (nats a decision)",
        value: |update| update.entropy,
        beside: None,
    },
    Quantity {
        name: "Loss",
        value: |update| update.loss,
        beside: None,
    },
];

fn draw(data: &Data) -> Result<Vec<Figure>, String> {
    let updates = || data.runs.iter().flat_map(|run| &run.updates);
    let shown: Vec<&Quantity> = QUANTITIES
        .iter()
        .filter(|quantity| updates().any(|update| (quantity.value)(update).is_some()))
        .collect();
    if shown.is_empty() {
        return Ok(Vec::new());
    }
    let height = TOP + shown.len() as f64 * (PANEL + GAP) - 14.0;
    Canvas::draw(WIDTH, height, |canvas| {
        let count = updates().count();
        let detail = format!(
            "{}; {} of the policy",
            data.setting(),
            counted(count as u64, "update")
        );
        headline(canvas, CHART.title, &detail, description(data, &shown));
        for (index, quantity) in shown.iter().enumerate() {
            let top = TOP + index as f64 * (PANEL + GAP);
            plot(
                canvas,
                data,
                quantity,
                Rect::new(76.0, top, 760.0, top + PANEL),
            );
        }
        keys(canvas, data);
    })
    .map(Figure::only)
}

/// The chart in a sentence: the first and the last value of each line.
fn description(data: &Data, shown: &[&Quantity]) -> String {
    let lines = data.runs.iter().flat_map(|run| {
        shown.iter().filter_map(|quantity| {
            let mut values = run.updates.iter().filter_map(quantity.value);
            let first = values.next()?;
            let last = values.next_back().unwrap_or(first);
            let name = quantity.name;
            Some(format!("{}: {name} from {first:.4} to {last:.4}", run.name))
        })
    });
    format!("{}.", lines.collect::<Vec<_>>().join("; "))
}

fn plot(canvas: &mut Canvas<'_>, data: &Data, quantity: &Quantity, rect: Rect) {
    let updates = || data.runs.iter().flat_map(|run| &run.updates);
    let beside = |update: &ControllerUpdate| quantity.beside.and_then(|value| value(update));
    let values = updates()
        .flat_map(|update| [(quantity.value)(update), beside(update)])
        .flatten();
    let x = Axis {
        scale: Scale::counts(updates().map(|update| f64::from(update.trials_seen)), 0.02),
        name: "Trials seen",
        ticks: 10,
        format: &tick,
    };
    let y = Axis {
        scale: Scale::linear(values, 0.08),
        name: quantity.name,
        ticks: 4,
        format: &tick,
    };
    let panel = Panel::new(canvas, rect, &x, &y);
    for (index, run) in data.runs.iter().enumerate() {
        let color = theme::series(index);
        let dashes: Vec<_> = run
            .updates
            .iter()
            .filter_map(|update| Some(panel.at(f64::from(update.trials_seen), beside(update)?)))
            .collect();
        match dashes.as_slice() {
            // A lone update has no line: a dash stands for it, wider than the dot that may lie on it.
            [(x, y)] => canvas.line(&[(x - 9.0, *y), (x + 9.0, *y)], theme::MUTED, 1.0, 1.6),
            more => canvas.broken(more, theme::MUTED, 1.0, 1.3, theme::DASHES),
        }
        let values = run
            .updates
            .iter()
            .map(|update| (f64::from(update.trials_seen), (quantity.value)(update)));
        panel.plot(canvas, values, color, (1.0, 2.0), theme::pattern(index));
    }
}

fn keys(canvas: &mut Canvas<'_>, data: &Data) {
    let (x, limit) = (788.0, WIDTH - 796.0);
    let mut y = TOP + 6.0;
    for (index, run) in data
        .runs
        .iter()
        .enumerate()
        .filter(|(_, run)| !run.updates.is_empty())
    {
        let name = if data.runs.len() > 1 {
            run.name.as_str()
        } else {
            "policy"
        };
        y = legend::entry(
            canvas,
            Mark::Line(theme::pattern(index)),
            theme::series(index),
            name,
            (x, y),
            limit,
        );
    }
    if data
        .runs
        .iter()
        .flat_map(|run| &run.updates)
        .any(|update| update.baseline.is_some())
    {
        legend::entry(
            canvas,
            Mark::Dashes(theme::DASHES),
            theme::MUTED,
            "reward baseline",
            (x, y),
            limit,
        );
    }
}
