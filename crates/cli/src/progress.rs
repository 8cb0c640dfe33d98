//! Progress on the terminal: one bar for the run, one for each trial under way. Where stderr is no
//! terminal, a line a finished trial.

use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use cellwright_ledger::{Kind, Status, Trial};
use cellwright_search::evaluator::{Progress, Request, Row};
use cellwright_search::run::{RunConfig, RunWatch};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use crate::output::{note, print_json, short};

/// Set by Ctrl-C.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C ask for a clean stop, and a second one end the process at once; `kept` says what stays.
pub fn stop_on_interrupt(kept: &'static str) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if STOPPED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        let _ = writeln!(
            std::io::stderr(),
            "\nstopping; {kept} (Ctrl-C again to stop at once)"
        );
    })?;
    Ok(())
}

/// Whether the user has asked to stop.
pub fn stopped() -> bool {
    STOPPED.load(Ordering::SeqCst)
}

/// Tells how a download goes: in one line of the terminal that changes, or where stderr is none, in a line for each step,
/// without the size that grows.
pub fn fetching() -> impl FnMut(&str) {
    let line = std::io::stderr().is_terminal().then(|| {
        let line = ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear);
        line.with_style(style("{msg}"))
    });
    let mut last = String::new();
    move |text| match &line {
        Some(line) => {
            line.set_message(text.to_owned());
            line.tick();
        }
        None => {
            let step = step(text);
            if step != last {
                note(step);
                last = step.to_owned();
            }
        }
    }
}

/// What is being done, without how far it is.
fn step(text: &str) -> &str {
    let size = text.rsplit_once(": ").filter(|it| it.1.ends_with(" MB"));
    size.map_or(text, |it| it.0)
}

/// The bars of a run.
pub struct Bars {
    all: MultiProgress,
    run: ProgressBar,
    slots: Vec<Mutex<ProgressBar>>,
    /// Epochs of the search and the baselines.
    search: u64,
    plain: bool,
    json: bool,
    /// The rows that have been told as JSON.
    told: Mutex<HashSet<u32>>,
}

impl Bars {
    /// Bars for a run of which some rows are there already. With `json` each new row goes to stdout, and nothing is shown.
    pub fn new(config: &RunConfig, rows: &[Trial], slots: usize, json: bool) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let all = MultiProgress::new();
        if plain || json {
            all.set_draw_target(ProgressDrawTarget::hidden());
        }
        let search = config.search_epochs();
        let done = rows
            .iter()
            .filter(|it| !it.is_verdict() && it.was_run())
            .map(|it| u64::from(it.epochs));
        let run = ProgressBar::new(search + config.verdict_epochs()).with_position(done.sum());
        let run = all.add(run);
        run.set_style(style(
            "{prefix:<24} {bar:28.green} {pos:>5}/{len:<5} epochs  {elapsed} gone, {eta} left  {msg}",
        ));
        run.set_prefix("run");
        run.reset_eta();
        run.enable_steady_tick(std::time::Duration::from_millis(500));
        Bars {
            slots: (0..slots)
                .map(|_| Mutex::new(ProgressBar::hidden()))
                .collect(),
            all,
            run,
            search,
            plain,
            json,
            told: Mutex::new(rows.iter().map(|it| it.id).collect()),
        }
    }

    /// Takes the bars off the terminal; gives the rows that were there before, or have been told as JSON.
    pub fn clear(self) -> HashSet<u32> {
        for slot in &self.slots {
            lock(slot).finish_and_clear();
        }
        self.run.finish_and_clear();
        self.told
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tell(&self, text: &str) {
        if self.plain {
            let _ = writeln!(std::io::stderr(), "{text}");
        } else {
            let _ = self.all.println(text);
        }
    }
}

/// Shows how far a training is. One that goes on from a checkpoint has not made the steps before in no time.
pub fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.steps);
    let begins = bar.position() == 0;
    bar.set_position(progress.step);
    if begins {
        bar.reset_eta();
    }
    bar.set_message(format!("loss {:.3}", progress.loss));
}

/// A bar's style.
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl RunWatch for Bars {
    fn started(&self, slot: usize, request: &Request) {
        let bar = self.all.add(ProgressBar::new(1));
        bar.set_style(style(
            "  {prefix:<22} {bar:28.cyan} {percent:>4} %            {elapsed} gone, {eta} left  {msg}",
        ));
        let file = || request.space.path.file_stem().unwrap_or_default();
        bar.set_prefix(match (request.kind, request.source) {
            (Kind::Search, _) => format!("trial {}", request.id),
            (Kind::Rerank, Some(source)) => format!("trial {source} again"),
            (_, None) => file().to_string_lossy().into_owned(),
            (_, Some(_)) => format!("{} again", file().to_string_lossy()),
        });
        *lock(&self.slots[slot]) = bar;
    }

    fn progress(&self, slot: usize, progress: Progress) {
        show(&lock(&self.slots[slot]), progress);
    }

    fn verdict(&self, epochs: u64) {
        self.run.set_length(self.search + epochs);
    }

    fn finished(&self, slot: usize, row: &Row) {
        let bar = lock(&self.slots[slot]);
        bar.finish_and_clear();
        self.all.remove(&bar);
        self.run.inc(u64::from(row.trial.epochs));
        if self.json {
            // What cannot be printed now is tried again at the end, where its error is told.
            if print_json(&row.trial).is_ok() {
                lock(&self.told).insert(row.trial.id);
            }
        } else {
            self.tell(&line(&row.trial));
        }
    }

    fn stopped(&self) -> bool {
        stopped()
    }
}

/// One line for a finished trial.
fn line(trial: &Trial) -> String {
    let name = match (trial.kind, trial.source_trial) {
        (Kind::Search, _) => format!("trial {}", trial.id),
        (Kind::Rerank, Some(source)) => format!("trial {source} again"),
        (_, None) => trial.space.clone(),
        (_, Some(_)) => format!("{} again", trial.space),
    };
    let size = format!("{} params, {} MACs", short(trial.params), short(trial.macs));
    match (trial.status, trial.valid_top1) {
        (Status::Done, Some(accuracy)) => format!(
            "{name:<21} validation {:>6.2} %  {size:<28} {:>6.1} s",
            100.0 * accuracy,
            trial.total_seconds.unwrap_or(0.0)
        ),
        _ => format!(
            "{name:<21} {}: {}",
            trial.status,
            trial.reason.as_deref().unwrap_or("no reason is known")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn a_step_is_told_without_its_size() {
        let url = "http://there.org/it.gz";
        assert_eq!(step(url), url);
        assert_eq!(step(&format!("{url}: 0.1 MB")), url);
        assert_eq!(
            step("fetching it into data: set"),
            "fetching it into data: set"
        );
    }
}
