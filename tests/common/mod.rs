//! The command, and small searches by it.

#![allow(dead_code)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use cellwright_ledger::{Run, Trial};

/// The repository's top.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The command, run at the top.
pub fn cellwright() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cellwright"));
    command.current_dir(root());
    command
}

/// A search small enough for a test, without a verdict.
pub fn search(out: &Path, flags: &[&str]) -> Command {
    let mut command = judged_search(out, flags);
    command.args(["--rerank", "0"]);
    command
}

/// A search small enough for a test.
pub fn judged_search(out: &Path, flags: &[&str]) -> Command {
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
        .args(["--seed", "7", "--device", "cpu", "--out"])
        .arg(out)
        .args(flags);
    if !flags.contains(&"--epochs") {
        command.args(["--epochs", "1"]);
    }
    command
}

/// A run's rows, none damaged.
pub fn trials(folder: &Path) -> Vec<Trial> {
    let rows = Run::open(folder).unwrap().trials().unwrap();
    assert!(rows.skipped.is_empty(), "{:?}", rows.skipped);
    rows.rows
}

/// What must be the same in two runs: everything but times and places.
pub fn outcome(trials: &[Trial]) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    let bits = |value: Option<f64>| value.map(f64::to_bits);
    trials
        .iter()
        .map(|it| {
            (
                it.id,
                it.kind,
                (it.rung, it.epochs),
                it.choices.clone(),
                it.params,
                bits(it.valid_top1),
                bits(it.test_top1),
            )
        })
        .collect()
}

/// Runs a command that must fail with this exit code and say all of these words.
pub fn refuses(command: &mut Command, code: i32, words: &[&str]) {
    let assert = command.assert().code(code);
    let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(!errors.contains("panicked"), "{errors}");
    for word in words {
        assert!(errors.contains(word), "no '{word}' in:\n{errors}");
    }
}
