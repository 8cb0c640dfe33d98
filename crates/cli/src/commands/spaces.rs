//! `cellwright spaces`: the spaces of a folder, and how large they are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cellwright_graph::{Error, Shape, class};
use cellwright_search::run::SpaceSource;
use cellwright_space::Distinct;
use serde::Serialize;

use crate::output::{error, note, print, print_json, right, table};

/// Flags of `spaces`.
#[derive(clap::Args)]
pub struct Args {
    /// A folder of space files, or one file
    #[arg(value_name = "DIR", default_value = "search-spaces")]
    folder: PathBuf,
    /// Also count how many architectures of each space differ, as its `distinct` says: goes through all
    /// of them, a million in about a minute
    #[arg(long)]
    distinct: bool,
    /// For --distinct: leave out spaces of more architectures than this
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2_000_000,
        requires = "distinct"
    )]
    limit: u64,
    /// One JSON object a space
    #[arg(long)]
    json: bool,
    /// Print the reference of the space language instead, as Markdown
    #[arg(long, conflicts_with_all = ["json", "schema"])]
    reference: bool,
    /// Print the JSON Schema of space files instead, for editors
    #[arg(long, conflicts_with = "json")]
    schema: bool,
}

#[derive(Serialize)]
struct Entry {
    file: PathBuf,
    name: String,
    about: String,
    decisions: usize,
    /// In decimal: most are beyond 64 bits. None where it cannot be counted.
    architectures: Option<String>,
    /// With --distinct; none where there are more architectures than the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct: Option<u64>,
    /// Those that cannot be built for the images and classes that the space is meant for: not counted there.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_built: Option<u64>,
    /// Which of them count as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct_by: Option<&'static str>,
}

/// Lists every space file of the folder and of the folders in it; then what is wrong with the others.
pub fn run(args: Args) -> Result<()> {
    if args.reference {
        return print(cellwright_space::reference(cellwright_graph::vocabulary()));
    }
    if args.schema {
        let schema = cellwright_space::json_schema(cellwright_graph::vocabulary());
        return print(serde_json::to_string_pretty(&schema)?);
    }
    let files = files(&args.folder)?;
    anyhow::ensure!(
        !files.is_empty(),
        "no space files (*.toml) in {}",
        args.folder.display()
    );
    let limit = args.distinct.then_some(args.limit);
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for file in &files {
        match entry(file, limit) {
            Ok(entry) => entries.push(entry),
            Err(error) => wrong.push(error),
        }
    }
    if args.json {
        entries.iter().try_for_each(print_json)?;
    } else if !entries.is_empty() {
        show(&entries, limit)?;
    }
    wrong.iter().for_each(error);
    anyhow::ensure!(
        wrong.is_empty(),
        "{} of {} space files are wrong",
        wrong.len(),
        files.len()
    );
    Ok(())
}

/// The table of spaces; with a limit, of their distinct architectures too.
fn show(entries: &[Entry], limit: Option<u64>) -> Result<()> {
    let mut columns = vec!["file", "name", "decisions", "architectures"];
    if limit.is_some() {
        columns.extend(["distinct", "by"]);
    }
    let mut rows = table(&columns);
    for entry in entries {
        let mut row = vec![
            entry.file.display().to_string(),
            entry.name.clone(),
            entry.decisions.to_string(),
            entry
                .architectures
                .as_deref()
                .map_or("not countable".to_owned(), readable),
        ];
        if let Some(limit) = limit {
            let more = || format!("over {}", crate::output::thousands(limit));
            let mut distinct = entry.distinct.map_or_else(more, crate::output::thousands);
            if let Some(not_built) = entry.not_built {
                let not_built = crate::output::thousands(not_built);
                distinct.push_str(&format!(" ({not_built} cannot be built)"));
            }
            row.push(distinct);
            row.push(entry.distinct_by.unwrap_or_default().to_owned());
        }
        rows.add_row(row);
    }
    right(
        &mut rows,
        if limit.is_some() { &[2, 3, 4] } else { &[2, 3] },
    );
    print(rows)
}

/// The file that is named, or the space files of a folder and of those in it, in order; tells of other TOML files there.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let (spaces, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|it| may_be_space(it));
    if let Some(first) = others.first() {
        let more = match others.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more TOML files"),
        };
        let first = first.display();
        note(format!(
            "passed over {first}{more}: nothing of a space is in it"
        ));
    }
    Ok(spaces)
}

