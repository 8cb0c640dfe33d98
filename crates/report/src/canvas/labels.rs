//! Labels beside circles, placed so that they cover neither each other nor the circles.

use plotters::style::RGBColor;

use super::{Anchor, Canvas, Point, Rect, Text, font, theme};

/// A circle that labels must not cover.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disc {
    pub(crate) center: Point,
    pub(crate) radius: f64,
}

/// What a label says and the circle it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) text: String,
    pub(crate) disc: Disc,
}

/// Where a label stands: the box around its text, and whether it is so far off that it needs a line to its circle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placed {
    pub(crate) rect: Rect,
    pub(crate) far: bool,
}

/// Directions to try, the reader's favourites first.
const DIRECTIONS: [(f64, f64); 12] = [
    (1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (-1.0, 0.0),
    (0.8, -0.7),
    (0.8, 0.7),
    (-0.8, -0.7),
    (-0.8, 0.7),
    (0.4, -0.9),
    (0.4, 0.9),
    (-0.4, -0.9),
    (-0.4, 0.9),
];
/// Pixels between a label and what it must not touch.
const AIR: f64 = 1.5;
/// Distances from the circle's edge, in pixels.
const DISTANCES: [f64; 6] = [4.0, 12.0, 24.0, 40.0, 60.0, 84.0];

impl Wish {
    /// A label of `size` for a circle, cut to `limit` pixels.
    pub(crate) fn new(text: &str, disc: Disc, size: f64, limit: f64) -> Self {
        Self {
            text: font::shorten(text, size, true, limit),
            disc,
        }
    }
}

/// Places all labels of `size` within `bounds`; every label gets the place with the least cover, given the others,
/// and after a few rounds no label wants to move.
pub(crate) fn place(wishes: &[Wish], discs: &[Disc], bounds: Rect, size: f64) -> Vec<Placed> {
    let options: Vec<Vec<(Placed, f64)>> = wishes
        .iter()
        .map(|wish| candidates(wish, discs, bounds, size))
        .collect();
    let mut chosen: Vec<usize> = vec![0; wishes.len()];
    for round in 0..8 {
        let mut moved = false;
        for index in 0..wishes.len() {
            let others: Vec<Rect> = (0..wishes.len())
                .filter(|&other| other != index && (round > 0 || other < index))
                .map(|other| options[other][chosen[other]].0.rect)
                .collect();
            let cost = |(placed, base): &(Placed, f64)| {
                base + 40.0
                    * others
                        .iter()
                        .map(|other| placed.rect.overlap(other))
                        .sum::<f64>()
            };
            let best = (0..options[index].len())
                .min_by(|&a, &b| cost(&options[index][a]).total_cmp(&cost(&options[index][b])))
                .unwrap_or(0);
            moved |= best != chosen[index];
            chosen[index] = best;
        }
        if !moved {
            break;
        }
    }
    chosen
        .iter()
        .zip(&options)
        .map(|(&choice, options)| options[choice].0)
        .collect()
}

/// Writes a label at its place, with a line to its circle where it is far off.
pub(crate) fn write(
    canvas: &mut Canvas<'_>,
    wish: &Wish,
    placed: &Placed,
    size: f64,
    color: RGBColor,
) {
    let rect = placed.rect;
    let middle = (
        (rect.left + rect.right) / 2.0,
        (rect.top + rect.bottom) / 2.0,
    );
    if placed.far {
        let near = (
            wish.disc.center.0.clamp(rect.left, rect.right),
            wish.disc.center.1.clamp(rect.top, rect.bottom),
        );
        canvas.line(&[edge(wish.disc, near), near], theme::MUTED, 0.8, 0.8);
    }
    let look = Text::new(size, color).bold().anchor(Anchor::Middle);
    canvas.text(&wish.text, middle, look);
}

/// The point of a circle's edge that is nearest to `towards`.
fn edge(disc: Disc, towards: Point) -> Point {
    let (dx, dy) = (towards.0 - disc.center.0, towards.1 - disc.center.1);
    let length = dx.hypot(dy).max(1e-9);
    (
        disc.center.0 + dx / length * disc.radius,
        disc.center.1 + dy / length * disc.radius,
    )
}

/// All places of a label with what each costs by itself.
fn candidates(wish: &Wish, discs: &[Disc], bounds: Rect, size: f64) -> Vec<(Placed, f64)> {
    let (width, height) = (font::width(&wish.text, size, true) + 4.0, size * 1.25);
    let mut found = Vec::new();
    for distance in DISTANCES {
        for (rank, direction) in DIRECTIONS.iter().enumerate() {
            let rect = beside(wish.disc, *direction, distance, width, height);
            let outside = width * height - rect.overlap(&bounds);
            let covered: f64 = discs.iter().map(|disc| cover(&rect, disc)).sum();
            let cost = distance * 1.2 + rank as f64 + 100.0 * outside + 6.0 * covered;
            found.push((
                Placed {
                    rect,
                    far: distance > 13.0,
                },
                cost,
            ));
        }
    }
    found
}

/// The box of a label that lies in a direction from a circle.
fn beside(disc: Disc, (dx, dy): (f64, f64), distance: f64, width: f64, height: f64) -> Rect {
    let length = f64::hypot(dx, dy);
    let reach = disc.radius + distance;
    let (x, y) = (
        disc.center.0 + dx / length * reach,
        disc.center.1 + dy / length * reach,
    );
    // The box's near side (or its middle, straight above and below) lies at the point.
    let left = x - width * (0.5 - 0.5 * (dx * 1.6).clamp(-1.0, 1.0));
    let top = y - height * (0.5 - 0.5 * (dy * 1.6).clamp(-1.0, 1.0));
    Rect::new(left, top, left + width, top + height)
}

/// How much of a box a circle with a little air around it covers, summed over strips of the circle.
fn cover(rect: &Rect, disc: &Disc) -> f64 {
    const STRIPS: u32 = 8;
    let ((x, y), radius) = (disc.center, disc.radius + AIR);
    let height = 2.0 * radius / f64::from(STRIPS);
    (0..STRIPS)
        .map(|strip| {
            let top = f64::from(strip) * height - radius;
            let half = (radius.powi(2) - (top + height / 2.0).powi(2))
                .max(0.0)
                .sqrt();
            rect.overlap(&Rect::new(x - half, y + top, x + half, y + top + height))
        })
        .sum()
}

/// Circles along a stroke, for labels to keep away from it.
pub(crate) fn beads(line: &[Point]) -> impl Iterator<Item = Disc> {
    line.windows(2).flat_map(|pair| {
        let (from, to) = (pair[0], pair[1]);
        let count = ((to.0 - from.0).hypot(to.1 - from.1) / 4.0).ceil() as usize;
        (0..=count).map(move |index| {
            let part = index as f64 / count.max(1) as f64;
            let along = |from: f64, to: f64| from + (to - from) * part;
            Disc {
                center: (along(from.0, to.0), along(from.1, to.1)),
                radius: 1.5,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_crowd_do_not_cover_each_other() {
        let discs: Vec<Disc> = (0..9)
            .map(|i| Disc {
                center: (
                    300.0 + f64::from(i % 3) * 14.0,
                    200.0 + f64::from(i / 3) * 12.0,
                ),
                radius: 4.0 + f64::from(i),
            })
            .collect();
        let wishes: Vec<Wish> = discs
            .iter()
            .enumerate()
            .map(|(i, disc)| Wish {
                text: format!("ResNet-{i}8"),
                disc: *disc,
            })
            .collect();
        let bounds = Rect::new(0.0, 0.0, 600.0, 400.0);
        let placed = place(&wishes, &discs, bounds, 12.0);
        for (i, a) in placed.iter().enumerate() {
            assert!((a.rect.overlap(&bounds) - a.rect.width() * a.rect.height()).abs() < 1e-6);
            for b in &placed[..i] {
                assert_eq!(a.rect.overlap(&b.rect), 0.0);
            }
        }
    }

    #[test]
    fn a_lone_label_stands_close_to_the_right() {
        let disc = Disc {
            center: (100.0, 100.0),
            radius: 10.0,
        };
        let wish = Wish {
            text: "VGG-16".into(),
            disc,
        };
        let placed = place(&[wish], &[disc], Rect::new(0.0, 0.0, 400.0, 200.0), 12.0);
        assert!(!placed[0].far && placed[0].rect.left > 110.0);
    }

    #[test]
    fn a_label_stands_clear_of_a_line_and_of_a_neighbour() {
        let disc = |x: f64, radius: f64| Disc {
            center: (x, 100.0),
            radius,
        };
        let (own, neighbour) = (disc(100.0, 6.0), disc(190.0, 24.0));
        let wish = Wish {
            text: "best found (#12)".into(),
            disc: own,
        };
        let line = [(100.0, 100.0), (180.0, 100.0), (180.0, 80.0), (400.0, 80.0)];
        let taken: Vec<Disc> = [own, neighbour].into_iter().chain(beads(&line)).collect();
        let bounds = Rect::new(0.0, 0.0, 400.0, 200.0);
        let placed = place(&[wish], &taken, bounds, 12.0)[0];
        for other in &taken {
            let (x, y) = other.center;
            let near = (
                x.clamp(placed.rect.left, placed.rect.right),
                y.clamp(placed.rect.top, placed.rect.bottom),
            );
            assert!(
                (x - near.0).hypot(y - near.1) >= other.radius,
                "{placed:?} {other:?}"
            );
        }
    }

    #[test]
    fn a_label_at_the_edge_stays_inside() {
        let disc = Disc {
            center: (390.0, 5.0),
            radius: 8.0,
        };
        let wish = Wish {
            text: "GoogLeNet".into(),
            disc,
        };
        let bounds = Rect::new(0.0, 0.0, 400.0, 200.0);
        let placed = place(&[wish], &[disc], bounds, 12.0);
        assert!(
            placed[0].rect.right <= 400.0 && placed[0].rect.top >= 0.0,
            "{placed:?}"
        );
    }
}
