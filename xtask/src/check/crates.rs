//! Which crate may depend on which, and where `unsafe` may stand.
//!
//! A crate exists to state a dependency rule; this is where the rules are written. A new crate is a
//! new entry, with its reason.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Breach;
use crate::{command, tree};

/// One crate and what it may know.
struct Rule {
    name: &'static str,
    /// The crates of this workspace that it may depend on.
    siblings: &'static [&'static str],
    /// The foreign crates that it may link with, which those of its tests and of its build script
    /// are not; any, if not said.
    foreign: Option<&'static [&'static str]>,
    unsafe_code: UnsafeCode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UnsafeCode {
    /// Nowhere: every root of a target says `#![forbid(unsafe_code)]`.
    Forbidden,
    /// In the library and the programs, argued block by block. Its tests, benchmarks, examples and
    /// build script forbid it like everyone's: what they need, the crate itself has to offer.
    Argued,
}

const RULES: &[Rule] = &[
    // Pure: what it does depends on its arguments alone, so nothing that reaches outside.
    Rule {
        name: "weir-resources",
        siblings: &[],
        foreign: Some(&["serde", "thiserror"]),
        unsafe_code: UnsafeCode::Forbidden,
    },
    // The contract: messages and their rules. No runtime and no socket, so that a simulation can hold
    // both ends of a conversation.
    Rule {
        name: "weir-protocol",
        siblings: &["weir-resources"],
        foreign: Some(&["prost", "thiserror"]),
        unsafe_code: UnsafeCode::Forbidden,
    },
    // The one place that knows QUIC, TLS and certificates; who says what is none of its business.
    Rule {
        name: "weir-transport",
        siblings: &["weir-protocol"],
        foreign: None,
        unsafe_code: UnsafeCode::Forbidden,
    },
    // What a daemon is to the machine: a log, a service, and a place where monitoring reads. What it is a service
    // of is none of its business.
    Rule {
        name: "weir-service",
        // Who may read from elsewhere is told by certificates.
        siblings: &["weir-transport"],
        foreign: None,
        unsafe_code: UnsafeCode::Forbidden,
    },
    // What others link: small, and nothing of the scheduler's inside.
    Rule {
        name: "weir-client",
        siblings: &["weir-protocol", "weir-resources", "weir-transport"],
        foreign: None,
        unsafe_code: UnsafeCode::Forbidden,
    },
    Rule {
        name: "weir-scheduler",
        siblings: &[
            "weir-client",
            "weir-protocol",
            "weir-resources",
            "weir-service",
            "weir-transport",
        ],
        foreign: None,
        unsafe_code: UnsafeCode::Forbidden,
    },
    // Both sides of the kernel boundary see it, so it knows neither.
    Rule {
        name: "weir-abi",
        siblings: &[],
        foreign: Some(&["aya"]),
        unsafe_code: UnsafeCode::Argued,
    },
    // The programs know the records and nothing of who loads them.
    Rule {
        name: "agent-ebpf",
        siblings: &["weir-abi"],
        foreign: Some(&["aya-ebpf"]),
        unsafe_code: UnsafeCode::Argued,
    },
    // System calls, without an opinion about containers.
    Rule {
        name: "weir-sys",
        siblings: &[],
        foreign: None,
        unsafe_code: UnsafeCode::Argued,
    },
    // It outlives the agent, so it must not need it. No runtime: it is one small poll loop.
    Rule {
        name: "weir-executor",
        siblings: &["weir-sys"],
        foreign: None,
        unsafe_code: UnsafeCode::Forbidden,
    },
    Rule {
        name: "weir-agent",
        siblings: &[
            "agent-ebpf",
            "weir-abi",
            "weir-executor",
            "weir-protocol",
            "weir-resources",
            "weir-service",
            "weir-sys",
            "weir-transport",
        ],
        foreign: None,
        unsafe_code: UnsafeCode::Forbidden,
    },
    // A whole cluster for tests, so it sees both sides, which never see each other. Nothing that is shipped
    // may depend on it.
    Rule {
        name: "weir-simulation",
        siblings: &[
            "weir-agent",
            "weir-client",
            "weir-executor",
            "weir-protocol",
            "weir-resources",
            "weir-scheduler",
            // For the times after which a connection is over.
            "weir-transport",
        ],
        foreign: None,
        unsafe_code: UnsafeCode::Forbidden,
    },
    // The door must open when the house does not build.
    Rule {
        name: "xtask",
        siblings: &[],
        foreign: None,
        unsafe_code: UnsafeCode::Forbidden,
    },
];

/// Foreign crates that no crate may depend on, and what to use.
const BANNED: &[(&str, &str)] = &[
    (
        "openssl",
        "rustls with aws-lc-rs: one TLS, no C library of the system",
    ),
    (
        "ring",
        "aws-lc-rs: two providers in one process are ambiguous to rustls",
    ),
    ("lazy_static", "std::sync::LazyLock"),
    ("once_cell", "std::sync::OnceLock"),
];

/// What `cargo metadata` says, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Where it is, for a crate of the workspace.
    path: Option<String>,
    /// `None` for what the crate itself links with; else `dev` or `build`.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: String,
}

pub(super) fn check() -> Result<Vec<Breach>> {
    let json = command::read(command::cargo().args([
        "metadata",
        "--no-deps",
        "--format-version=1",
        "--locked",
    ]))?;
    let metadata: Metadata =
        serde_json::from_str(&json).context("cargo metadata writes what is not expected")?;
    let mut breaches = judge(&metadata);
    for package in &metadata.packages {
        for target in &package.targets {
            let text = fs::read_to_string(&target.src_path)
                .with_context(|| format!("cannot read {}", target.src_path))?;
            breaches.extend(judge_root(package, target, &text));
        }
    }
    Ok(breaches)
}

