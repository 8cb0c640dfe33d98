//! A run's folder: what is written is read back, whatever happens in between.

use std::fs;
use std::path::Path;

use cellwright_ledger::{
    ControllerUpdate, CurvePoint, Error, Kind, Record, Run, SimulationPoint, Status, Trial, schema,
};
use proptest::prelude::*;

fn trial(id: u32) -> Trial {
    Trial {
        id,
        space: "NASNet".into(),
        choices: "3,0,12".into(),
        seed: u64::MAX,
        macs: 10_558_000_000,
        flops: 21_116_000_000,
        valid_top1: Some(0.5 + f64::from(id) / 100.0),
        reward: Some(0.1 + 0.2),
        ..Trial::default()
    }
}

fn new_run(scratch: &Path) -> Run {
    Run::create(scratch.join("run"), "trials = 3\nspace = \"NASNet\"\n").unwrap()
}

#[test]
fn rows_come_back_as_they_were() {
    let scratch = tempfile::tempdir().unwrap();
    let run = new_run(scratch.path());
    let failed = Trial {
        kind: Kind::Baseline,
        status: Status::Failed,
        reason: Some("out of memory: 12 GB wanted \u{2013} \"too large\"".into()),
        source_trial: Some(0),
        graph: Some("{\"nodes\":[]}".into()),
        ..Trial {
            id: 7,
            ..Trial::default()
        }
    };
    let points: Vec<CurvePoint> = (1..=3)
        .map(|epoch| CurvePoint {
            trial: 7,
            epoch,
            step: u64::from(epoch) * 10,
            train_loss: Some(1.0 / f64::from(epoch)),
            learning_rate: 0.025,
            seconds: f64::from(epoch),
            ..CurvePoint::default()
        })
        .collect();
    let update = ControllerUpdate {
        update: 0,
        entropy: Some(1.5),
        ..ControllerUpdate::default()
    };

    run.write_trial(&failed).unwrap();
    run.write_trial(&trial(2)).unwrap();
    run.write_curve(7, &points[..1]).unwrap();
    run.write_curve(7, &points).unwrap();
    run.write_controller_update(&update).unwrap();

    let run = Run::open(run.folder()).unwrap();
    assert_eq!(run.trials().unwrap().rows, [trial(2), failed]);
    assert_eq!(run.curves().unwrap().rows, points);
    assert_eq!(run.controller_updates().unwrap().rows, [update]);
    assert_eq!(run.next_trial_id().unwrap(), 8);
    assert_eq!(run.frame::<Trial>().unwrap().height(), 2);
}

#[test]
fn json_and_parquet_agree() {
    let row = Trial {
        valid_loss: Some(f64::NAN),
        train_loss: Some(f64::INFINITY),
        ..trial(1)
    };
    let json: Trial = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
    let parquet = Trial::from_frame(&Trial::to_frame(std::slice::from_ref(&row)).unwrap()).unwrap();
    assert_eq!(parquet, [json]);
    assert_eq!(
        parquet,
        [Trial {
            valid_loss: None,
            train_loss: None,
            ..row
        }]
    );
}

#[test]
fn finished_rows_never_change() {
    let scratch = tempfile::tempdir().unwrap();
    let run = new_run(scratch.path());
    run.write_trial(&trial(0)).unwrap();
    let other = Trial {
        space: "other".into(),
        ..trial(0)
    };
    let error = run.write_trial(&other).unwrap_err();
    assert!(matches!(error, Error::Finished { .. }), "{error}");
    assert_eq!(run.trials().unwrap().rows, [trial(0)]);
    assert_eq!(
        names(&run.folder().join("trials")),
        ["00000.parquet"],
        "no temporary file stays"
    );
}

#[test]
fn a_run_is_not_begun_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let run = new_run(scratch.path());
    run.write_trial(&trial(0)).unwrap();
    let error = Run::create(run.folder(), "trials = 9\n").unwrap_err();
    assert!(matches!(error, Error::RunExists { .. }), "{error}");
    fs::remove_file(run.settings_path()).unwrap();
    let error = Run::create(run.folder(), "trials = 9\n").unwrap_err();
    assert!(
        matches!(error, Error::RunExists { .. }),
        "tables without settings are a run too: {error}"
    );
}

#[test]
fn settings_are_checked_and_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let error = Run::create(scratch.path().join("bad"), "trials = = 3")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("run.toml") && error.contains("line 1"),
        "{error}"
    );
    assert!(
        !scratch.path().join("bad").exists(),
        "nothing is made for settings that cannot be kept"
    );

    let run = new_run(scratch.path());
    let settings: std::collections::BTreeMap<String, serde_json::Value> = run.settings().unwrap();
    assert_eq!(settings["trials"], 3);
    assert!(run.settings_text().unwrap().starts_with("trials = 3"));
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Run::create(file.join("run"), "").unwrap_err().to_string();
    assert!(
        error.contains("cannot write") && error.contains("another folder"),
        "{error}"
    );

    new_run(scratch.path());
    let error = Run::open(scratch.path().join("rum"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no run.toml") && error.contains("did you mean"),
        "{error}"
    );
}

