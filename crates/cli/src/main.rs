//! The `cellwright` command: flags in, one command run, errors told on stderr.

mod commands;
mod objective;
mod options;
mod output;
mod progress;
mod simulations;
mod standings;

use std::process::ExitCode;

use clap::Parser;

/// Architecture search and benchmarking for image classifiers.
#[derive(Parser)]
#[command(name = "cellwright", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(output::exit_code(&error))
        }
    }
}
