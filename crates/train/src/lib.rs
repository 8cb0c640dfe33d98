//! Trains a network and evaluates it: optimiser, schedule, regularisation, checkpoints.
