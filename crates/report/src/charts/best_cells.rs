//! The cells of the best found architectures, drawn as graphs.

use cellwright_graph::Graph;
use cellwright_ledger::Kind;

use super::{Chart, Figure};
use crate::canvas::{Anchor, Canvas, Text, font, theme};
use crate::cells::{Placed, arrange, cells, outside, paint};
use crate::data::{Data, Entry};
use crate::numbers::{counted, percent};

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

/// The cells of an architecture, as far as they are drawn.
#[derive(Default)]
struct Architecture {
    drawings: Vec<Drawing>,
    /// How many different cells it has.
    cells: usize,
    /// How many of them were drawn for a better architecture.
    known: usize,
    /// How many layers stand in no cell, of how many.
    outside: (usize, usize),
}

/// A cell with its title.
struct Drawing {
    title: String,
    placed: Placed,
}

fn draw(data: &Data) -> Result<Vec<Figure>, String> {
    let mut seen: Vec<String> = Vec::new();
    let mut figures: Vec<Figure> = Vec::new();
    // Those without a drawing: without a cell, and with none that is new.
    let (mut plain, mut known) = (Vec::new(), Vec::new());
    for entry in data
        .finalists()
        .into_iter()
        .filter(|entry| entry.kind != Kind::Baseline)
    {
        if figures.len() == ARCHITECTURES {
            break;
        }
        let architecture = architecture(data, entry, &mut seen)?;
        if architecture.drawings.is_empty() {
            let skipped = if architecture.cells == 0 {
                &mut plain
            } else {
                &mut known
            };
            skipped.push(data.name(entry));
            continue;
        }
        figures.push(Figure {
            suffix: format!("{}", figures.len() + 1),
            caption: caption(data, entry),
            note: architecture.left_out(),
            svg: sheet(&caption(data, entry), &architecture.drawings)?,
        });
    }
    if let Some(last) = figures.last_mut() {
        last.note = [last.note.as_str(), &skipped(&plain, &known)]
            .join(" ")
            .trim()
            .to_owned();
    }
    Ok(figures)
}

/// Which architectures have no drawing, and why.
fn skipped(plain: &[String], known: &[String]) -> String {
    const NAMED: usize = 5;
    let sentence = |names: &[String], why: &str| {
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = names[..names.len().min(NAMED)].join(", ");
        (!names.is_empty()).then(|| format!("{why}: {names}{more}."))
    };
    let sentences = [
        sentence(
            plain,
            "Without a drawing, since they have no cell (no named group that adds or concatenates)",
        ),
        sentence(
            known,
            "Without a drawing, since all their cells are drawn above",
        ),
    ];
    sentences
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}

impl Architecture {
    /// What of it is not drawn.
    fn left_out(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let drawn = self.drawings.len();
        if drawn + self.known < self.cells {
            parts.push(format!(
                "{drawn} of {} different cells are drawn.",
                self.cells
            ));
        }
        if self.known > 0 {
            let (what, are) = (
                counted(self.known as u64, "more cell"),
                if self.known == 1 { "is" } else { "are" },
            );
            parts.push(format!("{what} {are} drawn above."));
        }
        let (outside, all) = self.outside;
        if outside > 0 {
            parts.push(format!(
                "{outside} of {all} layers stand outside of cells and are not drawn."
            ));
        }
        parts.join(" ")
    }
}

fn caption(data: &Data, entry: &Entry) -> String {
    let accuracy = entry.valid.map_or(String::new(), |valid| {
        format!(", {} validation accuracy", percent(valid.mean))
    });
    format!("{}{accuracy}", data.name(entry))
}

/// An architecture with drawings of its cells, but for those that were drawn for a better one.
fn architecture(
    data: &Data,
    entry: &Entry,
    seen: &mut Vec<String>,
) -> Result<Architecture, String> {
    let trial = data.trial(entry);
    // A trial that was trained again need not carry the graph twice.
    let source = data.source(entry);
    let Some(json) = trial
        .graph
        .as_deref()
        .or(source.and_then(|source| source.graph.as_deref()))
    else {
        return Ok(Architecture::default());
    };
    let graph: Graph = serde_json::from_str(json).map_err(|error| {
        format!(
            "the graph of trial {} in the table cannot be read: {error}",
            trial.id
        )
    })?;
    let mut found = Architecture {
        outside: outside(&graph),
        ..Architecture::default()
    };
    for cell in cells(&graph) {
        found.cells += 1;
        let key = format!("{} {}", cell.name, cell.signature);
        if seen.contains(&key) {
            found.known += 1;
            continue;
        }
        if found.drawings.len() == CELLS {
            continue;
        }
        seen.push(key);
        let title = if cell.uses > 1 {
            format!("{} (used {} times)", cell.name, cell.uses)
        } else {
            cell.name
        };
        found.drawings.push(Drawing {
            title,
            placed: arrange(cell.sketch),
        });
    }
    Ok(found)
}

/// All cells side by side, in as many rows as it takes to keep their text readable.
fn sheet(caption: &str, drawings: &[Drawing]) -> Result<crate::canvas::Svg, String> {
    let rows = rows(drawings);
    let widest = rows.iter().map(|row| row_width(row)).fold(0.0, f64::max);
    let width = widest + 2.0 * MARGIN;
    let height: f64 = rows.iter().map(|row| row_height(row)).sum();
    Canvas::draw(width, height + MARGIN, |canvas| {
        let titles: Vec<&str> = drawings.iter().map(|it| it.title.as_str()).collect();
        let text = format!("The cells of {caption}: {}.", titles.join(", "));
        canvas.describe(CHART.title, text);
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
