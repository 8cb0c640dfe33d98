//! Tables of trials, learning curves and controller updates, written so that a crash loses nothing.
