//! A space file, parsed and checked: what can be chosen.
