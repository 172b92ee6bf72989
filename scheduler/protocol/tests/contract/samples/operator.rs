//! The conversation of an operator.

use weir_protocol::operator::{
    AgentEntry, AgentState, Cursor, FrameworkEntry, FrameworkState, Holder, Listing, OfferEntry,
    OperatorAnswer, Page, ReservationEntry, RoleEntry, TaskEntry, VolumeEntry, Weight,
};
use weir_protocol::{
    Millis, NetworkMode, OperatorCall, SetVersion, TaskStatus, UnixMs, VolumeSizes,
};
use weir_resources::{Amount, ResourceOperation};

use super::parts::*;

fn page() -> Page {
    Page {
        after: Some(Cursor(line("n1.example"))),
        limit: 100.try_into().ok(),
    }
}

pub(crate) fn calls() -> Vec<(&'static str, OperatorCall)> {
    let change = |change| OperatorCall::Change {
        operation: operation_id("reserve:2026-11-22"),
        agent: agent_name(),
        change,
    };
    let reserved = || resources("cpus(db, anna):2; mem(db, anna):2048");
    let volume = || resources("disk(db, anna)[pgdata:data:rw]:10240");
    vec![
        ("list_agents", OperatorCall::ListAgents(page())),
        ("list_offers", OperatorCall::ListOffers(Page::default())),
        ("list_roles", OperatorCall::ListRoles(page())),
        ("list_frameworks", OperatorCall::ListFrameworks(page())),
        (
            "list_tasks",
            OperatorCall::ListTasks {
                page: page(),
                framework: Some(framework_id()),
                agent: Some(agent_name()),
                ended: true,
            },
        ),
        (
            "list_reservations",
            OperatorCall::ListReservations {
                page: page(),
                agent: Some(agent_name()),
                role: "db".parse().ok(),
            },
        ),
        (
            "list_volumes",
            OperatorCall::ListVolumes {
                page: page(),
                agent: None,
                role: None,
            },
        ),
        ("reserve", change(ResourceOperation::Reserve(reserved()))),
        (
            "unreserve",
            change(ResourceOperation::Unreserve(reserved())),
        ),
        (
            "create_volumes",
            change(ResourceOperation::Create(volume())),
        ),
        (
            "destroy_volumes",
            change(ResourceOperation::Destroy(volume())),
        ),
        (
            "set_weight",
            OperatorCall::SetWeight {
                role: "db".parse().unwrap(),
                weight: Weight::new(Amount::from_thousandths(2_500)).unwrap(),
            },
        ),
        (
            "drain_agent",
            OperatorCall::DrainAgent {
                agent: agent_name(),
                grace_max: Some(Millis(60_000)),
            },
        ),
        (
            "remove_agent",
            OperatorCall::RemoveAgent {
                agent: agent_name(),
            },
        ),
        (
            "kill_task",
            OperatorCall::KillTask {
                task: task_key(),
                grace: Some(Millis(1)),
            },
        ),
        (
            "teardown_framework",
            OperatorCall::TeardownFramework {
                framework: framework_id(),
            },
        ),
    ]
}

fn listing<T>(entries: Vec<T>) -> Listing<T> {
    Listing {
        entries,
        next: Some(Cursor(line("after this"))),
    }
}

fn task_entry() -> TaskEntry {
    TaskEntry {
        owner: owner(),
        id: task_id("web.1"),
        name: line("web"),
        agent: Some((agent_id(), agent_name())),
        resources: resources("cpus:0.125; mem:64"),
        network: NetworkMode::Host,
        labels: labels(&[("tier", "front")]),
        status: status(),
        volume_sizes: None,
    }
}

pub(crate) fn answers() -> Vec<(&'static str, OperatorAnswer)> {
    vec![
        (
            "done",
            OperatorAnswer::Done {
                notes: vec![note("the size of volume `pgdata` is not enforced")],
            },
        ),
        ("failed", OperatorAnswer::Failed(failure())),
        (
            "agents",
            OperatorAnswer::Agents(listing(vec![AgentEntry {
                id: agent_id(),
                agent: super::agent::info(),
                state: AgentState::Disconnected,
                software: line("weir-agent 0.1.0"),
                registered: UnixMs(1_795_000_000_000),
                set_version: SetVersion(17),
                total: resources(OWN),
                used: resources("cpus:1"),
                offered: resources("cpus:2"),
                revocable: resources("cpus{REV}:2.5"),
                tasks: 1,
            }])),
        ),
        (
            "offers",
            OperatorAnswer::Offers(listing(vec![OfferEntry {
                offer: super::framework::offer(),
                framework: framework_id(),
                framework_name: line("shop"),
                role: "web".parse().unwrap(),
                offered: UnixMs(1_795_000_000_000),
            }])),
        ),
        (
            "roles",
            OperatorAnswer::Roles(listing(vec![RoleEntry {
                role: "web".parse().unwrap(),
                weight: Weight::ONE,
                frameworks: 3,
                allocated: resources("cpus:12.5"),
                reserved: resources("disk(web):1024"),
                dominant_share_millionths: 333_333,
            }])),
        ),
        (
            "frameworks",
            OperatorAnswer::Frameworks(listing(vec![FrameworkEntry {
                id: framework_id(),
                framework: super::framework::info(),
                principal: "shop".parse().unwrap(),
                state: FrameworkState::Suppressed,
                subscribed: UnixMs(1_795_000_000_000),
                used: resources("cpus:1"),
                offered: resources("mem:64"),
                tasks: 1,
                offers: 2,
            }])),
        ),
        (
            "tasks",
            OperatorAnswer::Tasks(listing(vec![
                task_entry(),
                TaskEntry {
                    agent: None,
                    status: TaskStatus {
                        task: task_id("web.1"),
                        ..bare_status()
                    },
                    ..task_entry()
                },
            ])),
        ),
        (
            "reservations",
            OperatorAnswer::Reservations(Listing {
                entries: vec![ReservationEntry {
                    agent: agent_id(),
                    agent_name: agent_name(),
                    resources: resources("cpus(db, anna):1"),
                    holder: Holder::Offered(framework_id()),
                }],
                next: None,
            }),
        ),
        (
            "volumes",
            OperatorAnswer::Volumes(listing(
                [Holder::Free, Holder::Used(task_key())]
                    .map(|holder| VolumeEntry {
                        agent: agent_id(),
                        agent_name: agent_name(),
                        volume: resource("disk(db, anna)[pgdata:data:rw]:1024"),
                        holder,
                        sizes: VolumeSizes::Accounted,
                    })
                    .into(),
            )),
        ),
        (
            "tasks_with_sizes",
            OperatorAnswer::Tasks(listing(vec![TaskEntry {
                volume_sizes: Some(VolumeSizes::Accounted),
                ..task_entry()
            }])),
        ),
    ]
}
