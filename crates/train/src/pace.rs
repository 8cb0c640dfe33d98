//! How far a training is, and whether it goes on.

use std::time::Instant;

use crate::{Error, Observer, Progress, Status};

/// Why a training ends before its time.
#[derive(Debug)]
pub(crate) enum End {
    /// An outcome, other than finished.
    Early(Status),
    /// What makes it impossible.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for End {
    fn from(error: E) -> Self {
        End::Failed(error.into())
    }
}

/// How far a training is, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub progress: Progress,
    pub begin: Instant,
    /// Seconds since the beginning; 0: no limit.
    pub limit: f64,
}

impl Pace {
    /// Gives the observer a sign of life; ends the training where it asks for that, or the limit does.
    pub fn look(&self, observer: &mut dyn Observer) -> Result<(), End> {
        observer.step(self.progress);
        if observer.stopped() {
            return Err(End::Early(Status::Stopped));
        }
        let Progress { step, steps, .. } = self.progress;
        let limit = self.limit;
        if limit > 0.0 && self.begin.elapsed().as_secs_f64() > limit {
            return Err(End::Early(Status::TimedOut(format!(
                "it took longer than {limit} s, and had made {step} of {steps} steps"
            ))));
        }
        Ok(())
    }
}
