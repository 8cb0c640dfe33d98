//! The table of all networks, ranked by reward, the baselines among them.

use cellwright_ledger::{Kind, Status};

use crate::canvas::svg::escape;
use crate::data::{Data, Entry, Measure};
use crate::numbers::{percent, short};
use crate::pareto::Cost;

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
    let rows: String = data
        .entries
        .iter()
        .enumerate()
        .map(|(index, entry)| row(data, index, entry))
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
        "<section id=\"trials\">\n<h2>All networks</h2>\n<p class=\"about\">Ranked by {by}; {test}. Latency is that of one image's inference. Accuracies after different numbers of epochs do not compare. Click on a \
         heading to sort.</p>\n<div class=\"scroll\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n</section>\n"
    )
}

fn row(data: &Data, index: usize, entry: &Entry) -> String {
    let trial = data.trial(entry);
    let class = match (entry.kind, trial.status) {
        (_, Status::Failed | Status::Refused) => "failed",
        (Kind::Baseline, _) if trial.source_trial.is_some() => "baseline again",
        (Kind::Baseline, _) => "baseline",
        (Kind::Rerank, _) => "rerank",
        _ => "search",
    };
    let kind = match entry.kind {
        Kind::Search => "searched",
        Kind::Baseline if trial.source_trial.is_some() => "baseline, trained again",
        Kind::Baseline => "baseline",
        Kind::Rerank => "trained again",
    };
    let rank = (index + 1) as f64;
    let rank = if entry.valid.is_some() {
        number(rank, &format!("{rank}"))
    } else {
        missing()
    };
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
