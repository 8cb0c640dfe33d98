//! A made-up run, drawn: every chart is there, well-formed, and says what the tables say.

mod made_up;

use std::fs;
use std::path::Path;

use cellwright_graph::{Graph, Layer, Node, Padding, Pool, PoolKind, Shape};
use cellwright_ledger::{CurvePoint, Kind, Run, SimulationPoint, Simulations, Status, Trial};
use cellwright_report::{Error, write, write_simulations};
use made_up::{color_before, drawn, training};

#[test]
fn a_run_becomes_charts_and_a_page() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("nasnet"), 7, 24);
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    assert!(written.warnings.is_empty(), "{:?}", written.warnings);
    let page = fs::read_to_string(&written.page).unwrap();
    for name in [
        "accuracy-macs",
        "pareto",
        "progress",
        "learning-curves",
        "controller",
        "best-cells-1",
    ] {
        let svg = fs::read_to_string(run.report().join(format!("{name}.svg"))).unwrap();
        assert!(
            svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"),
            "{name}"
        );
        let png = fs::read(run.report().join(format!("{name}.png"))).unwrap();
        assert!(
            png.starts_with(b"\x89PNG") && png.len() > 10_000,
            "{name}: {} bytes",
            png.len()
        );
    }
    let described = |name: &str, text: &str| {
        let svg = fs::read_to_string(run.report().join(format!("{name}.svg"))).unwrap();
        let (title, rest) = svg.split_once("<desc>").unwrap();
        assert!(title.contains("role=\"img\" aria-label=\""), "{name}");
        let (description, _) = rest.split_once("</desc>").unwrap();
        assert!(description.contains(text), "{name}: {description}");
        assert!(page.contains(description), "{name}");
    };
    for (name, text) in [
        (
            "accuracy-macs",
            "best baseline: ResNet-18, 91.70 % test accuracy with 556 M MACs",
        ),
        ("pareto", " to 90.12 % at 170 M MACs"),
        ("progress", "; baseline ResNet-18: 91.20 %"),
        ("learning-curves", "ResNet-18 91.20 % after 8 epochs"),
        ("controller", "nasnet: Mean reward from 0."),
        ("best-cells-1", "normal (used 4 times), reduction"),
    ] {
        described(name, text);
    }
    let chart = fs::read_to_string(run.report().join("accuracy-macs.svg")).unwrap();
    for baseline in made_up::BASELINES {
        assert!(chart.contains(baseline.0), "{} is labelled", baseline.0);
        assert!(page.contains(baseline.0));
    }
    let fronts = fs::read_to_string(run.report().join("pareto.svg")).unwrap();
    for text in [
        "MACs for one image (FLOPs = 2 × MACs)",
        "Parameters",
        "Latency: ms for one image",
    ] {
        assert!(fronts.contains(text), "{text} has a panel");
    }
    let cells = fs::read_to_string(run.report().join("best-cells-1.svg")).unwrap();
    assert_eq!(
        cells.matches("\nnormal (used 4 times)\n").count(),
        1,
        "one drawing for all uses"
    );
    for word in [
        "reduction",
        "previous but one",
        "concat",
        "output",
        "conv 1×1",
    ] {
        assert!(cells.contains(word), "{word}");
    }
    assert!(page.contains("layers stand outside of cells and are not drawn."));
    assert!(page.contains("trials = 24") && page.contains("cellwright search --config"));
    assert!(
        page.contains("/nasnet --trials 48\n"),
        "more than there are"
    );
    assert!(
        page.contains("out of memory"),
        "the reason of the failed trial"
    );
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("nasnet"), 7, 12);
    let page = fs::read_to_string(
        write(std::slice::from_ref(&run), &run.report())
            .unwrap()
            .page,
    )
    .unwrap();
    let links = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(links, 0, "no foreign address but the name of SVG");
    for forbidden in ["<link", "<img", "@import", "src=\""] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_same_tables_give_the_same_files() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("nasnet"), 3, 12);
    let read = |folder: &Path| {
        let written = write(std::slice::from_ref(&run), folder).unwrap();
        written
            .files
            .iter()
            .map(|file| fs::read(file).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        read(&scratch.path().join("a")),
        read(&scratch.path().join("b"))
    );
}

