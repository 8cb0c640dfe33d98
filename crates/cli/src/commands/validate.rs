//! `cellwright validate`: checks space files, without training anything.

use std::path::{Path, PathBuf};

use anyhow::Result;
use cellwright_search::run::SpaceSource;
use serde::Serialize;

use crate::options::{ImageFlags, Set};
use crate::output::{error, line, note, print, print_json};

/// Flags of `validate`.
#[derive(clap::Args)]
pub struct Args {
    /// Space files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    set: Set,
    #[command(flatten)]
    images: ImageFlags,
    /// One JSON object a file
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Verdict {
    file: String,
    valid: bool,
    error: Option<String>,
    /// What is allowed, and likely not meant.
    warnings: Vec<String>,
}

/// Checks every file, also after one has failed.
pub fn run(args: Args) -> Result<()> {
    let mut wrong = 0;
    for file in &args.files {
        let result = check(file, &args);
        wrong += usize::from(result.is_err());
        if args.json {
            print_json(&Verdict {
                file: file.display().to_string(),
                valid: result.is_ok(),
                warnings: result.as_ref().map_or_else(|_| Vec::new(), Vec::clone),
                error: result.err().as_ref().map(line),
            })?;
        } else {
            match result {
                Ok(warnings) => {
                    for warning in warnings {
                        note(format!("{}: warning: {warning}", file.display()));
                    }
                    print(format!("{}: valid", file.display()))?;
                }
                Err(wrong) => error(&wrong),
            }
        }
    }
    anyhow::ensure!(
        wrong == 0,
        "{wrong} of {} space files are wrong",
        args.files.len()
    );
    Ok(())
}

/// Loads a file and builds architectures that show each of its options; what to warn of.
fn check(file: &Path, args: &Args) -> Result<Vec<String>> {
    let space = SpaceSource::read(file, args.set.pairs())?.space()?;
    let mut warnings = Vec::new();
    let all = space.covering();
    let mut broken = Vec::new();
    for choices in &all {
        if let Err(error) = args.images.graph(&space, choices) {
            broken.push((choices, error));
        }
    }
    if broken.len() == all.len() {
        return Err(broken.swap_remove(0).1);
    }
    if let Some((choices, error)) = broken.first() {
        warnings.push(format!(
            "{} of {} architectures that show each option once cannot be built; {choices}: {}",
            broken.len(),
            all.len(),
            line(error)
        ));
    }
    let left_out = space.left_out_of_notation();
    if let Some(first) = left_out.first() {
        warnings.push(format!(
            "`notation` leaves {} of {} decisions out, the first {first} ({}): --arch refuses a text that could be several architectures",
            left_out.len(),
            space.decisions().len(),
            space.decisions()[*first].name
        ));
    } else if let Some(choices) = space.ambiguous_notation() {
        warnings.push(format!(
            "`notation` writes {choices} as '{}', which could be another architecture too, and --arch refuses it: put a sign between the decisions",
            space.notation(&choices)
        ));
    }
    Ok(warnings)
}
