//! The conversation of a framework.

use weir_protocol::bounds::DURATION_MS_MAX;
use weir_protocol::{
    Action, CallError, Filters, FrameworkCall, FrameworkCapability, FrameworkEvent, FrameworkInfo,
    Millis, Offer, Operation, OperationOutcome, RescindReason, TaskQuery,
};
use weir_resources::Kind;

use super::parts::*;
use super::{Dice, call_id};

pub(crate) fn info(dice: &mut Dice<'_>) -> FrameworkInfo {
    FrameworkInfo {
        name: line(dice),
        role: role(dice),
        user: dice.maybe(line),
        failover_timeout: duration(dice),
        unattended: dice.pick(&[false, true]),
        capabilities: dice
            .maybe(|_| FrameworkCapability::RevocableResources)
            .into_iter()
            .collect(),
        labels: labels(dice),
        weburl: dice.maybe(line),
    }
}

pub(crate) fn offer(dice: &mut Dice<'_>) -> Offer {
    let kind = dice.pick(&[Kind::Regular, Kind::Revocable]);
    Offer {
        id: offer_id(dice),
        agent: agent_id(dice),
        agent_name: agent_name(dice),
        hostname: line(dice),
        addresses: addresses(dice),
        attributes: attributes(dice),
        resources: some_resources(dice, Wanted::Of(kind)),
        kind,
        expires_after: dice.maybe(duration),
        volume_sizes: volume_sizes(dice),
    }
}

fn operation(dice: &mut Dice<'_>) -> Operation {
    Operation {
        id: operation_id(dice),
        action: if dice.flip() {
            Action::Change(change(dice))
        } else {
            Action::Launch(dice.some(task_spec))
        },
    }
}

fn filters(dice: &mut Dice<'_>) -> Filters {
    Filters {
        refuse: duration(dice),
    }
}

fn query(dice: &mut Dice<'_>) -> TaskQuery {
    TaskQuery {
        task: task_id(dice),
        agent: dice.maybe(agent_id),
    }
}

pub(crate) fn call(dice: &mut Dice<'_>) -> FrameworkCall {
    match dice.below(9) {
        0 => FrameworkCall::Revive,
        1 => FrameworkCall::Suppress,
        2 => FrameworkCall::Teardown,
        3 => FrameworkCall::Subscribe {
            framework: info(dice),
            id: dice.maybe(framework_id),
            force: dice.flip(),
        },
        4 => FrameworkCall::Decline {
            offers: dice.some(offer_id),
            filters: filters(dice),
        },
        5 => FrameworkCall::Kill {
            task: task_id(dice),
            agent: dice.maybe(agent_id),
            grace: dice.maybe(duration),
        },
        6 => FrameworkCall::Acknowledge {
            agent: agent_id(dice),
            task: task_id(dice),
            update: update_id(dice),
        },
        7 => FrameworkCall::Reconcile {
            tasks: dice.list(query),
            operations: dice.list(operation_id),
        },
        _ => FrameworkCall::Accept {
            offers: dice.some(offer_id),
            operations: dice.list(operation),
            filters: filters(dice),
        },
    }
}

fn outcome(dice: &mut Dice<'_>) -> OperationOutcome {
    match dice.below(3) {
        0 => OperationOutcome::Accepted,
        1 => OperationOutcome::Finished {
            notes: dice.list(note),
        },
        _ => OperationOutcome::Failed(failure(dice)),
    }
}

pub(crate) fn error(dice: &mut Dice<'_>) -> CallError {
    CallError {
        call: dice.maybe(call_id),
        failure: failure(dice),
    }
}

pub(crate) fn event(dice: &mut Dice<'_>) -> FrameworkEvent {
    const REASONS: [RescindReason; 3] = [
        RescindReason::AgentDisconnected,
        RescindReason::Expired,
        RescindReason::InvalidAccept,
    ];
    match dice.below(8) {
        0 => FrameworkEvent::Heartbeat,
        1 => FrameworkEvent::Subscribed {
            id: framework_id(dice),
            scheduler: line(dice),
            heartbeat_interval: Millis(dice.number(1, DURATION_MS_MAX)),
        },
        2 => FrameworkEvent::Rescind {
            offer: offer_id(dice),
            reason: dice.pick(&REASONS),
        },
        3 => FrameworkEvent::Update(status(dice)),
        4 => FrameworkEvent::Operation {
            id: operation_id(dice),
            outcome: outcome(dice),
        },
        5 => FrameworkEvent::AgentLost {
            id: agent_id(dice),
            name: agent_name(dice),
            reason: note(dice),
        },
        6 => FrameworkEvent::Error(error(dice)),
        _ => FrameworkEvent::Offers(dice.some(offer)),
    }
}
