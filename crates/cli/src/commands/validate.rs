//! `cellwright validate`: checks space files, without training anything.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use cellwright_search::run::SpaceSource;
use cellwright_space::{Choices, Space};
use rand::SeedableRng;
use serde::Serialize;

use crate::options::{ImageFlags, Set};
use crate::output::{error, line, note, print, print_json};

/// Of a space with at most so many architectures all are built.
const FEW: usize = 500;
/// Of a larger one as many at random.
const RANDOM: usize = 64;
/// As long these are built: large networks take their time.
const PATIENCE: Duration = Duration::from_secs(3);

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

/// Loads a file and builds architectures of it; what to warn of.
fn check(file: &Path, args: &Args) -> Result<Vec<String>> {
    let space = SpaceSource::read(file, args.set.pairs())?.space()?;
    let warnings = [
        not_built(&space, &args.images)?,
        uncomputable(&space),
        notation(&space),
    ];
    Ok(warnings.into_iter().flatten().collect())
}

/// Architectures, one by one: finding one may take time too.
type All<'a> = Box<dyn Iterator<Item = Choices> + 'a>;

/// Architectures that were built, as far as they can be.
struct Built {
    /// What they are, in words.
    what: &'static str,
    number: usize,
    wrong: Vec<(Choices, Error)>,
}

/// Builds architectures that show each option, and as many others as there is time for; how many of them cannot be
/// built. An error where none can.
fn not_built(space: &Space, images: &ImageFlags) -> Result<Option<String>> {
    let build = |what, all: All<'_>, until: Option<Instant>| {
        let (mut number, mut wrong) = (0, Vec::new());
        for choices in all {
            if until.is_some_and(|until| Instant::now() > until) {
                break;
            }
            number += 1;
            if let Err(error) = images.graph(space, &choices) {
                wrong.push((choices, error));
            }
        }
        Built {
            what,
            number,
            wrong,
        }
    };
    let covering = "architectures that show each option once";
    let covering = build(covering, Box::new(space.covering().into_iter()), None);
    let (what, more): (_, All<'_>) = match space.few_architectures(FEW) {
        Some(all) => ("architectures", Box::new(all.into_iter())),
        None => {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
            let some = (0..RANDOM).map(move |_| space.sample(&mut rng));
            ("architectures at random", Box::new(some))
        }
    };
    let more = build(what, more, Some(Instant::now() + PATIENCE));
    let all = [more, covering];
    if all.iter().all(|it| it.wrong.len() == it.number) {
        let mut wrong = all.into_iter().rev().flat_map(|it| it.wrong);
        return wrong.next().map_or(Ok(None), |(_, error)| Err(error));
    }
    // Of the first kind, the share says what a search will meet.
    let first = all.iter().find_map(|it| Some((it, it.wrong.first()?)));
    Ok(first.map(|(built, (choices, error))| {
        format!(
            "{} of {} {} cannot be built, such as {choices}: {}",
            built.wrong.len(),
            built.number,
            built.what,
            line(error)
        )
    }))
}

/// Whether a condition rules out what it cannot be computed for.
fn uncomputable(space: &Space) -> Option<String> {
    let (condition, choices, reason) = space.uncomputable()?;
    Some(format!(
        "`require` rules out what {condition} cannot be computed for, such as {choices}: {reason}"
    ))
}

/// Whether a text in the notation may be several architectures.
fn notation(space: &Space) -> Option<String> {
    let choices = space.ambiguous_notation()?;
    let text = space.notation(&choices);
    let reason = space.parse_notation(&text).err()?.reason;
    let left_out = match space.left_out_of_notation().len() {
        0 => "; put a sign between the decisions".to_owned(),
        some => format!(
            "; it leaves {some} of {} decisions out",
            space.decisions().len()
        ),
    };
    Some(format!(
        "`notation` writes {choices} as '{text}', which --arch refuses: {reason}{left_out}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The warning of a space whose network has these layers before its end.
    fn warning(layers: &str) -> Option<String> {
        let text = format!(
            r#"name = "some"
input = "1x8x8"
[network]
layers = [{layers}, {{ op = "global_avg_pool" }}, {{ op = "linear", units = "classes" }}]
"#
        );
        let vocabulary = cellwright_graph::vocabulary();
        let space = Space::parse(&text, Path::new("some.toml"), &[], vocabulary).unwrap();
        let images = ImageFlags {
            input: None,
            classes: None,
        };
        not_built(&space, &images).unwrap()
    }

    #[test]
    fn all_of_a_few_architectures_are_built() {
        let layer = r#"{ op = "subsample", stride = { choose = [1, 2, 3] }, offset = { choose = [0, 1, 2] } }"#;
        let told = warning(layer).unwrap();
        let expected =
            "3 of 9 architectures cannot be built, such as 0,1: some.toml:4:11: layer subsample";
        assert!(told.starts_with(expected), "{told}");
        assert_eq!(warning(&layer.replace("[0, 1, 2]", "[0]")), None);
    }

    /// Each option can be shown alone, but two of one kind cannot follow each other.
    #[test]
    fn some_at_random_are_built_of_many() {
        let layer = r#"{ op = "conv", filters = 1, kernel = { choose = [1, 4] }, padding = "valid", repeat = 10 }"#;
        let told = warning(layer).unwrap();
        assert!(
            told.contains(" of 64 architectures at random cannot be built, such as "),
            "{told}"
        );
    }
}
