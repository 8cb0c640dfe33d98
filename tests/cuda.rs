//! The real binary on CUDA, with libraries that stand for CUDA's on the host.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use assert_cmd::Command;
use cellwright_ledger::{Run, Status, Trial};
use cellwright_ops::cuda::stand_in;
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the libraries lie, made once; none, with a message, without a C++ compiler.
fn libraries() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<TempDir>> = OnceLock::new();
    let made = FOLDER.get_or_init(|| {
        if !stand_in::is_possible() {
            eprintln!("skipped: no C++ compiler to stand for CUDA");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        stand_in::libraries(folder.path()).unwrap();
        Some(folder)
    });
    made.as_ref().map(TempDir::path)
}

/// The command, with CUDA's libraries in a folder.
fn cellwright(cuda: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cellwright"));
    command.current_dir(root());
    command.env("CUDA_PATH", cuda).env("XDG_CACHE_HOME", cuda);
    for name in ["CUDA_HOME", "CUDA_ROOT", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command
}

/// A search small enough for kernels that run thread by thread on the host.
fn search(cuda: &Path, out: &Path, flags: &[&str]) -> Command {
    let mut command = cellwright(cuda);
    let space = [
        "--space",
        "search-spaces/nasnet.toml",
        "--dataset",
        "digits",
    ];
    let set = [
        "--set",
        "filters=4",
        "--set",
        "repeats=1",
        "--set",
        "blocks=2",
    ];
    command.arg("search").args(space).args(set);
    command.args([
        "--seed", "7", "--trials", "2", "--epochs", "1", "--rerank", "0",
    ]);
    command
        .args([
            "--images",
            "100",
            "--batch",
            "16",
            "--learning-rate",
            "0.001",
        ])
        .arg("--out")
        .arg(out)
        .args(flags);
    command
}

fn trials(folder: &Path) -> Vec<Trial> {
    Run::open(folder).unwrap().trials().unwrap().rows
}

/// Fails unless a command ends with exit code 1, no panic, and all of these words.
fn refuses(command: &mut Command, words: &[&str]) {
    let assert = command.assert().code(1);
    let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(!errors.contains("panicked"), "{errors}");
    for word in words {
        assert!(errors.contains(word), "no '{word}' in:\n{errors}");
    }
}

#[test]
fn a_search_by_two_workers_on_a_gpu_is_the_cpus() {
    let Some(cuda) = libraries() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [on_cpu, on_gpu] = ["cpu", "gpu"].map(|name| folder.path().join(name));
    search(cuda, &on_cpu, &["--device", "cpu", "--workers", "1"])
        .assert()
        .success();
    let mut gpu = search(cuda, &on_gpu, &["--device", "cuda", "--workers", "2"]);
    gpu.args(["--precision", "fp32"]).assert().success();
    let (expected, mut found) = (trials(&on_cpu), trials(&on_gpu));
    found.sort_by_key(|it| it.id);
    assert_eq!((expected.len(), found.len()), (2, 2));
    let close = |found: Option<f64>, expected: Option<f64>| {
        let (found, expected) = (found.unwrap(), expected.unwrap());
        assert!(
            (found - expected).abs() < 2e-4,
            "{found}, expected {expected}"
        );
    };
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(
            (&found.choices, found.status),
            (&expected.choices, Status::Done)
        );
        close(found.train_loss, expected.train_loss);
        close(found.valid_loss, expected.valid_loss);
        close(found.test_loss, expected.test_loss);
    }
}

#[test]
fn workers_compute_in_the_precision_of_the_search() {
    let Some(cuda) = libraries() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [exact, rounded, narrow] = ["fp32", "tf32", "bf16"].map(|precision| {
        let out = folder.path().join(precision);
        let flags = ["--device", "cuda", "--workers", "1"];
        let mut command = search(cuda, &out, &flags);
        command.args(["--precision", precision]).assert().success();
        trials(&out)
    });
    for (others, most) in [(rounded, 1e-2), (narrow, 5e-2)] {
        for (exact, other) in exact.iter().zip(&others) {
            assert_eq!(exact.choices, other.choices);
            let (exact, other) = (exact.train_loss.unwrap(), other.train_loss.unwrap());
            let apart = (exact - other).abs();
            assert!(apart > 0.0 && apart < most, "{exact} and {other}");
        }
    }
}

