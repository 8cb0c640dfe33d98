//! Evaluates each request in a worker process, so that a crash, an out-of-memory kill or a hang
//! costs one trial. A worker is kept for the next request while it is well.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cellwright_ops::program::Images;

use super::admission::{Budget, Refusal, Share};
use super::local::{device_bytes, free_memory};
use super::row::{describe, failed};
use super::worker::{Call, Reply};
use super::{Evaluator, PATIENCE, Request, Row, Watch};
use crate::Error;
use crate::run::{DatasetConfig, DeviceSpec};

/// A worker that has said nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(600);
/// How long to wait for the last words of a worker that has ended; they are on their way.
const HEARING: Duration = Duration::from_secs(10);
/// How many bytes of a worker's last words are kept.
const LAST_WORDS: usize = 1 << 16;

/// Workers beside this process, one for each slot.
pub struct Processes {
    program: PathBuf,
    arguments: Vec<OsString>,
    slots: Vec<Mutex<Option<Worker>>>,
    /// The memory of the device that they share, where it is shared out.
    memory: Option<Memory>,
}

struct Memory {
    /// Free bytes, before any worker took some.
    free: u64,
    budget: Budget,
    /// Bytes that the images take in each worker.
    images: u64,
}

impl Memory {
    fn admit(&self, request: &Request, watch: &dyn Watch) -> Result<Share<'_>, Refusal> {
        let bytes = device_bytes(request).map_or(0, |bytes| bytes + self.images);
        self.budget.admit(bytes, || watch.stopped())
    }
}

struct Worker {
    child: Child,
    requests: ChildStdin,
    replies: Receiver<Vec<u8>>,
    /// Comes when it has said them.
    last_words: Receiver<String>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Gone already is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Processes {
    /// Workers that are started by a command (`cellwright worker`), when they are first needed or [prepared](Self::prepare).
    #[must_use]
    pub fn new(program: PathBuf, arguments: Vec<OsString>, slots: usize) -> Self {
        Processes {
            program,
            arguments,
            slots: (0..slots.max(1)).map(|_| Mutex::new(None)).collect(),
            memory: None,
        }
    }

    /// Lets trials begin only while the memory that they will take fits the device's; a trial that would
    /// not fit alone is a failed row. The processor's memory is not shared out.
    ///
    /// # Errors
    /// [`Error::Device`] if the device cannot be used.
    pub fn on(mut self, device: DeviceSpec) -> Result<Self, Error> {
        self.memory = free_memory(device)?.map(|free| Memory {
            free,
            budget: Budget::new(free, self.slots.len()),
            images: 0,
        });
        Ok(self)
    }

    /// Counts the bytes of the data set, which each worker keeps on the device where there is room.
    #[must_use]
    pub fn keeping(mut self, images: u64) -> Self {
        if let Some(memory) = &mut self.memory {
            let fit = Images::fit(images, memory.free);
            memory.images = if fit { images } else { 0 };
        }
        self
    }

    /// Starts at most so many workers, which read a data set and open a device while the caller does something else.
    /// Both take seconds.
    ///
    /// # Errors
    /// [`Error::Worker`] if one cannot be started.
    pub fn prepare(
        &self,
        most: usize,
        dataset: &DatasetConfig,
        device: DeviceSpec,
    ) -> Result<(), Error> {
        for slot in self.slots.iter().take(most) {
            let mut worker = self.start()?;
            worker.send(&Call::Prepare {
                dataset: dataset.clone(),
                device,
            })?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        }
        Ok(())
    }

    fn start(&self) -> Result<Worker, Error> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::Worker(format!("cannot start {}: {error}", self.program.display()))
        };
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            // Of its last words one line is kept, which is to be the reason.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C reaches the run, which ends its workers; it must not reach them first.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| wrong(&error))?;
        let requests = child.stdin.take().ok_or_else(|| wrong(&"no input"))?;
        let output = child.stdout.take().ok_or_else(|| wrong(&"no output"))?;
        let errors = child.stderr.take().ok_or_else(|| wrong(&"no errors"))?;
        let (sender, replies) = channel();
        let (words, last_words) = channel();
        let worker = Worker {
            child,
            requests,
            replies,
            last_words,
        };
        let hear = move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new;
        let heard = thread().spawn(hear);
        heard.map_err(|error| wrong(&error))?;
        let kept = thread().spawn(move || words.send(hear_last_words(errors)));
        kept.map_err(|error| wrong(&error))?;
        Ok(worker)
    }
}

/// The end of what is said, when no more comes.
fn hear_last_words(mut errors: impl Read) -> String {
    let mut words = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(count @ 1..) = errors.read(&mut buffer) {
        words.extend_from_slice(&buffer[..count]);
        words.drain(..words.len().saturating_sub(LAST_WORDS));
    }
    String::from_utf8_lossy(&words).into_owned()
}

/// How a request ended, seen from the run.
enum End {
    Row(Box<Row>),
    Impossible(String),
    /// The worker ended, before or after it had begun the request.
    Died {
        begun: bool,
    },
    Hung,
    Stopped,
}

