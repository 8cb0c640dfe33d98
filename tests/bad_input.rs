//! What goes wrong is said with its place and the next step, and never by a panic.

mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::{cellwright, refuses};

fn space(folder: &Path, layers: &str) -> PathBuf {
    let path = folder.join("wrong.toml");
    let text = format!("name = \"wrong\"\n\n[network]\nlayers = [\n{layers}\n]\n");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn an_unknown_operation_is_named_with_its_place_and_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = space(folder.path(), "  { op = \"convv\", filters = 8 },");
    refuses(
        cellwright().arg("validate").arg(&path),
        1,
        &["wrong.toml:5:", "convv", "conv"],
    );
}

#[test]
fn a_cycle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let layers = "  { name = \"a\", op = \"relu\", from = \"b\" },\n  { name = \"b\", op = \"relu\", from = \"a\" },";
    let path = space(folder.path(), layers);
    refuses(
        cellwright().arg("validate").arg(&path),
        1,
        &["wrong.toml:5:", "b"],
    );
}

#[test]
fn shapes_that_cannot_match_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let layers = "  { name = \"a\", op = \"conv\", filters = 8 },\n  { name = \"b\", op = \"conv\", filters = 4, from = \"input\" },\n  { name = \"sum\", op = \"add\", from = [\"a\", \"b\"] },";
    let path = space(folder.path(), layers);
    refuses(
        cellwright().arg("validate").arg(&path),
        1,
        &["sum", "8", "4"],
    );
}

#[test]
fn a_missing_data_set_is_named() {
    let folder = tempfile::tempdir().unwrap();
    refuses(
        cellwright()
            .args([
                "search",
                "--space",
                "search-spaces/nasnet.toml",
                "--dataset",
                "cifar10",
                "--data",
            ])
            .arg(folder.path())
            .arg("--out")
            .arg(folder.path().join("run")),
        1,
        &["cifar10", "data fetch"],
    );
}

#[test]
fn a_truncated_file_of_images_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("cifar-10-batches-bin");
    std::fs::create_dir(&images).unwrap();
    for name in [
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ] {
        std::fs::write(images.join(format!("{name}.bin")), [0; 100]).unwrap();
    }
    refuses(
        cellwright()
            .args([
                "train",
                "search-spaces/baselines/resnet18.toml",
                "--dataset",
                "cifar10",
                "--data",
            ])
            .arg(folder.path()),
        1,
        &["data_batch_1.bin"],
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    refuses(
        cellwright()
            .args([
                "search",
                "--space",
                "search-spaces/nasnet.toml",
                "--dataset",
                "digits",
                "--trials",
                "1",
                "--out",
            ])
            .arg(file.join("run")),
        1,
        &["file"],
    );
}

#[test]
fn numbers_out_of_range_are_wrong_use() {
    for flags in [
        ["search", "--trials", "0"],
        ["search", "--epochs", "0"],
        ["search", "--workers", "0"],
        ["search", "--rerank-epochs", "0"],
        ["search", "--reduction", "3"],
        ["search", "--strategy", "nonsense"],
        ["search", "--device", "tpu"],
        ["search", "--precision", "fp16"],
        ["inspect", "search-spaces/nasnet.toml", "--input=3x0x32"],
    ] {
        refuses(cellwright().args(flags), 2, &[]);
    }
}

#[test]
fn a_parameter_that_the_space_does_not_have_is_named() {
    refuses(
        cellwright().args(["inspect", "search-spaces/nasnet.toml", "--set", "filterz=8"]),
        1,
        &["filterz", "filters"],
    );
}

#[test]
fn choices_that_do_not_fit_are_wrong_use() {
    refuses(
        cellwright().args(["inspect", "search-spaces/nasnet.toml", "--choices", "1,2,3"]),
        2,
        &["--choices"],
    );
}