#[test]
fn what_was_trained_again_is_shown_beside_the_baselines() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("run"), 1, 8);
    let rows = run.trials().unwrap().rows;
    let first = rows.iter().find(|it| it.kind == Kind::Search).unwrap();
    let again = |id, source: &Trial, kind, test| Trial {
        id,
        kind,
        source_trial: Some(source.id),
        epochs: 2 * source.epochs,
        valid_top1: Some(0.93),
        test_top1: Some(test),
        ..source.clone()
    };
    let next = run.next_trial_id().unwrap();
    let found = again(next, first, Kind::Rerank, 0.9251);
    run.write_trial(&found).unwrap();
    let baseline = again(next + 1, &rows[0], Kind::Baseline, 0.9262);
    run.write_trial(&baseline).unwrap();
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    let chart = fs::read_to_string(run.report().join("accuracy-macs.svg")).unwrap();
    let best = format!("best found (#{})", first.id);
    assert!(chart.contains(&best) && chart.contains("during the search"));
    assert!(chart.contains("92.51 %") && chart.contains("92.62 %"));
    assert!(
        !chart.contains(made_up::BASELINES[1].0),
        "trained for fewer epochs"
    );
    let page = fs::read_to_string(written.page).unwrap();
    let searched = format!(
        "in the search {:.2} %, after 8 epochs",
        100.0 * first.valid_top1.unwrap()
    );
    assert!(page.contains("92.51 %") && page.contains(&searched));
    assert_eq!(page.matches("<td>baseline, trained again</td>").count(), 1);
    assert!(page.contains("test accuracies of the search stand beside it"));
}

#[test]
fn what_failed_when_trained_longer_leaves_the_search_s_own_result() {
    let searched = [
        training(0, "VGG", None, 2, Some(0.72)),
        training(1, "ResNet", None, 2, Some(0.5)),
        training(2, "", None, 2, Some(0.7)),
    ];
    let with = |again: [Option<f64>; 3]| {
        let networks = ["VGG", "ResNet", ""];
        let again = (0u32..).zip(networks).zip(again);
        let again = again.map(|((id, name), valid)| training(id + 3, name, Some(id), 4, valid));
        drawn(&searched.iter().cloned().chain(again).collect::<Vec<_>>())
    };
    let (page, chart) = with([None; 3]);
    assert!(page.contains("Best found: #2") && page.contains("Best baseline: VGG"));
    assert!(chart.contains("best found (#2)") && !page.contains("in the verdict failed"));

    let (page, chart) = with([None, Some(0.6), Some(0.8)]);
    assert!(page.contains("Best baseline: VGG") && page.contains("in the verdict failed"));
    for text in [
        "VGG\n72.00 % validation",
        "ResNet\n60.00 % test",
        "#2\n80.00 % test",
    ] {
        assert!(chart.contains(text), "{text}");
    }
    assert!(!chart.contains("ResNet\n50.00 %"), "trained again");

    let halved = |id, rung, valid| Trial {
        rung: Some(rung),
        ..training(id, "", None, rung + 1, valid)
    };
    let (page, _) = drawn(&[halved(0, 0, Some(0.7)), halved(1, 1, None)]);
    assert!(page.contains("Best found: #0"));
}

#[test]
fn all_seeds_of_a_network_are_in_its_colour() {
    let scratch = tempfile::tempdir().unwrap();
    let run = Run::create(scratch.path().join("run"), "trials = 1").unwrap();
    let seeds = [(1, Some(0)), (2, Some(0)), (0, None)];
    for (id, source) in seeds {
        let row = training(id, "", source, 2 + 2 * id.min(1), Some(0.8));
        run.write_trial(&row).unwrap();
        let point = |epoch| CurvePoint {
            trial: id,
            epoch,
            train_loss: Some(0.5),
            valid_top1: Some(0.7 + 0.01 * f64::from(epoch + id)),
            ..CurvePoint::default()
        };
        run.write_curve(id, &[1, 2].map(point)).unwrap();
    }
    write(std::slice::from_ref(&run), &run.report()).unwrap();
    let chart = fs::read_to_string(run.report().join("learning-curves.svg")).unwrap();
    let color = color_before(&chart, "#0\n");
    let lines = chart.lines().filter(|line| line.starts_with("<polyline"));
    assert_eq!(
        lines.filter(|line| line.contains(&color)).count(),
        5,
        "two seeds in two panels, and one in the legend"
    );
    assert!(chart.contains("all others"), "the search's own");
}

