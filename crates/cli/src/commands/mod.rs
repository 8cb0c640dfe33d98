//! One file a command: its flags and what it does with them.

mod data;
mod inspect;
mod plots;
mod profile;
mod sample;
mod search;
mod simulate;
mod spaces;
mod train;
mod validate;
mod worker;

/// Declares the commands; a new one is its file and one line here.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident => $module:ident),* $(,)?) => {
        /// What `cellwright` can do.
        #[derive(clap::Subcommand)]
        pub enum Command {
            $($(#[$attribute])* $name($module::Args),)*
        }

        impl Command {
            /// Runs the command.
            pub fn run(self) -> anyhow::Result<()> {
                match self {
                    $(Command::$name(args) => $module::run(args),)*
                }
            }
        }
    };
}

commands! {
    /// Search a space for good architectures, with baselines beside them
    Search => search,
    /// Train one architecture or baseline and evaluate it on the test part
    Train => train,
    /// Show an architecture's layers, parameters and MACs
    Inspect => inspect,
    /// List the spaces of a folder, with their exact number of architectures
    Spaces => spaces,
    /// Check space files; all errors, with their places
    Validate => validate,
    /// Draw architectures at random from a space
    Sample => sample,
    /// Try strategies on a table of known results, where an evaluation costs nothing
    Simulate => simulate,
    /// Time a training step
    Profile => profile,
    /// Draw a run's charts and report again, from its tables alone
    Plots => plots,
    /// List or fetch data sets
    Data => data,
    /// Evaluate requests from standard input, a line of JSON each (started by `search`)
    #[command(hide = true)]
    Worker => worker,
}
