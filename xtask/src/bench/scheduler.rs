//! `cargo xtask bench scheduler`: two programs of the scheduler's `benches/`, several times each, and
//! what their figures are to be judged by.

use anyhow::{Context as _, Result, bail};

use super::figures::{Figures, number, table};
use super::record;
use crate::command::{captured, cargo};
use crate::tree;

/// Offers a second, with 10,000 agents and 1,000 frameworks that decline them all.
const OFFERS_MIN: f64 = 100_000.0;
const FREED_IN_PROCESS_MS: f64 = 1.0;
const FREED_OVER_QUIC_MS: f64 = 10.0;
const ACCEPTS_MIN: f64 = 5_000.0;
const IDLE_KIBIBYTES: f64 = 50.0;

/// How many frameworks accept at the same time.
const CALLERS: [u32; 3] = [1, 32, 128];

/// How much is measured.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SchedulerArguments {
    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Try out every measurement rather than measure
    #[arg(long)]
    quick: bool,
    /// Keep the tables in ci/benchmarks.md
    #[arg(long)]
    write: bool,
}

pub(super) fn run(arguments: &SchedulerArguments) -> Result<()> {
    let &SchedulerArguments {
        rounds,
        quick,
        write,
    } = arguments;
    if write && quick {
        bail!("only a whole run is kept: --write does not go with --quick");
    }
    let mut figures = Figures::default();
    for _ in 0..rounds {
        for (bench, quickly) in [
            (
                "allocator",
                &["--agents=500", "--frameworks=50", "--offers=20000"][..],
            ),
            (
                "daemon",
                &["--connections=100", "--ends=200", "--seconds=1"],
            ),
        ] {
            let mut command = cargo();
            command.args(["bench", "--locked", "--package=weir-scheduler"]);
            command.arg(format!("--bench={bench}")).arg("--");
            if quick {
                command.args(quickly);
            }
            figures.read(&captured(&mut command)?)?;
        }
    }
    let tables = tables(&figures)?;
    println!("{tables}");
    if write {
        let command = format!("cargo xtask bench scheduler --rounds={rounds}");
        record::write("scheduler", &command, &tables)?;
    } else {
        let path = tree::target().join("bench-scheduler.md");
        std::fs::write(&path, &tables)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn tables(figures: &Figures) -> Result<String> {
    Ok([
        goals(figures)?,
        allocator(figures)?,
        freed(figures)?,
        accepts(figures)?,
        idle(figures)?,
    ]
    .concat())
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn goals(figures: &Figures) -> Result<String> {
    let mut rows = vec![row(["goal", "measured", "reached"])];
    let mut judge = |goal: String, measured: String, is_met: bool| {
        let verdict = if is_met { "yes" } else { "**NO**" };
        rows.push(vec![goal, measured, verdict.to_owned()]);
    };
    let offers = figures.median("declining_rate")?;
    judge(
        "100,000 offers/s, all declined (Mesos 1.7.1: 9,434; near 0.23: 70)".to_owned(),
        format!("{} offers/s", number(offers, 0)),
        offers >= OFFERS_MIN,
    );
    for (name, where_) in [
        ("freed", "all frameworks have tasks"),
        ("behind", "nine of ten refuse all"),
    ] {
        let freed = figures.median(&format!("{name}_p99"))? / 1e3;
        judge(
            format!("what is freed is offered within 1 ms (p99), in process, {where_}"),
            format!("{freed:.3} ms"),
            freed <= FREED_IN_PROCESS_MS,
        );
    }
    let freed = figures.median("freed_over_quic_p99")?;
    judge(
        "what is freed is offered within 10 ms (p99), over QUIC".to_owned(),
        format!("{freed:.1} ms"),
        freed <= FREED_OVER_QUIC_MS,
    );
    let callers = CALLERS[CALLERS.len() - 1];
    let accepts = figures.median(&format!("accepts_{callers}_rate"))?;
    judge(
        format!("5,000 durable accepts/s, {callers} callers"),
        format!("{} accepts/s", number(accepts, 0)),
        accepts >= ACCEPTS_MIN,
    );
    let idle = figures.median("idle_per_agent")?;
    judge(
        "an idle agent needs at most 50 KiB of the daemon".to_owned(),
        format!("{idle:.1} KiB"),
        idle <= IDLE_KIBIBYTES,
    );
    Ok(table(
        "What was to be reached",
        "By the medians of the rounds; in brackets, below, the least and the most of them. Programs that measure the daemon run on the same \
         processors as it does.",
        &rows,
    ))
}

fn allocator(figures: &Figures) -> Result<String> {
    let mut rows = vec![row(["event", "p50", "p99", "the slowest"])];
    for (name, event) in [
        ("declining", "an offer is declined, and made to the next"),
        ("freed", "a task ends, and what it had is granted"),
        (
            "behind",
            "the same, past nine frameworks of ten that refuse it",
        ),
        (
            "refused",
            "an agent is freed that all but one framework refuse",
        ),
        (
            "revive_call",
            "a framework wants everything again: one poll",
        ),
        ("revive_all_agents", "the same, until it has 1,000 agents"),
        ("added", "an agent comes"),
        ("updated", "an agent lends more"),
        ("removed", "an agent goes"),
    ] {
        let mut cells = row([event]);
        for part in ["p50", "p99", "max"] {
            cells.push(figures.text(&format!("{name}_{part}"), 1)?);
        }
        rows.push(cells);
    }
    let about = format!(
        "In process and by one thread, 10,000 agents and 1,000 frameworks of one role; microseconds from the event to the end of the poll that \
         follows. Offers declined: {} a second by the clock, {} a second of processor time.",
        figures.text("declining_rate", 0)?,
        figures.text("declining_rate_on_cpu", 0)?,
    );
    Ok(table("The allocator, in Mesos' own shape", &about, &rows))
}

fn freed(figures: &Figures) -> Result<String> {
    let mut rows = vec![row(["p50", "p99", "p99.9", "the slowest"])];
    let mut cells = Vec::new();
    for part in ["p50", "p99", "p99.9", "max"] {
        cells.push(figures.text(&format!("freed_over_quic_{part}"), 2)?);
    }
    rows.push(cells);
    Ok(table(
        "From a task's end to the offer, over QUIC, in milliseconds",
        "50 agents, each filled by one of 10 frameworks; one task ends at a time. From when the agent begins to say so until a framework has the \
         offer: two connections, and a commit with its flush in between.",
        &rows,
    ))
}

fn accepts(figures: &Figures) -> Result<String> {
    let mut rows = vec![row([
        "callers",
        "accepts/s",
        "commits/s",
        "daemon's processor time each, µs",
        "p50, ms",
        "p99, ms",
    ])];
    for callers in CALLERS {
        let figure =
            |part: &str, digits| figures.text(&format!("accepts_{callers}_{part}"), digits);
        rows.push(vec![
            callers.to_string(),
            figure("rate", 0)?,
            figure("commits", 0)?,
            figure("cpu", 0)?,
            figure("p50", 2)?,
            figure("p99", 2)?,
        ]);
    }
    Ok(table(
        "Durable accepts",
        "Each caller is a framework over its own connection with an agent of its own, and has one ACCEPT with one LAUNCH under way at a time. \
         Its time ends with the answer to the operation, which waits for the disk (fsync).",
        &rows,
    ))
}

fn idle(figures: &Figures) -> Result<String> {
    let mut rows = vec![row(["what", "measured"])];
    for (what, name, digits, unit) in [
        ("connections", "idle_connections", 0, ""),
        ("resident before", "idle_before", 0, " KiB"),
        ("resident after", "idle_after", 0, " KiB"),
        ("an agent", "idle_per_agent", 1, " KiB"),
        (
            "an agent, anonymous memory",
            "idle_per_agent_anonymous",
            1,
            " KiB",
        ),
        (
            "processor time, all agents left alone",
            "idle_cpu",
            1,
            " % of one",
        ),
    ] {
        let measured = figures.text(name, digits)? + unit;
        rows.push(vec![what.to_owned(), measured]);
    }
    Ok(table(
        "What idle agents need",
        "Registered over real connections with certificates of their own, offered to a framework that holds the offers; measured 20 seconds after \
         the last has come.",
        &rows,
    ))
}
