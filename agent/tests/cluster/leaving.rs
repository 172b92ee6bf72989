//! Agents that are sent away, given up, or not believed.

use std::fs;

use crate::cluster::Cluster;
use crate::node::eventually;

#[test]
fn a_drained_agent_ends_its_tasks_and_goes() {
    let cluster = Cluster::new();
    let running = cluster.start(&["run", "--", "sleep", "1d"]);
    cluster.await_running(1);
    cluster.weir(&["drain", "n1"]).ok();
    let said = running.wait();
    assert!(said.stderr.contains("DRAIN"), "{said:?}");
    eventually("no container runs", || {
        cluster.nodes[0].containers(false).is_empty().then_some(())
    });
    let refused = cluster.weir(&["run", "--timeout", "1s", "--", "true"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

#[test]
fn an_agent_that_is_given_up_comes_back_as_another_without_its_tasks() {
    let mut cluster = Cluster::new();
    let before = cluster.list(&["agents"])[0]["id"].clone();
    let running = cluster.start(&["run", "--", "sleep", "1d"]);
    cluster.await_running(1);
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
    eventually("no container runs", || {
        cluster.nodes[0].containers(false).is_empty().then_some(())
    });
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
        log.contains("the scheduler is away").then_some(())
    });
    assert!(cluster.list(&["agents"]).is_empty());
}
