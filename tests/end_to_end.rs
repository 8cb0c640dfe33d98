//! The real binary, from a space file to a chart, on the embedded digits.

mod common;

use std::path::Path;

use assert_cmd::Command;
use cellwright_ledger::{Kind, Status, Trial};
use common::{cellwright, outcome, search, trials};

/// A random search of a space on few images, by one worker; its folder is `run`.
fn random(folder: &Path, space: &str, flags: &[&str]) -> Command {
    let file = folder.join("space.toml");
    std::fs::write(&file, space).unwrap();
    let mut command = cellwright();
    command.args(["search", "--dataset", "digits", "--images", "64"]);
    command.args(["--strategy", "random", "--rerank", "0", "--workers", "1"]);
    command.args(["--threads", "1", "--space"]).arg(file);
    command.args(flags).arg("--out").arg(folder.join("run"));
    command
}

/// One layer, and the classifier.
fn chain(layer: &str) -> String {
    let end = "{ op = \"global_avg_pool\" },\n{ op = \"linear\", units = \"classes\" },";
    format!("[network]\nlayers = [\n{layer},\n{end}\n]\n")
}

#[test]
fn a_search_is_the_same_with_any_number_of_threads_and_workers() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, flags: &[&str]| {
        let out = folder.path().join(name);
        search(&out, flags).assert().success();
        trials(&out)
    };
    let one = run(
        "one",
        &["--trials", "3", "--threads", "1", "--workers", "1"],
    );
    let two = run(
        "two",
        &["--trials", "3", "--threads", "2", "--workers", "1"],
    );
    let side_by_side = run(
        "workers",
        &["--trials", "3", "--threads", "1", "--workers", "2"],
    );
    assert_eq!(one.len(), 3);
    for trial in &one {
        assert_eq!((trial.status, trial.kind), (Status::Done, Kind::Search));
        assert!(trial.macs > 0 && trial.params > 0 && trial.total_seconds.unwrap() > 0.0);
        assert!((0.0..=1.0).contains(&trial.valid_top1.unwrap()));
    }
    assert_eq!(outcome(&one), outcome(&two));
    assert_eq!(outcome(&one), outcome(&side_by_side));
}

#[test]
fn baselines_stand_beside_what_is_found_and_the_report_is_drawn_again() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    search(
        &out,
        &[
            "--trials",
            "1",
            "--baselines",
            "search-spaces/baselines/resnet18.toml",
        ],
    )
    .assert()
    .success();
    let kinds: Vec<Kind> = trials(&out).iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [Kind::Baseline, Kind::Search]);
    std::fs::remove_dir_all(out.join("report")).unwrap();
    cellwright().arg("plots").arg(&out).assert().success();
    let page = std::fs::read_to_string(out.join("report/index.html")).unwrap();
    assert!(page.contains("ResNet-18"), "the baseline is in the report");
}