#[test]
fn a_wrong_objective_is_refused_with_what_to_write() {
    for (flags, words) in [
        (&["--target", "macs=20m"][..], &["--target", "20M"][..]),
        (
            &["--at-most", "flops=1M"],
            &["--at-most", "macs, params, latency"],
        ),
        (&["--target", "macs=1M:0.1"], &["0 or less"]),
        (
            &["--at-most", "params=1M", "--at-most", "params=2M"],
            &["params twice"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let mut command = cellwright();
        command
            .args(["search", "--dataset", "digits", "--out"])
            .arg(&out);
        refuses(command.args(flags), 2, words);
        assert!(!out.exists(), "nothing was begun");
    }
}

#[test]
fn a_search_without_images_to_choose_by_is_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    let search = |out: &str, flags: &[&str]| {
        let mut command = cellwright();
        command.args(["search", "--trials", "1", "--rerank", "0", "--out"]);
        command.arg(folder.path().join(out)).args(flags);
        command
    };
    let space = "search-spaces/baselines/small/resnet.toml";
    let fresh = ["--space", space, "--dataset", "digits", "--epochs", "1"];
    let words = ["accuracy on images", "--valid-fraction", "train"];
    let mut none = search("none", &fresh);
    refuses(none.args(["--valid-fraction", "0"]), 2, &words);
    assert!(!folder.path().join("none").exists(), "nothing was begun");
    // So little that it is rounded to none.
    let mut few = search("few", &fresh);
    refuses(few.args(["--valid-fraction", "0.0001"]), 2, &words);

    search("good", &fresh).assert().success();
    let text = std::fs::read_to_string(folder.path().join("good/run.toml")).unwrap();
    let without = text.replace("valid_fraction = 0.1\n", "valid_fraction = 0.0\n");
    assert_ne!(text, without);
    let config = folder.path().join("without.toml");
    std::fs::write(&config, &without).unwrap();
    let mut again = search("again", &["--config"]);
    refuses(again.arg(&config), 2, &words);
    assert!(!folder.path().join("again").exists(), "nothing was begun");
    std::fs::write(folder.path().join("good/run.toml"), &without).unwrap();
    let mut resumed = cellwright();
    resumed.args(["search", "--resume"]);
    refuses(resumed.arg(folder.path().join("good")), 2, &words);
}

#[test]
fn bf16_on_a_cpu_is_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--precision bf16", "needs a GPU", "--device cuda"];
    let on_cpu = [&["--device", "cpu"][..], &[]];
    // Without CUDA there is but the CPU to be picked.
    let on_cpu = &on_cpu[..if cfg!(feature = "cuda") { 1 } else { 2 }];
    let space = "search-spaces/baselines/small/resnet.toml";
    let out = folder.path().join("run");
    let search = |flags: &[&str]| {
        let mut command = small_search(folder.path());
        command.args(flags).arg("--out").arg(&out);
        command
    };
    for device in on_cpu {
        let bf16 = ["--precision", "bf16"];
        refuses(search(device).args(bf16), 2, &words);
        assert!(!out.exists(), "nothing was begun");
        for verb in ["train", "profile"] {
            let mut command = cellwright();
            refuses(
                command.args([verb, space]).args(bf16).args(*device),
                2,
                &words,
            );
        }
    }
    // A CPU's own precision can be named, and what a run.toml says is held to the same.
    let mut named = search(&["--device", "cpu", "--precision", "fp32"]);
    named.assert().success();
    let path = out.join("run.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let bf16 = text.replace("precision = \"fp32\"\n", "precision = \"bf16\"\n");
    assert_ne!(text, bf16);
    std::fs::write(&path, bf16).unwrap();
    let mut resumed = cellwright();
    refuses(resumed.args(["search", "--resume"]).arg(&out), 2, &words);
    let mut again = cellwright();
    again.args(["search", "--config"]).arg(&path);
    refuses(
        again.arg("--out").arg(folder.path().join("again")),
        2,
        &words,
    );
    again.args(["--precision", "tf32"]).assert().success();
}

