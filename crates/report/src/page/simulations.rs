//! The page of simulations: the charts of regret, and how to draw them again.

use std::path::Path;

use cellwright_ledger::quoted;

use crate::canvas::Svg;
use crate::canvas::svg::escape;
use crate::charts::regret;

/// The page's text; a figure is a column's name and its chart.
pub(crate) fn html(
    folder: &Path,
    setting: &str,
    warnings: &[String],
    figures: &[(String, Svg)],
) -> String {
    let shown = escape(&folder.display().to_string());
    let in_shell = escape(&quoted(folder));
    let charts: String = figures
        .iter()
        .map(|(column, svg)| {
            format!(
                "<figure>\n<figcaption>{}</figcaption>\n<div class=\"chart\">\n{}</div>\n</figure>\n",
                escape(column),
                svg.inline()
            )
        })
        .collect();
    let body = format!(
        "<header>\n<h1>{}</h1>\n<p class=\"setting\">{}.</p>\n</header>\n{}\
         <section id=\"regret\">\n<p class=\"about\">{}</p>\n{charts}</section>\n\
         <section>\n<h2>How to repeat it</h2>\n<p>This report again, from the tables alone:</p>\n\
         <pre>cellwright plots {in_shell}</pre>\n\
         <p>The tables, in Python: <code>polars.read_parquet(\"{shown}/simulations/*.parquet\")</code></p>\n\
         </section>\n",
        regret::TITLE,
        escape(setting),
        super::warnings(warnings),
        escape(regret::ABOUT),
    );
    super::document(regret::TITLE, &body)
}
