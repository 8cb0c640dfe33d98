//! What a file may not exceed, so that no file takes all time or memory.

use super::Walker;
use crate::program::Layer;

/// More decisions than this are refused.
pub(super) const MOST_DECISIONS: usize = 5_000;
/// More options than this, of one decision or of all, are refused.
pub(super) const MOST_OPTIONS: usize = 20_000;
pub(super) const MOST_OPTIONS_IN_ALL: usize = 200_000;
/// More conditions of decisions than this are refused.
pub(super) const MOST_GUARDS: usize = 400_000;
/// Values that depend on decisions through larger expressions than this are refused.
pub(super) const MOST_PARTS: usize = 1_000;
/// Deeper uses of blocks in blocks are refused.
pub(crate) const DEPTH: usize = 200;
/// As many combinations of decisions are tried to find the largest number of repetitions.
pub(super) const MOST_COMBINATIONS: usize = 4096;
/// As many layers are walked at most, and as many times 64 bytes of names and options are kept.
const MOST_STEPS: usize = 1_000_000;

impl Walker<'_, '_> {
    /// Tells what is too large, once; nothing more is listed then.
    pub(super) fn check_limits(&mut self, layer: &Layer, depth: usize) {
        if self.full {
            return;
        }
        if self.entangled {
            let message = format!(
                "a value here depends on decisions through more than {MOST_PARTS} operators and names"
            );
            self.report.error(layer.span.clone(), message, None);
            self.full = true;
        } else if self.steps > MOST_STEPS || depth > DEPTH {
            let message = "the decisions cannot be listed: blocks use each other without end, or there are too many layers or too long options";
            let help = "bound the recursion with `when`".to_owned();
            self.report.error(layer.span.clone(), message, Some(help));
            self.full = true;
        }
    }
}
