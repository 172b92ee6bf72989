//! Which `cargo test` is run, and how often.

use std::process::Command;

use super::Arguments;
use crate::command::cargo;

/// One `cargo test`.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// What is told in front of its tests' names.
    pub(super) label: &'static str,
    selection: Vec<String>,
    environment: &'static [(&'static str, &'static str)],
}

/// Returns every run that is asked for, in the order in which they are made.
pub(super) fn all(arguments: &Arguments) -> Vec<Run> {
    let packages = match arguments.package.as_slice() {
        [] => words(["--workspace"]),
        names => names
            .iter()
            .map(|name| format!("--package={name}"))
            .collect(),
    };
    if !arguments.unit {
        let mut runs = vec![Run::plain(packages.clone())];
        if arguments.names("weir-agent") {
            runs.push(Run::clsact(packages));
        }
        return runs;
    }
    let modules = words(["--lib", "--bins"]);
    let mut runs = vec![Run::plain(packages.into_iter().chain(modules).collect())];
    // The one crate whose tests beside the source need nothing of the machine.
    if arguments.names("weir-resources") {
        runs.push(Run::plain(words(["--package=weir-resources", "--test=*"])));
    }
    runs
}

impl Run {
    fn plain(selection: Vec<String>) -> Self {
        Self {
            label: "",
            selection,
            environment: &[],
        }
    }

    /// The first run has the programs attached as this kernel can do it best, which is tcx from 6.6
    /// on. This one has them attached as older kernels need it.
    fn clsact(packages: Vec<String>) -> Self {
        let tests = words(["--test=network", "--test=agent"]);
        Self {
            label: "clsact: ",
            // Of the same packages: of fewer, crates would have fewer features, and be built again.
            selection: packages.into_iter().chain(tests).collect(),
            environment: &[("WEIR_TEST_ATTACH", "clsact")],
        }
    }

    /// Returns the command.
    pub(super) fn command(&self, arguments: &Arguments) -> Command {
        let mut command = cargo();
        command
            .args(["test", "--locked", "--no-fail-fast"])
            .args(&self.selection)
            .arg("--")
            // Else libtest swallows what a passing test prints, its reason for a skip included.
            .arg("--show-output")
            .args(&arguments.filter)
            .envs(self.environment.iter().copied());
        command
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_plane_is_tested_in_both_attachment_modes() {
        let labels = |arguments: &Arguments| {
            let runs = all(arguments);
            runs.iter().map(|run| run.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(&Arguments::default()), ["", "clsact: "]);
        let one = |package: &str| Arguments {
            package: vec![package.to_owned()],
            ..Arguments::default()
        };
        assert_eq!(labels(&one("weir-agent")), ["", "clsact: "]);
        assert_eq!(labels(&one("weir-resources")), [""]);
        let unit = Arguments {
            unit: true,
            ..Arguments::default()
        };
        assert!(all(&unit).iter().all(|run| run.environment.is_empty()));
    }
}
