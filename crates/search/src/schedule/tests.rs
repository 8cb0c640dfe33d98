//! Promotions and told rewards against examples computed by hand.

use super::*;

fn halving(reduction: u32, least_epochs: usize) -> Halving {
    Halving {
        reduction,
        least_epochs,
    }
}

/// Records rewards of new architectures on the lowest rung.
fn begin(schedule: &mut Schedule, first: usize, rewards: &[f64]) {
    for (index, reward) in rewards.iter().enumerate() {
        let job = Job {
            architecture: first + index,
            rung: 0,
        };
        schedule.record(job, Outcome::Reward(*reward));
    }
}

/// The promotions as (architecture, rung).
fn promoted(schedule: &mut Schedule) -> Vec<(usize, usize)> {
    let jobs = schedule.promotions();
    jobs.iter().map(|it| (it.architecture, it.rung)).collect()
}

fn record(schedule: &mut Schedule, architecture: usize, rung: usize, reward: f64) {
    schedule.record(Job { architecture, rung }, Outcome::Reward(reward));
}

#[test]
fn rungs_grow_by_the_reduction_and_end_with_all_epochs() {
    assert_eq!(halving(3, 1).rungs(9), Ok(vec![1, 3, 9]));
    assert_eq!(halving(3, 1).rungs(10), Ok(vec![1, 3, 10]));
    assert_eq!(halving(3, 1).rungs(26), Ok(vec![1, 3, 26]));
    assert_eq!(halving(2, 3).rungs(7), Ok(vec![3, 7]));
    assert!(halving(3, 1).rungs(2).is_err(), "too few for two rungs");
    assert!(halving(1, 1).rungs(9).is_err());
    assert!(halving(3, 0).rungs(9).is_err());
    let huge = halving(u32::MAX, usize::MAX).rungs(9);
    assert!(huge.is_err());
}

#[test]
fn the_top_third_of_all_history_is_promoted_once() {
    let mut schedule = Schedule::new(9, Some(halving(3, 1))).unwrap();
    begin(&mut schedule, 0, &[0.5, 0.7]);
    assert_eq!(
        promoted(&mut schedule),
        [],
        "two results: a third of them is none"
    );
    begin(&mut schedule, 2, &[0.6, 0.4, 0.3, 0.2, 0.1]);
    // Seven results: the best two.
    assert_eq!(promoted(&mut schedule), [(1, 1), (2, 1)]);
    record(&mut schedule, 1, 1, 0.75);
    record(&mut schedule, 2, 1, 0.80);
    assert_eq!(promoted(&mut schedule), []);
    // Nine results, three places: 7, 1 and 2. 8 is passed over.
    begin(&mut schedule, 7, &[0.9, 0.55]);
    assert_eq!(promoted(&mut schedule), [(7, 1)]);
    record(&mut schedule, 7, 1, 0.78);
    // Three results on rung 1: the best is promoted, whatever it was on rung 0.
    assert_eq!(promoted(&mut schedule), [(2, 2)]);
    record(&mut schedule, 2, 2, 0.9);
    // Twelve results, four places: 7, 1, 2 and 8, which has waited.
    begin(&mut schedule, 9, &[0.0, 0.0, 0.0]);
    assert_eq!(promoted(&mut schedule), [(8, 1)]);
}

#[test]
fn equals_are_promoted_in_the_order_of_requests_and_failures_never() {
    let mut schedule = Schedule::new(4, Some(halving(2, 2))).unwrap();
    let failed = Job {
        architecture: 0,
        rung: 0,
    };
    schedule.record(failed, Outcome::Failed);
    begin(&mut schedule, 1, &[0.5, 0.5, 0.5]);
    assert_eq!(promoted(&mut schedule), [(1, 1), (2, 1)]);
    begin(&mut schedule, 4, &[]);
    assert_eq!(schedule.told(0), None);
    schedule.record(
        Job {
            architecture: 1,
            rung: 1,
        },
        Outcome::Failed,
    );
    assert_eq!(schedule.told(1), None, "it failed on the higher rung");
}

#[test]
fn what_was_refused_counts_on_no_rung_and_is_told_as_failed() {
    let mut schedule = Schedule::new(9, Some(halving(3, 1))).unwrap();
    let refuse = |schedule: &mut Schedule, architecture, rung| {
        schedule.record(Job { architecture, rung }, Outcome::Refused);
    };
    begin(&mut schedule, 0, &[0.5, 0.6]);
    (10..20).for_each(|it| refuse(&mut schedule, it, 0));
    assert_eq!(promoted(&mut schedule), [], "two of twelve were trained");
    let failed = Job {
        architecture: 2,
        rung: 0,
    };
    schedule.record(failed, Outcome::Failed);
    assert_eq!(
        promoted(&mut schedule),
        [(1, 1)],
        "what failed was trained: a third of three is one"
    );
    // Refused on a higher rung, as when its latency was measured anew.
    refuse(&mut schedule, 1, 1);
    assert_eq!((schedule.told(1), schedule.told(10)), (None, None));
    begin(&mut schedule, 3, &[0.7, 0.8, 0.4]);
    assert_eq!(promoted(&mut schedule), [(4, 1), (3, 1)]);
    record(&mut schedule, 4, 1, 0.9);
    record(&mut schedule, 3, 1, 0.9);
    assert_eq!(promoted(&mut schedule), [], "two of three were trained");
}

#[test]
fn rewards_are_told_on_the_scale_of_the_lowest_rung() {
    let mut schedule = Schedule::new(9, Some(halving(3, 1))).unwrap();
    begin(&mut schedule, 0, &[0.5, 0.6, 0.1, 0.1, 0.1, 0.1]);
    promoted(&mut schedule);
    // Gains 0.2 and 0.3, 0.25 on average.
    record(&mut schedule, 1, 1, 0.8);
    record(&mut schedule, 0, 1, 0.8);
    let told = |schedule: &Schedule, architecture| schedule.told(architecture).unwrap_or(f64::NAN);
    assert!((told(&schedule, 0) - 0.55).abs() < 1e-12);
    assert!((told(&schedule, 1) - 0.55).abs() < 1e-12);
    assert!((told(&schedule, 2) - 0.1).abs() < 1e-12);
    // The only one on the highest rung gains what the average gains: nothing is added by the climb.
    record(&mut schedule, 1, 2, 0.95);
    assert!((told(&schedule, 1) - 0.55).abs() < 1e-12);
    assert_eq!(schedule.told(17), None);
}

#[test]
fn without_halving_the_reward_is_told_and_nothing_is_promoted() {
    let mut schedule = Schedule::new(9, None).unwrap();
    begin(&mut schedule, 0, &[0.5, 0.6, 0.7, 0.8]);
    assert_eq!(promoted(&mut schedule), []);
    assert_eq!(schedule.told(3), Some(0.8));
    assert_eq!((schedule.epochs(0), schedule.is_highest(0)), (9, true));
}
