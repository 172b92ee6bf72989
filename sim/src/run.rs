//! One seed, from the beginning to the verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::checker::{Checker, Violation};
use crate::network::Party;
use crate::world::{Failure, NODES, Plan, Report, World};

/// How long things break.
const RESTLESS: Duration = Duration::from_secs(100);

/// How long the partitions of [`partitions`] last, and the time between them.
const PARTITION: Duration = Duration::from_secs(15);

/// Runs one seed.
///
/// # Errors
///
/// If a law did not hold.
pub fn run(plan: Plan) -> Result<Report, Box<Failure>> {
    judged(plan, |world| {
        world.run_until(world.now + RESTLESS);
    })
}

/// Runs one seed in which the network breaks again and again between every two, and nothing else does: the
/// scenario of the 2015 report on Mesos 0.23, where such interruptions disrupted a cluster for good.
///
/// # Errors
///
/// If a law did not hold, or nothing ran after the last partition had healed.
pub fn partitions(seed: u64) -> Result<Report, Box<Failure>> {
    let plan = Plan {
        seed,
        faults: false,
        mutation: None,
    };
    judged(plan, |world| {
        for round in 0..6 {
            let parties = (0..NODES).map(Party::Agent);
            let parties = parties.chain((0..NODES).map(Party::Framework));
            for party in parties.skip(round % 2).step_by(1 + round % 3) {
                world.partition(party, PARTITION);
            }
            world.run_until(world.now + PARTITION * 2);
        }
        let before = world.witness.runs.len();
        world.run_until(world.now + RESTLESS);
        if world.witness.runs.len() == before {
            world.violate(
                Checker::Idle,
                "nothing runs after the partitions have healed",
            );
        }
    })
}

fn judged(plan: Plan, live: impl FnOnce(&mut World)) -> Result<Report, Box<Failure>> {
    let mut world = World::new(plan);
    // The ledger asserts its laws after every step of a debug build.
    let lived = catch_unwind(AssertUnwindSafe(|| {
        live(&mut world);
        if world.violation.is_none() {
            world.finish();
        }
    }));
    if let Err(panic) = lived {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        let what = text.unwrap_or_else(|| "an assertion does not hold".to_owned());
        world.violation = Some(Violation {
            checker: Checker::Conservation,
            what,
        });
    }
    let runs = world.witness.runs.len();
    let operations = world.frameworks.iter().map(|own| own.operations.len());
    let report = Report {
        runs,
        operations: operations.sum(),
        ..world.report
    };
    match world.violation.take() {
        None => Ok(report),
        Some(violation) => Err(Box::new(Failure {
            seed: plan.seed,
            violation,
            trace: world.trace.into(),
        })),
    }
}
