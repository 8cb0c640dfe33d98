//! A sheet to draw on: plotters' SVG backend with coordinates in pixels, and tool tips.

pub(crate) mod axes;
pub(crate) mod font;
pub(crate) mod labels;
pub(crate) mod legend;
pub(crate) mod scale;
pub(crate) mod svg;
pub(crate) mod theme;

use plotters::coord::Shift;
use plotters::element::{Drawable, PointCollection};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) use svg::Svg;
use theme::Pattern;

/// Plotters places everything on whole units, so a pixel is this many of them.
const UNITS: f64 = 20.0;
/// Plotters divides font sizes by this when it writes SVG.
const FONT_FACTOR: f64 = 1.24;

/// A point in pixels from the top left.
pub(crate) type Point = (f64, f64);

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    pub(crate) fn new(left: f64, top: f64, right: f64, bottom: f64) -> Self {
        Self {
            left,
            top,
            right,
            bottom,
        }
    }

    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// Area that two rectangles share.
    pub(crate) fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Left,
    Middle,
    Right,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) size: f64,
    pub(crate) color: RGBColor,
    pub(crate) bold: bool,
    pub(crate) anchor: Anchor,
}

impl Text {
    pub(crate) fn new(size: f64, color: RGBColor) -> Self {
        Self {
            size,
            color,
            bold: false,
            anchor: Anchor::Left,
        }
    }

    pub(crate) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(crate) fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// The sheet. Drawing never fails at the call: the first error is kept and comes with [`Canvas::draw`]'s result.
pub(crate) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    error: Option<String>,
    tips: Vec<(Point, f64, String)>,
    headline: f64,
    about: About,
}

/// What a drawing says to readers that do not see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// What it is.
    pub(crate) title: String,
    /// Its main numbers, in a sentence.
    pub(crate) text: String,
}

impl Canvas<'_> {
    /// Draws a sheet of `width` times `height` pixels.
    pub(crate) fn draw(
        width: f64,
        height: f64,
        paint: impl FnOnce(&mut Canvas<'_>),
    ) -> Result<Svg, String> {
        font::register();
        let mut text = String::new();
        let size = ((width * UNITS) as u32, (height * UNITS) as u32);
        let (tips, headline, about) = {
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            let mut canvas = Canvas {
                area,
                error: None,
                tips: Vec::new(),
                headline: 0.0,
                about: About::default(),
            };
            canvas.fill_rect(Rect::new(0.0, 0.0, width, height), theme::PAPER, 1.0);
            paint(&mut canvas);
            canvas.area.present().map_err(|error| error.to_string())?;
            canvas
                .error
                .map_or(Ok((canvas.tips, canvas.headline, canvas.about)), Err)?
        };
        let frame = svg::Frame {
            size: (width, height),
            units: UNITS,
            headline,
        };
        Ok(Svg::finish(&text, frame, &about, &tips))
    }

    /// The sheet's width in pixels.
    pub(crate) fn width(&self) -> f64 {
        f64::from(self.area.dim_in_pixel().0) / UNITS
    }

    /// The height from the top that the page leaves out, because it says the same itself.
    pub(crate) fn set_headline(&mut self, height: f64) {
        self.headline = height;
    }

    /// Says what is drawn, for readers that do not see it.
    pub(crate) fn describe(&mut self, title: &str, text: String) {
        self.about = About {
            title: title.to_owned(),
            text,
        };
    }

    /// A tool tip for the circle around a point.
    pub(crate) fn tip(&mut self, center: Point, radius: f64, text: String) {
        self.tips.push((center, radius, text));
    }

    pub(crate) fn line(&mut self, points: &[Point], color: RGBColor, opacity: f64, width: f64) {
        let style = color.mix(opacity).stroke_width((width * UNITS) as u32);
        let path = PathElement::new(
            points.iter().map(|&point| units(point)).collect::<Vec<_>>(),
            style,
        );
        self.element(&path);
    }

    /// A line that is broken by a pattern.
    pub(crate) fn broken(
        &mut self,
        points: &[Point],
        color: RGBColor,
        opacity: f64,
        width: f64,
        pattern: Pattern,
    ) {
        for dash in dashes(points, pattern) {
            self.line(&dash, color, opacity, width);
        }
    }

    pub(crate) fn polygon(&mut self, points: &[Point], color: RGBColor, opacity: f64) {
        let points: Vec<_> = points.iter().map(|&point| units(point)).collect();
        self.element(&Polygon::new(points, color.mix(opacity).filled()));
    }

    pub(crate) fn disc(&mut self, center: Point, radius: f64, color: RGBColor, opacity: f64) {
        self.element(&Circle::new(
            units(center),
            radius * UNITS,
            color.mix(opacity).filled(),
        ));
    }

    pub(crate) fn ring(&mut self, center: Point, radius: f64, color: RGBColor, width: f64) {
        let style = color.stroke_width((width * UNITS) as u32);
        self.element(&Circle::new(units(center), radius * UNITS, style));
    }

    /// A small cross: something that failed.
    pub(crate) fn cross(&mut self, (x, y): Point, radius: f64, color: RGBColor) {
        self.line(
            &[(x - radius, y - radius), (x + radius, y + radius)],
            color,
            1.0,
            1.4,
        );
        self.line(
            &[(x - radius, y + radius), (x + radius, y - radius)],
            color,
            1.0,
            1.4,
        );
    }

    pub(crate) fn fill_rect(&mut self, rect: Rect, color: RGBColor, opacity: f64) {
        let corners = [
            units((rect.left, rect.top)),
            units((rect.right, rect.bottom)),
        ];
        self.element(&Rectangle::new(corners, color.mix(opacity).filled()));
    }

    /// A box with round corners and an outline.
    pub(crate) fn round_box(
        &mut self,
        rect: Rect,
        radius: f64,
        fill: RGBColor,
        opacity: f64,
        outline: RGBColor,
    ) {
        let outline_points = rounded(rect, radius);
        self.polygon(&outline_points, theme::PAPER, 1.0);
        self.polygon(&outline_points, fill, opacity);
        let mut closed = outline_points;
        closed.extend(closed.first().copied());
        self.line(&closed, outline, 1.0, 1.2);
    }

    /// One line of text; its middle height is at the point.
    pub(crate) fn text(&mut self, text: &str, point: Point, look: Text) {
        let horizontal = match look.anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let weight = if look.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        let font = FontDesc::new(
            FontFamily::Name(font::FAMILY),
            look.size * UNITS * FONT_FACTOR,
            weight,
        );
        // Written without the backend's vertical shift, which depends on the viewer's font: the baseline is set here.
        let drop = look.size * 0.36;
        let point = (point.0, point.1 + drop);
        let style = TextStyle::from(font)
            .color(&look.color)
            .pos(Pos::new(horizontal, VPos::Bottom));
        self.element(&plotters::element::Text::new(
            text.to_owned(),
            units(point),
            style,
        ));
    }

    fn element<'e, E>(&mut self, element: &'e E)
    where
        &'e E: PointCollection<'e, (i32, i32)>,
        E: for<'b> Drawable<SVGBackend<'b>>,
    {
        if let Err(error) = self.area.draw(element) {
            self.error.get_or_insert(error.to_string());
        }
    }
}

