//! Successive halving with every strategy: the run as it is, with an evaluator that computes
//! accuracies instead of training.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cellwright_graph::Shape;
use cellwright_ledger::{Kind, Run, Status, Trial};
use cellwright_search::Error;
use cellwright_search::evaluator::{Evaluator, Progress, Request, Row, Watch};
use cellwright_search::run::{
    DatasetConfig, DeviceSpec, Ending, MachineConfig, RerankConfig, RunConfig, RunWatch,
    SearchConfig, Settings, SpaceSource, VERSION,
};
use cellwright_search::schedule::Halving;
use cellwright_search::strategy;

/// Accuracies from a hash of the choices, better with more epochs; one in eight fails, and some take
/// longer than others. Where there are limits, another one in eight is refused, as one is whose latency
/// turned out to be beyond.
struct Computed {
    slots: usize,
}

impl Evaluator for Computed {
    fn slots(&self) -> usize {
        self.slots
    }

    fn evaluate(&self, _slot: usize, request: &Request, _watch: &dyn Watch) -> Result<Row, Error> {
        let mut hasher = DefaultHasher::new();
        (&request.choices.to_string(), request.training.epochs).hash(&mut hasher);
        let hash = hasher.finish();
        std::thread::sleep(Duration::from_micros(hash % 1_000));
        let status = match hash % 8 {
            0 => Status::Failed,
            1 if !request.limits.is_empty() => Status::Refused,
            _ => Status::Done,
        };
        let longer = 0.4 * (1.0 - 1.0 / request.training.epochs as f64);
        let accuracy = longer + (hash % 1_000) as f64 / 2_000.0;
        let trial = Trial {
            id: request.id,
            kind: request.kind,
            status,
            choices: request.choices.to_string(),
            identity: request.choices.to_string(),
            epochs: request.training.epochs as u32,
            rung: request.rung,
            source_trial: request.source,
            seed: request.training.seed,
            valid_top1: (status == Status::Done).then_some(accuracy),
            ..Trial::default()
        };
        Ok(Row {
            trial,
            curve: Vec::new(),
            unsaved: None,
        })
    }
}

struct Silent;

impl RunWatch for Silent {
    fn started(&self, _slot: usize, _request: &Request) {}
    fn progress(&self, _slot: usize, _progress: Progress) {}
    fn finished(&self, _slot: usize, _row: &Row) {}
    fn stopped(&self) -> bool {
        false
    }
}

fn config(strategy: &str, trials: u32) -> RunConfig {
    let spaces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces");
    let small = [("repeats".to_owned(), "1".to_owned())];
    RunConfig {
        objective: cellwright_search::Objective::default(),
        version: VERSION,
        search: SearchConfig {
            strategy: strategy.to_owned(),
            trials,
            seed: 5,
            halving: Some(Halving {
                reduction: 3,
                least_epochs: 1,
            }),
        },
        dataset: DatasetConfig {
            name: "computed".to_owned(),
            root: PathBuf::new(),
            digest: None,
        },
        machine: MachineConfig {
            device: DeviceSpec::Cpu,
            workers: 1,
            threads: 1,
        },
        training: Settings {
            epochs: 9,
            ..Settings::default()
        },
        rerank: RerankConfig {
            architectures: 2,
            epochs: 12,
            seeds: 1,
        },
        space: SpaceSource::read(&spaces.join("nasbench201.toml"), &small).unwrap(),
        baselines: Vec::new(),
    }
}

/// Runs what is left of a run, which is to complete, and gives its rows without times.
fn run(config: &RunConfig, folder: &Path, slots: usize) -> Vec<Trial> {
    let (ending, rows) = run_on(config, folder, slots);
    assert_eq!(ending, Ending::Complete);
    rows
}

/// As [`run`], with how it ends.
fn run_on(config: &RunConfig, folder: &Path, slots: usize) -> (Ending, Vec<Trial>) {
    let run = Run::open(folder).or_else(|_| Run::create(folder, &config.to_toml().unwrap()));
    let run = run.unwrap();
    let input = Shape {
        height: 8,
        width: 8,
        channels: 3,
    };
    let evaluator = Computed { slots };
    let ending = cellwright_search::run::run(config, input, 10, &run, &evaluator, &Silent).unwrap();
    (ending, run.trials().unwrap().rows)
}

