//! The conversation of an agent.

use weir_protocol::bounds::TASKS_PER_AGENT_MAX;
use weir_protocol::{AgentCall, AgentEvent, AgentInfo, ApplyOutcome, BootId, Launch, Registration};

use super::Dice;
use super::framework::error;
use super::parts::*;

pub(crate) fn info(dice: &mut Dice<'_>) -> AgentInfo {
    AgentInfo {
        name: agent_name(dice),
        hostname: line(dice),
        addresses: addresses(dice),
        attributes: attributes(dice),
        resources: resources(dice, Wanted::Own),
        volume_sizes: volume_sizes(dice),
    }
}

fn registration(dice: &mut Dice<'_>) -> Registration {
    Registration {
        agent: info(dice),
        boot: BootId::new(dice.pick(&["6f1b3c1e-9d7c", "a"])).unwrap(),
        id: dice.maybe(agent_id),
        checkpointed: resource_set(dice),
        port_blocks: port_blocks(dice),
        estimate: dice.maybe(estimate),
        tasks_total: dice.number_u32(0, TASKS_PER_AGENT_MAX),
    }
}

pub(crate) fn call(dice: &mut Dice<'_>) -> AgentCall {
    match dice.below(7) {
        0 => AgentCall::Unregister,
        1 => AgentCall::Register(Box::new(registration(dice))),
        2 => AgentCall::Tasks(dice.some(agent_task)),
        3 => AgentCall::StatusUpdate {
            framework: framework_id(dice),
            status: status(dice),
            latest: state(dice),
        },
        4 => AgentCall::Estimate(estimate(dice)),
        5 => AgentCall::PortBlocks(port_blocks(dice)),
        _ => AgentCall::OperationStatus {
            operation: operation_key(dice),
            outcome: if dice.flip() {
                ApplyOutcome::Failed(failure(dice))
            } else {
                ApplyOutcome::Applied {
                    version: set_version(dice),
                }
            },
        },
    }
}

pub(crate) fn event(dice: &mut Dice<'_>) -> AgentEvent {
    match dice.below(11) {
        0 => AgentEvent::Registered {
            id: agent_id(dice),
            scheduler: line(dice),
        },
        1 => AgentEvent::RegistrationRefused(failure(dice)),
        2 => AgentEvent::Apply {
            operation: operation_key(dice),
            base: set_version(dice),
            change: change(dice),
        },
        3 => AgentEvent::Kill {
            task: task_key(dice),
            grace: dice.maybe(duration),
            reason: dice.maybe(reason),
        },
        4 => AgentEvent::Acknowledge {
            task: task_key(dice),
            update: update_id(dice),
        },
        5 => AgentEvent::Reconcile(dice.some(task_key)),
        6 => AgentEvent::Revoke {
            task: task_key(dice),
            why: note(dice),
        },
        7 => AgentEvent::Drain {
            grace_max: dice.maybe(duration),
        },
        8 => AgentEvent::Shutdown(failure(dice)),
        9 => AgentEvent::Error(error(dice)),
        _ => AgentEvent::Launch(Box::new(Launch {
            operation: operation_key(dice),
            owner: owner(dice),
            task: task_spec(dice),
        })),
    }
}