#[cfg(unix)]
#[test]
fn folders_that_lead_in_circles_are_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"fine\"\n[network]\nlayers = [{ op = \"global_avg_pool\" }, { op = \"linear\", units = \"classes\" }]\n";
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("fine.toml"), text).unwrap();
    for link in ["one", "two", "three.toml"] {
        std::os::unix::fs::symlink(folder.path(), inner.join(link)).unwrap();
    }
    // A link to a file is a file, and a folder that is named is listed whatever it is.
    std::os::unix::fs::symlink(inner.join("fine.toml"), inner.join("linked.toml")).unwrap();
    let outer = folder.path().join("outer");
    std::os::unix::fs::symlink(&inner, &outer).unwrap();
    for named in [folder.path(), &outer] {
        let output = cellwright()
            .args(["spaces", "--json"])
            .arg(named)
            .timeout(std::time::Duration::from_secs(60))
            .assert()
            .success();
        let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("fine.toml") && text.contains("linked.toml"));
    }
}

#[test]
fn a_cause_is_told_once() {
    let missing = || {
        let mut command = cellwright();
        command.args(["validate", "nowhere/nope.toml"]);
        command
    };
    let cause = "No such file or directory";
    let output = missing().assert().code(1);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert_eq!(text.matches(cause).count(), 1, "{text}");
    let output = missing().arg("--json").assert().code(1);
    let verdict: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let text = verdict["error"].as_str().unwrap();
    assert!(text.contains("nope.toml"), "{text}");
    assert_eq!(text.matches(cause).count(), 1, "{text}");
}

#[test]
fn a_network_that_cannot_be_counted_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let conv = "{ op = \"conv\", kernel = 4096, filters = 268435456 },";
    let end = "{ op = \"global_avg_pool\" },\n{ op = \"linear\", units = \"classes\" },";
    let path = space(folder.path(), &format!("{conv}\n{conv}\n{conv}\n{end}"));
    refuses(
        cellwright().arg("inspect").arg(&path),
        1,
        &[
            "wrong.toml:5:",
            "2^60 multiply-accumulates",
            "fewer filters",
        ],
    );
}

#[test]
fn weights_and_checkpoint_are_two_files_made_once_all_else_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let train = |data: &str, checkpoint: &str| {
        let mut command = cellwright();
        command.args(["train", "search-spaces/baselines/small/vgg.toml"]);
        command.args(["--dataset", data, "--save"]);
        command.arg(folder.path().join("new/a")).arg("--checkpoint");
        command.arg(folder.path().join(checkpoint));
        command
    };
    std::fs::create_dir(folder.path().join("x")).unwrap();
    for same in ["new/a", "x/../new/a"] {
        refuses(&mut train("digits", same), 2, &["--save and --checkpoint"]);
    }
    refuses(&mut train("nowhere", "new/b"), 1, &["nowhere"]);
    assert!(!folder.path().join("new").exists());
}

#[test]
fn an_option_that_cannot_be_built_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let layers = |options: &str| {
        let conv = format!("  {{ op = \"conv\", filters = {{ choose = {options} }} }},");
        let end = "  { op = \"global_avg_pool\" },\n  { op = \"linear\", units = \"classes\" },";
        space(folder.path(), &format!("{conv}\n{end}"))
    };
    let validate = |path: PathBuf| {
        let mut command = cellwright();
        command.arg("validate").arg(path);
        command
    };
    let assert = validate(layers("[8, 0]")).assert().success();
    let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let expected = "1 of 2 architectures cannot be built, such as 1: ";
    assert!(errors.contains(expected), "{errors}");
    refuses(&mut validate(layers("[0]")), 1, &["conv"]);
    let assert = validate(layers("[8, 16]")).assert().success();
    assert!(assert.get_output().stderr.is_empty());
}

