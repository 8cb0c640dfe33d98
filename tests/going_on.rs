//! Runs of the real binary that are stopped, go on or are repeated.

mod common;

use std::path::Path;

use cellwright_ledger::{Kind, Trial};
use cellwright_search::run::{Precision, RunConfig};
use cellwright_search::schedule::Halving;
use common::{cellwright, judged_search, outcome, refuses, root, search, trials};

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
fn a_search_ends_with_a_verdict_that_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let baseline = "search-spaces/baselines/small/resnet.toml";
    let flags = ["--trials", "4", "--rerank", "2", "--baselines", baseline];
    let run = |out: &Path, workers: &str| {
        let mut command = judged_search(out, &flags);
        command.args(["--rerank-epochs", "2", "--workers", workers]);
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    let printed = run(&whole, "1");
    run(&broken, "2");
    let rows = trials(&whole);
    assert_eq!(outcome(&rows), outcome(&trials(&broken)));

    // One baseline, four trials, the two best of them again, the baseline again.
    let budget = |it: &Trial| (it.kind, it.epochs, it.seed, it.test_top1.is_some());
    let search = (Kind::Search, 1, 7, false);
    let mut expected = vec![(Kind::Baseline, 1, 7, false)];
    expected.extend([search; 4]);
    expected.extend([(Kind::Rerank, 2, 8, true); 2]);
    expected.push((Kind::Baseline, 2, 8, true));
    assert_eq!(rows.iter().map(budget).collect::<Vec<_>>(), expected);
    let mut ranked: Vec<&Trial> = rows[1..5].iter().collect();
    ranked.sort_by(|a, b| b.valid_top1.unwrap().total_cmp(&a.valid_top1.unwrap()));
    for (again, first) in [(5, ranked[0]), (6, ranked[1]), (7, &rows[0])] {
        assert_eq!(rows[again].source_trial, Some(first.id));
        assert_eq!(rows[again].identity, first.identity);
    }
    assert!(printed.contains("The verdict"), "{printed}");
    let page = std::fs::read_to_string(whole.join("report/index.html")).unwrap();
    assert!(page.contains("trained again") && page.contains("in the search"));

    // A row of the verdict names its architecture, a baseline's too.
    let mut again = cellwright();
    again.args(["train", "--trial", &format!("{}#7", whole.display())]);
    again.args([
        "--dataset",
        "digits",
        "--epochs",
        "1",
        "--images",
        "64",
        "--json",
    ]);
    let output = again.assert().success().get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(report["params"].as_u64(), Some(rows[7].params));

    // As if killed in the verdict, and then with more trials: what is there stays.
    std::fs::remove_file(broken.join("trials/00005.parquet")).unwrap();
    let resume = |more: &[&str]| {
        let mut command = cellwright();
        command.args(["search", "--resume"]).arg(&broken).args(more);
        command.assert().success();
        trials(&broken)
    };
    assert_eq!(outcome(&rows), outcome(&resume(&[])));
    let more = resume(&["--trials", "5"]);
    assert_eq!(outcome(&rows), outcome(&more[..8]));
    assert_eq!((more[8].kind, more[8].id), (Kind::Search, 8));
    assert!(more[9..].iter().all(|it| it.kind == Kind::Rerank));
}

