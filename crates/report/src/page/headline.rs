//! The top of the page: the best found architecture beside the best baseline, in numbers.

use crate::canvas::svg::escape;
use crate::data::{Data, Entry, Measure, RunData};
use crate::numbers::{counted, duration, percent, short};

/// The page's header.
pub(super) fn html(data: &Data) -> String {
    let names: Vec<&str> = data.runs.iter().map(|run| run.name.as_str()).collect();
    let mut text = format!(
        "<header>\n<h1>{}</h1>\n<p class=\"setting\">{}</p>\n<div class=\"cards\">\n",
        escape(&names.join(", ")),
        escape(&setting(data))
    );
    let by = if data.rewarded { " by reward" } else { "" };
    if let Some(entry) = data.best_found() {
        text.push_str(&card(data, entry, &format!("Best found{by}"), "found"));
    }
    if let Some(entry) = data.best_baseline() {
        text.push_str(&card(
            data,
            entry,
            &format!("Best baseline{by}"),
            "baseline",
        ));
    }
    text.push_str("</div>\n</header>\n");
    text
}

/// What was searched where, how long it took and on what.
fn setting(data: &Data) -> String {
    let trials = || data.runs.iter().flat_map(|run| &run.trials);
    let seconds: f64 = trials()
        .filter_map(|trial| trial.total_seconds.or(trial.train_seconds))
        .sum();
    let mut devices: Vec<String> = trials()
        .filter(|trial| !trial.device.is_empty())
        .map(|trial| match trial.threads {
            0 => trial.device.clone(),
            1 => format!("{}, 1 thread", trial.device),
            threads => format!("{}, {threads} threads", trial.device),
        })
        .collect();
    devices.sort();
    devices.dedup();
    let mut text = data.setting();
    if seconds > 0.0 {
        text.push_str(&format!(". Trials took {} in sum", duration(seconds)));
        if !devices.is_empty() {
            text.push_str(&format!(" ({})", devices.join("; ")));
        }
    }
    text.push('.');
    if let Some(reward) = data.reward() {
        text.push_str(&format!(" Best is what has the best reward: {reward}."));
    }
    text + &verdicts(data)
}

/// Which verdict counts, where a run has several.
fn verdicts(data: &Data) -> String {
    let told = |(index, run): (usize, &RunData)| {
        let mut epochs = data.verdicts(index);
        let most = epochs.pop_last()?;
        let shorter: Vec<String> = epochs.iter().map(u32::to_string).collect();
        let the = match data.runs.len() {
            1 => "The".to_owned(),
            _ => format!("In {} the", run.name),
        };
        (!shorter.is_empty()).then(|| {
            format!(
                " {the} verdict after {} counts, not that after {}.",
                counted(most, "epoch"),
                shorter.join(" or ")
            )
        })
    };
    data.runs.iter().enumerate().filter_map(told).collect()
}

fn card(data: &Data, entry: &Entry, title: &str, class: &str) -> String {
    let trial = data.trial(entry);
    let reward = entry.reward.filter(|_| data.rewarded);
    let reward = reward.map(|it| format!("reward {:.4}; ", it.mean));
    let main = entry
        .test
        .map(|test| (test, "test accuracy"))
        .or(entry.valid.map(|valid| (valid, "validation accuracy")));
    let Some((measure, what)) = main else {
        return String::new();
    };
    let searched = data.source(entry).and_then(|trial| {
        let shorter = (trial.epochs, percent(trial.valid_top1?));
        Some(format!(
            "; in the search {}, after {}",
            shorter.1,
            counted(shorter.0, "epoch")
        ))
    });
    let validation = entry.valid.filter(|_| entry.test.is_some());
    let failed = match data.stands_in(entry) {
        true => "; its longer training in the verdict failed",
        false => "",
    };
    format!(
        "<div class=\"card {class}\">\n<h3>{title}: {}</h3>\n<p class=\"big\">{}</p>\n<p>{}{what}, {}{}{}</p>\n\
         <p>{} parameters, {} MACs ({} FLOPs), {}{failed}</p>\n</div>\n",
        escape(&data.name(entry)),
        percent(measure.mean),
        reward.unwrap_or_default(),
        seeds(measure),
        validation.map_or(String::new(), |valid| format!(
            "; validation {}",
            percent(valid.mean)
        )),
        searched.unwrap_or_default(),
        short(trial.params as f64),
        short(trial.macs as f64),
        short(trial.flops as f64),
        counted(entry.epochs, "epoch"),
    )
}

fn seeds(measure: Measure) -> String {
    match measure.deviation {
        Some(deviation) => format!("± {:.2} (sd of {} seeds)", deviation * 100.0, measure.count),
        None => "one seed".to_owned(),
    }
}
