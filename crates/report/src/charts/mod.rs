//! The charts of a report. A new one is a file here with a [`Chart`], and a line in [`CHARTS`].

mod accuracy_macs;
mod best_cells;
mod colors;
mod controller;
mod learning_curves;
mod pareto;
mod progress;
pub(crate) mod regret;

use crate::canvas::Svg;
use crate::data::Data;

/// A kind of chart: what it is called, and how it is drawn from the tables.
pub(crate) struct Chart {
    /// Name of its files.
    pub(crate) file: &'static str,
    /// Its headline on the page.
    pub(crate) title: &'static str,
    /// How to read it.
    pub(crate) about: &'static str,
    /// Draws it; nothing where the tables have nothing for it.
    pub(crate) draw: fn(&Data) -> Result<Vec<Figure>, String>,
}

/// One drawing of a chart.
pub(crate) struct Figure {
    /// What is added to the chart's file name; empty for the only one.
    pub(crate) suffix: String,
    /// Its own headline, where the chart has several drawings.
    pub(crate) caption: String,
    /// What a reader would miss in it; empty for nothing.
    pub(crate) note: String,
    pub(crate) svg: Svg,
}

impl Figure {
    fn only(svg: Svg) -> Vec<Self> {
        vec![Self {
            suffix: String::new(),
            caption: String::new(),
            note: String::new(),
            svg,
        }]
    }
}

/// All charts, in the order of the page.
pub(crate) const CHARTS: &[Chart] = &[
    accuracy_macs::CHART,
    pareto::CHART,
    progress::CHART,
    learning_curves::CHART,
    controller::CHART,
    best_cells::CHART,
];
