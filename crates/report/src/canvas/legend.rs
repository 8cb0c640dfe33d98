//! Keys beside a chart: colours with names, sizes with numbers.

use plotters::style::RGBColor;

use super::theme::Pattern;
use super::{Canvas, Point, Text, font, theme};

const SIZE: f64 = 12.0;
const LINE: f64 = 19.0;

/// What stands before a name in a legend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Disc,
    Ring,
    Diamond,
    Line(Pattern),
    Thin,
    Dashes(Pattern),
    Cross,
}

/// A legend's heading; gives the height below it.
pub(crate) fn heading(canvas: &mut Canvas<'_>, text: &str, (x, y): Point) -> f64 {
    let room = canvas.width() - x - 8.0;
    let text = font::shorten(text, SIZE, true, room);
    canvas.text(&text, (x, y), Text::new(SIZE, theme::INK).bold());
    y + LINE + 2.0
}

/// One line of a legend, cut to `limit` pixels; gives the height below it.
pub(crate) fn entry(
    canvas: &mut Canvas<'_>,
    mark: Mark,
    color: RGBColor,
    text: &str,
    (x, y): Point,
    limit: f64,
) -> f64 {
    let ends = [(x, y), (x + 20.0, y)];
    match mark {
        Mark::Disc => canvas.disc((x + 8.0, y), 5.0, color, 0.75),
        Mark::Ring => canvas.ring((x + 8.0, y), 4.0, color, 1.2),
        Mark::Diamond => {
            let (x, side) = (x + 8.0, 5.4);
            let corners = [(x, y - side), (x + side, y), (x, y + side), (x - side, y)];
            canvas.polygon(&corners, color, 1.0);
        }
        Mark::Line(pattern) => canvas.broken(&ends, color, 1.0, 2.4, pattern),
        Mark::Thin => canvas.line(&ends, color, 0.45, 1.2),
        Mark::Dashes(pattern) => canvas.broken(&ends, color, 1.0, 1.6, pattern),
        Mark::Cross => canvas.cross((x + 8.0, y), 3.4, color),
    }
    let text = font::shorten(text, SIZE, false, limit - 27.0);
    canvas.text(&text, (x + 27.0, y), Text::new(SIZE, theme::INK));
    y + LINE
}

/// Circles of known size with their numbers, one below the other; gives the height below them.
pub(crate) fn sizes(canvas: &mut Canvas<'_>, sizes: &[(f64, String)], (x, y): Point) -> f64 {
    let widest = sizes.iter().map(|(radius, _)| *radius).fold(0.0, f64::max);
    let mut top = y - 6.0;
    for (radius, text) in sizes {
        let center = (x + widest, top + radius.max(8.0));
        canvas.disc(center, *radius, theme::MUTED, 0.22);
        canvas.ring(center, *radius, theme::MUTED, 1.0);
        canvas.text(
            text,
            (x + 2.0 * widest + 12.0, center.1),
            Text::new(SIZE, theme::INK),
        );
        top += 2.0 * radius.max(8.0) + 6.0;
    }
    top
}
