//! Accuracy against each cost, with the Pareto fronts of what was found and of the baselines.

use cellwright_ledger::Kind;
use plotters::style::RGBColor;

use super::{Chart, Figure, colors};
use crate::canvas::axes::{Axis, Panel, headline};
use crate::canvas::labels::{self, Disc, Wish};
use crate::canvas::legend::{self, Mark};
use crate::canvas::scale::Scale;
use crate::canvas::{Canvas, Point, Rect, theme};
use crate::data::{Data, Entry};
use crate::numbers::{counted, percent, percent_tick, round, short, tick};
use crate::pareto::{Cost, front};

pub(crate) const CHART: Chart = Chart {
    file: "pareto",
    title: "Pareto fronts",
    about: "Accuracy against what a network costs, on logarithmic scales: further up is more accurate, further left \
            is cheaper. The stepped line joins the found architectures that no other found one beats without \
            costing more; the dashed line does the same for the baselines. All were trained for the same number of \
            epochs; latency was measured beside whatever else the machine did.",
    draw,
};

const WIDTH: f64 = 960.0;
/// Where the panels begin and end.
const ACROSS: (f64, f64) = (72.0, 936.0);
const DOWN: (f64, f64) = (100.0, 430.0);
const GAP: f64 = 26.0;
const LABEL: f64 = 11.0;
/// Radius of a dot that is on no front, on one, and of a baseline's diamond.
const RADII: [f64; 3] = [2.8, 4.4, 5.4];

/// A network in a panel.
struct Dot<'a> {
    entry: &'a Entry,
    cost: f64,
    accuracy: f64,
    /// Whether it is on the front of its kind and run.
    first: bool,
}

fn draw(data: &Data) -> Result<Vec<Figure>, String> {
    let panels: Vec<(Cost, Vec<Dot<'_>>)> = Cost::ALL
        .into_iter()
        .map(|cost| (cost, dots(data, cost)))
        .filter(|(_, dots)| dots.len() > 1)
        .collect();
    if panels.is_empty() {
        return Ok(Vec::new());
    }
    let accuracy = panels
        .iter()
        .flat_map(|(_, dots)| dots)
        .map(|dot| dot.accuracy);
    let accuracy = Scale::linear(accuracy, 0.09).within(0.0, 1.02);
    let width = (ACROSS.1 - ACROSS.0 - GAP * (panels.len() - 1) as f64) / panels.len() as f64;
    Canvas::draw(WIDTH, 520.0, |canvas| {
        headline(canvas, CHART.title, &data.setting(), description(&panels));
        for (index, (cost, dots)) in panels.iter().enumerate() {
            let left = ACROSS.0 + index as f64 * (width + GAP);
            let rect = Rect::new(left, DOWN.0, left + width, DOWN.1);
            let panel = panel(canvas, rect, *cost, dots, accuracy, index == 0);
            draw_panel(canvas, &panel, *cost, dots, data);
        }
        let all: Vec<&Dot<'_>> = panels.iter().flat_map(|(_, dots)| dots).collect();
        keys(canvas, data, &all);
    })
    .map(|svg| {
        vec![Figure {
            suffix: String::new(),
            caption: String::new(),
            note: left_out(data),
            svg,
        }]
    })
}

/// The search's networks and the baselines of the same budget, those on a front marked.
fn dots(data: &Data, cost: Cost) -> Vec<Dot<'_>> {
    // With successive halving, those that reached the highest rung.
    let epochs = longest(data, None);
    let competes = |entry: &&Entry| {
        entry.kind != Kind::Rerank && epochs.is_none_or(|epochs| entry.epochs == epochs)
    };
    let mut dots: Vec<Dot<'_>> = data
        .entries
        .iter()
        .filter(competes)
        .filter_map(|entry| {
            let (cost, measure) = cost.of(data.trial(entry)).zip(entry.valid)?;
            Some(Dot {
                entry,
                cost,
                accuracy: measure.mean,
                first: false,
            })
        })
        .collect();
    for group in groups(data) {
        let members: Vec<usize> = (0..dots.len())
            .filter(|&at| group.has(dots[at].entry))
            .collect();
        let points: Vec<(f64, f64)> = members
            .iter()
            .map(|&at| (dots[at].cost, dots[at].accuracy))
            .collect();
        for index in front(&points) {
            dots[members[index]].first = true;
        }
    }
    dots
}