#[test]
fn successive_halving_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let run = |out: &Path, workers: &str| {
        let flags = [
            "--trials",
            "3",
            "--epochs",
            "3",
            "--halving",
            "--workers",
            workers,
        ];
        search(out, &flags).assert().success();
        trials(out)
    };
    let rows = run(&whole, "2");
    run(&broken, "1");
    assert_eq!(outcome(&rows), outcome(&trials(&broken)));
    assert_eq!(
        rows.iter().map(|it| it.epochs).sum::<u32>(),
        9,
        "3 x 3 epochs"
    );
    let promoted = rows.iter().position(|it| it.rung == Some(1)).unwrap();
    assert_eq!((rows[0].rung, rows[0].epochs), (Some(0), 1));
    assert_eq!(rows[promoted].epochs, 3);
    let best = rows[..promoted]
        .iter()
        .map(|it| it.valid_top1.unwrap())
        .fold(0.0, f64::max);
    let below = rows[..promoted]
        .iter()
        .find(|it| it.choices == rows[promoted].choices);
    assert_eq!(below.unwrap().valid_top1, Some(best));

    // As if killed while the promoted one was trained.
    for id in promoted..rows.len() {
        std::fs::remove_file(broken.join(format!("trials/{id:05}.parquet"))).unwrap();
    }
    cellwright()
        .args(["search", "--resume"])
        .arg(&broken)
        .assert()
        .success();
    assert_eq!(outcome(&rows), outcome(&trials(&broken)));
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
fn flags_go_before_what_a_run_toml_says() {
    let folder = tempfile::tempdir().unwrap();
    let (base, other) = (folder.path().join("base"), folder.path().join("other"));
    search(&base, &["--trials", "1", "--workers", "1"])
        .assert()
        .success();
    let config = |out: &Path| {
        let path = out.join("run.toml");
        RunConfig::load(&path).unwrap()
    };
    let mut command = cellwright();
    command.env("CELLWRIGHT_DATA", "/elsewhere");
    command
        .args(["search", "--config"])
        .arg(base.join("run.toml"));
    command.args(["--seed", "8", "--strategy", "random", "--epochs", "3"]);
    command.args(["--batch", "16", "--images", "100", "--workers", "2"]);
    command.args(["--threads", "3", "--halving", "--set", "filters=3"]);
    command.args(["--precision", "fp32"]);
    command.args(["--target", "macs=1M", "--out"]).arg(&other);
    command.assert().success();
    let mut expected = config(&base);
    expected.search.seed = 8;
    expected.search.strategy = "random".to_owned();
    expected.search.halving = Some(Halving {
        reduction: 3,
        least_epochs: 1,
    });
    (expected.training.seed, expected.training.epochs) = (8, 3);
    expected.rerank.epochs = 6;
    expected.dataset.root = "/elsewhere".into();
    (expected.training.batch, expected.training.train_limit) = (16, 100);
    assert_eq!(expected.training.precision, Precision::Tf32);
    expected.training.precision = Precision::Fp32;
    (expected.machine.workers, expected.machine.threads) = (2, 3);
    expected.space.set.retain(|(name, _)| name != "filters");
    let set = ("filters".to_owned(), "3".to_owned());
    expected.space.set.push(set);
    expected.objective.targets.push("macs=1M".parse().unwrap());
    assert_eq!(config(&other), expected);

    // What a run that goes on is given, its run.toml keeps.
    let mut command = cellwright();
    command.args(["search", "--resume"]).arg(&base);
    command.args(["--trials", "2", "--workers", "2", "--threads", "2"]);
    command.args(["--data", "/nowhere"]).assert().success();
    let expected = config(&base);
    assert_eq!(expected.search.trials, 2);
    assert_eq!((expected.machine.workers, expected.machine.threads), (2, 2));
    assert_eq!(expected.dataset.root, Path::new("/nowhere"));
    std::fs::remove_file(base.join("trials/00001.parquet")).unwrap();
    let mut plain = cellwright();
    plain.args(["search", "--resume"]).arg(&base);
    plain.assert().success();
    assert_eq!(trials(&base).len(), 2);
}

