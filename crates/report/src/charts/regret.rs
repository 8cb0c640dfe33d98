//! Strategies on a table of known results: how far from the best what they recommend is, over the evaluations; of a
//! column that is no accuracy, what its value is.

use cellwright_ledger::SimulationPoint;
use plotters::style::RGBColor;

use crate::canvas::axes::{Axis, Panel, headline};
use crate::canvas::scale::Scale;
use crate::canvas::theme::Pattern;
use crate::canvas::{Anchor, Canvas, Point, Rect, Svg, Text, font, theme};
use crate::numbers::tick;
use crate::simulations::{Accuracy, Column, Curve};

/// The headline of the page.
pub(crate) const TITLE: &str = "The strategies on a table of known results";
/// How to read it.
pub(crate) const ABOUT: &str = "Regret is the best value in the table minus the value of the architecture that a \
     strategy recommends after so many evaluations: the line is its mean over the runs, the band 95 % confidence of \
     that mean (± 1.96 standard errors). Lower is better; the axis is logarithmic. Of a column that is no accuracy, by \
     its name and its values, the value itself is drawn.";

/// Standard errors on both sides of a mean: 95 % of a normal distribution.
const CONFIDENCE: f64 = 1.96;
const SIZE: (f64, f64) = (1060.0, 580.0);
const PLOT: Rect = Rect {
    left: 76.0,
    top: 96.0,
    right: 760.0,
    bottom: 516.0,
};
/// Size and distance of the names beside the plot.
const NAME: f64 = 12.5;
const LINE: f64 = 20.0;

/// A number after some evaluations, with half the width of its band, which one run has not.
#[derive(Clone, Copy)]
struct Step {
    evaluations: f64,
    mean: f64,
    half: Option<f64>,
}

impl Step {
    /// The band's edge above (1) or below (-1), or the number itself without a band.
    fn edge(&self, side: f64) -> f64 {
        self.mean + side * self.half.unwrap_or(0.0)
    }
}

/// A strategy's line.
struct Line<'a> {
    strategy: &'a str,
    color: RGBColor,
    pattern: Pattern,
    steps: Vec<Step>,
}

/// The chart of one reported column.
pub(crate) fn draw(column: &Column<'_>) -> Result<Svg, String> {
    let accuracy = column.accuracy();
    let lines = (0..).zip(&column.curves);
    let lines = lines.map(|(index, curve)| line(index, curve, accuracy.is_some()));
    let lines: Vec<Line<'_>> = lines.filter(|line| !line.steps.is_empty()).collect();
    let all = || lines.iter().flat_map(|line| &line.steps);
    let longest = all().map(|it| it.evaluations).fold(1.0, f64::max);
    let unit = accuracy.map(|it| match it {
        Accuracy::Percentage => "percentage points",
        Accuracy::Fraction => "as a fraction",
    });
    let (title, name) = match unit {
        Some(unit) => (
            "Regret of the strategies".to_owned(),
            format!(
                "Regret in {}, {unit}: best of the table ({}) − mean",
                column.name,
                number(column.best())
            ),
        ),
        None => (
            format!("{} of what the strategies recommend", column.name),
            format!("{}, mean", column.name),
        ),
    };
    Canvas::draw(SIZE.0, SIZE.1, |canvas| {
        headline(
            canvas,
            &title,
            &column.setting(),
            description(&name, &lines),
        );
        let x = Axis {
            scale: Scale::counts([1.0, longest], 0.0),
            name: "Evaluations of a run",
            ticks: 10,
            format: &tick,
        };
        let y = Axis {
            scale: match accuracy {
                Some(_) => falling(&lines),
                None => Scale::linear(all().flat_map(|it| [it.edge(-1.0), it.edge(1.0)]), 0.03),
            },
            name: &name,
            ticks: 9,
            format: &tick,
        };
        let panel = Panel::new(canvas, PLOT, &x, &y);
        for line in &lines {
            band(canvas, &panel, line);
        }
        for line in &lines {
            let at = |it: &Step| inside(panel.at(it.evaluations, it.mean));
            let points: Vec<Point> = line.steps.iter().map(at).collect();
            canvas.broken(&points, line.color, 1.0, 2.2, line.pattern);
            tips(canvas, &panel, line);
        }
        names(canvas, &panel, &lines);
    })
}

/// The chart in a sentence: what each line ends at.
fn description(name: &str, lines: &[Line<'_>]) -> String {
    let end = |line: &Line<'_>| {
        let last = line.steps.last()?;
        let (strategy, evaluations) = (line.strategy, last.evaluations);
        Some(format!(
            "{strategy} {} after {evaluations} evaluations",
            spread(last)
        ))
    };
    let ends: Vec<String> = lines.iter().filter_map(end).collect();
    format!("{name}: {}.", ends.join(", "))
}

