//! Volumes: directories that outlive a container and appear in its sandbox.
#![forbid(unsafe_code)]

mod node;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use weir_executor::record::Outcome;
use weir_executor::spec::VolumeMount;

use crate::node::{Container, Node};

/// Makes the directory of a volume, which belongs to the user that containers of these tests run as.
fn volume(node: &Node, name: &str) -> PathBuf {
    let path = node.state.path().join("volumes").join(name);
    fs::create_dir_all(&path).unwrap();
    std::os::unix::fs::chown(&path, Some(1234), Some(1234)).unwrap();
    path
}

fn mount(source: &std::path::Path, target: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        source: source.to_path_buf(),
        target: target.into(),
        read_only,
    }
}

/// Returns why a container could not be set up.
fn setup_failure(container: &mut Container<'_>) -> String {
    let outcome = container.outcome();
    let Outcome::SetupFailed { reason } = outcome else {
        panic!("{outcome:?} is no failure to set up");
    };
    reason
}

#[test]
fn what_is_written_to_a_volume_is_there_for_the_next_container() {
    let node = Node::new();
    let data = volume(&node, "data");
    node.shell("echo kept > deep/er/data/file && echo gone > file")
        .run_as(1234)
        .with(|spec| spec.volumes = vec![mount(&data, "deep/er/data", false)])
        .start()
        .output();
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "kept\n");
    let next = node
        .shell("cat data/file; test -e file || echo none; stat -c %u .")
        .run_as(1234)
        .with(|spec| spec.volumes = vec![mount(&data, "data", false)]);
    assert_eq!(next.start().output(), "kept\nnone\n1234\n");
}

#[test]
fn directories_on_the_way_to_a_volume_belong_to_the_tasks_user() {
    let node = Node::new();
    let data = volume(&node, "data");
    let container = node
        .shell("echo x > deep/beside && stat -c %u deep")
        .run_as(1234)
        .with(|spec| spec.volumes = vec![mount(&data, "deep/data", false)])
        .start();
    let sandbox = container.spec.sandbox();
    assert_eq!(container.output(), "1234\n");
    let mode = fs::metadata(sandbox.join("deep")).unwrap();
    assert_eq!(
        (mode.uid(), mode.permissions().mode() & 0o777),
        (1234, 0o755)
    );
}

#[test]
fn a_volume_that_is_mounted_to_be_read_cannot_be_written_and_has_no_powers() {
    let node = Node::new();
    let data = volume(&node, "data");
    let outside = volume(&node, "other");
    fs::write(data.join("file"), "kept\n").unwrap();
    let script = "cat data/file; echo x > data/new || echo refused; grep -c ' '\"$PWD\"'/data ro,nosuid,nodev' /proc/self/mountinfo; ls \"$0\" || exit 7";
    let mut container = node
        .container(&["/bin/sh", "-c", script, outside.to_str().unwrap()])
        .run_as(1234)
        .with(|spec| spec.volumes = vec![mount(&data, "data", true)])
        .start();
    // `ls` fails: the volumes of others are not there.
    assert_eq!(container.outcome(), Outcome::Exited { code: 7 });
    assert_eq!(container.file("stdout"), "kept\nrefused\n1\n");
}

#[test]
fn a_link_in_the_sandbox_leads_no_volume_out_of_it() {
    let node = Node::new();
    let data = volume(&node, "data");
    let elsewhere = volume(&node, "elsewhere");
    for target in ["link/data", "link"] {
        let prepared = node
            .shell("true")
            .run_as(1234)
            .with(|spec| spec.volumes = vec![mount(&data, target, false)]);
        let sandbox = prepared.spec.sandbox();
        let mut container = prepared.spawn_after(|| {
            symlink(&elsewhere, sandbox.join("link")).unwrap();
        });
        assert!(container.wait_running().is_err(), "{target}");
        let reason = setup_failure(&mut container);
        assert!(reason.contains("sandbox"), "{reason}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{target}");
    }
}

#[test]
fn a_volume_without_a_directory_is_no_container() {
    let node = Node::new();
    let missing = node.state.path().join("volumes/missing");
    let mut container = node
        .shell("true")
        .with(|spec| spec.volumes = vec![mount(&missing, "data", false)])
        .spawn();
    assert!(container.wait_running().is_err());
    let reason = setup_failure(&mut container);
    assert!(reason.contains("missing"), "{reason}");
}