/// Returns what the dependencies break.
fn judge(metadata: &Metadata) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for package in &metadata.packages {
        let Some(rule) = rule(&package.name) else {
            breaches.push(Breach(format!(
                "crate {} has no rule; add it to RULES in xtask/src/check/crates.rs",
                package.name
            )));
            continue;
        };
        for dependency in &package.dependencies {
            breaches.extend(judge_one(package, rule, dependency));
        }
    }
    breaches
}

fn judge_one(package: &Package, rule: &Rule, dependency: &Dependency) -> Option<Breach> {
    let (from, to) = (&package.name, dependency.name.as_str());
    if let Some((_, instead)) = BANNED.iter().find(|(name, _)| *name == to) {
        return Some(Breach(format!("{from} depends on {to}; use {instead}")));
    }
    if dependency.path.is_some() {
        let allowed = rule.siblings.contains(&to);
        return (!allowed).then(|| {
            let siblings = match rule.siblings {
                [] => "no crate of the workspace".to_owned(),
                siblings => format!("only {}", siblings.join(", ")),
            };
            Breach(format!(
                "{from} depends on {to}, but may depend on {siblings}"
            ))
        });
    }
    // Tests and build scripts may use what they like.
    let linked = dependency.kind.is_none();
    match rule.foreign {
        Some(foreign) if linked && !foreign.contains(&to) => Some(Breach(format!(
            "{from} links with {to}, but may link only with {}",
            foreign.join(", ")
        ))),
        Some(_) | None => None,
    }
}

/// Returns whether the root of a target, which reads so, allows `unsafe` without a right to.
fn judge_root(package: &Package, target: &Target, text: &str) -> Option<Breach> {
    let is_argued = rule(&package.name).is_some_and(|rule| rule.unsafe_code == UnsafeCode::Argued);
    let is_shipped = target
        .kind
        .iter()
        .any(|kind| kind == "lib" || kind == "bin");
    let forbids = text.lines().any(|line| line == "#![forbid(unsafe_code)]");
    if forbids || is_argued && is_shipped {
        return None;
    }
    Some(Breach(format!(
        "{} lacks #![forbid(unsafe_code)]; `unsafe` belongs into weir-sys",
        shown(&target.src_path)
    )))
}

/// Returns `path` as it is in the repository.
fn shown(path: &str) -> &str {
    Path::new(path)
        .strip_prefix(tree::root())
        .ok()
        .and_then(Path::to_str)
        .unwrap_or(path)
}

fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(package: &str, dependency: &str) -> Vec<String> {
        let json = format!(
            r#"{{"packages": [{{"name": "{package}", "targets": [], "dependencies": [{dependency}]}}]}}"#
        );
        let metadata: Metadata = serde_json::from_str(&json).unwrap();
        judge(&metadata)
            .into_iter()
            .map(|Breach(text)| text)
            .collect()
    }

    #[test]
    fn a_crate_may_depend_on_its_siblings_one_way() {
        let sys = r#"{"name": "weir-sys", "path": "/somewhere", "kind": null}"#;
        assert_eq!(breaches("weir-agent", sys), Vec::<String>::new());
        assert_eq!(
            breaches("weir-resources", sys),
            ["weir-resources depends on weir-sys, but may depend on no crate of the workspace"]
        );
        let agent = r#"{"name": "weir-agent", "path": "/somewhere", "kind": "dev"}"#;
        assert_eq!(
            breaches("weir-executor", agent),
            ["weir-executor depends on weir-agent, but may depend on only weir-sys"]
        );
    }

    #[test]
    fn a_pure_crate_uses_what_it_likes_only_where_it_is_not_linked() {
        let tokio = |kind: &str| format!(r#"{{"name": "tokio", "path": null, "kind": {kind}}}"#);
        for kind in [r#""dev""#, r#""build""#] {
            let broken = breaches("weir-resources", &tokio(kind));
            assert_eq!(broken, Vec::<String>::new(), "{kind}");
        }
        assert_eq!(breaches("weir-resources", &tokio("null")).len(), 1);
    }

    #[test]
    fn every_target_forbids_unsafe_code_but_those_that_are_there_for_it() {
        let may = |package: &str, kind: &str, text: &str| {
            let json = format!(
                r#"{{"name": "{package}", "dependencies": [], "targets": [{{"kind": ["{kind}"], "src_path": "a.rs"}}]}}"#
            );
            let package: Package = serde_json::from_str(&json).unwrap();
            judge_root(&package, &package.targets[0], text).is_none()
        };
        for kind in ["lib", "bin", "test", "bench", "example", "custom-build"] {
            assert!(may(
                "weir-agent",
                kind,
                "//! Text.\n#![forbid(unsafe_code)]\n"
            ));
            assert!(!may(
                "weir-agent",
                kind,
                "//! Says #![forbid(unsafe_code)]\n"
            ));
            let is_shipped = ["lib", "bin"].contains(&kind);
            assert_eq!(may("weir-sys", kind, ""), is_shipped, "{kind}");
            assert!(!may("weir-common", kind, ""), "a crate without a rule");
        }
    }

    #[test]
    fn an_unknown_crate_is_a_breach() {
        assert_eq!(breaches("weir-common", "").len(), 1);
    }
}
