//! The formula against numbers worked out by hand, and the text form.

use super::*;

fn trial(accuracy: f64, macs: u64, latency: Option<f64>) -> Trial {
    Trial {
        valid_top1: Some(accuracy),
        macs,
        params: 1_000,
        latency_ms: latency,
        ..Trial::default()
    }
}

fn objective(targets: &[&str], limits: &[&str]) -> Objective {
    Objective {
        targets: targets.iter().map(|text| text.parse().unwrap()).collect(),
        limits: limits.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn close(a: Option<f64>, b: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() < 1e-9)
}

#[test]
fn the_soft_constraint_is_mnasnets() {
    // 2^-0.07 = 0.952638...: the paper's "5 % relative gain for doubling the latency".
    let soft = objective(&["latency=75ms"], &[]);
    assert!(close(soft.reward(&trial(0.5, 1, Some(75.0))), 0.5));
    assert!(close(
        soft.reward(&trial(0.5, 1, Some(150.0))),
        0.476_318_999_0
    ));
    assert!(close(
        soft.reward(&trial(0.5, 1, Some(37.5))),
        0.524_858_341_8
    ));
    // The paper's pair: accuracy a at latency l, and 1.05 a at 2 l, have about the same reward.
    let (one, other) = (
        soft.reward(&trial(0.70, 1, Some(60.0))).unwrap(),
        soft.reward(&trial(0.735, 1, Some(120.0))).unwrap(),
    );
    assert!((one / other - 1.0).abs() < 0.001, "{one} {other}");
}

#[test]
fn the_hard_constraint_punishes_one_side() {
    let hard = objective(&["macs=20M:hard"], &[]);
    assert!(close(hard.reward(&trial(0.8, 5_000_000, None)), 0.8));
    assert!(close(hard.reward(&trial(0.8, 20_000_000, None)), 0.8));
    assert!(close(hard.reward(&trial(0.8, 80_000_000, None)), 0.2));
}

#[test]
fn several_targets_multiply() {
    // (4)^-0.5 = 1/2 and (1000/4000)^-0.5 = 2.
    let both = objective(&["macs=1M:-0.5", "params=4k:-0.5:-1"], &[]);
    assert!(close(both.reward(&trial(0.6, 4_000_000, None)), 0.6));
}

#[test]
fn what_is_not_measured_has_no_reward() {
    let latency = objective(&["latency=5ms"], &[]);
    assert_eq!(latency.reward(&trial(0.9, 1, None)), None);
    assert_eq!(latency.reward(&trial(0.9, 1, Some(0.0))), None);
    let failed = Trial {
        status: Status::Failed,
        ..trial(0.9, 1, Some(5.0))
    };
    assert_eq!(latency.reward(&failed), None);
    assert_eq!(Objective::default().reward(&trial(0.9, 1, None)), Some(0.9));
    let free = objective(&["macs=1M"], &[]).reward(&trial(0.5, 0, None));
    assert!(free.is_some_and(f64::is_finite));
}

#[test]
fn limits_hold_at_the_limit_and_say_what_is_beyond() {
    let limits = ["macs=2M", "latency=1ms"].map(|text| text.parse().unwrap());
    assert_eq!(beyond(&limits, &trial(0.9, 2_000_000, None)), None);
    assert_eq!(
        beyond(&limits, &trial(0.9, 2_000_001, None)).unwrap(),
        "beyond a limit: 2000001 MACs (4000002 FLOPs), at most 2000000 MACs (4000000 FLOPs)"
    );
    assert!(
        beyond(&limits, &trial(0.9, 1, Some(1.5)))
            .unwrap()
            .contains("1.500 ms")
    );
}

#[test]
fn a_target_reads_and_writes() {
    for (text, below, above) in [
        ("macs=20M", -0.07, -0.07),
        ("macs=20000k : -0.5", -0.5, -0.5),
        ("macs=0.02G:0:-1", 0.0, -1.0),
    ] {
        let target: Target = text.parse().unwrap();
        assert_eq!(
            (target.at, target.below, target.above),
            (2e7, below, above),
            "{text}"
        );
        let whole = objective(&[text], &["params=1M"]);
        let written = toml::to_string(&whole).unwrap();
        assert_eq!(toml::from_str::<Objective>(&written).unwrap(), whole);
    }
}

#[test]
fn what_is_wrong_is_told_with_the_next_step() {
    for (text, part) in [
        ("macs", "such as macs=20M"),
        ("flops=3M", "there are: macs, params, latency"),
        ("macs=20m", "such as 20M or 300k"),
        ("macs=-3", "above 0"),
        ("macs=inf", "above 0"),
        ("macs=3M:0.07", "0 or less"),
        ("macs=3M:soft", "nor the word hard"),
        ("macs=3M:0:0:0", "too many exponents"),
        ("latency=5s", "such as 5ms"),
    ] {
        let error = text.parse::<Target>().unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    let text = "[[limits]]\ncost = \"macs\"\nat_most = 0\n";
    let error = toml::from_str::<Objective>(text).unwrap_err().to_string();
    assert!(
        error.contains("line 3") && error.contains("above 0"),
        "{error}"
    );
}
