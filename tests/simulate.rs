//! `simulate` on a table of a small space: what it tells, keeps and draws.

mod common;

use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use polars::prelude::*;
use serde_json::Value;

use common::{cellwright, refuses};

const OPERATIONS: [&str; 3] = ["identity", "relu", "swish"];

/// A folder with a space of 3^4 architectures, and a table of those that `keep` keeps.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    fn new(keep: impl Fn(usize) -> bool) -> Self {
        let small = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let layers = "  { op = { choose = [\"identity\", \"relu\", \"swish\"] } },\n".repeat(4);
        let space = format!(
            "name = \"small\"\ninput = \"1x8x8\"\nclasses = 10\nnotation = \"{{0}}/{{1}}/{{2}}/{{3}}\"\n\n\
             [network]\nlayers = [\n{layers}  {{ op = \"global_avg_pool\" }},\n  {{ op = \"linear\", units = \"classes\" }},\n]\n"
        );
        std::fs::write(small.path("small.toml"), space).unwrap();
        let (mut names, mut rewards, mut truths) = (Vec::new(), Vec::new(), Vec::new());
        for index in (0..81).filter(|index| keep(*index)) {
            let digits = [index / 27, index / 9 % 3, index / 3 % 3, index % 3];
            names.push(digits.map(|digit| OPERATIONS[digit]).join("/"));
            rewards.push(80.0 + digits.iter().sum::<usize>() as f64);
            truths.push(82.5 + digits.iter().sum::<usize>() as f64 - digits[3] as f64 / 4.0);
        }
        let columns = vec![
            Column::new("about".into(), vec!["a row"; names.len()]),
            Column::new("architecture".into(), names),
            Column::new("accuracy".into(), rewards),
            Column::new("truth".into(), truths),
        ];
        let mut frame = DataFrame::new(columns[0].len(), columns).unwrap();
        let file = File::create(small.path("known.parquet")).unwrap();
        ParquetWriter::new(file).finish(&mut frame).unwrap();
        small
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `simulate` of this space and table, 20 evaluations, 12 runs.
    fn simulate(&self, reward: &str) -> Command {
        let mut command = cellwright();
        command.arg("simulate").arg(self.path("small.toml"));
        command.arg("--table").arg(self.path("known.parquet"));
        command.args(["--reward", reward, "--budget", "20", "--runs", "12"]);
        command
    }
}

