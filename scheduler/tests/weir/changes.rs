//! What operators change: reservations, volumes, agents.

use crate::world::{World, find, is_empty};

#[test]
fn what_is_reserved_is_listed_and_given_back() {
    let world = World::new("");
    world.start_agent("n1", 1);
    world.start_agent("n2", 2);
    let agents = world.done("agents");
    assert!(agents.contains("n1") && agents.contains("n2"), "{agents}");

    world.done("reserve --agent n1 --role db cpus:2;mem:1024;disk:5000");
    let reservations = world.json("reservations");
    let ours = find(&reservations, "agent", "n1").expect("n1 has a reservation");
    assert_eq!(ours["resources"].as_array().unwrap().len(), 3);
    assert!(find(&reservations, "agent", "n2").is_none());
    let roles = world.json("roles");
    let db = find(&roles, "role", "db").expect("there is something for db");
    assert_eq!(db["reserved"]["cpus"], 2);

    // The same change by the same name is done once.
    for _ in 0..2 {
        world.done("unreserve --agent n1 --role db --operation-id back-1 cpus:1");
    }
    let roles = world.json("roles");
    assert_eq!(find(&roles, "role", "db").unwrap()["reserved"]["cpus"], 1);
    world.done("unreserve --agent n1 --role db cpus:1;mem:1024;disk:5000");
    assert!(is_empty(&world.json("reservations")));

    let said = world.fails("reserve --agent n1 --role db cpus:5", 2);
    assert!(said.contains('5'), "{said}");
    assert!(is_empty(&world.json("reservations")), "nothing was changed");
}

#[test]
fn a_volume_is_created_listed_and_destroyed() {
    let world = World::new("");
    world.start_agent("n1", 1);
    let said = world.fails("volume create --agent n1 --role db --size 100 pgdata", 2);
    assert!(said.contains("disk"), "{said}");
    world.done("reserve --agent n1 --role db disk:5000");
    world.done("volume create --agent n1 --role db --size 1000 pgdata");
    world.done("volume create --agent n1 --role web --size 500 --reserve cache");
    let volumes = world.json("volume list");
    let pgdata = find(&volumes, "id", "pgdata").expect("it is there");
    assert_eq!(pgdata["size_mib"], 1000);
    assert_eq!(pgdata["role"], "db");
    assert_eq!(pgdata["size_enforced"], false);
    assert!(world.done("volume list").contains("1000M"));

    // What is below a volume is not given back before it is destroyed.
    world.fails("unreserve --agent n1 --role db disk:5000", 2);
    world.done("volume destroy --agent n1 --role db pgdata");
    let volumes = world.json("volume list");
    assert!(find(&volumes, "id", "pgdata").is_none());
    assert!(find(&volumes, "id", "cache").is_some());
    world.fails("volume destroy --agent n1 --role db pgdata", 2);
    world.done("unreserve --agent n1 --role db disk:5000");
}

#[test]
fn an_agent_is_drained_and_one_that_is_away_is_given_up() {
    let world = World::new("");
    let first = world.start_agent("n1", 1);
    let second = world.start_agent("n2", 2);
    let detached = world.done("run --detach --role web --cpus 4 -- sleep 1d");
    let tasks = world.json("tasks");
    let task = &tasks.as_array().unwrap()[0];
    let on = task["agent"].as_str().unwrap().to_owned();
    assert_eq!(task["state"], "TASK_RUNNING");
    assert!(detached.trim_end().ends_with(task["id"].as_str().unwrap()));

    // Whoever launched it has left; nobody acknowledges that it was ended, so the framework goes first.
    let framework = task["framework_id"].as_str().unwrap();
    world.done(&format!("teardown {framework}"));
    world.done(&format!("drain {on}"));
    let rest = world.until("agents", |agents| {
        find(agents, "name", &on).is_none_or(|agent| agent["state"] != "active")
    });
    let other = if on == "n1" { "n2" } else { "n1" };
    assert!(find(&rest, "name", other).is_some());

    first.abort();
    second.abort();
    world.until("agents", |agents| {
        find(agents, "name", other).is_some_and(|agent| agent["state"] == "disconnected")
    });
    world.done(&format!("remove-agent {other}"));
    world.until("agents", |agents| find(agents, "name", other).is_none());
}