#[test]
fn of_equal_networks_one_is_the_best_found() {
    let scratch = tempfile::tempdir().unwrap();
    let run = Run::create(scratch.path().join("run"), "trials = 3").unwrap();
    for id in 0..3 {
        run.write_trial(&Trial {
            id,
            macs: 5_000_000 + 100_000 * u64::from(id),
            params: 80_000 - u64::from(id),
            choices: format!("{id}"),
            valid_top1: Some(0.7),
            ..Trial::default()
        })
        .unwrap();
    }
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    let chart = fs::read_to_string(run.report().join("accuracy-macs.svg")).unwrap();
    assert_eq!(chart.matches("best found (#").count(), 1);
    assert!(chart.contains("best found (#0)"));
    let page = fs::read_to_string(written.page).unwrap();
    assert!(page.contains("Best found: #0"));
}

#[test]
fn of_successive_halving_the_highest_rung_stands_beside_the_baselines() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("run"), 1, 0);
    let trial = |id, rung: u32, accuracy| Trial {
        id,
        rung: Some(rung),
        epochs: [2, 8][rung as usize],
        macs: 5_000_000,
        params: 80_000,
        identity: "same".into(),
        valid_top1: Some(accuracy),
        test_top1: (rung == 1).then_some(accuracy),
        ..Trial::default()
    };
    let next = run.next_trial_id().unwrap();
    for (id, rung, accuracy) in [(next, 0, 0.7), (next + 1, 1, 0.8)] {
        run.write_trial(&trial(id, rung, accuracy)).unwrap();
    }
    write(std::slice::from_ref(&run), &run.report()).unwrap();
    let chart = fs::read_to_string(run.report().join("accuracy-macs.svg")).unwrap();
    assert!(chart.contains("80.00 %") && !chart.contains("70.00 %"));
    let progress = fs::read_to_string(run.report().join("progress.svg")).unwrap();
    assert!(progress.contains("trained again for longer"));
}

#[test]
fn what_costs_less_ranks_by_its_reward_and_what_was_refused_is_counted_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let aim = "[search]\ntrials = 7\n[[objective.targets]]\ncost = \"macs\"\nat = 5000\nbelow = 0\nabove = -1\n";
    let run = Run::create(scratch.path().join("run"), aim).unwrap();
    let trial = |id, valid, reward| Trial {
        id,
        macs: 5_000_000,
        params: 80_000,
        valid_top1: Some(valid),
        reward: Some(reward),
        latency_ms: Some(1.1 + f64::from(id) / 4.0),
        choices: format!("{id}"),
        ..Trial::default()
    };
    run.write_trial(&trial(0, 0.8, 0.5)).unwrap();
    run.write_trial(&trial(1, 0.7, 0.6)).unwrap();
    run.write_trial(&Trial {
        status: Status::Refused,
        reason: Some("beyond a limit: 9 params, at most 8".into()),
        valid_top1: None,
        ..trial(2, 0.0, 0.0)
    })
    .unwrap();
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    let page = fs::read_to_string(&written.page).unwrap();
    for text in [
        "Ranked by reward",
        "2 architectures searched; 1 more refused: beyond a limit",
        "refused: beyond a limit: 9 params, at most 8; 2<",
        "Best found by reward: #1",
        "/run --trials 14\n",
        "reward 0.6000; validation accuracy",
        "the best reward: accuracy × (macs / 5000)^(0 below, -1 above)",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let progress = fs::read_to_string(run.report().join("progress.svg")).unwrap();
    assert!(!progress.contains("failed"), "nothing failed");
}

#[test]
fn names_are_text_and_never_markup() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("run"), 1, 5);
    run.write_trial(&Trial {
        id: run.next_trial_id().unwrap(),
        kind: Kind::Baseline,
        space: "<script>alert(1)</script> & co".into(),
        params: 1_000_000,
        macs: 1_000_000,
        valid_top1: Some(0.5),
        epochs: 4,
        ..Trial::default()
    })
    .unwrap();
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    let page = fs::read_to_string(written.page).unwrap();
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert"));
}