#[test]
fn a_search_ends_before_its_epochs_only_where_nothing_new_is_left() {
    let space = |blocks: &str, layers: &str| {
        let end = "{ op = \"global_avg_pool\" },\n{ op = \"linear\", units = \"classes\" },";
        SpaceSource {
            path: "space.toml".into(),
            set: Vec::new(),
            text: format!("name = \"small\"\n{blocks}[network]\nlayers = [\n{layers}{end}\n]\n"),
        }
    };
    // Each block has another one in it or not, so half of what is sampled has none, and 2^-20 have all.
    let block = |depth: usize| {
        let inner = format!(
            "{{ op = {{ choose = [\"swish\", \"block{}\"] }} }}",
            depth + 1
        );
        format!("[blocks.block{depth}]\nlayers = [{{ op = \"conv\", filters = 2 }}, {inner}]\n")
    };
    let last = "[blocks.block20]\nlayers = [{ op = \"conv\", filters = 2 }]\n";
    let blocks = (0..20).map(block).collect::<String>() + last;
    let nested = space(&blocks, "{ op = \"block0\" },\n");
    // Each layer is on the input, so all but the last are dead.
    let layer = "{ op = { choose = [\"relu\", \"swish\"] }, from = \"input\" },\n";
    let alike = space("", &layer.repeat(20));
    let folder = tempfile::tempdir().unwrap();
    let mut config = config("random", 100);
    config.search.halving = None;
    config.rerank = RerankConfig::NONE;
    config.space = nested;
    for name in ["random", "evolution", "local-search"] {
        config.search.strategy = name.to_owned();
        let place = |of: &str| folder.path().join(name).join(of);
        let (ending, one) = run_on(&config, &place("one"), 1);
        let choices: HashSet<&String> = one.iter().map(|it| &it.choices).collect();
        assert_eq!((ending, choices.len()), (Ending::Exhausted, 21), "{name}");
        assert_eq!(run_on(&config, &place("many"), 4), (ending, one.clone()));
        // As if killed while the last that its strategy did not ask for were trained.
        for id in [17, 19, 20] {
            std::fs::remove_file(place("many").join(format!("trials/{id:05}.parquet"))).unwrap();
        }
        assert_eq!(run_on(&config, &place("many"), 4), (ending, one));
    }
    config.space = alike;
    let (ending, rows) = run_on(&config, &folder.path().join("alike"), 1);
    assert_eq!((ending, rows.len()), (Ending::NothingNew, 2));
}

#[test]
fn every_strategy_halves_the_same_with_any_slots_and_after_a_kill() {
    for name in strategy::names() {
        let config = config(name, 4);
        let folder = tempfile::tempdir().unwrap();
        let one = run(&config, &folder.path().join("one"), 1);
        let many = run(&config, &folder.path().join("many"), 4);
        assert_eq!(one, many, "{name}: slots");

        // As if killed with three trainings under way, of which one later was done.
        for id in [one.len() - 5, one.len() - 4, one.len() - 2] {
            let path = folder.path().join(format!("many/trials/{id:05}.parquet"));
            std::fs::remove_file(path).unwrap();
        }
        let resumed = run(&config, &folder.path().join("many"), 3);
        assert_eq!(one, resumed, "{name}: resumed");

        let search: Vec<&Trial> = one.iter().filter(|it| it.kind == Kind::Search).collect();
        let epochs: u32 = search.iter().map(|it| it.epochs).sum();
        assert!(
            (28..=36).contains(&epochs),
            "{name}: {epochs} of 4 x 9 epochs"
        );
        assert!(
            search.iter().any(|it| it.rung == Some(1)),
            "{name}: promoted"
        );
        climb_rung_by_rung(&search);
        only_the_best_third_climbs(&search);

        // More trials go on with the same sequence.
        let more = self::config(name, 6);
        let more = run(&more, &folder.path().join("more"), 2);
        assert_eq!(
            search,
            more[..search.len()].iter().collect::<Vec<_>>(),
            "{name}: more"
        );
    }
}

/// Each row is of a rung that its architecture was not on before, and on the one below it did well.
fn climb_rung_by_rung(search: &[&Trial]) {
    let mut reached = HashSet::new();
    for trial in search {
        let rung = trial.rung.unwrap();
        assert_eq!(trial.epochs, [1, 3, 9][rung as usize]);
        assert!(reached.insert((rung, &trial.choices)), "once on a rung");
        assert!(rung == 0 || reached.contains(&(rung - 1, &trial.choices)));
        if rung > 0 {
            let mut below = search.iter().filter(|it| it.choices == trial.choices);
            let below = below.find(|it| it.rung == Some(rung - 1)).unwrap();
            assert_eq!(below.status, Status::Done, "a failure is not promoted");
        }
    }
}

