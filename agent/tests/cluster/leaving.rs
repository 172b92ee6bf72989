//! Agents that are sent away, given up, or not believed.

use std::fs;

use crate::cluster::Cluster;
use crate::node::eventually;

#[test]
fn a_drained_agent_ends_its_tasks_and_goes_until_it_is_started_again() {
    let mut cluster = Cluster::new();
    let before = cluster.list(&["agents"])[0]["id"].clone();
    let running = cluster.start(&["run", "--", "sleep", "1d"]);
    // Of which nobody takes note.
    let detached = ["run", "--detach", "--", "sleep", "1d"];
    cluster.weir(&detached).ok();
    cluster.await_running(2);
    cluster.weir(&["drain", "n1"]).ok();
    let said = running.wait();
    assert!(said.stderr.contains("DRAIN"), "{said:?}");
    eventually("no container runs", || {
        cluster.nodes[0].containers(false).is_empty().then_some(())
    });
    eventually("the agent has left", || {
        cluster.list(&["agents"]).is_empty().then_some(())
    });
    eventually("it says what brings it back", || {
        let log = cluster.nodes[0].log();
        (log.contains("restart the agent") && log.contains("disconnected from the scheduler"))
            .then_some(())
    });
    let log = cluster.nodes[0].log();
    assert!(!log.contains("the scheduler is away"), "{log}");
    let refused = cluster.weir(&["run", "--timeout", "1s", "--", "true"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");

    cluster.nodes[0].stop_daemon();
    cluster.nodes[0].start();
    cluster.await_agents(1);
    assert_ne!(cluster.list(&["agents"])[0]["id"], before);
    cluster.weir(&["run", "--", "true"]).ok();
}

#[test]
fn an_agent_that_is_given_up_comes_back_as_another_with_its_volumes_and_without_its_tasks() {
    let mut cluster = Cluster::new();
    let before = cluster.list(&["agents"])[0]["id"].clone();
    let create = "volume create --agent n1 --role db --size 64 --reserve pgdata";
    cluster.weir(&create.split(' ').collect::<Vec<_>>()).ok();
    let script = "echo kept > data/file; exec sleep 1d";
    let run = ["run", "--role", "db", "--volume", "pgdata:data"];
    let running = cluster.start(&[&run[..], &["--", "sh", "-c", script]].concat());
    cluster.await_running(1);
    let file = cluster.nodes[0]
        .state()
        .join("volumes/roles/db/pgdata/file");
    eventually("the task has written", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        (text == "kept\n").then_some(())
    });
    cluster.nodes[0].kill_daemon();
    eventually("it is noticed", || {
        (cluster.list(&["agents"])[0]["state"] == "disconnected").then_some(())
    });
    cluster.weir(&["remove-agent", "n1"]).ok();
    let said = running.wait();
    assert!(
        said.stderr.contains("LOST") || said.stderr.contains("GONE"),
        "{said:?}"
    );

    cluster.nodes[0].start();
    cluster.await_agents(1);
    assert_ne!(cluster.list(&["agents"])[0]["id"], before);
    // It has registered only when nothing of its tasks was left.
    assert_eq!(cluster.nodes[0].containers(false).len(), 0);
    let volumes = cluster.list(&["volume", "list"]);
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    let run = ["run", "--role", "db", "--volume", "pgdata:data"];
    cluster
        .weir(&[&run[..], &["--", "cat", "data/file"]].concat())
        .ok();
}

#[test]
fn who_is_no_agent_of_this_cluster_is_told_which_check_failed() {
    let mut cluster = Cluster::without_agents(&[""]);
    let certificates = cluster.certificates();
    // Of the same authority, and not an agent's.
    let other = format!(
        "scheduler.certificate = \"{0}/framework-run.pem\"\nscheduler.key = \"{0}/framework-run-key.pem\"\n",
        certificates.display()
    );
    cluster.configure_node(0, &other);
    cluster.nodes[0].start();
    eventually("the agent says what it is", || {
        let log = cluster.nodes[0].log();
        (log.contains("framework/run") && log.contains("remedy=")).then_some(())
    });

    // Of another authority.
    cluster.nodes[0].stop_daemon();
    let stranger = cluster.path("stranger");
    let words = ["certs", "init", "--agent", "n1", "--directory"];
    cluster
        .weir(&[&words[..], &[stranger.to_str().unwrap()]].concat())
        .ok();
    // The agent believes both authorities, so that it is the scheduler who refuses.
    let bundle = [certificates.join("ca.pem"), stranger.join("ca.pem")]
        .map(|file| fs::read_to_string(file).unwrap())
        .concat();
    fs::write(stranger.join("both.pem"), bundle).unwrap();
    let other = format!(
        "scheduler.certificate = \"{0}/agent-n1.pem\"\nscheduler.key = \"{0}/agent-n1-key.pem\"\n\
         scheduler.authorities = \"{0}/both.pem\"\nscheduler.revocations = \"\"\n",
        stranger.display()
    );
    cluster.configure_node(0, &other);
    cluster.nodes[0].start();
    eventually("the scheduler says whom it does not believe", || {
        cluster
            .scheduler_log()
            .contains("UnknownIssuer")
            .then_some(())
    });
    eventually("the agent hears of it", || {
        let log = cluster.nodes[0].log();
        log.contains("refused the connection").then_some(())
    });
    assert!(cluster.list(&["agents"]).is_empty());
}
