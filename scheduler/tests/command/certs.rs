//! `weir certs`, and what needs no scheduler at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::stage::{Stage, assert_done, assert_exit, stderr, stdout};

#[test]
fn one_command_makes_a_cluster_of_certificates() {
    let stage = Stage::empty();
    let made = stage.weir(&[
        "certs",
        "init",
        "--directory",
        "certs",
        "--host",
        "weir.example",
        "--agent",
        "n1",
        "--json",
    ]);
    assert_done(&made);
    let told: serde_json::Value = serde_json::from_str(&stdout(&made)).unwrap();
    assert_eq!(told["trust_domain"], "weir.local");
    assert_eq!(told["certificates"].as_array().unwrap().len(), 4);
    for name in [
        "scheduler-main",
        "operator-admin",
        "framework-run",
        "agent-n1",
    ] {
        assert!(stage.path(&format!("certs/{name}.pem")).exists(), "{name}");
        let key = stage.path(&format!("certs/{name}-key.pem"));
        let mode = fs::metadata(key).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "the key of {name} is for its owner alone");
    }
    let settings = fs::read_to_string(stage.path("certs/weir.toml")).unwrap();
    assert!(
        settings.contains("scheduler = \"weir.example:5151\""),
        "{settings}"
    );
}

#[test]
fn nothing_is_overwritten_unasked() {
    let stage = Stage::new();
    let before = fs::read(stage.path("certs/ca.pem")).unwrap();
    let again = stage.weir(&["certs", "init", "--directory", "certs"]);
    assert_exit(&again, 2);
    assert!(
        stderr(&again).contains("is there already"),
        "{}",
        stderr(&again)
    );
    assert!(stderr(&again).contains("\ntry: "), "{}", stderr(&again));
    let bare = stage.weir(&["certs", "init", "--directory", "certs", "--bare"]);
    assert_exit(&bare, 2);
    assert_eq!(fs::read(stage.path("certs/ca.pem")).unwrap(), before);

    assert_done(&stage.weir(&["certs", "issue", "agent", "n1"]));
    let before = fs::read(stage.path("certs/agent-n1.pem")).unwrap();
    let again = stage.weir(&["certs", "issue", "agent", "n1"]);
    assert_exit(&again, 2);
    assert!(stderr(&again).contains("--replace"), "{}", stderr(&again));
    assert_eq!(fs::read(stage.path("certs/agent-n1.pem")).unwrap(), before);
    assert_done(&stage.weir(&["certs", "issue", "agent", "n1", "--replace"]));
    assert_ne!(fs::read(stage.path("certs/agent-n1.pem")).unwrap(), before);
}

#[test]
fn what_was_revoked_is_shown_and_cannot_be_revoked_again() {
    let stage = Stage::new();
    assert_done(&stage.weir(&["certs", "revoke", "operator", "admin"]));
    let again = stage.weir(&["certs", "revoke", "operator", "admin"]);
    assert_exit(&again, 2);
    let unknown = stage.weir(&["certs", "revoke", "agent", "n9"]);
    assert_exit(&unknown, 2);
    assert!(
        stderr(&unknown).contains("weir certs show"),
        "{}",
        stderr(&unknown)
    );
    let shown = stage.weir(&["certs", "show", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&stdout(&shown)).unwrap();
    let certificates = told["certificates"].as_array().unwrap();
    let revoked = |kind: &str| {
        let found = certificates.iter().find(|one| one["kind"] == kind);
        found.unwrap()["revoked_at"].is_string()
    };
    assert!(revoked("operator") && !revoked("framework"));
    let table = stdout(&stage.weir(&["certs", "show"]));
    assert!(table.starts_with("KIND       NAME   SERIAL"), "{table}");
    assert!(!table.contains('\x1b'), "a pipe is no terminal");
}

#[test]
fn a_directory_without_an_authority_says_how_to_make_one() {
    let refused = Stage::empty().weir(&["certs", "issue", "agent", "n1"]);
    assert_exit(&refused, 2);
    assert!(
        stderr(&refused).contains("weir certs init"),
        "{}",
        stderr(&refused)
    );
    let scheduler = Stage::new().weir(&["certs", "issue", "scheduler", "two"]);
    assert_exit(&scheduler, 64);
    assert!(
        stderr(&scheduler).contains("--host"),
        "{}",
        stderr(&scheduler)
    );
}

#[test]
fn mistakes_are_told_with_what_to_try() {
    let stage = Stage::empty();
    for (words, said) in [
        (&["agents"][..], "--scheduler, set WEIR_SCHEDULER"),
        (&["agents", "--config", "none.toml"], "check --config"),
        (&["agents", "--scheduler", "nowhere"], "write host:port"),
        (&["nonsense"], "unrecognized subcommand"),
    ] {
        let output = stage.weir(words);
        assert_exit(&output, 64);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert!(output.stdout.is_empty(), "stdout is for data");
    }
}

#[test]
fn the_certificate_of_another_kind_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    let output = stage.weir(&[
        "agents",
        "--config",
        "certs/weir.toml",
        "--cert",
        "certs/framework-run.pem",
        "--key",
        "certs/framework-run-key.pem",
    ]);
    assert_exit(&output, 64);
    assert!(
        stderr(&output).contains("kind operator"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn completions_are_scripts_and_a_closed_pipe_is_no_error() {
    let stage = Stage::empty();
    for shell in ["bash", "zsh", "fish"] {
        let output = stage.weir(&["completions", shell]);
        assert_done(&output);
        assert!(stdout(&output).contains("remove-agent"), "{shell}");
    }
    let mut child = stage.command(&["completions", "bash"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_done(&output);
    assert_eq!(stderr(&output), "");
}
