//! From rows to bytes.

use prost::Message as _;
use weir_protocol::{
    Action, NetworkMode, Note, Operation, OperationKey, OperationOrigin, OperationOutcome, wire,
};
use weir_resources::{Labels, Resources};

use super::message;
use crate::ledger::{
    AgentRow, AnswerRow, EndedFramework, ErrandRow, FrameworkRow, KillOrder, LearnedTask, Past,
    RemovedAgent, Row, Standing, Step, TaskRow, TaskWhat,
};

/// Returns a row as bytes.
pub(crate) fn encode(row: &Row) -> Vec<u8> {
    match row {
        Row::Agent(row) => agent(row).encode_to_vec(),
        Row::RemovedAgent(row) => removed_agent(row).encode_to_vec(),
        Row::Framework(row) => framework(row).encode_to_vec(),
        Row::EndedFramework(row) => ended_framework(row).encode_to_vec(),
        Row::Task(row) => task(row).encode_to_vec(),
        Row::Errand(row) => errand(row).encode_to_vec(),
        Row::Answer(row) => answer(row).encode_to_vec(),
        Row::Weight { role, weight } => {
            let weight = message::RoleWeight {
                role: role.to_string(),
                thousandths: weight.thousandths(),
            };
            weight.encode_to_vec()
        }
    }
}

fn agent(row: &AgentRow) -> message::Agent {
    let AgentRow {
        id,
        info,
        boot,
        software,
        registered,
        checkpointed,
        port_blocks,
        standing,
    } = row;
    message::Agent {
        id: id.to_string(),
        info: Some(info.clone().into()),
        boot: boot.to_string(),
        software: software.to_string(),
        registered_ms: registered.0,
        checkpointed: Some(checkpointed.into()),
        port_blocks: *port_blocks,
        draining: match standing {
            Standing::Open => None,
            Standing::Draining { grace_max } => Some(message::Draining {
                grace_ms_max: grace_max.map(|grace| grace.0),
            }),
        },
    }
}

fn removed_agent(row: &RemovedAgent) -> message::RemovedAgent {
    let RemovedAgent { id, name, at, why } = row;
    message::RemovedAgent {
        id: id.to_string(),
        name: name.to_string(),
        at_ms: at.0,
        why: why.to_string(),
    }
}

fn framework(row: &FrameworkRow) -> message::Framework {
    let FrameworkRow {
        id,
        info,
        principal,
        subscribed,
        past,
    } = row;
    let past = match past {
        Past::Known => message::Past::Known,
        Past::Unknown => message::Past::Unknown,
        Past::FromTasks => message::Past::FromTasks,
    };
    message::Framework {
        id: id.to_string(),
        info: Some(info.clone().into()),
        principal: principal.to_string(),
        subscribed_ms: subscribed.0,
        past: past.into(),
        ended: None,
    }
}

fn ended_framework(row: &EndedFramework) -> message::Framework {
    let EndedFramework {
        id,
        info,
        principal,
        subscribed,
        at,
        why,
    } = row;
    message::Framework {
        id: id.to_string(),
        info: Some(info.clone().into()),
        principal: principal.to_string(),
        subscribed_ms: subscribed.0,
        past: message::Past::Unspecified.into(),
        ended: Some(message::Ended {
            at_ms: at.0,
            why: why.to_string(),
        }),
    }
}

fn task(row: &TaskRow) -> message::Task {
    let TaskRow {
        number,
        owner,
        agent,
        operation,
        what,
        kill,
        ended,
    } = row;
    let what = match what {
        TaskWhat::Launched(spec) => message::TaskWhat::Launched(spec.clone().into()),
        TaskWhat::Learned(task) => message::TaskWhat::Learned(learned(task)),
    };
    let kill = kill
        .as_ref()
        .map(|KillOrder { grace, reason }| message::Kill {
            grace_ms: grace.map(|grace| grace.0),
            reason: reason.map(|reason| reason.to_string()),
        });
    message::Task {
        number: *number,
        owner: Some(owner.clone().into()),
        agent_id: agent.to_string(),
        operation: Some(operation_key(operation)),
        what: Some(what),
        kill,
        ended: ended.map(|state| state.to_string()),
    }
}

fn learned(task: &LearnedTask) -> message::LearnedTask {
    let LearnedTask {
        id,
        name,
        resources,
        network,
        labels,
    } = task;
    message::LearnedTask {
        id: id.to_string(),
        name: name.to_string(),
        resources: resource_list(resources),
        is_on_host_network: match network {
            NetworkMode::Isolated => false,
            NetworkMode::Host => true,
        },
        labels: label_list(labels),
    }
}

fn errand(row: &ErrandRow) -> message::Errand {
    let ErrandRow {
        number,
        turn,
        origin,
        agent,
        pool,
        steps,
        filters,
    } = row;
    message::Errand {
        number: number.0,
        turn: *turn,
        origin: Some(operation_origin(origin)),
        agent_id: agent.to_string(),
        pool: resource_list(pool),
        steps: steps.iter().map(step).collect(),
        refuse_ms: filters.refuse.0,
    }
}

fn step(step: &Step) -> message::Step {
    let Step {
        operation,
        fingerprint,
    } = step;
    let is = match &operation.action {
        Action::Launch(tasks) => message::StepIs::Launch(message::LaunchStep {
            operation_id: operation.id.to_string(),
            tasks: tasks.iter().cloned().map(wire::TaskSpec::from).collect(),
        }),
        Action::Change(_) => message::StepIs::Change(Operation::clone(operation).into()),
    };
    message::Step {
        fingerprint: fingerprint.0,
        is: Some(is),
    }
}

fn answer(row: &AnswerRow) -> message::Answer {
    let AnswerRow {
        key,
        number,
        fingerprint,
        outcome,
    } = row;
    let outcome = match outcome {
        OperationOutcome::Accepted => message::Outcome::Accepted(message::Accepted {}),
        OperationOutcome::Finished { notes } => message::Outcome::Finished(message::Finished {
            notes: notes.iter().map(Note::to_string).collect(),
        }),
        OperationOutcome::Failed(failure) => message::Outcome::Failed(failure.clone().into()),
    };
    message::Answer {
        key: Some(operation_key(key)),
        number: *number,
        fingerprint: fingerprint.0,
        outcome: Some(outcome),
    }
}

fn operation_key(key: &OperationKey) -> message::OperationKey {
    let OperationKey { origin, id } = key;
    message::OperationKey {
        origin: Some(operation_origin(origin)),
        id: id.to_string(),
    }
}

fn operation_origin(origin: &OperationOrigin) -> message::Origin {
    let is = match origin {
        OperationOrigin::Framework(id) => message::OriginIs::FrameworkId(id.to_string()),
        OperationOrigin::Operator(principal) => message::OriginIs::Operator(principal.to_string()),
    };
    message::Origin { is: Some(is) }
}

fn resource_list(resources: &Resources) -> Vec<wire::Resource> {
    resources.iter().map(wire::Resource::from).collect()
}

fn label_list(labels: &Labels) -> Vec<wire::Label> {
    let labels = labels.as_slice().iter();
    labels
        .map(|(key, value)| wire::Label {
            key: key.to_string(),
            value: value.to_string(),
        })
        .collect()
}
