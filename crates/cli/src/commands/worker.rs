//! `cellwright worker`: the other end of `search --workers`.

use anyhow::Result;

/// Flags of `worker`: none, everything is in the requests.
#[derive(clap::Args)]
pub struct Args {}

/// Serves requests until standard input ends.
pub fn run(_: Args) -> Result<()> {
    Ok(cellwright_search::evaluator::serve(
        std::io::stdin().lock(),
        std::io::stdout(),
    )?)
}
