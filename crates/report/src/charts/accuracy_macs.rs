//! Accuracy against MACs, circles sized by parameters, after Canziani, Paszke and Culurciello (2016), figure 2.

use cellwright_ledger::Kind;

use super::{Chart, Figure, colors};
use crate::canvas::axes::{Axis, Panel, headline};
use crate::canvas::labels::{self, Disc, Wish};
use crate::canvas::legend::{self, Mark};
use crate::canvas::scale::{Scale, round_step};
use crate::canvas::{Canvas, Point, Rect, Text, theme};
use crate::data::{Data, Entry, Measure};
use crate::numbers::{counted, percent, percent_tick, round, short};
use crate::pareto;

pub(crate) const CHART: Chart = Chart {
    file: "accuracy-macs",
    title: "Accuracy against compute",
    about: "A circle is a network, its area the number of parameters. Further up is more accurate, further left is \
            cheaper. The stepped line joins the found architectures that no cheaper found one beats.",
    draw,
};

const SIZE: (f64, f64) = (960.0, 600.0);
const PLOT: Rect = Rect {
    left: 76.0,
    top: 96.0,
    right: 760.0,
    bottom: 536.0,
};
/// Radius of the largest network's circle.
const LARGEST: f64 = 34.0;
/// Radius below which a circle would not be seen.
const SMALLEST: f64 = 2.2;
const LABEL: f64 = 12.5;

/// A network as the chart sees it.
struct Bubble<'a> {
    entry: &'a Entry,
    macs: f64,
    params: f64,
    accuracy: Measure,
    /// Of which images the accuracy is.
    part: &'static str,
    /// Whether its training was shorter than those it stands beside.
    faint: bool,
}

fn draw(data: &Data) -> Result<Vec<Figure>, String> {
    let finalists = data.finalists();
    // A search that ends with a verdict does not look at the test part.
    let of_verdict = finalists.iter().filter(|entry| !data.stands_in(entry));
    let test = of_verdict.clone().all(|entry| entry.test.is_some());
    let mut bubbles = bubbles(data, &finalists, test);
    if bubbles.is_empty() {
        return Ok(Vec::new());
    }
    // Large circles first, so that small ones lie on top.
    bubbles.sort_by(|a, b| b.params.total_cmp(&a.params));
    let largest = bubbles
        .iter()
        .map(|bubble| bubble.params)
        .fold(1.0, f64::max);
    let radius = |params: f64| (LARGEST * (params / largest).sqrt()).max(SMALLEST);
    let name = if test {
        "Test accuracy"
    } else {
        "Validation accuracy"
    };

    Canvas::draw(SIZE.0, SIZE.1, |canvas| {
        let description = description(data, &bubbles);
        headline(canvas, CHART.title, &data.setting(), description);
        let panel = panel(canvas, &bubbles, name);
        let fronts = fronts(&panel, &bubbles, data.runs.len());
        for (run, steps) in &fronts {
            canvas.broken(steps, theme::series(*run), 0.8, 1.4, theme::pattern(*run));
        }
        for bubble in &bubbles {
            circle(canvas, &panel, bubble, radius(bubble.params), data);
        }
        name_networks(canvas, &panel, &bubbles, &fronts, &radius, data);
        keys(canvas, data, &bubbles, &radius, largest);
    })
    .map(Figure::only)
}

/// The finalists, and behind those of a verdict all that its search saw, with successive halving on its highest rung.
fn bubbles<'a>(data: &'a Data, finalists: &[&'a Entry], test: bool) -> Vec<Bubble<'a>> {
    let bubble = |entry: &'a Entry, faint: bool| {
        let (accuracy, part) = match entry.test.filter(|_| test) {
            Some(accuracy) => (accuracy, "test"),
            None => (entry.valid.filter(|_| faint || !test)?, "validation"),
        };
        let trial = data.trial(entry);
        Some(Bubble {
            entry,
            macs: trial.macs as f64,
            params: trial.params as f64,
            accuracy,
            part,
            faint,
        })
    };
    let highest = data.highest_rungs();
    let again: Vec<bool> = (0..data.runs.len())
        .map(|run| data.has_verdict(run))
        .collect();
    let behind = data.entries.iter().filter(|entry| {
        entry.kind == Kind::Search
            && again[entry.run]
            && data.trial(entry).rung == highest[entry.run]
    });
    let finalists = finalists.iter();
    behind
        .filter_map(|entry| bubble(entry, true))
        .chain(finalists.filter_map(|entry| bubble(entry, data.stands_in(entry))))
        .filter(|bubble| bubble.macs > 0.0)
        .collect()
}