#[test]
fn a_wrong_file_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    space(folder.path(), "{ op = \"gelu\" }");
    let good = "name = \"fine\"\nclasses = 7\ninput = \"3x8x8\"\n[network]\nlayers = [{ op = \"global_avg_pool\" }, { op = \"linear\", units = 10 }]\n";
    std::fs::write(folder.path().join("fine.toml"), good).unwrap();
    let mut command = cellwright();
    refuses(
        command.arg("spaces").arg(folder.path()),
        1,
        &["wrong.toml:5:8", "not available", "1 of 2"],
    );
    let output = command.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("fine.toml"));
    // Another number of values than of classes is told with its place in the file.
    refuses(
        cellwright()
            .arg("inspect")
            .arg(folder.path().join("fine.toml")),
        1,
        &["fine.toml:5:", "7 classes"],
    );
}

/// A search in two architectures on the digits, before its folder is named.
fn small_search(folder: &Path) -> Command {
    let layers = "  { op = \"conv\", filters = { choose = [2, 3] } },\n  { op = \"global_avg_pool\" },\n  { op = \"linear\", units = \"classes\" },";
    let space = space(folder, layers);
    let mut command = cellwright();
    command.args(["search", "--dataset", "digits", "--trials", "1"]);
    command.args(["--epochs", "1", "--images", "64", "--rerank", "0"]);
    command.args(["--workers", "1", "--space"]).arg(space);
    command
}

#[test]
fn a_mistake_leaves_no_run_folder_behind() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "name = \"broken\"\n").unwrap();
    let broken = broken.to_str().unwrap();
    for (flags, words) in [
        (&["--dataset", "nope"][..], &["nope"][..]),
        (&["--set", "filterz=3"], &["filterz"]),
        (&["--space", broken], &["broken.toml"]),
        (&["--baselines", broken], &["broken.toml"]),
        (
            &["--baselines", "search-spaces/nasnet.toml"],
            &["cannot be a baseline"],
        ),
        #[cfg(not(feature = "cuda"))]
        (&["--device", "cuda:0"], &["no CUDA"]),
    ] {
        let mut command = small_search(folder.path());
        let named = ["--dataset", "--space"].contains(&flags[0]);
        if named {
            // The last of two is taken only where the first is left out.
            command = cellwright();
            command.args(["search", "--trials", "1", "--epochs", "1"]);
            let rest = [
                "--dataset",
                "digits",
                "--space",
                "search-spaces/nasnet.toml",
            ];
            for pair in rest.chunks(2).filter(|pair| pair[0] != flags[0]) {
                command.args(pair);
            }
        }
        refuses(command.args(flags).arg("--out").arg(&out), 1, words);
        assert!(!out.exists(), "{flags:?}");
    }
    let mut right = small_search(folder.path());
    right.arg("--out").arg(&out).assert().success();
}

#[test]
fn a_run_that_goes_on_is_the_search_that_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a run");
    let mut begun = small_search(folder.path());
    begun.arg("--out").arg(&out).assert().success();
    let text = || std::fs::read_to_string(out.join("run.toml")).unwrap();
    let before = text();
    let resume = || {
        let mut command = cellwright();
        command.args(["search", "--resume"]).arg(&out);
        command
    };
    for flags in [
        &["--seed", "0"][..],
        &["--strategy", "random"],
        &["--epochs", "3"],
        &["--batch", "16"],
        &["--images", "100"],
        &["--limit", "60"],
        &["--precision", "tf32"],
        &["--halving"],
        &["--reduction", "4"],
        &["--space", "search-spaces/nasnet.toml"],
        &["--set", "filters=3"],
        &["--target", "macs=1M"],
        &["--at-most", "macs=1M"],
        &["--baselines", "search-spaces/baselines/small/vgg.toml"],
        &["--out", "elsewhere"],
    ] {
        let words = [flags[0], "start a new run", "--config", "a run/run.toml'"];
        refuses(resume().args(flags), 2, &words);
    }
    #[cfg(not(feature = "cuda"))]
    refuses(resume().args(["--device", "cuda:3"]), 1, &["no CUDA"]);
    assert_eq!(before, text(), "what is refused changes nothing");
    let absurd = before.replace("workers = 1\n", "workers = 100000\n");
    assert_ne!(before, absurd);
    std::fs::write(out.join("run.toml"), absurd).unwrap();
    refuses(&mut resume(), 1, &["workers is 100000", "1 to 1024"]);
}

