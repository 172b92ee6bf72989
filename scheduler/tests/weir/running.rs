//! `weir run` and what is done with its tasks.

use crate::world::{World, assert_exit, find, interrupt, is_empty, stderr};

/// Returns whether no framework has been left behind.
fn all_completed(frameworks: &serde_json::Value) -> bool {
    let mut frameworks = frameworks.as_array().unwrap().iter();
    frameworks.all(|framework| framework["state"] == "completed")
}

#[test]
fn the_command_ends_as_its_task_does() {
    let world = World::new("");
    world.start_agent("n1", 1);
    world.done("run -- exit 0");
    let output = world.weir("run --cpus 1 --mem 256 --ports 2 -- exit 3");
    assert_exit(&output, 3);
    assert!(output.stdout.is_empty(), "stdout is for data");
    assert!(stderr(&output).contains("n1"), "{}", stderr(&output));
    world.until("frameworks", all_completed);
    // Everything is free again, for a task that needs all.
    world.done("run --cpus 4 --mem 4096 --ports 10 -- exit 0");
}

#[test]
fn a_task_finds_the_volume_of_its_role() {
    let world = World::new("");
    world.start_agent("n1", 1);
    world.done("volume create --agent n1 --role db --size 1000 --reserve pgdata");
    let words = "run --detach --role db --cpus 1 --volume pgdata:data -- ./server";
    let output = world.weir(words);
    assert_exit(&output, 0);
    let said = stderr(&output);
    assert!(said.contains("does not enforce the size"), "{said}");
    let detached = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let tasks = world.json("tasks");
    assert_eq!(tasks[0]["size_enforced"], false, "{tasks}");
    for list in ["tasks", "agents", "volume list"] {
        let said = world.done(list);
        assert!(said.contains("not enforced"), "{list}: {said}");
    }
    let volumes = world.json("volume list");
    let holder = &find(&volumes, "id", "pgdata").unwrap()["holder"];
    assert_eq!(holder["state"], "used");
    let framework = holder["framework_id"].as_str().unwrap();
    assert!(detached.starts_with(framework), "{detached}");
    world.fails("volume destroy --agent n1 --role db pgdata", 2);

    world.done(&format!("kill {detached}"));
    world.done(&format!("teardown {framework}"));
    world.until("volume list", |volumes| {
        find(volumes, "id", "pgdata").unwrap()["holder"]["state"] != "used"
    });
    world.done("volume destroy --agent n1 --role db pgdata");
}

#[test]
fn a_node_can_be_drained_of_tasks_that_were_left_running() {
    let world = World::new("");
    world.start_agent("n1", 1);
    world.done("run --detach -- ./server");
    let ended = world.done("run --detach -- ./server").trim().to_owned();
    world.done(&format!("kill {ended}"));
    // Nobody is there to take note of what becomes of them.
    world.until("tasks", |tasks| tasks.as_array().unwrap().len() == 1);
    world.done("drain n1");
    world.until("agents", is_empty);
    let frameworks = world.json("frameworks");
    let mut frameworks = frameworks.as_array().unwrap().iter();
    assert!(frameworks.all(|framework| framework["tasks"] == 0));
}

#[test]
fn a_revocable_task_runs_on_what_is_lent_and_ends_as_any() {
    let world = World::new("");
    world.start_lender("n1", 1);
    let output = world.weir("run --revocable --cpus 2 --mem 512 -- exit 3");
    assert_exit(&output, 3);
    world.until("frameworks", all_completed);
    let words = "run --detach --revocable --cpus 1 --ports 1 -- ./batch";
    let detached = world.done(words).trim().to_owned();
    let tasks = world.json("tasks");
    let held = find(&tasks, "state", "TASK_RUNNING").unwrap()["resources"].clone();
    for resource in held.as_array().unwrap() {
        let is_lent = !resource["revocable"].is_null();
        let name = resource["name"].as_str().unwrap();
        let kind = format!("{name} {is_lent}");
        let expected = [
            "cpus true",
            "mem true",
            "ports false",
            "port_blocks true",
            "port_blocks false",
        ];
        assert!(expected.contains(&kind.as_str()), "{held}");
    }
    // All that is regular is there for others, but for the port and at most one block.
    world.done("run --cpus 4 --mem 4096 --ports 9 -- exit 0");
    world.done(&format!("kill {detached}"));
}

#[test]
fn ctrl_c_kills_the_task_and_so_does_weir_kill() {
    let world = World::new("");
    world.start_agent("n1", 1);
    let is_running = |tasks: &serde_json::Value| {
        let tasks = tasks.as_array().unwrap();
        tasks.iter().any(|task| task["state"] == "TASK_RUNNING")
    };
    let command = world.spawn("run --name web -- sleep 1d");
    world.until("tasks", is_running);
    interrupt(&command);
    let output = command.wait_with_output().unwrap();
    assert_ne!(output.status.code(), Some(0), "{}", stderr(&output));

    world.until("tasks", is_empty);
    let command = world.spawn("run --name web -- sleep 1d");
    let tasks = world.until("tasks", is_running);
    let id = tasks[0]["id"].as_str().unwrap();
    world.done(&format!("kill {id}"));
    let output = command.wait_with_output().unwrap();
    assert_ne!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = world.fails(&format!("kill {id}"), 2);
    assert!(said.contains(id), "{said}");
}

#[test]
fn who_is_offered_nothing_that_fits_gives_up_in_time() {
    let world = World::new("");
    world.start_agent("n1", 1);
    let said = world.fails("run --timeout 1s --cpus 64 -- exit 0", 1);
    assert!(said.contains("cpus"), "{said}");
    // Nothing is lent here.
    world.fails("run --timeout 1s --revocable -- exit 0", 1);
    world.until("frameworks", all_completed);
}
