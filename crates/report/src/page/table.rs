//! The table of all networks, ranked by reward among those that compare, the baselines among them.

use cellwright_ledger::{Kind, Status};

use crate::canvas::svg::escape;
use crate::data::{Data, Entry, Measure, RunData};
use crate::numbers::{percent, short};
use crate::pareto::Cost;
use crate::ranking;

/// The table's section.
pub(super) fn html(data: &Data) -> String {
    let mut heads = vec![
        ("Rank", "number"),
        ("Network", "text"),
        ("Kind", "text"),
        ("Validation", "number"),
        ("Test", "number"),
        ("Parameters", "number"),
        ("MACs", "number"),
        ("FLOPs", "number"),
        ("Latency", "number"),
        ("Epochs", "number"),
        ("Training", "number"),
        ("Architecture", "text"),
    ];
    if data.rewarded {
        heads.insert(3, ("Reward", "number"));
    }
    if data.runs.len() > 1 {
        heads.insert(1, ("Run", "text"));
    }
    let head: String = heads
        .iter()
        .map(|(name, kind)| format!("<th data-kind=\"{kind}\"><button>{name}</button></th>"))
        .collect();
    let rows: String = ranked(data)
        .into_iter()
        .enumerate()
        .map(|(position, (entry, rank))| row(data, position, entry, rank))
        .collect();
    let searched = |entry: &Entry| entry.kind == Kind::Search && entry.test.is_some();
    let test = if data.entries.iter().any(searched) {
        "test accuracies of the search stand beside it, and nothing was chosen by them"
    } else {
        "the test part was looked at for final numbers only"
    };
    let by = if data.rewarded {
        "reward, which weighs validation accuracy against cost"
    } else {
        "validation accuracy"
    };
    format!(
        "<section id=\"trials\">\n<h2>All networks</h2>\n<p class=\"about\">Ranked by {by}, anew in the verdict and after each \
         number of epochs, since accuracies after different trainings do not compare; {test}. Latency is that of one image's inference. Click on a \
         heading to sort.</p>\n{}<div class=\"scroll\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n</section>\n",
        agreement(data)
    )
}

/// Whether short trainings ranked as longer ones did, in each run where enough can be said.
fn agreement(data: &Data) -> String {
    let told = |run: &RunData| {
        let text = ranking::told(&run.trials)?;
        let name = match data.runs.len() {
            1 => String::new(),
            _ => format!("{}: ", run.name),
        };
        Some(format!(
            "<p class=\"about\">{}{}</p>\n",
            escape(&name),
            escape(&text)
        ))
    };
    data.runs.iter().filter_map(told).collect()
}

/// All entries with their ranks: the verdict first, then those with more epochs, each ranked by reward; what failed last.
fn ranked(data: &Data) -> Vec<(&Entry, Option<usize>)> {
    let group = |entry: &Entry| {
        let budget = (data.is_verdict(entry), entry.epochs);
        entry.is_finished().then_some(budget)
    };
    let mut entries: Vec<&Entry> = data.entries.iter().collect();
    // The entries are by reward, and a stable sort keeps that.
    entries.sort_by_key(|entry| std::cmp::Reverse(group(entry)));
    let groups = entries.chunk_by(|a, b| group(a) == group(b));
    groups
        .flat_map(|alike| alike.iter().zip(1..))
        .map(|(entry, rank)| (*entry, entry.is_finished().then_some(rank)))
        .collect()
}

/// A row of the table, which sorts by its `position` where it sorts by rank.
fn row(data: &Data, position: usize, entry: &Entry, rank: Option<usize>) -> String {
    let trial = data.trial(entry);
    let class = match (entry.kind, trial.status) {
        (_, Status::Failed | Status::Refused) => "failed",
        (Kind::Baseline, _) if data.is_verdict(entry) => "baseline again",
        (Kind::Baseline, _) => "baseline",
        (Kind::Rerank, _) => "rerank",
        _ => "search",
    };
    let kind = match entry.kind {
        Kind::Search => "searched",
        Kind::Baseline if data.is_verdict(entry) => "baseline, trained again",
        Kind::Baseline => "baseline",
        Kind::Rerank => "trained again",
    };
    let rank = rank.map_or_else(missing, |rank| number(position as f64, &rank.to_string()));
    let run = if data.runs.len() > 1 {
        text(&data.run_names(entry))
    } else {
        String::new()
    };
    let seconds = trial.train_seconds.map_or_else(missing, |seconds| {
        number(seconds, &format!("{seconds:.1} s"))
    });
    let counts = [trial.params, trial.macs, trial.flops].map(|count| {
        let count = count as f64;
        if count > 0.0 {
            number(count, &short(count))
        } else {
            missing()
        }
    });
    let latency = Cost::Latency
        .of(trial)
        .map_or_else(missing, |milliseconds| {
            number(milliseconds, &format!("{milliseconds:.2} ms"))
        });
    let reward = if data.rewarded {
        entry.reward.map_or_else(missing, |reward| {
            number(reward.mean, &format!("{:.4}", reward.mean))
        })
    } else {
        String::new()
    };
    let architecture = match trial.architecture.as_str() {
        "" => trial.choices.as_str(),
        notation => notation,
    };
    let failure = match trial.status {
        Status::Done => String::new(),
        Status::Failed | Status::Refused => {
            let reason = trial.reason.as_deref().unwrap_or("no reason given");
            let stop = if architecture.is_empty() { "" } else { "; " };
            format!("{}: {reason}{stop}", trial.status)
        }
    };
    let architecture = format!("{failure}{architecture}");
    format!(
        "<tr class=\"{class}\">{rank}{run}{}{}{reward}{}{}{}{latency}{}{seconds}<td class=\"notation\" title=\"{full}\">{full}</td></tr>\n",
        text(&entry.label),
        text(kind),
        accuracy(entry.valid),
        accuracy(entry.test),
        counts.concat(),
        number(f64::from(entry.epochs), &entry.epochs.to_string()),
        full = escape(&architecture),
    )
}

fn accuracy(measure: Option<Measure>) -> String {
    measure.map_or_else(missing, |measure| {
        let spread = measure
            .deviation
            .map_or(String::new(), |sd| format!(" ± {:.2}", sd * 100.0));
        number(measure.mean, &format!("{}{spread}", percent(measure.mean)))
    })
}

/// A cell with a number: what is sorted by, and what is read.
fn number(value: f64, shown: &str) -> String {
    format!(
        "<td class=\"number\" data-value=\"{value}\">{}</td>",
        escape(shown)
    )
}

fn text(shown: &str) -> String {
    format!("<td>{}</td>", escape(shown))
}

fn missing() -> String {
    "<td class=\"number\" data-value=\"\">–</td>".to_owned()
}
