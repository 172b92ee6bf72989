//! Who may not, who is not believed, and what is not there.

use crate::world::World;

const VIEWER: &str = r#"
[[access.operators]]
principals = ["viewer"]
roles = ["*"]
powers = ["list"]

[[access.frameworks]]
principals = ["run"]
roles = ["web"]
"#;

const AS_VIEWER: &str = "--cert certs/operator-viewer.pem --key certs/operator-viewer-key.pem";

#[test]
fn what_is_not_there_is_named() {
    let world = World::new("");
    for line in [
        "reserve --agent n9 --role db cpus:1",
        "volume create --agent n9 --role db --size 10 v",
        "drain n9",
        "remove-agent n9",
        "tasks --agent n9",
        "tasks --all --agent n9",
        "reservations --agent n9",
        "volume list --agent n9",
    ] {
        let said = world.fails(line, 2);
        assert!(said.contains("there is no agent n9"), "{line}: {said}");
        assert!(said.contains("weir agents"), "{line}: {said}");
    }
    let said = world.fails("tasks --framework aaaaaaaaaaaaaaaaaaaaaaaaah", 2);
    assert!(said.contains("weir frameworks"), "{said}");
    let said = world.fails("kill nothing.1", 2);
    assert!(said.contains("nothing.1"), "{said}");
    let said = world.fails("reserve --agent n1 --role db cpus:many", 64);
    assert!(said.contains("at position 6"), "{said}");
}

#[test]
fn who_may_only_look_changes_nothing_and_a_framework_keeps_to_its_roles() {
    let world = World::new(VIEWER);
    world.start_agent("n1", 1);
    world.done("certs issue operator viewer");
    world.done(&format!("agents {AS_VIEWER}"));
    for line in [
        "reserve --agent n1 --role db cpus:1",
        "drain n1",
        "weight db 2",
    ] {
        let said = world.fails(&format!("{line} {AS_VIEWER}"), 2);
        assert!(said.contains("viewer"), "{said}");
    }
    let said = world.fails("run --role db -- exit 0", 2);
    assert!(said.contains("db"), "{said}");
    world.done("run --role web -- exit 0");
}

#[test]
fn a_role_that_there_is_not_is_refused_with_what_to_do() {
    let world = World::new("[roles]\nknown = [\"db\", \"web\"]\n");
    let said = world.fails("run -- exit 0", 2);
    assert!(said.contains("`default`"), "{said}");
    assert!(said.contains("--role"), "{said}");
}

#[test]
fn who_is_not_believed_is_told_why() {
    let mut world = World::new("");
    // The certificate of a framework is not an operator's.
    let framework = "--cert certs/framework-run.pem --key certs/framework-run-key.pem";
    let said = world.fails(&format!("agents {framework}"), 64);
    assert!(said.contains("framework"), "{said}");
    // An authority of somebody else's.
    world.done("certs init --directory other --host 127.0.0.1");
    let other = "--cert other/operator-admin.pem --key other/operator-admin-key.pem";
    let said = world.fails(&format!("agents {other}"), 64);
    assert!(said.contains("does not verify"), "{said}");
    let said = world.fails(
        &format!("agents {other} --ca other/ca.pem --crl other/crl.pem"),
        1,
    );
    assert!(said.contains("certificate"), "{said}");
    world.done("agents");
    world.kill_daemon();
    let said = world.fails("agents", 1);
    assert!(said.contains("127.0.0.1"), "{said}");
}