/// What a command that succeeds says on stdout and on stderr.
fn told(command: &mut Command) -> (String, String) {
    let assert = command.assert().success();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let output = assert.get_output();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn json_is_the_same_for_any_number_of_threads() {
    let small = Small::new(|_| true);
    let with = |threads: &str| {
        let mut command = small.simulate("accuracy");
        command.args([
            "--report",
            "truth,accuracy",
            "--strategy",
            "evolution,random",
        ]);
        command.args(["--seed", "3", "--json", "--threads", threads]);
        told(&mut command).0
    };
    let text = with("1");
    assert_eq!(text, with("2"));
    let facts: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let strategies: Vec<_> = facts
        .iter()
        .map(|it| it["strategy"].as_str().unwrap())
        .collect();
    assert_eq!(strategies, ["evolution", "random"]);
    for it in &facts {
        assert_eq!(
            (&it["budget"], &it["runs"], &it["seed"]),
            (&20.into(), &12.into(), &3.into())
        );
        assert_eq!(it["missing"], 0);
        for column in ["truth", "accuracy"] {
            let curve = it["curve"]["points"][column].as_array().unwrap();
            let last = curve.last().unwrap();
            assert_eq!(last[0], 20);
            let report = &it["report"][column];
            assert_eq!(last[1], report["mean"]);
            let std = report["std"].as_f64().unwrap();
            let error = report["standard_error"].as_f64().unwrap();
            assert!((error - std / 12f64.sqrt()).abs() < 1e-12);
        }
        // The best reward so far never falls, and 20 of 81 architectures are not enough to be sure of the best.
        let curve = it["curve"]["points"]["accuracy"].as_array().unwrap();
        let means: Vec<f64> = curve
            .iter()
            .map(|point| point[1].as_f64().unwrap())
            .collect();
        assert!(
            means.is_sorted()
                && means[0] < means[means.len() - 1]
                && means[means.len() - 1] <= 88.0,
            "{means:?}"
        );
    }
}

#[test]
fn charts_and_tables_are_kept_and_drawn_again() {
    let small = Small::new(|_| true);
    let out = small.path("out");
    let mut first = small.simulate("accuracy");
    first.args([
        "--report",
        "truth,accuracy",
        "--strategy",
        "evolution,random",
        "--out",
    ]);
    let (_, errors) = told(first.arg(&out));
    assert!(errors.contains("index.html"), "{errors}");
    let report = |name: &str| out.join("report").join(name);
    let files = [
        "regret-truth.svg",
        "regret-truth.png",
        "regret-accuracy.svg",
        "index.html",
    ];
    for file in files {
        std::fs::remove_file(report(file)).unwrap();
    }
    told(cellwright().arg("plots").arg(&out));
    for file in files {
        assert!(report(file).is_file(), "{file}");
    }
    let drawn = std::fs::read_to_string(report("regret-truth.svg")).unwrap();
    for word in [
        "evolution",
        "random",
        "small, 81 architectures of known.parquet",
        "12 runs",
    ] {
        assert!(drawn.contains(word), "no '{word}'");
    }
    // Another reward does not compare.
    let other = &mut small.simulate("truth");
    refuses(
        other.arg("--out").arg(&out),
        1,
        &["holds simulations", "accuracy"],
    );
}

#[test]
fn architectures_that_the_table_lacks_are_told() {
    let small = Small::new(|index| index % 3 > 0);
    let mut command = small.simulate("accuracy");
    let (text, errors) = told(command.args(["--strategy", "random", "--json"]));
    let facts: Value = serde_json::from_str(&text).unwrap();
    let missing = facts["missing"].as_u64().unwrap();
    assert!(missing > 0 && missing < 240);
    assert!(
        errors.contains(&format!("{missing} of 240 evaluations")),
        "{errors}"
    );
}

#[test]
fn one_run_has_no_deviation() {
    let small = Small::new(|_| true);
    let simulate = |flags: &[&str]| {
        let mut command = cellwright();
        command.arg("simulate").arg(small.path("small.toml"));
        command.arg("--table").arg(small.path("known.parquet"));
        command.args(["--reward", "accuracy", "--runs", "1", "--budget", "5"]);
        command.args(["--strategy", "random", "--out"]);
        told(command.arg(small.path("out")).args(flags)).0
    };
    let text = simulate(&[]);
    assert!(text.contains("1 run") && !text.contains('±'), "{text}");
    let facts: Value = serde_json::from_str(&simulate(&["--json"])).unwrap();
    let report = &facts["report"]["accuracy"];
    assert!(report["mean"].is_number() && report["std"].is_null());
    assert!(report["standard_error"].is_null());
    assert!(small.path("out/report/regret-accuracy.svg").is_file());
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_is_told_as_far_as_it_is_one() {
    use std::os::unix::ffi::OsStrExt;
    let small = Small::new(|_| true);
    let odd = small
        .folder
        .path()
        .join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    std::fs::rename(small.path("known.parquet"), &odd).unwrap();
    let mut command = cellwright();
    command.arg("simulate").arg(small.path("small.toml"));
    command.args(["--reward", "accuracy", "--strategy", "random", "--json"]);
    let (text, _) = told(command.arg("--table").arg(&odd));
    let facts: Value = serde_json::from_str(&text).unwrap();
    assert!(facts["table"].as_str().unwrap().contains("odd"), "{text}");
}

#[test]
fn a_damaged_table_is_told_without_a_panic() {
    let small = Small::new(|_| true);
    let path = small.path("known.parquet");
    let bytes = std::fs::read(&path).unwrap();
    // Not every damage makes the reader panic.
    let damaged = (0..bytes.len()).rev().map(|at| {
        let mut damaged = bytes.clone();
        damaged[at] = !damaged[at];
        damaged
    });
    let panics = |bytes: &Vec<u8>| {
        let read = || drop(ParquetReader::new(Cursor::new(bytes)).finish());
        std::panic::catch_unwind(read).is_err()
    };
    let damaged = damaged.skip(8).find(panics).unwrap();
    std::fs::write(&path, damaged).unwrap();
    let assert = small.simulate("accuracy").assert().code(1);
    let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(errors.starts_with("error: "), "{errors}");
    assert!(errors.contains("known.parquet"), "{errors}");
}

#[test]
fn where_nothing_was_met_no_charts_are_drawn() {
    let small = Small::new(|index| index == 80);
    let out = small.path("out");
    let mut command = small.simulate("accuracy");
    command.args(["--strategy", "random"]);
    let (text, errors) = told(command.arg("--out").arg(&out));
    assert!(text.contains("none"), "{text}");
    assert!(errors.contains("no charts"), "{errors}");
    assert!(!out.join("report").exists());
}

#[test]
fn what_does_not_fit_is_said() {
    let small = Small::new(|_| true);
    refuses(
        &mut small.simulate("acuracy"),
        1,
        &["acuracy", "did you mean `accuracy`"],
    );
    let mut other = cellwright();
    other.args([
        "simulate",
        "search-spaces/nasbench201.toml",
        "--reward",
        "accuracy",
        "--table",
    ]);
    refuses(
        other.arg(small.path("known.parquet")),
        1,
        &["known.parquet", "NAS-Bench-201", "~0|"],
    );
    refuses(
        cellwright().arg("plots").arg(small.folder.path()),
        1,
        &["is not a run"],
    );
}

#[test]
fn a_table_may_be_a_folder_and_rows_may_lack_something() {
    let small = Small::new(|_| true);
    let table = small.path("parts");
    std::fs::create_dir(&table).unwrap();
    let write = |name: &str, columns: Vec<Column>| {
        let mut frame = DataFrame::new(columns[0].len(), columns).unwrap();
        let file = File::create(table.join(name)).unwrap();
        ParquetWriter::new(file).finish(&mut frame).unwrap();
    };
    let names = [Some("relu/relu/relu/relu"), None, Some("something else")];
    let rewards = [Some(0.5), Some(0.6), Some(0.7)];
    let first = vec![
        Column::new("architecture".into(), names),
        Column::new("accuracy".into(), rewards),
        Column::new("here alone".into(), [1, 2, 3]),
    ];
    write("0.parquet", first);
    let names = OPERATIONS.map(|it| format!("swish/relu/relu/{it}"));
    let names = [&["relu/relu/relu/swish".to_owned()], &names[..]].concat();
    let rewards = [None, Some(0.25), Some(f64::NAN), Some(f64::INFINITY)];
    let second = vec![
        Column::new("accuracy".into(), rewards),
        Column::new("architecture".into(), names),
    ];
    write("1.parquet", second);
    let simulate = |reward: &str, table: &Path| {
        let mut command = cellwright();
        command.arg("simulate").arg(small.path("small.toml"));
        command.arg("--table").arg(table);
        command.args(["--reward", reward, "--strategy", "random", "--json"]);
        command.args(["--budget", "20", "--runs", "3"]);
        command
    };
    let (text, errors) = told(&mut simulate("accuracy", &table));
    let facts: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(facts["architectures"], 2);
    let left_out = "5 of 7 rows are left out: 2 no architecture of small, 3 without accuracy";
    assert!(errors.contains(left_out), "{errors}");
    assert!(errors.contains("knows 2 of the 81"), "{errors}");
    refuses(
        &mut simulate("here alone", &table),
        1,
        &["here alone", "accuracy"],
    );

    // The trials of a run, of which one has failed.
    let run = small.path("run");
    let mut search = cellwright();
    search.args(["search", "--dataset", "digits", "--images", "64"]);
    search.args(["--epochs", "1", "--trials", "3", "--rerank", "0"]);
    search.args(["--strategy", "random", "--space"]);
    search.arg(small.path("small.toml")).arg("--out").arg(&run);
    search.assert().success();
    let ledger = cellwright_ledger::Run::open(&run).unwrap();
    ledger
        .write_trial(&cellwright_ledger::Trial {
            id: 3,
            architecture: "swish/swish/swish/swish".to_owned(),
            choices: "2,2,2,2".to_owned(),
            ..Default::default()
        })
        .unwrap();
    for table in [&run, &run.join("trials")] {
        let (text, errors) = told(&mut simulate("valid_top1", table));
        let facts: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(facts["architectures"], 3);
        let left_out = "1 of 4 rows are left out: 1 without valid_top1";
        assert!(errors.contains(left_out), "{errors}");
    }

    // One that has failed has a reward, and no result; and one file is damaged.
    ledger
        .write_trial(&cellwright_ledger::Trial {
            id: 4,
            status: cellwright_ledger::Status::Failed,
            architecture: "swish/swish/swish/relu".to_owned(),
            choices: "2,2,2,1".to_owned(),
            reward: Some(0.0),
            ..Default::default()
        })
        .unwrap();
    std::fs::write(ledger.trial_path(5), "PAR1 and then nothing").unwrap();
    for table in [&run, &run.join("trials")] {
        let mut command = simulate("reward", table);
        let (text, errors) = told(command.args(["--report", "valid_top1"]));
        let facts: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(facts["architectures"], 3);
        assert!(errors.contains("1 whose trial is not done"), "{errors}");
        let skipped = "00005.parquet: not a readable Parquet file";
        assert!(errors.contains(skipped), "{errors}");
    }
    std::fs::remove_file(ledger.trial_path(5)).unwrap();
    let mut none = simulate("valid_top1", &run);
    none.args(["--report", "rung"]);
    refuses(
        &mut none,
        1,
        &["5 architectures of small", "valid_top1, rung"],
    );
    refuses(
        &mut simulate("accuracy", &small.path("run/report")),
        1,
        &["holds no Parquet files"],
    );
}

/// A table in which an architecture has a row for each seed is read as the mean of its rows.
#[test]
fn several_rows_of_an_architecture_are_their_mean() {
    let small = Small::new(|_| true);
    let frame = ParquetReader::new(File::open(small.path("known.parquet")).unwrap())
        .finish()
        .unwrap();
    let mut rows = frame.clone();
    for (seed, shift) in [(1, 3.0), (2, -3.0)] {
        let accuracy = frame.column("accuracy").unwrap().f64().unwrap();
        // One seed knows only some of the architectures.
        let shifted = accuracy.iter().enumerate().map(|(row, it)| {
            let known = seed == 1 || row % 2 == 0;
            it.filter(|_| known).map(|it| it + shift)
        });
        let shifted: Float64Chunked = shifted.collect();
        let mut other = frame.clone();
        other
            .with_column(shifted.with_name("accuracy".into()).into_column())
            .unwrap();
        rows.vstack_mut(&other).unwrap();
    }
    let facts = |command: &mut Command| -> (Value, String) {
        let (text, errors) = told(command.args(["--strategy", "random", "--json"]));
        (serde_json::from_str(&text).unwrap(), errors)
    };
    let (once, _) = facts(&mut small.simulate("accuracy"));
    let mut file = File::create(small.path("known.parquet")).unwrap();
    ParquetWriter::new(&mut file).finish(&mut rows).unwrap();
    let (thrice, errors) = facts(&mut small.simulate("accuracy"));
    assert!(
        errors.contains("several rows for each of 81 architectures"),
        "{errors}"
    );
    // The mean of three is the value itself, of two 1.5 more: 88 is the best of the former, and 87 of the latter.
    assert_eq!(once["best"]["accuracy"], 88.0);
    assert_eq!(thrice["architectures"], 81);
    assert_eq!(thrice["best"]["accuracy"], 88.5);
}