#[test]
fn nasnet_a_has_the_published_size() {
    let output = cellwright()
        .args([
            "inspect",
            "search-spaces/nasnet-a.toml",
            "--input",
            "3x32x32",
            "--classes",
            "10",
        ])
        .args(["--set", "filters=32", "--set", "repeats=6", "--json"])
        .assert()
        .success();
    let report: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(report["params"], 3_328_234);
    assert_eq!(
        report["flops"].as_u64(),
        report["macs"].as_u64().map(|macs| 2 * macs)
    );
    let layers = report["layers"].as_array().unwrap();
    let sum = |key: &str| {
        layers
            .iter()
            .map(|it| it[key].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(Some(sum("params")), report["params"].as_u64());
    assert_eq!(Some(sum("macs")), report["macs"].as_u64());
}

#[test]
fn an_architecture_of_a_run_is_trained_again_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    search(&out, &["--trials", "1"]).assert().success();
    let trial = format!("{}#0", out.display());
    let output = cellwright()
        .args(["train", "--trial", &trial, "--epochs", "1", "--json"])
        .assert()
        .success();
    let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(said.contains("data set: digits (the run's)"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(report["params"].as_u64(), Some(trials(&out)[0].params));
    assert!(report["test_top1"].as_f64().is_some());
}

#[test]
fn what_is_beyond_a_limit_is_a_row_and_costs_no_training() {
    let folder = tempfile::tempdir().unwrap();
    let (out, again) = (folder.path().join("run"), folder.path().join("again"));
    let limit = LIMIT.to_string();
    let aim = [
        "--target",
        "macs=150k:-0.2",
        "--at-most",
        &format!("params={limit}"),
    ];
    let flags = ["--trials", "3", "--workers", "2", "--strategy", "random"];
    let shown = search(&out, &flags).args(aim).assert().success();
    let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
    assert!(
        shown.contains("reward") && shown.contains("Pareto fronts"),
        "{shown}"
    );
    let rows = trials(&out);
    let searched = rows.iter().filter(|it| it.kind == Kind::Search);
    let (done, refused): (Vec<&Trial>, Vec<&Trial>) =
        searched.partition(|it| it.status == Status::Done);
    assert_eq!(done.len(), 3, "all trials are spent on what can be used");
    assert!(
        !refused.is_empty(),
        "the limit is in the midst of the space"
    );
    for trial in &done {
        assert!(trial.params <= LIMIT && trial.latency_ms.unwrap() > 0.0);
        let factor = (trial.macs as f64 / 150e3).powf(-0.2);
        let expected = trial.valid_top1.unwrap() * factor;
        assert!((trial.reward.unwrap() - expected).abs() < 1e-12);
    }
    for trial in &refused {
        assert!(trial.params > LIMIT && trial.train_seconds.is_none() && trial.steps == 0);
        assert_eq!(trial.status, Status::Refused);
        assert_eq!(trial.reward, Some(0.0));
        assert!(trial.reason.as_ref().unwrap().contains("beyond a limit"));
    }
    // A row of each kind is lost: going on gives the same run, and so does repeating it.
    for lost in [done[1].id, refused[0].id] {
        std::fs::remove_file(out.join(format!("trials/{lost:05}.parquet"))).unwrap();
    }
    cellwright()
        .args(["search", "--resume"])
        .arg(&out)
        .assert()
        .success();
    cellwright()
        .args(["search", "--config"])
        .arg(out.join("run.toml"))
        .arg("--out")
        .arg(&again)
        .assert()
        .success();
    let told = |rows: &[Trial]| -> Vec<(u32, String, Option<u64>)> {
        let key = |it: &Trial| (it.id, it.choices.clone(), it.reward.map(f64::to_bits));
        rows.iter().map(key).collect()
    };
    assert_eq!(told(&trials(&out)), told(&rows));
    assert_eq!(told(&trials(&again)), told(&rows));
}

/// Parameters that about half of the small space's networks have.
const LIMIT: u64 = 14_000;

#[test]
fn inspect_names_what_is_chosen() {
    let arch = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|";
    let inspect = |flag: &str| {
        let mut command = cellwright();
        command
            .args(["inspect", "search-spaces/nasbench201.toml", "--arch", arch])
            .args((!flag.is_empty()).then_some(flag));
        let output = command.assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    let report: serde_json::Value = serde_json::from_str(&inspect("--json")).unwrap();
    let decisions = report["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 6);
    for decision in decisions {
        let label = decision["label"].as_str().unwrap();
        assert!(arch.contains(label) && decision["active"] == true);
        assert!(inspect("").contains(decision["name"].as_str().unwrap()));
    }
    assert_eq!(decisions[0]["label"], "nor_conv_3x3");
}

/// A space of a network that takes next to nothing and one with such a second convolution.
fn small_or(kernel: u32, filters: u32) -> String {
    let second = format!("{{ op = \"conv\", kernel = {kernel}, filters = {filters} }}");
    let layer = chain("{ op = { choose = [\"relu\", \"large\"] } }");
    format!(
        "name = \"large\"\n[blocks.large]\nlayers = [{{ op = \"conv\", filters = 1000 }}, {second}]\n{layer}"
    )
}

/// Of two trials one is done, and the other one says why it failed.
fn one_of_two_fails(folder: &Path) -> String {
    let rows = trials(&folder.join("run"));
    let (done, failed): (Vec<Trial>, Vec<Trial>) =
        rows.into_iter().partition(|it| it.status == Status::Done);
    assert_eq!((done.len(), failed.len()), (1, 1));
    assert_eq!(failed[0].status, Status::Failed);
    failed[0].reason.clone().unwrap()
}

#[test]
fn a_network_that_no_memory_holds_costs_one_trial() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--trials", "2", "--epochs", "1"];
    let mut command = random(folder.path(), &small_or(15, 100_000_000), &flags);
    command.assert().success();
    let reason = one_of_two_fails(folder.path());
    assert!(reason.contains("GiB at least"), "{reason}");
}

#[cfg(unix)]
#[test]
fn an_allocation_that_fails_costs_one_trial_of_one_worker() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("space.toml");
    // Weights of 1.8 GB, where the process may have 1.5.
    std::fs::write(&file, small_or(15, 2_000)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1500000 && exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_cellwright"));
    command.args(["search", "--dataset", "digits", "--images", "64"]);
    command.args(["--strategy", "random", "--rerank", "0", "--workers", "1"]);
    command.args(["--trials", "2", "--epochs", "1", "--batch", "8"]);
    command.args(["--device", "cpu", "--threads", "1", "--space"]);
    command
        .arg(&file)
        .arg("--out")
        .arg(folder.path().join("run"));
    command.assert().success();
    let reason = one_of_two_fails(folder.path());
    assert!(reason.contains("memory allocation of"), "{reason}");
}

#[test]
fn an_exhausted_space_says_how_many_were_tried() {
    let folder = tempfile::tempdir().unwrap();
    let mut flags = vec!["--trials", "50", "--epochs", "3", "--halving"];
    flags.extend(["--at-most", "params=1k"]);
    let layer = chain("{ op = \"conv\", filters = { choose = [1, 2, 3, 4, 400] } }");
    let space = format!("name = \"widths\"\n{layer}");
    let mut command = random(folder.path(), &space, &flags);
    let assert = command.assert().success();
    let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let rows = trials(&folder.path().join("run"));
    assert_eq!(rows.len(), 6, "one is refused and one is promoted");
    assert!(
        errors.contains("architecture: 4 were tried, for 7 epochs of 150"),
        "{errors}"
    );
}
