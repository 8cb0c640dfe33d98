//! Strategies that ask for architectures and are told their rewards, and the run that drives them.
