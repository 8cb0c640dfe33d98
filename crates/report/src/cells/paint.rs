//! Draws a sketch: its boxes in layers, arrows as curves between them.

use super::layout::{Layout, Problem, layout};
use super::sketch::{Role, Sketch, SketchBox};
use crate::canvas::{Anchor, Canvas, Point, Rect, Text, font, theme};

const TEXT: f64 = 12.5;
const SMALL: f64 = 10.5;
const PADDING: f64 = 11.0;
const BOX: f64 = 30.0;
const TALL: f64 = 42.0;
const CIRCLE: f64 = 24.0;
const GAP: f64 = 18.0;
/// Room between layers, for the arrows.
const LEVEL: f64 = 38.0;
const ARROW: f64 = 6.0;

/// A sketch with its place reckoned, ready to be painted anywhere.
pub(crate) struct Placed {
    sketch: Sketch,
    layout: Layout,
    /// Top and bottom of each layer.
    levels: Vec<(f64, f64)>,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Lays a sketch out.
pub(crate) fn arrange(sketch: Sketch) -> Placed {
    let sizes: Vec<(f64, f64)> = sketch.boxes.iter().map(size).collect();
    let widths: Vec<f64> = sizes.iter().map(|size| size.0).collect();
    let sources: Vec<bool> = sketch
        .boxes
        .iter()
        .map(|it| it.role == Role::Input)
        .collect();
    let layout = layout(&Problem {
        widths: &widths,
        edges: &sketch.edges,
        gap: GAP,
        sources: &sources,
    });
    let depth = layout.layer.iter().max().map_or(0, |last| last + 1);
    let mut levels = Vec::new();
    let mut top = 0.0;
    for level in 0..depth {
        let tallest = (0..sizes.len())
            .filter(|&index| layout.layer[index] == level)
            .map(|index| sizes[index].1)
            .fold(0.0, f64::max);
        levels.push((top, top + tallest));
        top += tallest + LEVEL;
    }
    Placed {
        width: layout.width,
        height: (top - LEVEL).max(0.0),
        sketch,
        layout,
        levels,
    }
}

fn size(it: &SketchBox) -> (f64, f64) {
    if is_circle(it) {
        return (CIRCLE, CIRCLE);
    }
    let text = it
        .lines
        .iter()
        .enumerate()
        .map(|(index, line)| font::width(line, if index == 0 { TEXT } else { SMALL }, false))
        .fold(0.0, f64::max);
    (
        text + 2.0 * PADDING,
        if it.lines.len() > 1 { TALL } else { BOX },
    )
}

fn is_circle(it: &SketchBox) -> bool {
    it.role == Role::Merge && it.lines[0].chars().count() == 1
}

/// Paints a sketch with its top left at `origin`.
pub(crate) fn paint(canvas: &mut Canvas<'_>, placed: &Placed, origin: Point) {
    for index in 0..placed.sketch.edges.len() {
        arrow(canvas, placed, index, origin);
    }
    for (index, it) in placed.sketch.boxes.iter().enumerate() {
        draw_box(canvas, it, middle(placed, index, origin));
    }
}

fn middle(placed: &Placed, index: usize, origin: Point) -> Point {
    let (top, bottom) = placed.levels[placed.layout.layer[index]];
    (
        origin.0 + placed.layout.x[index],
        origin.1 + (top + bottom) / 2.0,
    )
}

fn draw_box(canvas: &mut Canvas<'_>, it: &SketchBox, (x, y): Point) {
    let (width, height) = size(it);
    let rect = Rect::new(
        x - width / 2.0,
        y - height / 2.0,
        x + width / 2.0,
        y + height / 2.0,
    );
    let (fill, opacity, outline) = match it.role {
        Role::Input | Role::Output => (theme::BOX, 1.0, theme::MUTED),
        Role::Merge => (theme::series(1), 0.20, theme::series(1)),
        Role::Operation => (theme::series(0), 0.13, theme::series(0)),
    };
    let radius = if it.role == Role::Operation {
        6.0
    } else {
        height / 2.0
    };
    canvas.round_box(rect, radius, fill, opacity, outline);
    let middle = Text::new(TEXT, theme::INK).anchor(Anchor::Middle);
    match &it.lines[..] {
        [only] => canvas.text(only, (x, y), middle),
        [first, second, ..] => {
            canvas.text(first, (x, y - 7.0), middle);
            canvas.text(
                second,
                (x, y + 9.0),
                Text {
                    size: SMALL,
                    color: theme::MUTED,
                    ..middle
                },
            );
        }
        [] => {}
    }
}

fn arrow(canvas: &mut Canvas<'_>, placed: &Placed, index: usize, origin: Point) {
    let (from, to) = placed.sketch.edges[index];
    let (start, end) = (middle(placed, from, origin), middle(placed, to, origin));
    let half = |index: usize| size(&placed.sketch.boxes[index]).1 / 2.0;
    let port = end.0 + port(placed, index);
    let tip = (port, end.1 - half(to) + sink(placed, index));
    // The curve runs from station to station, upright at each: through every layer that it passes, straight.
    let mut stations = vec![(
        (start.0, start.1 + half(from)),
        (
            start.0,
            origin.1 + placed.levels[placed.layout.layer[from]].1,
        ),
    )];
    for &(level, x) in &placed.layout.bends[index] {
        let (top, bottom) = placed.levels[level];
        stations.push((
            (origin.0 + x, origin.1 + top),
            (origin.0 + x, origin.1 + bottom),
        ));
    }
    let last = (
        tip.0,
        origin.1 + placed.levels[placed.layout.layer[to]].0 - ARROW,
    );
    stations.push((last, (tip.0, tip.1 - ARROW * 0.6)));
    let mut points = vec![stations[0].0];
    for pair in stations.windows(2) {
        points.push(pair[0].1);
        points.extend(curve(pair[0].1, pair[1].0));
        points.push(pair[1].1);
    }
    canvas.line(&points, theme::MUTED, 1.0, 1.3);
    let base = tip.1 - ARROW;
    canvas.polygon(
        &[
            tip,
            (tip.0 - ARROW * 0.55, base),
            (tip.0 + ARROW * 0.55, base),
        ],
        theme::MUTED,
        1.0,
    );
}

/// Where on its target's upper side an edge ends: several edges stand apart, in the order they come from.
fn port(placed: &Placed, index: usize) -> f64 {
    let to = placed.sketch.edges[index].1;
    let comes_from = |edge: usize| {
        let source = placed.layout.x[placed.sketch.edges[edge].0];
        placed.layout.bends[edge]
            .last()
            .map_or(source, |bend| bend.1)
    };
    let mut incoming: Vec<usize> = (0..placed.sketch.edges.len())
        .filter(|&edge| placed.sketch.edges[edge].1 == to)
        .collect();
    incoming.sort_by(|&a, &b| comes_from(a).total_cmp(&comes_from(b)));
    let place = incoming.iter().position(|&edge| edge == index).unwrap_or(0) as f64;
    let count = incoming.len() as f64;
    let width = size(&placed.sketch.boxes[to]).0;
    let room = if is_circle(&placed.sketch.boxes[to]) {
        10.0
    } else {
        (width - 24.0).min(22.0 * (count - 1.0))
    };
    if count > 1.0 {
        room * (place / (count - 1.0) - 0.5)
    } else {
        0.0
    }
}

/// How far below its top a circle's edge is at the port.
fn sink(placed: &Placed, index: usize) -> f64 {
    if !is_circle(&placed.sketch.boxes[placed.sketch.edges[index].1]) {
        return 0.0;
    }
    let radius = CIRCLE / 2.0;
    radius
        - (radius.powi(2) - port(placed, index).powi(2))
            .max(0.0)
            .sqrt()
}

/// Points of a cubic Bézier curve that leaves and arrives upright.
fn curve(from: Point, to: Point) -> Vec<Point> {
    let bend = (to.1 - from.1) * 0.55;
    (1..=16)
        .map(|step| {
            let t = f64::from(step) / 16.0;
            let (a, b, c, d) = (
                (1.0 - t).powi(3),
                3.0 * t * (1.0 - t).powi(2),
                3.0 * t * t * (1.0 - t),
                t.powi(3),
            );
            (
                (a + b) * from.0 + (c + d) * to.0,
                a * from.1 + b * (from.1 + bend) + c * (to.1 - bend) + d * to.1,
            )
        })
        .collect()
}