#[test]
fn long_and_foreign_names_are_cut_and_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("run"), 1, 5);
    let long = "a network whose name goes on and on, so that it fits beside no dot of any panel";
    for (id, space) in [(50, long), (51, "Сеть ResNet")] {
        let rows = run.trials().unwrap().rows;
        run.write_trial(&Trial {
            id,
            space: space.into(),
            ..rows[0].clone()
        })
        .unwrap();
    }
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    for name in ["pareto.svg", "accuracy-macs.svg"] {
        let svg = fs::read_to_string(run.report().join(name)).unwrap();
        // In full in tool tips, which begin with it, and as a label cut.
        assert!(
            svg.contains("a network whose") && svg.contains(" panel\n</text>"),
            "{name}"
        );
        assert!(!svg.contains(&format!("\n{long}\n")), "{name}");
        assert!(
            svg.contains("\nСеть ResNet\n"),
            "{name}: a browser has the signs"
        );
    }
    let page = fs::read_to_string(written.page).unwrap();
    assert!(page.contains(&format!("<td>{long}</td>")));
}

#[test]
fn little_is_drawn_too_and_nothing_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let run = Run::create(scratch.path().join("run"), "trials = 1").unwrap();
    assert!(matches!(
        write(std::slice::from_ref(&run), &run.report()),
        Err(Error::Empty { .. })
    ));
    assert!(matches!(write(&[], scratch.path()), Err(Error::NoRun)));

    let failed = Trial {
        status: Status::Failed,
        reason: Some("NaN".into()),
        ..Trial::default()
    };
    run.write_trial(&failed).unwrap();
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    assert_eq!(written.files.len(), 1, "only the page: {:?}", written.files);

    let done = Trial {
        id: 1,
        macs: 5_000_000,
        params: 80_000,
        valid_top1: Some(0.7),
        reward: Some(0.7),
        ..Trial::default()
    };
    run.write_trial(&done).unwrap();
    assert_eq!(
        write(std::slice::from_ref(&run), &run.report())
            .unwrap()
            .files
            .len(),
        5
    );
}

#[test]
fn charts_of_an_earlier_report_are_removed_and_nothing_else() {
    let scratch = tempfile::tempdir().unwrap();
    let run = Run::create(scratch.path().join("run"), "trials = 1").unwrap();
    run.write_trial(&training(0, "", None, 2, Some(0.7)))
        .unwrap();
    let old = [
        "controller.svg",
        "best-cells-3.png",
        "best-cells-of-mine.png",
        "notes.svg",
    ];
    fs::create_dir_all(run.report()).unwrap();
    for name in old {
        fs::write(run.report().join(name), "").unwrap();
    }
    write(std::slice::from_ref(&run), &run.report()).unwrap();
    let left = old.map(|name| run.report().join(name).exists());
    assert_eq!(left, [false, false, true, true]);
}

#[test]
fn only_an_accuracy_has_a_regret() {
    let scratch = tempfile::tempdir().unwrap();
    let simulations = Simulations::at(scratch.path()).unwrap();
    let point = |column: &str, evaluations, mean| SimulationPoint {
        strategy: "random".into(),
        column: column.into(),
        evaluations,
        mean,
        best: 94.0,
        runs: 4,
        // One run alone has none.
        std: (column == "latency_ms").then_some(2.0),
        ..SimulationPoint::default()
    };
    let points = ["latency_ms", "valid_12ep"]
        .map(|column| [point(column, 1, 60.0), point(column, 2, 12.0)])
        .concat();
    simulations.write("random", &points).unwrap();
    fs::create_dir_all(simulations.report()).unwrap();
    let old = simulations.report().join("regret-old.svg");
    fs::write(&old, "").unwrap();
    write_simulations(&simulations, &simulations.report()).unwrap();
    let chart = |column| {
        let file = format!("regret-{column}.svg");
        fs::read_to_string(simulations.report().join(file)).unwrap()
    };
    let (cost, accuracy) = (chart("latency_ms"), chart("valid_12ep"));
    assert!(cost.contains("random 12.000 ± 1.960 after 2 evaluations"));
    assert!(!cost.contains("Regret") && !cost.contains("94.000"));
    for text in [
        "Regret in valid_12ep, percentage points",
        "random 82.000 after 2 evaluations",
    ] {
        assert!(accuracy.contains(text), "{text}");
    }
    assert!(!old.exists());
}

