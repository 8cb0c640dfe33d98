//! A finished drawing: its SVG text, for a file, for the page, and as PNG.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use resvg::{tiny_skia, usvg};

use super::{About, Point, font, theme};

/// Pixels of the PNG for each pixel of the drawing.
const PNG_SCALE: f32 = 2.0;

/// How small the page may draw it, as a part of its size: smaller text is not read, so the page scrolls it instead.
const LEAST: f64 = 0.75;

/// A finished drawing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Svg {
    text: String,
    /// What stands for its size in the text, and what takes its place on the page.
    frames: [String; 2],
}

/// The sheet of a drawing.
pub(super) struct Frame {
    /// Width and height in pixels.
    pub(super) size: (f64, f64),
    /// Units of the drawing for each pixel.
    pub(super) units: f64,
    /// The height from the top that the page leaves out.
    pub(super) headline: f64,
}

impl Svg {
    /// Makes the backend's text a well-behaved SVG: size in pixels, one font for all, no vertical shifts, a
    /// description for readers that do not see it, tool tips.
    pub(super) fn finish(
        drawn: &str,
        frame: Frame,
        about: &About,
        tips: &[(Point, f64, String)],
    ) -> Self {
        let body = drawn.split_once('>').map_or(drawn, |(_, body)| body);
        let body = body
            .replace(&format!(" font-family=\"{}\"", font::FAMILY), "")
            .replace(" dy=\"-0.5ex\"", "")
            .replace(" text-anchor=\"start\"", "")
            .replace(" opacity=\"1\"", "")
            .replace("</svg>", "");
        let Frame {
            size: (width, height),
            units,
            headline,
        } = frame;
        let view = |top: f64| {
            let numbers =
                [0.0, top, width, height - top].map(|number| format!("{:.0}", number * units));
            format!("viewBox=\"{}\"", numbers.join(" "))
        };
        let frames = [
            format!("width=\"{width:.0}\" height=\"{height:.0}\" {}", view(0.0)),
            format!(
                "style=\"max-width:{width:.0}px;min-width:{:.0}px\" {}",
                width * LEAST,
                view(headline)
            ),
        ];
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {} role=\"img\" aria-label=\"{}\" font-family=\"{}\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\">\n<desc>{}</desc>",
            frames[0],
            escape(&about.title),
            font::FAMILIES,
            escape(&about.text),
        );
        text.push_str(body.trim_end());
        for ((x, y), radius, tip) in tips {
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "\n<circle cx=\"{:.0}\" cy=\"{:.0}\" r=\"{:.0}\" fill-opacity=\"0\"><title>{}</title></circle>",
                x * units,
                y * units,
                radius * units,
                escape(tip)
            );
        }
        text.push_str("\n</svg>\n");
        Self { text, frames }
    }

    /// The text of an SVG file.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The text for the HTML page: colours of the theme as CSS variables, size from the page.
    pub(crate) fn inline(&self) -> String {
        let mut text = self.text.replacen(&self.frames[0], &self.frames[1], 1);
        for (color, variable) in theme::THEMED {
            text = text.replace(
                &format!("\"{}\"", theme::hex(color)),
                &format!("\"var({variable})\""),
            );
        }
        text
    }

    /// The drawing as a PNG file's bytes, at twice its size.
    pub(crate) fn png(&self) -> Result<Vec<u8>, String> {
        let options = usvg::Options {
            fontdb: fonts(),
            font_family: font::FAMILY.into(),
            ..Default::default()
        };
        let tree = usvg::Tree::from_str(&font::shown(&self.text), &options)
            .map_err(|error| error.to_string())?;
        let size = tree
            .size()
            .to_int_size()
            .scale_by(PNG_SCALE)
            .ok_or("the image has no size")?;
        let mut pixels =
            tiny_skia::Pixmap::new(size.width(), size.height()).ok_or("the image is too large")?;
        resvg::render(
            &tree,
            tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE),
            &mut pixels.as_mut(),
        );
        pixels.encode_png().map_err(|error| error.to_string())
    }
}

fn fonts() -> Arc<usvg::fontdb::Database> {
    static FONTS: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();
    FONTS
        .get_or_init(|| {
            let mut database = usvg::fontdb::Database::new();
            database.load_font_data(font::REGULAR.to_vec());
            database.load_font_data(font::BOLD.to_vec());
            Arc::new(database)
        })
        .clone()
}

/// Text as it must stand in SVG and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
