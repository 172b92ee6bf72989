//! The conversation of an agent.

use weir_protocol::{
    AgentCall, AgentEvent, AgentInfo, AgentTask, ApplyOutcome, BootId, CallError, CallId, Estimate,
    Launch, Millis, NetworkMode, PortBlocks, Reason, Registration, ResourceSet, SetVersion,
    TaskState, VolumeSizes,
};
use weir_resources::ResourceOperation;

use super::parts::*;

pub(crate) fn info() -> AgentInfo {
    AgentInfo {
        name: agent_name(),
        hostname: line("n1.example"),
        addresses: addresses(),
        attributes: "rack:r7; cores:16.5; vlans:[100-120]".parse().unwrap(),
        resources: resources(OWN),
        volume_sizes: VolumeSizes::Accounted,
    }
}

pub(crate) fn estimate() -> Estimate {
    Estimate::new(41, Millis(30_000), resources("cpus{REV}:2.5; mem{REV}:512")).unwrap()
}

pub(crate) const PORT_BLOCKS: PortBlocks = PortBlocks {
    version: 9,
    free: 22,
    held: 2,
};

pub(crate) fn registration() -> Registration {
    Registration {
        agent: info(),
        boot: BootId::new("6f1b3c1e-9d7c-4c57-8a5c-0d3a5b6f7e11").unwrap(),
        id: Some(agent_id()),
        checkpointed: ResourceSet::new(SetVersion(17), resources(CHECKPOINTED)).unwrap(),
        port_blocks: PORT_BLOCKS,
        estimate: Some(estimate()),
        tasks_total: 1,
    }
}

pub(crate) fn task(id: &str) -> AgentTask {
    AgentTask {
        owner: owner(),
        id: task_id(id),
        name: line("web"),
        resources: resources("cpus:0.125; mem:64; ports:[31000-31000]; port_blocks:1"),
        network: NetworkMode::Isolated,
        labels: labels(&[("tier", "front")]),
        status: weir_protocol::TaskStatus {
            task: task_id(id),
            ..status()
        },
        acknowledged: Some(TaskState::Running),
        operation: operation_key(),
    }
}

pub(crate) fn calls() -> Vec<(&'static str, AgentCall)> {
    vec![
        ("register", AgentCall::Register(Box::new(registration()))),
        (
            "register-new",
            AgentCall::Register(Box::new(Registration {
                id: None,
                checkpointed: ResourceSet::default(),
                port_blocks: PortBlocks::default(),
                estimate: None,
                tasks_total: 0,
                ..registration()
            })),
        ),
        (
            "tasks",
            AgentCall::Tasks(vec![
                task("web.1"),
                AgentTask {
                    acknowledged: None,
                    ..task("web.2")
                },
            ]),
        ),
        (
            "status_update",
            AgentCall::StatusUpdate {
                framework: framework_id(),
                status: status(),
                latest: TaskState::Failed,
            },
        ),
        (
            "operation_status-applied",
            AgentCall::OperationStatus {
                operation: operation_key(),
                outcome: ApplyOutcome::Applied {
                    version: SetVersion(18),
                },
            },
        ),
        (
            "operation_status-failed",
            AgentCall::OperationStatus {
                operation: operators_key(),
                outcome: ApplyOutcome::Failed(failure()),
            },
        ),
        ("estimate", AgentCall::Estimate(estimate())),
        ("port_blocks", AgentCall::PortBlocks(PORT_BLOCKS)),
        ("unregister", AgentCall::Unregister),
    ]
}

pub(crate) fn events() -> Vec<(&'static str, AgentEvent)> {
    let apply = |change| AgentEvent::Apply {
        operation: operation_key(),
        base: SetVersion(17),
        change,
    };
    let reserved = || resources("cpus(db, anna):1");
    let volume = || resources("disk(db, anna)[pgdata:data:rw]:1024");
    vec![
        (
            "registered",
            AgentEvent::Registered {
                id: agent_id(),
                scheduler: line("main"),
            },
        ),
        (
            "registration_refused",
            AgentEvent::RegistrationRefused(failure()),
        ),
        (
            "apply-reserve",
            apply(ResourceOperation::Reserve(reserved())),
        ),
        (
            "apply-unreserve",
            apply(ResourceOperation::Unreserve(reserved())),
        ),
        ("apply-create", apply(ResourceOperation::Create(volume()))),
        ("apply-destroy", apply(ResourceOperation::Destroy(volume()))),
        (
            "launch",
            AgentEvent::Launch(Box::new(Launch {
                operation: operation_key(),
                owner: owner(),
                task: task_spec(),
            })),
        ),
        (
            "kill",
            AgentEvent::Kill {
                task: task_key(),
                grace: Some(Millis(250)),
                reason: Some(Reason::KilledByOperator),
            },
        ),
        (
            "kill-plain",
            AgentEvent::Kill {
                task: task_key(),
                grace: None,
                reason: None,
            },
        ),
        (
            "acknowledge",
            AgentEvent::Acknowledge {
                task: task_key(),
                update: update_id(),
            },
        ),
        ("reconcile", AgentEvent::Reconcile(vec![task_key()])),
        (
            "revoke",
            AgentEvent::Revoke {
                task: task_key(),
                why: note("cpus{REV}:2 were lent, cpus{REV}:1 is idle"),
            },
        ),
        (
            "drain",
            AgentEvent::Drain {
                grace_max: Some(Millis(60_000)),
            },
        ),
        ("shutdown", AgentEvent::Shutdown(failure())),
        (
            "error",
            AgentEvent::Error(CallError {
                call: Some(CallId::FIRST),
                failure: failure(),
            }),
        ),
    ]
}
