//! The HTML page: one file with everything in it, for light and dark mode, sortable without foreign scripts.

mod headline;
pub(crate) mod simulations;
mod table;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cellwright_ledger::quoted;

use crate::Drawn;
use crate::canvas::svg::escape;
use crate::canvas::{font, theme};
use crate::data::{Data, RunData};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

/// The page's text.
pub(crate) fn html(data: &Data, drawn: &[Drawn]) -> String {
    let names: Vec<&str> = data.runs.iter().map(|run| run.name.as_str()).collect();
    let charts: String = drawn.iter().map(section).collect();
    let mut repeat: String = data.runs.iter().map(repeat).collect();
    if data.runs.len() > 1 {
        let folders = data.runs.iter().map(|run| quoted(run.folder.as_ref()));
        let folders: Vec<String> = folders.collect();
        repeat.push_str(&format!(
            "<p>This report of all these runs again:</p>\n<pre>cellwright plots {}</pre>\n",
            escape(&folders.join(" "))
        ));
    }
    let body = format!(
        "{headline}{warnings}{charts}{table}\
         <section>\n<h2>How to repeat it</h2>\n{repeat}</section>\n",
        headline = headline::html(data),
        warnings = warnings(&data.warnings),
        table = table::html(data),
    );
    document(&names.join(", "), &body)
}

/// A whole page around its body: style, typeface and script are in it.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} – cellwright</title>\n<style>\n{faces}{colors}{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {body}</main>\n<script>\n{SCRIPT}</script>\n\
         </body>\n</html>\n",
        faces = faces(),
        colors = colors(),
        title = escape(title),
    )
}

/// The typeface, so that labels in charts take the room that was reckoned for them.
fn faces() -> String {
    [(font::REGULAR, 400), (font::BOLD, 700)]
        .iter()
        .map(|(bytes, weight)| {
            format!(
                "@font-face{{font-family:{};font-weight:{weight};src:url(data:font/ttf;base64,{})}}\n",
                font::FAMILY,
                STANDARD.encode(bytes)
            )
        })
        .collect()
}

/// The charts' light colours as CSS variables; the style sheet sets the dark ones.
fn colors() -> String {
    let light: String = theme::THEMED
        .iter()
        .map(|(color, name)| format!("{name}:{};", theme::hex(*color)))
        .collect();
    format!(
        ":root{{{light}--accent:{};--baseline:{}}}\n",
        theme::hex(theme::series(0)),
        theme::hex(theme::BASELINE)
    )
}

fn warnings(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let items: String = warnings
        .iter()
        .map(|text| format!("<li>{}</li>\n", escape(text)))
        .collect();
    format!("<ul class=\"warnings\">\n{items}</ul>\n")
}

fn section(drawn: &Drawn) -> String {
    let title = drawn.chart.title;
    let figures: String = drawn
        .figures
        .iter()
        .map(|figure| {
            let caption = match figure.caption.as_str() {
                "" => String::new(),
                text => format!("<figcaption>{}</figcaption>\n", escape(text)),
            };
            let note = match figure.note.as_str() {
                "" => String::new(),
                text => format!("<p class=\"note\">{}</p>\n", escape(text)),
            };
            let chart = figure.svg.inline();
            format!("<figure>\n{caption}<div class=\"chart\">\n{chart}</div>\n{note}</figure>\n")
        })
        .collect();
    format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"about\">{}</p>\n{figures}</section>\n",
        drawn.chart.file,
        escape(title),
        escape(drawn.chart.about)
    )
}

fn repeat(run: &RunData) -> String {
    let folder = escape(&run.folder);
    let settings = escape(&quoted(&Path::new(&run.folder).join("run.toml")));
    let in_shell = escape(&quoted(run.folder.as_ref()));
    let more = run.twice_the_trials();
    let versions: std::collections::BTreeSet<&str> = run
        .trials
        .iter()
        .map(|trial| trial.version.as_str())
        .filter(|version| !version.is_empty())
        .collect();
    let version = match versions.into_iter().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => String::new(),
        some => format!("<p>Run with cellwright {}.</p>\n", escape(&some)),
    };
    format!(
        "<p><b>{}</b>: the same search again, more of it ({more} trials in all), and its report again from the tables alone:</p>\n\
         <pre>cellwright search --config {settings}\ncellwright search --resume {in_shell} --trials {more}\n\
         cellwright plots {in_shell}</pre>\n\
         {version}<details><summary>run.toml</summary>\n<pre>{}</pre></details>\n\
         <p>The tables, in Python: <code>polars.read_parquet(\"{folder}/trials/*.parquet\")</code></p>\n",
        escape(&run.name),
        escape(&run.settings)
    )
}