/// One step of a baseline on a few images, and what became of it.
fn train(cuda: &Path, file: &str, device: [&str; 2], variables: &[&str]) -> Trial {
    let mut command = cellwright(cuda);
    command
        .arg("train")
        .arg(format!("search-spaces/baselines/{file}"));
    command.args([
        "--set",
        "filters=4",
        "--dataset",
        "digits",
        "--images",
        "32",
    ]);
    command.args(["--batch", "16", "--epochs", "1", "--learning-rate", "0.01"]);
    command.args(["--valid-fraction", "0", "--json", "--device", device[0]]);
    command.args(["--precision", device[1]]);
    command.envs(variables.iter().map(|name| (name, "1")));
    let assert = command.assert().success();
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

#[test]
fn baselines_train_on_a_gpu_as_on_the_cpu() {
    let Some(cuda) = libraries() else {
        return;
    };
    let launched: &[&str] = &["CELLWRIGHT_EAGER"];
    let without: &[&str] = &["CELLWRIGHT_NO_CUDNN"];
    for (file, ways) in [
        ("resnet18.toml", &[&[][..], without, launched][..]),
        ("vgg11-bn.toml", &[&[]]),
        ("googlenet.toml", &[&[]]),
        ("mobilenet-v2.toml", &[&[]]),
    ] {
        let expected = train(cuda, file, ["cpu", "fp32"], &[]);
        let fp32 = ways.iter().map(|it| ("fp32", *it, 2e-5));
        for (precision, variables, tolerance) in fp32.chain([("bf16", &[][..], 4e-2)]) {
            let found = train(cuda, file, ["cuda", precision], variables);
            for (found, expected) in [
                (found.train_loss, expected.train_loss),
                (found.test_loss, expected.test_loss),
            ] {
                let (found, expected) = (found.unwrap(), expected.unwrap());
                assert!(
                    (found - expected).abs() < tolerance * expected,
                    "{file}, {precision}, {variables:?}: {found}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn trials_that_do_not_fit_the_gpu_fail_alone() {
    let Some(cuda) = libraries() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for workers in ["1", "2"] {
        let out = folder.path().join(workers);
        let mut command = search(cuda, &out, &["--device", "cuda", "--workers", workers]);
        // Hardly more than what cuBLAS takes.
        command
            .env("CELLWRIGHT_STAND_IN_MEMORY", "140000000")
            .assert()
            .code(1);
        assert_eq!(trials(&out).len(), 2);
        for trial in trials(&out) {
            let reason = trial.reason.unwrap();
            assert_eq!(trial.status, Status::Failed);
            assert!(reason.contains("out of memory"), "{reason}");
        }
    }
}

#[test]
fn the_memory_of_a_trial_is_that_of_what_the_gpu_computes_in() {
    let Some(cuda) = libraries() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let reasons = |precision: &str, capability: &str| {
        let out = folder.path().join(format!("{precision}-{capability}"));
        let flags = "search --space search-spaces/nasnet.toml --dataset digits --batch 512 --epochs 1 \
                     --trials 2 --rerank 0 --seed 7 --device cuda --precision";
        let mut command = cellwright(cuda);
        command.args(flags.split_whitespace()).arg(precision);
        command
            .arg("--out")
            .arg(&out)
            .env("CELLWRIGHT_STAND_IN_MEMORY", "140000000")
            .env("CELLWRIGHT_STAND_IN_CAPABILITY", capability);
        command.assert().code(1);
        let reasons = trials(&out).into_iter().map(|it| it.reason.unwrap());
        reasons.collect::<Vec<_>>()
    };
    // Turing has no tensor cores for TF32.
    assert_eq!(reasons("tf32", "75"), reasons("fp32", "75"));
    assert_ne!(reasons("tf32", "90"), reasons("fp32", "90"));
}

#[test]
fn a_gpu_that_is_missing_or_too_old_is_named() {
    let Some(cuda) = libraries() else {
        return;
    };
    let profile = |device: &str| {
        let mut command = cellwright(cuda);
        command.args(["profile", "search-spaces/nasnet-a.toml", "--input", "1x8x8"]);
        command.args([
            "--set",
            "filters=4",
            "--set",
            "repeats=1",
            "--classes",
            "10",
        ]);
        command.args(["--batch", "2", "--steps", "1", "--device", device]);
        command
    };
    refuses(&mut profile("cuda:1"), &["cuda:1 cannot be used"]);
    let none = ("CELLWRIGHT_STAND_IN_DEVICES", "0");
    refuses(
        profile("cuda").env(none.0, none.1),
        &["cuda:0 cannot be used"],
    );
    let old = ("CELLWRIGHT_STAND_IN_DRIVER", "12040");
    refuses(
        profile("cuda").env(old.0, old.1),
        &["driver is of CUDA 12.4", "driver 580 or newer"],
    );
    let volta = ("CELLWRIGHT_STAND_IN_CAPABILITY", "70");
    refuses(
        profile("cuda").env(volta.0, volta.1),
        &["compute capability 7.0", "7.5 (Turing) or newer"],
    );
    let turing = ("CELLWRIGHT_STAND_IN_CAPABILITY", "75");
    let mut bf16 = profile("cuda");
    bf16.args(["--precision", "bf16"]).env(turing.0, turing.1);
    refuses(
        &mut bf16,
        &[
            "compute capability 7.5",
            "bf16 needs 8.0",
            "--precision fp32",
        ],
    );
    for (name, value) in [none, old, volta] {
        let assert = profile("auto").env(name, value).assert().success();
        let out = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
        assert!(out.contains("on cpu"), "{name}: {out}");
    }
    let assert = profile("auto").assert().success();
    let out = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(out.contains("on cuda:0"), "{out}");
}

#[test]
fn a_missing_library_is_named() {
    let system = Path::new("/usr/lib/x86_64-linux-gnu/libcuda.so.1");
    if system.exists() {
        eprintln!("skipped: CUDA's libraries are here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = search(folder.path(), &out, &["--device", "cuda"]);
    refuses(
        &mut command,
        &["libcuda.so.1", "the NVIDIA driver", "was not found"],
    );
}
