//! The cells of the best found architectures, drawn as graphs.

use cellwright_graph::Graph;
use cellwright_ledger::Kind;

use super::{Chart, Figure};
use crate::canvas::{Anchor, Canvas, Text, font, theme};
use crate::cells::{Placed, arrange, cells, paint};
use crate::data::{Data, Entry};
use crate::numbers::percent;

pub(crate) const CHART: Chart = Chart {
    file: "best-cells",
    title: "The best cells",
    about: "Data flows from top to bottom. A box is an operation with the normalisation and activation around it; \
            circles add; a line past a box is a skip. A cell that an architecture uses many times is drawn once, \
            without the projections of its inputs where some use has none.",
    draw,
};

/// How many architectures are drawn.
const ARCHITECTURES: usize = 3;
/// How many cells of an architecture are drawn.
const CELLS: usize = 4;
const MARGIN: f64 = 28.0;
const BETWEEN: f64 = 64.0;
const TITLE: f64 = 15.0;

/// A cell with its title.
struct Drawing {
    title: String,
    placed: Placed,
}

fn draw(data: &Data) -> Result<Vec<Figure>, String> {
    let mut seen: Vec<String> = Vec::new();
    let mut figures = Vec::new();
    for entry in data
        .finalists()
        .into_iter()
        .filter(|entry| entry.kind != Kind::Baseline)
    {
        if figures.len() == ARCHITECTURES {
            break;
        }
        let drawings = drawings(data, entry, &mut seen)?;
        if drawings.is_empty() {
            continue;
        }
        figures.push(Figure {
            suffix: format!("{}", figures.len() + 1),
            caption: caption(data, entry),
            svg: sheet(&drawings)?,
        });
    }
    Ok(figures)
}

fn caption(data: &Data, entry: &Entry) -> String {
    let accuracy = entry.valid.map_or(String::new(), |valid| {
        format!(", {} validation accuracy", percent(valid.mean))
    });
    format!("{}{}{accuracy}", data.run_prefix(entry.run), entry.label)
}

/// The cells of an architecture that were not drawn for a better one.
fn drawings(data: &Data, entry: &Entry, seen: &mut Vec<String>) -> Result<Vec<Drawing>, String> {
    let trial = data.trial(entry);
    // A trial that was trained again need not carry the graph twice.
    let source = trial.source_trial.and_then(|id| {
        data.runs[entry.run]
            .trials
            .iter()
            .find(|trial| trial.id == id)
    });
    let Some(json) = trial
        .graph
        .as_deref()
        .or(source.and_then(|source| source.graph.as_deref()))
    else {
        return Ok(Vec::new());
    };
    let graph: Graph = serde_json::from_str(json).map_err(|error| {
        format!(
            "the graph of trial {} in the table cannot be read: {error}",
            trial.id
        )
    })?;
    let mut drawings = Vec::new();
    for cell in cells(&graph) {
        let key = format!("{} {}", cell.name, cell.signature);
        if drawings.len() == CELLS || seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let title = if cell.uses > 1 {
            format!("{} (used {} times)", cell.name, cell.uses)
        } else {
            cell.name
        };
        drawings.push(Drawing {
            title,
            placed: arrange(cell.sketch),
        });
    }
    Ok(drawings)
}

/// All cells side by side.
fn sheet(drawings: &[Drawing]) -> Result<crate::canvas::Svg, String> {
    let width = |drawing: &Drawing| {
        drawing
            .placed
            .width
            .max(font::width(&drawing.title, TITLE, true))
    };
    let total: f64 =
        drawings.iter().map(width).sum::<f64>() + BETWEEN * (drawings.len() - 1) as f64;
    let tallest = drawings
        .iter()
        .map(|drawing| drawing.placed.height)
        .fold(0.0, f64::max);
    let sheet = (total + 2.0 * MARGIN).max(640.0);
    Canvas::draw(sheet, tallest + 2.0 * MARGIN + 36.0, |canvas| {
        let mut left = (sheet - total) / 2.0;
        for drawing in drawings {
            let middle = left + width(drawing) / 2.0;
            let look = Text::new(TITLE, theme::INK).bold().anchor(Anchor::Middle);
            canvas.text(&drawing.title, (middle, MARGIN), look);
            paint(
                canvas,
                &drawing.placed,
                (middle - drawing.placed.width / 2.0, MARGIN + 30.0),
            );
            left += width(drawing) + BETWEEN;
        }
    })
}