#[test]
fn damaged_and_foreign_files_are_named_and_passed_over() {
    let scratch = tempfile::tempdir().unwrap();
    let run = new_run(scratch.path());
    run.write_trial(&trial(0)).unwrap();
    run.write_trial(&trial(1)).unwrap();
    run.write_curve(5, &[CurvePoint::default()]).unwrap();
    let trials = run.folder().join("trials");
    fs::copy(run.trial_path(1), trials.join("copy of 1.parquet")).unwrap();
    fs::copy(
        run.folder().join("curves/00005.parquet"),
        trials.join("curve.parquet"),
    )
    .unwrap();
    fs::write(trials.join("00009.parquet"), "PAR1 and then nothing").unwrap();
    fs::write(trials.join("notes.txt"), "hello").unwrap();

    let found = run.trials().unwrap();
    assert_eq!(found.rows, [trial(0), trial(1)]);
    let reasons: Vec<String> = found.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(
        reasons[0].contains("00009.parquet: not a readable Parquet file"),
        "{reasons:?}"
    );
    assert!(
        reasons[1].contains("copy of 1.parquet: another file holds trial 1"),
        "{reasons:?}"
    );
    assert!(
        reasons[2].contains("curve.parquet: column `id` is missing"),
        "{reasons:?}"
    );
    assert_eq!(
        run.next_trial_id().unwrap(),
        10,
        "the id of a damaged file is not used again"
    );
}

#[test]
fn many_writers_do_not_disturb_each_other() {
    let scratch = tempfile::tempdir().unwrap();
    let run = new_run(scratch.path());
    let won: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let run = run.clone();
                scope.spawn(move || {
                    (0..8)
                        .filter(|&id| run.write_trial(&trial(id)).is_ok())
                        .count()
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    assert_eq!(won, 8, "each row is written by exactly one");
    let found = run.trials().unwrap();
    assert_eq!(found.rows, (0..8).map(trial).collect::<Vec<_>>());
    assert!(found.skipped.is_empty());
}

#[test]
fn every_column_is_documented_once() {
    fn check<R: Record>() {
        let columns = R::columns();
        let mut names: Vec<_> = columns.iter().map(|column| column.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), columns.len());
        assert!(
            columns.iter().all(|column| column.about.ends_with('.')),
            "{columns:?}"
        );
    }
    check::<Trial>();
    check::<CurvePoint>();
    check::<ControllerUpdate>();
    check::<SimulationPoint>();
}

/// A change of a column's name or type breaks every stored run: then raise the version, and this list.
#[test]
fn the_schema_is_the_published_one() {
    let columns: Vec<String> = Trial::columns()
        .iter()
        .map(|column| format!("{} {}", column.name, column.dtype))
        .collect();
    let published = "id u32, kind str, status str, reason str, space str, overrides str, choices str, \
        architecture str, identity str, source_trial u32, strategy str, seed u64, dataset str, input str, \
        classes u32, train_images u64, epochs u32, rung u32, batch u32, steps u64, params u64, macs u64, flops u64, \
        activation_bytes u64, valid_top1 f64, valid_top5 f64, valid_loss f64, test_top1 f64, test_top5 f64, \
        test_loss f64, train_loss f64, reward f64, train_seconds f64, total_seconds f64, \
        images_per_second f64, latency_ms f64, peak_bytes u64, device str, threads u32, worker str, \
        started_at str, version str, graph str";
    assert_eq!(schema::VERSION, 1);
    assert!(
        columns.join(", ").starts_with(published),
        "{}",
        columns.join(", ")
    );
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A kill leaves any part of a temporary file behind, and, on a file system that reorders, even a cut file
    /// under its final name: everything else still reads.
    #[test]
    fn a_kill_at_any_point_never_breaks_reading(cut in 0.0..1.0f64, renamed in any::<bool>(), count in 0u32..3) {
        let scratch = tempfile::tempdir().unwrap();
        let run = new_run(scratch.path());
        for id in 0..count {
            run.write_trial(&trial(id)).unwrap();
        }
        let path = run.write_trial(&trial(count)).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let part = &whole[..(whole.len() as f64 * cut) as usize];
        let name = if renamed { "00099.parquet" } else { ".00099.parquet.4711-0.tmp" };
        fs::write(path.with_file_name(name), part).unwrap();

        let found = Run::open(run.folder()).unwrap().trials().unwrap();
        prop_assert_eq!(found.rows, (0..count).map(trial).collect::<Vec<_>>());
        prop_assert_eq!(found.skipped.len(), usize::from(renamed));
        let next = run.next_trial_id().unwrap();
        prop_assert!(next >= count);
        run.write_trial(&trial(next)).unwrap();
        prop_assert_eq!(run.trials().unwrap().rows.len() as u32, count + 1);
    }

    /// With any byte of a finished file changed, the file is named, or the row is what it was.
    #[test]
    fn a_damaged_byte_is_never_read(at in 0.0..1.0f64, value in any::<u8>()) {
        let scratch = tempfile::tempdir().unwrap();
        let run = new_run(scratch.path());
        run.write_trial(&trial(0)).unwrap();
        let mut bytes = fs::read(run.trial_path(0)).unwrap();
        let at = (bytes.len() as f64 * at) as usize;
        bytes[at] = value;
        fs::write(run.trial_path(0), bytes).unwrap();
        let found = run.trials().unwrap();
        prop_assert_eq!(found.rows.len() + found.skipped.len(), 1);
        prop_assert!(found.rows.iter().all(|row| *row == trial(0)));
    }
}
