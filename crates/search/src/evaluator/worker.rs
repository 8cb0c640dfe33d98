//! The worker's side of the pipe: requests in, a line of JSON each; progress and rows out, likewise.

use std::io::{BufRead, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Evaluator, Local, Progress, Request, Row, Watch};
use crate::Error;
use crate::run::{DatasetConfig, DeviceSpec};

/// One line to a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Call {
    /// Requests for this will come. It has no reply: what goes wrong, the first of them says.
    Prepare {
        dataset: DatasetConfig,
        device: DeviceSpec,
    },
    /// A row is asked for.
    Evaluate(Box<Request>),
}

/// One line from a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// A request has been read, and what ends the worker from now on is its doing.
    Begun,
    /// The trial is under way.
    Progress(Progress),
    /// The trial is over.
    Row(Box<Row>),
    /// No request can be evaluated; the run ends.
    Error(String),
}

/// At most so many progress lines a second.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Serves calls until the input ends.
///
/// # Errors
/// [`Error::Worker`] when the pipe breaks or a request cannot be read.
pub fn serve(input: impl BufRead, output: impl Write + Send) -> Result<(), Error> {
    let output = Mutex::new(output);
    let local = Local::new();
    for line in input.lines() {
        let line =
            line.map_err(|error| Error::Worker(format!("cannot read a request: {error}")))?;
        let call = serde_json::from_str(&line)
            .map_err(|error| Error::Worker(format!("cannot understand a request: {error}")))?;
        let request = match call {
            Call::Evaluate(request) => request,
            Call::Prepare { dataset, device } => {
                local.prepare(&dataset, device);
                continue;
            }
        };
        write_line(&output, &Reply::Begun)?;
        let watch = Lines {
            output: &output,
            last: Mutex::new(None),
            broken: AtomicBool::new(false),
        };
        let reply = match local.evaluate(0, &request, &watch) {
            Ok(row) => Reply::Row(Box::new(row)),
            Err(error) => Reply::Error(error.to_string()),
        };
        write_line(&output, &reply)?;
    }
    Ok(())
}

fn write_line<W: Write>(output: &Mutex<W>, reply: &Reply) -> Result<(), Error> {
    let broken = |error: &dyn std::fmt::Display| Error::Worker(format!("cannot answer: {error}"));
    let mut line = serde_json::to_vec(reply).map_err(|error| broken(&error))?;
    line.push(b'\n');
    let mut output = output
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    output
        .write_all(&line)
        .and_then(|()| output.flush())
        .map_err(|error| broken(&error))
}

/// Sends progress as lines. A run stops its workers by ending them; a worker whose run has died
/// notices that nobody reads, and stops by itself.
struct Lines<'a, W> {
    output: &'a Mutex<W>,
    last: Mutex<Option<Instant>>,
    broken: AtomicBool,
}

impl<W: Write + Send> Watch for Lines<'_, W> {
    fn progress(&self, progress: Progress) {
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < PROGRESS_INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        if write_line(self.output, &Reply::Progress(progress)).is_err() {
            self.broken.store(true, Ordering::Relaxed);
        }
    }

    fn stopped(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_prepared_is_said_when_it_is_needed() {
        for name in ["digits", "not there"] {
            let call = Call::Prepare {
                dataset: DatasetConfig {
                    name: name.to_owned(),
                    root: "data".into(),
                    digest: None,
                },
                device: DeviceSpec::Cpu,
            };
            let line = serde_json::to_vec(&call).unwrap();
            let mut output = Vec::new();
            serve(&*line, &mut output).unwrap();
            assert!(output.is_empty());
        }
    }
}
