//! `cellwright spaces`: the spaces of a folder, and how large they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cellwright_search::run::SpaceSource;
use serde::Serialize;

use crate::output::{error, print, print_json, right, table};

/// Flags of `spaces`.
#[derive(clap::Args)]
pub struct Args {
    /// A folder of space files
    #[arg(value_name = "DIR", default_value = "search-spaces")]
    folder: PathBuf,
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
    let mut files = Vec::new();
    collect(&args.folder, &mut files)?;
    files.sort();
    anyhow::ensure!(
        !files.is_empty(),
        "no space files (*.toml) in {}",
        args.folder.display()
    );
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for file in &files {
        match entry(file) {
            Ok(entry) => entries.push(entry),
            Err(error) => wrong.push(error),
        }
    }
    if args.json {
        entries.iter().try_for_each(print_json)?;
    } else if !entries.is_empty() {
        show(&entries)?;
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

fn show(entries: &[Entry]) -> Result<()> {
    let mut rows = table(&["file", "name", "decisions", "architectures"]);
    for entry in entries {
        rows.add_row([
            entry.file.display().to_string(),
            entry.name.clone(),
            entry.decisions.to_string(),
            entry
                .architectures
                .as_deref()
                .map_or("not countable".to_owned(), readable),
        ]);
    }
    right(&mut rows, &[2, 3]);
    print(rows)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list {}", folder.display()))?
            .path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn entry(file: &Path) -> Result<Entry> {
    let space = SpaceSource::read(file, &[])?.space()?;
    Ok(Entry {
        file: file.to_owned(),
        name: space.name().to_owned(),
        about: space.about().unwrap_or_default().to_owned(),
        decisions: space.decisions().len(),
        architectures: space.count().map(|count| count.to_string()),
    })
}

/// All digits while they fit, with separators; beyond that the size: 1.23e45.
fn readable(digits: &str) -> String {
    match digits.parse::<u64>() {
        Ok(number) if digits.len() <= 12 => crate::output::thousands(number),
        _ => format!("{}.{}e{}", &digits[..1], &digits[1..3], digits.len() - 1),
    }
}
