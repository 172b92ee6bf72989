//! Seeds: each is a whole cluster with its misfortunes. `WEIR_SIM_SEED` and `WEIR_SIM_SEEDS` choose others.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use weir_simulation::{Checker, Mutation, Plan, partitions, run};

/// How many seeds a mutation has to be caught in.
const PATIENCE: u64 = 40;

/// With how many failed seeds no more are run.
const FAILURES_MAX: usize = 20;

fn seeds() -> Range<u64> {
    if let Ok(seed) = env::var("WEIR_SIM_SEED") {
        let seed: u64 = seed.parse().expect("WEIR_SIM_SEED is a number");
        return seed..seed + 1;
    }
    let Ok(range) = env::var("WEIR_SIM_SEEDS") else {
        return 0..500;
    };
    let (from, to) = range.split_once("..").expect("WEIR_SIM_SEEDS is from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn without_misfortune_everything_is_offered_runs_and_is_answered() {
    let plan = Plan {
        seed: 1,
        faults: false,
        mutation: None,
    };
    let report = run(plan).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.runs > 0, "{report:?}");
    assert!(report.operations > report.runs, "{report:?}");
}

#[test]
fn the_laws_hold_in_all_seeds() {
    // Each seed is a world of its own, so they run beside each other; the first that fails is told.
    let seeds = Mutex::new(seeds());
    let next = || seeds.lock().expect("nobody panics with it").next();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let crashes = AtomicU64::new(0);
    let failed: Mutex<BTreeMap<u64, String>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let plan = Plan {
                        seed,
                        faults: true,
                        mutation: None,
                    };
                    match run(plan) {
                        Ok(report) => drop(crashes.fetch_add(report.crashes, Ordering::Relaxed)),
                        Err(failure) => {
                            let mut failed = failed.lock().expect("nobody panics with it");
                            failed.insert(seed, failure.to_string());
                            if failed.len() == FAILURES_MAX {
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    if let Some((_, first)) = failed.first_key_value() {
        let verdicts: Vec<&str> = failed
            .values()
            .filter_map(|text| text.lines().rev().nth(1))
            .collect();
        panic!(
            "{first}\nfailed: {:?}\n{}",
            failed.keys(),
            verdicts.join("\n")
        );
    }
    let crashes = crashes.into_inner();
    assert!(crashes > 0, "something has ended without warning");
}

#[test]
fn network_interruptions_do_not_disrupt_for_good_as_they_did_in_mesos_0_23() {
    for seed in 0..20 {
        partitions(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_seed_gives_the_same_again() {
    let plan = Plan {
        seed: 3,
        faults: true,
        mutation: None,
    };
    let once = run(plan).unwrap_or_else(|failure| panic!("{failure}"));
    let again = run(plan).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(once, again);
}

#[test]
fn every_mutation_is_caught_by_its_checker() {
    for mutation in Mutation::ALL {
        let mut seen: BTreeMap<Checker, u64> = BTreeMap::new();
        let caught = (0..PATIENCE).any(|seed| {
            let plan = Plan {
                seed,
                faults: true,
                mutation: Some(mutation),
            };
            let Err(failure) = run(plan) else {
                return false;
            };
            let checker = failure.violation.checker;
            seen.entry(checker).or_insert(seed);
            mutation.caught_by().contains(&checker)
        });
        assert!(
            caught,
            "{mutation:?} is caught by {:?}, and not by {seen:?}",
            mutation.caught_by()
        );
    }
}
