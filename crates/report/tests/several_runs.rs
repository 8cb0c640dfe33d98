//! Reports of several runs, laid over each other.

mod made_up;

use std::fs;
use std::path::Path;

use cellwright_ledger::{CurvePoint, Kind, Run, Trial};
use cellwright_report::{Error, folder, write};
use made_up::{color_before, training};

#[test]
fn runs_lie_over_each_other() {
    let scratch = tempfile::tempdir().unwrap();
    let runs = ["controller", "random"]
        .map(|name| made_up::run(&scratch.path().join(name), name.len() as u64, 15));
    let written = write(&runs, &scratch.path().join("both")).unwrap();
    let chart = fs::read_to_string(scratch.path().join("both/progress.svg")).unwrap();
    assert!(chart.contains("controller") && chart.contains("random"));
    let curves = fs::read_to_string(scratch.path().join("both/learning-curves.svg")).unwrap();
    let color = color_before(&curves, "ResNet-18\n");
    let lines = curves.lines().filter(|line| line.starts_with("<polyline"));
    assert_eq!(
        lines.filter(|line| line.contains(&color)).count(),
        5,
        "two runs in two panels, and one in the legend"
    );
    let bubbles = fs::read_to_string(scratch.path().join("both/accuracy-macs.svg")).unwrap();
    for baseline in made_up::BASELINES {
        // Its label and its tool tip.
        assert_eq!(
            bubbles.matches(&format!("{}\n", baseline.0)).count(),
            2,
            "{} stands once",
            baseline.0
        );
    }
    assert!(
        fs::read_to_string(written.page)
            .unwrap()
            .contains("controller, random")
    );
}

/// Two runs with one baseline, trained on so many images for a reward that aims at so many MACs or at accuracy alone.
fn two_runs(scratch: &Path, images: [u64; 2], aims: [Option<u32>; 2]) -> [Run; 2] {
    ["one", "two"].map(|name| {
        let at = usize::from(name == "two");
        let aim = aims[at].map_or(String::new(), |macs| {
            format!("[[objective.targets]]\ncost = \"macs\"\nat = {macs}\nbelow = 0\nabove = -1\n")
        });
        let settings = format!("[training]\ntrain_limit = {}\n{aim}", images[at]);
        let run = Run::create(scratch.join(name), &settings).unwrap();
        let trial = |id, kind, accuracy| Trial {
            id,
            kind,
            space: "VGG small".into(),
            train_images: images[at],
            macs: 600_000,
            params: 72_700,
            choices: format!("{id}"),
            valid_top1: Some(accuracy),
            reward: Some(aims[at].map_or(accuracy, |_| accuracy / 2.0)),
            ..Trial::default()
        };
        let better = 0.3 * at as f64;
        run.write_trial(&trial(0, Kind::Baseline, 0.4 + better))
            .unwrap();
        run.write_trial(&trial(1, Kind::Search, 0.3 + better))
            .unwrap();
        run
    })
}

#[test]
fn baselines_are_pooled_where_they_were_trained_alike() {
    let scratch = tempfile::tempdir().unwrap();
    let runs = two_runs(scratch.path(), [300, 300], [None; 2]);
    let written = write(&runs, &scratch.path().join("both")).unwrap();
    assert!(written.warnings.is_empty(), "{:?}", written.warnings);
    let page = fs::read_to_string(written.page).unwrap();
    assert!(
        page.contains("55.00 % ± 21.21") && page.contains("<td>one, two</td><td>VGG small</td>")
    );

    let scratch = tempfile::tempdir().unwrap();
    let runs = two_runs(scratch.path(), [300, 1200], [None; 2]);
    let written = write(&runs, &scratch.path().join("both")).unwrap();
    let warning = "train_limit is 300 in one, 1200 in two";
    assert!(
        written.warnings[0].contains(warning),
        "{:?}",
        written.warnings
    );
    let page = fs::read_to_string(written.page).unwrap();
    assert!(!page.contains('±') && page.contains(warning));
    let chart = fs::read_to_string(scratch.path().join("both/accuracy-macs.svg")).unwrap();
    assert!(chart.contains("VGG small (one)") && chart.contains("VGG small (two)"));
}

