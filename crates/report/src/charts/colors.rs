//! Which colour a network has: the same on all charts of a page.

use cellwright_ledger::Kind;
use plotters::style::RGBColor;

use crate::canvas::theme::{self, Pattern};
use crate::data::{Data, Entry};

/// A baseline's own shade, or the colour of the run that found the network.
pub(super) fn of(data: &Data, entry: &Entry) -> RGBColor {
    match entry.kind {
        Kind::Baseline => theme::baseline(data.baseline_index(entry)),
        Kind::Search | Kind::Rerank => theme::series(entry.run),
    }
}

/// Colours and patterns for lines of a few networks, none a baseline, that must be told apart: by their patterns; and,
/// where there is one run and so no other run's colour on the page, by their colours too.
pub(super) fn apart(data: &Data, found: &[&Entry]) -> Vec<(RGBColor, Pattern)> {
    let look = |(index, entry): (usize, &&Entry)| {
        let before = found[..index].iter().filter(|it| it.run == entry.run);
        let place = before.count();
        let color = match data.runs.len() {
            1 => theme::series(place),
            _ => theme::series(entry.run),
        };
        (color, theme::pattern(place))
    };
    found.iter().enumerate().map(look).collect()
}