/// The TOML files of a folder and of those in it, but for hidden ones, what Cargo builds, and runs. Links to other
/// folders are left out: they may lead in circles.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let cannot = || format!("cannot list {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().with_context(cannot)?.is_dir() {
            let is_run = path.join("run.toml").is_file() && path.join("trials").is_dir();
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if !is_run && !is_hidden && name != "target" {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|it| it == "toml") && !path.is_dir() {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a file has anything that only a space has; one that cannot be read may be a space too.
fn may_be_space(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let keys = ["network", "cells", "blocks", "parameters"];
    text.parse::<toml::Table>().map_or(true, |table| {
        keys.iter().any(|key| table.contains_key(*key))
    })
}

fn entry(file: &Path, limit: Option<u64>) -> Result<Entry> {
    let space = SpaceSource::read(file, &[])?.space()?;
    let distinct = match limit {
        Some(limit) => distinct(file, space.distinct(), limit)?,
        None => None,
    };
    Ok(Entry {
        distinct_by: distinct.map(|_| space.distinct().by.word()),
        distinct: distinct.map(|(distinct, _)| distinct),
        not_built: distinct
            .map(|(_, not_built)| not_built)
            .filter(|it| *it > 0),
        file: file.to_owned(),
        name: space.name().to_owned(),
        about: space.about().unwrap_or_default().to_owned(),
        decisions: space.decisions().len(),
        architectures: space.count().map(|count| count.to_string()),
    })
}

/// How many architectures differ, and how many more cannot be built; none where there are more than `limit` to go
/// through.
fn distinct(file: &Path, distinct: &Distinct, limit: u64) -> Result<Option<(u64, u64)>> {
    let space = SpaceSource::read(file, &distinct.with)?.space()?;
    if space.count().is_none_or(|count| count > limit.into()) {
        return Ok(None);
    }
    let input = space.default_input().unwrap_or(Shape {
        height: 32,
        width: 32,
        channels: 3,
    });
    let classes = space.default_classes().unwrap_or(10);
    let (mut seen, mut not_built) = (HashSet::new(), 0);
    for choices in space.architectures() {
        match class(&space, &choices, input, classes, distinct.by) {
            Ok(class) => {
                seen.insert(class);
            }
            // It can be built, but not be compared.
            Err(error @ Error::Expression(_)) => {
                return Err(error).with_context(|| format!("{}: {choices}", file.display()));
            }
            Err(_) => not_built += 1,
        }
    }
    Ok(Some((seen.len() as u64, not_built)))
}

/// All digits while they fit, with separators; beyond that the size: 1.23e45.
fn readable(digits: &str) -> String {
    match digits.parse::<u64>() {
        Ok(number) if digits.len() <= 12 => crate::output::thousands(number),
        _ => rounded(digits),
    }
}

/// A number of at least four digits to three of them, half up.
fn rounded(digits: &str) -> String {
    let exponent = digits.len() - 1;
    let first_four = digits[..4]
        .bytes()
        .fold(0, |number, digit| 10 * number + u32::from(digit - b'0'));
    match (first_four + 5) / 10 {
        1000 => format!("1.00e{}", exponent + 1),
        three => format!("{}.{:02}e{exponent}", three / 100, three % 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_that_cannot_be_built_are_left_out_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.toml");
        let text = r#"name = "some"
input = "3x8x8"
[network]
layers = [
  { op = "conv", filters = 4, kernel = { choose = [1, 3, 64] }, padding = "valid" },
  { op = "global_avg_pool" },
  { op = "linear", units = "classes" },
]
"#;
        std::fs::write(&file, text).unwrap();
        let entry = entry(&file, Some(10)).unwrap();
        assert_eq!((entry.distinct, entry.not_built), (Some(2), Some(1)));
    }

    #[test]
    fn a_folder_is_listed_without_runs_and_other_toml_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let space = "[network]\nlayers = []";
        let run = "[space]\ntext = '''\n[network]\n'''";
        write("results/a/trials/00000.parquet", "");
        for (name, text) in [
            ("Cargo.toml", "[package]\nname = 'x'"),
            ("results/a/run.toml", run),
            ("results/a/space.toml", space),
            (".hidden/space.toml", space),
            ("target/space.toml", space),
            ("mine/space.toml", space),
            ("mine/unfinished.toml", "[cells.normal]"),
            ("mine/wrong.toml", "[network"),
        ] {
            write(name, text);
        }
        let listed = |place: &str| -> Vec<PathBuf> {
            let place = folder.path().join(place);
            let files = files(&place).unwrap().into_iter();
            files
                .map(|it| it.strip_prefix(folder.path()).unwrap().to_owned())
                .collect()
        };
        let names = ["space", "unfinished", "wrong"];
        assert_eq!(
            listed(""),
            names.map(|it| PathBuf::from(format!("mine/{it}.toml")))
        );
        // What is named is taken.
        assert_eq!(listed("results/a"), [Path::new("results/a/space.toml")]);
        assert_eq!(listed("Cargo.toml"), [Path::new("Cargo.toml")]);
    }

    #[test]
    fn large_numbers_are_rounded() {
        assert_eq!(readable("0"), "0");
        assert_eq!(readable("999999999999"), "999,999,999,999");
        assert_eq!(readable("1000000000000"), "1.00e12");
        assert_eq!(readable("1076700000000000000"), "1.08e18");
        assert_eq!(readable("1074999999999999999"), "1.07e18");
        assert_eq!(readable("1075000000000000000"), "1.08e18");
        assert_eq!(readable("1096000000000"), "1.10e12");
        assert_eq!(readable(&"9".repeat(40)), "1.00e40");
        assert_eq!(rounded("999600"), "1.00e6");
        assert_eq!(rounded("999400"), "9.99e5");
    }
}