/// A strategy's regrets, or the values themselves; the strategies keep their looks from column to column.
fn line<'a>(index: usize, curve: &Curve<'a>, regret: bool) -> Line<'a> {
    let step = |point: &&SimulationPoint| Step {
        evaluations: f64::from(point.evaluations),
        mean: match regret {
            true => (point.best - point.mean).max(0.0),
            false => point.mean,
        },
        half: point
            .std
            .map(|std| CONFIDENCE * std / f64::from(point.runs.max(1)).sqrt()),
    };
    Line {
        strategy: curve.strategy,
        color: theme::series(index),
        pattern: theme::pattern(index),
        steps: curve.points.iter().map(step).collect(),
    }
}

/// From the smallest to the largest regret; a band that goes far below the lines, down to zero, is cut.
fn falling(lines: &[Line<'_>]) -> Scale {
    let all = || lines.iter().flat_map(|line| &line.steps);
    let positive = || all().map(|it| it.mean).filter(|mean| *mean > 1e-9);
    let least = positive().fold(f64::INFINITY, f64::min);
    let lows = all().map(|it| it.edge(-1.0).max(least / 2.0));
    let highs = all().map(|it| it.edge(1.0));
    Scale::logarithmic(lows.chain(highs).filter(|it| it.is_finite()), 0.03)
}

/// A place within the plot: what is too small for the logarithmic axis lies at its foot.
fn inside((x, y): Point) -> Point {
    (x, y.clamp(PLOT.top, PLOT.bottom))
}

fn band(canvas: &mut Canvas<'_>, panel: &Panel, line: &Line<'_>) {
    let edge = |it: &Step, side: f64| inside(panel.at(it.evaluations, it.edge(side)));
    let upper = line.steps.iter().map(|it| edge(it, 1.0));
    let lower = line.steps.iter().rev().map(|it| edge(it, -1.0));
    let outline: Vec<Point> = upper.chain(lower).collect();
    canvas.polygon(&outline, line.color, 0.18);
}

fn tips(canvas: &mut Canvas<'_>, panel: &Panel, line: &Line<'_>) {
    let every = (line.steps.len() / 30).max(1);
    for it in line.steps.iter().rev().step_by(every) {
        let text = format!(
            "{}, {} evaluations: {}",
            line.strategy,
            it.evaluations,
            spread(it)
        );
        canvas.tip(inside(panel.at(it.evaluations, it.mean)), 6.0, text);
    }
}

/// The strategies beside the ends of their lines, each with its last number, as near as they fit.
fn names(canvas: &mut Canvas<'_>, panel: &Panel, lines: &[Line<'_>]) {
    let mut ends: Vec<(&Line<'_>, Step, Point)> = lines
        .iter()
        .filter_map(|line| {
            let last = *line.steps.last()?;
            Some((line, last, inside(panel.at(last.evaluations, last.mean))))
        })
        .collect();
    ends.sort_by(|a, b| b.1.mean.total_cmp(&a.1.mean));
    let wishes: Vec<f64> = ends.iter().map(|end| end.2.1).collect();
    let heights = spaced(&wishes, LINE, PLOT.top + LINE, PLOT.bottom);
    let (left, right) = (PLOT.right + 40.0, SIZE.0 - 20.0);
    for ((line, last, end), height) in ends.iter().zip(&heights) {
        let bend = [*end, (left - 14.0, *height), (left - 6.0, *height)];
        canvas.line(&bend, line.color, 0.55, 1.0);
        canvas.disc(*end, 2.8, line.color, 1.0);
        let value = spread(last);
        let room = right - left - font::width(&value, NAME, false) - 12.0;
        let name = font::shorten(line.strategy, NAME, true, room);
        canvas.text(&name, (left, *height), Text::new(NAME, line.color).bold());
        let look = Text::new(NAME, theme::INK).anchor(Anchor::Right);
        canvas.text(&value, (right, *height), look);
    }
    if let Some(top) = heights.first() {
        let look = Text::new(11.5, theme::MUTED);
        let above = top - LINE - 2.0;
        canvas.text("at the end of a run", (left, above), look);
        canvas.text("± 95 %", (right, above), look.anchor(Anchor::Right));
    }
}

/// Heights at least `gap` apart and near those wished for, which are in ascending order; from `top` to `bottom`
/// where there is room.
fn spaced(wishes: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut heights = wishes.to_vec();
    for index in 0..heights.len() {
        let least = if index == 0 {
            top
        } else {
            heights[index - 1] + gap
        };
        heights[index] = heights[index].max(least);
    }
    let mut most = bottom;
    for height in heights.iter_mut().rev() {
        *height = height.min(most);
        most = *height - gap;
    }
    heights
}

fn spread(step: &Step) -> String {
    let half = step.half.map(|half| format!(" ± {}", number(half)));
    number(step.mean) + &half.unwrap_or_default()
}

/// Three digits after the point where the number is small.
fn number(value: f64) -> String {
    if value < 1e4 {
        format!("{value:.3}")
    } else {
        tick(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_stay_inside() {
        let heights = spaced(&[10.0, 12.0, 90.0, 99.0, 100.0], 8.0, 5.0, 100.0);
        assert_eq!(heights, [10.0, 18.0, 84.0, 92.0, 100.0]);
        assert_eq!(spaced(&[50.0], 8.0, 5.0, 100.0), [50.0]);
    }
}