/// The chart in a sentence: where the fronts of what was found begin and end.
fn description(panels: &[(Cost, Vec<Dot<'_>>)]) -> String {
    let front = |(cost, dots): &(Cost, Vec<Dot<'_>>)| {
        let found = dots
            .iter()
            .filter(|dot| dot.first && dot.entry.kind != Kind::Baseline);
        let by_accuracy = |a: &&Dot<'_>, b: &&Dot<'_>| a.accuracy.total_cmp(&b.accuracy);
        let end =
            |dot: &Dot<'_>| format!("{} at {}", percent(dot.accuracy), amount(*cost, dot.cost));
        let (low, high) = (
            found.clone().min_by(by_accuracy)?,
            found.max_by(by_accuracy)?,
        );
        Some(format!("{} to {}", end(low), end(high)))
    };
    let fronts: Vec<String> = panels.iter().filter_map(front).collect();
    if fronts.is_empty() {
        return "Baselines alone.".to_owned();
    }
    format!(
        "The fronts of what was found reach from validation accuracies of {}.",
        fronts.join("; from ")
    )
}

/// The most epochs that the search trained for: in one run, or in all.
fn longest(data: &Data, run: Option<usize>) -> Option<u32> {
    let searched = data
        .entries
        .iter()
        .filter(|entry| entry.kind == Kind::Search && entry.valid.is_some())
        .filter(|entry| run.is_none_or(|run| entry.run == run));
    searched.map(|entry| entry.epochs).max()
}

/// Names the runs that trained for fewer epochs than another, and so are not drawn; empty where there are none.
fn left_out(data: &Data) -> String {
    let longest_of_all = longest(data, None);
    let shorter: Vec<String> = (0..data.runs.len())
        .filter_map(|run| Some((run, longest(data, Some(run))?)))
        .filter(|(_, epochs)| Some(*epochs) < longest_of_all)
        .map(|(run, epochs)| format!("{} ({})", data.runs[run].name, counted(epochs, "epoch")))
        .collect();
    match (shorter.is_empty(), longest_of_all) {
        (false, Some(most)) => format!(
            "Trained for {}; not drawn, since trained for fewer: {}",
            counted(most, "epoch"),
            shorter.join(", ")
        ),
        _ => String::new(),
    }
}

/// What has a front of its own: the search of a run, or all baselines.
#[derive(Clone, Copy)]
enum Group {
    Found(usize),
    Baselines,
}

impl Group {
    fn has(self, entry: &Entry) -> bool {
        match self {
            Group::Found(run) => entry.kind == Kind::Search && entry.run == run,
            Group::Baselines => entry.kind == Kind::Baseline,
        }
    }

    fn color(self) -> RGBColor {
        match self {
            Group::Found(run) => theme::series(run),
            Group::Baselines => theme::BASELINE,
        }
    }
}

/// The baselines first, so that what was found lies on top.
fn groups(data: &Data) -> impl Iterator<Item = Group> {
    std::iter::once(Group::Baselines).chain((0..data.runs.len()).map(Group::Found))
}

fn panel(
    canvas: &mut Canvas<'_>,
    rect: Rect,
    cost: Cost,
    dots: &[Dot<'_>],
    accuracy: Scale,
    leftmost: bool,
) -> Panel {
    let (name, format): (_, &dyn Fn(f64) -> String) = match cost {
        Cost::Macs => ("MACs for one image (FLOPs = 2 × MACs)", &round),
        Cost::Params => ("Parameters", &round),
        Cost::Latency => ("Latency: ms for one image", &tick),
    };
    let x = Axis {
        scale: Scale::logarithmic(dots.iter().map(|dot| dot.cost), 0.1),
        name,
        ticks: 4,
        format,
    };
    let y = Axis {
        scale: accuracy,
        name: if leftmost { "Validation accuracy" } else { "" },
        ticks: 7,
        format: if leftmost {
            &percent_tick
        } else {
            &|_| String::new()
        },
    };
    Panel::new(canvas, rect, &x, &y)
}

fn draw_panel(canvas: &mut Canvas<'_>, panel: &Panel, cost: Cost, dots: &[Dot<'_>], data: &Data) {
    let mut taken = Vec::new();
    for group in groups(data) {
        let line = steps(panel, dots, group);
        stroke(canvas, panel, &line, group, data.runs.len() == 1);
        taken.extend(labels::beads(&line));
    }
    // Those on a front last, so that they lie on top.
    let (on, off): (Vec<&Dot<'_>>, Vec<&Dot<'_>>) = dots.iter().partition(|dot| dot.first);
    for dot in off.into_iter().chain(on.iter().copied()) {
        mark(canvas, panel, cost, dot, data);
    }
    name(canvas, panel, dots, taken, data);
}

/// A group's front as steps, that of what was found from the bottom at its cheapest, to the right edge at its best.
fn steps(panel: &Panel, dots: &[Dot<'_>], group: Group) -> Vec<Point> {
    let mut members: Vec<Point> = dots
        .iter()
        .filter(|dot| dot.first && group.has(dot.entry))
        .map(|dot| panel.at(dot.cost, dot.accuracy))
        .collect();
    members.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some(first), Some(last)) = (members.first().copied(), members.last().copied()) else {
        return Vec::new();
    };
    let mut line = match group {
        Group::Found(_) => vec![(first.0, panel.rect.bottom)],
        Group::Baselines => Vec::new(),
    };
    for point in members {
        line.extend(line.last().map(|last| (point.0, last.1)));
        line.push(point);
    }
    line.push((panel.rect.right, last.1));
    line
}

fn stroke(canvas: &mut Canvas<'_>, panel: &Panel, line: &[Point], group: Group, shaded: bool) {
    if line.is_empty() {
        return;
    }
    match group {
        Group::Baselines => canvas.broken(line, group.color(), 1.0, 1.3, theme::DASHES),
        Group::Found(run) => {
            if shaded {
                let mut area = line.to_vec();
                area.push((panel.rect.right, panel.rect.bottom));
                canvas.polygon(&area, group.color(), 0.07);
            }
            canvas.broken(line, group.color(), 0.9, 1.8, theme::pattern(run));
        }
    }
}

fn mark(canvas: &mut Canvas<'_>, panel: &Panel, cost: Cost, dot: &Dot<'_>, data: &Data) {
    let (x, y) = panel.at(dot.cost, dot.accuracy);
    let radius = radius(dot);
    let color = colors::of(data, dot.entry);
    if dot.entry.kind == Kind::Baseline {
        let corners = [
            (x, y - radius),
            (x + radius, y),
            (x, y + radius),
            (x - radius, y),
        ];
        canvas.polygon(&corners, color, 1.0);
    } else {
        canvas.disc((x, y), radius, color, if dot.first { 1.0 } else { 0.38 });
    }
    let tip = format!(
        "{}\n{} validation accuracy\n{}",
        data.name(dot.entry),
        percent(dot.accuracy),
        amount(cost, dot.cost)
    );
    canvas.tip((x, y), radius.max(5.0), tip);
}

/// A cost with its unit.
fn amount(cost: Cost, value: f64) -> String {
    match cost {
        Cost::Macs => format!("{} MACs, {} FLOPs", short(value), short(2.0 * value)),
        Cost::Params => format!("{} parameters", short(value)),
        Cost::Latency => format!("{value:.3} ms for one image"),
    }
}

fn radius(dot: &Dot<'_>) -> f64 {
    match (dot.entry.kind, dot.first) {
        (Kind::Baseline, _) => RADII[2],
        (_, true) => RADII[1],
        (_, false) => RADII[0],
    }
}

/// Names the baselines, and those on the front of what was found where there is room beside them.
/// Labels keep away from all dots and from what is `taken`.
fn name(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    dots: &[Dot<'_>],
    mut taken: Vec<Disc>,
    data: &Data,
) {
    let disc = |dot: &Dot<'_>| Disc {
        center: panel.at(dot.cost, dot.accuracy),
        radius: radius(dot),
    };
    let named: Vec<&Dot<'_>> = dots
        .iter()
        .filter(|dot| dot.first || dot.entry.kind == Kind::Baseline)
        .collect();
    taken.extend(dots.iter().map(disc));
    let wishes: Vec<Wish> = named
        .iter()
        .map(|dot| {
            let text = match dot.entry.kind {
                Kind::Baseline => data.name(dot.entry),
                _ => dot.entry.label.clone(),
            };
            Wish::new(&text, disc(dot), LABEL, 0.55 * panel.rect.width())
        })
        .collect();
    let bounds = Rect::new(
        panel.rect.left + 1.0,
        panel.rect.top,
        panel.rect.right - 1.0,
        panel.rect.bottom - 2.0,
    );
    let placed = labels::place(&wishes, &taken, bounds, LABEL);
    for ((placed, wish), dot) in placed.iter().zip(&wishes).zip(&named) {
        if dot.entry.kind == Kind::Baseline || !placed.far {
            labels::write(canvas, wish, placed, LABEL, colors::of(data, dot.entry));
        }
    }
}

/// One row of keys below the panels.
fn keys(canvas: &mut Canvas<'_>, data: &Data, dots: &[&Dot<'_>]) {
    let mut entries: Vec<(Mark, RGBColor, String)> = Vec::new();
    let has = |group: Group| dots.iter().any(|dot| group.has(dot.entry));
    let drawn = data.runs.iter().enumerate();
    for (index, run) in drawn.filter(|(index, _)| has(Group::Found(*index))) {
        let (found, its_front) = if data.runs.len() > 1 {
            (None, run.name.clone())
        } else {
            (
                Some("found by the search"),
                "Pareto front of those".to_owned(),
            )
        };
        entries.extend(found.map(|text| (Mark::Disc, theme::series(index), text.to_owned())));
        let front = Mark::Line(theme::pattern(index));
        entries.push((front, theme::series(index), its_front));
    }
    if has(Group::Baselines) {
        entries.push((Mark::Diamond, theme::BASELINE, "baselines".to_owned()));
        let front = Mark::Dashes(theme::DASHES);
        entries.push((front, theme::BASELINE, "their front".to_owned()));
    }
    let width = ((ACROSS.1 - ACROSS.0) / entries.len() as f64).min(190.0);
    for (index, (mark, color, text)) in entries.iter().enumerate() {
        let at = (ACROSS.0 + index as f64 * width, DOWN.1 + 66.0);
        legend::entry(canvas, *mark, *color, text, at, width - 8.0);
    }
}