fn units((x, y): Point) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

/// The dashes of a line through points, the pattern going on around its corners.
fn dashes(points: &[Point], pattern: Pattern) -> Vec<Vec<Point>> {
    let mut lengths = pattern.iter().copied().cycle();
    let (Some(&first), Some(mut left)) = (points.first(), lengths.next()) else {
        return vec![points.to_vec()];
    };
    let (mut dashes, mut dash, mut drawn) = (Vec::new(), vec![first], true);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        let mut length = (to.0 - from.0).hypot(to.1 - from.1);
        while length > left {
            let part = left / length;
            from.0 += (to.0 - from.0) * part;
            from.1 += (to.1 - from.1) * part;
            length -= left;
            dash.push(from);
            let ended = std::mem::replace(&mut dash, vec![from]);
            if drawn {
                dashes.push(ended);
            }
            drawn = !drawn;
            left = lengths.next().unwrap_or(f64::INFINITY);
        }
        left -= length;
        dash.push(to);
    }
    if drawn {
        dashes.push(dash);
    }
    dashes
}

/// The outline of a rectangle with round corners, clockwise.
fn rounded(rect: Rect, radius: f64) -> Vec<Point> {
    let radius = radius.min(rect.width() / 2.0).min(rect.height() / 2.0);
    let corners = [
        (rect.right - radius, rect.top + radius, -90.0f64),
        (rect.right - radius, rect.bottom - radius, 0.0),
        (rect.left + radius, rect.bottom - radius, 90.0),
        (rect.left + radius, rect.top + radius, 180.0),
    ];
    let mut points = Vec::new();
    for (x, y, start) in corners {
        for step in 0..=6 {
            let angle = (start + 15.0 * f64::from(step)).to_radians();
            points.push((x + radius * angle.cos(), y + radius * angle.sin()));
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_goes_on_around_corners() {
        let line = [(0.0, 0.0), (5.0, 0.0), (5.0, 4.0)];
        assert_eq!(dashes(&line, &[]), [line.to_vec()]);
        assert_eq!(
            dashes(&line, &[4.0, 2.0]),
            [vec![(0.0, 0.0), (4.0, 0.0)], vec![(5.0, 1.0), (5.0, 4.0)],]
        );
        assert_eq!(dashes(&line, &[6.0, 9.0]).len(), 1);
    }
}
