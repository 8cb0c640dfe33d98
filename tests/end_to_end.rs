//! The real binary, from a space file to a chart, on the embedded digits.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use cellwright_ledger::{Kind, Run, Status, Trial};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cellwright() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cellwright"));
    command.current_dir(root());
    command
}

/// A search small enough for a test.
fn search(out: &Path, flags: &[&str]) -> Command {
    let mut command = cellwright();
    command
        .args([
            "search",
            "--space",
            "search-spaces/nasnet.toml",
            "--dataset",
            "digits",
        ])
        .args([
            "--set",
            "filters=4",
            "--set",
            "repeats=1",
            "--set",
            "blocks=2",
        ])
        .args(["--epochs", "1", "--seed", "7", "--device", "cpu", "--out"])
        .arg(out)
        .args(flags);
    command
}

fn trials(folder: &Path) -> Vec<Trial> {
    let rows = Run::open(folder).unwrap().trials().unwrap();
    assert!(rows.skipped.is_empty(), "{:?}", rows.skipped);
    rows.rows
}

/// What must be the same in two runs: everything but times and places.
fn outcome(trials: &[Trial]) -> Vec<(u32, String, u64, u64, u64)> {
    let bits = |value: Option<f64>| value.unwrap().to_bits();
    trials
        .iter()
        .map(|it| {
            (
                it.id,
                it.choices.clone(),
                it.params,
                bits(it.valid_top1),
                bits(it.test_top1),
            )
        })
        .collect()
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
fn a_run_goes_on_as_if_it_had_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    search(&whole, &["--trials", "4", "--workers", "1"])
        .assert()
        .success();
    search(&broken, &["--trials", "4", "--workers", "1"])
        .assert()
        .success();
    // As if killed in the fourth trial, with a row half written.
    let last = broken.join("trials/00003.parquet");
    let bytes = std::fs::read(&last).unwrap();
    std::fs::write(
        broken.join("trials/.00003.parquet.part"),
        &bytes[..bytes.len() / 2],
    )
    .unwrap();
    std::fs::remove_file(last).unwrap();
    cellwright()
        .args(["search", "--resume"])
        .arg(&broken)
        .assert()
        .success();
    assert_eq!(outcome(&trials(&whole)), outcome(&trials(&broken)));
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
fn a_run_is_repeated_from_its_run_toml() {
    let folder = tempfile::tempdir().unwrap();
    let (first, again) = (folder.path().join("first"), folder.path().join("again"));
    search(&first, &["--trials", "2"]).assert().success();
    cellwright()
        .arg("search")
        .arg("--config")
        .arg(first.join("run.toml"))
        .arg("--out")
        .arg(&again)
        .assert()
        .success();
    assert_eq!(outcome(&trials(&first)), outcome(&trials(&again)));
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
        .args([
            "train",
            "--trial",
            &trial,
            "--dataset",
            "digits",
            "--epochs",
            "1",
            "--json",
        ])
        .assert()
        .success();
    let report: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(report["params"].as_u64(), Some(trials(&out)[0].params));
    assert!(report["test_top1"].as_f64().is_some());
}
