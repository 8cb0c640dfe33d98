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
/// Room for a cell's title.
const HEADING: f64 = 30.0;
/// Width that a row of cells does not pass, unless a single cell does.
const WIDEST: f64 = 1240.0;

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
    format!("{}{accuracy}", data.name(entry))
}

/// The cells of an architecture that were not drawn for a better one.
fn drawings(data: &Data, entry: &Entry, seen: &mut Vec<String>) -> Result<Vec<Drawing>, String> {
    let trial = data.trial(entry);
    // A trial that was trained again need not carry the graph twice.
    let source = data.source(entry);
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

/// All cells side by side, in as many rows as it takes to keep their text readable.
fn sheet(drawings: &[Drawing]) -> Result<crate::canvas::Svg, String> {
    let rows = rows(drawings);
    let widest = rows.iter().map(|row| row_width(row)).fold(0.0, f64::max);
    let width = (widest + 2.0 * MARGIN).max(960.0);
    let height: f64 = rows.iter().map(|row| row_height(row)).sum();
    Canvas::draw(width, height + MARGIN, |canvas| {
        let mut top = MARGIN;
        for row in &rows {
            let mut left = (width - row_width(row)) / 2.0;
            for drawing in row {
                let middle = left + drawing_width(drawing) / 2.0;
                let look = Text::new(TITLE, theme::INK).bold().anchor(Anchor::Middle);
                canvas.text(&drawing.title, (middle, top), look);
                let corner = (middle - drawing.placed.width / 2.0, top + HEADING);
                paint(canvas, &drawing.placed, corner);
                left += drawing_width(drawing) + BETWEEN;
            }
            top += row_height(row);
        }
    })
}

fn rows(drawings: &[Drawing]) -> Vec<Vec<&Drawing>> {
    let mut rows: Vec<Vec<&Drawing>> = Vec::new();
    for drawing in drawings {
        match rows.last_mut() {
            Some(row) if row_width(row) + BETWEEN + drawing_width(drawing) <= WIDEST => {
                row.push(drawing)
            }
            _ => rows.push(vec![drawing]),
        }
    }
    rows
}

fn drawing_width(drawing: &Drawing) -> f64 {
    drawing
        .placed
        .width
        .max(font::width(&drawing.title, TITLE, true))
}

fn row_width(row: &[&Drawing]) -> f64 {
    row.iter()
        .map(|drawing| drawing_width(drawing))
        .sum::<f64>()
        + BETWEEN * (row.len() - 1) as f64
}

fn row_height(row: &[&Drawing]) -> f64 {
    row.iter()
        .map(|drawing| drawing.placed.height)
        .fold(0.0, f64::max)
        + HEADING
        + MARGIN
}
