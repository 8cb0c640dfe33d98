//! Charts, cell drawings and one HTML page, from the ledger alone: no training, no search, seconds to draw.
//!
//! [`write()`] reads one run or several to lay over each other, and draws every chart as SVG and PNG, and
//! `index.html`, which holds everything: it needs no network and no other file.
//! [`write_simulations()`] does the same for strategies on a table of known results.
//! Text in the images is set in Roboto, which is part of the binary (see `assets/README.md`).

mod canvas;
mod cells;
mod charts;
mod data;
mod error;
mod finalists;
mod numbers;
mod page;
pub mod pareto;
pub mod ranking;
mod settings;
mod simulations;

use std::fs;
use std::path::{Path, PathBuf};

use cellwright_ledger::Run;

use canvas::Svg;
use charts::{CHARTS, Chart, Figure};
use data::Data;
pub use error::Error;
pub use simulations::write_simulations;

/// What was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The page to open.
    pub page: PathBuf,
    /// All files, the page first.
    pub files: Vec<PathBuf>,
    /// What the reader should know: files of the run that could not be used, runs that do not compare.
    pub warnings: Vec<String>,
}

/// A chart with its drawings, for the page.
pub(crate) struct Drawn {
    pub(crate) chart: &'static Chart,
    pub(crate) figures: Vec<Figure>,
}

/// Where the report of some runs belongs: that of one run is [`Run::report`]; that of several stands beside the first
/// one's own, which it leaves alone, in a folder that names the others, such as `results/A/report-with-B+C`; where runs
/// have one name, with the folders that tell them apart, such as `d1/A/report-with-d2--A`.
///
/// # Errors
/// [`Error::NoRun`].
pub fn folder(runs: &[Run]) -> Result<PathBuf, Error> {
    /// More letters than this would be too long for a file's name.
    const LONGEST: usize = 60;
    match runs {
        [] => Err(Error::NoRun),
        [run] => Ok(run.report()),
        [first, ..] => {
            let names: Vec<String> = names(runs).iter().map(|it| it.replace('/', "--")).collect();
            let mut name = format!("report-with-{}", names[1]);
            for (index, other) in names.iter().enumerate().skip(2) {
                let longer = format!("{name}+{other}");
                if longer.chars().count() > LONGEST {
                    name.push_str(&format!("+{}-more", names.len() - index));
                    break;
                }
                name = longer;
            }
            Ok(first.folder().join(name))
        }
    }
}

/// What runs are called side by side: each by its name, or where several have one name by the shortest ends of their
/// paths that differ, such as `d1/A` and `d2/A`.
fn names(runs: &[Run]) -> Vec<String> {
    let places: Vec<Vec<String>> = runs.iter().map(place).collect();
    let end = |place: &[String], parts: usize| {
        let begin = place.len().saturating_sub(parts);
        place[begin..].join("/")
    };
    let name = |place: &Vec<String>| {
        let others = || places.iter().filter(|other| *other != place);
        let differs =
            |parts: &usize| others().all(|other| end(other, *parts) != end(place, *parts));
        end(place, (1..place.len()).find(differs).unwrap_or(place.len()))
    };
    places.iter().map(name).collect()
}

/// The parts of a run's path, the last of them its name.
fn place(run: &Run) -> Vec<String> {
    let path = std::path::absolute(run.folder()).unwrap_or_else(|_| run.folder().to_owned());
    let parents = path.parent().into_iter().flat_map(Path::components);
    let parents = parents.map(|it| it.as_os_str().to_string_lossy().into_owned());
    parents.chain([run.name()]).collect()
}

/// Draws the report of `runs` into `folder`, which is made if it is not there, usually [`folder()`]. Files of an earlier
/// report are replaced, and charts of it that are not drawn any more are removed.
///
/// # Errors
/// [`Error::NoRun`], [`Error::Empty`] where no trial is finished, [`Error::Ledger`] where a run cannot be read,
/// [`Error::Write`].
pub fn write(runs: &[Run], folder: &Path) -> Result<Written, Error> {
    let data = Data::read(runs)?;
    fs::create_dir_all(folder).map_err(|source| Error::Write {
        path: folder.to_owned(),
        source,
    })?;
    remove_images(folder, |stem| {
        let number = |it: &str| it.chars().all(|c| c.is_ascii_digit());
        let is_of = |chart: &Chart| match stem.strip_prefix(chart.file) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('-').is_some_and(number),
            None => false,
        };
        CHARTS.iter().any(is_of)
    })?;
    let page = folder.join("index.html");
    let mut files = vec![page.clone()];
    let mut drawn = Vec::new();
    for chart in CHARTS {
        let figures = (chart.draw)(&data).map_err(draw_error(chart.file))?;
        for figure in &figures {
            let stem = match figure.suffix.as_str() {
                "" => chart.file.to_owned(),
                suffix => format!("{}-{suffix}", chart.file),
            };
            files.extend(write_images(folder, &stem, &figure.svg)?);
        }
        if !figures.is_empty() {
            drawn.push(Drawn { chart, figures });
        }
    }
    save(&page, page::html(&data, &drawn).as_bytes())?;
    Ok(Written {
        page,
        files,
        warnings: data.warnings,
    })
}

/// Removes the images of an earlier report, by what their names are before `.svg` and `.png`.
fn remove_images(folder: &Path, is_ours: impl Fn(&str) -> bool) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    for file in fs::read_dir(folder).map_err(failed(folder))? {
        let path = file.map_err(failed(folder))?.path();
        let image = path
            .extension()
            .is_some_and(|it| it == "svg" || it == "png");
        let stem = path.file_stem().and_then(|it| it.to_str());
        if image && stem.is_some_and(&is_ours) {
            fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    Ok(())
}

fn write_images(folder: &Path, stem: &str, svg: &Svg) -> Result<[PathBuf; 2], Error> {
    let (vector, bitmap) = (
        folder.join(format!("{stem}.svg")),
        folder.join(format!("{stem}.png")),
    );
    save(&vector, svg.as_str().as_bytes())?;
    save(&bitmap, &svg.png().map_err(draw_error(stem))?)?;
    Ok([vector, bitmap])
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

fn draw_error(figure: &str) -> impl FnOnce(String) -> Error {
    move |reason| Error::Draw {
        figure: figure.to_owned(),
        reason,
    }
}