/// Each row on a higher rung was in the best third of all that were trained on the one below before it.
fn only_the_best_third_climbs(search: &[&Trial]) {
    for trial in search.iter().filter(|it| it.rung > Some(0)) {
        let below = trial.rung.map(|rung| rung - 1);
        let mut trained: Vec<&&Trial> = search
            .iter()
            .filter(|it| it.id < trial.id && it.rung == below && it.status != Status::Refused)
            .collect();
        // A failure is the worst, and the sort keeps the order of ids among equals.
        trained.sort_by(|a, b| b.valid_top1.partial_cmp(&a.valid_top1).unwrap());
        let rank = trained.iter().position(|it| it.choices == trial.choices);
        let (rank, count) = (rank.unwrap(), trained.len());
        assert!(rank < count / 3, "trial {}: {rank} of {count}", trial.id);
    }
}

#[test]
fn the_verdict_takes_the_best_of_the_highest_rung() {
    let folder = tempfile::tempdir().unwrap();
    let rows = run(&config("random", 12), &folder.path().join("run"), 2);
    let highest = |it: &&Trial| it.kind == Kind::Search && it.rung == Some(2);
    let mut best: Vec<&Trial> = rows.iter().filter(highest).collect();
    best.retain(|it| it.status == Status::Done);
    best.sort_by(|a, b| b.valid_top1.unwrap().total_cmp(&a.valid_top1.unwrap()));
    assert!(!best.is_empty());
    let again = rows.iter().find(|it| it.kind == Kind::Rerank).unwrap();
    assert_eq!((again.source_trial, again.epochs), (Some(best[0].id), 12));
}

#[test]
fn what_is_beyond_a_limit_takes_no_epochs_and_is_not_promoted() {
    for name in strategy::names() {
        let mut config = config(name, 4);
        let limit = "macs=1.1M".parse().unwrap();
        config.objective.limits.push(limit);
        let folder = tempfile::tempdir().unwrap();
        let one = run(&config, &folder.path().join("one"), 1);
        let many = run(&config, &folder.path().join("many"), 4);
        let told = |rows: &[Trial]| -> Vec<(u32, String, u32, Status, Option<f64>)> {
            let key = |it: &Trial| (it.id, it.choices.clone(), it.epochs, it.status, it.reward);
            rows.iter().map(key).collect()
        };
        assert_eq!(told(&one), told(&many), "{name}: slots");
        let search = one.iter().filter(|it| it.kind == Kind::Search);
        only_the_best_third_climbs(&search.clone().collect::<Vec<_>>());
        let beyond = |it: &&Trial| it.macs as f64 > limit.at_most;
        let (refused, tried): (Vec<&Trial>, Vec<&Trial>) = search.partition(beyond);
        assert!(!refused.is_empty(), "{name}: the limit is within the space");
        assert!(
            refused
                .iter()
                .all(|it| it.status == Status::Refused && it.rung == Some(0))
        );
        let epochs: u32 = tried.iter().map(|it| it.epochs).sum();
        assert!(
            (28..=36).contains(&epochs),
            "{name}: {epochs} of 4 x 9 epochs"
        );
        // A row of each kind is lost: going on gives the same.
        for id in [refused[0].id, tried[1].id] {
            std::fs::remove_file(folder.path().join(format!("many/trials/{id:05}.parquet")))
                .unwrap();
        }
        let resumed = run(&config, &folder.path().join("many"), 3);
        assert_eq!(told(&one), told(&resumed), "{name}: resumed");
    }
}

