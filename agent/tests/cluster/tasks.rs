//! What an operator does on a quiet day: look, reserve, keep data, run tasks.

use serde_json::{Value, json};

use crate::cluster::Cluster;

/// Returns how much of a resource there is in a list of them, reserved or not.
fn amount(resources: &Value, name: &str) -> f64 {
    let of_name = resources
        .as_array()
        .unwrap()
        .iter()
        .filter(|resource| resource["name"] == name);
    of_name
        .map(|resource| resource["scalar"]["value"].as_f64().unwrap())
        .sum()
}

#[test]
fn an_agent_tells_what_it_lends_and_what_it_is() {
    let cluster = Cluster::with(&[
        "resources.lend = \"cpus:4;cpus(db):1.5;mem:1024;ports:[31000-31019]\"\n\
         attributes.text = \"rack:r7;cores:8\"\n\
         estimate.estimator = \"fixed\"\nestimate.lend = \"cpus:2\"\n",
    ]);
    let agents = cluster.list(&["agents"]);
    let [agent] = &agents[..] else {
        panic!("one agent: {agents:?}")
    };
    assert_eq!(agent["name"], "n1");
    assert_eq!(agent["attributes"], "cores:8; rack:r7");
    assert_eq!(agent["addresses"], json!(["10.9.0.2", "fd09::2"]));
    let total = &agent["total"];
    assert!((amount(total, "cpus") - 5.5).abs() < 1e-9, "{total}");
    assert!((amount(total, "mem") - 1024.0).abs() < 1e-9, "{total}");
    // What is not named is found out.
    assert!(amount(total, "disk") > 0.0, "{total}");
    assert!(amount(total, "port_blocks") >= 1.0, "{total}");
    let reservations = cluster.weir(&["reservations"]).ok();
    let lines: Vec<&str> = reservations.lines().collect();
    assert_eq!(lines.len(), 2, "{reservations}");
    assert!(lines[1].contains("cpus:1.5"), "{reservations}");
    crate::node::eventually("the estimate has come", || {
        let agents = cluster.list(&["agents"]);
        let lent = amount(&agents[0]["revocable"], "cpus");
        ((lent - 2.0).abs() < 1e-9).then_some(())
    });
}

#[test]
fn a_volume_outlives_its_tasks_and_not_its_end() {
    let cluster = Cluster::new();
    let on = ["--agent", "n1", "--role", "db"];
    let reserve = [&["reserve"], &on[..], &["cpus:1;mem:128;disk:256"]].concat();
    cluster.weir(&reserve).ok();
    let created =
        cluster.weir(&[&["volume", "create"], &on[..], &["--size", "128", "pgdata"]].concat());
    assert!(created.stderr.contains("does not enforce"), "{created:?}");
    created.ok();

    let run = |script: &str| {
        let words = [
            "run",
            "--role",
            "db",
            "--volume",
            "pgdata:data",
            "--",
            "sh",
            "-c",
            script,
        ];
        cluster.weir(&words).code
    };
    assert_eq!(run("echo kept > data/file"), Some(0));
    assert_eq!(
        run("test \"$(cat data/file)\" = kept || exit 9; exit 5"),
        Some(5)
    );
    let listed = cluster.weir(&["volume", "list"]).ok();
    assert!(listed.contains("not enforced"), "{listed}");
    assert_eq!(cluster.list(&["volume", "list"])[0]["size_enforced"], false);

    let directory = cluster.nodes[0].state().join("volumes/roles/db/pgdata");
    assert!(directory.join("file").exists());
    cluster
        .weir(&[&["volume", "destroy"], &on[..], &["pgdata"]].concat())
        .ok();
    crate::node::eventually("the data is gone", || (!directory.exists()).then_some(()));
    let unreserve = [&["unreserve"], &on[..], &["cpus:1;mem:128;disk:256"]].concat();
    cluster.weir(&unreserve).ok();
    assert!(cluster.list(&["reservations"]).is_empty());
}

#[test]
fn a_task_has_the_ports_of_its_offer_and_no_others() {
    let cluster = Cluster::new();
    let script = "
import os, socket
def bind(port):
    s = socket.socket()
    try:
        s.bind(('0.0.0.0', port))
        return 'fine'
    except PermissionError:
        return 'refused'
ports = [int(os.environ['WEIR_PORT0']), int(os.environ['WEIR_PORT1'])]
assert all(31000 <= port <= 31019 for port in ports), ports
other = next(port for port in range(31000, 31020) if port not in ports)
assert [bind(port) for port in ports] == ['fine', 'fine']
assert bind(other) == 'refused', other
raise SystemExit(7)
";
    let said = cluster.weir(&["run", "--ports", "2", "--", "python3", "-c", script]);
    assert_eq!(said.code, Some(7), "{said:?}");
    let busy = cluster.weir(&["run", "--timeout", "2s", "--ports", "21", "--", "true"]);
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(busy.stderr.contains("21"), "{busy:?}");
}

#[test]
fn what_a_task_may_use_is_not_changed_on_its_node() {
    let cluster = Cluster::new();
    let running = cluster.start(&["run", "--name", "web", "--", "sleep", "1d"]);
    cluster.await_running(1);
    let node = &cluster.nodes[0];
    let [task] = &node.containers(false)[..] else {
        panic!("one container")
    };
    let name = &task.task.as_ref().unwrap().task;
    let id = task.id.as_str();
    let refused = node.weir(&["update", id, "--cpus", "none"]).refused();
    let words = [id, name, "was given what it may use", "have the framework"];
    for word in words {
        assert!(refused.contains(word), "{word} in {refused}");
    }
    drop(running);
}