impl Worker {
    fn send(&mut self, call: &Call) -> Result<(), Error> {
        let mut line = serde_json::to_vec(call)
            .map_err(|error| Error::Worker(format!("cannot write a request: {error}")))?;
        line.push(b'\n');
        // A worker that has died is noticed by its silence, with its last words.
        let _ = self
            .requests
            .write_all(&line)
            .and_then(|()| self.requests.flush());
        Ok(())
    }

    fn wait(&self, watch: &dyn Watch) -> End {
        let mut heard = Instant::now();
        let mut begun = false;
        loop {
            if watch.stopped() {
                return End::Stopped;
            }
            match self.replies.recv_timeout(PATIENCE) {
                // Anything else on a worker's output is not for us.
                Ok(line) => match serde_json::from_slice(&line) {
                    Ok(Reply::Begun) => begun = true,
                    Ok(Reply::Progress(progress)) => watch.progress(progress),
                    Ok(Reply::Row(row)) => return End::Row(row),
                    Ok(Reply::Error(message)) => return End::Impossible(message),
                    Err(_) => {}
                },
                Err(RecvTimeoutError::Timeout) if heard.elapsed() < SILENCE => continue,
                Err(RecvTimeoutError::Timeout) => return End::Hung,
                // What stops the run may have ended the worker too.
                Err(RecvTimeoutError::Disconnected) if watch.stopped() => return End::Stopped,
                Err(RecvTimeoutError::Disconnected) => return End::Died { begun },
            }
            heard = Instant::now();
        }
    }

    /// Why the process has ended, in words.
    ///
    /// # Errors
    /// [`Error::Stopped`] if somebody has asked it to end, which no trial does.
    fn post_mortem(mut self) -> Result<String, Error> {
        let status = self.child.wait();
        if status.as_ref().is_ok_and(was_asked_to_end) {
            return Err(Error::Stopped);
        }
        let status = status.map_or_else(|error| error.to_string(), |it| it.to_string());
        let words = self.last_words.recv_timeout(HEARING).unwrap_or_default();
        Ok(match words.lines().rev().find(|line| tells(line)) {
            Some(line) => format!("the worker ended ({status}): {}", line.trim()),
            None if status.contains("SIGKILL") => {
                format!("the worker was killed ({status}): most likely out of memory")
            }
            None => format!("the worker ended ({status})"),
        })
    }
}

/// Whether a line of what a process says at its end can be the reason. Around what a panic says stand where it was, the
/// calls that led there, and how to see more of them; and a panic that meets another while it is tidied up ends the process
/// with words of its own.
fn tells(line: &str) -> bool {
    let line = line.trim();
    let number = line.split_once(": ").map(|it| it.0.parse::<u32>());
    let is_call = line.starts_with("at ") || matches!(number, Some(Ok(_)));
    let around = [
        "note: ",
        "stack backtrace:",
        "thread '",
        "thread caused non-unwinding panic",
        "panic in a destructor during cleanup",
    ];
    !line.is_empty() && !is_call && !around.iter().any(|it| line.starts_with(it))
}

/// Whether a process ended by SIGHUP, SIGINT or SIGTERM: a service that stops, `killall` and some shells send them
/// to the workers too, and these may end before the run has heard of its own.
#[cfg(unix)]
fn was_asked_to_end(status: &ExitStatus) -> bool {
    let signal = std::os::unix::process::ExitStatusExt::signal(status);
    matches!(signal, Some(1 | 2 | 15))
}

#[cfg(not(unix))]
fn was_asked_to_end(_status: &ExitStatus) -> bool {
    false
}