#[test]
fn a_lost_row_of_the_verdict_is_not_the_searchs() {
    let all = tempfile::tempdir().unwrap();
    let mut config = config("random", 3);
    config.search.halving = None;
    let search = |rows: &[Trial]| -> Vec<(u32, String)> {
        let rows = rows.iter().filter(|it| it.kind == Kind::Search);
        rows.map(|it| (it.id, it.choices.clone())).collect()
    };
    // Three trials, the verdict, and a fourth trial behind it.
    let extended = |name: &str, lost: &[u32]| {
        let folder = all.path().join(name);
        let mut config = config.clone();
        let begun = run(&config, &folder, 2);
        assert_eq!(begun[3].kind, Kind::Rerank);
        config.search.trials = 4;
        let whole = run(&config, &folder, 2);
        assert_eq!(search(&whole).len(), 4);
        for id in lost {
            std::fs::remove_file(folder.join(format!("trials/{id:05}.parquet"))).unwrap();
        }
        (folder, config, search(&whole))
    };
    let (folder, mut config, whole) = extended("verdict", &[3]);
    let last = whole[3].0;
    assert!(last > 4);
    assert_eq!(search(&run(&config, &folder, 2)), whole);
    config.search.trials = 6;
    let more = search(&run(&config, &folder, 2));
    assert_eq!(more[..4], whole);

    // A lost row of the search is run again beside it: at its place, or where nothing stands behind it, at the first
    // that is free.
    let architectures = |rows: &[(u32, String)]| -> Vec<String> {
        rows.iter().map(|(_, choices)| choices.clone()).collect()
    };
    for (name, lost) in [("both", [1, 3]), ("behind", [3, last])] {
        let (folder, mut config, whole) = extended(name, &lost);
        let resumed = search(&run(&config, &folder, 2));
        assert_eq!(architectures(&resumed), architectures(&whole), "{name}");
        config.search.trials = 6;
        let resumed = search(&run(&config, &folder, 2));
        assert_eq!(architectures(&resumed), architectures(&more), "{name}");
    }
}

#[test]
fn a_run_that_would_try_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config("random", 3);
    run(&config, folder.path(), 1);
    // Also where the first row is lost.
    std::fs::remove_file(folder.path().join("trials/00000.parquet")).unwrap();
    config.search.seed += 1;
    let run = Run::open(folder.path()).unwrap();
    let input = Shape {
        height: 8,
        width: 8,
        channels: 3,
    };
    let evaluator = Computed { slots: 1 };
    let ending = cellwright_search::run::run(&config, input, 10, &run, &evaluator, &Silent);
    assert!(matches!(ending, Err(Error::Diverged { .. })));
}

/// Breaks in every trial.
struct Broken;

impl Evaluator for Broken {
    fn slots(&self) -> usize {
        2
    }

    fn evaluate(&self, _slot: usize, _request: &Request, _watch: &dyn Watch) -> Result<Row, Error> {
        panic!("no threads are left")
    }
}

#[test]
fn an_evaluator_that_breaks_ends_the_run_with_an_error() {
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        let config = config("random", 4);
        let run = Run::create(folder.path(), &config.to_toml().unwrap()).unwrap();
        let input = Shape {
            height: 8,
            width: 8,
            channels: 3,
        };
        let ending = cellwright_search::run::run(&config, input, 10, &run, &Broken, &Silent);
        let _ = sender.send(ending.unwrap_err().to_string());
    });
    let error = ended.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(error.contains("no threads are left"), "{error}");
}

/// Where costs count, an architecture that computes what a dearer one does is tried as well: its reward differs, and
/// a limit refuses the one and not the other.
#[test]
fn layers_of_which_nothing_comes_cost_what_they_cost() {
    let space = r#"
name = "dead"
[blocks.dear]
layers = [{ op = "conv", kernel = 3, filters = 8 }]
[network]
layers = [
  { name = "x", op = "conv", kernel = 3, filters = 8 },
  { op = { choose = ["dear", "identity", "relu"] } },
  { op = "zero" },
  { op = "add", from = ["x", -1] },
  { op = "global_avg_pool" },
  { op = "linear", units = "classes" },
]
"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dead.toml");
    std::fs::write(&file, space).unwrap();
    let mut config = config("random", 3);
    (config.search.halving, config.rerank.architectures) = (None, 0);
    config.space = SpaceSource::read(&file, &[]).unwrap();
    let costs = |config: &RunConfig, name: &str| -> Vec<u64> {
        let (ending, rows) = run_on(config, &folder.path().join(name), 1);
        assert_eq!(ending, Ending::Exhausted);
        let mut costs: Vec<u64> = rows.iter().map(|it| it.params).collect();
        costs.sort_unstable();
        costs
    };
    assert_eq!(costs(&config, "accuracy").len(), 1);
    config.objective.targets.push("params=500".parse().unwrap());
    assert_eq!(costs(&config, "target").len(), 2);
    config.objective.targets.clear();
    config.objective.limits.push("params=500".parse().unwrap());
    assert_eq!(costs(&config, "limit").len(), 2);
}