#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("r u n");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cellwright"));
    command.current_dir(root());
    command.args(["search", "--space", "search-spaces/nasnet.toml"]);
    command.args(["--dataset", "digits", "--trials", "100000", "--epochs", "1"]);
    command.args(["--set", "filters=4", "--set", "blocks=2"]);
    command.args(["--workers", "1", "--out"]).arg(&out);
    command.stderr(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    // That nobody reads its tables changes nothing.
    drop(child.stdout.take());
    let begun = std::time::Instant::now();
    while !out.join("trials/00000.parquet").exists() {
        let ended = child.try_wait().unwrap();
        if ended.is_some() || begun.elapsed().as_secs() > 300 {
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            panic!("no trial, {ended:?}: {errors}");
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut kill = std::process::Command::new("kill");
    let told = kill.args(["-INT", &child.id().to_string()]).status();
    assert!(told.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("cellwright search --resume '{}'", out.display());
    assert!(errors.contains(&expected), "{errors}");
    assert!(out.join("report/index.html").is_file());
}

#[test]
fn a_damaged_row_is_set_aside_and_its_trial_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    search(&out, &["--trials", "3"]).assert().success();
    let before = outcome(&trials(&out));
    let path = out.join("trials/00001.parquet");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let mut command = cellwright();
    command.args(["search", "--resume"]).arg(&out);
    let assert = command.assert().success();
    let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(
        errors.contains("not a readable Parquet file") && errors.contains("00001.parquet.damaged"),
        "{errors}"
    );
    assert!(out.join("trials/00001.parquet.damaged").is_file());
    assert_eq!(before, outcome(&trials(&out)));
    // What is whole, but no row, is nobody's to rename.
    std::fs::copy(out.join("curves/00002.parquet"), &path).unwrap();
    let assert = command.assert().code(1);
    let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(
        errors.contains("00001.parquet") && errors.contains("move it elsewhere"),
        "{errors}"
    );
}

/// A folder of two classes of grey images, whose pixels begin with a shade.
fn images(folder: &Path, shade: u8) {
    for class in ["ant", "bee"] {
        let class = folder.join(class);
        std::fs::create_dir_all(&class).unwrap();
        for number in 0..20 {
            let pixel = |x, y| image::Luma([shade.wrapping_add(number * 7 + (x * y) as u8)]);
            let image = image::GrayImage::from_fn(8, 8, pixel);
            image.save(class.join(format!("{number:02}.png"))).unwrap();
        }
    }
}

#[test]
fn a_run_goes_on_with_the_images_that_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    images(&place("here"), 0);
    let out = place("run");
    let mut begun = cellwright();
    begun.args(["search", "--space", "search-spaces/nasbench201.toml"]);
    begun.args(["--set", "filters=2", "--set", "repeats=1"]);
    begun.args(["--epochs", "1", "--rerank", "0", "--trials", "1"]);
    begun.args(["--device", "cpu", "--out"]).arg(&out);
    begun.arg("--dataset").arg(place("here")).assert().success();
    let resume = |flags: &[&str]| {
        let mut command = cellwright();
        command.args(["search", "--resume"]).arg(&out).args(flags);
        command
    };
    // Others in the same place, among them one more.
    std::fs::rename(place("here"), place("moved")).unwrap();
    images(&place("here"), 1);
    let words = ["others than when the run began"];
    refuses(&mut resume(&["--trials", "2"]), 1, &words);
    assert_eq!(trials(&out).len(), 1);
    let mut again = cellwright();
    again.args(["search", "--config"]).arg(out.join("run.toml"));
    refuses(again.arg("--out").arg(place("again")), 1, &words);
    // The same ones elsewhere.
    let moved = place("moved").display().to_string();
    resume(&["--trials", "2", "--dataset", &moved])
        .assert()
        .success();
    assert_eq!(trials(&out).len(), 2);
}

#[test]
fn rows_are_told_as_they_come_and_all_of_them_once() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let ids = |command: &mut assert_cmd::Command| -> Vec<u64> {
        let output = command
            .arg("--json")
            .assert()
            .success()
            .get_output()
            .clone();
        let text = String::from_utf8(output.stdout).unwrap();
        let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let mut ids: Vec<u64> = text
            .lines()
            .map(|it| row(it)["id"].as_u64().unwrap())
            .collect();
        ids.sort_unstable();
        ids
    };
    let flags = [
        "--trials",
        "3",
        "--strategy",
        "random",
        "--at-most",
        "params=12k",
    ];
    let first = ids(&mut search(&out, &flags));
    assert_eq!(
        first,
        trials(&out)
            .iter()
            .map(|it| u64::from(it.id))
            .collect::<Vec<_>>()
    );
    let mut more = cellwright();
    more.args(["search", "--trials", "4", "--resume"]).arg(&out);
    let all = ids(&mut more);
    assert!(all.len() > first.len() && all[..first.len()] == first);
    assert_eq!(
        all,
        trials(&out)
            .iter()
            .map(|it| u64::from(it.id))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_search_that_trains_nothing_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let flags = ["--trials", "2", "--limit", "0.000001"];
    let told = "no architecture was trained to the end, of 2 that were tried; the first: timed out";
    refuses(&mut search(&out, &flags), 1, &[told]);
    assert!(out.join("report/index.html").exists());
}

#[test]
fn a_training_that_is_cut_off_says_how_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("state");
    let weights = folder.path().join("weights");
    let train = |limit: &str| {
        let mut command = cellwright();
        command.args([
            "train",
            "search-spaces/nasbench201.toml",
            "--choices",
            "3,3,3,3,3,3",
        ]);
        command.args([
            "--set",
            "filters=2",
            "--set",
            "repeats=1",
            "--dataset",
            "digits",
        ]);
        command.args([
            "--images", "100", "--epochs", "2", "--limit", limit, "--device", "cpu",
        ]);
        command.arg("--checkpoint").arg(&checkpoint);
        command.arg("--save").arg(&weights);
        command
    };
    let limited = train("0.000001").arg("--json").assert().code(1);
    let row: serde_json::Value = serde_json::from_slice(&limited.get_output().stdout).unwrap();
    assert_eq!(
        (&row["status"], &row["kind"]),
        (&"failed".into(), &"rerank".into())
    );
    let shown = train("600").assert().success();
    let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
    assert!(
        shown.contains("choices              3,3,3,3,3,3"),
        "{shown}"
    );
    // Weights say what they are of; a checkpoint that is there says how to go on.
    let bytes = std::fs::read(&weights).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let about = &header.metadata().as_ref().unwrap()["cellwright"];
    let about: serde_json::Value = serde_json::from_str(about).unwrap();
    assert_eq!(
        (&about["choices"], &about["input"]),
        (&"3,3,3,3,3,3".into(), &"1x8x8".into())
    );
    let on = ["the same command goes on from there"];
    refuses(&mut train("0.000001"), 1, &on);
}
