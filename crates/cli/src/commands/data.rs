//! `cellwright data`: what images there are, and how to get them.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::options::data_variable;
use crate::output::{print, print_json, table};
use crate::progress::fetching;

/// Flags of `data`.
#[derive(clap::Args)]
pub struct Args {
    /// Where data sets are kept
    #[arg(
        long,
        value_name = "DIR",
        env = data_variable(),
        default_value = "data",
        global = true
    )]
    data: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the data sets, and whether they are here
    List {
        /// One JSON object a data set
        #[arg(long)]
        json: bool,
    },
    /// Download a data set
    Fetch {
        /// Its name
        name: String,
    },
}

#[derive(Serialize)]
struct Entry {
    name: &'static str,
    about: &'static str,
    present: bool,
}

/// Lists or fetches.
pub fn run(args: Args) -> Result<()> {
    match args.action {
        Action::List { json } => list(&args.data, json),
        Action::Fetch { name } => {
            let fetched = cellwright_data::fetch(&name, &args.data, &mut fetching())?;
            print(match fetched.from {
                Some(from) => format!("{name}: fetched from {from}"),
                None => format!("{name}: here already"),
            })
        }
    }
}

fn list(root: &std::path::Path, json: bool) -> Result<()> {
    let mut rows = table(&["name", "images", "here"]);
    for source in cellwright_data::sources() {
        let entry = Entry {
            name: source.name(),
            about: source.about(),
            present: cellwright_data::is_present(source.name(), root)?,
        };
        if json {
            print_json(&entry)?;
        }
        let here = if entry.present { "yes" } else { "no" };
        rows.add_row([entry.name, entry.about, here]);
    }
    if json {
        return Ok(());
    }
    print(rows)?;
    print(
        "\nFetch one with `cellwright data fetch NAME`; a folder of images, one subfolder a class, is a data set too; \
         so is one with train/ and test/ (or val/, then the test part) above such subfolders.",
    )
}
