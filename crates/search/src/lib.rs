//! Strategies that ask for architectures and are told their rewards, and the run that drives them.
//!
//! - [`strategy`]: who asks. One file a strategy, behind one trait, ask and tell.
//! - [`controller`]: the LSTM policy that one of them learns.
//! - [`predictor`]: what the rewards so far say about the architectures that were not evaluated.
//! - [`evaluator`]: who answers. Plain data in, plain data out: in this process or in others.
//! - [`objective`]: what a trial is worth: accuracy, or accuracy against costs.
//! - [`schedule`]: for how long each is trained.
//! - [`run`]: brings both together with the ledger, so that nothing finished is lost.
//! - [`simulate`](mod@simulate): searches on a table of known results.

pub mod controller;
mod error;
pub mod evaluator;
mod identity;
pub mod objective;
pub mod predictor;
pub mod run;
pub mod schedule;
pub mod simulate;
pub mod strategy;

pub use error::Error;
pub use identity::Identities;
pub use objective::Objective;