#[test]
fn a_network_and_a_run_have_one_colour_on_a_page() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("run"), 7, 12);
    // Trained again, the third best is the best, and the fourth the second.
    let again = |id, source: usize, accuracy| {
        let name = made_up::BASELINES[source].0;
        let rows = run.trials().unwrap().rows;
        let first = rows.into_iter().find(|it| it.space == name).unwrap();
        let points = run.curves().unwrap().rows.into_iter();
        let points = points.filter(|it| it.trial == first.id);
        let points = points.map(|it| CurvePoint { trial: id, ..it });
        run.write_curve(id, &points.collect::<Vec<_>>()).unwrap();
        run.write_trial(&Trial {
            id,
            source_trial: Some(first.id),
            epochs: 2 * first.epochs,
            valid_top1: Some(accuracy),
            reward: Some(accuracy),
            ..first
        })
        .unwrap();
    };
    again(100, 0, 0.95);
    again(101, 3, 0.94);
    write(std::slice::from_ref(&run), &run.report()).unwrap();
    let chart = |name| fs::read_to_string(run.report().join(name)).unwrap();
    let (curves, progress) = (chart("learning-curves.svg"), chart("progress.svg"));
    assert_ne!(
        color_before(&curves, "VGG-16\n"),
        color_before(&curves, "ResNet-18\n")
    );
    assert_eq!(
        color_before(&curves, "ResNet-18\n"),
        color_before(&progress, "ResNet-18\n")
    );

    let runs = ["controller", "random"].map(|name| made_up::run(&scratch.path().join(name), 5, 12));
    write(&runs, &scratch.path().join("both")).unwrap();
    let chart = |name| fs::read_to_string(scratch.path().join("both").join(name)).unwrap();
    let (curves, pareto) = (chart("learning-curves.svg"), chart("pareto.svg"));
    for run in ["controller", "random"] {
        let first = color_before(&curves, &format!("{run} #"));
        assert_eq!(first, color_before(&pareto, &format!("{run}\n")), "{run}");
    }
}

#[test]
fn rewards_of_different_aims_give_way_to_accuracy() {
    let scratch = tempfile::tempdir().unwrap();
    let runs = two_runs(scratch.path(), [300, 300], [None, Some(50_000)]);
    let written = write(&runs, &scratch.path().join("both")).unwrap();
    assert!(
        written.warnings[0].contains("rewards do not compare"),
        "{:?}",
        written.warnings
    );
    let page = fs::read_to_string(written.page).unwrap();
    assert!(page.contains("Ranked by validation accuracy") && page.contains("Best found: two #1"));
    assert!(
        page.contains("55.00 % ± 21.21"),
        "the baseline's training is the same"
    );
}

#[test]
fn each_run_stands_for_itself_and_the_table_ranks_what_compares() {
    let scratch = tempfile::tempdir().unwrap();
    let runs = ["a", "b"].map(|name| Run::create(scratch.path().join(name), "").unwrap());
    for row in [
        training(0, "", None, 2, Some(0.65)),
        training(1, "", Some(0), 4, Some(0.6)),
        training(2, "", None, 3, Some(0.62)),
        training(3, "", None, 2, None),
    ] {
        runs[0].write_trial(&row).unwrap();
    }
    let other = training(0, "", None, 2, Some(0.9));
    runs[1].write_trial(&other).unwrap();
    let written = write(&runs, &scratch.path().join("both")).unwrap();
    let warning = "do not compare: the verdict's 4 epochs in a, the search's 2 epochs in b";
    let warnings = &written.warnings;
    assert!(
        warnings.iter().any(|it| it.ends_with(warning)),
        "{warnings:?}"
    );
    let page = fs::read_to_string(written.page).unwrap();
    assert!(page.contains("Best found: b #0") && page.contains("the search&#39;s 2 epochs"));
    let chart = fs::read_to_string(scratch.path().join("both/accuracy-macs.svg")).unwrap();
    assert!(chart.contains("best found (a #0)") && chart.contains("best found (b #0)"));
    let rows = page.split("<tr class").skip(1);
    let ranks: Vec<&str> = rows
        .map(|row| row.split(['>', '<']).nth(3).unwrap_or_default())
        .collect();
    assert_eq!(ranks, ["1", "1", "1", "2", "–"]);
}

