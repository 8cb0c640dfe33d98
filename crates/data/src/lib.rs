//! Data sets, splits, augmentation, and a loader that never makes training wait.
