//! The one typeface of all charts, carried in the binary so that they look the same on every machine.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, ScaleFont};
use plotters::style::{FontStyle, register_font};

/// The family's name in SVG.
pub(crate) const FAMILY: &str = "Roboto";
/// What a viewer without that family falls back to.
pub(crate) const FAMILIES: &str = "Roboto, Helvetica, Arial, sans-serif";

pub(crate) const REGULAR: &[u8] = include_bytes!("../../assets/Roboto-Regular.ttf");
pub(crate) const BOLD: &[u8] = include_bytes!("../../assets/Roboto-Bold.ttf");

/// Makes the family known to plotters; any number of times.
pub(crate) fn register() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // The bytes are ours, and a test reads them: this cannot fail, and without it only text would be missing.
        let _ = register_font(FAMILY, FontStyle::Normal, REGULAR);
        let _ = register_font(FAMILY, FontStyle::Bold, BOLD);
    });
}

/// What stands in a PNG for a sign that the typeface lacks. In SVG the sign itself stays, since a browser has more.
const MISSING: char = '?';

/// `text` with a mark for each sign that the typeface lacks, so that none vanishes.
pub(crate) fn shown(text: &str) -> String {
    let Ok(font) = FontRef::try_from_slice(REGULAR) else {
        return text.to_owned();
    };
    let shown = |c| if has_glyph(&font, c) { c } else { MISSING };
    text.chars().map(shown).collect()
}

/// Whether a sign can be drawn; line breaks of SVG's source are none to draw.
fn has_glyph(font: &FontRef<'_>, c: char) -> bool {
    c == '\n' || font.glyph_id(c).0 != 0
}

/// Width of a line of text in pixels, at a font size in pixels.
pub(crate) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let Ok(font) = FontRef::try_from_slice(if bold { BOLD } else { REGULAR }) else {
        return text.chars().count() as f64 * size * 0.55;
    };
    let em = f64::from(font.units_per_em().unwrap_or(2048.0));
    let unscaled = font.as_scaled(font.height_unscaled());
    let advance = |c| match has_glyph(&font, c) {
        true => f64::from(unscaled.h_advance(font.glyph_id(c))) / em,
        false => unknown_advance(c),
    };
    text.chars().map(advance).sum::<f64>() * size
}

/// Room for a sign that the typeface lacks, as a part of the font size: enough for the mark in a PNG, and about what
/// another typeface of a browser takes, which is a square from the scripts of East Asia on.
fn unknown_advance(c: char) -> f64 {
    if c < '\u{1100}' { 0.64 } else { 1.0 }
}

/// `text`, cut to `limit` with an ellipsis in its middle where it is wider: names often differ at their ends alone.
pub(crate) fn shorten(text: &str, size: f64, bold: bool, limit: f64) -> String {
    if width(text, size, bold) <= limit {
        return text.to_owned();
    }
    let all: Vec<char> = text.chars().collect();
    let cut = |kept: usize| {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        let [head, tail] = [&all[..head], &all[all.len() - tail..]].map(String::from_iter);
        format!("{}…{}", head.trim_end(), tail.trim_start())
    };
    let fits = |short: &String| width(short, size, bold) <= limit;
    let found = (0..all.len()).rev().map(cut).find(fits);
    found.unwrap_or_else(|| "…".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_faces_load_and_measure() {
        for bold in [false, true] {
            let one = width("Accuracy", 10.0, bold);
            assert!(one > 30.0 && one < 60.0, "{one}");
            assert!((width("Accuracy", 20.0, bold) - 2.0 * one).abs() < 1e-3);
        }
        assert!(width("accuracy", 10.0, true) > width("accuracy", 10.0, false));
    }

    #[test]
    fn a_sign_without_a_glyph_is_marked_and_measured() {
        assert_eq!(shown("Сеть <b>é…×±</b>\n"), "???? <b>é…×±</b>\n");
        for bold in [false, true] {
            assert!(width("сеть", 12.0, bold) > width("????", 12.0, bold));
            assert!(width("网络", 12.0, bold) > width("??", 12.0, bold));
        }
    }

    #[test]
    fn long_text_is_cut_to_fit() {
        let text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|";
        let short = shorten(text, 12.0, false, 100.0);
        assert!(
            short.contains('…') && width(&short, 12.0, false) <= 100.0,
            "{short}"
        );
        let run = |end| shorten(&format!("nasnet-fashion-mnist-{end}"), 12.0, false, 100.0);
        assert!(run("1").ends_with("-1") && run("1") != run("2"));
        assert_eq!(shorten("short", 12.0, false, 100.0), "short");
    }
}
