//! The conversation of a framework.

use weir_protocol::{
    Action, CallError, CallId, Ceilings, Filters, FrameworkCall, FrameworkCapability,
    FrameworkEvent, FrameworkInfo, Millis, Offer, Operation, OperationOutcome, RescindReason,
    TaskQuery, TaskSpec, VolumeSizes,
};
use weir_resources::{Kind, Labels, ResourceOperation};

use super::parts::*;

pub(crate) fn info() -> FrameworkInfo {
    FrameworkInfo {
        name: line("shop"),
        role: "web".parse().unwrap(),
        user: Some(line("www-data")),
        failover_timeout: Millis(604_800_000),
        unattended: false,
        capabilities: [FrameworkCapability::RevocableResources].into(),
        labels: labels(&[("team", "shop")]),
        weburl: Some(line("https://shop.example/framework")),
    }
}

pub(crate) fn offer() -> Offer {
    Offer {
        id: offer_id(7),
        agent: agent_id(),
        agent_name: agent_name(),
        hostname: line("n1.example"),
        addresses: addresses(),
        attributes: "rack:r7; cores:16.5; vlans:[100-120]".parse().unwrap(),
        resources: resources(&format!("{OWN}; {CHECKPOINTED}")),
        kind: Kind::Regular,
        expires_after: Some(Millis(60_000)),
        volume_sizes: VolumeSizes::Accounted,
    }
}

pub(crate) fn revocable_offer() -> Offer {
    Offer {
        id: offer_id(8),
        addresses: [].into(),
        attributes: "".parse().unwrap(),
        resources: resources("cpus{REV}:2.5"),
        kind: Kind::Revocable,
        expires_after: None,
        volume_sizes: VolumeSizes::Enforced,
        ..offer()
    }
}

fn operations() -> Vec<Operation> {
    let reserved = "cpus(web, shop, {for=web}):1; disk(web, shop):512";
    let volume = "disk(web, shop)[data:data:rw]:512";
    let changes = [
        ResourceOperation::Reserve(resources(reserved)),
        ResourceOperation::Create(resources(volume)),
        ResourceOperation::Destroy(resources(volume)),
        ResourceOperation::Unreserve(resources(reserved)),
    ];
    let launch = Action::Launch(vec![task_spec(), script()]);
    let actions = changes.into_iter().map(Action::Change).chain([launch]);
    let numbered = (1..).zip(actions);
    numbered
        .map(|(number, action)| Operation {
            id: operation_id(&format!("op-{number}")),
            action,
        })
        .collect()
}

pub(crate) fn calls() -> Vec<(&'static str, FrameworkCall)> {
    vec![
        (
            "subscribe",
            FrameworkCall::Subscribe {
                framework: info(),
                id: Some(framework_id()),
                force: true,
            },
        ),
        (
            "subscribe-new",
            FrameworkCall::Subscribe {
                framework: FrameworkInfo {
                    user: None,
                    failover_timeout: Millis(0),
                    unattended: false,
                    capabilities: [].into(),
                    labels: Labels::none(),
                    weburl: None,
                    ..info()
                },
                id: None,
                force: false,
            },
        ),
        (
            "accept",
            FrameworkCall::Accept {
                offers: vec![offer_id(7), offer_id(8)],
                operations: operations(),
                filters: Filters::default(),
            },
        ),
        (
            "decline",
            FrameworkCall::Decline {
                offers: vec![offer_id(9)],
                filters: Filters { refuse: Millis(0) },
            },
        ),
        ("revive", FrameworkCall::Revive),
        ("suppress", FrameworkCall::Suppress),
        (
            "kill",
            FrameworkCall::Kill {
                task: task_id("web.1"),
                agent: Some(agent_id()),
                grace: Some(Millis(0)),
            },
        ),
        (
            "acknowledge",
            FrameworkCall::Acknowledge {
                agent: agent_id(),
                task: task_id("web.1"),
                update: update_id(),
            },
        ),
        (
            "reconcile",
            FrameworkCall::Reconcile {
                tasks: vec![
                    TaskQuery {
                        task: task_id("web.1"),
                        agent: Some(agent_id()),
                    },
                    TaskQuery {
                        task: task_id("web.2"),
                        agent: None,
                    },
                ],
                operations: vec![operation_id("op-1")],
            },
        ),
        (
            "reconcile-all",
            FrameworkCall::Reconcile {
                tasks: Vec::new(),
                operations: Vec::new(),
            },
        ),
        ("teardown", FrameworkCall::Teardown),
        (
            "subscribe-unattended",
            FrameworkCall::Subscribe {
                framework: FrameworkInfo {
                    unattended: true,
                    ..info()
                },
                id: None,
                force: false,
            },
        ),
        (
            "accept-ceilings",
            FrameworkCall::Accept {
                offers: vec![offer_id(7)],
                operations: vec![Operation {
                    id: operation_id("op-1"),
                    action: Action::Launch(vec![TaskSpec {
                        ceilings: Ceilings {
                            egress: "200mbit".parse().ok(),
                            ingress: "64kbit".parse().ok(),
                        },
                        ..task_spec()
                    }]),
                }],
                filters: Filters::default(),
            },
        ),
    ]
}

pub(crate) fn events() -> Vec<(&'static str, FrameworkEvent)> {
    let operation = |outcome| FrameworkEvent::Operation {
        id: operation_id("op-1"),
        outcome,
    };
    vec![
        (
            "subscribed",
            FrameworkEvent::Subscribed {
                id: framework_id(),
                scheduler: line("main"),
                heartbeat_interval: Millis(15_000),
            },
        ),
        (
            "offers",
            FrameworkEvent::Offers(vec![offer(), revocable_offer()]),
        ),
        (
            "rescind",
            FrameworkEvent::Rescind {
                offer: offer_id(7),
                reason: RescindReason::EstimateShrank,
            },
        ),
        ("update", FrameworkEvent::Update(status())),
        ("update-bare", FrameworkEvent::Update(bare_status())),
        ("operation-accepted", operation(OperationOutcome::Accepted)),
        (
            "operation-finished",
            operation(OperationOutcome::Finished {
                notes: vec![note("the size of volume `data` is not enforced")],
            }),
        ),
        (
            "operation-failed",
            operation(OperationOutcome::Failed(failure())),
        ),
        (
            "agent_lost",
            FrameworkEvent::AgentLost {
                id: agent_id(),
                name: agent_name(),
                reason: note("away for 75 s"),
            },
        ),
        (
            "error",
            FrameworkEvent::Error(CallError {
                call: Some(CallId::FIRST.next()),
                failure: failure(),
            }),
        ),
        (
            "error-of-no-call",
            FrameworkEvent::Error(CallError {
                call: None,
                failure: failure(),
            }),
        ),
        ("heartbeat", FrameworkEvent::Heartbeat),
    ]
}