#[test]
fn what_ends_a_search_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a run");
    let mut begun = small_search(folder.path());
    begun.arg("--out").arg(&out).assert().success();
    // The lost row's curve cannot be written any more.
    std::fs::remove_file(out.join("trials/00000.parquet")).unwrap();
    std::fs::remove_dir_all(out.join("curves")).unwrap();
    std::fs::write(out.join("curves"), "").unwrap();
    let mut resumed = cellwright();
    resumed.args(["search", "--resume"]).arg(&out);
    let resume = format!("cellwright search --resume '{}'", out.display());
    refuses(&mut resumed, 1, &[&resume, "cannot write", "a run/curves"]);
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_told_with_the_runs_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut begun = small_search(folder.path());
    begun.arg("--out").arg(&out).assert().success();
    std::fs::remove_dir_all(out.join("report")).unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cellwright"));
    command.args(["search", "--resume"]).arg(&out);
    let output = command.stdout(full.unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let kept = format!("the run is kept in {}", out.display());
    assert!(errors.contains(&kept), "{errors}");
    assert!(
        errors.contains("cannot write to standard output"),
        "{errors}"
    );
    assert!(out.join("report/index.html").is_file());
}

#[cfg(unix)]
#[test]
fn a_path_that_no_run_toml_holds_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder
        .path()
        .join(std::ffi::OsStr::from_bytes(b"odd\xff.toml"));
    let command = small_search(folder.path());
    std::fs::copy(folder.path().join("wrong.toml"), &path).unwrap();
    // Without the space that is named already.
    let mut odd = cellwright();
    let arguments = command.get_args().take_while(|it| *it != "--space");
    odd.args(arguments).arg("--space").arg(&path);
    let out = folder.path().join("run");
    refuses(
        odd.arg("--out").arg(&out),
        1,
        &["/odd", "not UTF-8", "another name"],
    );
    assert!(!out.exists(), "nothing was begun");
    // Elsewhere it is told as far as it is one.
    let mut validate = cellwright();
    validate.args(["validate", "--json"]).arg(&path);
    let output = validate.assert().success().get_output().stdout.clone();
    let verdict: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert!(verdict["file"].as_str().unwrap().contains("/odd"));
}

#[test]
fn an_empty_variable_for_the_data_is_as_good_as_none() {
    for command in [&["data", "list"][..], &["search", "--help"]] {
        let mut command_line = cellwright();
        command_line.env("CELLWRIGHT_DATA", "").args(command);
        command_line.assert().success();
    }
}

#[test]
fn a_seed_that_no_run_toml_holds_is_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = small_search(folder.path());
    let seed = ["--seed", "18446744073709551615"];
    refuses(command.args(seed), 2, &["--seed", "9223372036854775807"]);
}

#[test]
fn a_file_that_a_training_cannot_write_is_named_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (flag, path) in [
        ("--save", file.join("weights.safetensors")),
        ("--checkpoint", file.join("checkpoint")),
        ("--save", folder.path().to_owned()),
        // With the ending of what is not whole yet it is too long.
        ("--save", folder.path().join("x".repeat(253))),
    ] {
        let mut command = cellwright();
        // So many epochs take longer than a test.
        command.args(["train", "search-spaces/baselines/small/resnet.toml"]);
        command.args(["--dataset", "digits", "--epochs", "100000", flag]);
        command.timeout(std::time::Duration::from_secs(60));
        refuses(command.arg(path), 1, &[folder.path().to_str().unwrap()]);
    }
    let saved = folder.path().join("new/weights.safetensors");
    let mut command = cellwright();
    command.args(["train", "search-spaces/baselines/small/resnet.toml"]);
    command.args(["--dataset", "digits", "--epochs", "1", "--images", "64"]);
    command.arg("--save").arg(&saved).assert().success();
    assert!(saved.is_file());
}