impl Evaluator for Processes {
    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn evaluate(&self, slot: usize, request: &Request, watch: &dyn Watch) -> Result<Row, Error> {
        let mut place = self.slots[slot]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let admitted = self.memory.as_ref().map(|it| it.admit(request, watch));
        let _share = match admitted.transpose() {
            Ok(share) => share,
            Err(Refusal::Stopped) => return Err(Error::Stopped),
            Err(Refusal::TooLarge(reason)) => {
                return Ok(failed(describe(request).0, reason, started));
            }
        };
        let call = Call::Evaluate(Box::new(request.clone()));
        let reason = loop {
            let kept = place.take();
            let is_fresh = kept.is_none();
            let mut worker = kept.map_or_else(|| self.start(), Ok)?;
            worker.send(&call)?;
            match worker.wait(watch) {
                End::Row(row) => {
                    *place = Some(worker);
                    return Ok(*row);
                }
                End::Impossible(message) => return Err(Error::Worker(message)),
                End::Stopped => return Err(Error::Stopped),
                End::Hung => break format!("timed out: silent for {} s", SILENCE.as_secs()),
                // It ended while it was idle or made itself ready, which is not this trial's doing.
                End::Died { begun: false } if !is_fresh => {}
                End::Died { .. } => break worker.post_mortem()?,
            }
        };
        let (trial, _) = describe(request);
        Ok(failed(trial, reason, started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_words_the_last_are_kept() {
        let said = "é".repeat(2 * LAST_WORDS) + "the end";
        let words = hear_last_words(said.as_bytes());
        assert!(words.ends_with("éthe end") && words.len() < LAST_WORDS + 4);
    }

    #[cfg(unix)]
    struct Nobody;

    #[cfg(unix)]
    impl Watch for Nobody {
        fn progress(&self, _: crate::evaluator::Progress) {}
        fn stopped(&self) -> bool {
            false
        }
    }

    #[cfg(unix)]
    #[test]
    fn as_many_are_prepared_as_there_is_work_for() {
        let script = r#"read call
            case "$call" in *prepare*digits*) echo '{"error":"ready"}';; esac
            sleep 60"#;
        let workers = Processes::new("sh".into(), vec!["-c".into(), script.into()], 3);
        let dataset = DatasetConfig {
            name: "digits".to_owned(),
            root: "data".into(),
            digest: None,
        };
        workers.prepare(2, &dataset, DeviceSpec::Cpu).unwrap();
        let ended = workers.slots.iter().map(|it| {
            let worker = it.lock().unwrap();
            worker.as_ref().map(|it| it.wait(&Nobody))
        });
        let ready =
            |it: Option<End>| matches!(it, Some(End::Impossible(reason)) if reason == "ready");
        assert_eq!(ended.map(ready).collect::<Vec<_>>(), [true, true, false]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_passed_over() {
        let script = r#"printf '\377\n{"error":"no"}\n'; sleep 60"#;
        let workers = Processes::new("sh".into(), vec!["-c".into(), script.into()], 1);
        let end = workers.start().unwrap().wait(&Nobody);
        assert!(matches!(end, End::Impossible(reason) if reason == "no"));
    }

    /// A request; what it says is for no worker here to read.
    #[cfg(unix)]
    fn request() -> Request {
        Request {
            id: 0,
            kind: cellwright_ledger::Kind::Search,
            space: crate::run::SpaceSource {
                path: "space.toml".into(),
                set: Vec::new(),
                text: String::new(),
            },
            choices: cellwright_space::Choices::default(),
            source: None,
            strategy: String::new(),
            dataset: DatasetConfig {
                name: "digits".to_owned(),
                root: "data".into(),
                digest: None,
            },
            input: cellwright_graph::Shape {
                height: 8,
                width: 8,
                channels: 1,
            },
            classes: 10,
            rung: None,
            limits: Vec::new(),
            training: cellwright_train::Settings::default(),
            device: DeviceSpec::Cpu,
            threads: 1,
            weights: None,
            checkpoint: None,
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_worker_that_was_asked_to_end_is_a_stop_and_one_that_was_killed_a_failure() {
        let evaluate = |signal: &str| {
            let script = format!("read call; echo '\"begun\"'; kill -{signal} $$");
            let workers = Processes::new("sh".into(), vec!["-c".into(), script.into()], 1);
            workers.evaluate(0, &request(), &Nobody)
        };
        // Whoever runs the tests may have the other two ignored.
        let ended = evaluate("TERM");
        assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
        for signal in [1, 2, 15, 6, 9, 11] {
            let status = std::os::unix::process::ExitStatusExt::from_raw(signal);
            assert_eq!(was_asked_to_end(&status), [1, 2, 15].contains(&signal));
        }
        let reason = evaluate("KILL").unwrap().trial.reason.unwrap();
        assert!(reason.contains("most likely out of memory"), "{reason}");
    }

    #[cfg(unix)]
    #[test]
    fn a_worker_that_ends_before_a_trial_is_replaced_once() {
        // The first ends in its preparation, one that is started for a trial says so.
        let script = r#"read call
            case "$call" in *prepare*) exit 3;; *evaluate*) echo "$0" >&2; exit 4;; esac"#;
        let workers = Processes::new("sh".into(), vec!["-c".into(), script.into()], 1);
        let dataset = request().dataset;
        workers.prepare(1, &dataset, DeviceSpec::Cpu).unwrap();
        let row = workers.evaluate(0, &request(), &Nobody).unwrap();
        let reason = row.trial.reason.unwrap();
        assert_eq!(reason, "the worker ended (exit status: 4): sh");
    }

    #[test]
    fn what_a_panic_says_tells() {
        let words = "\nthread 'main' (7) panicked at src/core.rs:208:76:\nILLEGAL_ADDRESS: error 700\nstack backtrace:\n   \
            0:     0x55d0 - std::rt::lang_start\n             at /src/rt.rs:3:5\nnote: run with more\n\nthread 'main' (7) \
            panicked at panicking.rs:233:5:\npanic in a destructor during cleanup\nthread caused non-unwinding panic. \
            aborting.\n";
        let told = words.lines().rev().find(|line| tells(line));
        assert_eq!(told, Some("ILLEGAL_ADDRESS: error 700"));
    }

    #[cfg(unix)]
    #[test]
    fn last_words_are_waited_for() {
        // They come after the worker has ended.
        let script = "(sleep 0.3; echo it was too much >&2) & exit 3";
        let workers = Processes::new("sh".into(), vec!["-c".into(), script.into()], 1);
        let reason = workers.start().unwrap().post_mortem().unwrap();
        assert_eq!(reason, "the worker ended (exit status: 3): it was too much");
    }
}