/// The chart in a sentence.
fn description(data: &Data, bubbles: &[Bubble<'_>]) -> String {
    let best = [
        ("found", data.best_found()),
        ("baseline", data.best_baseline()),
    ];
    let best = best.into_iter().filter_map(|(what, entry)| {
        let of_entry = |it: &&Bubble<'_>| entry.is_some_and(|entry| std::ptr::eq(it.entry, entry));
        let bubble = bubbles.iter().filter(|it| !it.faint).find(of_entry)?;
        Some(format!(
            "; best {what}: {}, {} {} accuracy with {} MACs and {} parameters",
            data.name(bubble.entry),
            percent(bubble.accuracy.mean),
            bubble.part,
            short(bubble.macs),
            short(bubble.params)
        ))
    });
    let count = counted(bubbles.len() as u64, "network");
    format!("{count}{}.", best.collect::<String>())
}

fn panel(canvas: &mut Canvas<'_>, bubbles: &[Bubble<'_>], name: &str) -> Panel {
    let macs = Scale::logarithmic(bubbles.iter().map(|bubble| bubble.macs), 0.08);
    let accuracy = Scale::linear(bubbles.iter().map(|bubble| bubble.accuracy.mean), 0.1)
        .within(0.0, 1.0 + 0.02);
    let x = Axis {
        scale: macs,
        name: "Multiply-accumulates for one image (FLOPs = 2 × MACs), log scale",
        ticks: 8,
        format: &round,
    };
    let y = Axis {
        scale: accuracy,
        name,
        ticks: 7,
        format: &percent_tick,
    };
    Panel::new(canvas, PLOT, &x, &y)
}

fn circle(canvas: &mut Canvas<'_>, panel: &Panel, bubble: &Bubble<'_>, radius: f64, data: &Data) {
    let center = panel.at(bubble.macs, bubble.accuracy.mean);
    let color = colors::of(data, bubble.entry);
    canvas.disc(
        center,
        radius,
        color,
        if bubble.faint { 0.13 } else { 0.42 },
    );
    if !bubble.faint {
        canvas.ring(center, radius, color, 1.2);
        canvas.disc(center, 1.4, theme::INK, 0.8);
    }
    let Measure {
        mean,
        deviation,
        count,
    } = bubble.accuracy;
    let spread = deviation.map(|sd| format!(" (± {:.2} over {count} seeds)", sd * 100.0));
    let tip = format!(
        "{}\n{} {} accuracy{}\n{} parameters, {} MACs",
        data.name(bubble.entry),
        percent(mean),
        bubble.part,
        spread.unwrap_or_default(),
        short(bubble.params),
        short(bubble.macs),
    );
    canvas.tip(center, radius.max(5.0), tip);
}

