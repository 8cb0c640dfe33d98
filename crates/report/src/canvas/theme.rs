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
pub(crate) const BASELINE: RGBColor = BASELINES[0];
/// What failed, in every chart.
pub(crate) const FAILED: RGBColor = RGBColor(0xc5, 0x30, 0x30);

/// One colour a run or a curve. How far they and those of the baselines are apart, also for the colour-blind, and from
/// the ground in light and dark mode, a test below says; with many of them it is little, so lines have a [`pattern`] too.
const SERIES: [RGBColor; 6] = [
    RGBColor(0x03, 0x67, 0xc9),
    RGBColor(0x00, 0xa6, 0x89),
    RGBColor(0xad, 0x78, 0xfb),
    RGBColor(0x45, 0x75, 0x00),
    RGBColor(0x78, 0x5b, 0xa0),
    RGBColor(0x63, 0x89, 0xa9),
];

/// The baselines' colours, all of them warm.
const BASELINES: [RGBColor; 4] = [
    RGBColor(0xf9, 0x64, 0x0e),
    RGBColor(0x8a, 0x5e, 0x57),
    RGBColor(0xae, 0x8d, 0x58),
    RGBColor(0xd0, 0x33, 0x00),
];

/// How a line is broken: lengths of dashes and gaps by turns, in pixels; nothing for an unbroken one.
pub(crate) type Pattern = &'static [f64];

/// The patterns of lines that are told apart: dashes and dots.
const PATTERNS: [Pattern; 4] = [&[], &[7.0, 5.0], &[1.0, 5.0], &[9.0, 5.0, 1.0, 5.0]];
/// The short dashes of what lines are compared with.
pub(crate) const DASHES: Pattern = &[3.6, 3.6];

/// The colour of the `index`-th series; they repeat after six.
pub(crate) fn series(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()]
}

/// The colour of the `index`-th baseline; they repeat after four.
pub(crate) fn baseline(index: usize) -> RGBColor {
    BASELINES[index % BASELINES.len()]
}

/// The pattern of the `index`-th series' or baseline's line; they repeat after four, so that of twelve series no two
/// have colour and pattern in common.
pub(crate) fn pattern(index: usize) -> Pattern {
    PATTERNS[index % PATTERNS.len()]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Red, green and blue as light, 0 to 1.
    type Light = [f64; 3];
    type Matrix = [Light; 3];

    /// Full colour vision, and protanopia, deuteranopia and tritanopia after Machado, Oliveira and Fernandes (2009).
    const EYES: [Matrix; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    ];
    /// To the eye's receptors, and from their cube roots to Oklab (Ottosson 2020).
    const RECEPTORS: Matrix = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ];
    const OKLAB: Matrix = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ];

    fn light(color: RGBColor) -> Light {
        [color.0, color.1, color.2].map(|value| {
            let value = f64::from(value) / 255.0;
            match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        })
    }

    fn through(matrix: &Matrix, [a, b, c]: Light) -> Light {
        matrix.map(|row| row[0] * a + row[1] * b + row[2] * c)
    }

    /// The distance of two colours in Oklab, as an eye sees them.
    fn distance(a: RGBColor, b: RGBColor, eye: &Matrix) -> f64 {
        let seen = |color| {
            let seen = through(eye, light(color)).map(|it| it.clamp(0.0, 1.0));
            through(&OKLAB, through(&RECEPTORS, seen).map(f64::cbrt))
        };
        let (a, b) = (seen(a), seen(b));
        let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>().sqrt()
    }

    /// The least distance among colours, for full vision and for the worst of the others.
    fn least(colors: &[RGBColor]) -> (f64, f64) {
        let of = |eye| {
            let pairs = (0..colors.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
            let distances = pairs.map(|(a, b)| distance(colors[a], colors[b], eye));
            distances.fold(f64::INFINITY, f64::min)
        };
        (
            of(&EYES[0]),
            EYES[1..].iter().map(of).fold(f64::INFINITY, f64::min),
        )
    }

    #[test]
    fn colours_are_told_apart_and_seen_on_both_grounds() {
        let (full, blind) = least(&[SERIES.as_slice(), &BASELINES].concat());
        assert!(full > 0.1 && blind > 0.065, "all: {full} and {blind}");
        let (full, blind) = least(&[&SERIES[..3], &BASELINES[..2]].concat());
        assert!(full > 0.2 && blind > 0.11, "the first: {full} and {blind}");

        let luminance = |color| {
            let [red, green, blue] = light(color);
            0.2126 * red + 0.7152 * green + 0.0722 * blue
        };
        // What the style sheet makes of the paper in dark mode.
        assert!(include_str!("../page/style.css").contains("--paper: #181d24;"));
        for ground in [PAPER, RGBColor(0x18, 0x1d, 0x24)] {
            for color in SERIES.iter().chain(&BASELINES).chain([&FAILED]) {
                let (a, b) = (luminance(*color) + 0.05, luminance(ground) + 0.05);
                let contrast = (a / b).max(b / a);
                assert!(contrast > 3.0, "{}: {contrast}", hex(*color));
            }
        }
    }

    #[test]
    fn twelve_lines_have_looks_of_their_own() {
        let look = |index: usize| (hex(series(index)), format!("{:?}", pattern(index)));
        let looks: std::collections::BTreeSet<_> = (0..12).map(look).collect();
        assert_eq!(looks.len(), 12);
    }
}
