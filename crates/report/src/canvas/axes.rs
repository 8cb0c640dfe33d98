//! A panel with two axes, grid lines and round ticks.

use plotters::style::RGBColor;

use super::scale::Scale;
use super::theme::Pattern;
use super::{Anchor, Canvas, Point, Rect, Text, font, theme};

/// Size of the numbers at ticks.
const TICK: f64 = 11.5;
/// Size of axis names.
const NAME: f64 = 12.5;

/// One axis: its scale, its name, and how its numbers read.
pub(crate) struct Axis<'a> {
    pub(crate) scale: Scale,
    pub(crate) name: &'a str,
    pub(crate) ticks: usize,
    pub(crate) format: &'a dyn Fn(f64) -> String,
}

/// A plotting area inside the canvas.
pub(crate) struct Panel {
    pub(crate) rect: Rect,
    x: Scale,
    y: Scale,
}

impl Panel {
    /// Draws grid, ticks and names around `rect`; what is plotted comes on top.
    pub(crate) fn new(canvas: &mut Canvas<'_>, rect: Rect, x: &Axis<'_>, y: &Axis<'_>) -> Self {
        let panel = Self {
            rect,
            x: x.scale,
            y: y.scale,
        };
        for tick in y.scale.ticks(y.ticks) {
            let height = panel.y(tick);
            canvas.line(
                &[(rect.left, height), (rect.right, height)],
                theme::GRID,
                1.0,
                1.0,
            );
            let look = Text::new(TICK, theme::MUTED).anchor(Anchor::Right);
            canvas.text(&(y.format)(tick), (rect.left - 7.0, height), look);
        }
        for tick in x.scale.ticks(x.ticks) {
            let across = panel.x(tick);
            canvas.line(
                &[(across, rect.top), (across, rect.bottom)],
                theme::GRID,
                1.0,
                1.0,
            );
            let look = Text::new(TICK, theme::MUTED).anchor(Anchor::Middle);
            canvas.text(&(x.format)(tick), (across, rect.bottom + 14.0), look);
        }
        canvas.line(
            &[(rect.left, rect.bottom), (rect.right, rect.bottom)],
            theme::MUTED,
            1.0,
            1.2,
        );
        let look = Text::new(NAME, theme::INK);
        canvas.text(
            x.name,
            ((rect.left + rect.right) / 2.0, rect.bottom + 36.0),
            look.anchor(Anchor::Middle),
        );
        canvas.text(y.name, (rect.left, rect.top - 14.0), look.bold());
        panel
    }

    pub(crate) fn x(&self, value: f64) -> f64 {
        self.rect.left + self.rect.width() * self.x.at(value)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        self.rect.bottom - self.rect.height() * self.y.at(value)
    }

    pub(crate) fn at(&self, x: f64, y: f64) -> Point {
        (self.x(x), self.y(y))
    }

    /// A line through values, of an opacity and a width; where a value is missing it ends, and a lone value is a dot.
    pub(crate) fn plot(
        &self,
        canvas: &mut Canvas<'_>,
        values: impl IntoIterator<Item = (f64, Option<f64>)>,
        color: RGBColor,
        (opacity, width): (f64, f64),
        pattern: Pattern,
    ) {
        let mut stroke = |part: &[Point]| match part {
            [] => {}
            [point] => canvas.disc(*point, width * 1.6, color, opacity),
            _ => canvas.broken(part, color, opacity, width, pattern),
        };
        let mut part = Vec::new();
        for (x, y) in values {
            match y.filter(|y| y.is_finite()) {
                Some(y) => part.push(self.at(x, y)),
                None => stroke(&std::mem::take(&mut part)),
            }
        }
        stroke(&part);
    }
}

/// The chart's headline and, smaller, what it shows of what; and its description for readers that do not see it.
pub(crate) fn headline(canvas: &mut Canvas<'_>, title: &str, detail: &str, description: String) {
    canvas.describe(title, description);
    canvas.set_headline(62.0);
    canvas.text(title, (24.0, 26.0), Text::new(18.0, theme::INK).bold());
    let detail = font::shorten(detail, 12.5, false, canvas.width() - 48.0);
    canvas.text(&detail, (24.0, 48.0), Text::new(12.5, theme::MUTED));
}
