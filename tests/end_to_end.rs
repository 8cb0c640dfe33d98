//! The real binary, from a space file to a chart, on the embedded digits.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use cellwright_ledger::{Kind, Run, Status, Trial};
use cellwright_search::run::RunConfig;
use cellwright_search::schedule::Halving;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cellwright() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cellwright"));
    command.current_dir(root());
    command
}

/// A search small enough for a test, without a verdict.
fn search(out: &Path, flags: &[&str]) -> Command {
    let mut command = judged_search(out, flags);
    command.args(["--rerank", "0"]);
    command
}

/// A search small enough for a test.
fn judged_search(out: &Path, flags: &[&str]) -> Command {
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

fn trials(folder: &Path) -> Vec<Trial> {
    let rows = Run::open(folder).unwrap().trials().unwrap();
    assert!(rows.skipped.is_empty(), "{:?}", rows.skipped);
    rows.rows
}

/// What must be the same in two runs: everything but times and places.
fn outcome(trials: &[Trial]) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
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
    let mut child = command.spawn().unwrap();
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
fn an_allocation_that_fails_costs_one_trial_of_one_worker() {
    let folder = tempfile::tempdir().unwrap();
    // The second convolution's weights are more than an address space holds.
    let huge =
        "{ op = \"conv\", filters = 1000000 }, { op = \"conv\", kernel = 15, filters = 10000000 }";
    let layer = chain("{ op = { choose = [\"relu\", \"huge\"] } }");
    let space = format!("name = \"huge\"\n[blocks.huge]\nlayers = [{huge}]\n{layer}");
    let flags = ["--trials", "2", "--epochs", "1"];
    random(folder.path(), &space, &flags).assert().success();
    let rows = trials(&folder.path().join("run"));
    let mut ends: Vec<Status> = rows.iter().map(|it| it.status).collect();
    ends.sort_by_key(|it| it.as_str());
    assert_eq!(ends, [Status::Done, Status::Failed]);
    let failed = rows.iter().find(|it| it.status == Status::Failed).unwrap();
    let reason = failed.reason.as_deref().unwrap();
    assert!(reason.contains("memory allocation of"), "{reason}");
}

#[test]
fn an_exhausted_space_says_how_many_were_trained() {
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
        errors.contains("architecture: 4 were trained, for 7 epochs of 150"),
        "{errors}"
    );
}
