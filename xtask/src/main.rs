//! `cargo xtask`: the one door to everything that is done with this repository.
//!
//! Continuous integration calls nothing else. Each subcommand installs what it misses, says what it
//! does, and leaves nothing behind that it does not name.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "what this program says is its output")]

mod bench;
mod cgroup;
mod check;
mod command;
mod demo;
mod dist;
mod forgery;
mod http;
mod interrupt;
mod node;
mod programs;
mod setup;
mod soak;
mod test;
mod tree;
mod vm_test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, checks, tests and shows Weir
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what building and testing need: toolchain, bpf-linker, Debian packages
    Setup,
    /// Hold format, lints, dependency rules and the shape of the tree
    Check,
    /// Set up, check, build, and run every test that fits this machine; as root
    Test(test::Arguments),
    /// Run the integration tests on the kernels of ci/kernels.toml, each in a guest of QEMU; as root
    VmTest(vm_test::Arguments),
    /// Do what continuous integration does: `test`, and no test may be skipped without need
    Ci,
    /// Start a demonstration node in network namespaces of its own; as root
    Up(demo::Arguments),
    /// Take the demonstration node away, whatever is left of it
    Down,
    /// Start, update and kill containers at random for a long time, and record what came of it
    Soak(soak::Arguments),
    /// Build the Debian packages, and have lintian look at them
    Dist,
    /// Measure what Weir costs, beside what else there is
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Check => check::run(),
        Task::Test(arguments) => test::run(&arguments),
        Task::VmTest(arguments) => vm_test::run(&arguments),
        Task::Ci => test::run(&test::Arguments::ci()),
        Task::Up(arguments) => demo::up(&arguments),
        Task::Down => demo::down(),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Dist => dist::run_all(),
        Task::Bench(arguments) => bench::run_one(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