#[test]
fn a_narrow_cell_is_a_narrow_drawing() {
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: [3; 2],
        stride: [1; 2],
        padding: Padding::Same,
    };
    let shape = Shape {
        height: 8,
        width: 8,
        channels: 1,
    };
    let layers = [
        ("input", Layer::Input, vec![]),
        ("cell/a", Layer::Pool(pool), vec![0]),
        ("cell/b", Layer::Add, vec![0, 1]),
        ("head", Layer::GlobalAveragePool, vec![2]),
    ];
    let node = |(name, layer, inputs): (&str, Layer, Vec<usize>)| Node {
        name: name.into(),
        layer,
        inputs: inputs.as_slice().into(),
        shape,
    };
    let graph = Graph {
        nodes: layers.map(node).into(),
        output: 3,
        auxiliary: Vec::new(),
        input: shape,
        classes: 10,
    };
    let scratch = tempfile::tempdir().unwrap();
    let run = Run::create(scratch.path().join("run"), "trials = 1").unwrap();
    run.write_trial(&Trial {
        graph: Some(serde_json::to_string(&graph).unwrap()),
        ..training(0, "", None, 2, Some(0.7))
    })
    .unwrap();
    write(std::slice::from_ref(&run), &run.report()).unwrap();
    let svg = fs::read_to_string(run.report().join("best-cells-1.svg")).unwrap();
    let (_, rest) = svg.split_once(" width=\"").unwrap();
    let width = rest.split_once('"').unwrap().0.parse::<u32>().unwrap();
    assert!(width < 420, "{width}");
}

#[test]
fn of_several_verdicts_the_longest_counts_and_the_page_says_so() {
    let rows = [
        training(0, "", None, 2, Some(0.6)),
        training(1, "", None, 2, Some(0.5)),
        training(2, "", Some(0), 4, Some(0.9)),
        training(3, "", Some(1), 6, Some(0.8)),
    ];
    let (page, _) = drawn(&rows);
    assert!(page.contains("Best found: #1"));
    assert!(page.contains("The verdict after 6 epochs counts, not that after 4."));
    assert!(!drawn(&rows[..3]).0.contains("counts, not"));
    // Where a longer verdict has baselines alone, they do not stand beside what was found.
    let mut rows = rows.to_vec();
    for (id, source, epochs, accuracy) in [
        (4, None, 2, 0.5),
        (5, Some(4), 6, 0.6),
        (6, Some(4), 8, 0.7),
    ] {
        rows.push(training(id, "VGG", source, epochs, Some(accuracy)));
    }
    let (_, chart) = drawn(&rows);
    assert!(chart.contains("60.00 % test") && !chart.contains("70.00 % test"));
}

#[test]
fn a_verdict_that_was_made_counts_whatever_the_settings_say_by_now() {
    let scratch = tempfile::tempdir().unwrap();
    let run = |name: &str, rerank: u32| {
        let settings = format!("[rerank]\narchitectures = {rerank}\nepochs = 4\n");
        let run = Run::create(scratch.path().join(name), &settings).unwrap();
        run.write_trial(&training(0, "", None, 2, Some(0.6)))
            .unwrap();
        run.write_trial(&training(1, "", Some(0), 4, Some(0.7)))
            .unwrap();
        run
    };
    let written = write(&[run("a", 3), run("b", 0)], &scratch.path().join("both")).unwrap();
    assert!(written.warnings.is_empty(), "{:?}", written.warnings);
}

#[test]
fn a_damaged_file_is_a_warning_on_the_page() {
    let scratch = tempfile::tempdir().unwrap();
    let run = made_up::run(&scratch.path().join("run"), 1, 5);
    fs::write(run.folder().join("trials/00077.parquet"), "nothing").unwrap();
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    assert_eq!(written.warnings.len(), 1);
    assert!(
        fs::read_to_string(written.page)
            .unwrap()
            .contains("00077.parquet")
    );
}

/// Draws larger made-up runs for looking at, into the folder that `REPORT_FOR_LOOKING` names.
#[test]
#[ignore = "for looking at, not for checking"]
fn for_looking_at() {
    let Ok(folder) = std::env::var("REPORT_FOR_LOOKING") else {
        return;
    };
    let folder = Path::new(&folder);
    let controller = made_up::run(&folder.join("controller"), 1, 60);
    let random = made_up::run(&folder.join("random"), 2, 60);
    write(std::slice::from_ref(&controller), &controller.report()).unwrap();
    write(&[controller, random], &folder.join("both")).unwrap();
}