#[test]
fn runs_of_different_budgets_lie_over_each_other() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = |name: &str| scratch.path().join(name);
    let mut runs = ["a", "b", "c"]
        .map(|name| made_up::run(&folder(name), 1, 12))
        .to_vec();
    let halved = Run::create(folder("halved"), "trials = 4").unwrap();
    let trial = |id, kind, rung: u32, accuracy| Trial {
        id,
        kind,
        rung: (kind == Kind::Search).then_some(rung),
        epochs: [1, 3][rung as usize],
        space: "VGG-16".into(),
        macs: 5_000_000,
        params: 80_000,
        identity: format!("{}", id % 2),
        valid_top1: Some(accuracy),
        ..Trial::default()
    };
    for row in [
        trial(0, Kind::Baseline, 1, 0.99),
        trial(1, Kind::Search, 0, 0.7),
        trial(2, Kind::Search, 0, 0.6),
        trial(3, Kind::Search, 1, 0.8),
    ] {
        halved.write_trial(&row).unwrap();
    }
    runs.push(halved);
    let written = write(&runs, &folder("all")).unwrap();
    let chart = |name| fs::read_to_string(folder("all").join(name)).unwrap();
    let progress = chart("progress.svg");
    for text in ["trained again for longer", "3 epochs, VGG-16", "8 epochs, "] {
        assert!(progress.contains(text), "{text}");
    }
    assert!(
        !chart("pareto.svg").contains("halved\n"),
        "nothing of it is drawn"
    );
    let page = fs::read_to_string(written.page).unwrap();
    assert!(
        page.contains(
            "Trained for 8 epochs; not drawn, since trained for fewer: halved (3 epochs)"
        )
    );
}

#[test]
fn a_report_of_several_runs_leaves_the_first_ones_own_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let run = |name: &str| Run::create(scratch.path().join(name), "trials = 1").unwrap();
    let runs = ["a", "b", "c"].map(run);
    assert!(matches!(folder(&[]), Err(Error::NoRun)));
    assert_eq!(folder(&runs[..1]).unwrap(), runs[0].report());
    assert_eq!(
        folder(&runs).unwrap(),
        scratch.path().join("a/report-with-b+c")
    );
    let long: Vec<Run> = (0..20)
        .map(|id| run(&format!("a-rather-long-name-{id}")))
        .collect();
    let name = folder(&long).unwrap();
    let name = name.file_name().unwrap().to_str().unwrap();
    assert!(name.ends_with("+17-more") && name.len() < 80, "{name}");
}

#[test]
fn runs_of_one_name_are_told_apart_by_their_folders() {
    let scratch = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let run = Run::create(scratch.path().join(name), "[training]\nepochs = 1").unwrap();
        run.write_trial(&training(0, "", None, 2, Some(0.5)))
            .unwrap();
        run
    };
    let runs = ["d1/r", "d2/r", "d3/r", "s"].map(run);
    let name = |runs: &[Run]| {
        let folder = folder(runs).unwrap();
        folder.strip_prefix(scratch.path()).unwrap().to_owned()
    };
    assert_eq!(name(&runs), Path::new("d1/r/report-with-d2--r+d3--r+s"));
    assert_ne!(name(&runs[..2]), name(&[runs[0].clone(), runs[2].clone()]));
    let written = write(&runs, &scratch.path().join("all")).unwrap();
    let page = fs::read_to_string(written.page).unwrap();
    assert!(page.contains("<h1>d1/r, d2/r, d3/r, s</h1>"));
    assert!(page.contains("<td>d3/r</td>") && page.contains("<td>s</td>"));
    // The same run twice is called as it is.
    assert_eq!(
        name(&[runs[3].clone(), runs[3].clone()]),
        Path::new("s/report-with-s")
    );
}
