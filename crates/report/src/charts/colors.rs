//! Which colour a network has: the same on all charts of a page.

use cellwright_ledger::Kind;
use plotters::style::RGBColor;

use crate::canvas::theme;
use crate::data::{Data, Entry};

/// A baseline's own shade, or the colour of the run that found the network.
pub(super) fn of(data: &Data, entry: &Entry) -> RGBColor {
    match entry.kind {
        Kind::Baseline => theme::baseline(data.baseline_index(entry)),
        Kind::Search | Kind::Rerank => theme::series(entry.run),
    }
}

/// Colours for a few networks, none a baseline, that must be told apart: shades of their runs' colours; where there
/// is one run, no other run's colour is on the page, and they are as different as runs' are.
pub(super) fn apart(data: &Data, found: &[&Entry]) -> Vec<RGBColor> {
    let shade = |(index, entry): (usize, &&Entry)| {
        if data.runs.len() == 1 {
            return theme::series(index);
        }
        let before = found[..index].iter().filter(|it| it.run == entry.run);
        theme::shade(theme::series(entry.run), before.count())
    };
    found.iter().enumerate().map(shade).collect()
}
