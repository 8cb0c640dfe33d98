//! `cellwright sample`: architectures drawn at random.

use anyhow::Result;
use rand::SeedableRng;
use serde::Serialize;

use crate::options::SpaceFlags;
use crate::output::{print, print_json};

/// Flags of `sample`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    space: SpaceFlags,
    /// How many
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// The seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Sample {
    choices: String,
    architecture: String,
}

/// Prints one architecture a line: its choices, and its notation where the space has one.
pub fn run(args: Args) -> Result<()> {
    let space = args.space.source()?.space()?;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(args.seed);
    for _ in 0..args.count {
        let choices = space.sample(&mut rng);
        let sample = Sample {
            choices: choices.to_string(),
            architecture: space.notation(&choices),
        };
        if args.json {
            print_json(&sample)?;
        } else if sample.choices == sample.architecture {
            print(sample.choices)?;
        } else {
            print(format!("{}\t{}", sample.choices, sample.architecture))?;
        }
    }
    Ok(())
}