/// The Pareto front of each run's found architectures, as steps, where it has more than one.
fn fronts(panel: &Panel, bubbles: &[Bubble<'_>], runs: usize) -> Vec<(usize, Vec<Point>)> {
    let front = |run: usize| {
        let points: Vec<(f64, f64)> = bubbles
            .iter()
            .filter(|it| it.entry.run == run && it.entry.kind != Kind::Baseline && !it.faint)
            .map(|it| (it.macs, it.accuracy.mean))
            .collect();
        let mut steps: Vec<Point> = Vec::new();
        for index in pareto::front(&points) {
            let (macs, accuracy) = points[index];
            steps.extend(steps.last().map(|last| (panel.x(macs), last.1)));
            steps.push(panel.at(macs, accuracy));
        }
        (run, steps)
    };
    (0..runs)
        .map(front)
        .filter(|(_, steps)| steps.len() > 2)
        .collect()
}

/// Names beside the baselines' circles and the best found of each run.
fn name_networks(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    bubbles: &[Bubble<'_>],
    fronts: &[(usize, Vec<Point>)],
    radius: &dyn Fn(f64) -> f64,
    data: &Data,
) {
    let disc = |bubble: &Bubble<'_>| Disc {
        center: panel.at(bubble.macs, bubble.accuracy.mean),
        radius: radius(bubble.params),
    };
    let solid = |bubble: &&Bubble<'_>| !bubble.faint || bubble.entry.kind == Kind::Baseline;
    let discs = bubbles.iter().filter(solid).map(disc);
    let lines = fronts.iter().flat_map(|(_, steps)| labels::beads(steps));
    let taken: Vec<Disc> = discs.chain(lines).collect();
    let best = data.best_of_runs();
    let is_best = |entry: &Entry| best.iter().any(|best| std::ptr::eq(*best, entry));
    let named: Vec<&Bubble<'_>> = bubbles
        .iter()
        .filter(|bubble| bubble.entry.kind == Kind::Baseline || is_best(bubble.entry))
        .collect();
    let wishes: Vec<Wish> = named
        .iter()
        .map(|bubble| {
            let text = match bubble.entry.kind {
                Kind::Baseline => data.name(bubble.entry),
                _ => format!("best found ({})", data.name(bubble.entry)),
            };
            Wish::new(&text, disc(bubble), LABEL, 0.4 * panel.rect.width())
        })
        .collect();
    let bounds = Rect::new(
        panel.rect.left + 2.0,
        panel.rect.top,
        panel.rect.right + 6.0,
        panel.rect.bottom - 2.0,
    );
    for ((placed, wish), bubble) in labels::place(&wishes, &taken, bounds, LABEL)
        .iter()
        .zip(&wishes)
        .zip(&named)
    {
        labels::write(canvas, wish, placed, LABEL, colors::of(data, bubble.entry));
    }
}

fn keys(
    canvas: &mut Canvas<'_>,
    data: &Data,
    bubbles: &[Bubble<'_>],
    radius: &dyn Fn(f64) -> f64,
    largest: f64,
) {
    let (x, limit) = (PLOT.right + 32.0, SIZE.0 - PLOT.right - 42.0);
    let mut y = legend::heading(canvas, "Networks", (x, PLOT.top + 6.0));
    for (index, run) in data.runs.iter().enumerate() {
        let text = if data.runs.len() > 1 {
            run.name.as_str()
        } else {
            "found by the search"
        };
        if bubbles
            .iter()
            .any(|bubble| bubble.entry.run == index && bubble.entry.kind != Kind::Baseline)
        {
            y = legend::entry(
                canvas,
                Mark::Disc,
                theme::series(index),
                text,
                (x, y),
                limit,
            );
        }
    }
    if bubbles
        .iter()
        .any(|bubble| bubble.entry.kind == Kind::Baseline)
    {
        y = legend::entry(
            canvas,
            Mark::Disc,
            theme::BASELINE,
            "baselines",
            (x, y),
            limit,
        );
    }
    if bubbles.iter().any(|bubble| bubble.faint) {
        canvas.text(
            "faint: during the search,",
            (x + 24.0, y),
            Text::new(11.0, theme::MUTED),
        );
        canvas.text(
            "with its shorter training",
            (x + 24.0, y + 14.0),
            Text::new(11.0, theme::MUTED),
        );
        y += 33.0;
        if bubbles
            .iter()
            .any(|bubble| bubble.faint && bubble.part == "validation")
        {
            canvas.text(
                "(validation accuracy)",
                (x + 24.0, y - 5.0),
                Text::new(11.0, theme::MUTED),
            );
            y += 14.0;
        }
    }
    let y = legend::heading(canvas, "Parameters", (x, y + 18.0));
    let sizes: Vec<(f64, String)> = round_sizes(largest)
        .into_iter()
        .map(|size| (radius(size), round(size)))
        .collect();
    let below = legend::sizes(canvas, &sizes, (x, y));
    canvas.text("by area", (x, below + 8.0), Text::new(11.0, theme::MUTED));
}

/// Three round numbers up to `largest`, each a fifth or a tenth of the one before.
fn round_sizes(largest: f64) -> Vec<f64> {
    let top = round_step(largest * 0.38);
    [top, top / 4.0, top / 16.0]
        .into_iter()
        .map(|size| round_step(size * 0.7))
        .filter(|size| *size >= 1.0)
        .collect()
}
