//! The colours of all charts. Those of [`THEMED`] change with the reader's light or dark mode on the HTML page.

use plotters::style::RGBColor;

/// Text and strong lines.
pub(crate) const INK: RGBColor = RGBColor(0x1b, 0x24, 0x30);
/// Secondary text, axes.
pub(crate) const MUTED: RGBColor = RGBColor(0x5c, 0x69, 0x78);
/// Grid lines.
pub(crate) const GRID: RGBColor = RGBColor(0xe4, 0xe8, 0xed);
/// The ground.
pub(crate) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xfe);
/// Fill of neutral boxes.
pub(crate) const BOX: RGBColor = RGBColor(0xf1, 0xf4, 0xf7);

/// Baselines, in every chart.
pub(crate) const BASELINE: RGBColor = RGBColor(0xdd, 0x6b, 0x20);
/// What failed, in every chart.
pub(crate) const FAILED: RGBColor = RGBColor(0xc5, 0x30, 0x30);

/// One colour a run or a curve; distinguishable in all common kinds of colour blindness, readable on light and dark.
const SERIES: [RGBColor; 8] = [
    RGBColor(0x2b, 0x7f, 0xc9),
    RGBColor(0x1f, 0x9e, 0x77),
    RGBColor(0x8b, 0x5f, 0xc4),
    RGBColor(0xc9, 0x4f, 0x8f),
    RGBColor(0xa6, 0x8a, 0x12),
    RGBColor(0x3b, 0xa6, 0xb4),
    RGBColor(0x8a, 0x5a, 0x44),
    RGBColor(0x52, 0x5f, 0x7f),
];

/// The colour of the `index`-th series; they repeat after eight.
pub(crate) fn series(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()]
}

/// The colour of the `index`-th baseline, a shade of all baselines'; they repeat after six.
pub(crate) fn baseline(index: usize) -> RGBColor {
    const SHADES: [RGBColor; 6] = [
        BASELINE,
        RGBColor(0xb8, 0x86, 0x0b),
        RGBColor(0xa8, 0x3e, 0x24),
        RGBColor(0xe0, 0x96, 0x5a),
        RGBColor(0x7a, 0x4e, 0x1d),
        RGBColor(0xe5, 0x5b, 0x4a),
    ];
    SHADES[index % SHADES.len()]
}

/// Shades of a colour, the first itself, then by turns lighter and darker ones; they repeat after four.
pub(crate) fn shade(color: RGBColor, index: usize) -> RGBColor {
    const WHITE: RGBColor = RGBColor(0xff, 0xff, 0xff);
    match index % 4 {
        0 => color,
        1 => blend(color, WHITE, 0.45),
        2 => blend(color, INK, 0.5),
        _ => blend(color, WHITE, 0.7),
    }
}

/// A colour with a part of another in it.
fn blend(color: RGBColor, other: RGBColor, part: f64) -> RGBColor {
    let mix = |a: u8, b: u8| (f64::from(a) * (1.0 - part) + f64::from(b) * part).round() as u8;
    RGBColor(
        mix(color.0, other.0),
        mix(color.1, other.1),
        mix(color.2, other.2),
    )
}

/// Colours that the page replaces by CSS variables of these names.
pub(crate) const THEMED: [(RGBColor, &str); 5] = [
    (INK, "--ink"),
    (MUTED, "--muted"),
    (GRID, "--grid"),
    (PAPER, "--paper"),
    (BOX, "--box"),
];

/// A colour as SVG writes it.
pub(crate) fn hex(color: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}
